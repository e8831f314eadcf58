"""A script in every text that is stored, on every page that shows it: it stands there as text."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from django.apps import apps
from django.db import connection, models
from django.test import Client
from django.urls import get_resolver, reverse
from django.utils import timezone

from core.models import Topic, User
from core.notifications import Urgency, notify
from governance.models import Condition
from governance.services.conditions import propose_condition
from governance.services.deployments import deploy
from governance.services.incidents import IncidentReport, record_incident
from governance.services.oversight import record_measure
from governance.services.policies import propose_policy
from governance.services.releases import request_release
from governance.services.reviews import add_comment, recuse
from models_registry.models import Deployment
from tests.governance.policy_scene import written
from tests.governance.risk_scene import a_risk, planned, rated
from tests.governance.signed import signed
from tests.pages import addresses
from tests.pages.scene import PEOPLE, person

PAYLOAD = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"
RAW = re.compile(r"<script>alert\(1\)|<img src=x")
OURS = ("core", "models_registry", "evaluation", "synthetic", "governance")
LEFT = re.compile(
    r"digest|slug|username|password|key|href|status|adapter|act$|subject_|body|hash|code|question|requirement|kind|"
    r"criterion|attribute|outcome|signature|document|urgency|topic|limb|moment|zone|file_name|path|role|item|name_id|"
    r"email|address|settings|suite|metric|value$|reason_code|action|regime|route|basis|member|attempt|owed|counts|deadline"
)
"""Columns that are no words of people: what they hold is checked when it is written, or made by the platform."""


IN_ADDRESSES = {("Policy", "name"), ("Measurement", "label"), ("Measurement", "group")}


def words_of(model: type[models.Model]) -> list[str]:
    fields = [field for field in model._meta.get_fields() if isinstance(field, models.CharField | models.TextField)]
    names = [field.name for field in fields if not field.choices and not LEFT.search(field.name)]
    return [name for name in names if (model.__name__, name) not in IN_ADDRESSES]


def poison() -> int:
    """Write the payload into every text of every row, around the triggers that keep what was said."""
    done = 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (trigger,) in cursor.fetchall():
            cursor.execute(f'DROP TRIGGER "{trigger}"')
        for model in (model for label in OURS for model in apps.get_app_config(label).get_models()):
            for name in words_of(model):
                column = model._meta.get_field(name).column
                sql = f'UPDATE "{model._meta.db_table}" SET "{column}" = %s || "{model._meta.pk.column}"'  # noqa: S608
                cursor.execute(sql, [PAYLOAD])
                done += cursor.rowcount
    return done


def furnish(house: SimpleNamespace) -> list[str]:
    """One of everything that people decide about, beside the house; the addresses of the pages that show it."""
    people = SimpleNamespace(**{name: person(name) for name in PEOPLE})
    now, risk = timezone.now(), a_risk(people)
    rated(risk, people, "before", 3, 3)
    planned(risk, people)
    place = {"site": "North", "unit": "Radiology", "share": 50, "contact_name": "Ines", "contact_email": "i@n.example"}
    row = deploy(version=house.twin, by=people.clara, signed=signed(people.clara), **place)
    incident = record_incident(
        report=IncidentReport(
            system=house.system, version=house.twin, title="Missed", description="Read nine hours late.",
            zone="Europe/Vienna", kinds=("a_health",), aware_at=now - timedelta(hours=1),
        ),
        by=people.lea,
    )  # fmt: skip
    record_measure(
        system=house.system, limb="d", kind="built_in", text="The radiologist may switch it off.", role="radiologist",
        moment="while reading", responsible=people.lea, by=people.amir,
    )  # fmt: skip
    policy = propose_policy(source=written(), by=people.amir)
    release = request_release(cohort=house.cohort, purpose="Teaching.", recipients="Biometry.", by=people.amir)
    add_comment(review=house.review, text="Why?", by=people.mina)
    propose_condition(
        review=house.review, text="Report drift.", owner=people.elena, due_at=now + timedelta(days=9), by=people.mina
    )
    recuse(review=house.review, person=people.lea, reason="A relative.", by=people.lea)
    notify(to=[people.clara], topic=Topic.RISKS, title="A risk", text="It is new.", href="/", key="x",
           urgency=Urgency.ACTION)  # fmt: skip
    return [
        reverse("risk", args=[risk.pk]),
        reverse("deployment", args=[row.pk]),
        reverse("overrides", args=[row.pk]),
        reverse("override-new", args=[row.pk]),
        reverse("incident", args=[incident.pk]),
        reverse("incident-clocks", args=[incident.pk]),
        reverse("incident-amend", args=[incident.pk]),
        reverse("policy", args=[policy.pk]),
        reverse("version-policy", args=[house.system.slug, house.twin.pk, policy.name]),
        reverse("release", args=[release.pk]),
    ]


def test_a_script_in_any_text_is_shown_as_text(house: SimpleNamespace, sign_in: Callable[[str], Client]) -> None:
    every = ["/", *addresses.pages(house), *addresses.parts(house), *furnish(house)]
    assert Condition.objects.exists() and Deployment.objects.exists() and User.objects.exists()
    assert poison() > 200
    found: dict[str, Any] = {}
    shown = 0
    client = sign_in("clara")
    client.raise_request_exception = False
    for url in every:
        response = client.get(url)
        text = response.getvalue().decode(errors="replace")
        shown += "&lt;script&gt;alert(1)" in text
        is_page = response.headers["Content-Type"].startswith("text/html")
        if response.status_code != 200 or (is_page and RAW.search(text)):
            at = RAW.search(text)
            found[url] = response.status_code, text[max(0, at.start() - 80) : at.end()] if at else text[-300:]
        if is_page:
            allowed = response.headers["Content-Security-Policy"].partition("script-src")
            assert "'unsafe-inline'" not in allowed[2].split(";")[0], url
            assert allowed[1] or allowed[0].startswith("default-src 'none'"), url
    assert found == {}
    assert shown > 60


OPEN_TO_ALL = {"sign-in", "sign-out", "theme", "language", "home"}
WAY_IN = {"account_login", "account_logout", "account_inactive", "account_reset_password",
          "account_reset_password_done", "account_reset_password_from_key", "account_reset_password_from_key_done",
          "mfa_authenticate", "openid_connect_login", "openid_connect_callback", "socialaccount_login_cancelled",
          "socialaccount_login_error", "invitation"}  # fmt: skip
"""Addresses that open before anybody is signed in."""
"""Addresses for whoever has an account, and the way in; ``home`` sends a regulator on, and tells who has no role."""
OWN = {"portal", "portal-standing", "portal-system", "portal-version", "portal-bundle", "portal-bundle-link",
       "portal-verifier", "portal-link"}  # fmt: skip
FILLED = {"int": "1", "slug": "chest-model", "str": "x", "base36": "1"}


def every_address() -> dict[str, str]:
    """One address of each name, whatever stands behind it."""
    found = {}

    def walk(patterns: list[Any], prefix: str) -> None:
        for item in patterns:
            route = prefix + str(item.pattern)
            if hasattr(item, "url_patterns"):
                walk(item.url_patterns, route)
            elif item.name:
                found[item.name] = "/" + re.sub(r"<(?:(\w+):)?\w+>", lambda m: FILLED[m[1] or "str"], route)

    walk(get_resolver().url_patterns, "")
    return found


def test_no_address_answers_who_may_not_read(house: SimpleNamespace, sign_in: Callable[[str], Client]) -> None:
    every = every_address()
    assert {"risk", "incident", "deployment", "policy", "release", "ledger-proof", "notification"} <= every.keys()
    open_to_all = OPEN_TO_ALL | WAY_IN
    shut = {name: url for name, url in every.items() if name not in open_to_all and not url.startswith("/api/")}
    account = {name for name, url in shut.items() if url.startswith("/account/")}
    assert len(account) > 15
    for username, own in (("rita", OWN | account), ("nobody", account)):
        client = sign_in(username)
        for method in (client.get, client.post):
            found = {name: method(url).status_code for name, url in shut.items() if name not in own}
            assert {name: code for name, code in found.items() if code not in {403, 405}} == {}, username
    found = {name: Client().get(url) for name, url in shut.items()}
    let_in = {name for name, one in found.items() if not one.headers.get("Location", "").startswith("/sign-in/")}
    assert let_in == set()


def test_an_api_without_a_token_answers_nothing(house: SimpleNamespace, sign_in: Callable[[str], Client]) -> None:
    """A session is no token, so a form of another site sends nothing that counts."""
    for url in (url for url in every_address().values() if url.startswith("/api/") and "openapi" not in url):
        client = sign_in("clara")
        assert {client.get(url).status_code, client.post(url).status_code} <= {401, 404, 405}, url
