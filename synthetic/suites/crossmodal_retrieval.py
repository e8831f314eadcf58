"""Whether an image finds its own report among many, and whether findings move the series as in real patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.plans import PARTS, UNTOLD, Plans
from synthetic.generators.studies import LinkedStudies
from synthetic.suites.crossmodal_agreement import MOST_RATIO, LookedSets
from synthetic.suites.crossmodal_reading import Looked
from synthetic.suites.figures import AuditSets, Figure, not_computed
from synthetic.suites.likeness_estimates import Estimate, per_patient
from synthetic.suites.likeness_gathering import figure, patient_codes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
AMONG = 500
LEAST_AMONG = 100
MOST_BLOCKS = 6
PLACES = (1, 10)
FLOOR = 1e-3
"""No probability that the reader gives is taken to be below this: it is never so sure."""
SURE, LEAST = 4.0, 30
STRONG = 25.0
"""Standard errors in the readers from which a gap is judged on its own: then the margin can be told from chance."""


def retrieval(sets: LookedSets, seed: int) -> Iterator[Figure]:
    """R@1 and R@10 of reports by images, synthetic over real, and with reports permuted over chance."""
    rows = {name: _one_each(getattr(sets, name), seed) for name in ("synthetic", "learnt", "held_out")}
    among = min(AMONG, len(rows["synthetic"]), len(rows["held_out"]))
    if among < LEAST_AMONG:
        reason = f"fewer than {LEAST_AMONG} patients have an image and a report"
        yield not_computed("retrieval", reason)
        yield not_computed("retrieval_permuted", reason)
        return
    for k in PLACES:
        made, held = (_recalled(getattr(sets, name), rows[name], among, k) for name in ("synthetic", "held_out"))
        if held.value - 2 * held.error <= k / among:
            yield not_computed("retrieval", "real images find their reports no better than chance", of=f"R@{k}")
            continue
        null = None
        if len(rows["learnt"]) >= among:
            null = _recalled(sets.learnt, rows["learnt"], among, k).over(held)
        yield figure("retrieval", made.over(held), of=f"R@{k}", null=null, counted="pairs", most=MOST_RATIO,
                     method="mean over patients", among=among, synthetic=made.value, real=held.value)  # fmt: skip
    chance = Estimate(value=max(PLACES) / among, parts=())
    mixed = _recalled(sets.synthetic, rows["synthetic"], among, max(PLACES), shift=1).over(chance)
    real = _recalled(sets.held_out, rows["held_out"], among, max(PLACES), shift=1).over(chance)
    yield figure("retrieval_permuted", mixed, of=f"R@{max(PLACES)}", null=real, counted="pairs", most=MOST_RATIO,
                 method="mean over patients", among=among)  # fmt: skip


def _one_each(looked: Looked, seed: int) -> Ints:
    """Places among the images: one study with a report of each patient, in random order."""
    if looked.seen is None or looked.told is None:
        return np.zeros(0, dtype=np.int64)
    places = np.flatnonzero(looked.reported[looked.images])
    places = places[generator(seed, "retrieval").permutation(len(places))]
    _, first = np.unique(looked.codes[looked.images[places]], return_index=True)
    return places[np.sort(first)]


def _recalled(looked: Looked, places: Ints, among: int, k: int, shift: int = 0) -> Estimate:
    """Mean chance that an image's own report is among the best k; equal reports share their places.

    Args:
        shift: Each image gets the report of the one so many places further on.
    """
    hits = []
    for block in range(min(MOST_BLOCKS, len(places) // among)):
        here = places[block * among : (block + 1) * among]
        scores = _fits(looked, here, np.roll(here, -shift))
        own = np.diag(scores)[:, None]
        better, equal = (scores > own + 1e-9).sum(axis=1), (np.abs(scores - own) <= 1e-9).sum(axis=1)
        hits.append(np.clip((k - better) / equal, 0, 1))
    values = np.concatenate(hits)
    value = float(values.mean())
    return Estimate(value=value, parts=((values - value) / len(values),), n=len(values))


def _fits(looked: Looked, images: Ints, reports: Ints) -> Floats:
    """Log-probability that the reader gives to each report's plan in each image: [images, reports]."""
    assert looked.seen is not None and looked.told is not None
    there = np.clip(looked.seen.present[images].astype(np.float64), FLOOR, 1 - FLOOR)
    logs = [np.log(there), np.log(1 - there)]
    told = looked.told.rows(looked.images[reports])
    said = [told.present == 1, told.present != 1]
    for part, words in PARTS.items():
        known = np.maximum(looked.seen.parts[part][images].astype(np.float64), np.log(FLOOR))
        for place in range(len(words)):
            logs.append(known[:, :, place])
            said.append(_is(told, part, place))
    first = np.concatenate(logs, axis=1)
    second = np.concatenate(said, axis=1).astype(np.float64)
    fits: Floats = first @ second.T
    return np.round(fits, 9)


def _is(told: Plans, part: str, place: int) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (told.present == 1) & (told.part(part) == place)
    return found


def lab_gaps(sets: AuditSets) -> Iterator[Figure]:
    """Difference of a series' mean between studies with and without a finding, synthetic over real.

    Gaps that are significant in the readers are looked at. Together they are weighted by how surely the readers show
    them; the strong ones are judged on their own as well.
    """
    pairs: list[_Pair] = []
    for name in sets.readers.series:
        scale = _scale(sets.readers, name)
        for finding in sets.readers.plans.findings:
            known = _gap(sets.readers, name, finding, scale)
            if known is None or abs(known.value) < SURE * known.error:
                continue
            made, learnt, held = (
                _gap(one, name, finding, scale) for one in (sets.synthetic, sets.learnt, sets.held_out)
            )
            strength = abs(known.value) / known.error
            metric = "lab_gap" if strength >= STRONG else "lab_gap_weak"
            of = f"{name} and {finding}"
            if made is None or held is None:
                who = "real" if held is None else "synthetic"
                yield not_computed(metric, f"fewer than {LEAST} {who} studies with or without it", of=of)
                continue
            # In units of the readers' gap, gaps upwards and downwards count alike.
            gaps = [None if one is None else one.scaled(1 / known.value) for one in (made, held, learnt)]
            assert gaps[0] is not None and gaps[1] is not None
            pair = _Pair(made=gaps[0], held=gaps[1], learnt=gaps[2], weight=strength**2)
            pairs.append(pair)
            yield _gap_figure(metric, [pair], of)
    if pairs:
        yield _gap_figure("lab_gap", pairs, "")
    else:
        yield not_computed("lab_gap", "no finding moves a series in the readers")


@dataclass(frozen=True, kw_only=True)
class _Pair:
    made: Estimate
    held: Estimate
    learnt: Estimate | None
    weight: float


def _gap_figure(metric: str, pairs: Sequence[_Pair], of: str) -> Figure:
    """The ratio of the weighted gaps of some pairs."""
    weights = np.array([pair.weight for pair in pairs]) / sum(pair.weight for pair in pairs)
    made, held = (_weighted([getattr(pair, name) for pair in pairs], weights) for name in ("made", "held"))
    if held.value < 2 * held.error:
        return not_computed(metric, "the held-out patients do not show it clearly", of=of)
    learnt = [pair.learnt for pair in pairs if pair.learnt is not None]
    null = _weighted(learnt, weights).over(held) if len(learnt) == len(pairs) else None
    return figure(metric, made.over(held), of=of, null=null, counted="studies", least=-MOST_RATIO, most=MOST_RATIO,
                  pairs=len(pairs))  # fmt: skip


def _weighted(items: Sequence[Estimate], weights: Floats) -> Estimate:
    """A weighted mean of gaps of the same set of patients."""
    value = float(sum(weight * item.value for weight, item in zip(weights, items, strict=True)))
    part = np.sum([weight * item.parts[0] for weight, item in zip(weights, items, strict=True)], axis=0)
    return Estimate(value=value, parts=(part,), n=items[0].n)


def _scale(studies: LinkedStudies, name: str) -> bool:
    """Whether a series is looked at by its logarithm: all values above 0, and the mean far above the median."""
    told = [item[:, 1] for item in studies.series[name] if item is not None and len(item)]
    values = np.concatenate(told) if told else np.zeros(0)
    return bool(len(values) and values.min() > 0 and values.mean() > 1.25 * np.median(values))


def _gap(studies: LinkedStudies, name: str, finding: str, logarithmic: bool) -> Estimate | None:
    """Mean of study means with the finding less that without; None where there are too few of either."""
    if name not in studies.series or finding not in studies.plans.findings:
        return None
    codes, patients = patient_codes(studies)
    present = studies.plans.present[:, studies.plans.findings.index(finding)]
    means = np.array([np.nan if item is None or not len(item) else _mean(item[:, 1], logarithmic)
                      for item in studies.series[name]])  # fmt: skip
    here = np.isfinite(means) & (present != UNTOLD)
    values, truth, whose = means[here], present[here] == 1, codes[here]
    if min(truth.sum(), (~truth).sum()) < LEAST:
        return None
    gap = float(values[truth].mean() - values[~truth].mean())
    weights = np.where(
        truth, (values - values[truth].mean()) / truth.sum(), -(values - values[~truth].mean()) / (~truth).sum()
    )
    return Estimate(value=gap, parts=(per_patient(weights, whose, patients),), n=len(values))


def _mean(values: Floats, logarithmic: bool) -> float:
    return float(np.log(np.maximum(values, 1e-9)).mean() if logarithmic else values.mean())
