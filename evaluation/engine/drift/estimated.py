"""Shifts of one label: its scores, how often the finding is there, and how well the model does, known or estimated.

| stream | effect | above 0 |
|---|---|---|
| ``score.<label>`` | ``wasserstein_sigma`` of the scores | the scores moved |
| ``label.<label>`` | ``prevalence_change``, or ``estimated_prevalence_change`` (BBSE) before labels | more often |
| ``estimated.<label>`` | ``sensitivity_drop``, or ``auroc_drop`` where there is no threshold | expected to be worse |
| ``performance.<label>`` | ``auroc_drop`` | worse |
| ``concept.<label>`` | ``calibration_rms`` | the finding is as often there at equal scores no more |

What is *estimated* rests on the reference's calibration: at a score s the finding is there with chance c(s), so a
window of m(s) studies is due ``sum m c`` with the finding, of whom those above the threshold are found. It holds where
studies change and the meaning of scores does not (covariate shift). It has no value once labels contradict it.

Source: Garg et al. (2022), ICLR, and NannyML's confidence-based performance estimation (CBPE).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.numbers import Paired, number_shift, standard_deviation
from evaluation.engine.drift.performance import (
    LEAST_OF_A_CLASS,
    Calibration,
    Change,
    calibration_of,
    concept_change,
    performance_change,
    undefined,
)
from evaluation.engine.drift.prevalence import shifted_prevalence
from evaluation.engine.drift.rates import Rate, rates_of
from evaluation.engine.drift.records import Family, Notice, NoticeKind, StreamShift
from evaluation.engine.drift.scored import NEGATIVE, POSITIVE, ScoredCounts
from evaluation.engine.drift.standardised import LABELLED, Pairs, Sides, mean_scores
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ALL
from evaluation.engine.statistics.intervals import difference, p_of, wilson, z_of

Floats = npt.NDArray[np.float64]
Counts = ScoredCounts | Sequence[ScoredCounts]
INVALID = 0.01
"""P-value of the labels of one window, given the scores, from which estimates without labels are no longer told."""
STREAMS = {
    Family.PREDICTION: "score", Family.LABEL: "label", Family.ESTIMATED: "estimated",
    Family.PERFORMANCE: "performance", Family.CONCEPT: "concept",
}  # fmt: skip


def scored_shifts(
    protocol: Protocol, label: str, window: Counts, reference: Counts
) -> tuple[tuple[StreamShift, ...], tuple[Notice, ...]]:
    """Every shift of one label that the protocol watches, over all studies, and whether estimates are invalid.

    Args:
        window, reference: One sketch each, or as many strata of the case mix on either side, in one order. The
            reference is put into the window's mix of strata.

    Returns:
        One shift for each watched family of :data:`STREAMS`, ``value`` None with a reason where it is undefined.
        Labels of fewer than ``protocol.minimum_cell`` studies on a side are as none. A notice ``concept`` where the
        labels of the window contradict the reference's calibration (p at most .01, and the shift at or over its
        margin); ``estimated.<label>`` has no value then.

    Raises:
        AuscultError, ValueError: counts of different thresholds, or another number of strata on either side.
    """
    drift = protocol.drift
    if drift is None:
        return (), ()
    pairs = _pairs(window, reference)
    every = Sides.of(pairs)
    labelled = _enough(Sides.of(pairs, columns=LABELLED), protocol.minimum_cell)
    known = _enough(Sides.of(pairs, columns=LABELLED, unscored=True), protocol.minimum_cell)
    alpha, from_bin, threshold = protocol.alpha, pairs[0][0].from_bin, pairs[0][0].threshold
    means = mean_scores(pairs)
    concept = concept_change(labelled, threshold, alpha=alpha, minimum_cell=protocol.minimum_cell)
    notices = _contradiction(label, concept, drift.margin(Family.CONCEPT))
    changes = {
        Family.PREDICTION: prediction_change(every, means, alpha=alpha),
        Family.LABEL: label_change(known, every, means, from_bin, alpha=alpha),
        Family.ESTIMATED: estimated_change(every, from_bin, alpha=alpha, valid=not notices, label=label),
        Family.PERFORMANCE: performance_change(labelled, means, from_bin, alpha=alpha),
        Family.CONCEPT: concept,
    }
    used = {family: labelled if family in (Family.PERFORMANCE, Family.CONCEPT) else every for family in changes}
    used[Family.LABEL] = known or every
    shifts = tuple(
        _shift(label, family, change, drift.margin(family), used[family])
        for family, change in changes.items()
        if drift.watches(family)
    )
    return shifts, notices


def prediction_change(sides: Sides | None, means: Floats, *, alpha: float) -> Change:
    """Distance of the scores: Wasserstein, in standard deviations of the reference, less what chance adds.

    Scores lie between 0 and 1, so the plain standard deviation needs no protection from outliers; most lie close to 0,
    where a robust one would call a trivial shift large.

    The p-value is that of Kolmogorov and Smirnov's test (black-box shift detection). See ``numbers.number_shift``.

    Source: Rabanser et al. (2019), NeurIPS, Failing loudly.
    """
    if sides is None:
        return undefined("wasserstein_sigma", "undefined: no study of the window has a score to compare")
    n = float(sides.window.sum())
    pair = Paired(
        values=means, window=sides.window.sum(axis=1) / n, reference=sides.reference.sum(axis=1) / n, n=sides.n,
        m=sides.worth, n_reference=sides.n_reference, uncompared=sides.uncompared,
    )  # fmt: skip
    plain = standard_deviation(pair.values, pair.reference)
    found = number_shift(pair, z=z_of(alpha), sigma=plain if plain > 0 else None)
    return Change(
        effect="wasserstein_sigma", value=found.value, low=found.low, high=found.high, p_value=found.p_value, reason="",
        detail=found.detail,
    )  # fmt: skip


def label_change(
    labelled: Sides | None, every: Sides | None, means: Floats, from_bin: int | None, *, alpha: float
) -> Change:
    """How much more often the finding is there: observed, or estimated while no study of the window has a label.

    Observed: difference of shares with Newcombe's interval and the p-value of Pearson's chi-square. Estimated: BBSE,
    see ``prevalence``. ``detail["estimate"]`` has the estimate in either case.
    """
    estimate = None if every is None else shifted_prevalence(every, means, from_bin, alpha=alpha)
    detail = {} if estimate is None else {"estimate": estimate.to_dict()}
    if labelled is not None:
        n, z = float(labelled.window.sum()), z_of(alpha)
        now, before = (float(part[:, POSITIVE].sum()) / n for part in (labelled.window, labelled.reference))
        limits = (wilson(now, labelled.n, z), wilson(before, labelled.worth, z))
        low, high = difference(now, before, limits)
        pooled = (now * labelled.n + before * labelled.worth) / (labelled.n + labelled.worth)
        error = math.sqrt(pooled * (1 - pooled) * (1 / labelled.n + 1 / labelled.worth))
        p_value = p_of((now - before) / error) if error else 1.0
        return Change(
            effect="prevalence_change", value=now - before, low=low, high=high, p_value=p_value, reason="",
            detail=detail | {"observed": now, "reference": before},
        )  # fmt: skip
    effect = "estimated_prevalence_change"
    if estimate is None:
        return undefined(effect, "undefined: no study of the window has a score or a label to compare")
    if estimate.change is None or not estimate.variance:
        return Change(
            effect=effect, value=None, low=None, high=None, p_value=None, detail=detail,
            reason=estimate.reason or "undefined: neither side varies",
        )  # fmt: skip
    return Change(
        effect=effect, value=estimate.change, low=estimate.change_low, high=estimate.change_high,
        p_value=p_of(estimate.change / math.sqrt(estimate.variance)), reason="", detail=detail,
    )  # fmt: skip


def estimated_change(
    sides: Sides | None, from_bin: int | None, *, alpha: float, valid: bool = True, label: str = ""
) -> Change:
    """Expected drop of sensitivity (of AUROC without a threshold), from scores alone: reference less window.

    Both sides are estimated by one calibration, that of the reference, so that a window like the reference drops by
    0. ``detail[rate]``: estimate, estimate of the reference, drop with interval, for sensitivity, specificity, PPV,
    accuracy and AUROC. The interval counts the window's noise and the calibration's.

    Args:
        valid: False where labels contradict the calibration.
    """
    effect = "auroc_drop" if from_bin is None else "sensitivity_drop"
    if sides is None:
        return undefined(effect, "undefined: no study of the window has a score to compare")
    if min(sides.reference_class(POSITIVE), sides.reference_class(NEGATIVE)) < LEAST_OF_A_CLASS:
        return undefined(
            effect, f"undefined: the reference needs {LEAST_OF_A_CLASS} studies with the finding and without it"
        )
    if not valid:
        return undefined(
            effect, f"invalid: labels of this window contradict the calibration of the reference, see concept.{label}"
        )
    calibration = calibration_of(sides)
    now, before = (part.sum(axis=1) for part in (sides.window, sides.reference))
    rates = [rates_of(m * calibration.share, m * (1 - calibration.share), from_bin) for m in (now, before)]
    detail = {
        name: _drop(sides, calibration, rates[0][name], rates[1][name], alpha) for name in rates[0] if name in rates[1]
    }
    main = detail.get(effect.removesuffix("_drop"))
    if main is None or main["low"] is None:
        return undefined(effect, "undefined: no score of the window, or of the reference, leaves a doubt")
    return Change(
        effect=effect, value=main["drop"], low=main["low"], high=main["high"], p_value=main["p_value"], reason="",
        detail=detail,
    )  # fmt: skip


def _drop(sides: Sides, calibration: Calibration, now: Rate, before: Rate, alpha: float) -> dict[str, float | None]:
    """Drop of an expected rate, its variance by the counts of the window, of the reference, and of its calibration."""
    share, block = calibration.share, calibration.block
    by_scores = [rate.by_positive * share + rate.by_negative * (1 - share) for rate in (now, before)]
    by_share = np.zeros(len(share))
    for rate, part, sign in ((now, sides.window, -1), (before, sides.reference, 1)):
        by_share += sign * part.sum(axis=1) * (rate.by_positive - rate.by_negative)
    # A study of the reference moves the share of its block, and with it both sides.
    moved = (np.bincount(block, weights=by_share) / calibration.weight)[block]
    by_reference = np.repeat(by_scores[1][:, None], sides.reference.shape[1], axis=1)
    by_reference[:, POSITIVE] += moved * (1 - share)
    by_reference[:, NEGATIVE] -= moved * share
    error = math.sqrt(sides.variance(-by_scores[0], by_reference))
    drop = before.value - now.value
    told: dict[str, float | None] = {"value": now.value, "reference": before.value, "drop": drop}
    if error <= 0:
        return told | {"low": None, "high": None, "p_value": None}
    half = z_of(alpha) * error
    return told | {"low": drop - half, "high": drop + half, "p_value": p_of(drop / error)}


def _contradiction(label: str, concept: Change, margin: float) -> tuple[Notice, ...]:
    """Where labels contradict the reference's calibration."""
    if concept.value is None or concept.p_value is None or concept.p_value > INVALID or concept.value < margin:
        return ()
    observed, expected = concept.detail["observed"], concept.detail["expected"]
    message = (
        f"{label}: at equal scores the finding is as often there as in the reference no more "
        f"({observed:.1%} of the window has it, {expected:.1%} would by its scores). "
        "What is estimated without labels does not hold."
    )
    detail = {
        "value": concept.value, "p_value": concept.p_value, "margin": margin, "observed": observed,
        "expected": expected,
    }  # fmt: skip
    return (Notice(kind=NoticeKind.CONCEPT, stream=f"concept.{label}", message=message, detail=detail),)


def _shift(label: str, family: Family, change: Change, margin: float, sides: Sides | None) -> StreamShift:
    uncompared = {} if sides is None or not sides.uncompared else {"uncompared": sides.uncompared}
    return StreamShift(
        stream=f"{STREAMS[family]}.{label}", family=family, attribute="", group=ALL, effect=change.effect,
        value=change.value, low=change.low, high=change.high, margin=margin, p_value=change.p_value,
        n=sides.n if sides else 0, n_reference=sides.n_reference if sides else 0, reason=change.reason,
        detail=change.detail | uncompared,
    )  # fmt: skip


def _enough(sides: Sides | None, minimum_cell: int) -> Sides | None:
    """None where so few studies on a side are comparable that nothing may be told of them."""
    return sides if sides and min(sides.n, sides.n_reference) >= minimum_cell else None


def _pairs(window: Counts, reference: Counts) -> Pairs:
    one = [window] if isinstance(window, ScoredCounts) else list(window)
    two = [reference] if isinstance(reference, ScoredCounts) else list(reference)
    merged = list(zip(one, two, strict=True))
    for first, second in merged:
        first.merge(second)  # Raises where thresholds differ.
    return merged
