"""What is the matter with a study, written down before any modality is made: finding, side, zone and size.

Every modality of a synthetic study is made from its plan, so that image, report and laboratory values tell one story.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int8]
Rows = npt.NDArray[np.int64] | npt.NDArray[np.bool_] | slice
SIDES = ("left", "right", "both")
ZONES = ("upper", "mid", "lower")
SIZES = ("small", "moderate", "large")
PARTS = {"side": SIDES, "zone": ZONES, "size": SIZES}
UNTOLD = -1
NONE, UNKNOWN, PRESENT = "none", "unknown", "present"


@dataclass(frozen=True, kw_only=True)
class Plans:
    """The plans of n studies over F findings.

    Attributes:
        findings: Names, in the order of the second axis.
        present: int8 [n, F]: 1 present, 0 absent, -1 not known.
        side, zone, size: int8 [n, F]: place in SIDES, ZONES, SIZES; -1 where it is absent or not told.
    """

    findings: tuple[str, ...]
    present: Codes
    side: Codes
    zone: Codes
    size: Codes

    def __post_init__(self) -> None:
        for name in ("present", "side", "zone", "size"):
            if getattr(self, name).shape != (len(self.present), len(self.findings)):
                raise ValueError(f"'{name}' is not [studies, findings]")

    def __len__(self) -> int:
        return len(self.present)

    def part(self, name: str) -> Codes:
        """``side``, ``zone`` or ``size``."""
        found: Codes = getattr(self, name)
        return found

    def rows(self, rows: Rows) -> Plans:
        return Plans(
            findings=self.findings, present=self.present[rows], side=self.side[rows], zone=self.zone[rows],
            size=self.size[rows],
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[Plans]) -> Plans:
        """Plans of the same findings, one after the other."""
        first = parts[0]
        if any(item.findings != first.findings for item in parts):
            raise ValueError("plans of different findings")
        stacked = {name: np.concatenate([getattr(item, name) for item in parts]) for name in ("present", *PARTS)}
        return cls(findings=first.findings, **stacked)

    @classmethod
    def empty(cls, findings: Sequence[str], n: int) -> Plans:
        """Nothing is known of n studies."""
        made = {name: np.full((n, len(findings)), UNTOLD, dtype=np.int8) for name in ("present", *PARTS)}
        return cls(findings=tuple(findings), **made)

    def words(self) -> dict[str, npt.NDArray[np.object_]]:
        """Finding -> [n] one word list: ``none``, ``unknown``, ``present``, ``left small``, ``right mid``."""
        return {name: self._words(column) for column, name in enumerate(self.findings)}

    def _words(self, column: int) -> npt.NDArray[np.object_]:
        base = (len(SIDES) + 1, len(ZONES) + 1, len(SIZES) + 1)
        codes = np.ravel_multi_index([self.part(name)[:, column] + 1 for name in PARTS], base)
        kinds, place = np.unique(codes, return_inverse=True)
        told = np.array([_phrase(int(code), base) for code in kinds], dtype=object)
        state = self.present[:, column]
        found: npt.NDArray[np.object_] = np.where(state == 1, told[place], np.where(state == 0, NONE, UNKNOWN))
        return found

    @classmethod
    def of_words(cls, columns: Mapping[str, Sequence[str]]) -> Plans:
        """The inverse of :meth:`words`.

        Raises:
            ValueError: a word is none of a plan's.
        """
        findings = tuple(columns)
        made = cls.empty(findings, len(next(iter(columns.values()), ())))
        for column, name in enumerate(findings):
            values = np.asarray(columns[name], dtype=object)
            for text in set(values.tolist()):
                _write(made, values == text, column, str(text))
        return made


def _phrase(code: int, base: tuple[int, int, int]) -> str:
    places = np.unravel_index(code, base)
    words = [names[int(place) - 1] for names, place in zip(PARTS.values(), places, strict=True) if place]
    return " ".join(words) or PRESENT


def _write(plans: Plans, rows: npt.NDArray[np.bool_], column: int, text: str) -> None:
    if text == UNKNOWN:
        return
    plans.present[rows, column] = 0 if text == NONE else 1
    if text in (NONE, PRESENT):
        return
    for word in text.split():
        name = next((part for part, words in PARTS.items() if word in words), None)
        if name is None:
            raise ValueError(f"'{word}' is no word of a plan")
        plans.part(name)[rows, column] = PARTS[name].index(word)
