"""Drawing patients from what was learnt, under demands: which value, between which numbers, with which findings.

Demands are met by drawing latents only where they fulfil them. Each patient then carries a weight, the probability of
what was demanded on the way (sequential importance sampling, as Geweke, Hajivassiliou and Keane draw truncated normal
vectors); patients are accepted in proportion to it. So those who are accepted are as patients are who happen to fulfil
the demands, however rare they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.tables_effects import Effects
from synthetic.generators.kinds.tables_model import FIRST, Model, within_of
from synthetic.generators.kinds.tables_reading import VISITS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Span = tuple[float, float]
Rng = np.random.Generator
FARTHEST = 9.0
SOLID = 1e-9


@dataclass(frozen=True, kw_only=True)
class Demands:
    """What is asked of each patient.

    Attributes:
        patient, study: Column -> place of the value, or span of scores of a number; of studies in every one.
        plans: For each finding the plans that will do, as column -> place, with the share of each.
    """

    patient: Mapping[str, int | Span] = field(default_factory=dict)
    study: Mapping[str, int | Span] = field(default_factory=dict)
    plans: Sequence[tuple[Sequence[Mapping[str, int]], Sequence[float]]] = ()

    @property
    def any(self) -> bool:
        return bool(self.patient or self.study or self.plans)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Patients with their studies, one after the other.

    Attributes:
        patient: Column -> [patients]; ``study``: column -> [studies]: place of the value or number; -1 and NaN where it
            is not told.
        visits: [patients] studies of each.
        weights: [patients].
        fulfilled: [studies] has a plan that will do for every finding.
    """

    patient: dict[str, Floats]
    study: dict[str, Floats]
    visits: Ints
    weights: Floats
    fulfilled: npt.NDArray[np.bool_]


def draw(model: Model, demands: Demands, count: int, rng: Rng) -> Drawn:
    """Draw patients; without demands each has a weight of one."""
    plans, chosen = _chosen_plans(demands, count, rng)
    patient, groups, weights = _patients(model, {**demands.patient, **plans}, count, rng)
    visits = patient.get(VISITS, np.full(count, float(model.layout["fixed"].get(VISITS, 1)))).astype(np.int64)
    latents, shares = _studies(model, demands, plans, groups, visits, rng)
    weights = weights * chosen * shares
    rows = np.repeat(np.arange(count), visits)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(visits) - visits, visits)
    known = {name: values[rows] for name, values in patient.items()}
    study = decoded(model, latents[rows, place], _with_first(model, groups[rows], place == 0), known)
    fulfilled = has_plans(demands, study, len(rows))
    if demands.plans:
        often = np.bincount(rows, weights=fulfilled, minlength=count)
        weights = np.where(often > 0, weights * visits / np.maximum(often, 1), 0.0)
    return Drawn(patient=patient, study=study, visits=visits, weights=weights, fulfilled=fulfilled)


def has_plans(demands: Demands, study: Mapping[str, Floats], count: int) -> npt.NDArray[np.bool_]:
    """Which studies have a plan that will do for every finding."""
    found = np.ones(count, dtype=np.bool_)
    for alternatives, _ in demands.plans:
        one = np.zeros(count, dtype=np.bool_)
        for parts in alternatives:
            one |= np.all([study[name] == code for name, code in parts.items()], axis=0) if parts else True
        found &= one
    return found


def _with_first(model: Model, groups: Ints, first: npt.NDArray[np.bool_]) -> Ints:
    assert model.groups.names[-1] == FIRST
    return np.concatenate([groups, (model.groups.starts[-2] + first.astype(np.int64))[:, None]], axis=1)


def _patients(
    model: Model, wanted: Mapping[str, int | Span | Ints], count: int, rng: Rng
) -> tuple[dict[str, Floats], Ints, Floats]:
    seen: dict[str, Floats] = {}
    sizes = model.sizes()
    groups, weights = np.empty((count, 0), dtype=np.int64), np.ones(count)
    for number, item in enumerate(model.patient):
        name = item.variable.name
        within = within_of(item.variable, seen, sizes)
        offsets = item.offsets(groups, np.maximum(within[0], 0) if within else None)
        low, high = bounds(item, offsets, wanted.get(name), count)
        latents, mass = truncated(rng.random(low.shape), low, high)
        weights = weights * mass.prod(axis=1)
        told = told_of(item, seen, count)
        seen[name] = _value(item, latents, offsets, told)
        if number < model.forming():
            groups = np.concatenate([groups, model.groups.place(number, seen[name])[:, None]], axis=1)
    return seen, groups, weights


def bounds(item: Effects, offsets: Floats, wanted: int | Span | Ints | None, count: int) -> tuple[Floats, Floats]:
    """Between which [n, latents] latents lie for a column to be as wanted; a place of -1 wants nothing."""
    low, high = np.full((count, item.variable.latents), -np.inf), np.full((count, item.variable.latents), np.inf)
    if wanted is None:
        return low, high
    if isinstance(wanted, tuple):
        low[:, 0], high[:, 0] = ((end - offsets[:, 0]) / item.scale for end in wanted)
        return low, high
    codes = np.broadcast_to(np.asarray(wanted, dtype=np.int64), (count,))
    for latent in range(item.variable.latents):
        low[:, latent] = np.where(codes > latent, offsets[:, latent], -np.inf)
        high[:, latent] = np.where(codes == latent, offsets[:, latent], np.inf)
    return low, high


def truncated(u: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Standard normal numbers within bounds from even ones, and the probability of the bounds."""
    from scipy.special import ndtr, ndtri

    over = low > 0
    first, last = ndtr(np.where(over, -high, low)), ndtr(np.where(over, -low, high))
    mass = np.maximum(last - first, 0.0)
    z = np.clip(ndtri(np.clip(first + np.where(over, 1 - u, u) * mass, 1e-300, 1.0)), -FARTHEST, FARTHEST)
    return np.where(over, -z, z), mass


def told_of(item: Effects, seen: Mapping[str, Floats], count: int) -> npt.NDArray[np.bool_]:
    """Where a column is told, by what is known of the one that it depends on."""
    if item.variable.given is None:
        return np.ones(count, dtype=np.bool_)
    name, code = item.variable.given
    if name not in seen:
        return np.ones(count, dtype=np.bool_)
    found: npt.NDArray[np.bool_] = seen[name] == code
    return found


def _value(item: Effects, latents: Floats, offsets: Floats, told: npt.NDArray[np.bool_]) -> Floats:
    """Place of the value or number that latents stand for."""
    if item.variable.numbers is not None:
        numbers = item.variable.numbers.at(offsets[:, 0] + item.scale * latents[:, 0])
        return np.where(told, numbers, np.nan)
    taken = latents < offsets
    place = np.where(taken.any(axis=1), taken.argmax(axis=1), item.variable.latents)
    return np.where(told, place, -1).astype(np.float64)


def decoded(model: Model, latents: Floats, groups: Ints, known: Mapping[str, Floats]) -> dict[str, Floats]:
    """Columns [n] of studies from their latents [n, d].

    Args:
        known: Columns of the patients of these studies. Those that are told only for some studies come back so.
    """
    seen = dict(known)
    places, sizes = model.places(), model.sizes()
    for item in model.study:
        within = within_of(item.variable, seen, sizes)
        told = told_of(item, seen, len(latents))
        offsets = item.offsets(groups, np.maximum(within[0], 0) if within else None)
        seen[item.variable.name] = _value(item, latents[:, places[item.variable.name]], offsets, told)
    for item in model.patient:
        untold = -1.0 if item.variable.numbers is None else np.nan
        seen[item.variable.name] = np.where(told_of(item, seen, len(latents)), seen[item.variable.name], untold)
    return seen


@dataclass(frozen=True, kw_only=True)
class _Step:
    """Drawing latents given those of a neighbouring study: mean = ``carry`` @ neighbour; forced ones come first."""

    carry: Floats
    forced: Ints
    order: Ints
    root: Floats

    @classmethod
    def of(cls, carry: Floats, covariance: Floats, forced: Ints) -> _Step:
        d = len(covariance)
        order = np.concatenate([forced, np.setdiff1d(np.arange(d), forced)]).astype(np.int64)
        root = np.asarray(np.linalg.cholesky(covariance[np.ix_(order, order)] + SOLID * np.eye(d)), dtype=np.float64)
        return cls(carry=carry, forced=forced, order=order, root=root)

    def draw(self, near: Floats, low: Floats, high: Floats, rng: Rng) -> tuple[Floats, Floats]:
        """Latents [n, d] and the probability of their bounds [n]."""
        mean = (near @ self.carry.T)[:, self.order]
        shocks, weights = rng.standard_normal(mean.shape), np.ones(len(mean))
        for number, latent in enumerate(self.forced.tolist()):
            middle = mean[:, number] + shocks[:, :number] @ self.root[number, :number]
            spread = self.root[number, number]
            one, mass = truncated(
                rng.random(len(mean)), (low[:, latent] - middle) / spread, (high[:, latent] - middle) / spread
            )  # fmt: skip
            shocks[:, number] = one
            weights = weights * mass
        found = np.empty_like(mean)
        found[:, self.order] = mean + shocks @ self.root.T
        return found, weights


def _studies(
    model: Model, demands: Demands, plans: Mapping[str, Ints], groups: Ints, visits: Ints, rng: Rng
) -> tuple[Floats, Floats]:
    """Latents [patients, studies, d], and the weight of each patient.

    One study, drawn evenly where plans are demanded and else the first, is drawn by itself; the others follow from it,
    forwards and backwards in time.
    """
    count, d, most = len(visits), len(model.latents.within), int(visits.max(initial=1))
    latents = np.zeros((count, most, d))
    if d == 0:
        return latents, np.ones(count)
    within, step = model.latents.within, model.latents.step
    forth = np.asarray(np.linalg.solve(within, step.T).T, dtype=np.float64)
    back = np.asarray(np.linalg.solve(within, step).T, dtype=np.float64)
    places = model.places()
    always = _columns(places, demands.study)
    chosen = np.floor(rng.random(count) * visits).astype(np.int64) if demands.plans else np.zeros(count, dtype=np.int64)
    in_all = [
        _forced(model, _with_first(model, groups, np.full(count, first)), demands.study) for first in (False, True)
    ]
    wanted = {**demands.study, **plans}
    low, high = _forced(model, _with_first(model, groups, chosen == 0), wanted)
    begin = _Step.of(np.zeros((d, d)), within, _columns(places, wanted))
    rows = np.arange(count)
    latents[rows, chosen], mass = begin.draw(np.zeros((count, d)), low, high, rng)
    weights = mass
    for sign, carry, covariance in ((1, forth, within - forth @ step.T), (-1, back, within - back @ step)):
        moving = _Step.of(carry, (covariance + covariance.T) / 2, always)
        for distance in range(1, most):
            at = chosen + sign * distance
            here = rows[(at >= 0) & (at < visits)]
            if not len(here):
                break
            first = (at[here] == 0)[:, None]
            low, high = (np.where(first, in_all[1][end][here], in_all[0][end][here]) for end in (0, 1))
            near = latents[here, at[here] - sign]
            latents[here, at[here]], mass = moving.draw(near, low, high, rng)
            weights[here] *= mass
    return latents, weights


def _columns(places: Mapping[str, slice], wanted: Mapping[str, object]) -> Ints:
    found = [np.arange(places[name].start, places[name].stop) for name in places if name in wanted]
    return np.concatenate(found).astype(np.int64) if found else np.empty(0, dtype=np.int64)


def _chosen_plans(demands: Demands, count: int, rng: Rng) -> tuple[dict[str, Ints], Floats]:
    """Column -> place that each patient's plan is to have, -1 where any will do; and weights."""
    wanted: dict[str, Ints] = {}
    weights = np.ones(count)
    for alternatives, shares in demands.plans:
        chances = np.asarray(shares, dtype=np.float64) / sum(shares)
        pick = np.minimum(np.searchsorted(np.cumsum(chances), rng.random(count), side="right"), len(chances) - 1)
        weights = weights / chances[pick]
        for name in sorted({name for parts in alternatives for name in parts}):
            codes = np.array([parts.get(name, -1) for parts in alternatives], dtype=np.int64)
            wanted[name] = codes[pick]
    return wanted, weights


def _forced(model: Model, groups: Ints, wanted: Mapping[str, int | Span | Ints]) -> tuple[Floats, Floats]:
    """Bounds [patients, d] of latents in studies of given groups."""
    count, d = len(groups), len(model.latents.within)
    low, high = np.full((count, d), -np.inf), np.full((count, d), np.inf)
    places, sizes = model.places(), model.sizes()
    codes = {name: np.broadcast_to(np.asarray(value, dtype=np.float64), (count,)) for name, value in wanted.items()
             if not isinstance(value, tuple)}  # fmt: skip
    for item in model.study:
        name = item.variable.name
        if name not in wanted:
            continue
        within = None
        if item.variable.within:
            told = codes | {other: np.zeros(count) for other in item.variable.within if other not in codes}
            found = within_of(item.variable, told, sizes)
            within = np.maximum(found[0], 0) if found else None
        offsets = item.offsets(groups, within)
        low[:, places[name]], high[:, places[name]] = bounds(item, offsets, wanted[name], count)
    return low, high
