"""The lists of governance and of alerts: searched, sorted, filtered and paged by their address, empty in two ways."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core.models import Notification
from evaluation.models import AuditRun
from governance.models import Condition, Incident, Override, Risk
from models_registry.models import Deployment
from tests.evaluation.monitor_scene import make_alert
from tests.governance.incident_scene import recorded
from tests.pages import scene
from tests.pages.governance_scene import furnish
from tests.pages.monitors_scene import life
from tests.pages.test_markup import Page
from tests.pages.test_releases import release_of

SignIn = Callable[[str], Client]
NOTHING = "no such thing anywhere"
LISTS = {
    "reviews": 15,  # two lists on one page, and the conditions
    "conditions": 12,
    "incidents": 12,
    "risks": 14,  # each risk with its ratings, controls, findings and acceptances
    "deployments": 16,  # each with what is known of it: overrides, incidents, evidence
    "releases": 12,
    "grants": 12,
    "alerts": 12,
}
"""Each list with the most questions that it may ask."""


@pytest.fixture
def kept(db: None) -> None:
    """Something in every list."""
    furnish()
    Condition.objects.update(status="open")
    row, elena = Deployment.objects.get(pk=1), scene.person("elena")
    facts = {
        "happened_at": row.started_at,
        "action": Override.Action.values[0],
        "reason": Override.Reason.values[0],
        "recorded_by": elena,
    }
    Override.objects.create(deployment=row, key="one", **facts)


@pytest.fixture
def alerts(db: None) -> None:
    life()


def _address(name: str) -> str:
    return reverse(name, args=[1]) if name == "overrides" else reverse(name)


@pytest.mark.parametrize("name", [*(name for name in LISTS if name != "alerts"), "overrides"])
def test_every_list_is_asked_by_its_address(kept: None, sign_in: SignIn, name: str) -> None:
    _walk(sign_in("clara"), _address(name))


def test_alerts_are_asked_by_their_address(alerts: None, sign_in: SignIn) -> None:
    _walk(sign_in("clara"), reverse("alerts"))


def _walk(client: Client, url: str) -> None:
    url += "?state=all" if url.endswith("/incidents/") else ""
    text = client.get(url).content.decode()
    assert 'type="search"' in text and Page(text).faults == []
    links = [unescape(part.split('"')[0]) for part in text.split('class="sort" href="')[1:]]
    assert len(links) >= 4, "heads sort"
    for link in links:
        key = parse_qs(urlsplit(link).query)["sort"][0]
        answer = client.get(url.split("?")[0] + link.split("#")[0])
        wanted = "descending" if key.startswith("-") else "ascending"
        assert answer.status_code == 200, link
        assert answer.content.decode().count(f'aria-sort="{wanted}"') == 1, link
    nothing = client.get(url.split("?")[0], {"q": NOTHING}).content.decode()
    assert f'value="{NOTHING}"' in nothing and 'class="empty"' in nothing
    assert "Show all" in nothing or "Take the filters away" in nothing, "a way back to what there is"
    assert client.get(url.split("?")[0], {"q": "\0'\"<script>alert(1)</script>%_"}).status_code == 200


@pytest.mark.parametrize("name", LISTS)
def test_an_installation_that_is_new_says_what_comes_next(db: None, sign_in: SignIn, name: str) -> None:
    """Nothing is there: the page teaches, and offers no search of nothing."""
    scene.person("clara")
    text = sign_in("clara").get(reverse(name)).content.decode()
    assert 'class="empty"' in text
    assert 'type="search"' not in text and "Show all" not in text and "Take the filters away" not in text


def test_what_is_all_closed_is_another_thing_than_nothing(kept: None, sign_in: SignIn) -> None:
    Risk.objects.update(status="closed")
    text = sign_in("clara").get(reverse("risks")).content.decode()
    assert "No risk is open" in text and "?state=closed#list" in text
    assert "No risk is recorded" not in text


def test_a_shared_address_shows_the_same(kept: None, sign_in: SignIn) -> None:
    """Who opens it sees the same rows in the same order, and what they are narrowed by."""
    url = reverse("deployments") + "?q=hospital+chest&status=suspended&sort=-site"
    one, other = (sign_in(name).get(url).context["rows"] for name in ("clara", "mina"))
    assert [row.deployment.pk for row in one] == [row.deployment.pk for row in other]
    assert 'value="suspended" selected' in sign_in("mina").get(url).content.decode()


def test_risks_keep_words_and_order_from_cell_to_cell(kept: None, sign_in: SignIn) -> None:
    client = sign_in("clara")
    text = unescape(client.get(reverse("risks") + "?q=effusions&sort=risk").content.decode())
    assert "?q=effusions&sort=risk&stage=after&cell=4x4#list" in text
    kept_cell = client.get(reverse("risks") + "?q=effusions&stage=after&cell=4x4")
    assert kept_cell.context["register"].total == 1
    assert client.get(reverse("risks") + "?stage=after&cell=1x1").context["register"].total == 0


def test_notifications_are_searched(kept: None, sign_in: SignIn) -> None:
    clara = scene.person("clara")
    for title in ("Vote on the chest model", "A clock runs out"):
        Notification.objects.create(recipient=clara, topic="review", urgency="normal", title=title, key=title)
    client = sign_in("clara")
    text = client.get(reverse("notifications") + "?q=chest+vote").content.decode()
    assert "Vote on the chest model" in text and "A clock runs out" not in text
    sent = client.post(reverse("notifications-read"), {"notification": "1", "q": "chest", "page": "1"})
    assert sent["Location"].endswith("?q=chest&page=1"), "one stays where one was"


@pytest.mark.parametrize("name", [name for name in LISTS if name not in ("alerts", "grants", "conditions")])
def test_lists_ask_no_more_when_there_is_more(kept: None, sign_in: SignIn, name: str) -> None:
    client = sign_in("clara")
    before = _count(client, reverse(name))
    _more()
    cache.clear()  # what was worked out before is not to hide that it grew
    assert _count(client, reverse(name)) == before
    assert _count(client, reverse(name)) <= LISTS[name]


def test_alerts_ask_no_more_when_there_are_more(alerts: None, sign_in: SignIn) -> None:
    from evaluation.models import Monitor

    client, monitor = sign_in("clara"), Monitor.objects.first()
    assert monitor is not None
    before = _count(client, reverse("alerts"))
    for number in range(20):
        make_alert(monitor, kind="late", key=f"k{number}", title=f"Late {number}")
    assert (_count(client, reverse("alerts")), before <= LISTS["alerts"]) == (before, True), before


def _count(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as found:
        assert client.get(url, {"q": "e"}).status_code == 200
    return len(found)


def _more() -> None:
    """Several times as much."""
    elena, first, row = scene.person("elena"), Risk.objects.get(pk=1), Deployment.objects.get(pk=1)
    done = AuditRun.objects.order_by("pk")[0]
    cohort, protocol = done.cohort, done.protocol
    for number in range(12):
        release_of(scene.cohort(f"Set {number}"), status="rejected")
        run = scene.run(scene.version(f"5.{number}", status="in_review"), cohort, protocol, shards=1)
        scene.review(run, status="rejected", votes=(("tom", "reject"),))
        about = SimpleNamespace(system=first.system, version=row.version, people=SimpleNamespace(elena=elena))
        recorded(about, title=f"Extra incident {number}")
        first.pk, first.number, first.title = None, 100 + number, f"Extra {number}"
        first._state.adding = True
        first.save()
    for number in range(12):
        row.pk, row.site = None, f"Extra site {number}"
        row._state.adding = True
        row.save()
    assert Incident.objects.count() >= 12
