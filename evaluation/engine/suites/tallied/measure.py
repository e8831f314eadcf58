"""Measurements of a family: support, every metric and the length of each group, then the gaps.

Intervals are in ``groups``. What is told beside a metric (omission, beside CHAIR) stands in ``detail``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from evaluation.engine.gaps import Events, few, gap_of, record, spread_of, unknown_bounds
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import UNKNOWN, Measurement
from evaluation.engine.sketches.counts import OVERALL
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.statistics.heterogeneity import wald_heterogeneity
from evaluation.engine.suites.tallied.declared import gaps_of
from evaluation.engine.suites.tallied.groups import LINEARISED, VERSION, TallyGroups
from evaluation.engine.tallies import Definition, DerivedDefinition, ShareDefinition, TallyFamily

QUARTILES = (0.25, 0.5, 0.75)


def measure_tallies(
    protocol: Protocol, sketch: TallySketch, family: TallyFamily, *, suite: str, version: str = VERSION
) -> Iterator[Measurement]:
    """Everything that a family measures of the merged sketch; nothing where the protocol does not ask for it.

    Args:
        suite, version: What the measurements say of their suite, and of their definitions.
    """
    for by in (OVERALL, *protocol.groupings):
        if by not in sketch.cells:
            continue
        groups = TallyGroups(protocol, family, by, sketch.cells[by], suite=suite, version=version)
        for group in groups.groups:
            yield _support(groups, group)
            yield from (_value(groups, item.metric, group, sketch) for item in family.rules)
            if family.lengths:
                yield _length(groups, group)
        if by != OVERALL:
            yield from (_gap(groups, gap, metric, sketch) for gap, metric in gaps_of(family).items())


def not_asked(sketch: TallySketch, family: TallyFamily, rule: Definition) -> str:
    """Why what a metric rests on was not asked at all; "" where it was asked, or rests on nothing that is."""
    reasons = [
        reason for part in dict.fromkeys([family.part, *rule.parts]) for reason in sketch.why_not.get(part, ()) if part
    ]
    return "; ".join(dict.fromkeys(reasons))


def beside(groups: TallyGroups, metric: str, group: str) -> dict[str, Any]:
    """What stands beside a metric; None where it is undefined or suppressed."""
    rule = groups.rule(metric)
    found: dict[str, Any] = {}
    for name in rule.beside if isinstance(rule, ShareDefinition) else ():
        item = groups.value(name, group)
        found[name] = item.value if item.patients >= groups.protocol.minimum_cell else None
    return found


def _support(groups: TallyGroups, group: str) -> Measurement:
    """Studies that count at all. ``detail`` counts those that do not, and why."""
    if groups.suppressed(group):
        return record(groups, "support", group, reason=few(groups))
    counted = groups.family.columns[0]
    n, everyone = groups.total(counted, group), sum(groups.total(counted, name) for name in groups.groups)
    detail: dict[str, Any] = {"share": n / everyone if everyone else None}
    for name, weights in groups.family.missing.items():
        count = sum(weight * groups.total(column, group) for column, weight in weights.items())
        detail[name] = count if count == 0 or count >= groups.protocol.minimum_cell else None
    return record(
        groups, "support", group, value=float(n), n=n, patients=groups.patients(group), method="count", detail=detail
    )


def _value(groups: TallyGroups, metric: str, group: str, sketch: TallySketch) -> Measurement:
    """One metric; undefined where its denominator is empty, suppressed where it is small, flagged where not judged."""
    rule, least = groups.rule(metric), groups.protocol.minimum_denominator
    if groups.suppressed(group):
        return record(groups, metric, group, reason=few(groups))
    item = groups.value(metric, group)
    if item.value is None:
        reason = _why_undefined(groups, rule, group, not_asked(sketch, groups.family, rule))
        return record(groups, metric, group, reason=reason, n=0, patients=0)
    if item.patients < groups.protocol.minimum_cell:
        return record(groups, metric, group, reason=few(groups, rule.persons))
    low, high, method = _limits(groups, metric, group)
    detail: dict[str, Any] = {"judged": item.patients >= least and group != UNKNOWN}
    if item.proportion:
        detail["effective_n"] = round(item.effective, 1)
    return record(
        groups, metric, group, value=item.value, low=low, high=high, n=item.n, patients=item.patients,
        reason=_not_judged(item.patients, least, group) if rule.judged else _described(group), method=method,
        detail={**detail, **beside(groups, metric, group)},
    )  # fmt: skip


def _limits(groups: TallyGroups, metric: str, group: str) -> tuple[float | None, float | None, str]:
    """The interval and how it was made; without one where the rule has none, or one patient shows no variation."""
    rule = groups.rule(metric)
    (low, high), method = groups.interval(metric, group)
    if isinstance(rule, DerivedDefinition) and not rule.interval:
        return None, None, "count"
    return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None), method


def _why_undefined(groups: TallyGroups, rule: Definition, group: str, not_asked_because: str) -> str:
    if not_asked_because:
        return f"undefined: not asked, {not_asked_because}"
    if isinstance(rule, DerivedDefinition) and groups.patients(group, rule.denominator):
        return f"undefined: {rule.undefined}"
    return f"undefined: no {rule.among}{groups.aside(rule.metric, group)}"


def _described(group: str) -> str:
    return "not judged: the group is not known" if group == UNKNOWN else ""


def _not_judged(patients: int, least: int, group: str) -> str:
    if group == UNKNOWN:
        return "not judged: the group is not known"
    return "" if patients >= least else f"not judged: below the minimum denominator of {least} patients"


def _length(groups: TallyGroups, group: str) -> Measurement:
    """Mean length of what was written; ``detail`` has the quartiles. Described, not judged."""
    metric = groups.family.length_metric
    if groups.suppressed(group):
        return record(groups, metric, group, reason=few(groups))
    found, patients = groups.mean_length(group), groups.patients(group, (groups.family.written,))
    if found is None:
        return record(groups, metric, group, reason="undefined: no report was written", n=0, patients=0)
    if patients < groups.protocol.minimum_cell:
        return record(groups, metric, group, reason=few(groups, "patients with a written report"))
    mean, _, (low, high) = found
    lengths = groups.cells.lengths[groups.index(group)]
    lower, median, upper = lengths.quantiles(QUARTILES)
    return record(
        groups, metric, group, value=mean, low=low, high=high, n=lengths.n, patients=patients,
        reason=_described(group), method=LINEARISED,
        detail={"median": median, "lower_quartile": lower, "upper_quartile": upper},
    )  # fmt: skip


def _gap(groups: TallyGroups, gap: str, metric: str, sketch: TallySketch) -> Measurement:
    """Largest difference of a metric between two adequate groups, with what is told beside it."""
    contrasts, names = groups.pair_contrasts(metric), groups.adequate(metric)
    rule = groups.rule(metric)
    if not contrasts and (why := not_asked(sketch, groups.family, rule)):
        return record(groups, gap, "", reason=f"undefined: not asked, {why}")
    detail: dict[str, Any] = {}
    if contrasts:
        values = [groups.value(metric, name).value or 0.0 for name in names]
        detail = {
            "permutation_p": None,
            "permutation_reason": groups.family.unpermuted,
            **spread_of(names, wald_heterogeneity(values, groups.covariance(metric, names))),
            **_unknown_bounds(groups, metric, names),
        }
        told = {name: beside(groups, metric, name) for name in names}
        for other in rule.beside if isinstance(rule, ShareDefinition) else ():
            detail[other] = {name: told[name][other] for name in names}
    return gap_of(groups, gap, contrasts, groups.shortfalls(metric), detail)


def _unknown_bounds(groups: TallyGroups, metric: str, known: Sequence[str]) -> dict[str, Any]:
    """Left out where there is no Unknown group, where it is too small to be told, and for what is no proportion."""
    if UNKNOWN not in groups.groups or not groups.value(metric, UNKNOWN).proportion:
        return {}
    if groups.value(metric, UNKNOWN).patients < groups.protocol.minimum_cell:
        return {}
    items = [groups.value(metric, name) for name in (*known, UNKNOWN)]
    *events, unknown = (Events(events=item.events, n=item.n) for item in items)
    studies = groups.total(groups.family.columns[0], UNKNOWN)
    return {"unknown_bounds": list(unknown_bounds(events, unknown)), "unknown_studies": studies}
