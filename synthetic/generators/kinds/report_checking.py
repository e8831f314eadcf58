"""What is wrong with reports that were made, and how much of them is copied."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic.generators.consistency import report_faults
from synthetic.generators.plan_reading import ZONE_WORDS, read_plans
from synthetic.generators.plans import PARTS, SIDES, UNTOLD, ZONES, Plans

Bools = npt.NDArray[np.bool_]
SIDE_WORDS = {"left": ("left",), "right": ("right",), "both": ("bilateral", "both")}


@dataclass(frozen=True, kw_only=True)
class Checked:
    """bool [n] each.

    Attributes:
        faults: Against its plan, on another side, or against itself (see ``consistency.report_faults``).
        parts: A side, zone or size of the plan is not what is read in the report: another, or none.
    """

    faults: Bools
    parts: Bools

    @property
    def any(self) -> Bools:
        return self.faults | self.parts


def check_reports(reports: Sequence[str | None], plans: Plans) -> Checked:
    """Read reports as plans of real studies are read, and hold them against their plans. A missing one has no fault."""
    labels = {name: plans.present[:, column] for column, name in enumerate(plans.findings)}
    told = read_plans(labels, reports) if labels else plans
    parts = np.zeros(len(plans), dtype=np.bool_)
    for name in PARTS:
        planned = plans.part(name)
        parts |= ((planned != UNTOLD) & (told.part(name) != planned)).any(axis=1)
    given = np.array([bool(text) for text in reports], dtype=np.bool_)
    return Checked(faults=report_faults(reports, plans).any, parts=parts & given)


def words_agree(reports: Sequence[str | None], plans: Plans) -> dict[str, dict[str, float | int | None]]:
    """Side and zone by plain words, without any reading of sentences: an opinion of its own on whether they agree.

    Taken over reports of studies with one present finding alone whose side (or zone) is planned: the share that hold a
    word of it, and no word of another. None where fewer than 30 such reports are there.
    """
    alone = (plans.present == 1).sum(axis=1) == 1
    found: dict[str, dict[str, float | int | None]] = {}
    for part, names, words in (("side", SIDES, SIDE_WORDS), ("zone", ZONES, ZONE_WORDS)):
        patterns = [re.compile(rf"\b(?:{'|'.join(words[name])})\b", re.IGNORECASE) for name in names]
        right = []
        for row in np.flatnonzero(alone).tolist():
            code = int(plans.part(part)[row, int(np.argmax(plans.present[row] == 1))])
            text = reports[row]
            if code != UNTOLD and text:
                right.append([bool(pattern.search(text)) for pattern in patterns] == [at == code for at in range(3)])
        found[part] = {"n": len(right), "share": round(float(np.mean(right)), 4) if len(right) >= 30 else None}
    return found


def verbatim_share(made: Iterable[str], known: Iterable[str]) -> float | None:
    """Share of texts that are, but for white space and case, one of those known; None for no text."""
    pool = {_plain(text) for text in known}
    hits = [_plain(text) in pool for text in made]
    return round(float(np.mean(hits)), 4) if hits else None


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
