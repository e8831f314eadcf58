"""What the columns of a table are: choices among values, or numbers; and what of them is not learnt from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.tables_marginals import Numbers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]
MOST_CHOICES = 24
"""Values of a choice, each with an effect of its own for every group; of more values, the order by frequency is one
number."""
FEW_NUMBERS = 3
"""A column of so few different numbers is a choice among them."""
IDENTIFIER_TEXT, IDENTIFIER_NUMBER = 0.5, 0.9
"""Different values for each patient from which a column of text, and one of whole numbers, tells who somebody is."""
THERE, MISSING = "there", "missing"


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One column that is learnt.

    Attributes:
        values: Of a choice, the commonest first; empty for a number.
        numbers: Of a number, or of the place in ``ranked``.
        ranked: A choice among many values, commonest first, kept as the number of their place.
        given: Variable and the place of its value that this one is told for; None where it always is.
        within: Variables whose values set apart how the values of this one are spread, such as the side for the zone.
    """

    name: str
    values: tuple[Any, ...] = ()
    numbers: Numbers | None = None
    ranked: tuple[Any, ...] = ()
    given: tuple[str, int] | None = None
    within: tuple[str, ...] = ()

    @property
    def latents(self) -> int:
        """Standard normal numbers that decide it: one for each value but the last, or one for a number."""
        return len(self.values) - 1 if self.numbers is None else 1

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "values": list(self.values), "ranked": list(self.ranked),
            "numbers": self.numbers.to_dict() if self.numbers else None,
            "given": list(self.given) if self.given else None, "within": list(self.within),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Column:
    """A variable with what was seen of it: the place of its value, or the number; -1 and NaN where it is not told."""

    variable: Variable
    seen: Floats


@dataclass(kw_only=True)
class Findings:
    """What is said about columns in the datasheet: names and counts, never a value."""

    suppressed: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    constant: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    generalised: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """By the names of the file contract; a column that the reading made for itself is none."""
        return {
            "suppressed": _named(self.suppressed), "left_out": _named(self.left_out),
            "constant": list(_named(dict.fromkeys(self.constant))),
            "empty": list(_named(dict.fromkeys(self.empty))),
            "generalised": dict(sorted(self.generalised.items())),
        }  # fmt: skip


def _named(found: Mapping[str, Any]) -> dict[str, Any]:
    """By the names of a cohort; what a reading made of columns for itself is left out."""
    named = {}
    for key, value in found.items():
        kind, _, name = key.partition(" ")
        if kind in (":label", ":plan"):
            named[name] = value
        elif kind in (":series", ":text"):
            named[f"{kind[1:]}.{name}"] = value
        elif key == ":image":
            named["image"] = value
        elif not key.startswith(":") and not key.endswith("?"):
            named[key] = value
    return dict(sorted(named.items()))


def plain(value: Any) -> Any:
    """A value as JSON has it; NaN is None."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def is_number(values: Sequence[Any]) -> bool:
    """Whether all that is told is a finite number."""
    told = [value for value in values if value is not None]
    return bool(told) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in told
    )


def numbers_of(values: Sequence[Any]) -> Floats:
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)


def is_whole(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int) for value in values if value is not None)


class Reader:
    """Makes variables of columns, for rows that belong to patients.

    Args:
        patients: Code of the patient of each row.
        rare_below: Values that fewer patients hold are not learnt from.
    """

    def __init__(self, patients: Ints, rare_below: int, findings: Findings) -> None:
        self.patients, self.rare_below, self.findings = patients, rare_below, findings
        self.count = len(np.unique(patients))

    def holders(self, codes: Ints, kinds: int) -> Ints:
        """Patients that hold each code at least once."""
        told = codes >= 0
        pairs = np.unique(np.stack([codes[told], self.patients[told]]), axis=1)[0]
        return np.bincount(pairs, minlength=kinds).astype(np.int64)

    def identifies(self, values: Sequence[Any], *, per_patient: bool) -> bool:
        """Whether the values are so many that they tell patients apart."""
        different = len({value for value in values if value is not None})
        if is_number(values):
            return is_whole(values) and per_patient and different > IDENTIFIER_NUMBER * self.count
        return different > IDENTIFIER_TEXT * self.count

    def attribute(self, name: str, values: Sequence[Any], *, per_patient: bool) -> list[Column] | Any:
        """The columns of one attribute, or the one value that all have.

        Returns:
            Columns; or the value itself, wrapped in a tuple; or None where it is left out.
        """
        if self.identifies(values, per_patient=per_patient):
            self.findings.left_out[name] = "it holds so many different values that they tell patients apart"
            return None
        told = {value for value in values if value is not None}
        if is_number(values) and len(told) > FEW_NUMBERS:
            return self._with_numbers(name, values)
        return self.choice(name, list(values))

    def _with_numbers(self, name: str, values: Sequence[Any]) -> list[Column] | Any:
        numbers = numbers_of(values)
        holders = len(np.unique(self.patients[~np.isnan(numbers)]))
        if holders < self.rare_below:
            self.findings.left_out[name] = f"fewer than {self.rare_below} patients have a number in it"
            return None
        there = self.choice(f"{name}?", [MISSING if np.isnan(value) else THERE for value in numbers.tolist()])
        column = self.number(name, numbers, whole=is_whole(values))
        if isinstance(there, tuple):
            return [column]
        parent = there[0].variable
        given = (parent.name, parent.values.index(THERE))
        return [*there, Column(variable=_given(column.variable, given), seen=column.seen)]

    def number(self, name: str, numbers: Floats, *, whole: bool, given: tuple[str, int] | None = None) -> Column:
        """A column of numbers, NaN where it is not told."""
        told = ~np.isnan(numbers)
        learnt = Numbers.learn(numbers[told], self.patients[told], rare_below=self.rare_below, whole=whole)
        return Column(variable=Variable(name=name, numbers=learnt, given=given), seen=numbers)

    def choice(
        self, name: str, values: Sequence[Any], *, told: npt.NDArray[np.bool_] | None = None,
        given: tuple[str, int] | None = None, within: tuple[str, ...] = (),
    ) -> list[Column] | Any:  # fmt: skip
        """A choice among the values that enough patients hold.

        Args:
            told: Rows that it is told for; all where it is None.
        """
        told = np.ones(len(values), dtype=np.bool_) if told is None else told
        known = sorted({_key(value): value for value, there in zip(values, told, strict=True) if there}.items())
        place = {key: number for number, (key, _) in enumerate(known)}
        codes = np.array(
            [place[_key(value)] if there else -1 for value, there in zip(values, told, strict=True)], dtype=np.int64
        )
        kept = [code for code, held in enumerate(self.holders(codes, len(known))) if held >= self.rare_below]
        if len(known) > len(kept):
            self.findings.suppressed[name] = len(known) - len(kept)
        if not kept:
            self.findings.left_out[name] = f"every value is held by fewer than {self.rare_below} patients"
            return None
        counts = np.bincount(codes[codes >= 0], minlength=len(known))
        kept.sort(key=lambda code: (-int(counts[code]), code))
        new = np.full(len(known) + 1, -1, dtype=np.int64)
        new[kept] = np.arange(len(kept))
        seen = np.where(codes >= 0, new[codes], -1).astype(np.float64)
        chosen = tuple(plain(known[code][1]) for code in kept)
        if len(chosen) == 1:
            (self.findings.empty if chosen[0] is None else self.findings.constant).append(name)
            return (chosen[0],)
        if len(chosen) > MOST_CHOICES:
            return [self._ranked(name, chosen, seen)]
        return [Column(variable=Variable(name=name, values=chosen, given=given, within=within), seen=seen)]

    def _ranked(self, name: str, values: tuple[Any, ...], seen: Floats) -> Column:
        numbers = np.where(seen < 0, np.nan, seen)
        told = seen >= 0
        held = np.bincount(seen[told].astype(np.int64), minlength=len(values)) / told.sum()
        learnt = Numbers(values=np.arange(len(values), dtype=np.float64), ends=np.cumsum(held), decimals=0, whole=True)
        return Column(variable=Variable(name=name, ranked=values, numbers=learnt), seen=numbers)


def _given(variable: Variable, given: tuple[str, int]) -> Variable:
    return replace(variable, given=given)


def _key(value: Any) -> tuple[str, str]:
    """Sorts values of any kind; True and 1 are apart."""
    return (type(value).__name__, repr(value))
