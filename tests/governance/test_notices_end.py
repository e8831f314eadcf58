"""What was told of a matter is marked as read by the act that ends the waiting, and what is told of others is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from django.utils import timezone

from core.models import Notification, Topic, User
from core.notifications import matter_of
from governance.execution_conditions import lapse_conditions
from governance.models import Condition, Review
from governance.services import conditions, incidents, reviews, risks
from governance.services import deployments as uses
from governance.services.oversight import end_measure, record_measure, verify_measure
from governance.services.policies import approve_policy, propose_policy, revoke_acceptance, withdraw_policy
from governance.services.releases import cast_release_vote, request_release, withdraw_release
from models_registry.models import ModelVersion, VersionStatus
from tests.governance import deployment_scene, incident_scene, policy_scene, risk_scene
from tests.governance.conftest import make_run
from tests.governance.policy_fixtures import WAIVED, accept, judged, standing
from tests.governance.signed import signed
from tests.governance.test_releases import ASKED, make_cohort

__all__ = ["judged", "standing"]

LONG = "It was looked at twice, and nothing is left to do here."
Act = Callable[[], object]


class Waits(NamedTuple):
    """What is told of, the act that ends the waiting, and whose waiting it ends: empty for everybody's."""

    matter: str
    act: Act
    only: str = ""


class World(NamedTuple):
    people: SimpleNamespace
    home: Path
    fixture: Callable[[str], Any]


Case = Callable[[World], Waits]
CASES: dict[str, Case] = {}


def case(make: Case) -> Case:
    CASES[make.__name__] = make
    return make


def opened(world: World) -> Review:
    return reviews.open_review(run=make_run(world.people, world.home), by=world.people.clara)


def vote(review: Review, by: User, choice: str = "approve") -> None:
    reviews.cast_vote(review=review, choice=choice, rationale=LONG, by=by, signed=signed(by))


@case
def vote_cast(world: World) -> Waits:
    review = opened(world)
    return Waits(f"review:{review.pk}:opened", lambda: vote(review, world.people.mina), only="mina")


@case
def review_decided(world: World) -> Waits:
    review = opened(world)
    vote(review, world.people.mina)
    return Waits(f"review:{review.pk}", lambda: vote(review, world.people.tom))


@case
def review_withdrawn(world: World) -> Waits:
    review = opened(world)
    act = partial(reviews.withdraw_review, review=review, reason=LONG, by=world.people.clara)
    return Waits(f"review:{review.pk}", act)


@case
def person_recused(world: World) -> Waits:
    review, by = opened(world), world.people.clara
    act = partial(reviews.recuse, review=review, person=world.people.tom, reason=LONG, by=by)
    return Waits(f"review:{review.pk}:opened", act, only="tom")


def proposed(world: World) -> Condition:
    return conditions.propose_condition(
        review=opened(world), text=LONG, owner=world.people.elena, due_at=timezone.now() + timedelta(days=9),
        by=world.people.mina,
    )  # fmt: skip


def condition_open(world: World) -> Condition:
    made = proposed(world)
    vote(made.review, world.people.mina)
    vote(made.review, world.people.tom)
    return made


def claimed(world: World) -> Condition:
    return conditions.claim_condition(condition=condition_open(world), claim=LONG, by=world.people.elena)


@case
def condition_removed(world: World) -> Waits:
    made = proposed(world)
    return Waits(f"condition:{made.pk}", lambda: conditions.remove_condition(condition=made, by=world.people.mina))


@case
def condition_claimed(world: World) -> Waits:
    made, by = condition_open(world), world.people.elena
    act = partial(conditions.claim_condition, condition=made, claim=LONG, by=by)
    return Waits(f"condition:{made.pk}", act, only="elena")


@case
def claim_returned(world: World) -> Waits:
    made, by = claimed(world), world.people.tom
    act = partial(conditions.return_claim, condition=made, reason=LONG, by=by)
    return Waits(f"condition:{made.pk}:claimed", act)


@case
def condition_confirmed(world: World) -> Waits:
    made, by = claimed(world), world.people.tom
    act = partial(conditions.confirm_condition, condition=made, remark=LONG, by=by, signed=signed(by))
    return Waits(f"condition:{made.pk}", act)


@case
def condition_handed_on(world: World) -> Waits:
    made, people = condition_open(world), world.people
    act = partial(conditions.reassign_condition, condition=made, owner=people.amir, by=people.clara)
    return Waits(f"condition:{made.pk}", act)


@case
def condition_ended_with_its_approval(world: World) -> Waits:
    made = condition_open(world)
    ModelVersion.objects.filter(pk=made.review.version_id).update(status=VersionStatus.RETIRED)
    return Waits(f"condition:{made.pk}", lapse_conditions)


def incident(world: World, **facts: Any) -> Any:
    return incident_scene.recorded(incident_scene.make_scene(world.people), **facts)


@case
def report_sent(world: World) -> Waits:
    (clock,) = incident_scene.clocks(incident(world)).values()
    at, by = timezone.now(), world.people.clara
    act = partial(incidents.mark_reported, clock=clock, at=at, reference="17", by=by)
    return Waits(f"incident-clock:{clock.pk}", act)


@case
def report_explained(world: World) -> Waits:
    (clock,) = incident_scene.clocks(incident(world)).values()
    act = partial(incidents.explain_clock, clock=clock, reason=LONG, by=world.people.clara)
    return Waits(f"incident-clock:{clock.pk}", act)


@case
def clock_superseded(world: World) -> Waits:
    row = incident(world)
    (clock,) = incident_scene.clocks(row).values()
    facts = incidents.report_of(row)
    other = incident_scene.report(row.system, version=row.version, aware_at=facts.aware_at, death=True)
    act = partial(incidents.amend_facts, incident=row, report=other, reason=LONG, by=world.people.clara)
    return Waits(f"incident-clock:{clock.pk}", act)


@case
def incident_closed(world: World) -> Waits:
    row = incident(world)
    (clock,) = incident_scene.clocks(row).values()
    incidents.explain_clock(clock=clock, reason=LONG, by=world.people.clara)
    incidents.investigate(incident=row, by=world.people.clara)
    act = partial(incidents.close_incident, incident=row, root_cause=LONG, correction=LONG, by=world.people.clara)
    return Waits(f"incident:{row.pk}", act)


@case
def incident_handed_on(world: World) -> Waits:
    row, people = incident(world), world.people
    incidents.assign(incident=row, owner=people.mina, by=people.clara)
    return Waits(f"incident:{row.pk}:owner", lambda: incidents.assign(incident=row, owner=people.lea, by=people.clara))


def suspended(world: World) -> Any:
    row = deployment_scene.put(deployment_scene.approved(world.people, world.home), world.people.clara)
    return uses.suspend_deployment(deployment=row, reason=LONG, by=world.people.amir)


@case
def deployment_resumed(world: World) -> Waits:
    row, by = suspended(world), world.people.clara
    act = partial(uses.resume_deployment, deployment=row, reason=LONG, by=by, signed=signed(by))
    return Waits(f"deployment:{row.pk}", act)


@case
def deployment_resumed_unconfirmed(world: World) -> Waits:
    return Waits(f"unconfirmed:{(waits := deployment_resumed(world)).matter.split(':')[1]}", waits.act)


@case
def deployment_ended(world: World) -> Waits:
    row = suspended(world)
    act = partial(uses.end_deployment, deployment=row, reason=LONG, by=world.people.clara)
    return Waits(f"deployment:{row.pk}", act)


@case
def site_confirmed(world: World) -> Waits:
    row = suspended(world)
    act = partial(uses.acknowledge_suspension, deployment=row, name="Ines", by=world.people.clara)
    return Waits(f"unconfirmed:{row.pk}", act)


@case
def suspension_lifted(world: World) -> Waits:
    version, by = deployment_scene.approved(world.people, world.home), world.people.clara
    uses.suspend_version(version=version, reason=LONG, by=world.people.amir)
    act = partial(uses.lift_suspension, version=version, reason=LONG, by=by, signed=signed(by))
    return Waits(f"version:{version.pk}", act)


@case
def policy_approved(world: World) -> Waits:
    policy, by = propose_policy(source=policy_scene.written(), by=world.people.amir), world.people.clara
    return Waits(f"policy:{policy.pk}", lambda: approve_policy(policy=policy, by=by, signed=signed(by)))


@case
def policy_withdrawn(world: World) -> Waits:
    policy = propose_policy(source=policy_scene.written(), by=world.people.amir)
    act = partial(withdraw_policy, policy=policy, reason=LONG, by=world.people.clara)
    return Waits(f"policy:{policy.pk}", act)


@case
def gap_no_more_accepted(world: World) -> Waits:
    row = accept(world.fixture("judged")(outcome="insufficient"), world.fixture("standing")(WAIVED), world.people.clara)
    act = partial(revoke_acceptance, acceptance=row, reason=LONG, by=world.people.clara)
    return Waits(f"acceptance:{row.pk}", act)


@case
def risk_handed_on(world: World) -> Waits:
    risk, people = risk_scene.a_risk(world.people), world.people
    return Waits(f"risk:{risk.pk}:owner", lambda: risk_scene.hand_over(risk, people.elena, people.clara))


@case
def risk_accepted_again(world: World) -> Waits:
    risk = risk_scene.acceptable(world.people)
    risk_scene.accepted(risk, world.people.clara)
    risks.end_acceptance(risk=risk, reason=LONG, by=world.people.clara)
    act = partial(risk_scene.accepted, risk_scene.now_of(risk), world.people.clara)
    return Waits(f"risk:{risk.pk}:acceptance-ended", act)


@case
def risk_acceptance_ended(world: World) -> Waits:
    risk = risk_scene.acceptable(world.people)
    row = risk_scene.accepted(risk, world.people.clara)
    act = partial(risks.end_acceptance, risk=risk, reason=LONG, by=world.people.clara)
    return Waits(f"risk-acceptance:{row.pk}", act)


@case
def risk_closed(world: World) -> Waits:
    risk = risk_scene.acceptable(world.people)
    return Waits(f"risk:{risk.pk}", lambda: risks.close_risk(risk=risk, reason=LONG, by=world.people.clara))


@case
def control_implemented(world: World) -> Waits:
    control = risk_scene.planned(risk_scene.a_risk(world.people), world.people)
    return Waits(f"control:{control.pk}", lambda: risk_scene.implemented(control, world.people.elena))


@case
def control_verified(world: World) -> Waits:
    from governance.services.controls import verify_control

    people = world.people
    control = risk_scene.implemented(risk_scene.planned(risk_scene.a_risk(people), people), people.elena)
    act = partial(verify_control, control=control, verification=LONG, by=people.amir)
    return Waits(f"control:{control.pk}", act)


def measure(world: World) -> Any:
    people = world.people
    return record_measure(
        system=risk_scene.system_of(people), limb="c", kind="built_in", text=LONG, role="radiologist",
        moment="while reading", responsible=people.lea, by=people.elena,
    )  # fmt: skip


@case
def measure_verified(world: World) -> Waits:
    row = measure(world)
    act = partial(verify_measure, measure=row, verification=LONG, by=world.people.clara)
    return Waits(f"measure:{row.pk}", act)


@case
def measure_ended(world: World) -> Waits:
    row = measure(world)
    return Waits(f"measure:{row.pk}", lambda: end_measure(measure=row, reason=LONG, by=world.people.clara))


@case
def release_decided(world: World) -> Waits:
    row, by = request_release(cohort=make_cohort(world.people), by=world.people.amir, **ASKED), world.people.dora
    act = partial(cast_release_vote, release=row, choice="approve", rationale=LONG, by=by, signed=signed(by))
    return Waits(f"release:{row.pk}", act)


@case
def release_withdrawn(world: World) -> Waits:
    row, by = request_release(cohort=make_cohort(world.people), by=world.people.amir, **ASKED), world.people.amir
    return Waits(f"release:{row.pk}", lambda: withdraw_release(release=row, reason=LONG, by=by))


@pytest.mark.parametrize("name", CASES)
def test_what_was_told_waits_no_more(
    name: str, people: SimpleNamespace, home: Path, request: pytest.FixtureRequest
) -> None:
    waits = CASES[name](World(people, home, request.getfixturevalue))
    kind, pk, *_step = waits.matter.split(":")
    mine, other = f"{waits.matter}:planted", f"{kind}:{pk}9:planted"
    for key in (mine, other):
        for person in (people.mina, people.tom, people.elena):
            Notification.objects.create(recipient=person, topic=Topic.REVIEWS, title="Waits", key=key)
    before = {row.pk for row in Notification.objects.filter(key__startswith=f"{waits.matter}:", read_at=None)}
    assert all(matter_of(key) for key in Notification.objects.values_list("key", flat=True)), "one form of keys"
    waits.act()
    left = Notification.objects.filter(pk__in=before, read_at=None).values_list("recipient__username", flat=True)
    assert waits.only not in left if waits.only else not left
    assert not waits.only or Notification.objects.filter(key=mine, read_at=None).count() == 2, "others still wait"
    assert Notification.objects.filter(key=other, read_at=None).count() == 3, "another matter"
