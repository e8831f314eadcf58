"""From attribute values to groups: codes per study, with Unknown as a group of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import ProtocolError
from evaluation.engine.protocol import JOIN, AttributeSpec, Protocol
from evaluation.engine.records import UNKNOWN, ShardTable

MAX_GROUPS = 60
MAX_INTERSECTION_GROUPS = 120
MAX_NAME = 95


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The group of each of n studies.

    Attributes:
        codes: int64 [n], indices into ``groups``.
        groups: Names, sorted; only those that occur.
        implausible: Studies whose value was given but cannot be true, or cannot be read as a number.
    """

    name: str
    codes: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    implausible: int = 0


def group_by(protocol: Protocol, table: ShardTable) -> list[Grouping]:
    """Every grouping that the protocol declares: attributes, then intersections.

    Raises:
        ProtocolError: for an attribute whose column is absent, or with more groups than can be judged.
    """
    single = {item.name: _attribute_groups(item, table) for item in protocol.attributes}
    crossed = [_cross([single[name] for name in names]) for names in protocol.intersections]
    return [*single.values(), *crossed]


def in_order(protocol: Protocol, attribute: str, groups: Iterable[str]) -> tuple[str, ...]:
    """Groups in the order of the protocol, others alphabetically, Unknown last."""
    listed: list[str] = [""]
    for part in attribute.split(JOIN) if attribute else ():
        names = protocol.attribute(part).groups
        listed = [f"{left}{JOIN if left else ''}{right}" for left in listed for right in names]
    rank = {name: place for place, name in enumerate(listed)}
    return tuple(sorted(groups, key=lambda name: (name == UNKNOWN, rank.get(name, len(rank)), name)))


def factorize(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], list[Any]]:
    """Codes and distinct values of an array, by hashing: linear in n. Missing values get the code -1."""
    import pandas as pd

    codes, uniques = pd.factorize(values, use_na_sentinel=True)
    return np.asarray(codes, dtype=np.int64), list(uniques)


def _attribute_groups(spec: AttributeSpec, table: ShardTable) -> Grouping:
    if spec.column not in table.attributes:
        raise ProtocolError(
            f"The attribute '{spec.name}' reads the column '{spec.column}', which the data do not have.",
            remedy=f"Name a column that exists under 'column': {', '.join(table.attributes) or 'there is none'}.",
            column=spec.column,
        )
    raw, uniques = factorize(table.attributes[spec.column])
    named = [_name(spec, value) for value in uniques]
    groups = tuple(sorted({name or UNKNOWN for name, _ in named} | ({UNKNOWN} if (raw < 0).any() else set())))
    _check_groups(f"attribute '{spec.name}'", groups, MAX_GROUPS, spec.column)
    index = {name: code for code, name in enumerate(groups)}
    lookup = np.array([*(index[name or UNKNOWN] for name, _ in named), index.get(UNKNOWN, 0)], dtype=np.int64)
    wrong = np.array([*(bad for _, bad in named), False])
    return Grouping(name=spec.name, codes=lookup[raw], groups=groups, implausible=int(wrong[raw].sum()))


def _name(spec: AttributeSpec, value: Any) -> tuple[str | None, bool]:
    """Group of one value (None: Unknown), and whether the value was given but cannot be used."""
    text = str(value).strip()
    if not text or text.casefold() == UNKNOWN.casefold():
        return None, False
    number = _number(value)
    if spec.bands is None:
        if spec.plausible and (number is None or not spec.plausible[0] <= number <= spec.plausible[1]):
            return None, True
        whole = number is not None and not isinstance(value, str) and number.is_integer()
        return (f"{number:.0f}" if whole else text), False
    low, high = spec.plausible or (-math.inf, math.inf)
    if number is None or not low <= number <= high or number < spec.bands[0]:
        return None, True
    return spec.groups[int(np.searchsorted(spec.bands, number, side="right")) - 1], False


def _number(value: Any) -> float | None:
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _cross(parts: list[Grouping]) -> Grouping:
    """Intersection of groupings. A study whose group is Unknown in any part is Unknown."""
    name = JOIN.join(part.name for part in parts)
    codes = np.zeros_like(parts[0].codes)
    for part in parts:
        codes = codes * len(part.groups) + part.codes
    present = np.unique(codes)
    sizes = [len(part.groups) for part in parts]
    names = []
    for code in present:
        picks = [part.groups[int(i)] for part, i in zip(parts, np.unravel_index(code, sizes), strict=True)]
        names.append(UNKNOWN if UNKNOWN in picks else JOIN.join(picks))
    groups = tuple(sorted(set(names)))
    _check_groups(f"intersection '{name}'", groups, MAX_INTERSECTION_GROUPS, None)
    lookup = np.array([groups.index(item) for item in names], dtype=np.int64)
    return Grouping(name=name, codes=lookup[np.searchsorted(present, codes)], groups=groups)


def _check_groups(what: str, groups: tuple[str, ...], most: int, column: str | None) -> None:
    """Whether groups are few enough to be judged, and their names short enough to be told."""
    if len(groups) > most:
        raise ProtocolError(
            f"The {what} has {len(groups)} distinct groups; at most {most} can be judged.",
            remedy="Band a numeric attribute with 'bands', intersect fewer, or choose a column with fewer values.",
            column=column,
        )
    longest = max(groups, key=len, default="")
    if len(longest) > MAX_NAME:
        raise ProtocolError(
            f"The {what} has a group of {len(longest)} characters, beginning '{longest[:30]}'; at most {MAX_NAME} fit.",
            remedy="Give the values short names in the mapping of the file, or choose another column.",
            column=column,
        )
