"""What is kept of a share for readers of patient-level content: made when it is sketched, from the same table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evaluation.engine.asking import REPORT
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.sketch import audited
from evaluation.studies.index import pack_share
from evaluation.studies.rows import UNSETTLED, SpokenRow, StudyMarks, TextMark

if TYPE_CHECKING:
    from evaluation.engine.asking import Utterances
    from evaluation.engine.text.marking import MarkedPair

DENIED = "denied"
"""A contradicted finding that the expert asserts: the model says that it is not there. It is omitted, not invented."""


def index_share(rules: Protocol, table: ShardTable) -> bytes:
    """What is kept of a share's audited studies. Equal tables give equal bytes.

    Returns:
        Empty where the protocol reads no text and asks nothing: then there is nothing to show.
    """
    if rules.reports is None and rules.probing is None:
        return b""
    table = audited(rules, table)
    return pack_share(rules, table, marks_of(rules, table), spoken_rows(rules, table))


def marks_of(rules: Protocol, table: ShardTable) -> list[StudyMarks]:
    """What was found in the reports of each study; nothing where the protocol compares none."""
    if rules.reports is None:
        return [StudyMarks() for _ in range(len(table))]
    from evaluation.engine.text.marking import marked_once

    return [_plain(pair) for pair in marked_once(rules, table)]


def _plain(pair: MarkedPair) -> StudyMarks:
    """The marks of a pair. A contradicted finding that the expert's report asserts is told apart: it is denied."""
    omitted = {mark.finding for mark in pair.reference if mark.kind == "omitted"}
    marks = [
        TextMark(
            side=side,
            kind=DENIED if mark.kind == "contradicted" and mark.finding in omitted else str(mark.kind),
            start=mark.start,
            end=mark.end,
            finding=mark.finding,
            note=mark.note,
        )
        for side, found in (("generated", pair.generated), ("reference", pair.reference))
        for mark in found
    ]
    return StudyMarks(marks=tuple(marks), flags=pair.flags)


def spoken_rows(rules: Protocol, table: ShardTable) -> list[tuple[int, SpokenRow]]:
    """What was asked of each study and answered, by study, in the order in which it was planned."""
    said = table.utterances
    if said is None or not len(said):
        return []
    from evaluation.engine.probing.answers import read_answers
    from evaluation.engine.text.marking import vocabulary_for

    answers = read_answers(said, vocabulary_for(rules))
    order = np.argsort(said.asked.study, kind="stable")
    return [(int(said.asked.study[at]), _spoken(said, int(at), str(answers[at] or ""))) for at in order]


def _spoken(said: Utterances, at: int, answer: str) -> SpokenRow:
    asked, text = said.asked, said.text[at]
    row = SpokenRow(
        kind=str(asked.kind[at]),
        finding=str(asked.finding[at]),
        expected=str(asked.expected[at]),
        condition=str(asked.condition[at]),
        turn=int(asked.turn[at]),
        question=str(asked.question[at]),
        text=text if isinstance(text, str) else None,
        truncated=bool(said.truncated[at]),
        answer="" if asked.kind[at] == REPORT else answer,
        fault="",
    )
    return replace(row, fault=_fault(row))


def _fault(row: SpokenRow) -> str:
    """What is wrong with an answer. Where the study was changed, nothing is right or wrong."""
    if not row.judged or row.answer == row.expected:
        return ""
    return f"answer_{row.answer}" if row.answer in UNSETTLED else "answer_wrong"
