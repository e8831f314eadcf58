"""Fairness: rates of every group and gaps between groups, per label, attribute and intersection.

Definitions are in ``rates``; intervals and contrasts in ``groups``; how a verdict is read in ``docs/fairness.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evaluation.engine.judging import CriterionTest, Region
from evaluation.engine.protocol import Criterion, Protocol
from evaluation.engine.records import UNKNOWN, Measurement, ShardTable
from evaluation.engine.registry import SUITES, MetricInfo, SuiteFindings
from evaluation.engine.sketches.counts import OVERALL, CountsSketch
from evaluation.engine.suites.fairness.cross_check import compare_with_fairlearn
from evaluation.engine.suites.fairness.groups import LabelGroups
from evaluation.engine.suites.fairness.measure import measure_gaps, measure_groups
from evaluation.engine.suites.fairness.rates import COMPOSITE_METRICS, GAPS, METRICS
from evaluation.engine.suites.fairness.wording import plain, wording_of


class FairnessSuite:
    """Rates and gaps from counts per patient."""

    metrics: Mapping[str, MetricInfo] = METRICS

    def sketch(self, protocol: Protocol, table: ShardTable) -> CountsSketch:
        return CountsSketch.from_table(protocol, table)

    def load(self, data: bytes) -> CountsSketch:
        return CountsSketch.from_bytes(data)

    def measure(self, protocol: Protocol, sketch: CountsSketch, *, cross_check: bool) -> SuiteFindings:
        """Everything the protocol asks of the merged counts."""
        parts = {
            (label, by): LabelGroups(protocol, label, by, sketch.cells[label, by])
            for label in _labels(protocol)
            for by in (OVERALL, *protocol.groupings)
        }
        measurements: list[Measurement] = []
        for (label, by), part in parts.items():
            composite = protocol.underdiagnosis is not None and label == protocol.underdiagnosis.name
            measurements += measure_groups(part, composite=composite)
            if by != OVERALL:
                measurements += measure_gaps(part, composite=composite)
        return SuiteFindings(
            measurements=tuple(measurements),
            tests=tuple(_tests(protocol, parts)),
            notes=tuple(_notes(protocol, sketch)),
            cross_checks=(compare_with_fairlearn(list(parts.values())),) if cross_check else (),
        )


SUITES.register("fairness")(FairnessSuite())


def _labels(protocol: Protocol) -> tuple[str, ...]:
    under = protocol.underdiagnosis
    return (*protocol.label_names, under.name) if under else protocol.label_names


def _tests(protocol: Protocol, parts: Mapping[tuple[str, str], LabelGroups]) -> Iterator[CriterionTest]:
    for criterion in protocol.criteria:
        if criterion.metric not in METRICS:
            continue
        for label in _labels_of(protocol, criterion):
            yield _test(protocol, criterion, parts[label, criterion.attribute])


def _labels_of(protocol: Protocol, criterion: Criterion) -> tuple[str, ...]:
    if criterion.metric in COMPOSITE_METRICS and protocol.underdiagnosis is not None:
        return (protocol.underdiagnosis.name,)
    return protocol.label_names if "*" in criterion.labels else criterion.labels


def _test(protocol: Protocol, criterion: Criterion, part: LabelGroups) -> CriterionTest:
    gap = criterion.metric in GAPS
    rates = GAPS.get(criterion.metric, (criterion.metric,))
    margin = criterion.margin
    if gap:
        region, contrasts = Region(low=-margin, high=margin), part.pair_contrasts(rates)
    else:
        up = criterion.direction == "at_least"
        region = Region(low=margin, high=1.0) if up else Region(low=0.0, high=margin)
        contrasts = part.single_contrasts(criterion.metric)
    return CriterionTest(
        criterion=criterion,
        label=part.label,
        attribute=part.attribute,
        region=region,
        contrasts=contrasts,
        shortfalls=part.shortfalls(rates),
        wording=wording_of(protocol, criterion, part.label, part.attribute),
    )


def _notes(protocol: Protocol, sketch: CountsSketch) -> Iterator[str]:
    """Facts about the data that a reader of the verdicts must know."""
    cell = protocol.minimum_cell
    for by in protocol.groupings:
        tally, name = sketch.tallies[by], plain(by)
        everyone = int(sketch.tallies[OVERALL].sizes[0, 0])
        if UNKNOWN in tally.groups:
            studies, patients = (int(size) for size in tally.sizes[tally.groups.index(UNKNOWN)])
            count = f"Fewer than {cell}" if patients < cell else f"{studies:,} ({studies / everyone:.1%})"
            yield f"{count} of {everyone:,} studies have no known {name}; they are shown as Unknown and not judged."
        if tally.implausible:
            bad = f"{_count(tally.implausible, cell)} of {everyone:,}"
            yield f"Studies with an impossible or unreadable value of {name}: {bad}; they count as Unknown."
        if tally.spanning:
            spanning = _count(tally.spanning, cell)
            yield f"Patients with studies in several groups of {name}: {spanning}; each is resampled whole."
        if len([group for group in tally.groups if group != UNKNOWN]) < 2:
            yield f"There are not two groups of {name}, so nothing can be compared by it."
    for label in _labels(protocol):
        silent = sketch.cells[label, OVERALL].silent.sum(axis=0)
        for count, what in zip(silent, ("no reference", "no prediction"), strict=True):
            if count:
                yield f"{_count(int(count), cell)} studies have {what} for {plain(label)} and are not counted for it."


def _count(number: int, cell: int) -> str:
    """A count as it may leave the platform."""
    return f"{number:,}" if number >= cell else f"fewer than {cell}"
