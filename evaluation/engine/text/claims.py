"""Claims of a chest radiograph report: which findings it says are there, are not there, or may be.

Rules in the manner of NegEx and ConText: a cue such as "no" or "possible" reaches forwards or backwards from where it
stands, until the sentence ends, a conjunction starts anew, or a verb closes what was said. Findings named by a subject
and what is said of it ("the heart is not enlarged", "lungs are clear") are claims of the same kind. The rules know
English; they use no weights and no network. The vocabulary is in ``ontology.yaml``.

Source of the method: Chapman et al. (2001), J Biomed Inform 34:301 (NegEx); Harkema et al. (2009), J Biomed Inform
42:839 (ConText). Wording and rules are our own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from evaluation.engine.text.ontology import LINE_END, Ontology, ontology
from evaluation.engine.text.sentences import read_sentences

_PLAIN = str.maketrans(dict.fromkeys("-_\xa0–—‑\t\r", " "))
# A line break that ends a sentence. Repetitions are bounded throughout, so that no text takes more than linear time.
_BREAK = re.compile(r"(?<![,\s])\n(?=\s{0,20}(?:[-*\N{BULLET}]|\d{1,3}[.)]\s|[A-Z])|[ \t\r]{0,20}\n)")
_BREAK_OF_CAPITALS = re.compile(r"(?<![,\s])\n(?=\s{0,20}(?:[-*\N{BULLET}]|\d{1,3}[.)]\s)|[ \t\r]{0,20}\n)")
_STOP = re.compile(rf"[.{LINE_END}\n]")


class Assertion(StrEnum):
    """What a report says of a finding."""

    PRESENT = "present"
    UNCERTAIN = "uncertain"
    ABSENT = "absent"


_STRENGTH = {Assertion.PRESENT: 2, Assertion.UNCERTAIN: 1, Assertion.ABSENT: 0}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One mention of a finding.

    Attributes:
        start, end: Characters of the text that name it.
        sentence: Index of its sentence.
    """

    finding: str
    assertion: Assertion
    start: int
    end: int
    sentence: int


def extract_claims(text: str | None, vocabulary: Ontology | None = None) -> tuple[Claim, ...]:
    """Every claim of a report, in the order of the text.

    Sections that do not tell what was seen (indication, history, comparison, technique) are not read, nor are
    findings of the past ("history of pneumonia"). Linear in the length of the text.
    """
    if not text:
        return ()
    words = vocabulary or ontology()
    folded = _without_skipped(_folded(text), words)
    return tuple(
        Claim(
            finding=item.finding, assertion=Assertion(item.says), start=item.start, end=item.end, sentence=item.sentence
        )
        for item in read_sentences(folded, words)
    )


def findings_of(text: str | None, vocabulary: Ontology | None = None) -> dict[str, Assertion]:
    """The strongest assertion of each finding that a report mentions: present, else uncertain, else absent."""
    found: dict[str, Assertion] = {}
    for claim in extract_claims(text, vocabulary):
        known = found.get(claim.finding)
        if known is None or _STRENGTH[claim.assertion] > _STRENGTH[known]:
            found[claim.finding] = claim.assertion
    return found


def positives_of(said: Mapping[str, Assertion]) -> frozenset[str]:
    """Findings asserted as present. A finding that is only possible is not positive (strict scoring)."""
    return frozenset(name for name, assertion in said.items() if assertion is Assertion.PRESENT)


def abstains(text: str | None, said: Mapping[str, Assertion] | None = None, vocabulary: Ontology | None = None) -> bool:
    """Whether a report declines: it is missing or blank, or says so ("unable to assess") and settles no finding.

    Args:
        said: The result of :func:`findings_of`, if it is at hand.
    """
    if text is None or not text.strip():
        return True
    words = vocabulary or ontology()
    if words.abstentions.search(_folded(text)) is None:
        return False
    claims = findings_of(text, vocabulary) if said is None else said
    return all(assertion is Assertion.UNCERTAIN for assertion in claims.values())


def known_findings() -> tuple[str, ...]:
    """Names of the findings of the ontology, in its order."""
    return ontology().findings


def _folded(text: str) -> str:
    """The text in lower case with hyphens as spaces and line ends marked; every character keeps its place."""
    breaks = _BREAK_OF_CAPITALS if text.isupper() else _BREAK
    marked = breaks.sub(LINE_END, text) if "\n" in text else text
    lower = marked.lower()
    if len(lower) != len(marked):
        lower = "".join(char.lower() if len(char.lower()) == 1 else char for char in marked)
    return lower.translate(_PLAIN)


def _without_skipped(folded: str, words: Ontology) -> str:
    """The text with sections that are not read blanked out.

    A skipped section reaches to the next heading; where none follows, to the end of its sentence or line.
    """
    if ":" not in folded:
        return folded
    headings = list(words.headings.finditer(folded))
    kept, done = [], 0
    for place, heading in enumerate(headings):
        if heading["skipped"] is None:
            continue
        if place + 1 < len(headings):
            end = headings[place + 1].start()
        else:
            stop = _STOP.search(folded, heading.end())
            end = len(folded) if stop is None else stop.end()
        kept += [folded[done : heading.start()], LINE_END, " " * (end - heading.start() - 2), LINE_END]
        done = end
    return "".join([*kept, folded[done:]])
