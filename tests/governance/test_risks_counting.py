"""What counts of a risk's ratings, against every case there is, worked out by an oracle that knows rules only."""

from __future__ import annotations

from itertools import combinations_with_replacement, product

import pytest

from governance.requirements import load_requirements
from governance.standing.register import ControlFacts, Stated, judge_risk

SCALE = (1, 2, 3, 4)
RATINGS = [None, *(Stated(severity=severity, likelihood=likelihood) for severity in SCALE for likelihood in SCALE)]
KINDS, STATUSES = ("design", "protection", "information"), ("planned", "implemented", "verified", "dropped")
CONTROLS = [ControlFacts(kind=kind, status=status) for kind in KINDS for status in STATUSES]
SETS = [list(chosen) for size in (0, 1, 2) for chosen in combinations_with_replacement(CONTROLS, size)]
MATRIX = load_requirements().risk_matrix
BANDS = {1: "low", 2: "low", 3: "low", 4: "medium", 6: "medium", 8: "high", 9: "high", 12: "very_high", 16: "very_high"}


def oracle(before: Stated | None, after: Stated | None, controls: list[ControlFacts]) -> tuple[int, int]:
    """Severity and likelihood that remain, from the sentences of the docs, one case after the other."""
    if after is None:
        return 4, 4
    start = (before.severity, before.likelihood) if before else (4, 4)
    kinds = [control.kind for control in controls if control.status == "verified"]
    if not kinds:
        return max(start[0], after.severity), max(start[1], after.likelihood)
    if "design" in kinds or "protection" in kinds:
        return after.severity, after.likelihood
    return max(start[0], after.severity), after.likelihood


def test_every_case_counts_as_the_rules_say() -> None:
    """17 x 17 ratings by 91 sets of up to two controls: 26 299 cases."""
    for before, after, controls in product(RATINGS, RATINGS, SETS):
        found = judge_risk(MATRIX, before=before, after=after, controls=controls)
        assert (found.after.severity, found.after.likelihood) == oracle(before, after, controls), (before, after)
        assert found.after.band == BANDS[found.after.product]
        assert found.before.product == (before.severity * before.likelihood if before else 16)
        assert found.unacceptable == (found.after.product >= 8)
        assert found.never_acceptable == (found.after.product >= 12)


def test_without_a_verified_control_nothing_is_milder_than_before() -> None:
    unverified = [controls for controls in SETS if all(control.status != "verified" for control in controls)]
    for before, after, controls in product(RATINGS, RATINGS, unverified):
        found = judge_risk(MATRIX, before=before, after=after, controls=controls)
        assert found.after.severity >= found.before.severity
        assert found.after.likelihood >= found.before.likelihood
        lower = after is not None and (
            after.severity < found.before.severity or after.likelihood < found.before.likelihood
        )
        assert found.lowered_without_control == lower


def test_a_further_control_never_makes_what_remains_worse() -> None:
    """And one that is not verified changes nothing at all."""
    for before, after, controls in product(RATINGS, RATINGS, [item for item in SETS if len(item) < 2]):
        plain = judge_risk(MATRIX, before=before, after=after, controls=controls)
        for further in CONTROLS:
            more = judge_risk(MATRIX, before=before, after=after, controls=[*controls, further])
            assert more.after.product <= plain.after.product
            if further.status != "verified":
                assert more == plain


@pytest.mark.parametrize(
    ("kind", "remains", "kept"),
    [("design", (1, 1), False), ("protection", (1, 1), False), ("information", (4, 1), True)],
)
def test_information_lowers_how_likely_and_not_how_severe(kind: str, remains: tuple[int, int], kept: bool) -> None:
    """4 x 4 rated 1 x 1 after a verified control."""
    found = judge_risk(
        MATRIX,
        before=Stated(severity=4, likelihood=4),
        after=Stated(severity=1, likelihood=1),
        controls=[ControlFacts(kind=kind, status="verified")],
    )
    assert (found.after.severity, found.after.likelihood) == remains
    assert (found.severity_kept, found.lowered_without_control) == (kept, False)


def test_what_is_worse_after_controls_counts_as_it_is() -> None:
    found = judge_risk(
        MATRIX, before=Stated(severity=2, likelihood=2), after=Stated(severity=3, likelihood=4), controls=[]
    )
    assert (found.after.product, found.after.band, found.lowered_without_control) == (12, "very_high", False)
