"""Roles that are limited to one system: every address and every act, of that system and of another hospital's."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.urls import get_resolver, resolve

from core.access import roles_of
from core.errors import DeniedError, NotFoundError, ProtocolError
from core.models import Role, RoleGrant, User
from core.pages.reach import named_by, systems_named
from core.reach import acting_on, reach_of, services
from core.scope import in_sight, ways
from evaluation.models import AuditRun
from evaluation.services.runs import cancel_run, request_audit
from governance.models import Review
from governance.services.discussion import add_comment
from models_registry.models import AISystem
from tests.pages import addresses, scene

ROOT = Path(__file__).parents[2]
APPS = ("models_registry", "evaluation", "synthetic", "governance")
WORKING = (Role.COMMITTEE_CHAIR, Role.ML_ENGINEER, Role.AUDITOR, Role.CLINICIAN_LEAD, Role.DPO)
LISTS = {"home", "systems", "audits", "monitors", "alerts", "reviews", "conditions", "releases", "risks", "deployments",
         "oversight", "incidents", "incident-new", "reports", "compare", "protocols", "protocol", "notifications",
         "notification-preferences", "notification", "notifications-read"}  # fmt: skip
"""Pages for people whose roles are limited that name no object of a system."""


def limited_to(system: AISystem, name: str) -> User:
    person = User.objects.create(username=name, first_name=name.capitalize())
    RoleGrant.objects.bulk_create(RoleGrant(user=person, role=role, system_key=system.pk) for role in WORKING)
    return person


@pytest.fixture
def other(house: SimpleNamespace) -> AISystem:
    return AISystem.objects.create(
        name="Retina screening of another hospital", slug="retina", intended_purpose="Finds retinopathy.",
        created_by=house.system.created_by,
    )  # fmt: skip


@pytest.fixture
def near(house: SimpleNamespace) -> User:
    return limited_to(house.system, "nadia")


@pytest.fixture
def far(other: AISystem) -> User:
    return limited_to(other, "fabio")


def client_of(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def named(url: str) -> set[int | None]:
    """Keys of the systems of what an address names."""
    path, _, query = url.partition("?")
    match, asked = resolve(path), dict(part.split("=") for part in query.split("&") if "=" in part)
    return set(systems_named(match.route, match.kwargs, asked.get))


def text_of(client: Client, url: str) -> str:
    return client.get(url).content.decode(errors="replace")


def test_another_hospitals_system_is_not_there(house: SimpleNamespace, far: User) -> None:
    client, every = client_of(far), [*addresses.pages(house), *addresses.parts(house), *addresses.issued(house)]
    own = [url for url in every if named(url)]
    assert len(own) > 35
    assert {url: client.get(url).status_code for url in own} == dict.fromkeys(own, 404)
    acts = [url for url in addresses.acts(house) if named(url)]
    assert {url: client.post(url).status_code for url in acts} == dict.fromkeys(acts, 404)
    # What is there and not theirs answers as what is not there at all.
    here, nowhere = text_of(client, f"/audits/{house.fail.pk}/"), text_of(client, "/audits/99999/")
    assert re.sub(r"/audits/\d+/", "", here) == re.sub(r"/audits/\d+/", "", nowhere)


def test_no_list_tells_of_it(house: SimpleNamespace, far: User) -> None:
    client, every = client_of(far), ["/", *addresses.pages(house), *addresses.issued(house)]
    rest = [url for url in every if not named(url) and "left=" not in url]
    compared = [url for url in every if "left=" in url]
    assert {url: client.get(url).status_code for url in compared} == dict.fromkeys(compared, 404)
    found = {url: client.get(url) for url in rest}
    codes = {url: one.status_code for url, one in found.items()}
    assert codes == {url: 200 if resolve(url.partition("?")[0]).url_name in LISTS else 403 for url in rest}
    said = [house.system.name, f"/systems/{house.system.slug}/", house.version.label + "<"]
    shown = {url: [word for word in said if word in one.content.decode()] for url, one in found.items()}
    assert {url: words for url, words in shown.items() if words} == {}
    assert "Retina screening" in found["/systems/"].content.decode()


def test_on_their_own_system_they_read_and_act(house: SimpleNamespace, near: User) -> None:
    client, key = client_of(near), house.system.pk
    every = [*addresses.pages(house), *addresses.parts(house), *addresses.issued(house)]
    mine = [url for url in every if named(url) == {key}]
    assert len(mine) > 35
    assert {url: client.get(url).status_code for url in mine} == dict.fromkeys(mine, 200)
    others = [url for url in every if named(url) - {key}]
    assert {url: client.get(url).status_code for url in others} == dict.fromkeys(others, 404)
    assert house.system.name in text_of(client, "/systems/") and "Retina" not in text_of(client, "/systems/")
    home = text_of(client, "/")
    assert "has no role yet" not in home and f"/governance/reviews/{house.review.pk}/" in home
    said = client.post(f"/governance/reviews/{house.review.pk}/comments/", {"comment-text": "What of the elderly?"})
    assert said.status_code == 302, re.findall(r"(?s)error[^<]*<[^<]*", said.content.decode())
    assert "What of the elderly?" in text_of(client, said.headers["Location"])


def test_an_act_counts_where_its_object_belongs(house: SimpleNamespace, near: User, far: User) -> None:
    run = AuditRun.objects.get(pk=house.running.pk)
    with pytest.raises(NotFoundError):
        cancel_run(run=run, by=far)
    with pytest.raises(NotFoundError):
        request_audit(version=house.version, cohort=house.cohort, protocol=house.protocol, settings={}, by=far)
    review = Review.objects.get(pk=house.review.pk)
    with pytest.raises(NotFoundError), acting_on({house.system.pk}):  # whatever page it came from
        add_comment(review=review, text="Let me in.", by=far)
    cancel_run(run=run, by=near)
    assert AuditRun.objects.get(pk=run.pk).status == "cancelled"


def test_a_limited_role_does_nothing_for_the_house(house: SimpleNamespace, near: User) -> None:
    from evaluation.services.protocols import lock_protocol
    from models_registry.services.systems import create_system

    with pytest.raises(DeniedError, match="limited to single systems"):
        create_system(name="Another", provider="", intended_purpose="x", risk_class="", by=near)
    with pytest.raises(DeniedError):
        lock_protocol(source="name: x", by=near)
    assert roles_of(near) == frozenset()
    with acting_on({house.system.pk}):
        assert roles_of(near) == set(WORKING)
    with acting_on({house.system.pk, 999}):
        assert roles_of(near) == frozenset(), "an act on two systems asks for the role on both"


def test_a_role_held_everywhere_is_not_narrowed_by_a_limited_one(house: SimpleNamespace, near: User) -> None:
    RoleGrant.objects.create(user=near, role=Role.COMMITTEE_MEMBER)
    person = User.objects.get(pk=near.pk)
    assert reach_of(person) is None and roles_of(person) == {Role.COMMITTEE_MEMBER}
    client = client_of(person)
    assert client.get("/cohorts/").status_code == 200
    with acting_on({house.system.pk}):
        assert roles_of(person) == {Role.COMMITTEE_MEMBER, *WORKING}


def test_of_what_is_out_of_sight_no_row_is_given(house: SimpleNamespace, other: AISystem) -> None:
    with in_sight({other.pk}):
        assert list(AISystem.objects.all()) == [other] and not AuditRun.objects.exists()
        assert not Review.objects.filter(pk=house.review.pk).exists() and not house.system.versions.exists()
        with in_sight(None):
            assert AuditRun.objects.exists()
    assert AISystem.objects.count() > 1


def test_every_kind_of_object_says_where_it_belongs() -> None:
    kinds = [model for app in APPS for model in apps.get_app_config(app).get_models()]
    assert [model.__name__ for model in kinds if model not in ways()] == []
    for model, way in ways().items():
        if way:
            str(model._default_manager.filter(**{f"{way}__in": [1]}).query)  # the way leads somewhere
            assert type(model._default_manager).__name__ == "SightManager", model


def routes() -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def walk(patterns: list[Any], prefix: str) -> None:
        for item in patterns:
            route = prefix + str(item.pattern)
            if hasattr(item, "url_patterns"):
                walk(item.url_patterns, route)
            elif item.name:
                found.append((route, item.name))

    walk(get_resolver().url_patterns, "")
    return found


OF_THE_HOUSE = re.compile(
    r"^(governance/ledger/|notifications/|cohorts/|audits/protocols/|governance/policies/|governance/grants/|portal/|"
    r"api/|account|administration|static)"
)
"""Addresses whose number or name stands for nothing of a system, or that something else looks after: the portal's
grants, and the programming interface, whose rows are those in sight."""


def test_every_address_with_a_name_in_it_says_what_it_names() -> None:
    lost = [
        route
        for route, _ in routes()
        if re.search(r"<(int|slug|str):(pk|slug|run_pk)>", route)
        and not named_by(route)
        and not OF_THE_HOUSE.match(route)
    ]
    assert lost == []


UNGUARDED = {
    # About people and their own things.
    "mark_read", "tell_assigned", "tell_handed_over",
    # Called by acts that are guarded, or by workers, in the name of whoever asked.
    "suspend_rows", "close_undecided", "end_row", "settle", "write_event", "record", "start", "decide",
    # Of regulators, whose grants are looked at.
    "enter_grant", "enter_system", "create_link", "use_link",
}  # fmt: skip


def test_every_act_of_a_person_looks_at_what_it_is_about() -> None:
    guarded = {(item.__module__, item.__name__) for item in services}
    lost = []
    for app in ("core", *APPS):
        for file in sorted((ROOT / app).rglob("services/*.py")):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            for item in ast.parse(file.read_text()).body:
                if not isinstance(item, ast.FunctionDef) or item.name.startswith(("_", "check_")):
                    continue
                acts = any(one.arg == "by" and one.annotation for one in item.args.kwonlyargs)
                if acts and item.name not in UNGUARDED:
                    import_module(module)
                    guarded = {(one.__module__, one.__name__) for one in services}
                    lost += [] if (module, item.name) in guarded else [f"{module}.{item.name}"]
    assert lost == []


def test_forms_offer_no_cohort_that_only_a_neighbour_used(house: SimpleNamespace, near: User, far: User) -> None:
    """A cohort belongs to no system: those that nobody used are offered to all, the others to whose systems used it."""
    free = scene.cohort("Used by nobody")
    elsewhere = scene.version("1.0", of=AISystem.objects.get(slug="retina"))
    mine = _offered(client_of(near), house.candidate.pk)
    theirs = _offered(client_of(far), elsewhere.pk)
    assert {house.cohort.pk, free.pk} <= mine
    assert house.cohort.pk not in theirs and free.pk in theirs
    everything = _offered(client_of(scene.person("amir")), house.candidate.pk)
    assert {house.cohort.pk, free.pk} <= everything


def _offered(client: Client, version: int) -> set[int]:
    form = client.get(f"/audits/new/?version={version}").context["form"]
    return {row.pk for row in form.fields["cohort"].queryset}


def test_no_audit_is_requested_on_a_cohort_that_only_a_neighbour_used(house: SimpleNamespace, far: User) -> None:
    """Whoever guesses its number, from a program say, is told what is told of a cohort that is not there."""
    elsewhere, free = scene.version("1.0", of=AISystem.objects.get(slug="retina")), scene.cohort("Used by nobody")
    asked = {"version": elsewhere, "protocol": house.protocol, "by": far}
    with pytest.raises(NotFoundError, match="no such cohort"):
        request_audit(**asked, cohort=house.cohort)
    with pytest.raises(NotFoundError, match="no such cohort"):
        request_audit(**asked, cohort=free, settings={"control": house.cohort.digest})
    with pytest.raises(ProtocolError):  # a cohort of everybody's goes on to the next check, which this protocol fails
        request_audit(**asked, cohort=free)
