"""Where a report tells its plan: the finding, and the words for side, zone and size in the clause around it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthetic.generators.plan_reading import ZONE_WORDS, clause_around

if TYPE_CHECKING:
    from evaluation.engine.text.records import Claim

TOLD, DENIED, AGAINST = "told", "denied", "against"
"""What the report says of a finding, beside its plan: as the plan has it, absent as the plan has it, or otherwise."""
SIDE_WORDS = {"left": ("left",), "right": ("right",), "both": ("bilateral", "both", "bibasilar")}
SIZE_WORDS = {"small": ("small", "minimal", "tiny", "mild"), "moderate": ("moderate",), "large": ("large", "severe")}


@dataclass(frozen=True, kw_only=True)
class Span:
    """A piece of a report.

    Attributes:
        start, end: Places of its characters.
        kind: :data:`TOLD`, :data:`DENIED` or :data:`AGAINST`; ``note`` says it in words.
    """

    start: int
    end: int
    kind: str
    note: str


def plan_spans(texts: Sequence[str | None], plans: Sequence[Mapping[str, str]]) -> list[tuple[Span, ...]]:
    """The spans of each report, in order and apart from one another."""
    from evaluation.engine.text.reading import read_texts
    from evaluation.engine.text.records import Assertion

    found = []
    for text, plan, said in zip(texts, plans, read_texts(texts), strict=True):
        spans: list[Span] = []
        for claim in said.claims:
            words = plan.get(claim.finding)
            if words is None or claim.assertion not in (Assertion.PRESENT, Assertion.ABSENT):
                continue
            spans += _of_claim(text or "", claim, words, asserted=claim.assertion is Assertion.PRESENT)
        found.append(_apart(spans))
    return found


def _of_claim(text: str, claim: Claim, words: str, *, asserted: bool) -> list[Span]:
    start, end, name = claim.start, claim.end, claim.finding.replace("_", " ")
    wanted = words not in ("none", "unknown")
    if asserted != wanted:
        said, planned = ("present", "absent") if asserted else ("absent", "present")
        return [Span(start=start, end=end, kind=AGAINST, note=f"{name}: said to be {said}, and {planned} in the plan")]
    if not asserted:
        return [Span(start=start, end=end, kind=DENIED, note=f"{name}: absent, as in the plan")]
    told = [Span(start=start, end=end, kind=TOLD, note=f"{name}: {words}, as in the plan")]
    before, after = clause_around(text, start, end)
    for part, known in (("side", SIDE_WORDS), ("zone", ZONE_WORDS), ("size", SIZE_WORDS)):
        for word in set(words.split()) & set(known):
            pattern = rf"\b(?:{'|'.join(known[word])})\b"
            for hit in re.finditer(pattern, text[before:after], re.IGNORECASE):
                place = before + hit.start()
                note = f"{part} of {name}: {word}, as in the plan"
                told.append(Span(start=place, end=before + hit.end(), kind=TOLD, note=note))
    return told


def _apart(spans: Sequence[Span]) -> tuple[Span, ...]:
    """In order; of spans that overlap the first and longest."""
    kept: list[Span] = []
    for item in sorted(spans, key=lambda span: (span.start, -span.end)):
        if not kept or item.start >= kept[-1].end:
            kept.append(item)
    return tuple(kept)
