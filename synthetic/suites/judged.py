"""Suites of figures: what was computed of synthetic patients becomes measurements, and tests of criteria.

The figures are computed where generator and patients are at hand (see ``synthetic.execution``). What a suite keeps of
them is the figures themselves: as with any sketch, judging needs no patient.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from core.digests import canonical_json
from core.errors import AuscultError
from evaluation.engine.judging import Contrast, CriterionTest, Region, Shortfall, Wording
from evaluation.engine.protocol import Criterion, Protocol
from evaluation.engine.records import ALL, Advice, Measurement, ShardTable, Verdict
from evaluation.engine.registry import Basis, MetricInfo, SuiteFindings
from evaluation.engine.sketches.packing import pack, unpack
from evaluation.engine.statistics.intervals import z_of
from evaluation.engine.words import group_words, number, plain
from synthetic.suites.figures import Figure

MAGIC = b"auscult-figures-1\n"
VERSION = "1"
LABEL = "patients"
"""The label of the suites' verdicts: a criterion is judged on every figure of its metric."""
REASON = 300
SURE = 1e-12
"""Half the width of the interval of an exact figure: an interval of no width has no p-value."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of one suite. They are of all patients together, so there is nothing to merge them with."""

    suite: str
    figures: tuple[Figure, ...]

    def merge(self, other: Any) -> Figures:
        """Never: figures of two halves say nothing of the whole.

        Raises:
            AuscultError: always.
        """
        raise AuscultError(
            "Figures of synthetic patients are of all of them together and cannot be merged.",
            remedy="Request the audit again.",
        )

    def to_bytes(self) -> bytes:
        body = canonical_json([item.to_dict() for item in self.figures])
        return pack(MAGIC, {"suite": self.suite}, [body])

    @classmethod
    def from_bytes(cls, data: bytes) -> Figures:
        header, (body,) = unpack(MAGIC, data)
        return cls(suite=header["suite"], figures=tuple(Figure.from_dict(item) for item in json.loads(body)))


class FigureSuite:
    """A suite whose figures were computed elsewhere."""

    def __init__(self, name: str, metrics: Mapping[str, MetricInfo]) -> None:
        self.name = name
        self.metrics = {key: replace(info, basis=Basis.LINKED) for key, info in metrics.items()}

    def sketch(self, protocol: Protocol, table: ShardTable) -> Figures:
        """Never: predictions on a cohort tell nothing of who made its patients.

        Raises:
            AuscultError: always.
        """
        raise AuscultError(
            f"'{self.name}' holds synthetic patients against those that their generator learnt from; neither is a file"
            " of predictions.",
            remedy="Request the audit of a generator's version on a cohort that it made.",
        )

    def load(self, data: bytes) -> Figures:
        return Figures.from_bytes(data)

    def measure(self, protocol: Protocol, sketch: Figures, *, cross_check: bool) -> SuiteFindings:
        wanted = {*protocol.metrics, *(item.metric for item in protocol.criteria)} if protocol.metrics else None
        told = [item for item in sketch.figures if wanted is None or item.metric in wanted]
        return SuiteFindings(
            measurements=tuple(self._measurement(protocol, item) for item in told),
            tests=tuple(
                self._test(protocol, criterion, sketch.figures)
                for criterion in protocol.criteria
                if criterion.metric in self.metrics
            ),
        )

    def advise(self, protocol: Protocol, sketch: Figures, verdicts: Sequence[Verdict]) -> tuple[Advice, ...]:
        """Nothing: what to do about a generator is said with each figure in the documentation."""
        return ()

    def _measurement(self, protocol: Protocol, item: Figure) -> Measurement:
        z = z_of(protocol.alpha)
        small = 0 < item.n < protocol.minimum_cell
        low, high = (None, None) if item.value is None else item.interval(z)
        null = {} if item.null is None else {"null": item.null, "null_error": item.null_error}
        return Measurement(
            suite=self.name,
            metric=item.metric,
            metric_version=VERSION,
            label=item.of or LABEL,
            attribute=item.attribute,
            group=item.group or ALL,
            value=item.value,
            reason=item.reason[:REASON],
            low=low,
            high=high,
            level=1 - protocol.alpha,
            n=None if small or not item.n else item.n,
            patients=None,
            method=item.method,
            seed=protocol.seed,
            detail={"counted": item.counted} | null | item.detail,
        )

    def _test(self, protocol: Protocol, criterion: Criterion, figures: Sequence[Figure]) -> CriterionTest:
        """The test of a criterion on every figure of its metric; a figure that could not be computed blocks a pass."""
        named = {_name(item): item for item in figures if item.metric == criterion.metric}
        tested = {name: item for name, item in named.items() if item.value is not None}
        shortfalls = [
            Shortfall(group=name, reason=f"{name}: {item.reason}", needed="")
            for name, item in named.items()
            if item.value is None
        ]
        info = self.metrics[criterion.metric]
        if not named:
            shortfalls = [Shortfall(group=ALL, reason=f"no figure tells of {info.title}", needed="")]
        low, high = info.accepted(criterion.direction, criterion.margin)
        critical = z_of(protocol.alpha / max(1, len(tested)))
        said = partial(_said, protocol, criterion, info, named)
        return CriterionTest(
            criterion=criterion,
            label=LABEL,
            attribute="",
            region=Region(low=-float("inf") if low is None else low, high=float("inf") if high is None else high),
            contrasts=tuple(_contrast(name, item, critical) for name, item in tested.items()),
            shortfalls=tuple(shortfalls),
            wording=Wording(fails=said, holds=said, unit=lambda c: named[c.groups[0]].counted, subject=info.title),
        )


def _name(item: Figure) -> str:
    of = plain(item.of) or ALL
    return f"{group_words(item.attribute, item.group)}: {of}" if item.attribute else of


def _contrast(name: str, item: Figure, critical: float) -> Contrast:
    assert item.value is not None
    return Contrast(
        groups=(name,),
        metric=item.metric,
        rates=(item.value,),
        value=item.value,
        n=item.n,
        patients=item.n,
        smallest=(name, item.n),
        method=item.method,
        interval=partial(_at, item),
        critical=critical,
    )


def _at(item: Figure, z: float) -> tuple[float, float]:
    low, high = item.interval(z)
    return (low, high) if high > low else (low - SURE * z, high + SURE * z)


def _said(protocol: Protocol, criterion: Criterion, info: MetricInfo, named: Mapping[str, Figure], c: Contrast) -> str:
    item = named[c.groups[0]]
    near = any(abs(abs(value) - criterion.margin) < 0.01 for value in (c.value, c.low, c.high))
    digits = 3 if near else 2
    of = "" if c.groups[0] == ALL else f" of {c.groups[0]}"
    worst = " (the furthest out)" if len(named) > 1 else ""
    limits = f"{100 * (1 - protocol.alpha):g}% interval {number(c.low, digits)} to {number(c.high, digits)}"
    null = "" if item.null is None else f", with real patients in their place {number(item.null, digits)}"
    of_n = f", {item.n:,} {item.counted}" if item.n and item.counted else ""
    value, margin = number(c.value, digits), number(criterion.margin)
    return f"{info.title}{of}{worst} is {value} ({limits}{of_n}{null}), margin {margin}"
