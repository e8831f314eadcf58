"""The columns of a plan: whether a finding is there, then its side, in that the zone, in both the size."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.tables_columns import Column, Reader
from synthetic.generators.plans import PARTS, Plans

DROPPED = ("size", "zone", "side")
"""Parts that are taken from a plan that too few patients have, in this order."""


@dataclass(frozen=True, kw_only=True)
class PlanParts:
    """One finding.

    Attributes:
        present: Name of the column that says whether it is there.
        words: Word of a plan -> share of it among the finding's plans; of enough patients each.
    """

    name: str
    present: str
    codes: dict[str, npt.NDArray[np.int64]]
    told: npt.NDArray[np.bool_]
    words: dict[str, float]
    reader: Reader

    def columns(self, before: list[Column], fixed: dict[str, Any]) -> list[Column]:
        """Columns of side, zone and size, told where the finding is there. What all have goes to ``fixed``."""
        parent = next((item.variable for item in before if item.variable.name == self.present), None)
        given = (self.present, parent.values.index(1)) if parent is not None and 1 in parent.values else None
        made: list[Column] = []
        if not self.words:
            return made
        for part in PARTS:
            found = self.reader.choice(
                part_name(part, self.name), [int(code) for code in self.codes[part]], told=self.told, given=given,
                within=tuple(item.variable.name for item in made),
            )  # fmt: skip
            if isinstance(found, tuple):
                fixed[part_name(part, self.name)] = found[0]
                _unlisted(self.reader, part_name(part, self.name))
            else:
                made.extend(found or [])
        return made


def part_name(part: str, finding: str) -> str:
    return f":{part} {finding}"


def plan_columns(name: str, plans: Plans, place: int, reader: Reader) -> PlanParts:
    """Side, zone and size of a finding where it is present, told only as far as enough patients have it.

    A plan that fewer than ``rare_below`` patients have loses its size, then its zone, then its side. What is rare even
    so is not learnt from.
    """
    present = plans.present[:, place] == 1
    codes = {part: np.where(present, plans.part(part)[:, place], -1).astype(np.int64) for part in PARTS}
    changed = np.zeros(len(plans), dtype=np.bool_)
    for part in DROPPED:
        rare = present & _rare(codes, present, reader) & (codes[part] >= 0)
        codes[part][rare] = -1
        changed |= rare
    if changed.any():
        reader.findings.generalised[name] = int(changed.sum())
    told = present & ~_rare(codes, present, reader)
    words = _words(name, codes, told)
    counts = Counter(words)
    shares = {word: counts[word] / len(words) for word in sorted(counts)}
    return PlanParts(name=name, present=f":plan {name}", codes=codes, told=told, words=shares, reader=reader)


def _rare(
    codes: dict[str, npt.NDArray[np.int64]], present: npt.NDArray[np.bool_], reader: Reader
) -> npt.NDArray[np.bool_]:
    joined = np.where(present, (codes["side"] + 1) * 16 + (codes["zone"] + 1) * 4 + codes["size"] + 1, -1)
    held = reader.holders(joined, 64)
    found: npt.NDArray[np.bool_] = present & (held[joined] < reader.rare_below)
    return found


def _words(name: str, codes: dict[str, npt.NDArray[np.int64]], told: npt.NDArray[np.bool_]) -> list[str]:
    made = Plans.empty((name,), int(told.sum()))
    made.present[:] = 1
    for part in PARTS:
        made.part(part)[:, 0] = codes[part][told]
    return [str(word) for word in made.words()[name]]


def _unlisted(reader: Reader, name: str) -> None:
    """A part that no plan tells is no column of the cohort that is constant or empty."""
    for names in (reader.findings.constant, reader.findings.empty):
        if name in names:
            names.remove(name)
