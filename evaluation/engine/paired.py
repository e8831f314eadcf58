"""What two versions of a model differ in on the same patients: rates of groups, and gaps between them.

With ``x_i`` events among ``n_i`` studies of patient i the rate is ``p = sum x_i / sum n_i``, and a patient's
contribution to its error is ``u_i = (x_i - p n_i) / sum n_i`` (Taylor linearisation, as in
``evaluation.engine.statistics.clusters``). A patient contributes to both versions and may contribute to both groups, so
the contributions are added with their signs before they are squared: the variance of a change is
``m/(m-1) sum (sum_k s_k u_ik)^2`` over the m patients that contribute, and what both versions find equally hard
cancels. Sources: Rao and Scott (1992), Biometrics 48:577.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.intervals import z_of
from evaluation.engine.suites.fairness.rates import RateDefinition

LEAST_DIFFERENT = 10
"""Patients in whom the versions decide differently; with fewer a normal interval would be too narrow."""
Signs = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """n studies that two versions decided about, for one label.

    Attributes:
        patients: int64 [n], numbers from 0.
        reference: int8 [n], 1, 0, or -1 for unknown; so are ``before`` and ``after``, what each version decided.
    """

    patients: npt.NDArray[np.int64]
    reference: Signs
    before: Signs
    after: Signs


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure under both versions, on the same patients.

    Attributes:
        value: ``after - before``; of the size of a gap where ``size`` says so. None where a side is undefined.
        low, high: Interval of ``value``; None where there is none, and ``reason`` says why.
        n, patients: Studies in the denominators of ``after``, and patients of either version's; 0 where they are too
            few, and then nothing else is told.
        different: Patients in whom the versions differ; None where they are too few to be counted out.
    """

    before: float | None
    after: float | None
    value: float | None
    low: float | None
    high: float | None
    n: int
    patients: int
    different: int | None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A rate of one group under one version: its value, and each patient's contribution to its error."""

    value: float | None
    errors: Floats
    n: int
    there: npt.NDArray[np.bool_]


def rate_change(pairs: Pairs, rate: RateDefinition, rows: npt.NDArray[np.bool_], *, level: float, least: int) -> Change:
    """How a rate of one group changed.

    Args:
        rows: bool [n], the group.
        least: Patients that a denominator needs.
    """
    before, after = (_part(pairs, side, rate, rows) for side in (pairs.before, pairs.after))
    return _change([(-1, before)], [(1, after)], before.value, after.value, pairs, rows, level=level, least=least)


def gap_change(
    pairs: Pairs,
    rate: RateDefinition,
    groups: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
    *,
    level: float,
    least: int,
) -> Change:
    """How the size of the gap ``|p_1 - p_2|`` between two groups changed. ``before`` and ``after`` keep their signs.

    The interval is that of the difference with the signs that were observed: near a gap of 0 it is somewhat wide.
    """
    sides = {}
    for name, decided in (("before", pairs.before), ("after", pairs.after)):
        first, second = (_part(pairs, decided, rate, rows) for rows in groups)
        gap = None if first.value is None or second.value is None else first.value - second.value
        sign = 1 if gap is None or gap >= 0 else -1
        sides[name] = (gap, sign, first, second)
    (gap_before, was, *old), (gap_after, now, *new) = sides["before"], sides["after"]
    return _change(
        [(-was, old[0]), (was, old[1])], [(now, new[0]), (-now, new[1])],
        gap_before, gap_after, pairs, groups[0] | groups[1], level=level, least=least,
    )  # fmt: skip


def _part(pairs: Pairs, decided: Signs, rate: RateDefinition, rows: npt.NDArray[np.bool_]) -> _Part:
    cells = {
        "tp": (pairs.reference == 1) & (decided == 1), "fn": (pairs.reference == 1) & (decided == 0),
        "fp": (pairs.reference == 0) & (decided == 1), "tn": (pairs.reference == 0) & (decided == 0),
    }  # fmt: skip
    below = np.logical_or.reduce([cells[name] for name in rate.denominator]) & rows
    above = np.logical_or.reduce([cells[name] for name in rate.numerator]) & rows
    n, size = int(below.sum()), _size(pairs)
    if not n:
        return _Part(value=None, errors=np.zeros(size), n=0, there=np.zeros(size, dtype=np.bool_))
    value = float(above.sum()) / n
    errors = np.bincount(pairs.patients, weights=(above - value * below) / n, minlength=size).astype(np.float64)
    return _Part(value=value, errors=errors, n=n, there=np.bincount(pairs.patients[below], minlength=size) > 0)


def _change(
    old: list[tuple[int, _Part]],
    new: list[tuple[int, _Part]],
    before: float | None,
    after: float | None,
    pairs: Pairs,
    rows: npt.NDArray[np.bool_],
    *,
    level: float,
    least: int,
) -> Change:
    every = [part for _, part in (*old, *new)]
    there = np.logical_or.reduce([part.there for part in every])
    patients = int(there.sum())
    changed = rows & (pairs.before != pairs.after)
    different = int((there & (np.bincount(pairs.patients[changed], minlength=_size(pairs)) > 0)).sum())
    if before is None or after is None or min(int(part.there.sum()) for part in every) < least:
        reason = f"fewer than {least} patients in a group"
        return Change(
            before=None, after=None, value=None, low=None, high=None, n=0, patients=0, different=None, reason=reason
        )  # fmt: skip
    facts: dict[str, Any] = {
        "before": before, "after": after, "n": sum(part.n for _, part in new), "patients": patients,
        "different": different if different >= LEAST_DIFFERENT else None,
    }  # fmt: skip
    value = _sum((sign, part.value or 0.0) for sign, part in (*old, *new))
    if different < LEAST_DIFFERENT:
        reason = f"the versions decide differently in fewer than {LEAST_DIFFERENT} patients"
        return Change(**facts, value=value, low=None, high=None, reason=reason)
    errors = np.sum([sign * part.errors for sign, part in (*old, *new)], axis=0)
    half = z_of(1 - level) * sqrt(patients / (patients - 1) * float(errors @ errors))
    return Change(**facts, value=value, low=value - half, high=value + half)


def _sum(terms: Iterable[tuple[int, float]]) -> float:
    return sum(sign * value for sign, value in terms)


def _size(pairs: Pairs) -> int:
    return int(pairs.patients.max()) + 1 if len(pairs.patients) else 0
