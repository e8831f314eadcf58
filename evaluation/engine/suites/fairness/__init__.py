"""Fairness: rates, ranking, calibration and utility of every group, and gaps between groups.

Definitions are in ``rates`` and ``score_metrics``; intervals and contrasts in ``groups`` and ``scored``; how a verdict
is read in ``docs/fairness.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from evaluation.engine.gaps import VERSION
from evaluation.engine.group_notes import group_notes, shown_count
from evaluation.engine.judging import Contrast, CriterionTest, Region, Shortfall
from evaluation.engine.protocol import Criterion, Protocol
from evaluation.engine.records import Advice, Measurement, ShardTable, Verdict
from evaluation.engine.registry import SUITES, Basis, MetricInfo, MetricKind, SuiteFindings
from evaluation.engine.sketches.counts import OVERALL
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.statistics.threads import in_threads
from evaluation.engine.suites.fairness.cross_check import compare_with_fairlearn
from evaluation.engine.suites.fairness.groups import LabelGroups
from evaluation.engine.suites.fairness.measure import measure_gaps, measure_groups
from evaluation.engine.suites.fairness.measure_scores import measure_scores
from evaluation.engine.suites.fairness.metrics import METRICS
from evaluation.engine.suites.fairness.rates import COMPOSITE_METRICS, GAPS
from evaluation.engine.suites.fairness.report_metrics import FAMILY, REPORT_METRICS
from evaluation.engine.suites.fairness.reports import compares_reports, report_notes
from evaluation.engine.suites.fairness.score_metrics import SCORE_GAPS
from evaluation.engine.suites.fairness.scored import ScoredGroups
from evaluation.engine.suites.fairness.sketch import FairnessSketch
from evaluation.engine.suites.fairness.wording import plain, wording_of
from evaluation.engine.suites.tallied import measure_tallies, tally_test, with_beside


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The merged sketch by (label, grouping)."""

    counts: Mapping[tuple[str, str], LabelGroups]
    scores: Mapping[tuple[str, str], ScoredGroups]


class FairnessSuite:
    """Everything by group, from counts and histograms."""

    metrics: Mapping[str, MetricInfo] = METRICS

    def sketch(self, protocol: Protocol, table: ShardTable) -> FairnessSketch:
        return FairnessSketch.from_table(protocol, table)

    def load(self, data: bytes) -> FairnessSketch:
        return FairnessSketch.from_bytes(data)

    def measure(self, protocol: Protocol, sketch: FairnessSketch, *, cross_check: bool) -> SuiteFindings:
        """Everything the protocol asks of the merged sketch."""
        parts = _parts(protocol, sketch)
        checked = [partial(compare_with_fairlearn, list(parts.counts.values()))] if cross_check and parts.counts else []
        measured, checks = _at_once(_works(parts), checked)
        reports = measure_tallies(protocol, sketch.reports, FAMILY, suite="fairness", version=VERSION)
        found = [*(item for part in measured for item in part), *reports]
        wanted = _wanted(protocol)
        measurements = [item for item in found if not protocol.metrics or item.metric in wanted]
        return SuiteFindings(
            measurements=tuple(measurements),
            tests=tuple(_tests(protocol, parts, sketch.reports)),
            notes=(*_notes(protocol, sketch), *report_notes(protocol, sketch.reports)),
            cross_checks=tuple(checks),
        )

    def advise(self, protocol: Protocol, sketch: FairnessSketch, verdicts: Sequence[Verdict]) -> tuple[Advice, ...]:
        """What would lessen the gaps that failed."""
        from evaluation.engine.suites.fairness.advice import advise

        return advise(protocol, sketch, verdicts)


SUITES.register("fairness")(FairnessSuite())


def _parts(protocol: Protocol, sketch: FairnessSketch) -> _Parts:
    keys = [(label, by) for label in _labels(protocol) for by in (OVERALL, *protocol.groupings)]
    return _Parts(
        counts={(label, by): LabelGroups(protocol, label, by, sketch.counts.cells[label, by]) for label, by in keys},
        scores={
            (label, by): ScoredGroups(protocol, label, by, sketch.scores.cells[label, by])
            for label, by in keys
            if (label, by) in sketch.scores.cells
        },
    )


def _wanted(protocol: Protocol) -> set[str]:
    """Metrics to tell where the protocol names some: those of its criteria too, and omission wherever CHAIR is."""
    named = {*protocol.metrics, *(item.metric for item in protocol.criteria), "support"}
    return with_beside(FAMILY, named)


def _works(parts: _Parts) -> list[Callable[[], list[Measurement]]]:
    """What is to be measured, by label and grouping. Each draws from a seed of its own, so their order is all one."""
    return [
        work
        for key, counted in parts.counts.items()
        for work in (partial(_measure_counts, counted), partial(_measure_scores, parts.scores.get(key)))
    ]


def _at_once(
    works: Sequence[Callable[[], list[Measurement]]], checks: Sequence[Callable[[], dict[str, Any]]]
) -> tuple[list[list[Measurement]], list[dict[str, Any]]]:
    """Measures in threads, the checks beside them: these need the interpreter while the others draw."""
    found: list[Any] = in_threads(lambda work: work(), [*checks, *works])
    return found[len(checks) :], found[: len(checks)]


def _measure_counts(counted: LabelGroups) -> list[Measurement]:
    under = counted.protocol.underdiagnosis
    composite = under is not None and counted.label == under.name
    found = list(measure_groups(counted, composite=composite))
    if counted.attribute:
        tested = {item.metric for item in counted.protocol.criteria if item.attribute == counted.attribute}
        found += measure_gaps(counted, composite=composite, permuted=tested)
    return found


def _measure_scores(scored: ScoredGroups | None) -> list[Measurement]:
    return [] if scored is None else list(measure_scores(scored))


def _labels(protocol: Protocol) -> tuple[str, ...]:
    under = protocol.underdiagnosis
    return (*protocol.label_names, under.name) if under else protocol.label_names


def _tests(protocol: Protocol, parts: _Parts, reports: TallySketch) -> Iterator[CriterionTest]:
    for criterion in protocol.criteria:
        if criterion.metric not in METRICS:
            continue
        if criterion.metric in REPORT_METRICS:
            if compares_reports(protocol):
                yield tally_test(protocol, criterion, reports, FAMILY)
            continue
        for label in _labels_of(protocol, criterion):
            yield _test(protocol, criterion, label, parts)


def _labels_of(protocol: Protocol, criterion: Criterion) -> tuple[str, ...]:
    if criterion.metric in COMPOSITE_METRICS and protocol.underdiagnosis is not None:
        return (protocol.underdiagnosis.name,)
    return protocol.label_names if "*" in criterion.labels else criterion.labels


def _test(protocol: Protocol, criterion: Criterion, label: str, parts: _Parts) -> CriterionTest:
    low, high = METRICS[criterion.metric].accepted(criterion.direction, criterion.margin)
    contrasts, shortfalls = _evidence(criterion, label, parts)
    return CriterionTest(
        criterion=criterion,
        label=label,
        attribute=criterion.attribute,
        region=Region(low=-float("inf") if low is None else low, high=float("inf") if high is None else high),
        contrasts=contrasts,
        shortfalls=shortfalls,
        wording=wording_of(protocol, criterion, label, criterion.attribute),
    )


def _evidence(criterion: Criterion, label: str, parts: _Parts) -> tuple[tuple[Contrast, ...], tuple[Shortfall, ...]]:
    """What is held against the margin, and the groups that cannot be."""
    metric, info = criterion.metric, METRICS[criterion.metric]
    if info.basis is Basis.SCORES:
        scored = parts.scores.get((label, criterion.attribute))
        if scored is None:
            reason = "the model gave decisions and no scores"
            return (), (Shortfall(group="All", reason=reason, needed=f"the scores of {plain(label)}"),)
        base = SCORE_GAPS.get(metric, metric)
        pairs = info.kind is MetricKind.GAP
        return scored.pair_contrasts(base) if pairs else scored.single_contrasts(base), scored.shortfalls(base)
    counted = parts.counts[label, criterion.attribute]
    if info.kind is MetricKind.RATIO:
        return counted.ratio_contrasts("selection_rate"), counted.shortfalls(["selection_rate"])
    rates = GAPS.get(metric, (metric,))
    gap = info.kind is MetricKind.GAP
    return counted.pair_contrasts(rates) if gap else counted.single_contrasts(metric), counted.shortfalls(rates)


def _notes(protocol: Protocol, whole: FairnessSketch) -> Iterator[str]:
    """Facts about the data that a reader of the verdicts must know."""
    sketch = whole.counts
    yield from group_notes(protocol, sketch.tallies)
    for label in _labels(protocol):
        silent = sketch.cells[label, OVERALL].silent.sum(axis=0)
        for count, what in zip(silent, ("no reference", "no prediction"), strict=True):
            if count:
                told = f"{shown_count(int(count), protocol.minimum_cell)} studies have {what} for {plain(label)}"
                yield f"{told} and are not counted for it."
