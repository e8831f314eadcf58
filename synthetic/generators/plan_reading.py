"""The plan of a real study: from its labels whether a finding is there, from its report where and how large it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from synthetic.generators.plans import SIDES, SIZES, ZONES, Plans

ZONE_WORDS = {
    "upper": ("upper", "apical", "apex", "apices"),
    "mid": ("mid", "middle", "midlung", "perihilar", "lingular", "lingula"),
    "lower": ("lower", "basal", "basilar", "bibasilar", "base", "bases", "retrocardiac", "costophrenic"),
}
_ZONE = re.compile(
    r"\b(?:" + "|".join(f"(?P<{zone}>{'|'.join(words)})" for zone, words in ZONE_WORDS.items()) + r")\b", re.IGNORECASE
)
_WORDS = "|".join(word for words in ZONE_WORDS.values() for word in words)
# "Upper and lower zone" is no end of a clause: two zones are named, so that neither is told.
_CLAUSE = re.compile(rf"[.;\n]|,| and (?!(?:the )?(?:{_WORDS})\b)| with ", re.IGNORECASE)


def read_plans(labels: Mapping[str, npt.NDArray[np.int8]], reports: Sequence[str | None] | None) -> Plans:
    """The plans of n studies over the labels of their cohort.

    A label says whether a finding is there. Where the report asserts a finding of the same name, it says on which side,
    in which zone and of what size. A zone is read from the words around the finding, up to the next stop or comma.
    What a report does not tell stays untold; a report never overrules a label.

    Args:
        reports: Text of each study, such as ``text.reference``; None where the cohort has none.
    """
    from evaluation.engine.text.reading import read_texts
    from evaluation.engine.text.records import Assertion

    findings = tuple(labels)
    plans = Plans.empty(findings, len(next(iter(labels.values()), ())))
    for column, name in enumerate(findings):
        plans.present[:, column] = labels[name]
    if reports is None:
        return plans
    places = {name: column for column, name in enumerate(findings)}
    for row, (text, said) in enumerate(zip(reports, read_texts(reports), strict=True)):
        for claim in said.claims:
            at = places.get(claim.finding)
            if at is None or claim.assertion is not Assertion.PRESENT or plans.present[row, at] != 1:
                continue
            if claim.side is not None:
                plans.side[row, at] = SIDES.index(claim.side.value)
            if claim.severity is not None:
                plans.size[row, at] = min(int(claim.severity), len(SIZES)) - 1
            if (zone := _zone(text or "", claim.start, claim.end)) is not None:
                plans.zone[row, at] = ZONES.index(zone)
    return plans


def _zone(text: str, start: int, end: int) -> str | None:
    """The zone that the clause around a finding names; None where it names none, or several."""
    before, after = clause_around(text, start, end)
    named = {found.lastgroup for found in _ZONE.finditer(text, before, after)}
    return named.pop() if len(named) == 1 else None


def clause_around(text: str, start: int, end: int) -> tuple[int, int]:
    """Where the clause around a piece of text begins and ends: at stops, commas, and words that join."""
    before = max((stop.end() for stop in _CLAUSE.finditer(text, 0, start)), default=0)
    after = next((stop.start() for stop in _CLAUSE.finditer(text, end)), len(text))
    return before, after
