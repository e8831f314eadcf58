"""Attacks on decisions: a milder protocol of one name, a person with two accounts, ground that moves under votes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.errors import ConflictError, DeniedError, DigestMismatchError
from core.models import Notification, Role, RoleGrant, User
from evaluation.models import AuditRun, Protocol
from governance.models import Policy, Review
from governance.policies.findings import GateOutcome, State
from governance.policies.form import Policy as Rules
from governance.policies.reading import PolicyError
from governance.selectors.approvals import standing_approval
from governance.selectors.policies import gate, warnings_of
from governance.selectors.releases import check_released, officers_among, tally_of
from governance.selectors.risks import line_of
from governance.services.accounts import merge_accounts
from governance.services.conditions import claim_condition, confirm_condition, propose_condition
from governance.services.deployments import deploy
from governance.services.policies import approve_policy, propose_policy
from governance.services.releases import cast_release_vote, request_release
from governance.services.reviews import cast_vote, open_review, recuse
from governance.services.risks import accept_residual
from models_registry.services.cohort_roles import assign_cohort_role
from tests.governance.policy_scene import audit_body, facts, policy, run, written
from tests.governance.policy_scene import item as judged
from tests.governance.risk_scene import a_risk, implemented, planned, rated, verified
from tests.governance.signed import signed
from tests.governance.test_releases import ASKED, make_cohort

Audited = Callable[..., AuditRun]
STRICT, MILD = "a" * 64, "b" * 64


def second(name: str, *roles: Role) -> User:
    """An account of which nobody knows yet whose it is."""
    user = User.objects.create(username=name)
    RoleGrant.objects.bulk_create(RoleGrant(user=user, role=role) for role in roles)
    return user


def merge(source: User, target: User, people: SimpleNamespace) -> None:
    merge_accounts(source=source, target=target, by=people.ada, signed=signed(people.ada))


# ---- A milder protocol of the same name


def test_a_pass_by_another_protocol_of_the_same_name_outweighs_no_failure() -> None:
    failed = run(1, protocol_digest=STRICT, outcome="fail")
    later = run(2, protocol_digest=MILD, finished_at=failed.finished_at + timedelta(days=1))
    assert judged(policy(), facts(failed, later)).state == State.FAILED
    again = run(3, protocol_digest=STRICT, finished_at=failed.finished_at + timedelta(days=2))
    assert judged(policy(), facts(failed, later, again)).state == State.MET


@pytest.mark.parametrize("pin", [STRICT[:12], STRICT])
def test_a_pinned_protocol_is_that_one_alone(pin: str) -> None:
    pinned = policy(audit_body(protocols=[f"imaging-classifier-v1@{pin}"]))
    assert judged(pinned, facts(run(1, protocol_digest=STRICT))).state == State.MET
    found = judged(pinned, facts(run(1, protocol_digest=MILD)))
    assert found.state == State.MISSING
    assert f"is by the protocol imaging-classifier-v1 ({MILD[:8]})" in found.statement
    assert judged(pinned, facts(run(1, protocol="other", protocol_digest=STRICT))).state == State.MISSING


@pytest.mark.parametrize("name", ["x@", "x@abc", "x@" + "g" * 12, "x@" + "A" * 12, "@" + "a" * 12, "x@" + "a" * 65])
def test_a_pin_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(PolicyError, match="is no protocol: after @"):
        policy(audit_body(protocols=[name]))


def test_a_milder_protocol_that_is_approved_later_is_warned_of_and_does_not_count_where_one_is_pinned(
    people: SimpleNamespace, audited: Audited
) -> None:
    done = audited()
    assign_cohort_role(cohort=done.cohort.cohort, role="external_test", site="", by=people.amir)
    strict = done.protocol
    mild = Protocol.objects.create(
        name=strict.name, title="Milder", digest=MILD, source="", body={}, status=Protocol.Status.APPROVED,
        locked_by=people.amir, approved_by=people.clara, approved_at=timezone.now(),
    )  # fmt: skip
    AuditRun.objects.filter(pk=done.pk).update(protocol=mild)
    by_name, pinned = audit_body(min_patients=1), f"{strict.name}@{strict.digest[:12]}"
    by_pin = by_name | {"protocols": [pinned]}
    told = warnings_of(Rules.from_yaml(written(by_name)))
    assert len(told) == 1 and "2 approved protocols are called imaging-classifier-v1" in told[0] and pinned in told[0]
    assert warnings_of(Rules.from_yaml(written(by_pin))) == []
    assert "is not locked and approved here" in warnings_of(Rules.from_yaml(written(
        by_name | {"protocols": [f"{strict.name}@{'0' * 12}"]})))[0]  # fmt: skip
    outcomes = []
    for name, body in (("named", by_name), ("pinned", by_pin)):
        row = propose_policy(
            source=written(body, name=name, applies_to=[f"{name}-none", "chest-model"]), by=people.amir
        )
        outcomes.append(gate(done.version, row).items[-1])
    assert [item.state for item in outcomes] == [State.MET, State.MISSING]
    assert f"({MILD[:8]})" in outcomes[0].statement


@pytest.mark.parametrize("title", ["Before\u202e use", "Before\u200b use", "Before\x07 use"])
def test_a_title_that_is_not_what_it_looks_like_is_refused(title: str) -> None:
    with pytest.raises(PolicyError, match="control characters"):
        policy(title=title)


def test_keys_that_are_brought_in_from_elsewhere_are_refused() -> None:
    hidden = written(audit_body(insufficient="refused")).replace("  insufficient: refused", (
        "  <<: {insufficient: {accepted_by: [committee_chair], at_most_days: 365}}"))  # fmt: skip
    with pytest.raises(PolicyError, match="'<<' brings in the keys of another mapping"):
        Rules.from_yaml(hidden)


# ---- One person by two accounts, found out afterwards


def test_a_policy_that_one_person_proposed_and_approved_lets_nothing_pass(
    people: SimpleNamespace, audited: Audited
) -> None:
    done = audited()
    assign_cohort_role(cohort=done.cohort.cohort, role="external_test", site="", by=people.amir)
    double = second("amir2", Role.COMMITTEE_CHAIR)
    row = propose_policy(source=written(audit_body(min_patients=1)), by=people.amir)
    approve_policy(policy=row, by=double, signed=signed(double))
    row = Policy.objects.get(pk=row.pk)
    assert gate(done.version, row).outcome == GateOutcome.PASS
    merge(double, people.amir, people)
    found = gate(done.version, Policy.objects.get(pk=row.pk))
    assert found.outcome == GateOutcome.INSUFFICIENT
    assert "proposed and approved by one person" in found.items[0].statement
    review = open_review(run=done, by=people.clara)
    with pytest.raises(DeniedError, match="by two accounts"):
        cast_vote(review=review, choice="approve", rationale="It passes.", by=people.mina, signed=signed(people.mina))


def test_an_approval_falls_whose_condition_was_confirmed_by_its_owner(
    people: SimpleNamespace, audited: Audited
) -> None:
    double = second("elena2", Role.COMMITTEE_MEMBER)
    review = open_review(run=audited(), by=people.clara)
    lasting = timezone.now() + timedelta(days=30)
    owner = second("olga", Role.ML_ENGINEER)
    made = propose_condition(review=review, text="Report drift.", owner=owner, due_at=lasting, by=people.mina)
    for by in (people.mina, people.tom):
        cast_vote(review=review, choice="approve", rationale="I read it.", by=by, signed=signed(by))
    claim_condition(condition=made, claim="Done.", by=owner)
    confirm_condition(condition=made, remark="I looked.", by=double, signed=signed(double))
    assert standing_approval(review.version).stands
    merge(double, owner, people)
    review.version.refresh_from_db()
    assert review.version.status == "void" and "a condition of their own" in review.version.void_reason
    assert not standing_approval(review.version).stands


def test_a_release_that_its_maker_decided_is_none(people: SimpleNamespace, home: Path) -> None:
    double = second("elena2", Role.DPO)
    cohort = make_cohort(people)
    release = request_release(cohort=cohort, by=people.amir, **ASKED)
    cast_release_vote(release=release, choice="approve", rationale="Fine.", by=double, signed=signed(double))
    check_released(cohort)
    merge(double, people.elena, people)
    with pytest.raises(DeniedError, match="one person by two accounts"):
        check_released(cohort)


def test_votes_of_one_person_by_two_accounts_release_nothing(people: SimpleNamespace, home: Path) -> None:
    double = second("mina2", Role.COMMITTEE_MEMBER)
    RoleGrant.objects.create(user=people.mina, role=Role.DPO)
    release = request_release(cohort=make_cohort(people), by=people.amir, quorum=3, **ASKED)
    for by in (people.mina, double):
        cast_release_vote(release=release, choice="approve", rationale="Fine.", by=by, signed=signed(by))
    merge(double, people.mina, people)
    votes = list(release.votes.select_related("voter"))
    assert tally_of(release, votes, officers_among(votes)).approve == 1


def test_a_risk_that_its_owner_accepted_by_another_account_is_not_accepted(people: SimpleNamespace) -> None:
    double = second("mina2", Role.COMMITTEE_CHAIR)
    risk = a_risk(people)
    rated(risk, people, "before", 3, 3)
    verified(risk, people)
    rated(risk, people, "after", 2, 3)
    accept_residual(
        risk=risk, rationale="The benefit is larger.", expires_at=timezone.now() + timedelta(days=30), by=double,
        signed=signed(double),
    )  # fmt: skip
    assert line_of(risk).acceptance is not None
    merge(double, people.mina, people)
    assert line_of(risk).acceptance is None


def test_a_control_that_its_maker_verified_by_another_account_lowers_nothing(people: SimpleNamespace) -> None:
    from governance.services.controls import verify_control

    double = second("elena2", Role.AUDITOR)
    risk = a_risk(people)
    rated(risk, people, "before", 4, 4)
    control = implemented(planned(risk, people), people.elena)
    verify_control(control=control, verification="I looked at it.", by=double)
    rated(risk, people, "after", 1, 1)
    assert line_of(risk).after.product < line_of(risk).before.product
    merge(double, people.elena, people)
    assert line_of(risk).lowered_without_control
    assert line_of(risk).after.product == line_of(risk).before.product


# ---- The ground moves between two votes


def first_vote(people: SimpleNamespace, audited: Audited) -> Review:
    review = open_review(run=audited(), by=people.clara)
    cast_vote(review=review, choice="approve", rationale="I read it.", by=people.mina, signed=signed(people.mina))
    return review


def second_vote(review: Review, people: SimpleNamespace) -> Any:
    return cast_vote(review=review, choice="approve", rationale="I too.", by=people.tom, signed=signed(people.tom))


def test_weights_that_change_between_two_votes_stop_the_second(people: SimpleNamespace, audited: Audited) -> None:
    review = first_vote(people, audited)
    type(review.version).objects.filter(pk=review.version_id).update(digest="f" * 64)
    with pytest.raises(ConflictError, match="not what was put before the committee"):
        second_vote(review, people)


def test_evidence_that_changes_on_disk_between_two_votes_stops_the_second(
    people: SimpleNamespace, audited: Audited, home: Path
) -> None:
    review = first_vote(people, audited)
    (stored,) = [path for path in (home / "store").rglob("*") if path.is_file() and review.evidence_digest in path.name]
    stored.chmod(0o644)
    stored.write_bytes(stored.read_bytes().replace(b'"pass"', b'"PASS"'))
    with pytest.raises(DigestMismatchError, match="was changed on disk"):
        second_vote(review, people)
    review.refresh_from_db()
    assert (review.status, review.votes.count()) == ("open", 1)


def test_a_failing_audit_between_two_votes_stops_the_second_under_a_policy(
    people: SimpleNamespace, audited: Audited
) -> None:
    done = audited()
    assign_cohort_role(cohort=done.cohort.cohort, role="external_test", site="", by=people.amir)
    row = propose_policy(source=written(audit_body(min_patients=1)), by=people.amir)
    approve_policy(policy=row, by=people.clara, signed=signed(people.clara))
    review = open_review(run=done, by=people.clara)
    cast_vote(review=review, choice="approve", rationale="I read it.", by=people.mina, signed=signed(people.mina))
    worse = AuditRun.objects.get(pk=done.pk)
    worse.pk, worse.attempt, worse.outcome, worse.finished_at = None, 2, "fail", timezone.now()
    worse.save()
    with pytest.raises(DeniedError, match="it fails"):
        second_vote(review, people)


def test_a_policy_that_is_superseded_between_two_votes_stops_the_second(
    people: SimpleNamespace, audited: Audited
) -> None:
    done = audited()
    assign_cohort_role(cohort=done.cohort.cohort, role="external_test", site="", by=people.amir)
    for patients in (1, 5000):
        row = propose_policy(source=written(audit_body(min_patients=patients)), by=people.amir)
        approve_policy(policy=row, by=people.clara, signed=signed(people.clara))
        if patients == 1:
            review = open_review(run=done, by=people.clara)
            cast_vote(review=review, choice="approve", rationale="So.", by=people.mina, signed=signed(people.mina))
    with pytest.raises(DeniedError, match="is not in force: superseded"):
        second_vote(review, people)


def test_nothing_is_deployed_that_was_not_approved(people: SimpleNamespace, audited: Audited) -> None:
    review = first_vote(people, audited)
    with pytest.raises(ConflictError, match="may not be used"):
        deploy(
            version=review.version, site="North", unit="", share=100, contact_name="Ines",
            contact_email="ines@hospital.example", by=people.clara, signed=signed(people.clara),
        )  # fmt: skip


def test_a_chair_keeps_nobody_out_of_a_review_unseen(people: SimpleNamespace, audited: Audited) -> None:
    other = second("carl", Role.COMMITTEE_CHAIR)
    review = first_vote(people, audited)
    recuse(review=review, person=people.tom, reason="He knows the maker.", by=people.clara)
    recuse(review=review, person=people.lea, reason="I know the maker.", by=people.lea)
    told = Notification.objects.filter(key__startswith=f"review:{review.pk}:recused:")
    assert {row.recipient for row in told} == {people.tom, people.clara, other}
    assert all("He knows the maker." in row.text and "Clara" in row.text for row in told)


def test_two_accounts_lead_nowhere_by_any_chain_of_merges(people: SimpleNamespace, audited: Audited) -> None:
    """A into B, B into C: whoever was A or B is C; and none of it is undone by merging back."""
    first, middle = second("a1"), second("b1", Role.COMMITTEE_MEMBER)
    merge(first, middle, people)
    merge(middle, people.elena, people)
    for account in (first, middle):
        account.refresh_from_db()
        assert (account.identity_id, account.is_active) == (people.elena.pk, False)
        with pytest.raises(ConflictError, match="merged already"):
            merge(people.elena, account, people)
    with pytest.raises(ConflictError, match="one account"):
        merge(people.elena, people.elena, people)
    review = open_review(run=audited(), by=people.clara)
    RoleGrant.objects.create(user=middle, role=Role.COMMITTEE_MEMBER)  # granted around the services
    with pytest.raises(DeniedError, match="You submitted this version"):
        cast_vote(review=review, choice="approve", rationale="Mine.", by=middle, signed=signed(middle))
