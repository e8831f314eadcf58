"""Parity of written reports: measurements by group, gaps, and the tests of criteria on them.

Definitions are in ``report_metrics``, intervals in ``report_groups``. Reports are compared finding by finding with an
expert's; CHAIR always comes with omission beside it, in ``detail`` and in the sentence of a verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evaluation.engine.judging import Contrast, CriterionTest, Region, Wording
from evaluation.engine.protocol import Criterion, Protocol
from evaluation.engine.records import UNKNOWN, Measurement
from evaluation.engine.registry import MetricKind
from evaluation.engine.sketches.claims import ClaimsSketch
from evaluation.engine.sketches.counts import OVERALL
from evaluation.engine.statistics.heterogeneity import wald_heterogeneity
from evaluation.engine.suites.fairness.gaps import Events, few, gap_of, record, spread_of, unknown_bounds
from evaluation.engine.suites.fairness.report_groups import LINEARISED, ReportGroups
from evaluation.engine.suites.fairness.report_metrics import (
    LABEL,
    REPORT_GAPS,
    REPORT_LENGTH,
    REPORT_METRICS,
    REPORT_RATES,
)
from evaluation.engine.suites.fairness.words import group_words, number, plain

CHAIR = frozenset({"chair_i", "chair_s"})
QUARTILES = (0.25, 0.5, 0.75)


def measure_reports(protocol: Protocol, sketch: ClaimsSketch) -> Iterator[Measurement]:
    """Support, every share and the length of the reports of each group, then the gaps; nothing without reports."""
    for by in (OVERALL, *protocol.groupings):
        if by not in sketch.cells:
            continue
        groups = ReportGroups(protocol, by, sketch.cells[by])
        for group in groups.groups:
            yield _support(groups, group)
            yield from (_share(groups, metric, group) for metric in REPORT_RATES)
            yield _length(groups, group)
        if by != OVERALL:
            yield from (_gap(groups, metric, base) for metric, base in REPORT_GAPS.items())


def report_test(protocol: Protocol, criterion: Criterion, sketch: ClaimsSketch) -> CriterionTest:
    """The test of a criterion on a report metric, before the correction for multiplicity."""
    groups = ReportGroups(protocol, criterion.attribute, sketch.cells[criterion.attribute])
    info, base = REPORT_METRICS[criterion.metric], REPORT_GAPS.get(criterion.metric, criterion.metric)
    pairs = info.kind is MetricKind.GAP
    low, high = info.accepted(criterion.direction, criterion.margin)
    return CriterionTest(
        criterion=criterion,
        label=LABEL,
        attribute=criterion.attribute,
        region=Region(low=-float("inf") if low is None else low, high=float("inf") if high is None else high),
        contrasts=groups.pair_contrasts(base) if pairs else groups.single_contrasts(base),
        shortfalls=groups.shortfalls(base),
        wording=_wording(protocol, criterion, groups, base),
    )


def report_notes(protocol: Protocol, sketch: ClaimsSketch) -> Iterator[str]:
    """Facts about the reports that a reader of the verdicts must know."""
    if OVERALL not in sketch.cells:
        return
    groups = ReportGroups(protocol, OVERALL, sketch.cells[OVERALL])
    cell = protocol.minimum_cell
    for group in groups.groups:
        pairs, unpaired = groups.total("pairs", group), groups.total("unpaired", group)
        silent = pairs - groups.total("written", group)
        for count, what in (
            (unpaired, "have no report of an expert and are not compared"),
            (silent, "have no report of the model; each counts as an abstention that omits every finding"),
        ):
            if count:
                told_count = f"{count:,}" if count >= cell else f"Fewer than {cell}"
                yield f"{told_count} of {pairs + unpaired:,} studies {what}."
    yield (
        "Reports are read by rules for English: a finding that is only possible is not positive, and a general "
        "finding is supported by a special one (a consolidation is an opacity)."
    )


def _support(groups: ReportGroups, group: str) -> Measurement:
    """Studies with an expert's report. ``detail`` counts those without, and those for which the model wrote none."""
    if groups.suppressed(group):
        return record(groups, "support", group, reason=few(groups))
    n, everyone = groups.total("pairs", group), sum(groups.total("pairs", name) for name in groups.groups)
    detail: dict[str, Any] = {"share": n / everyone if everyone else None}
    for name, count in (
        ("without_reference", groups.total("unpaired", group)),
        ("without_prediction", n - groups.total("written", group)),
    ):
        detail[name] = count if count == 0 or count >= groups.protocol.minimum_cell else None
    return record(
        groups, "support", group, value=float(n), n=n, patients=groups.patients(group), method="count", detail=detail
    )


def _share(groups: ReportGroups, metric: str, group: str) -> Measurement:
    """One share; undefined where its denominator is empty, suppressed where it is small, flagged where not judged."""
    rule, least = REPORT_RATES[metric], groups.protocol.minimum_denominator
    if groups.suppressed(group):
        return record(groups, metric, group, reason=few(groups))
    share = groups.share(metric, group)
    if share.value is None:
        return record(groups, metric, group, reason=f"undefined: no {rule.among}", n=0, patients=0)
    if share.patients < groups.protocol.minimum_cell:
        return record(groups, metric, group, reason=few(groups, rule.persons))
    (low, high), method = groups.interval(metric, group)
    return record(
        groups, metric, group, value=share.value, low=low, high=high, n=share.n, patients=share.patients,
        reason=_not_judged(share.patients, least, group), method=method,
        detail={
            "judged": share.patients >= least and group != UNKNOWN,
            "effective_n": round(share.effective, 1),
            **_omission(groups, metric, group),
        },
    )  # fmt: skip


def _not_judged(patients: int, least: int, group: str) -> str:
    if group == UNKNOWN:
        return "not judged: the group is not known"
    return "" if patients >= least else f"not judged: below the minimum denominator of {least} patients"


def _omission(groups: ReportGroups, metric: str, group: str) -> dict[str, Any]:
    """What stands beside CHAIR; None where it is undefined or suppressed."""
    if metric not in CHAIR:
        return {}
    share = groups.share("omission", group)
    return {"omission": share.value if share.patients >= groups.protocol.minimum_cell else None}


def _length(groups: ReportGroups, group: str) -> Measurement:
    """Mean words of the reports that were written; ``detail`` has the quartiles. Described, not judged."""
    if groups.suppressed(group):
        return record(groups, REPORT_LENGTH, group, reason=few(groups))
    found, patients = groups.mean_words(group), groups.patients(group, "written")
    if found is None:
        return record(groups, REPORT_LENGTH, group, reason="undefined: no report was written", n=0, patients=0)
    if patients < groups.protocol.minimum_cell:
        return record(groups, REPORT_LENGTH, group, reason=few(groups, "patients with a written report"))
    mean, _, (low, high) = found
    lengths = groups.cells.lengths[groups.index(group)]
    lower, median, upper = lengths.quantiles(QUARTILES)
    return record(
        groups, REPORT_LENGTH, group, value=mean, low=low, high=high, n=lengths.n, patients=patients,
        reason="not judged: the group is not known" if group == UNKNOWN else "", method=LINEARISED,
        detail={"median": median, "lower_quartile": lower, "upper_quartile": upper},
    )  # fmt: skip


def _gap(groups: ReportGroups, metric: str, base: str) -> Measurement:
    """Largest difference of a share between two adequate groups; beside CHAIR, omission."""
    contrasts, names = groups.pair_contrasts(base), groups.adequate(base)
    detail: dict[str, Any] = {}
    if contrasts:
        values = [groups.share(base, name).value or 0.0 for name in names]
        detail = {
            "permutation_p": None,
            "permutation_reason": "reports are compared by cluster-robust variances",
            **spread_of(names, wald_heterogeneity(values, groups.covariance(base, names))),
            **_unknown_bounds(groups, base),
        }
        if base in CHAIR:
            detail["omission"] = {name: _omission(groups, base, name)["omission"] for name in names}
    return gap_of(groups, metric, contrasts, groups.shortfalls(base), detail)


def _unknown_bounds(groups: ReportGroups, metric: str) -> dict[str, Any]:
    """Left out where there is no Unknown group, or where it is too small to be told."""
    if UNKNOWN not in groups.groups or groups.share(metric, UNKNOWN).patients < groups.protocol.minimum_cell:
        return {}
    shares = [groups.share(metric, name) for name in (*groups.adequate(metric), UNKNOWN)]
    *known, unknown = (Events(events=share.events, n=share.n) for share in shares)
    return {"unknown_bounds": list(unknown_bounds(known, unknown)), "unknown_studies": groups.total("pairs", UNKNOWN)}


def _wording(protocol: Protocol, criterion: Criterion, groups: ReportGroups, base: str) -> Wording:
    """How the verdicts of one criterion are put in words."""
    rule, attribute = REPORT_RATES[base], criterion.attribute
    level = f"{100 * (1 - protocol.alpha):g}%"

    def tail(c: Contrast) -> str:
        near = any(abs(abs(value) - criterion.margin) < 0.01 for value in (c.value, c.low, c.high))
        digits = 3 if near else 2
        bound = "at least " if criterion.direction == "at_least" else ""
        limits = f"{level} interval {number(c.low, digits)} to {number(c.high, digits)}"
        amount = f"{c.n:,} {rule.among} of {c.patients:,} patients"
        margin = f"margin {bound}{number(criterion.margin)}"
        return f"{number(c.value, digits)} ({limits}), {amount}, {margin}{_beside(groups, base, c)}"

    def worse(c: Contrast) -> str:
        one, two = (group_words(attribute, group) for group in c.groups)
        values = f"{rule.title} {number(c.rates[0])} vs {number(c.rates[1])}"
        return f"{rule.worse_words.format(one=one, two=two)}: {values}, difference {tail(c)}"

    def most(c: Contrast) -> str:
        one, two = (group_words(attribute, group) for group in c.groups)
        values = f"{number(c.rates[0])} vs {number(c.rates[1])}"
        return f"the {rule.title} differs most between reports of {one} and of {two}: {values}, difference {tail(c)}"

    def single(c: Contrast) -> str:
        where = f" in reports of {group_words(attribute, c.groups[0])}" if attribute else ""
        return f"the {rule.title}{where} is {tail(c)}"

    pair = REPORT_METRICS[criterion.metric].kind is MetricKind.GAP
    across = f" across {plain(attribute)}" if attribute else ""
    return Wording(
        fails=worse if pair else single,
        holds=most if pair else single,
        unit=lambda c: rule.among,
        subject=f"the {rule.title}{across}",
    )


def _beside(groups: ReportGroups, metric: str, c: Contrast) -> str:
    """Omission, which is told wherever CHAIR is: an empty report would score best on CHAIR alone."""
    if metric not in CHAIR:
        return ""
    values = [_omission(groups, metric, group)["omission"] for group in c.groups]
    shown = " vs ".join("too few to tell" if value is None else number(value) for value in values)
    return f", omission {shown}"
