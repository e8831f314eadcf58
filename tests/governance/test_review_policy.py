"""Reviews under a policy: what has to be met, who has to be among those who approve, and evidence that grew old."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.access import can
from core.errors import ConflictError, DeniedError
from core.models import Role, RoleGrant, User
from evaluation.models import AuditRun
from governance.access import check_may_approve
from governance.models import Policy, Review
from governance.quorums import filled
from governance.selectors.electorate import standing
from governance.services.policies import accept_insufficiency, withdraw_policy
from governance.services.reviews import cast_vote, open_review, withdraw_review
from models_registry.models import ModelVersion
from tests.governance.clock import Clock
from tests.governance.conftest import make_version
from tests.governance.machine_scene import audit, make_scene, put_in_force
from tests.governance.signed import signed

Make = Callable[..., AuditRun]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def scene(db: None, home: Path, clock: Clock) -> SimpleNamespace:
    return make_scene()


@pytest.fixture
def policy(scene: SimpleNamespace) -> Policy:
    return put_in_force(scene, signed)


@pytest.fixture
def run(scene: SimpleNamespace, home: Path, policy: Policy) -> Make:
    version = make_version(scene, "1.0")
    return lambda outcome="pass": audit(
        ModelVersion.objects.get(pk=version.pk), home, outcome=outcome, by=scene.amir, people=scene
    )


def vote(review: Review, *voters: User, choice: str = "approve") -> str:
    for by in voters:
        cast_vote(review=review, choice=choice, rationale="I read it.", by=by, signed=signed(by))
    review.refresh_from_db()
    return str(review.status)


def test_a_review_is_held_under_the_policy_in_force(run: Make, scene: SimpleNamespace, policy: Policy) -> None:
    review = open_review(run=run(), by=scene.clara)
    assert (review.policy, review.quorum) == (policy, 2)
    assert can(check_may_approve, scene.mina, Review.objects.get(pk=review.pk))


def test_a_quorum_without_the_required_role_does_not_approve(run: Make, scene: SimpleNamespace) -> None:
    review = open_review(run=run(), by=scene.clara)
    assert vote(review, scene.mina, scene.tom) == "open"
    assert standing(Review.objects.get(pk=review.pk)).missing_roles == (Role.CLINICIAN_LEAD,)
    assert vote(review, scene.lea) == "approved"


def test_without_the_required_role_a_quorum_still_rejects(run: Make, scene: SimpleNamespace) -> None:
    review = open_review(run=run(), by=scene.clara)
    assert vote(review, scene.mina, scene.tom) == "open"
    assert vote(review, scene.mina2, scene.elena2, choice="reject") == "rejected"


@pytest.mark.parametrize("outcome", ["fail", "insufficient"])
def test_what_the_policy_does_not_let_pass_is_only_rejected(outcome: str, run: Make, scene: SimpleNamespace) -> None:
    review = open_review(run=run(outcome), by=scene.clara)
    with pytest.raises(DeniedError, match=r"The policy machine-v1 no\. 1 is not met"):
        vote(review, scene.lea)
    assert vote(review, scene.lea, scene.mina, choice="reject") == "rejected"


def test_an_accepted_lack_of_evidence_is_approved_until_its_day(
    run: Make, scene: SimpleNamespace, policy: Policy, clock: Clock
) -> None:
    audited = run("insufficient")
    until = clock.moment + timedelta(days=30)
    facts = {"item": "fairness", "reason": "A rare disease.", "expires_at": until}
    accept_insufficiency(version=audited.version, policy=policy, **facts, by=scene.cora, signed=signed(scene.cora))
    review = open_review(run=audited, by=scene.clara)
    assert vote(review, scene.lea) == "open"
    clock.moment = until
    with pytest.raises(DeniedError, match="is not met"):
        vote(review, scene.mina)
    clock.moment = until - timedelta(hours=1)
    assert vote(review, scene.mina) == "approved"


def test_evidence_that_grew_older_than_the_policy_allows_is_not_approved(
    run: Make, scene: SimpleNamespace, clock: Clock
) -> None:
    review = open_review(run=run(), by=scene.clara)
    clock.pass_by(days=201)
    with pytest.raises(DeniedError, match=r"is not met\. .+"):
        vote(review, scene.lea)
    assert "is not met" in can(check_may_approve, scene.lea, Review.objects.get(pk=review.pk)).reason


def test_a_newer_audit_makes_the_review_stale(run: Make, scene: SimpleNamespace) -> None:
    review = open_review(run=run(), by=scene.clara)
    newer = run()
    with pytest.raises(DeniedError, match=f"Audit {newer.pk} repeats the audit of this review and is newer"):
        vote(review, scene.lea)
    withdraw_review(review=review, reason="There is a newer audit.", by=scene.clara)
    assert vote(open_review(run=newer, by=scene.clara), scene.lea, scene.mina) == "approved"


def test_a_policy_that_was_withdrawn_lets_nothing_pass(run: Make, scene: SimpleNamespace, policy: Policy) -> None:
    review = open_review(run=run(), by=scene.clara)
    withdraw_policy(policy=policy, by=scene.cora, reason="Too mild.")
    with pytest.raises(DeniedError, match="not in force"):
        vote(review, scene.lea)
    with pytest.raises(ConflictError, match="is not in force for Chest model"):
        withdraw_review(review=review, reason="Its policy ended.", by=scene.clara)
        open_review(run=review.run, by=scene.clara, policy=policy)


def test_one_person_with_two_roles_fills_one(run: Make, scene: SimpleNamespace, policy: Policy) -> None:
    body = policy.body | {"review": {"quorum": 2, "required_roles": ["clinician_lead", "committee_chair"]}}
    RoleGrant.objects.create(user=scene.lea, role=Role.COMMITTEE_CHAIR)
    review = open_review(run=run(), by=scene.clara)
    assert filled(body["review"]["required_roles"], [{"clinician_lead", "committee_chair"}, {"committee_member"}]) in (
        {"clinician_lead": 0},
        {"committee_chair": 0},
    )
    assert vote(review, scene.lea, scene.mina) == "approved"


roles = st.sampled_from("abcd")


@given(
    required=st.lists(roles, unique=True, max_size=4),
    held=st.lists(st.frozensets(roles, max_size=3), max_size=4),
)
def test_roles_are_filled_as_well_as_they_can_be(required: list[str], held: list[frozenset[str]]) -> None:
    """Against every way to put people on roles."""
    found = filled(required, held)
    assert all(role in held[index] for role, index in found.items())
    assert len(set(found.values())) == len(found) and set(found) <= set(required)
    places = [*range(len(held)), *[None] * len(required)]
    best = max(
        sum(place is not None and role in held[place] for role, place in zip(required, way, strict=True))
        for way in set(permutations(places, len(required)))
    )
    assert len(found) == best
