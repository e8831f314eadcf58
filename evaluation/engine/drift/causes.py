"""Why a window differs from the reference: which features, in which groups, and which studies show it most.

Three views of a sample of both, all on patients that no classifier was fitted on:

- *What explains the rest.* If only the mix of scanners had changed, which shifts would be there? The reference is
  weighted so that its distribution of one feature is the window's; the share of the Jensen-Shannon divergences of all
  features that this removes is what the feature explains. Where one feature explains another, both are one cause,
  called by the one with the fewest levels: the maker of the scanner, not the height of its pictures. What tells of the
  alarm comes first, then what has moved over its margin.
- *Permutation importance* of a gradient-boosted classifier that tells window from reference, in AUROC.
- *Groups.* A shift that is there in one group of an attribute and not outside of it is told with the group.

It is a search for where to look, not a proof of what caused what.

Source: Lopez-Paz and Oquab (2017), ICLR, classifier two-sample tests; Breiman (2001), Machine Learning 45:5,
permutation importance; Budhathoki et al. (2021), AISTATS, on attributing a change of a distribution by replacing its
parts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.levels import Both, Feature, both_of, by_chance, divergence, features_of, weights_of
from evaluation.engine.drift.records import Cause, StreamShift, StreamSpec
from evaluation.engine.drift.sample import DriftSample
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ALL
from evaluation.engine.statistics.seeds import generator

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FOLDS = 3
OF_LABELS = ("score", "label")
MOST_CAUSES = 10
EXEMPLARS = 12
TOGETHER = 0.8
"""A feature that explains so much of another's shift is one cause with it."""
TELLING = 0.25
"""A cause is called by a feature whose own shift is at least this share of the strongest one's."""
LEAST_WEIGHED = 50
"""Patients that a weighted reference is worth at least; below it explains nothing but the feature itself."""
LEAST = 100
"""Patients on either side; with fewer there is no search."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search found.

    Attributes:
        causes: The leading ones first.
        auroc: With which the classifier tells a patient of the window from one of the reference, held out; None where
            there was no search.
        exemplars: (study, probability of the window) of the studies of the window that are least like the reference;
            patient-level.
        notes: What limits it.
    """

    causes: tuple[Cause, ...]
    auroc: float | None
    exemplars: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()


def find_causes(
    protocol: Protocol,
    reference: DriftSample,
    window: DriftSample,
    shifts: Sequence[StreamShift],
    *,
    specs: Iterable[StreamSpec] = (),
    alarming: Collection[str] = (),
) -> Search:
    """The features that explain most of the difference between two samples.

    Args:
        shifts: Of the window, for the effect sizes and the groups.
        specs: Of the streams, for titles.
        alarming: Streams of the alarm: what tells of them leads.
    """
    if min(len(reference), len(window)) < LEAST:
        return Search(causes=(), auroc=None, notes=(f"Fewer than {LEAST} patients on one side: no search for causes.",))
    both = both_of(reference, window)
    features = [item for item in features_of(both) if item.excess > 0]
    if not features:
        return Search(causes=(), auroc=None, notes=("No feature differs by more than chance in the sample.",))
    explained = _explained(features, both.window)
    told = _classified(both, features, seed=protocol.seed)
    titles = {item.name: item for item in specs}
    whole = explained @ np.array([item.excess for item in features]) / sum(item.excess for item in features)
    causes = [
        _cause(
            features[place],
            [features[item] for item in beside],
            _Weight(share=float(whole[[place, *beside]].max()), importance=told.importance.get(features[place].name)),
            _Shown(shifts=shifts, titles=titles, window=both.window, minimum_cell=protocol.minimum_cell),
        )
        for place, beside in _ranked(features, explained, _tiers(features, shifts, alarming))[:MOST_CAUSES]
    ]
    rows = np.flatnonzero(both.window)
    most = rows[np.argsort(-told.probability[rows], kind="stable")][:EXEMPLARS]
    first = len(reference)
    return Search(
        causes=(*causes, *_in_groups(shifts, titles)),
        auroc=told.auroc,
        exemplars=tuple((str(window.study_ids[row - first]), float(told.probability[row])) for row in most),
        notes=("Shares overlap: features that go together explain the same shifts.",),
    )


def _explained(features: Sequence[Feature], window: npt.NDArray[np.bool_]) -> Floats:
    """Share of each feature's excess that goes when the reference is weighted to the window by another: [by, of]."""
    found = np.zeros((len(features), len(features)))
    for row, item in enumerate(features):
        weights = weights_of(item, window)
        if weights.sum() ** 2 < LEAST_WEIGHED * max(1e-12, float((weights**2).sum())):
            found[row, row] = 1.0
            continue
        for column, other in enumerate(features):
            size = len(other.names)
            left = divergence(other.codes, size, window, weights) - by_chance(other.codes, size, window)
            found[row, column] = 1 - min(1.0, max(0.0, left / other.excess))
    return found


def _ranked(features: Sequence[Feature], explained: Floats, tiers: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
    """Causes, the leading one first, each with the features that go together with it.

    What one feature explains of another belongs to it: they are one cause, called by the one with the fewest levels,
    such as the maker of the scanner and not the height of its pictures. Causes with a feature that is in the alarm come
    first, then those with one whose own shift is over its margin, and are called by such a feature.
    """
    excess = np.array([item.excess for item in features])
    whole = explained @ excess / excess.sum()
    left, found = sorted(range(len(features)), key=lambda item: (tiers[item], -whole[item], item)), []
    while left:
        head = left[0]
        together = [item for item in left if max(explained[head, item], explained[item, head]) >= TOGETHER]
        together = together if head in together else [head, *together]
        telling = [item for item in together if excess[item] >= TELLING * excess[head] and tiers[item] == tiers[head]]
        name = min(telling, key=lambda item: (len(features[item].names), -whole[item]))
        found.append((name, tuple(item for item in together if item != name)))
        left = [item for item in left if item not in together]
    return found


def _tiers(features: Sequence[Feature], shifts: Sequence[StreamShift], alarming: Collection[str]) -> list[int]:
    """0 for a feature whose own stream is in the alarm, 1 where it has moved over its margin, 2 for the rest."""
    over = {item.stream for item in shifts if item.value is not None and abs(item.value) >= item.margin}
    return [0 if own & set(alarming) else 1 if own & over else 2 for own in map(_streams_of, features)]


def _streams_of(item: Feature) -> set[str]:
    """The streams that tell of a feature. What is said of a label's performance is told by its scores and truth."""
    stream = item.name.partition("[")[0]
    head, _, label = stream.partition(".")
    derived = {f"{name}.{label}" for name in ("estimated", "performance", "concept")} if head in OF_LABELS else set()
    return {stream, f"missing.{stream}", *derived}


@dataclass(frozen=True, kw_only=True)
class _Told:
    """Held-out probability of the window for each row, AUROC, and each feature's importance."""

    probability: Floats
    auroc: float
    importance: dict[str, float]


def _classified(both: Both, features: Sequence[Feature], *, seed: int) -> _Told:
    """A classifier on all features; every patient is told by one that was fitted on others."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    shown = features[:255]
    matrix = np.column_stack(
        [item.codes.astype(np.float64) if item.numbers is None else item.numbers for item in shown]
    )
    kinds = [item.numbers is None for item in shown]
    truth, fold = both.window.astype(np.int64), (both.keys % np.uint64(FOLDS)).astype(np.int64)
    probability = np.full(len(truth), 0.5)
    drops: dict[str, list[float]] = {item.name: [] for item in shown}
    scores = []
    for part in range(FOLDS):
        held, fitted = fold == part, fold != part
        if min(len(np.unique(truth[held])), len(np.unique(truth[fitted]))) < 2:
            continue
        model = HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, categorical_features=kinds, random_state=0, early_stopping=False
        ).fit(matrix[fitted], truth[fitted])
        probability[held] = model.predict_proba(matrix[held])[:, 1]
        whole = float(roc_auc_score(truth[held], probability[held]))
        scores.append((whole, int(held.sum())))
        for place, item in enumerate(shown):
            shuffled = matrix[held].copy()
            shuffled[:, place] = generator(seed, "causes", item.name, str(part)).permutation(shuffled[:, place])
            drops[item.name].append(whole - float(roc_auc_score(truth[held], model.predict_proba(shuffled)[:, 1])))
    weight = sum(n for _, n in scores)
    return _Told(
        probability=probability,
        auroc=sum(score * n for score, n in scores) / weight if weight else 0.5,
        importance={name: float(np.mean(values)) for name, values in drops.items() if values},
    )


@dataclass(frozen=True, kw_only=True)
class _Weight:
    share: float
    importance: float | None


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """What a cause is put in words with."""

    shifts: Sequence[StreamShift]
    titles: Mapping[str, StreamSpec]
    window: npt.NDArray[np.bool_]
    minimum_cell: int

    def title(self, name: str) -> str:
        stream = name.partition("[")[0]
        return self.titles[stream].title if stream in self.titles else name


def _cause(item: Feature, beside: Sequence[Feature], weight: _Weight, shown: _Shown) -> Cause:
    stream = item.name.partition("[")[0]
    own = next((shift for shift in shown.shifts if shift.stream == stream and shift.group in ("", ALL)), None)
    distance = float(np.sqrt(divergence(item.codes, len(item.names), shown.window, None)))
    title = shown.title(item.name)
    together = list(dict.fromkeys(shown.title(other.name) for other in beside))
    told = f" Together with it: {', '.join(together)}." if together else ""
    return Cause(
        feature=item.name,
        title=title,
        modality=shown.titles[stream].modality if stream in shown.titles else item.name,
        attribute="",
        group="",
        share=round(max(0.0, weight.share), 4),
        effect=own.effect if own else "js_distance",
        value=own.value if own else round(distance, 4),
        method="share of all shifts that are expected when this feature alone changes",
        sentence=f"{title}: {_before_and_now(item, shown.window, shown.minimum_cell)}.{told}",
        importance=None if weight.importance is None else round(weight.importance, 4),
    )


def _before_and_now(item: Feature, window: npt.NDArray[np.bool_], minimum_cell: int) -> str:
    """The medians of a number, or the level of a category whose share changed most; no small cell is told."""
    if item.numbers is not None:
        values = [item.numbers[side & ~np.isnan(item.numbers)] for side in (~window, window)]
        if min(len(part) for part in values) >= minimum_cell:
            medians = [float(np.median(part)) for part in values]
            # Most scores lie close to 0, and a truth is 0 or 1: their median says little.
            if not item.name.startswith(("score.", "label.")):
                return f"median {medians[0]:.4g} before, {medians[1]:.4g} now"
            means = [float(np.mean(part)) for part in values]
            return f"mean {means[0]:.3g} before, {means[1]:.3g} now"
        level = len(item.names) - 1
    else:
        counted = [np.bincount(item.codes[side], minlength=len(item.names)) for side in (~window, window)]
        shares = [part / max(1, part.sum()) for part in counted]
        moved = np.round(shares[1] - shares[0], 9)
        # Of two levels that moved as far, the one that became more frequent.
        level = int(np.lexsort((moved, np.abs(moved)))[-1])
    told = [_share(item.codes[side] == level, minimum_cell) for side in (~window, window)]
    return f"{item.names[level]} {told[0]} before, {told[1]} now"


def _share(flags: npt.NDArray[np.bool_], minimum_cell: int) -> str:
    count = int(flags.sum())
    if 0 < count < minimum_cell:
        return f"fewer than {minimum_cell} patients"
    return f"{100 * count / max(1, len(flags)):.0f} %"


def _in_groups(shifts: Sequence[StreamShift], titles: Mapping[str, StreamSpec]) -> list[Cause]:
    """Shifts over their margin in one group alone, where the stream as a whole and all other groups lie within it."""
    found = []
    for shift in shifts:
        if shift.group in ("", ALL) or shift.low is None or shift.low < shift.margin:
            continue
        rest = [item for item in shifts if item.stream == shift.stream and item is not shift]
        beside = [item for item in rest if item.attribute == shift.attribute or item.group in ("", ALL)]
        if not beside or any(item.value is not None and item.value >= item.margin for item in beside):
            continue
        spec = titles.get(shift.stream)
        title = spec.title if spec else shift.stream
        found.append(
            Cause(
                feature=f"{shift.attribute}={shift.group}",
                title=f"{title}, in {shift.attribute} {shift.group} alone",
                modality=spec.modality if spec else shift.stream,
                attribute=shift.attribute,
                group=shift.group,
                share=1.0,
                effect=shift.effect,
                value=shift.value,
                method="over its margin in this group, within it in the others",
                sentence=f"{title} has moved in {shift.attribute} {shift.group} ({shift.effect} {shift.value:.2g}) and "
                "not in the other groups.",
            )
        )
    return found
