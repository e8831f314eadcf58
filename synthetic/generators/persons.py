"""What in texts looks as if it named a person: a gate before anything is learnt from them.

It finds what is written in a usual form: titles with names, record numbers, dates of the calendar, telephone numbers,
e-mail addresses, social security numbers, long numbers, web addresses, and the identifiers of the cohort itself. A name
without a title is not found here; it stays out because a word that few patients have is never learnt. A text that was
de-identified with marks such as ``___`` or ``[**name**]`` passes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import CohortError
from synthetic.generators.studies import LinkedStudies

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)[a-z]*\.?"
_NAME = r"[A-ZÀ-Þ][\w'’-]*[a-zß-ÿ][\w'’-]*"
PATTERNS: dict[str, re.Pattern[str]] = {
    "a name after a title": re.compile(rf"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Sr|Rev)\b\.?\s+{_NAME}"),
    "a name after a role": re.compile(
        rf"(?i:\b(?:patient name|name of (?:the )?patient|name|signed(?: by)?|dictated by|reported by|referred by|"
        rf"discussed with|attending|radiologist)\b)\s*[:\-]?\s*(?:(?i:dr|prof)\.?\s+)?{_NAME}(?:[ ,]+{_NAME})+"
    ),
    "a record number": re.compile(
        r"(?i)\b(?:MRN|medical record|record (?:no|number)|patient id|hospital (?:no|number)|NHS(?: no| number)?|"
        r"accession(?: no| number)?|case (?:no|number)|SSN)\b\.?\s*[:#]?\s*[A-Z]{0,4}-?\d[\d-]{3,}"
    ),
    "a date": re.compile(
        rf"\b(?:\d{{4}}-\d{{1,2}}-\d{{1,2}}|\d{{1,2}}[/.]\d{{1,2}}[/.](?:\d{{4}}|\d{{2}})|\d{{1,2}}-\d{{1,2}}-\d{{4}}|"
        rf"\d{{1,2}}(?:st|nd|rd|th)?\s+{_MONTH},?\s+\d{{4}}|{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}})\b"
    ),
    "an e-mail address": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    "a social security number": re.compile(r"\b\d{3}-\d{2}-\d{4}\b"),
    "a telephone number": re.compile(
        r"(?<![\w.])(?:\+\d{1,3}[\s.-]?(?:\(?\d{1,4}\)?[\s.-]?){2,5}\d{2,4}|\(?\d{3}\)?[\s.-]\d{3}[\s.-]\d{4})(?!\w)"
    ),
    "a long number": re.compile(r"(?<![\w.])\d{7,}(?!\w)"),
    "a web address": re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE),
}
"""What is looked for, by what it is called. Written anew after the HIPAA Safe Harbor list (45 CFR 164.514(b)(2))."""
OWN = "an identifier of the cohort"
_MARK = re.compile(r"\[\*\*.*?\*\*\]")
LEAST_ID = 5
"""Shorter identifiers of a cohort are not looked for: "12" stands in many texts."""
_LONG = re.compile(rf"[\w-]{{{LEAST_ID},}}")


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """A text in which something looks as if it named a person. ``row`` counts from 1. The words are not repeated."""

    text: str
    row: int
    kinds: tuple[str, ...]


def scan_texts(studies: LinkedStudies) -> list[Suspicion]:
    """Every text of the studies that holds something of :data:`PATTERNS`, or a patient's or study's identifier."""
    own = {str(name).lower() for names in (studies.patient_ids, studies.study_ids) for name in names
           if len(str(name)) >= LEAST_ID and any(sign.isdigit() for sign in str(name))}  # fmt: skip
    found: list[Suspicion] = []
    for name in sorted(studies.texts):
        known: dict[str, tuple[str, ...]] = {}
        for row, text in enumerate(studies.texts[name].tolist()):
            if not text:
                continue
            if text not in known:
                known[text] = _kinds(text, own)
            if known[text]:
                found.append(Suspicion(text=name, row=row + 1, kinds=known[text]))
    return found


def _kinds(text: str, own: set[str]) -> tuple[str, ...]:
    text = _MARK.sub(" ", text)
    kinds = [kind for kind, pattern in PATTERNS.items() if pattern.search(text)]
    if any(word.lower() in own for word in _LONG.findall(text)):
        kinds.append(OWN)
    return tuple(kinds)


def check_no_persons(studies: LinkedStudies) -> None:
    """Stop where a text looks as if it named a person.

    Raises:
        CohortError: with the field, how many studies, what it looks like, and the first row; never the text.
    """
    found = scan_texts(studies)
    if not found:
        return
    first = found[0]
    own = [item for item in found if item.text == first.text]
    kinds = ", ".join(dict.fromkeys(kind for item in own for kind in item.kinds))
    raise CohortError(
        f"{len(own):,} of the texts look as if they named a person ({kinds}), first that of study {first.row:,} in "
        "the order of patients and times.",
        remedy="De-identify the texts, for example with ___ in place of names, dates and numbers, and register the "
        "cohort again.",
        column=f"text.{first.text}",
        row=first.row,
    )
