"""The rates of the fairness suite: which cells of (true, false) x (positive, negative) each divides by which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.registry import MetricInfo, MetricKind
from evaluation.engine.sketches.counts import CELLS
from evaluation.engine.statistics.bootstrap import Floats

Numbers = npt.NDArray[Any]
"""Counts of the sketch (int64) or of replicates (float64)."""


@dataclass(frozen=True, kw_only=True)
class RateDefinition:
    """A rate ``sum(numerator) / sum(denominator)`` over cells ``tp``, ``fp``, ``fn``, ``tn``.

    Attributes:
        title: In a reader's words.
        among: What the denominator counts.
        worse: +1 where a higher rate is worse for the patient group, -1 where a lower one is.
        worse_words: What a worse rate means, with ``{label}``; followed by "in A than in B".
    """

    metric: str
    title: str
    numerator: tuple[str, ...]
    denominator: tuple[str, ...]
    among: str
    worse: int
    worse_words: str

    @property
    def persons(self) -> str:
        """Whom the denominator counts: ``patients with the finding``."""
        return f"patients {self.among.removeprefix('studies')}".replace("  ", " ").strip()

    def events(self, cells: Numbers) -> Numbers:
        """Numerators of an array [..., 4]."""
        total: Numbers = cells[..., [CELLS.index(name) for name in self.numerator]].sum(axis=-1)
        return total

    def studies(self, cells: Numbers) -> Numbers:
        """Denominators of an array [..., 4]."""
        total: Numbers = cells[..., [CELLS.index(name) for name in self.denominator]].sum(axis=-1)
        return total

    def of(self, cells: Floats) -> Floats:
        """Rates of an array [..., 4]; NaN where the denominator is 0."""
        below = self.studies(cells).astype(np.float64)
        rates: Floats = np.divide(self.events(cells), below, out=np.full(below.shape, np.nan), where=below > 0)
        return rates


def _rate(metric: str, title: str, over: str, among: str, worse: int, words: str) -> RateDefinition:
    top, _, bottom = over.partition("/")
    return RateDefinition(
        metric=metric,
        title=title,
        numerator=tuple(top.split()),
        denominator=tuple(bottom.split()),
        among=among,
        worse=worse,
        worse_words=words,
    )


RATES: dict[str, RateDefinition] = {
    item.metric: item
    for item in (
        _rate("prevalence", "prevalence", "tp fn / tp fp fn tn", "studies", 1, "{label} is present more often"),
        _rate("selection_rate", "selection rate", "tp fp / tp fp fn tn", "studies", 1,
              "{label} is predicted more often"),
        _rate("tpr", "sensitivity", "tp / tp fn", "studies with the finding", -1, "{label} is missed more often"),
        _rate("fpr", "false positive rate", "fp / fp tn", "studies without the finding", 1,
              "{label} is reported falsely more often"),
        _rate("ppv", "positive predictive value", "tp / tp fp", "studies predicted positive", -1,
              "a positive result for {label} is wrong more often"),
        _rate("npv", "negative predictive value", "tn / tn fn", "studies predicted negative", -1,
              "a negative result for {label} is wrong more often"),
        _rate("accuracy", "accuracy", "tp tn / tp fp fn tn", "studies", -1, "{label} is judged wrongly more often"),
        _rate("underdiagnosis_rate", "underdiagnosis rate", "fn / tp fn", "studies with a finding", 1,
              "studies with {label} are reported clear more often"),
    )
}  # fmt: skip
"""Every rate, by metric. ``underdiagnosis_rate`` is taken on the composite, the others on a label."""

LABEL_RATES = ("prevalence", "selection_rate", "tpr", "fpr", "ppv", "npv", "accuracy")
COMPOSITE_RATES = ("prevalence", "underdiagnosis_rate", "fpr")

GAPS: dict[str, tuple[str, ...]] = {
    "demographic_parity_difference": ("selection_rate",),
    "equal_opportunity_difference": ("tpr",),
    "fpr_difference": ("fpr",),
    "equalized_odds_difference": ("tpr", "fpr"),
    "predictive_parity_difference": ("ppv",),
    "underdiagnosis_difference": ("underdiagnosis_rate",),
}
"""Largest difference between two groups, over one or more rates. Equalised odds is ``max(dTPR, dFPR)``, ideal 0
(not the mean of both, and not "1 is fair" as elsewhere)."""

GAP_TITLES = {
    "demographic_parity_difference": "demographic parity difference (selection rate)",
    "equal_opportunity_difference": "equal opportunity difference (sensitivity)",
    "fpr_difference": "false positive rate difference",
    "equalized_odds_difference": "equalised odds difference (sensitivity or false positive rate)",
    "predictive_parity_difference": "predictive parity difference (positive predictive value)",
    "underdiagnosis_difference": "underdiagnosis difference",
}
RATIO = "demographic_parity_ratio"
COMPOSITE_METRICS = frozenset({"underdiagnosis_rate", "underdiagnosis_difference"})

RATE_METRICS: dict[str, MetricInfo] = {
    "support": MetricInfo(title="support", kind=MetricKind.DESCRIBED),
    RATIO: MetricInfo(title="demographic parity ratio (selection rate)", kind=MetricKind.RATIO),
    **{
        name: MetricInfo(
            title=item.title,
            kind=MetricKind.DESCRIBED if name == "prevalence" else MetricKind.RATE,
            composite=name in COMPOSITE_METRICS,
        )
        for name, item in RATES.items()
    },
    **{
        name: MetricInfo(title=title, kind=MetricKind.GAP, composite=name in COMPOSITE_METRICS)
        for name, title in GAP_TITLES.items()
    },
}
