"""What a text says, as records. Plain and frozen: pages, sketches and tests share them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class Assertion(StrEnum):
    """What a report says of a finding."""

    PRESENT = "present"
    UNCERTAIN = "uncertain"
    ABSENT = "absent"


class Side(StrEnum):
    """Where in the body, by the patient's own left and right."""

    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"


class Severity(IntEnum):
    """How large or grave, in three steps: a trace or a mild one, a moderate one, a large or severe one."""

    MILD = 1
    MODERATE = 2
    SEVERE = 3


class Change(StrEnum):
    """What became of a finding since an earlier study. Whoever says so has compared."""

    NEW = "new"
    WORSE = "worse"
    BETTER = "better"
    STABLE = "stable"
    RESOLVED = "resolved"


class Section(StrEnum):
    """The part of a report that a claim stands in. ``BODY`` where the text has no headings, as an answer has none."""

    BODY = "body"
    FINDINGS = "findings"
    IMPRESSION = "impression"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mention:
    """Characters ``start`` up to ``end`` of the text as it was given; ``sentence`` counts from 0."""

    start: int
    end: int
    sentence: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim(Mention):
    """One mention of a finding. Where the text says nothing of side, severity or change, it is None."""

    finding: str
    assertion: Assertion
    side: Side | None = None
    severity: Severity | None = None
    change: Change | None = None
    section: Section = Section.BODY


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison(Mention):
    """Words that compare with an earlier study: "unchanged", "since the prior", "interval", "new".

    "No prior for comparison" compares nothing and is none.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Citation(Mention):
    """Words that rest on a modality: "the radiograph shows", "laboratory values", "given the history of".

    Attributes:
        modality: ``image``, ``labs``, ``vitals``, ``history``, or another of the vocabulary.
    """

    modality: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity(Mention):
    """A measured value that the text states.

    Attributes:
        analyte: Key of the vocabulary of analytes, such as ``crp``.
        value: As printed, in ``unit``.
        decimals: Digits printed after the point: 1.0 has 1, 10 has 0. Half a unit of the last digit is the tolerance.
        unit: UCUM code; "" where the text gives none, None where it gives one that is no unit of this analyte.
        flag: ``high``, ``low``, ``normal``, or "" where the text does not say.
        hours: Time in hours after the start of the series that the text states ("at 6 h"); None where it states none.
    """

    analyte: str
    value: float
    decimals: int
    unit: str | None
    flag: str = ""
    hours: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadText:
    """Everything that one text says.

    Attributes:
        given: There is a text that is not blank.
        supported: It is English, or too short to tell. What is not supported is read no further and scored nowhere.
        abstains: It is missing or blank, or it declines ("unable to assess") and settles no finding.
        words: Runs of characters between white space.
    """

    given: bool
    supported: bool
    abstains: bool
    words: int
    claims: tuple[Claim, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    citations: tuple[Citation, ...] = ()
    repeated: int = field(default=0, metadata={"meaning": "sentences left out because they were said before"})
