"""How sure a model is when it says something several times, whether that foretells its errors, and where to be silent.

The sketch keeps histograms of uncertainty by error (``doubtful``) and counts (``sampled``). The threshold of abstention
is in ``abstaining``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.errors import AuscultError
from evaluation.engine.doubt.samples import Unit, units_drawn
from evaluation.engine.doubt.selective import best_aurc, risk_coverage, thinned
from evaluation.engine.gaps import few, gap_of, record
from evaluation.engine.grouping import Grouping
from evaluation.engine.judging import Contrast, CriterionTest, Region, Shortfall, Wording
from evaluation.engine.protocol import Criterion, LabelSpec, Protocol
from evaluation.engine.records import UNKNOWN, Measurement, ShardTable
from evaluation.engine.registry import Basis, MetricInfo, MetricKind
from evaluation.engine.sketches.counts import OVERALL
from evaluation.engine.sketches.packing import pack, unpack
from evaluation.engine.sketches.scores import ScoresSketch
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.statistics.intervals import z_of
from evaluation.engine.suites.hallucination.abstaining import (
    DESCRIBED,
    abstention,
    at_threshold,
    tallied,
    threshold_of,
    why_not,
)
from evaluation.engine.suites.hallucination.doubtful import (
    AUROC,
    CONSISTENCY,
    DEFINITIONS,
    ENTROPY,
    GAP,
    INFO,
    NGRAMS,
    SUITE,
    DoubtDefinition,
    DoubtGroups,
)
from evaluation.engine.suites.hallucination.sampled import (
    FAMILY,
    KEY,
    TEXTS,
    UNTOLD,
    rows_of,
)
from evaluation.engine.suites.tallied.declared import metrics_of
from evaluation.engine.suites.tallied.measure import measure_tallies
from evaluation.engine.suites.tallied.testing import tally_test
from evaluation.engine.words import group_words, number, plain

MAGIC = b"auscult-uncertainty-1\n"
SCORES = (ENTROPY, CONSISTENCY, NGRAMS)
TALLIED = {name: info for name, info in metrics_of(FAMILY).items() if name not in UNTOLD}
METRICS: Mapping[str, MetricInfo] = {
    **TALLIED,
    **INFO,
    **{
        name: MetricInfo(title=title, kind=MetricKind.DESCRIBED, basis=Basis.SAMPLES)
        for name, title in DESCRIBED.items()
    },
}


@dataclass(frozen=True, kw_only=True)
class UncertaintySketch:
    """Texts that were drawn several times, in every grouping of a protocol. Merging is exact, in any order.

    Attributes:
        scores: Histograms of each uncertainty, an error being the outcome 1.
        tallies: Counts of the family ``uncertainty``.
    """

    scores: ScoresSketch
    tallies: TallySketch

    @classmethod
    def from_table(cls, protocol: Protocol, table: ShardTable, groupings: Sequence[Grouping]) -> UncertaintySketch:
        """Sketch of one shard.

        Args:
            groupings: What ``all_groupings`` gives.
        """
        units = units_drawn(protocol, table)
        scored = [item for item in units if item.error is not None and item.entropy is not None]
        return cls(
            scores=_histograms(protocol, table, scored, groupings),
            tallies=TallySketch.from_rows(FAMILY, rows_of(protocol, table, units), table.patient_ids, groupings),
        )

    def merge(self, other: UncertaintySketch) -> UncertaintySketch:
        """Of the patients of both.

        Raises:
            AuscultError: for sketches of different groupings.
        """
        return UncertaintySketch(scores=self.scores.merge(other.scores), tallies=self.tallies.merge(other.tallies))

    def to_bytes(self) -> bytes:
        """Canonical bytes, equal for equal content."""
        return pack(MAGIC, {}, [self.scores.to_bytes(), self.tallies.to_bytes()])

    @classmethod
    def from_bytes(cls, data: bytes) -> UncertaintySketch:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        _, blocks = unpack(MAGIC, data)
        if len(blocks) != 2:
            raise AuscultError(
                "These bytes are not a sketch of samples that this version can read.",
                remedy="Run the shard again; the sketch was damaged or made by another version.",
            )
        return cls(scores=ScoresSketch.from_bytes(blocks[0]), tallies=TallySketch.from_bytes(blocks[1], FAMILY))


def measure_uncertainty(protocol: Protocol, sketch: UncertaintySketch, *, suite: str = SUITE) -> Iterator[Measurement]:
    """Means, ranking, risks and the threshold of abstention of each group, then the gaps."""
    told = measure_tallies(protocol, sketch.tallies, FAMILY, suite=suite)
    yield from (item for item in told if item.metric not in UNTOLD)
    choice = abstention(protocol, sketch.tallies)
    for by in (OVERALL, *protocol.groupings):
        parts = {score: DoubtGroups(protocol, by, sketch.scores.cells[score, by]) for score in SCORES}
        counted = tallied(protocol, sketch.tallies, by)
        for group in counted.groups:
            yield from (_single(parts[item.score], item, group, sketch) for item in DEFINITIONS.values())
            if by == OVERALL:
                yield threshold_of(protocol, counted, group, choice, sketch.tallies)
            yield from at_threshold(counted, group, choice)
        if by != OVERALL:
            yield _gap(parts[ENTROPY], sketch)


def uncertainty_tests(protocol: Protocol, criterion: Criterion, sketch: UncertaintySketch) -> tuple[CriterionTest, ...]:
    """The test of a criterion on what was drawn; none for another metric, or one that is only described."""
    if criterion.metric in TALLIED:
        return (tally_test(protocol, criterion, sketch.tallies, FAMILY),)
    if criterion.metric not in INFO:
        return ()
    info, rule = INFO[criterion.metric], DEFINITIONS["entropy_auroc" if criterion.metric == GAP else criterion.metric]
    groups = DoubtGroups(protocol, criterion.attribute, sketch.scores.cells[rule.score, criterion.attribute])
    pairs = info.kind is MetricKind.GAP
    contrasts = groups.pair_contrasts(AUROC) if pairs else groups.single_contrasts(rule.statistic)
    shortfalls = groups.shortfalls(rule.statistic)
    if not contrasts and (why := why_not(sketch.tallies)):
        shortfalls = (
            Shortfall(group="All", reason=f"it was not asked, {why}", needed="an audit in which it is asked"),
        )
    low, high = info.accepted(criterion.direction, criterion.margin)
    return (
        CriterionTest(
            criterion=criterion,
            label=KEY,
            attribute=criterion.attribute,
            region=Region(low=-float("inf") if low is None else low, high=float("inf") if high is None else high),
            contrasts=contrasts,
            shortfalls=shortfalls,
            wording=_wording(protocol, criterion, rule, pairs=pairs),
        ),
    )


def uncertainty_notes(protocol: Protocol, sketch: UncertaintySketch) -> Iterator[str]:
    """Facts about what was drawn that a reader must know."""
    sampling = protocol.sampling
    if sampling is None:
        return
    if why_not(sketch.tallies):  # the suite says what was not asked, with the reason
        return
    sums, cell = sketch.tallies.sums(OVERALL), protocol.minimum_cell
    lacking = sums["units"] - sums["scored"]
    yield (
        f"Of each of the {sampling.of} that were sampled, {sampling.samples} texts were drawn at a temperature of "
        f"{sampling.temperature:g}; texts that say the same of the findings are one cluster."
    )
    if lacking:
        # Many answers may be of few studies.
        count = f"{lacking:,}" if sums["open"] >= cell else "Some" if lacking >= cell else f"Fewer than {cell}"
        yield (
            f"{count} of the {sums['units']:,} could not be held against the truth: they decline, cannot be read, or "
            "the expert's report is missing. They count in no risk."
        )
    yield (
        "A model that is surely wrong has no uncertainty: semantic entropy finds what the model makes up differently "
        "each time, not what it has learnt wrongly."
    )


def _histograms(
    protocol: Protocol, table: ShardTable, units: Sequence[Unit], groupings: Sequence[Grouping]
) -> ScoresSketch:
    """Histograms of the uncertainties, from a table in which each unit is a study and its error the finding."""
    rows = np.array([item.study for item in units], dtype=np.int64)
    errors = np.array([item.error for item in units], dtype=np.int8)
    uncertain = {
        ENTROPY: [item.entropy for item in units],
        CONSISTENCY: [1 - item.agreeing / item.samples if item.samples else np.nan for item in units],
        NGRAMS: [np.nan if item.shared is None else 1 - item.shared for item in units],
    }
    derived = ShardTable(
        patient_ids=table.patient_ids[rows],
        study_ids=table.study_ids[rows],
        attributes={},
        labels=dict.fromkeys(SCORES, errors),
        scores={name: np.clip(np.array(values, dtype=np.float64), 0.0, 1.0) for name, values in uncertain.items()},
        decisions=dict.fromkeys(SCORES, np.full(len(rows), -1, dtype=np.int8)),
    )
    ways = [Grouping(name=by.name, codes=by.codes[rows], groups=by.groups) for by in groupings]
    of = replace(protocol, labels=tuple(LabelSpec(name=name) for name in SCORES), underdiagnosis=None)
    return ScoresSketch.from_table(of, derived, ways)


def _single(groups: DoubtGroups, rule: DoubtDefinition, group: str, sketch: UncertaintySketch) -> Measurement:
    """One metric; undefined with its reason, or flagged where the group is too small to be judged."""
    if groups.suppressed(group):
        return record(groups, rule.metric, group, reason=few(groups))
    found, scores = groups.statistic(rule.statistic, group), groups.scores(group)
    if found.value is None:
        why = why_not(sketch.tallies)
        reason = f"undefined: not asked, {why}" if why and not scores.n else found.reason
        return record(groups, rule.metric, group, reason=reason, n=scores.n, patients=groups.patients(group))
    if rule.of is None and groups.one_sided(group):
        return record(groups, rule.metric, group, reason=few(groups, "patients with an error, or without one"))
    interval, method = groups.interval(rule.statistic, group)
    low, high = interval(z_of(groups.protocol.alpha))
    reason = _not_judged(groups, rule, group)
    return record(
        groups, rule.metric, group, value=found.value, low=low, high=high, n=scores.n, patients=groups.patients(group),
        reason=reason, method=method, detail={"judged": not reason, **_beside(groups, rule, group)},
    )  # fmt: skip


def _not_judged(groups: DoubtGroups, rule: DoubtDefinition, group: str) -> str:
    if group == UNKNOWN:
        return "not judged: the group is not known"
    if group in groups.adequate(rule.statistic):
        return ""
    whom = "patients with an error, and without one" if rule.of is None else "patients"
    return f"not judged: below {groups.protocol.minimum_denominator} {whom}"


def _beside(groups: DoubtGroups, rule: DoubtDefinition, group: str) -> dict[str, Any]:
    """Beside the AURC: that of a perfect and of a random order, the excess over the perfect one, and the curve."""
    if rule.metric != "aurc":
        return {}
    scores = groups.scores(group)
    best, errors = best_aurc(scores.n, scores.with_finding), scores.with_finding / scores.n
    # A step of few texts would tell of few patients; as many as one patient has at most may be of one alone.
    least = groups.protocol.minimum_cell * int(groups.cells.largest[groups.index(group)])
    curve = thinned(risk_coverage(scores), least / scores.n)
    return {
        "perfect": best,
        "random": errors,
        "excess": (groups.statistic(rule.statistic, group).value or 0.0) - best,
        "curve": [{"coverage": round(coverage, 5), "risk": round(risk, 5)} for coverage, risk in curve],
    }


def _gap(groups: DoubtGroups, sketch: UncertaintySketch) -> Measurement:
    """Largest difference of the AUROC of semantic entropy between two adequate groups."""
    contrasts = groups.pair_contrasts(AUROC)
    if not contrasts and (why := why_not(sketch.tallies)):
        return record(groups, GAP, "", reason=f"undefined: not asked, {why}")
    return gap_of(groups, GAP, contrasts, groups.shortfalls(AUROC), {})


def _wording(protocol: Protocol, criterion: Criterion, rule: DoubtDefinition, *, pairs: bool) -> Wording:
    """How the verdicts of one criterion are put in words."""
    attribute, level = criterion.attribute, f"{100 * (1 - protocol.alpha):g}%"
    bound = "at least " if criterion.direction == "at_least" else ""

    def tail(c: Contrast) -> str:
        amount = f"{c.n:,} {TEXTS} of {c.patients:,} patients"
        limits = f"{level} interval {number(c.low)} to {number(c.high)}"
        return f"{number(c.value)} ({limits}), {amount}, margin {bound}{number(criterion.margin)}"

    def single(c: Contrast) -> str:
        where = f" in texts on {group_words(attribute, c.groups[0])}" if attribute else ""
        return f"the {rule.title}{where} is {tail(c)}"

    def gap(c: Contrast) -> str:
        one, two = (group_words(attribute, group) for group in c.groups)
        values = f"{number(c.rates[0])} vs {number(c.rates[1])}"
        return f"semantic entropy foretells errors less well for {one} than for {two}: {values}, difference {tail(c)}"

    clause = gap if pairs else single
    across = f" across {plain(attribute)}" if attribute else ""
    return Wording(fails=clause, holds=clause, unit=lambda c: TEXTS, subject=f"the {rule.title}{across}")
