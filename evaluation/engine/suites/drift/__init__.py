"""Drift: how far the streams of a window lie from those of a reference, over all patients and by group.

A sketch alone says nothing; held against a reference (``DriftSketch.against``) each stream has a shift. Criteria on
shifts judge one window by itself; whether a monitor raises an alarm is decided over its whole life, see
``evaluation.engine.drift.lifetime``. How shifts are measured is in ``docs/drift/measures.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from evaluation.engine.drift.records import NoticeKind, StreamShift
from evaluation.engine.drift.shifts import shifts_of
from evaluation.engine.drift.sketch import Compared, DriftSketch
from evaluation.engine.group_notes import shown_count
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import Advice, Measurement, ShardTable, Verdict
from evaluation.engine.registry import SUITES, MetricInfo, SuiteFindings
from evaluation.engine.suites.drift.metrics import METHODS, METRICS, SUITE, VERSION, metric_of
from evaluation.engine.suites.drift.testing import shift_test
from evaluation.engine.words import plain

NO_REFERENCE = "there is no reference that these patients are compared with"
REASON = 300


class DriftSuite:
    """Shifts of streams."""

    metrics: Mapping[str, MetricInfo] = METRICS

    def sketch(self, protocol: Protocol, table: ShardTable) -> DriftSketch:
        return DriftSketch.from_table(protocol, table)

    def load(self, data: bytes) -> DriftSketch:
        return DriftSketch.from_bytes(data)

    def measure(self, protocol: Protocol, sketch: DriftSketch | Compared, *, cross_check: bool) -> SuiteFindings:
        """Every shift of a window that is held against a reference. Nothing of a sketch by itself, and why."""
        if isinstance(sketch, DriftSketch):
            people = shown_count(sketch.n, protocol.minimum_cell)
            note = f"Drift: {NO_REFERENCE}; the streams of {people} patients were kept to be one."
            return _findings(protocol, (), {}, (), (note,))
        shifts, notices = shifts_of(protocol, sketch.window, sketch.reference)
        titles = {spec.name: spec.title for spec in sketch.window.specs}
        told = tuple(item.message for item in notices if item.kind is not NoticeKind.NOT_WATCHED)
        unwatched = tuple(
            f"Not watched: {plain(item.stream)}: {item.message}"
            for item in notices
            if item.kind is NoticeKind.NOT_WATCHED
        )
        return _findings(protocol, shifts, titles, tuple(_measurements(protocol, shifts)), (*told, *unwatched))

    def advise(
        self, protocol: Protocol, sketch: DriftSketch | Compared, verdicts: Sequence[Verdict]
    ) -> tuple[Advice, ...]:
        """Nothing: what to do about a shift depends on its cause, which is searched for apart."""
        return ()


SUITES.register(SUITE)(DriftSuite())


def _findings(
    protocol: Protocol,
    shifts: Sequence[StreamShift],
    titles: dict[str, str],
    measurements: tuple[Measurement, ...],
    notes: tuple[str, ...],
) -> SuiteFindings:
    why = "" if shifts else NO_REFERENCE
    tests = [
        shift_test(protocol, criterion, shifts, titles, why_none=why)
        for criterion in protocol.criteria
        if criterion.metric in METRICS
    ]
    return SuiteFindings(measurements=measurements, tests=tuple(tests), notes=notes)


def _measurements(protocol: Protocol, shifts: Sequence[StreamShift]) -> Iterator[Measurement]:
    wanted = {*protocol.metrics, *(item.metric for item in protocol.criteria)} if protocol.metrics else set(METRICS)
    for item in shifts:
        if metric_of(item.family) in wanted:
            yield _measurement(protocol, item)


def _measurement(protocol: Protocol, item: StreamShift) -> Measurement:
    """One shift as a measurement. Too few patients are not counted out."""
    small = 0 < min(item.n, item.n_reference) < protocol.minimum_cell
    beside = {} if small else {"p_value": item.p_value, "n_reference": item.n_reference, **item.detail}
    return Measurement(
        suite=SUITE,
        metric=metric_of(item.family),
        metric_version=VERSION,
        label=item.stream,
        attribute=item.attribute,
        group=item.group,
        value=item.value,
        reason=item.reason[:REASON],
        low=item.low,
        high=item.high,
        level=1 - protocol.alpha,
        n=None if small else item.n,
        patients=None if small else item.n,
        method="" if item.value is None else METHODS.get(item.effect, plain(item.effect)),
        seed=protocol.seed,
        detail={"effect": item.effect, "margin": item.margin} | beside,
    )
