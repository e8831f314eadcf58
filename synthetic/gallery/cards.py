"""Which synthetic patients are shown, and who among those learnt from is most like each of them.

Half of the patients are those nearest to a real one, by rows or by image: whoever looks for a copy looks at them first.
The others are drawn by lot, so that what is usual is seen too. How near is near is told by patients who were never
learnt from: the share of them who have a learnt patient at least as near. The nearest of many synthetic patients are
near by chance alone, so this share is no alarm: equality that is not chance is, and so is a distance far below theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.seeds import generator
from synthetic.gallery.spans import Span, plan_spans
from synthetic.generators.studies import LinkedStudies

SHOWN = 48
REPORT = "reference"
EDGE = 16
"""Places of an edge on which two images are compared: shape and shade, not grain."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """The learnt patient who is most like a synthetic one.

    Attributes:
        study, patient, shard: Of the study that is shown.
        distance: Of rows after Gower, from 0 (all equal) to 1; of images 1 less their correlation, from 0 to 2.
        others: How many patients who were never learnt from have such a distance too.
        commoner: Share of them who have a learnt patient at least as near; None without any.
        typical, rare: Median of their distances, and the distance that one in a hundred of them is below; None without
            any.
    """

    study: str
    patient: str
    shard: int
    distance: float
    others: int = 0
    commoner: float | None = None
    typical: float | None = None
    rare: float | None = None

    @property
    def equal(self) -> bool:
        """All that is compared is equal."""
        return self.distance <= EQUAL

    @property
    def copied(self) -> bool:
        """Equal, and people who were never learnt from are not: it is no chance."""
        return self.equal and (self.commoner is None or self.commoner < CHANCE)

    @property
    def too_near(self) -> bool:
        """Far nearer than all but a few who were never learnt from."""
        return not self.equal and self.rare is not None and self.distance < TOO_NEAR * self.rare


EQUAL = 1e-6
"""A distance below which two are told as equal: rounding."""
CHANCE = 0.01
"""Where so many who were never learnt from are equal to a learnt patient, that tells of few columns, not of a copy."""
TOO_NEAR = 0.5
"""Of the distance that one in a hundred is below. The nearest of k patients lies at about (100 / k) ** (1 / dimensions)
of it: with ten dimensions a perfect generator does not reach half among a hundred thousand."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One synthetic patient: the first study, what its plan says, where its report tells it, and two neighbours.

    Attributes:
        plan: Finding -> words such as ``left small``, ``present``, ``none``.
        by_rows, by_image: Neighbours; None where there is nothing to compare.
    """

    study: str
    patient: str
    shard: int
    plan: dict[str, str]
    spans: tuple[Span, ...]
    by_rows: Neighbour | None
    by_image: Neighbour | None

    @property
    def findings(self) -> list[str]:
        """What is the matter."""
        return [name for name, words in self.plan.items() if words not in ("none", "unknown")]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Card:
        near = {name: Neighbour(**body[name]) if body[name] else None for name in ("by_rows", "by_image")}
        return cls(**{**body, **near, "spans": tuple(Span(**item) for item in body["spans"])})


def choose_cards(
    made: LinkedStudies,
    learnt: LinkedStudies,
    held_out: LinkedStudies,
    *,
    shards: Sequence[Mapping[str, int]],
    seed: int,
) -> list[Card]:
    """Cards of at most :data:`SHOWN` patients, the nearest to a real one first.

    Args:
        shards: Study -> its share, of the synthetic cohort and of the real one.
    """
    firsts = [_first(item) for item in (made, learnt, held_out)]
    rows = _by_rows(made, learnt, held_out)
    images = _by_image(*firsts)
    count = len(firsts[0])
    chosen = _chosen([near.distance for near in (rows, images) if near is not None], count, seed)
    words = firsts[0].plans.words()
    texts = firsts[0].texts.get(REPORT, np.full(count, None, dtype=object))[chosen].tolist()
    plans = [{name: str(values[row]) for name, values in words.items()} for row in chosen]
    return [
        Card(
            study=str(firsts[0].study_ids[row]), patient=str(firsts[0].patient_ids[row]),
            shard=shards[0][str(firsts[0].study_ids[row])], plan=plan, spans=spans,
            by_rows=_neighbour(rows, row, firsts[1], shards[1]), by_image=_neighbour(images, row, firsts[1], shards[1]),
        )
        for row, plan, spans in zip(chosen, plans, plan_spans(texts, plans), strict=True)
    ]  # fmt: skip


def _chosen(distances: Sequence[Floats], count: int, seed: int) -> list[int]:
    """Places of the nearest by each distance in turn, then of a lot of the others."""
    nearest: list[int] = []
    for done, distance in enumerate(distances, start=1):
        order = [place for place in np.argsort(distance, kind="stable").tolist() if place not in nearest]
        known = [place for place in order if np.isfinite(distance[place])]
        nearest += known[: SHOWN * done // (2 * len(distances)) - len(nearest)]
    others = np.setdiff1d(np.arange(count), nearest)
    lot = generator(seed, "gallery").permutation(others)[: SHOWN - len(nearest)]
    return [*nearest, *sorted(lot.tolist())]


@dataclass(frozen=True, kw_only=True)
class _Near:
    """Nearest learnt patient of each synthetic one, and the distances of patients never learnt from."""

    distance: Floats
    place: npt.NDArray[np.int64]
    others: Floats


def _neighbour(near: _Near | None, row: int, learnt: LinkedStudies, shards: Mapping[str, int]) -> Neighbour | None:
    if near is None or not np.isfinite(near.distance[row]):
        return None
    place, distance = int(near.place[row]), float(near.distance[row])
    study = str(learnt.study_ids[place])
    told = near.others[np.isfinite(near.others)]
    found = Neighbour(
        study=study, patient=str(learnt.patient_ids[place]), shard=shards[study], distance=max(0.0, distance)
    )
    if not len(told):
        return found
    return replace(
        found, others=len(told), commoner=float((told <= distance).mean()), typical=float(np.median(told)),
        rare=max(0.0, float(np.quantile(told, CHANCE))),
    )  # fmt: skip


def _first(studies: LinkedStudies) -> LinkedStudies:
    """The first study of each patient."""
    return studies.rows(studies.visits() == 0)


def _by_rows(made: LinkedStudies, learnt: LinkedStudies, held_out: LinkedStudies) -> _Near | None:
    from synthetic.suites.nearest import nearest
    from synthetic.suites.rows import encode

    (one, two, three), _ = encode([made, learnt, held_out], real=[1, 2])
    if not one.names:
        return None
    distance, place = nearest(one, two)
    return _Near(distance=distance, place=place, others=nearest(three, two)[0])


def _by_image(made: LinkedStudies, learnt: LinkedStudies, held_out: LinkedStudies) -> _Near | None:
    if made.images is None or learnt.images is None or not learnt.has_image.any():
        return None
    one, two = _looks(made), _looks(learnt)
    here = np.flatnonzero(learnt.has_image)
    distance, place = _closest(one, two[here])
    others = np.zeros(0)
    if held_out.images is not None and held_out.has_image.any():
        others = _closest(_looks(held_out)[held_out.has_image], two[here])[0]
    return _Near(distance=np.where(made.has_image, distance, np.nan), place=here[place], others=others)


def _looks(studies: LinkedStudies) -> Floats:
    """Images averaged over squares, with mean 0 and length 1: float64 [n, EDGE * EDGE]."""
    assert studies.images is not None
    n, edge, _ = studies.images.shape
    side = edge // EDGE
    small = studies.images[:, : side * EDGE, : side * EDGE].reshape(n, EDGE, side, EDGE, side).mean(axis=(2, 4))
    flat = small.reshape(n, -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    found: Floats = np.divide(flat, length, out=np.zeros_like(flat), where=length > 0)
    return found


def _closest(one: Floats, two: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Least of one less the correlation, and its place."""
    near, place = np.empty(len(one)), np.empty(len(one), dtype=np.int64)
    for start in range(0, len(one), 1024):
        like = one[start : start + 1024] @ two.T
        place[start : start + 1024] = like.argmax(axis=1)
        near[start : start + 1024] = 1 - like.max(axis=1)
    return near, place
