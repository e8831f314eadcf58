"""Where to be silent: the threshold of uncertainty that keeps the errors below the protocol's target.

It is chosen on everybody together, for it is one for all patients; what it means for a group is told beside.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evaluation.engine.doubt.selective import Abstention, Kept, abstain_above, least_for
from evaluation.engine.gaps import few, record
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import Measurement
from evaluation.engine.sketches.counts import OVERALL
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.statistics.intervals import z_of
from evaluation.engine.suites.hallucination.doubtful import SUITE, VERSION
from evaluation.engine.suites.hallucination.sampled import (
    FAMILY,
    LEVELS,
    TOLD,
    coverage_within,
    kept,
    levels_tried,
    risk_within,
)
from evaluation.engine.suites.tallied.groups import TallyGroups
from evaluation.engine.suites.tallied.measure import not_asked
from evaluation.engine.words import number

THRESHOLD, COVERAGE, RISK = "abstention_threshold", "coverage_at_target", "risk_at_threshold"
DESCRIBED = {
    THRESHOLD: "entropy above which to be silent, so that errors stay below the target",
    COVERAGE: "share of texts that are kept at the threshold of abstention",
    RISK: "share of errors among texts that are kept at the threshold of abstention",
}


def abstention(protocol: Protocol, tallies: TallySketch) -> Abstention | None:
    """The threshold that keeps the target risk, chosen on everybody together; None where nothing was scored."""
    sampling, groups = protocol.sampling, tallied(protocol, tallies, OVERALL)
    if sampling is None or not groups.groups or not groups.total("scored", groups.groups[0]):
        return None
    tried = [_kept(groups, groups.groups[0], level) for level in levels_tried(sampling.samples)]
    return abstain_above(tried, sampling.target_risk, protocol.alpha)


def threshold_of(
    protocol: Protocol, groups: TallyGroups, group: str, choice: Abstention | None, tallies: TallySketch
) -> Measurement:
    """The threshold with everything that was tried; None with the reason where none keeps the target."""
    sampling = protocol.sampling
    if groups.suppressed(group):
        return record(groups, THRESHOLD, group, reason=few(groups))
    if choice is None or sampling is None:
        why = why_not(tallies)
        reason = f"undefined: not asked, {why}" if why else "undefined: no text could be held against the truth"
        return record(groups, THRESHOLD, group, reason=reason, n=0, patients=0)
    n, cell = groups.total("scored", group), protocol.minimum_cell
    detail = {
        "target_risk": sampling.target_risk,
        "confidence": 1 - protocol.alpha,
        "tests": len(choice.tried),
        "needed_without_error": least_for(sampling.target_risk, choice.level),
        "tried": [
            {"threshold": item.threshold, "coverage": item.n / n, "risk": item.risk, "bound": bound}
            for item, bound in choice.tried
            if groups.patients(group, (kept(LEVELS.index(item.threshold)),)) >= cell
        ],
    }
    patients = groups.patients(group, ("scored",))
    facts = {"n": n, "patients": patients, "method": _bound_method(choice), "detail": detail}
    if choice.kept is None:
        reason = (
            f"undefined: at no threshold is the share of errors at most {number(sampling.target_risk)} with "
            f"{1 - protocol.alpha:.0%} confidence"
        )
        return record(groups, THRESHOLD, group, reason=reason, **facts)
    detail["bound"] = choice.bound
    return record(groups, THRESHOLD, group, value=choice.kept.threshold, **facts)


def at_threshold(groups: TallyGroups, group: str, choice: Abstention | None) -> Iterator[Measurement]:
    """What is kept of a group at the threshold of all, and how much of that is wrong.

    The threshold was chosen because its risk looked low, so the intervals hold for every threshold that was tried; that
    of the risk of all is from 0 to the bound by which it was chosen.
    """
    if choice is None or choice.kept is None:
        reason = "undefined: there is no threshold of abstention"
        yield from (record(groups, metric, group, reason=reason) for metric in (COVERAGE, RISK))
        return
    level, critical = LEVELS.index(choice.kept.threshold), z_of(groups.protocol.alpha / len(choice.tried))
    for metric, share in ((COVERAGE, coverage_within(level)), (RISK, risk_within(level))):
        item = groups.value(share, group)
        if groups.suppressed(group) or 0 < item.patients < groups.protocol.minimum_cell:
            yield record(groups, metric, group, reason=few(groups))
        elif item.value is None:
            yield record(groups, metric, group, reason="undefined: no text is kept", n=0, patients=0)
        else:
            low, high, method = *item.limits(critical), f"{item.method}, {_bonferroni(choice)}"
            if metric == RISK and groups.attribute == OVERALL:
                low, high, method = 0.0, choice.bound or 0.0, _bound_method(choice)
            yield record(
                groups, metric, group, value=item.value, low=low, high=high, n=item.n, patients=item.patients,
                method=method, detail={"threshold": choice.kept.threshold},
            )  # fmt: skip


def _bonferroni(choice: Abstention) -> str:
    return f"Bonferroni over {len(choice.tried)} thresholds"


def _bound_method(choice: Abstention) -> str:
    return f"one-sided Clopper-Pearson at the effective size, {_bonferroni(choice)}"


def _kept(groups: TallyGroups, group: str, level: int) -> Kept:
    item = groups.value(risk_within(level), group)
    weights = np.zeros(len(groups.cells.moments.total))
    weights[groups.index(group) * len(FAMILY.columns) + FAMILY.columns.index(kept(level))] = 1.0
    squares = float(groups.cells.moments.product(weights, weights))
    return Kept(threshold=LEVELS[level], n=item.n, errors=item.events, squares=squares, worth=item.effective)


def tallied(protocol: Protocol, tallies: TallySketch, by: str) -> TallyGroups:
    """The groups of one grouping, by their counts."""
    return TallyGroups(protocol, FAMILY, by, tallies.cells[by], suite=SUITE, version=VERSION)


def why_not(tallies: TallySketch) -> str:
    """Why nothing was drawn several times; "" where something was."""
    return not_asked(tallies, FAMILY, TOLD[0])
