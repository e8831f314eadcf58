"""The gate against an oracle: the same rules, written by whoever forgot how the gate does it; and what always holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from governance.policies.facts import AcceptanceFact, PolicyFacts, RunFact
from governance.policies.findings import GOOD, GateOutcome, State
from tests.governance.policy_scene import (
    DIGEST,
    NOW,
    OTHER,
    WAIVER,
    acceptance,
    ago,
    audit_body,
    facts,
    found,
    item,
    policy,
    run,
)

DAYS = st.integers(0, 12)
RUNS = st.lists(
    st.builds(
        lambda pk, protocol, cohort, outcome, days, role, simulated, patients, about: run(
            pk,
            protocol=protocol,
            cohort=cohort,
            outcome=outcome,
            finished_at=ago(days=days),
            requested_at=ago(days=days, hours=1),
            role=role,
            simulated=simulated,
            patients=patients,
            about=about,
        ),
        pk=st.integers(1, 99),
        protocol=st.sampled_from(["imaging-classifier-v1", "report-generator-v1", "other-v1"]),
        cohort=st.integers(1, 3),
        outcome=st.sampled_from(["pass", "pass", "fail", "insufficient"]),
        days=DAYS,
        role=st.sampled_from(["external_test", "external_test", "local", "tuning"]),
        simulated=st.booleans(),
        patients=st.sampled_from([199, 200, 500]),
        about=st.sampled_from([DIGEST, DIGEST, OTHER]),
    ),
    max_size=6,
    unique_by=(lambda row: row.pk, lambda row: (row.protocol, row.cohort, row.finished_at)),
)
RULES = policy(
    audit_body(
        protocols=["imaging-classifier-v1", "report-generator-v1"],
        cohort_role=["external_test", "local"],
        max_age_days=6,
        insufficient=WAIVER,
    )
)


def oracle(runs: list[RunFact], rows: list[AcceptanceFact], void_days: float | None, seen: set[int]) -> str:
    """The state of the item, in whole days before now; ``void_days`` the moment of voiding, likewise."""
    counting = []
    for one in runs:
        days = (NOW - one.finished_at) // timedelta(days=1)
        good = one.protocol in ("imaging-classifier-v1", "report-generator-v1") and one.about == DIGEST
        good = good and one.role != "tuning" and not one.simulated and one.patients >= 200
        good = good and one.cohort not in seen and (void_days is None or days + 1 / 24 < void_days)
        if good:
            counting.append((days, one))
    last = [
        (days, one)
        for days, one in counting
        if not any(
            other.protocol == one.protocol and other.cohort == one.cohort and later < days for later, other in counting
        )
    ]
    if any(one.outcome == "fail" for _, one in last):
        return "failed"
    fresh = [one for days, one in last if days <= 6]
    if any(one.outcome == "pass" for one in fresh):
        return "met"
    gaps = {one.evidence_digest for one in fresh}
    if any(row.evidence_digest in gaps and not row.revoked and row.expires_at > NOW for row in rows):
        return "accepted"
    return "insufficient" if fresh else "stale" if last else "missing"


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[RunFact], list[AcceptanceFact], float | None, set[int]]:
    runs = draw(RUNS)
    rows = [
        acceptance(
            draw(st.sampled_from(runs)),
            pk=number,
            policy_digest=RULES.digest,
            revoked=draw(st.booleans()),
            expires_at=NOW + timedelta(seconds=draw(st.sampled_from([-5, 0, 1, 86_400]))),
            accepted_at=ago(days=2),
        )
        for number in range(draw(st.integers(0, 2)) if runs else 0)
    ]
    void = draw(st.none() | st.integers(0, 12).map(lambda days: days + 0.5))
    return runs, rows, void, draw(st.sets(st.integers(1, 3), max_size=1))


def known(runs: list[RunFact], rows: list[AcceptanceFact], void: float | None, seen: set[int]) -> PolicyFacts:
    return facts(
        *runs,
        acceptances=tuple(rows),
        void_at=None if void is None else ago(days=void),
        seen=tuple((pk, "the version was trained on it") for pk in sorted(seen)),
    )


@given(worlds())
@example(([], [], None, set()))
def test_the_gate_agrees_with_the_oracle(world: Any) -> None:
    row = item(RULES, known(*world))
    assert row.state == oracle(*world)
    assert row.acceptable == (row.state == State.INSUFFICIENT)


def test_the_oracle_reaches_every_state() -> None:
    short = run(outcome="insufficient", finished_at=ago(days=1), requested_at=ago(days=2))
    row = acceptance(short, policy_digest=RULES.digest)
    worlds_of = {
        "met": ([run(finished_at=ago(days=1))], []),
        "failed": ([run(outcome="fail")], []),
        "stale": ([run()], []),
        "missing": ([run(role="tuning")], []),
        "insufficient": ([short], []),
        "accepted": ([short], [row]),
    }
    for expected, (runs, rows) in worlds_of.items():
        assert oracle(runs, rows, None, set()) == expected == item(RULES, known(runs, rows, None, set())).state


ORDER = [State.FAILED, State.MISSING, State.STALE, State.INSUFFICIENT, State.ACCEPTED, State.MET]


@given(worlds(), RUNS.filter(bool))
def test_more_evidence_never_worsens_it_except_a_later_failure_or_a_newer_audit_of_the_same(
    world: Any, more: list[RunFact]
) -> None:
    runs, rows, void, seen = world
    one = replace(more[0], pk=100, finished_at=ago(minutes=1), requested_at=ago(minutes=2), evidence_digest="f" * 64)
    before = item(RULES, known(runs, rows, void, seen)).state
    after = item(RULES, known([*runs, one], rows, void, seen)).state
    again = any((one.protocol, one.cohort) == (other.protocol, other.cohort) for other in runs)
    if one.outcome == "pass" or (one.outcome == "insufficient" and not again):
        assert ORDER.index(after) >= ORDER.index(before)
    if one.outcome == "fail":
        assert after in (before, State.FAILED)


@given(worlds(), st.integers(0, 40))
def test_time_alone_makes_nothing_better_and_a_pass_is_made_of_good_items_only(world: Any, days: int) -> None:
    now, later = found(RULES, known(*world)), found(RULES, known(*world), now=NOW + timedelta(days=days))
    for whole in (now, later):
        assert (whole.outcome == GateOutcome.PASS) == all(row.state in GOOD for row in whole.items)
    if later.outcome == GateOutcome.PASS:
        assert now.outcome == GateOutcome.PASS
    if now.expires_at and NOW + timedelta(days=days) > now.expires_at:
        assert later.items != now.items


def test_no_item_is_no_evidence() -> None:
    in_use = policy(audit_body(cohort_role="post_deployment"))
    assert found(in_use, facts()).items == ()
    assert found(in_use, facts()).outcome == GateOutcome.INSUFFICIENT
