"""Marks on texts, and what a marked pair of texts contributes: plain records that pages, sketches and tests share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]


class MarkKind(StrEnum):
    """What a span is found to be. Two marks may have the same span: a finding on the wrong side, of the wrong size."""

    SUPPORTED = "supported"
    UNSUPPORTED = "unsupported"
    UNCERTAIN = "uncertain"
    CONTRADICTED = "contradicted"
    WRONG_SIDE = "wrong_side"
    WRONG_SEVERITY = "wrong_severity"
    OMITTED = "omitted"
    WRONG_VALUE = "wrong_value"
    WRONG_UNIT = "wrong_unit"
    WRONG_FLAG = "wrong_flag"
    WRONG_TIME = "wrong_time"
    FABRICATED_NUMBER = "fabricated_number"
    NO_PRIOR = "no_prior"
    ABSENT_MODALITY = "absent_modality"
    AGREED_ABSENT = "agreed_absent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Characters ``start`` up to ``end`` of one text.

    Attributes:
        finding: Key of the finding, or of the analyte of a number; "" where a mark is about neither.
        note: Why, in words for a reader.
    """

    kind: MarkKind
    start: int
    end: int
    finding: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class PairContext:
    """What the model was given, as far as it is known, and how its text ended.

    Attributes:
        prior: An earlier study was given; None where that is not known.
        given: Modality (``image``, ``text.indication``, ``series.crp``) -> the study has it.
        series: Analyte -> float64 [t, 2] of (hours, value), None where the patient has none. An analyte that is not
            here is not known, and numbers of it are not held against anything.
        truncated: The text ended at the model's limit of tokens.
    """

    prior: bool | None = None
    given: Mapping[str, bool] = field(default_factory=dict)
    series: Mapping[str, Series | None] = field(default_factory=dict)
    truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class MarkedPair:
    """A pair of texts with its marks, each side in the order of its text, and the numbers that it contributes.

    Attributes:
        tally: Column of :data:`COLUMNS` -> number; what is 0 is left out.
        flags: Why the pair, or a part of it, was not scored: ``no_reference``, ``unsupported_language``,
            ``truncated``; and ``abstained``.
    """

    generated: tuple[Mark, ...] = ()
    reference: tuple[Mark, ...] = ()
    tally: Mapping[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


COLUMNS = (
    "pairs", "reference", "found", "generated", "supported", "unsupported", "inventing", "ill", "missed", "abstained",
    "written", "words", "unpaired", "foreign", "truncated", "generated_cut", "unsupported_cut", "inventing_cut",
    "reference_lenient", "found_lenient", "generated_lenient", "unsupported_lenient", "inventing_lenient",
    "settled", "flipped", "sided", "wrong_side", "graded", "wrong_severity",
    "numbers", "number_fabricated", "number_unit", "number_value", "number_flag", "number_time",
    "unprimed", "comparing", "lacking", "citing",
    "gravity_expected", "gravity_omitted", "gravity_asserted", "gravity_invented",
)  # fmt: skip
"""What is counted of a study.

- ``pairs``: 1 where both sides can be compared; else ``unpaired``: 1 where the expert's report is missing or blank, or
  ``foreign``: 1 where a side is not English. Such a study counts for nothing else.
- ``reference``: the expert's positive findings, ``found``: those that the model's report supports; ``ill``: 1 where one
  is a pathology (a device is none), ``missed``: 1 where then the model's report has none.
- ``generated``: the model's positive findings, ``supported`` and ``unsupported`` by the expert's report;
  ``inventing``: 1 where one is unsupported. ``..._lenient``: the same with possible findings as positive ones.
- ``abstained``: 1 where the model's report is missing, blank or declines; ``written``: 1 where it is not blank;
  ``words``: its length; ``truncated``: 1 where it ended at the limit of tokens. A truncated report counts in none of
  ``reference``, ``found``, ``ill``, ``missed``, ``generated``, ``supported``, ``unsupported`` and ``inventing``, for
  what it leaves out may have followed; what it invents is in ``..._cut``.
- ``settled``: findings that both sides assert or deny, ``flipped``: one asserts and the other denies. ``sided``: both
  give a side, ``wrong_side``: another one. ``graded``: both give a severity, ``wrong_severity``: another one.
- ``numbers``: values that a series is held against, ``number_...``: those that are wrong, by class.
- ``unprimed``: 1 where a report was written and no earlier study was given, ``comparing``: 1 where it compares with
  one.
- ``lacking``: 1 where a report was written and the study lacks a modality, ``citing``: 1 where it rests on that one.
- ``gravity_...``: sums of the findings' gravity over those expected, omitted, asserted and invented.
"""
