"""What counts of a risk's ratings, given its controls. Pure: plain values in, plain values out.

The order of controls is that of ISO 14971:2019, 7.1: inherently safe design, protective measures, information for
safety. Nothing is made milder than what was shown:

- of each stage the latest rating counts, and a missing one counts as 4;
- a rating after controls counts below the one before only where a control is verified: a planned one, and one that
  nobody else has checked, lower nothing;
- severity falls only by verified design or protection. A warning makes the harm rarer, where it is heeded; when the
  harm comes, it is as grave as before;
- a rating after controls that is worse than the one before counts as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from governance.catalogue import RiskMatrix

MISSING = 4
UNACCEPTABLE = 8
"""The least product of what remains that stops the use and asks for prior consultation (Art. 36(1) of the GDPR)."""
NEVER = 12
"""The least product of what remains that nobody can accept: the band very high."""
VERIFIED = "verified"
LOWER_SEVERITY = frozenset({"design", "protection"})


@dataclass(frozen=True, kw_only=True)
class Stated:
    """A rating as a person gave it, on the scales of 1 to 4."""

    severity: int
    likelihood: int


@dataclass(frozen=True, kw_only=True)
class ControlFacts:
    """What bears on the counting of one control: its kind and its state, as in ``governance.models.Control``."""

    kind: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A rating as it counts. ``stated`` is False where nobody rated and 4 by 4 stands in."""

    severity: int
    likelihood: int
    band: str
    stated: bool

    @property
    def product(self) -> int:
        return self.severity * self.likelihood


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One risk as it counts.

    Attributes:
        before, after: As they count.
        lowered_without_control: A rating after controls was stated below the one before, and no control is verified.
        severity_kept: A lower severity was stated, and what is verified only informs; the severity before counts.
    """

    before: Counted
    after: Counted
    lowered_without_control: bool
    severity_kept: bool

    @property
    def unacceptable(self) -> bool:
        """Whether what remains stops the use until it is lowered, or accepted after prior consultation."""
        return self.after.product >= UNACCEPTABLE

    @property
    def never_acceptable(self) -> bool:
        return self.after.product >= NEVER


def judge_risk(
    matrix: RiskMatrix, *, before: Stated | None, after: Stated | None, controls: Iterable[ControlFacts]
) -> Judged:
    """What counts of one risk.

    Args:
        before, after: The latest rating of each stage; None where there is none.
        controls: All of them, whatever their state.
    """
    verified = {control.kind for control in controls if control.status == VERIFIED}
    start = _counted(matrix, before)
    if after is None:
        rest = _counted(matrix, None)
        return Judged(before=start, after=rest, lowered_without_control=False, severity_kept=False)
    milder = after.severity < start.severity or after.likelihood < start.likelihood
    keep_severity = after.severity < start.severity and not verified & LOWER_SEVERITY
    severity = start.severity if keep_severity else after.severity
    likelihood = after.likelihood if verified else max(after.likelihood, start.likelihood)
    return Judged(
        before=start,
        after=_counted(matrix, Stated(severity=severity, likelihood=likelihood)),
        lowered_without_control=milder and not verified,
        severity_kept=keep_severity and bool(verified),
    )


def _counted(matrix: RiskMatrix, stated: Stated | None) -> Counted:
    severity, likelihood = (stated.severity, stated.likelihood) if stated else (MISSING, MISSING)
    return Counted(
        severity=severity,
        likelihood=likelihood,
        band=matrix.band(severity, likelihood),
        stated=stated is not None,
    )
