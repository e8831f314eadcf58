"""Finds what could name a patient in a text: dates of birth, addresses, telephone numbers, numbers of records.

Conservative: it asks the writer to put it in other words where a number only looks like one of a record. It finds no
names of people, but after a form of address; that patients are never named is the writer's duty still. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DATE = (
    r"(?:\d{1,2}[./-]\s?\d{1,2}[./-]\s?(?:19|20)?\d{2}|(?:19|20)\d{2}-\d{2}-\d{2}"
    r"|\d{1,2}\.? [A-Za-zäÄ]{3,9}\.? (?:19|20)\d{2})"
)
BORN = r"(?:born|date of birth|d\.?o\.?b\.?|birth ?date|geboren|geb\.|geburtsdatum|né|née)"


@dataclass(frozen=True, kw_only=True)
class Identifier:
    """Words of a text that could identify somebody.

    Attributes:
        words: As they stand in the text.
        what: What they look like.
        instead: What to write in their place.
    """

    words: str
    what: str
    instead: str


_PATTERNS: tuple[tuple[str, str, str], ...] = (
    (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "an e-mail address", "the role of the person, such as the ward's physician"),
    (rf"\b{BORN}\W{{0,3}}(?:on |am |le |the )?{DATE}", "a date of birth", "an age group, such as a patient over 80"),
    (rf"(?<!\w)\*\s?{DATE}", "a date of birth", "an age group, such as a patient over 80"),
    (
        r"\b(?:mrn|pid|patient(?:en)?(?:'s)?[- ]?(?:id|no|nr|number|nummer)|case[- ]?(?:no|number)|fallnummer|"
        r"fallzahl|svnr|nhs(?: number)?|accession(?: number| no)?|ssn)\b\W{0,3}[A-Z]{0,4}-?\d[\d -]{3,}",
        "the number of a patient or a record",
        "how the site can find it, such as the case that the site keeps under this incident's number",
    ),
    (
        r"(?<![\w+.])(?:\+|00)\d{1,3}[\s()/.-]*\d[\d\s()/.-]{5,}\d",
        "a telephone number",
        "the role of the person to be called",
    ),
    (r"(?<![\w+.,-])0\d{2,4}[ /-]\d{3,}[\d /-]*", "a telephone number", "the role of the person to be called"),
    (
        r"(?<![\w.,-])(?:\d{7,19}|\d{4} ?\d{6}|\d{3} \d{3} \d{4}|\d{3}-\d{2}-\d{4})(?![\w-]|[.,]\d)",
        "the number of a patient or a record",
        "a count with its separators (1,204,000), or a date as 22 Nov 2026",
    ),
    (
        r"\b(?:Mr|Mrs|Ms|Miss|Herrn?|Frau|Madame|Monsieur)\b\.? [A-ZÄÖÜ][\w'’-]+",
        "a person's name",
        "the role of the person, such as a patient or a radiologist",
    ),
)
# After a form of address the capital letter matters; elsewhere it does not.
PATTERNS = tuple(
    (re.compile(pattern, 0 if what == "a person's name" else re.IGNORECASE), what, instead)
    for pattern, what, instead in _PATTERNS
)


def find_identifier(text: str) -> Identifier | None:
    """The first words that could identify somebody, or None."""
    hits = [
        (match.start(), place, match.group().strip(), what, instead)
        for place, (pattern, what, instead) in enumerate(PATTERNS)
        if (match := pattern.search(text)) is not None
    ]
    if not hits:
        return None
    _start, _place, words, what, instead = min(hits)
    return Identifier(words=words, what=what, instead=instead)
