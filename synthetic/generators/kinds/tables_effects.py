"""How groups move a column: the threshold of each value, or the mean of a number, in every group that patients form.

A value is taken where a standard normal number, its latent, lies below an offset. The offset is that of the values it
is told within, plus one effect for each group: of sex, of age in bins, and so on. Effects are raked until the share of
the value in every group is the share that was seen (with a few pseudo-observations for small groups). So every share
by group is kept, and what is left to the latents is free of groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.tables_columns import Column, Variable

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ROUNDS, ENOUGH = 15, 0.003
PSEUDO = 5.0
"""Observations at the overall share that every group is given besides its own."""
MOST_PARENTS = 16
CERTAIN = 40.0
"""Offset of what is always, or with a minus never, the case."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The groups that patients form, one after the other.

    Attributes:
        names: Of the columns that group.
        cuts: For a column of numbers the upper ends of its bins; empty for a choice.
        sizes: Groups of each column; a number has one more, where it is missing.
    """

    names: tuple[str, ...]
    cuts: tuple[Floats, ...]
    sizes: tuple[int, ...]

    @property
    def starts(self) -> Ints:
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    @property
    def total(self) -> int:
        return int(sum(self.sizes))

    def place(self, number: int, seen: Floats) -> Ints:
        """Group of each row by one column, counted over all columns."""
        start = int(self.starts[number])
        if len(self.cuts[number]) == 0:
            return start + np.maximum(seen, 0).astype(np.int64)
        bins = np.searchsorted(self.cuts[number], seen)
        found: Ints = start + np.where(np.isnan(seen), self.sizes[number] - 1, bins).astype(np.int64)
        return found


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What was learnt of one variable.

    Attributes:
        base: Choice: offset [values it is told within, values - 1]. Number: [1, 1] mean score.
        moves: [latents, groups]: what each group adds.
        scale: Of a number: standard deviation of the score that is left; 1 for a choice.
        sight: Of a number: correlation of the latent with what is seen of it, below 1 where numbers are coarse.
    """

    variable: Variable
    base: Floats
    moves: Floats
    scale: float = 1.0
    sight: float = 1.0

    def offsets(self, groups: Ints, within: Ints | None = None) -> Floats:
        """Offsets [n, latents] of rows.

        Args:
            groups: [n, columns] places.
            within: Which of the values it is told within, [n]; the first where it is None.
        """
        moved: Floats = (
            self.moves.T[groups].sum(axis=1) if groups.shape[1] else np.zeros((len(groups), len(self.moves)))
        )
        base = self.base[np.zeros(len(groups), dtype=np.int64) if within is None else within]
        # What is never or always the case stays so in every group.
        found: Floats = np.where(np.abs(base) >= CERTAIN, base, base + moved)
        return found


def learn_effects(
    column: Column, groups: Ints, layout: Groups, *, within: tuple[Ints, int] | None = None
) -> tuple[Effects, Floats, Floats]:
    """Effects of one column, and what is left.

    Args:
        groups: [n, columns] places of each row.
        within: Which of the values it is told within, and how many there are.

    Returns:
        Effects; residual scores [n, latents], NaN where a latent decides nothing; offsets [n, latents].
    """
    if column.variable.numbers is not None:
        return _learn_number(column, groups, layout)
    place, kinds = within if within is not None else (np.zeros(len(groups), dtype=np.int64), 1)
    latents = column.variable.latents
    base, moves = np.full((kinds, latents), -CERTAIN), np.zeros((latents, layout.total))
    scores, offsets = np.full((len(groups), latents), np.nan), np.zeros((len(groups), latents))
    for latent in range(latents):
        rows = np.flatnonzero((column.seen >= latent) & (place >= 0))
        taken = column.seen[rows] == latent
        base[:, latent], moves[latent], offset = _rake(taken, place[rows], kinds, groups[rows], layout)
        offsets[rows, latent] = offset
        scores[rows, latent] = residuals(taken, offset)
    return Effects(variable=column.variable, base=base, moves=moves), scores, offsets


def residuals(taken: npt.NDArray[np.bool_], offset: Floats) -> Floats:
    """Mean of the latent given what was seen: ``-pdf / cdf`` where it was taken, ``pdf / (1 - cdf)`` where not; NaN
    where nothing is left to the latent."""
    from scipy.special import log_ndtr

    log_pdf = -0.5 * offset**2 - 0.5 * np.log(2 * np.pi)
    mean = np.where(taken, -np.exp(log_pdf - log_ndtr(offset)), np.exp(log_pdf - log_ndtr(-offset)))
    found: Floats = np.where(np.abs(offset) >= CERTAIN, np.nan, mean)
    return found


def _rake(
    taken: npt.NDArray[np.bool_], place: Ints, kinds: int, groups: Ints, layout: Groups
) -> tuple[Floats, Floats, Floats]:
    from scipy.special import ndtr, ndtri

    count, hits = np.bincount(place, minlength=kinds), np.bincount(place, weights=taken, minlength=kinds)
    share = np.divide(hits, count, out=np.zeros(kinds), where=count > 0)
    base: Floats = np.where(share == 0, -CERTAIN, np.where(share == 1, CERTAIN, ndtri(np.clip(share, 1e-9, 1 - 1e-9))))
    moves = np.zeros(layout.total)
    offset = base[place]
    open_rows = np.abs(offset) < CERTAIN
    y, level, kind = taken[open_rows].astype(np.float64), groups[open_rows], place[open_rows]
    if not len(y):
        return base, moves, offset
    chosen = [
        (level[:, number] - layout.starts[number], int(layout.starts[number]), size)
        for number, size in _parents(y - share[kind], float((share[kind] * (1 - share[kind])).mean()), level, layout)
    ]
    targets = [_target(y, share[kind], at, size) for at, _, size in chosen]
    now = base[kind].copy()
    free = np.abs(base) < CERTAIN
    for _ in range(ROUNDS if chosen else 0):
        most = 0.0
        for (at, start, size), (wanted, counts) in zip(chosen, targets, strict=True):
            is_there = counts > 0
            mean = np.bincount(at, weights=ndtr(now), minlength=size) / np.maximum(counts, 1)
            step = np.zeros(size)
            step[is_there] = ndtri(wanted[is_there]) - ndtri(np.clip(mean[is_there], 1e-9, 1 - 1e-9))
            step = np.clip(step, -0.5, 0.5)
            moves[start : start + size] += step
            now += step[at]
            most = max(most, float(np.abs(step).max()))
        mean = np.bincount(kind, weights=ndtr(now), minlength=kinds) / np.maximum(count, 1)
        step = np.where(free, ndtri(np.clip(share, 1e-9, 1 - 1e-9)) - ndtri(np.clip(mean, 1e-9, 1 - 1e-9)), 0.0)
        base += step
        now += step[kind]
        if max(most, float(np.abs(step).max())) < ENOUGH:
            break
    offset = offset.copy()
    offset[open_rows] = now
    return base, moves, offset


def _target(y: Floats, share: Floats, at: Ints, size: int) -> tuple[Floats, Floats]:
    """Share to be reached in each group, drawn a little to what the other columns expect there."""
    counts = np.bincount(at, minlength=size).astype(np.float64)
    expected = np.bincount(at, weights=share, minlength=size) / np.maximum(counts, 1)
    wanted = (np.bincount(at, weights=y, minlength=size) + PSEUDO * expected) / (counts + PSEUDO)
    return np.clip(wanted, 1e-9, 1 - 1e-9), counts


def _parents(left: Floats, variance: float, groups: Ints, layout: Groups) -> list[tuple[int, int]]:
    """Columns whose groups differ by more than chance would have them, the strongest first: (number, groups)."""
    found = []
    for number in range(groups.shape[1]):
        size = layout.sizes[number]
        at = groups[:, number] - layout.starts[number]
        counts = np.bincount(at, minlength=size)
        gap = np.bincount(at, weights=left, minlength=size)
        there = counts > 0
        freedom = int(there.sum()) - 1
        if freedom < 1:
            continue
        excess = float((gap[there] ** 2 / counts[there]).sum() / variance) / freedom
        if excess > 1:
            found.append((excess, number, size))
    found.sort(key=lambda item: (-item[0], item[1]))
    return [(number, size) for _, number, size in found[:MOST_PARENTS]]


def _learn_number(column: Column, groups: Ints, layout: Groups) -> tuple[Effects, Floats, Floats]:
    numbers = column.variable.numbers
    assert numbers is not None
    rows = np.flatnonzero(~np.isnan(column.seen))
    z = numbers.scores(column.seen[rows])
    mean, moves, left = float(z.mean()), np.zeros(layout.total), z - z.mean()
    level = groups[rows]
    spread = float(z.var()) or 1.0
    parents = _parents(left, spread, level, layout)
    for _ in range(ROUNDS if parents else 0):
        for number, size in parents:
            start = int(layout.starts[number])
            at = level[:, number] - start
            step = np.bincount(at, weights=left, minlength=size) / (np.bincount(at, minlength=size) + PSEUDO)
            moves[start : start + size] += step
            left = left - step[at]
    scale = max(float(left.std()), 1e-3)
    scores = np.full((len(groups), 1), np.nan)
    scores[rows, 0] = left / scale
    # Numbers on few levels show less of their latent than the latent has; what is drawn is spread as the latent is.
    sight = float(np.clip(z.std(), 0.3, 1.0))
    made = Effects(
        variable=column.variable, base=np.array([[mean]]), moves=moves[None], sight=sight,
        scale=float(np.sqrt(max(1e-6, 1 - (spread - scale**2)))),
    )  # fmt: skip
    return made, scores, np.zeros((len(groups), 1))


def in_groups(effects: Sequence[Effects], sizes: int) -> tuple[Effects, ...]:
    """Effects with room for further groups, which add nothing."""
    return tuple(
        replace(item, moves=np.pad(item.moves, ((0, 0), (0, sizes - item.moves.shape[1])))) for item in effects
    )
