"""Answering only where one is sure: the risk of what is still said, against the share of studies it is said of.

Studies are ordered by their uncertainty, the surest first. At coverage c the model speaks of the first ``c n`` of them,
and its risk is the share of errors among these. Studies of equal uncertainty come in random order: every number here is
the mean over all such orders, so that none depends on how the studies were sorted.

Scores are in bins, as in ``statistics.scored``: outcome 1 is an error, a higher bin is more uncertain. The influence of
a study on a value is its derivative by the number of studies in that cell, less the mean, so that influences sum to 0.

Sources: Geifman and El-Yaniv (2017), NeurIPS 4878, for the risk-coverage curve; Geifman, Uziel and El-Yaniv (2019),
ICLR, for AURC and its excess over a perfect order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.scored import Scores, Statistic, undefined

Floats = npt.NDArray[np.float64]
NOTHING = "undefined: no text with samples could be held against the truth"
SPARSE = 10
"""With fewer errors than this nothing can be learnt from how they cluster: then a patient's texts count as one."""


@dataclass(frozen=True, kw_only=True)
class _Steps:
    """The bins that are not empty, the surest first: studies and errors of each, and those before it."""

    used: npt.NDArray[np.int64]
    n: Floats
    errors: Floats
    n_before: Floats
    errors_before: Floats

    @classmethod
    def of(cls, scores: Scores) -> _Steps:
        counts = scores.counts.astype(np.float64)
        used = np.flatnonzero(counts.sum(axis=0))
        n, errors = counts.sum(axis=0)[used], counts[1, used]
        return cls(
            used=used, n=n, errors=errors, n_before=np.cumsum(n) - n, errors_before=np.cumsum(errors) - errors
        )  # fmt: skip

    @property
    def rate(self) -> Floats:
        return self.errors / self.n


def aurc(scores: Scores) -> Statistic:
    """Area under the risk-coverage curve: ``(1/n) sum_m E[errors among the first m] / m``.

    Within a bin of b studies with e errors, after N studies with E errors, the sum is
    ``e + (E - N e/b) (psi(N + b + 1) - psi(N + 1))``. Between 0 and 1; small where the model errs little and errs where
    it is unsure. Compare with :func:`best_aurc` and with the share of errors, which a random order has.
    """
    from scipy.special import digamma, polygamma

    if not scores.n:
        return undefined(scores, NOTHING)
    steps = _Steps.of(scores)
    rate, before, n = steps.rate, steps.n_before, steps.n
    harmonic = digamma(before + n + 1) - digamma(before + 1)
    end, start = polygamma(1, before + n + 1), polygamma(1, before + 1)
    lead = steps.errors_before - rate * before
    total = float((steps.errors + lead * harmonic).sum())
    by_error = 1 - before / n * harmonic
    by_study = rate * before / n * harmonic + lead * end
    later_error = _after(harmonic)
    later_study = _after(-rate * harmonic + lead * (end - start))
    slopes = np.stack([by_study + later_study, by_study + later_study + by_error + later_error]) / scores.n
    return _statistic(scores, steps, total / scores.n, slopes)


def best_aurc(n: int, errors: int) -> float:
    """The AURC of a perfect order, all errors last: ``(1/n) sum_{m > n-e} (m - n + e) / m``; n above 0."""
    from scipy.special import digamma

    right = n - errors
    return float(errors - right * (digamma(n + 1) - digamma(right + 1))) / n


def risk_at(scores: Scores, coverage: float) -> Statistic:
    """Share of errors among the ``coverage`` of the studies that are surest: ``E[errors among the first c n] / (c n)``.

    Args:
        coverage: Above 0, at most 1.
    """
    if not scores.n:
        return undefined(scores, NOTHING)
    steps = _Steps.of(scores)
    m = coverage * scores.n
    last = int(np.searchsorted(np.cumsum(steps.n), m - 1e-9))
    rate, inside = float(steps.rate[last]), m - float(steps.n_before[last])
    errors = float(steps.errors_before[last]) + rate * inside
    place = np.arange(len(steps.used))
    slopes = np.full((2, len(place)), rate * coverage)
    slopes[:, place < last] += np.array([[-rate], [1 - rate]])
    slopes[:, last] += (np.array([0.0, 1.0]) - rate) * inside / steps.n[last]
    return _statistic(scores, steps, errors / m, slopes / m)


def risk_coverage(scores: Scores) -> list[tuple[float, float]]:
    """(coverage, risk) after each bin that is not empty, the surest first."""
    if not scores.n:
        return []
    steps = _Steps.of(scores)
    kept, wrong = steps.n_before + steps.n, steps.errors_before + steps.errors
    pairs: list[tuple[float, float]] = list(zip((kept / scores.n).tolist(), (wrong / kept).tolist(), strict=True))
    return pairs


def thinned(curve: Sequence[tuple[float, float]], least: float) -> list[tuple[float, float]]:
    """The points of a risk-coverage curve with steps of at least ``least`` between them, and before and after them."""
    found: list[tuple[float, float]] = []
    for coverage, risk in curve:
        before = found[-1][0] if found else 0.0
        if coverage - before >= least - 1e-12 and (coverage >= 1 or 1 - coverage >= least - 1e-12):
            found.append((coverage, risk))
    return found


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is said where the uncertainty is at most ``threshold``.

    Attributes:
        n, errors: Texts that are kept, and those of them that are wrong.
        squares: Sum over patients of the square of their kept texts: n where no patient has several.
        worth: As many independent texts are worth as much, by the linearised variance between patients.
    """

    threshold: float
    n: int
    errors: int
    squares: float
    worth: float

    @property
    def risk(self) -> float | None:
        """None where nothing is kept."""
        return self.errors / self.n if self.n else None

    @property
    def effective(self) -> float:
        """``worth``; where errors, or right texts, are too few to show how they cluster, as if a patient's agreed."""
        if min(self.errors, self.n - self.errors) < SPARSE:
            return self.n * self.n / max(1.0, self.squares)
        return self.worth

    def bound(self, alpha: float) -> float:
        """Upper confidence bound of the risk at level ``1 - alpha``: Clopper and Pearson's at the effective size.

        ``Beta^-1(1 - alpha; x + 1, n' - x)`` for x = risk n'; 1 where nothing is kept.

        Source: Clopper and Pearson (1934), Biometrika 26:404; Korn and Graubard (1998), Survey Methodology 24:193, for
        the effective size.
        """
        from scipy.stats import beta

        if not self.n or self.errors == self.n:
            return 1.0
        size = self.effective
        wrong = self.errors / self.n * size
        return float(beta.ppf(1 - alpha, wrong + 1, size - wrong))


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """The largest threshold that keeps the target, with what was tried. ``kept`` is None where none does."""

    kept: Kept | None
    bound: float | None
    level: float
    tried: tuple[tuple[Kept, float], ...]


def abstain_above(levels: Sequence[Kept], target: float, alpha: float) -> Abstention:
    """The threshold of greatest coverage whose risk lies at most at ``target``, with confidence ``1 - alpha``.

    Every threshold is tested at ``alpha / J`` (Bonferroni over the J thresholds, which must be fixed before the data
    are seen), so that the chance that a threshold is chosen whose true risk is above the target is at most ``alpha``,
    whichever is chosen.

    Source: Angelopoulos et al. (2025), Annals of Applied Statistics 19:1641 (Learn then Test), for risk control by
    testing every threshold of a fixed list.
    """
    level = alpha / max(1, len(levels))
    tried = tuple((item, item.bound(level)) for item in levels)
    good = [(item, bound) for item, bound in tried if bound <= target]
    if not good:
        return Abstention(kept=None, bound=None, level=1 - level, tried=tried)
    kept, bound = max(good, key=lambda pair: (pair[0].n, -pair[0].threshold))
    return Abstention(kept=kept, bound=bound, level=1 - level, tried=tried)


def least_for(target: float, level: float) -> int:
    """Independent texts without an error that are needed before any threshold can meet the target."""
    return math.ceil(math.log(1 - level) / math.log(1 - target))


def _after(values: Floats) -> Floats:
    """Sum of the values behind each place."""
    found: Floats = values[::-1].cumsum()[::-1] - values
    return found


def _statistic(scores: Scores, steps: _Steps, value: float, slopes: Floats) -> Statistic:
    """The value with the slopes [2, bins used] in their places, less their mean over the studies."""
    mean = float((scores.counts[:, steps.used] * slopes).sum()) / scores.n
    influence = np.zeros(scores.counts.shape)
    influence[:, steps.used] = slopes - mean
    return Statistic(value=min(1.0, max(0.0, value)), influence=influence)
