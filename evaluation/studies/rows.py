"""Plain rows of what the explorer keeps of a study: marks in its reports, and what was asked and answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import pyarrow as pa

from evaluation.engine.asking import PARAPHRASE, PLAIN, REPORT, SAMPLED, ProbeKind

TRUE_STILL = frozenset({PLAIN, SAMPLED, PARAPHRASE})
"""Conditions under which what is expected of a question is still true."""
UNSETTLED = frozenset({"refused", "unparseable", "truncated"})
"""Answers that settle nothing."""
REFUSED, UNCLEAR = "refused", "unclear"
NOT_COUNTED = frozenset({"agreed_absent"})
"""Kinds of marks that are shown and never filtered by: both sides say that a finding is not there."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    SCHEMA: ClassVar[Mapping[str, Any]] = {}

    def to_dict(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, kw_only=True)
class TextMark(_Row):
    """Characters ``start`` up to ``end`` of one text, and what they are found to be.

    Attributes:
        side: ``generated`` or ``reference``.
        kind: A value of :class:`evaluation.engine.text.marking.MarkKind`.
        note: In words, for a reader.
    """

    SCHEMA: ClassVar[Mapping[str, Any]] = {
        "side": pa.string(), "kind": pa.string(), "start": pa.int64(), "end": pa.int64(), "finding": pa.string(),
        "note": pa.string(),
    }  # fmt: skip

    side: str
    kind: str
    start: int
    end: int
    finding: str
    note: str

    @property
    def counted(self) -> bool:
        return self.kind not in NOT_COUNTED


@dataclass(frozen=True, kw_only=True)
class SpokenRow(_Row):
    """One text that the model was asked for, beyond its report.

    Attributes:
        kind, finding, expected, condition, turn, question: As planned; see :class:`evaluation.engine.asking.Asking`.
        answer: How the text was understood, in one word; "" for a report.
        fault: What is wrong with it: one of the ``answer_`` kinds, or "".
    """

    SCHEMA: ClassVar[Mapping[str, Any]] = {
        "kind": pa.string(), "finding": pa.string(), "expected": pa.string(), "condition": pa.string(),
        "turn": pa.int64(), "question": pa.string(), "text": pa.string(), "truncated": pa.bool_(),
        "answer": pa.string(), "fault": pa.string(),
    }  # fmt: skip

    kind: str
    finding: str
    expected: str
    condition: str
    turn: int
    question: str
    text: str | None
    truncated: bool
    answer: str
    fault: str

    @property
    def judged(self) -> bool:
        """Whether it can be right or wrong: a question about the study as it is, or about the wrong image."""
        return self.kind != REPORT and (self.condition in TRUE_STILL or self.kind == ProbeKind.WRONG_IMAGE)

    @property
    def state(self) -> str:
        """What the answer comes to where answers are compared: one that is unreadable and one cut off are alike."""
        return UNCLEAR if self.answer in UNSETTLED - {REFUSED} else self.answer

    @property
    def counted(self) -> bool:
        """Whether its fault is one of the study's: once for each question, however often it was asked."""
        return bool(self.fault) and (self.condition == PLAIN or self.kind == ProbeKind.WRONG_IMAGE)


@dataclass(frozen=True, kw_only=True)
class StudyMarks:
    """The marks of one study, those of the model's text first, each side in the order of its text.

    Attributes:
        flags: What kept the study, or a part of it, from being scored: ``no_reference``, ``unsupported_language``,
            ``truncated``, ``abstained``.
    """

    marks: tuple[TextMark, ...] = ()
    flags: tuple[str, ...] = ()

    def counts(self, mark: TextMark) -> bool:
        """Whether one of the marks is counted. What a report lacks that was cut off may have followed."""
        return mark.counted and not (mark.kind == "omitted" and "truncated" in self.flags)
