"""Whether uncertainty foretells errors: ranking and risk of each group, from histograms of uncertainty by error.

A histogram of scores keeps, in place of a finding, whether the text has an error, and in place of a score how unsure
the model was. AUROC is then the chance that a text with an error is more uncertain than one without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from evaluation.engine.doubt.selective import aurc, risk_at
from evaluation.engine.judging import Shortfall
from evaluation.engine.protocol import Protocol
from evaluation.engine.registry import Basis, MetricInfo, MetricKind
from evaluation.engine.sketches.scores import ScoreCells
from evaluation.engine.statistics.intervals import Interval, logit_interval, t_of, wilson
from evaluation.engine.statistics.scored import Scores, Statistic
from evaluation.engine.suites.fairness.score_metrics import Need
from evaluation.engine.suites.fairness.scored import EXACT, LINEARISED, ScoredGroups
from evaluation.engine.suites.hallucination.sampled import KEY

SUITE, VERSION = "hallucination", "1"
AUROC = "auroc"
ENTROPY, CONSISTENCY, NGRAMS = "entropy", "consistency", "ngrams"
COVERAGES = (0.5, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True)
class DoubtDefinition:
    """A metric from the histogram of one kind of uncertainty.

    Attributes:
        score: Which uncertainty: ``entropy``; ``consistency`` and ``ngrams``: one less the share that agrees.
        of: ``auroc``, or the statistic itself.
        coverage: The share of the texts that it looks at.
        worse: +1 where a higher value is worse.
    """

    metric: str
    title: str
    score: str
    of: Callable[[Scores], Statistic] | None
    worse: int
    coverage: float = 1.0

    @property
    def statistic(self) -> str:
        """Its name among the statistics of a group."""
        return AUROC if self.of is None else self.metric


def _risk(coverage: float) -> DoubtDefinition:
    return DoubtDefinition(
        metric=f"risk_at_{coverage * 100:.0f}",
        title=f"share of errors among the {coverage:.0%} of the texts that the model is surest of",
        score=ENTROPY, of=partial(risk_at, coverage=coverage), worse=1, coverage=coverage,
    )  # fmt: skip


DEFINITIONS: Mapping[str, DoubtDefinition] = {
    item.metric: item
    for item in (
        DoubtDefinition(
            metric="entropy_auroc", title="AUROC of semantic entropy against errors", score=ENTROPY, of=None, worse=-1
        ),
        DoubtDefinition(
            metric="consistency_auroc", title="AUROC of inconsistent samples against errors", score=CONSISTENCY,
            of=None, worse=-1,
        ),
        DoubtDefinition(
            metric="ngram_auroc", title="AUROC of differing words against errors", score=NGRAMS, of=None, worse=-1
        ),
        DoubtDefinition(
            metric="aurc", title="area under the risk-coverage curve", score=ENTROPY, of=aurc, worse=1
        ),
        *map(_risk, COVERAGES),
    )
}  # fmt: skip

STATISTICS = {item.metric: item.of for item in DEFINITIONS.values() if item.of is not None}
GAP = "entropy_auroc_difference"
INFO: dict[str, MetricInfo] = {
    **{
        item.metric: MetricInfo(title=item.title, kind=MetricKind.RATE, basis=Basis.SAMPLES)
        for item in DEFINITIONS.values()
    },
    GAP: MetricInfo(
        title="difference in the AUROC of semantic entropy against errors", kind=MetricKind.GAP, basis=Basis.SAMPLES
    ),
}


class DoubtGroups(ScoredGroups):
    """The groups of one grouping, by one kind of uncertainty."""

    suite = SUITE
    version = VERSION

    def __init__(self, protocol: Protocol, attribute: str, cells: ScoreCells) -> None:
        super().__init__(protocol, KEY, attribute, cells)

    def _compute(self, metric: str, scores: Scores) -> Statistic:
        if metric == AUROC:
            found = super()._compute(metric, scores)
            return replace(found, reason=_of_errors(found.reason))
        return STATISTICS[metric](scores)

    def need(self, metric: str) -> Need:
        return Need.BOTH_CLASSES if metric == AUROC else Need.PATIENTS

    def suppressed(self, group: str) -> bool:
        """Whether the group is so small that nothing is told of it. That few of many patients have an error is told."""
        return 0 < self.patients(group) < self.protocol.minimum_cell

    def one_sided(self, group: str) -> bool:
        """Whether so few patients have an error, or none, that no ranking is told."""
        return super().suppressed(group)

    def shortfalls(self, metric: str) -> tuple[Shortfall, ...]:
        return tuple(
            replace(item, reason=_of_errors(item.reason), needed=_of_errors(item.needed))
            for item in super().shortfalls(metric)
        )

    def freedom(self, metric: str, *groups: str) -> float:
        """Degrees of freedom: the patients with an error, or without one, whichever are fewer, less one."""
        owners = self.cells.owners[[self.index(group) for group in groups]]
        return float(max(1, int(owners[:, :2].min()) - 1))

    def interval(self, metric: str, group: str) -> tuple[Callable[[float], Interval], str]:
        """Of a risk, on the logit; where there is no error to vary, Wilson's of the patients it rests on."""
        if metric == AUROC:
            return super().interval(metric, group)
        value, freedom = self.statistic(metric, group).value or 0.0, self.freedom(metric, group)
        error = self.standard_error(metric, group)
        if error <= 0 or not 0 < value < 1:
            behind = max(1.0, self.patients(group) * DEFINITIONS[metric].coverage)
            return lambda z: wilson(value, behind, z), EXACT
        return lambda z: logit_interval(value, error**2, t_of(z, freedom) if z > 0 else 0.0), LINEARISED


def _of_errors(text: str) -> str:
    """A sentence on findings as one on errors."""
    return text.replace("studies with the finding and without it", "texts with an error and without one").replace(
        "the finding", "an error"
    )
