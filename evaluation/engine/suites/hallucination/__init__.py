"""Hallucination: what a model says against what is there.

Parts: its reports against an expert's (``reports``), its answers to questions whose truth is known (``answers``), what
it says when the study is changed (``perturbed``), how sure it is when it says it several times (``uncertainty``), and
what optional judges say (``judged``). A protocol asks for a part with a section of its own; what it does not ask for is
not measured. How a verdict is read is in ``docs/hallucination.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from evaluation.engine.group_notes import group_notes
from evaluation.engine.judging import CriterionTest
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import Advice, Measurement, ShardTable, Verdict
from evaluation.engine.registry import SUITES, MetricInfo, SuiteFindings
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.suites.fairness.reports import report_notes
from evaluation.engine.suites.hallucination import judged, reports
from evaluation.engine.suites.hallucination.doubtful import DEFINITIONS
from evaluation.engine.suites.hallucination.parts import FAMILIES, parts_of, parts_with
from evaluation.engine.suites.hallucination.sampled import FAMILY as SAMPLED
from evaluation.engine.suites.hallucination.sketch import HallucinationSketch
from evaluation.engine.suites.hallucination.uncertainty import METRICS as DOUBTS
from evaluation.engine.suites.hallucination.uncertainty import (
    measure_uncertainty,
    uncertainty_notes,
    uncertainty_tests,
)
from evaluation.engine.suites.tallied import measure_tallies, metrics_of, tally_test, with_beside
from evaluation.engine.words import plain

SUITE = "hallucination"
METRICS: dict[str, MetricInfo] = {
    **{name: info for family in FAMILIES.values() for name, info in metrics_of(family).items()},
    **DOUBTS,
}
WORSE: dict[str, int] = {
    **{rule.metric: rule.worse for family in (*FAMILIES.values(), SAMPLED) for rule in family.rules},
    **{rule.metric: rule.worse for rule in DEFINITIONS.values()},
}
"""Metric of one group -> +1 where a higher value is worse for the patients, -1 where a lower one is."""


class HallucinationSuite:
    """What a model says that is not so, by group, from counts."""

    metrics: Mapping[str, MetricInfo] = METRICS

    def sketch(self, protocol: Protocol, table: ShardTable) -> HallucinationSketch:
        return HallucinationSketch.from_table(protocol, table)

    def load(self, data: bytes) -> HallucinationSketch:
        return HallucinationSketch.from_bytes(data)

    def measure(self, protocol: Protocol, sketch: HallucinationSketch, *, cross_check: bool) -> SuiteFindings:
        """Everything the protocol asks of the merged sketch."""
        wanted = _wanted(protocol)
        return SuiteFindings(
            measurements=tuple(item for item in _measured(protocol, sketch) if wanted is None or item.metric in wanted),
            tests=tuple(_tests(protocol, sketch)),
            notes=tuple(dict.fromkeys(_notes(protocol, sketch))),
        )

    def advise(
        self, protocol: Protocol, sketch: HallucinationSketch, verdicts: Sequence[Verdict]
    ) -> tuple[Advice, ...]:
        """Nothing: no change of a threshold mends what a model says."""
        return ()


SUITES.register(SUITE)(HallucinationSuite())


def _measured(protocol: Protocol, sketch: HallucinationSketch) -> Iterator[Measurement]:
    judges = judged.wanted(protocol)
    for key, part in parts_of(protocol).items():
        for item in measure_tallies(protocol, sketch.tallies[key], part.family, suite=SUITE):
            if part.family is not judged.FAMILY or item.metric in judges:
                yield item
    if sketch.uncertainty is not None:
        yield from measure_uncertainty(protocol, sketch.uncertainty, suite=SUITE)


def _wanted(protocol: Protocol) -> set[str] | None:
    """Metrics to tell where the protocol names some: those of its criteria too, and what is told beside them."""
    if not protocol.metrics:
        return None
    named = {*protocol.metrics, *(item.metric for item in protocol.criteria), "support"}
    for family in FAMILIES.values():
        named = with_beside(family, named)
    return named


def _tests(protocol: Protocol, sketch: HallucinationSketch) -> Iterator[CriterionTest]:
    for criterion in protocol.criteria:
        for part in parts_with(protocol, criterion.metric):
            yield tally_test(protocol, criterion, sketch.tallies[part.family.key], part.family)
        if criterion.metric in DOUBTS and sketch.uncertainty is not None:
            yield from uncertainty_tests(protocol, criterion, sketch.uncertainty)


def _notes(protocol: Protocol, sketch: HallucinationSketch) -> Iterator[str]:
    """Facts about the data, and about what was not asked, that a reader of the verdicts must know."""
    if "fairness" not in protocol.suites:
        yield from group_notes(protocol, sketch.groups.tallies)
    yield from report_notes(protocol, sketch.report, reports.FAMILY)
    for key, part in parts_of(protocol).items():
        why_not = sketch.tallies[key].why_not
        if part.family is not reports.FAMILY and part.family.part not in why_not:
            yield from part.family.notes
        yield from _not_asked(sketch.tallies[key])
    if sketch.uncertainty is not None:
        yield from _not_asked(sketch.uncertainty.tallies)
        yield from uncertainty_notes(protocol, sketch.uncertainty)


def _not_asked(tallies: TallySketch) -> Iterator[str]:
    for name, reasons in tallies.why_not.items():
        yield f"Not asked, {plain(name)}: {'; '.join(reasons)}."
