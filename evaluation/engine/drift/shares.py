"""Where a change of performance comes from: other patients, or a model that does worse on the same kind.

The Brier score of one label is a mean over groups of an attribute, ``L = sum_g p_g L_g``. Two things may change it: the
mix p, and the loss within each group. Shapley's value of that game, each factor changed before or after the other, is

    mix:      sum_g (p1_g - p0_g) (L0_g + L1_g) / 2
    group g:  (L1_g - L0_g) (p0_g + p1_g) / 2

and the parts sum to the change exactly, with no order of factors preferred. A group that one side lacks is all mix.

Source: Shapley (1953); Das Gupta (1978), Demography 15:99, the decomposition of rates; Budhathoki et al. (2021),
AISTATS, and Zhang et al. (2023), ICML, on a change of performance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evaluation.engine.drift.rates import losses_of
from evaluation.engine.drift.records import Cause
from evaluation.engine.drift.scored import NEGATIVE, POSITIVE, ScoredCounts
from evaluation.engine.drift.standardised import mean_scores
from evaluation.engine.protocol import Protocol

if TYPE_CHECKING:
    from evaluation.engine.drift.sketch import DriftSketch

METHOD = "Shapley value of mix and loss within groups, on the Brier score"
REST = "(groups of few patients)"
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one factor adds to the Brier score, window less reference; above 0 it makes it worse.

    Attributes:
        group: The group within which the loss changed; "" for the mix.
        before, now: Shares of the group's labelled studies, or for the mix those of the group whose share moved most.
        loss_before, loss_now: Brier score in the group; None where a side lacks it.
    """

    group: str
    value: float
    before: float
    now: float
    loss_before: float | None = None
    loss_now: float | None = None
    moved: str = ""


@dataclass(frozen=True, kw_only=True)
class Decomposition:
    """A change of the Brier score by one attribute.

    Attributes:
        total: Window less reference, the sum of the parts.
        mix: The part of the mix; within: those of the groups.
        p_value: That the loss changed alike in all groups: Cochran's Q, chi-square; 1 with fewer than two groups.
    """

    attribute: str
    total: float
    mix: Part
    within: tuple[Part, ...]
    p_value: float


@dataclass(frozen=True, kw_only=True)
class _Loss:
    n: float
    mean: float
    variance: float


def performance_shares(
    attribute: str,
    window: Mapping[str, ScoredCounts],
    reference: Mapping[str, ScoredCounts],
    *,
    minimum_cell: int = 1,
) -> Decomposition | None:
    """The change of the Brier score by the groups of one attribute.

    Args:
        window, reference: Group -> counts of the label. Only studies with a score and a truth count.
        minimum_cell: Groups with fewer of these on a side that has any are put together.

    Returns:
        None where a side has no labelled study.
    """
    from scipy.special import chdtrc

    names = _told_apart(window, reference, minimum_cell)
    sides = [{name: _loss(side, groups) for name, groups in names.items()} for side in (window, reference)]
    sizes = [sum(loss.n for loss in side.values()) for side in sides]
    if not all(sizes):
        return None
    now, before = (
        {name: loss.n / size for name, loss in side.items()} for side, size in zip(sides, sizes, strict=True)
    )
    within, shift, weight, mix = [], [], [], 0.0
    for name in names:
        one, two = sides[0][name], sides[1][name]
        both = bool(one.n and two.n)
        mean = (one.mean + two.mean) / 2 if both else (one.mean if one.n else two.mean)
        mix += (now[name] - before[name]) * mean
        if both:
            change = one.mean - two.mean
            within.append(Part(
                group=name, value=change * (now[name] + before[name]) / 2, before=before[name], now=now[name],
                loss_before=two.mean, loss_now=one.mean,
            ))  # fmt: skip
            shift.append(change)
            weight.append(1 / max(one.variance / one.n + two.variance / two.n, 1e-12))
    moved = max(names, key=lambda name: abs(now[name] - before[name]))
    shifts, weights = np.array(shift), np.array(weight)
    q = float(weights @ (shifts - weights @ shifts / weights.sum()) ** 2) if len(shifts) > 1 else 0.0
    return Decomposition(
        attribute=attribute,
        total=mix + sum(part.value for part in within),
        mix=Part(group="", value=mix, before=before[moved], now=now[moved], moved=moved),
        within=tuple(within),
        p_value=float(chdtrc(len(shifts) - 1, q)) if len(shifts) > 1 else 1.0,
    )


def shapley_of_performance(
    protocol: Protocol, window: DriftSketch, reference: DriftSketch, label: str
) -> tuple[Cause, ...]:
    """What a change of the Brier score of a label comes from, the largest part first; shares sum to 1.

    By the attribute whose groups differ most in how their loss changed (Cochran's Q, Bonferroni over attributes, p
    below .05). Where none does, the loss changed alike in all groups, and the mix that matters most is told beside.

    Returns:
        Nothing where a side has no labelled study or the protocol no attribute.
    """
    drift = protocol.drift
    if drift is None:
        return ()
    found = []
    for attribute in drift.groups or window.attributes:
        made = performance_shares(
            attribute, _by_group(window, attribute, label), _by_group(reference, attribute, label),
            minimum_cell=protocol.minimum_cell,
        )  # fmt: skip
        if made is not None:
            found.append(made)
    if not found:
        return ()
    best = min(found, key=lambda item: (item.p_value, item.attribute))
    if best.p_value * len(found) <= LEVEL:
        causes = [_in_group(label, best, part) for part in best.within]
    else:
        best = max(found, key=lambda item: (abs(item.mix.value), item.attribute))
        causes = [_everywhere(label, best)]
    return _shared([*causes, _of_mix(label, best)])


def _by_group(sketch: DriftSketch, attribute: str, label: str) -> dict[str, ScoredCounts]:
    cells = {group: sketch.of_group(attribute, group) for group in sketch.groups(attribute)}
    return {group: cell.scored[label] for group, cell in cells.items() if label in cell.scored}


def _told_apart(
    window: Mapping[str, ScoredCounts], reference: Mapping[str, ScoredCounts], minimum_cell: int
) -> dict[str, list[str]]:
    """Name -> groups that it stands for: each by itself, those of few studies together."""
    made: dict[str, list[str]] = {}
    for name in sorted({*window, *reference}):
        sizes = [side[name].labelled if name in side else 0 for side in (window, reference)]
        few = any(0 < size < minimum_cell for size in sizes)
        if any(sizes):
            made.setdefault(REST if few else name, []).append(name)
    return made


def _loss(side: Mapping[str, ScoredCounts], groups: Sequence[str]) -> _Loss:
    """Brier score of some groups, and the variance of one study's loss."""
    parts = [side[name] for name in groups if name in side and side[name].labelled]
    if not parts:
        return _Loss(n=0.0, mean=0.0, variance=0.0)
    counts = np.sum([part.counts[:-1].astype(np.float64) for part in parts], axis=0)
    means = mean_scores([(part, part) for part in parts])
    positive, negative = counts[:, POSITIVE], counts[:, NEGATIVE]
    rate, n = losses_of(positive, negative, means)["brier"], float(positive.sum() + negative.sum())
    squared = positive @ (rate.by_positive * n) ** 2 + negative @ (rate.by_negative * n) ** 2
    return _Loss(n=n, mean=rate.value, variance=float(squared) / n)


def _in_group(label: str, found: Decomposition, part: Part) -> Cause:
    sentence = (
        f"{label}, {found.attribute} {part.group}: Brier score {part.loss_before:.3f} before, {part.loss_now:.3f} now; "
        f"{part.now:.0%} of the labelled studies."
    )
    return _cause(label, found.attribute, part, f"{found.attribute}={part.group}", f"{label} in {part.group}", sentence)


def _everywhere(label: str, found: Decomposition) -> Cause:
    value = sum(part.value for part in found.within)
    part = Part(group="", value=value, before=1.0, now=1.0)
    sentence = f"{label}: the Brier score changed by {value:+.3f} in all groups alike."
    return _cause(label, "", part, f"performance.{label}", f"{label} in all groups alike", sentence)


def _of_mix(label: str, found: Decomposition) -> Cause:
    part = found.mix
    sentence = (
        f"{label}: another mix of {found.attribute} changes the Brier score by {part.value:+.3f}; "
        f"{part.moved} {part.before:.0%} before, {part.now:.0%} now."
    )
    return _cause(label, found.attribute, part, found.attribute, f"mix of {found.attribute}", sentence)


def _cause(label: str, attribute: str, part: Part, feature: str, title: str, sentence: str) -> Cause:
    return Cause(
        feature=feature, title=title, modality=f"score.{label}", attribute=attribute, group=part.group, share=0.0,
        effect="brier_rise", value=part.value, method=METHOD, sentence=sentence,
    )  # fmt: skip


def _shared(causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """With each one's share of all parts, signs aside."""
    total = sum(abs(item.value or 0.0) for item in causes)
    shares = [abs(item.value or 0.0) / total if total else 1 / len(causes) for item in causes]
    made = [replace(item, share=share) for item, share in zip(causes, shares, strict=True)]
    return tuple(sorted(made, key=lambda item: (-item.share, item.feature)))
