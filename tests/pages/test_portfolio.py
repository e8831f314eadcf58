"""The portfolio: what every floor says of each system, sorted and filtered, by a fixed number of questions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.pages.columns import columns_of, page_column
from evaluation.models import Alert, Monitor
from governance.models import Condition, Incident
from governance.selectors.duties import next_duties
from models_registry.models import AISystem, Deployment
from tests.pages import scene

SignIn = Callable[[str], Client]
MOST_QUERIES = 12
URL = "/systems/"


def rows(client: Client, **asked: str) -> list[dict[str, Any]]:
    answer = client.get(URL, asked)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.context["rows"]
    return found


def names(client: Client, **asked: str) -> list[str]:
    return [row["system"].name for row in rows(client, **asked)]


def cell(client: Client, name: str, key: str) -> Any:
    row = next(row for row in rows(client) if row["system"].name == name)
    return next(cell.context if cell else None for column, cell in row["cells"] if column.key == key)


def deployed(version: Any, site: str = "North Hospital", status: str = "running") -> Deployment:
    now = timezone.now()
    over = {"ended_at": now, "ended_by": scene.person("clara"), "ending": "The contract ended."}
    return Deployment.objects.create(
        version=version, site=site, contact_name="A", contact_email="a@b.example", started_at=now, status=status,
        started_by=scene.person("clara"), **(over if status == "ended" else {}),
    )  # fmt: skip


def watched(of: Deployment, house: SimpleNamespace, *, next_at: Any = None) -> Monitor:
    return Monitor.objects.create(
        deployment=of, name=f"Watch of {of.site}", protocol=house.protocol, reference_cohort=house.cohort,
        source_kind="api", window_unit="day", first_opens_at=timezone.now(), owner=scene.person("amir"),
        created_by=scene.person("amir"), status="active", next_at=next_at, every_seconds=86400,
        reference_run=house.fail, frame_digest="f" * 64, reference_digest="a" * 64,
    )  # fmt: skip


def alarmed(of: Monitor, *, severity: str = "warning", status: str = "open") -> Alert:
    now = timezone.now()
    closed = {"closed_at": now, "resolution": "fixed", "closing": "Mended."} if status == "closed" else {}
    return Alert.objects.create(
        monitor=of, kind="drift", severity=severity, key=f"k{Alert.objects.count()}", title="Scanner moved",
        status=status, first_at=now, last_at=now, **closed,
    )  # fmt: skip


def incident(of: AISystem) -> Incident:
    now = timezone.now()
    return Incident.objects.create(
        system=of, number=1 + Incident.objects.count(), title="A missed finding", description="It was missed.",
        aware_at=now, zone="UTC", reported_by=scene.person("clara"),
    )  # fmt: skip


@pytest.fixture
def second(house: SimpleNamespace) -> AISystem:
    """A system whose newest audit passes, in use at two sites."""
    made = scene.system("Quiet model")
    version = scene.version("2.0", of=made, status="approved")
    scene.run(version, house.cohort, house.protocol, outcome="pass")
    for site in ("North Hospital", "West Hospital"):
        deployed(version, site)
    deployed(version, "Closed Hospital", status="ended")
    return made


def test_the_worst_finding_is_that_of_the_newest_audit(
    house: SimpleNamespace, second: AISystem, sign_in: SignIn
) -> None:
    client = sign_in("mina")
    assert cell(client, "Quiet model", "finding")["verdict"].outcome == "pass"
    assert cell(client, "Text-mined labels", "finding") is None, "its only audit did not finish"
    run = scene.run(house.version, house.cohort, house.protocol)
    found = cell(client, "Chest model", "finding")
    assert (found["run"].pk, found["verdict"].outcome) == (run.pk, "fail")
    text = client.get(URL).content.decode()
    assert "ffusion is missed more often" in text and "F &amp; ≥80 vs M &amp; &lt;60" in text


def test_alerts_incidents_and_use_are_counted_while_they_are_open(
    house: SimpleNamespace, second: AISystem, sign_in: SignIn
) -> None:
    client = sign_in("mina")
    monitor = watched(Deployment.objects.get(site="North Hospital"), house)
    for status, severity in (("open", "critical"), ("acknowledged", "warning"), ("closed", "critical")):
        alarmed(monitor, severity=severity, status=status)
    incident(second)
    assert cell(client, "Quiet model", "alerts") == {"n": 2, "critical": 1}
    assert cell(client, "Quiet model", "incidents")["n"] == 1
    use = cell(client, "Quiet model", "use")
    assert (use["n"], use["sites"]) == (2, ["North Hospital", "West Hospital"])
    assert cell(client, "Chest model", "use") is None


def test_due_next_is_the_sooner_of_a_window_and_a_condition(
    house: SimpleNamespace, second: AISystem, sign_in: SignIn
) -> None:
    now = timezone.now()
    watched(Deployment.objects.get(site="North Hospital"), house, next_at=now + timedelta(days=3))
    assert next_duties([second])[second.pk].what == "window of Watch of North Hospital"
    review = scene.review(second.versions.get().runs.get(), status="conditional", votes=(("tom", "approve"),))
    facts = {"review": review, "text": "Publish the limits.", "owner": scene.person("elena"), "status": "open",
             "proposed_by": scene.person("tom")}  # fmt: skip
    Condition.objects.create(**facts, due_at=now + timedelta(days=9))
    assert next_duties([second])[second.pk].at == now + timedelta(days=3)
    Condition.objects.create(**facts, due_at=now - timedelta(days=1))
    assert cell(sign_in("mina"), "Quiet model", "due")["late"]
    assert names(sign_in("mina"), sort="due")[0] == "Quiet model"


def test_it_is_sorted_by_every_column_of_every_floor(house: SimpleNamespace, second: AISystem, sign_in: SignIn) -> None:
    client = sign_in("mina")
    alarmed(watched(Deployment.objects.get(site="West Hospital"), house))
    incident(house.system)
    house.broken.delete()
    assert names(client, sort="finding") == ["Chest model", "Quiet model", "Text-mined labels"], "none is last"
    assert names(client, sort="-finding")[:2] == ["Quiet model", "Chest model"]
    assert names(client, sort="-alerts")[0] == "Quiet model"
    assert names(client, sort="-incidents")[0] == "Chest model"
    assert names(client, sort="-use")[0] == "Quiet model" and names(client, sort="use")[-1] == "Quiet model"
    assert names(client, sort="-name") == ["Text-mined labels", "Quiet model", "Chest model"]


def test_it_is_filtered_by_state_use_and_words(house: SimpleNamespace, second: AISystem, sign_in: SignIn) -> None:
    client = sign_in("mina")
    scene.system("Without versions")
    assert names(client, status="approved") == ["Quiet model"]
    assert names(client, status="none") == ["Without versions"]
    assert names(client, use="yes") == ["Quiet model"] and "Quiet model" not in names(client, use="no")
    assert names(client, q="quiet", status="approved", use="yes") == ["Quiet model"]
    assert "No system matches" in client.get(URL, {"q": "quiet", "use": "no"}).content.decode()


def test_the_version_that_may_be_used_is_told_beside_the_newest(
    house: SimpleNamespace, second: AISystem, sign_in: SignIn
) -> None:
    scene.version("3.0", of=second, status="in_review")
    text = sign_in("mina").get(URL, {"q": "quiet"}).content.decode()
    assert ">2.0</a>" in text and "newest:" in text and ">3.0</a>" in text


def test_a_house_without_systems_says_what_will_be_here(db: None, sign_in: SignIn) -> None:
    text = sign_in("mina").get(URL).content.decode()
    assert "No system is registered" in text and 'type="search"' not in text


def test_many_systems_are_paged_and_cost_no_more(house: SimpleNamespace, second: AISystem, sign_in: SignIn) -> None:
    client = sign_in("mina")
    monitor = watched(Deployment.objects.get(site="North Hospital"), house, next_at=timezone.now())

    def count(**asked: str) -> int:
        with CaptureQueriesContext(connection) as found:
            rows(client, **asked)
        return len(found)

    asked = {"sort": "-alerts", "q": "model"}
    before = count(**asked)
    for number in range(30):
        made = scene.system(f"Further model {number:02}")
        version = scene.version("1", of=made, status="approved")
        scene.run(version, house.cohort, house.protocol, shards=1)
        alarmed(watched(deployed(version, f"Site {number}"), house, next_at=timezone.now()))
        alarmed(monitor)
        incident(made)
    assert (count(**asked), before <= MOST_QUERIES) == (before, True), before
    first, last = names(client), names(client, page="2")
    assert (len(first), len(last), len({*first, *last})) == (25, 8, 33)


def test_a_column_is_registered_once() -> None:
    key = columns_of("systems")[0].key
    with pytest.raises(ValueError, match="already"):
        page_column("systems", key=key, title="Again")(lambda user, systems: {})
