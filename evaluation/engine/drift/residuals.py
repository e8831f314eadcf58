"""From sketches to what the lifetime test keeps: how unusual a window is among all that came before it.

A window is compared with its baseline: the reference merged with the earlier windows of the cycle. Their patients are
one pool (see ``exchangeable``), so a reference of 200 patients cannot raise an alarm by its own chance. Comparisons are
made within the groups of the case mix and added up: a change in how many patients of each group come moves the stream
``case_mix`` and no other. Each group that is watched is treated in the same way, with those of its patients.

| Stream | Scores | Given |
|---|---|---|
| numbers | common value; location, scale, asymmetry of ranks | |
| categories, mask, ``missing.C``, case mix | each category among those more common, exact | |
| vectors | means of the leading coordinates; location, scale of the radius | |
| ``score.L`` | as numbers, of the score | |
| ``label.L`` | share of positives, exact | that the truth is known |
| ``performance.L`` | discrimination, level: placements of positives less, plus, those of negatives | the truth |
| ``concept.L`` | level, slope: share of positives | the score |
| ``estimated.L`` | errors ``p (1 - p)``, p the share of positives at a score; sensitivity, freed of them | |

A stream of which the window has a notice of a changed unit says nothing in that window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.exchangeable import (
    Draw,
    Numbers,
    category_scores,
    count_score,
    linear_score,
    number_scores,
    stratified_slope,
)
from evaluation.engine.drift.exchangeable_vectors import Vectors, vector_scores
from evaluation.engine.drift.records import RADIUS, Family, Notice, NoticeKind, Residual, Shape, StreamSpec
from evaluation.engine.drift.sketch import CellSketch, DriftSketch, merged
from evaluation.engine.protocol import Protocol
from evaluation.engine.protocol_drift import Drift
from evaluation.engine.records import ALL
from evaluation.engine.sketches.quantiles import QuantileSketch

if TYPE_CHECKING:
    from evaluation.engine.drift.vectors import VectorSketch

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Pair = tuple[CellSketch, CellSketch]
Scores = tuple[dict[str, float], int, int]
"""Scores by component, and patients of the window and of the baseline that have the stream."""
CASE_MIX = "case_mix"
MISSING = "missing."
FEWEST_OF_A_CLASS = 5
LARGE_POOL = 50
"""Radii are scored where the pool has this many times the root of the window's studies. Coordinates were standardised
on the reference, whose own radii are too small by a share of 1 / pool; there, that moves a score by less than .3."""
MANY_STRATA = " / "


def few(protocol: Protocol, window: DriftSketch, reference: DriftSketch) -> Notice | None:
    """Why a window is not judged: it, or the reference, has fewer patients than the protocol asks for; else None."""
    drift = protocol.drift or Drift()
    for name, found, least in (
        ("window", window.n, drift.minimum_window),
        ("reference", reference.n, drift.minimum_reference),
    ):
        if found < least:
            return Notice(
                kind=NoticeKind.FEW,
                stream="",
                message=f"The {name} has too few patients to be judged: fewer than {least:,}.",
                detail={"of": name, "least": least},
            )
    return None


def residuals_of(
    protocol: Protocol, window: DriftSketch, baseline: DriftSketch, *, notices: Sequence[Notice] = ()
) -> tuple[Residual, ...]:
    """Scores of every stream of a window, over all patients and in each group that is watched.

    Args:
        baseline: The reference merged with every earlier window of the cycle.
        notices: Those of the window; a stream whose unit changed has no scores.

    Returns:
        One residual for each stream and group of the baseline, sorted; ``z`` is empty where nothing can be said. Empty
        where the window or the baseline has too few patients.

    Raises:
        AuscultError: the two were read through different frames.
    """
    window.check_like(baseline)
    if few(protocol, window, baseline) is not None:
        return ()
    drift = protocol.drift or Drift()
    silent = {item.stream for item in notices if item.kind is NoticeKind.UNIT}
    found: list[Residual] = []
    for attribute, group in _groups(drift, baseline):
        pairs = _pairs(drift, window, baseline, attribute, group)
        for stream, family, score in _streams(drift, baseline.specs):
            z, n, pool = ({}, 0, 0) if stream in silent else score(pairs)
            found.append(_residual(stream, family, attribute, group, z, n, pool))
    if drift.case_mix and drift.watches(CASE_MIX):
        found.append(_case_mix(drift, window, baseline))
    return tuple(sorted(found, key=lambda item: (item.attribute, item.group, item.stream)))


def _residual(
    stream: str, family: Family, attribute: str, group: str, z: Mapping[str, float], n: int, pool: int
) -> Residual:
    sound = bool(z) and n > 0 and pool > 0
    return Residual(
        stream=stream,
        family=family,
        attribute=attribute,
        group=group,
        z=tuple(z.values()) if sound else (),
        components=tuple(z) if sound else (),
        n=float(n),
        baseline=float(pool),
    )


def _groups(drift: Drift, baseline: DriftSketch) -> list[tuple[str, str]]:
    """All patients, then each group that the baseline knows."""
    watched = [name for name in baseline.attributes if not drift.groups or name in drift.groups]
    return [("", ALL), *((name, group) for name in watched for group in baseline.groups(name))]


def _pairs(drift: Drift, window: DriftSketch, baseline: DriftSketch, attribute: str, group: str) -> list[Pair]:
    """Window and baseline of each group of the case mix, among the patients of one group; of those that both have."""
    sides = [_strata(part, drift.case_mix, attribute, group) for part in (window, baseline)]
    return [(sides[0][key], sides[1][key]) for key in sorted(sides[0].keys() & sides[1].keys())]


def _strata(
    sketch: DriftSketch, case_mix: Sequence[str], attribute: str, group: str
) -> dict[tuple[str, ...], CellSketch]:
    places = [sketch.attributes.index(name) for name in case_mix]
    mine = sketch.attributes.index(attribute) if attribute else None
    parts: dict[tuple[str, ...], list[CellSketch]] = {}
    for key, cell in sketch.cells.items():
        if mine is None or key[mine] == group:
            parts.setdefault(tuple(key[place] for place in places), []).append(cell)
    return {key: merged(cells) for key, cells in parts.items()}


def _streams(
    drift: Drift, specs: Iterable[StreamSpec]
) -> Iterator[tuple[str, Family, Callable[[Sequence[Pair]], Scores]]]:
    """Every stream with its family and what scores it. Streams of scores are one for each question to them."""
    for spec in specs:
        family = spec.family
        if spec.shape is Shape.SCORED and family in SCORED and drift.watches(family.value):
            yield spec.name, family, _of_label(SCORED[family], spec.name.partition(".")[2])
        elif spec.shape is not Shape.SCORED and drift.watches(family.value):
            yield spec.name, family, _reader(SHAPED[spec.shape], spec.name)
        if family is Family.NUMERIC and drift.watches(Family.MASK.value):
            # That a modality is missing is told by the mask; that a column is, by a stream of its own.
            yield f"{MISSING}{spec.name}", Family.MASK, _reader(_missing, spec.name)


def _reader(score: Callable[[Sequence[Pair], str], Scores], stream: str) -> Callable[[Sequence[Pair]], Scores]:
    return lambda pairs: score(pairs, stream)


def _number(pairs: Sequence[Pair], stream: str) -> Scores:
    strata = _of_stream(pairs, stream)
    sizes = [sum(int(part.counts.sum()) for part in side) for side in zip(*strata, strict=True)]
    return (number_scores(strata), sizes[0], sizes[1]) if strata else ({}, 0, 0)


def _missing(pairs: Sequence[Pair], stream: str) -> Scores:
    strata = _of_stream(pairs, stream)
    sides = [[{"there": int(p.counts.sum()), "missing": p.missing} for p in side] for side in zip(*strata, strict=True)]
    return _categories(sides[0], sides[1]) if strata else ({}, 0, 0)


def _of_stream(pairs: Sequence[Pair], stream: str) -> list[tuple[Numbers, Numbers]]:
    return [
        (_numbers(window.numbers[stream]), _numbers(pool.numbers[stream]))
        for window, pool in pairs
        if stream in window.numbers and stream in pool.numbers
    ]


def _numbers(sketch: QuantileSketch) -> Numbers:
    """A sketch of quantiles by its bins. An infinite value is told with the missing ones."""
    return Numbers(sketch.keys, sketch.counts, sketch.missing + sketch.infinite)


def _category(pairs: Sequence[Pair], stream: str) -> Scores:
    sides = [[part.categories.get(stream, {}) for part in side] for side in zip(*pairs, strict=True)]
    return _categories(sides[0], sides[1]) if sides else ({}, 0, 0)


def _categories(window: Sequence[Mapping[str, int]], pool: Sequence[Mapping[str, int]]) -> Scores:
    names = sorted({name for side in (window, pool) for counts in side for name in counts})
    if not names:
        return {}, 0, 0
    tables = [
        np.array([[counts.get(name, 0) for name in names] for counts in side], dtype=np.int64)
        for side in (window, pool)
    ]
    scores = category_scores(tables[0], tables[1], [name or "missing" for name in names])
    return scores, int(tables[0].sum()), int(tables[1].sum())


def _case_mix(drift: Drift, window: DriftSketch, baseline: DriftSketch) -> Residual:
    """Patients by joint group of the case mix: the one stream that is not compared within it."""
    sides = []
    for part in (window, baseline):
        found = _strata(part, drift.case_mix, "", ALL)
        sides.append({MANY_STRATA.join(key): cell.n for key, cell in found.items()})
    scores, n, pool = _categories([sides[0]], [sides[1]])
    return _residual(CASE_MIX, Family.CASE_MIX, "", ALL, scores, n, pool)


def _vector(pairs: Sequence[Pair], stream: str) -> Scores:
    sketches = [
        (window.vectors[stream], pool.vectors[stream])
        for window, pool in pairs
        if stream in window.vectors and stream in pool.vectors
    ]
    if not sketches:
        return {}, 0, 0
    n, pooled = (sum(part.n for part in side) for side in zip(*sketches, strict=True))
    scores = vector_scores([(_vectors(window), _vectors(pool)) for window, pool in sketches])
    if pooled >= LARGE_POOL * math.sqrt(n):
        spread = number_scores([(_numbers(window.radii), _numbers(pool.radii)) for window, pool in sketches])
        scores |= {f"{RADIUS}{name}": spread[name] for name in ("location", "scale") if name in spread}
    return scores, n, pooled


def _vectors(sketch: VectorSketch) -> Vectors:
    mean, covariance = sketch.mean(), sketch.covariance()
    zero = np.zeros((sketch.k, sketch.k))
    return Vectors(sketch.n, zero[0] if mean is None else mean, zero if covariance is None else covariance)


Counts = Sequence[tuple[Ints, Ints]]
"""Of each stratum, counts of the window and of the pool by score bin (missing last) and truth (yes, no, unknown)."""
Question = Callable[[Counts, int | None], Scores]
"""From counts, and the first bin from which the finding counts as found, to scores."""


def _of_label(score: Question, label: str) -> Callable[[Sequence[Pair]], Scores]:
    def scored(pairs: Sequence[Pair]) -> Scores:
        strata = [
            (np.asarray(window.scored[label].counts), np.asarray(pool.scored[label].counts))
            for window, pool in pairs
            if label in window.scored and label in pool.scored
        ]
        first = next((pool.scored[label].from_bin for _, pool in pairs if label in pool.scored), None)
        return score(strata, first) if strata else ({}, 0, 0)

    return scored


def _prediction(strata: Counts, first: int | None) -> Scores:
    places = np.arange(len(strata[0][0]) - 1)
    made = []
    for pair in strata:
        counts = [part[:-1].sum(axis=1) for part in pair]
        window, pool = (Numbers(places[found > 0], found[found > 0]) for found in counts)
        made.append((window, pool))
    return number_scores(made), *_sizes(strata, lambda part: part[:-1])


def _label(strata: Counts, first: int | None) -> Scores:
    known = [(window.sum(axis=0)[:2], pool.sum(axis=0)[:2]) for window, pool in strata]
    draws = [Draw(int(w.sum()), int(w[0] + p[0]), int(w.sum() + p.sum())) for w, p in known]
    score = count_score(sum(int(window[0]) for window, _ in known), draws)
    return {} if score is None else {"positive": score}, *_sizes(known, lambda part: part)


def _performance(strata: Counts, first: int | None) -> Scores:
    """Each positive counts by its place among the negatives, and the other way round: the parts of AUROC (DeLong).

    Positives and negatives are drawn apart, so half the difference and half the sum of their scores are independent.
    """
    scores = []
    both = np.add.reduce([(window + pool)[:-1, :2] for window, pool in strata])
    for truth in (0, 1):
        other = both[:, 1 - truth]
        places = (np.cumsum(other) - other / 2) / max(int(other.sum()), 1)
        cells = [(places, window[:-1, truth], (window + pool)[:-1, truth]) for window, pool in strata]
        scores.append(linear_score(cells, fewest=FEWEST_OF_A_CLASS))
    positives, negatives = scores
    sizes = _sizes(strata, lambda part: part[:-1, :2])
    if positives is None or negatives is None:
        return {}, *sizes
    root = math.sqrt(2)
    return {"discrimination": (positives - negatives) / root, "level": (positives + negatives) / root}, *sizes


def _concept(strata: Counts, first: int | None) -> Scores:
    draws, marked, places = [], [], []
    for window, pool in strata:
        both = (window + pool)[:-1, :2]
        drawn = window[:-1, :2].sum(axis=1)
        for place in np.flatnonzero((drawn > 0) & (both[:, 0] > 0) & (both[:, 1] > 0)).tolist():
            draws.append(Draw(int(drawn[place]), int(both[place, 0]), int(both[place].sum())))
            marked.append(int(window[place, 0]))
            places.append(float(place))
    sizes = _sizes(strata, lambda part: part[:-1, :2])
    return (stratified_slope(draws, marked, places) if draws else {}), *sizes


def _estimated(strata: Counts, first: int | None) -> Scores:
    """What the model's scores lead one to expect, by how often a finding was there at each score."""
    known = np.add.reduce([(window + pool)[:-1, :2] for window, pool in strata])
    sizes = _sizes(strata, lambda part: part[:-1])
    total = known.sum(axis=0)
    if not total.all():
        return {}, *sizes
    # One study at the overall share is added to each bin, so that empty bins have a share as well.
    share = (known[:, 0] + total[0] / total.sum()) / (known.sum(axis=1) + 1)
    cells = [(window[:-1].sum(axis=1), (window + pool)[:-1].sum(axis=1)) for window, pool in strata]
    expected = {"errors": share * (1 - share)}
    if first is not None:
        all_scores = np.add.reduce([both for _, both in cells])
        found = np.arange(len(share)) >= first
        # What one more study at a score moves the expected sensitivity by, up to a factor.
        moved = share * (found - float((all_scores * share)[found].sum() / (all_scores @ share)))
        expected["sensitivity"] = _freed(moved, expected["errors"], cells)
    made = {name: linear_score([(values, *pair) for pair in cells]) for name, values in expected.items()}
    return {name: value for name, value in made.items() if value is not None}, *sizes


def _freed(values: Floats, of: Floats, cells: Sequence[tuple[Ints, Ints]]) -> Floats:
    """Values less what goes along with others: their sums over a window are then uncorrelated.

    Bets on all components at once multiply, which is fair of scores that do not go together alone.
    """
    shared = spread = 0.0
    for window, both in cells:
        n, total = int(window.sum()), int(both.sum())
        if 0 < n < total:
            weights = both / total
            apart = of - float(weights @ of)
            factor = n * (total - n) / (total - 1)
            shared += factor * float(weights @ (apart * values))
            spread += factor * float(weights @ (apart * apart))
    made: Floats = values - shared / spread * of if spread > 0 else values
    return made


def _sizes(strata: Counts, part: Callable[[Ints], Ints]) -> tuple[int, int]:
    window, pool = (sum(int(part(pair[side]).sum()) for pair in strata) for side in (0, 1))
    return window, pool


SHAPED: Mapping[Shape, Callable[[Sequence[Pair], str], Scores]] = {
    Shape.NUMBER: _number,
    Shape.CATEGORY: _category,
    Shape.VECTOR: _vector,
}
SCORED: Mapping[Family, Question] = {
    Family.PREDICTION: _prediction,
    Family.LABEL: _label,
    Family.ESTIMATED: _estimated,
    Family.PERFORMANCE: _performance,
    Family.CONCEPT: _concept,
}
