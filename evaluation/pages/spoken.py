"""Questions with their answers, and what changed with the study: in the order in which a reader asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext

from evaluation.engine.asking import (
    BLANK,
    DROPPED,
    NOISE,
    PARAPHRASE,
    PLAIN,
    REPORT,
    SAMPLED,
    SWAPPED,
    ProbeKind,
)
from evaluation.studies.rows import UNSETTLED, SpokenRow

CONDITIONS = {
    PLAIN: "As it is",
    BLANK: "Made blank",
    NOISE: "Replaced by noise",
    SWAPPED: "Another patient's",
    PARAPHRASE: "In other words",
    SAMPLED: "Drawn with chance",
}
KINDS = {
    ProbeKind.PRESENT: "About a finding that is there",
    ProbeKind.RANDOM: "About a finding that is not there",
    ProbeKind.POPULAR: "About a frequent finding that is not there",
    ProbeKind.ADVERSARIAL: "About a finding that often comes with this study's",
    ProbeKind.FALSE_PREMISE: "Takes for granted what is not there",
    ProbeKind.NONE_OF_ABOVE: "Choice with none of the above",
    ProbeKind.WRONG_IMAGE: "With another patient's image",
}
FAULTS = {"answer_wrong": "wrong", "answer_refused": "refused", "answer_unparseable": "unreadable",
          "answer_truncated": "cut off"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One text, or several that are alike, under one condition.

    Attributes:
        state, word: How the answer is judged, as shape and word; "" where it is not.
        times: How often it came, of the samples.
    """

    condition: str
    question: str
    text: str | None
    answer: str
    state: str
    word: str
    times: int = 1


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question, first as it is, then under every other condition that was tried."""

    kind: str
    finding: str
    question: str
    expected: str
    plain: Answered | None
    others: tuple[Answered, ...]


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """Everything that was asked of one study, and further reports that were written of it."""

    questions: tuple[Question, ...]
    reports: tuple[Answered, ...]


def condition_title(condition: str) -> str:
    """``dropped:text.indication`` as ``Without text indication``."""
    if condition.startswith(DROPPED):
        return gettext("Without %(x)s") % {"x": condition.partition(":")[2].replace(".", " ").replace("_", " ")}
    return CONDITIONS.get(condition, condition)


def spoken_of(rows: Iterable[SpokenRow]) -> Spoken:
    """Rows of one study, by what was asked; equal samples are told once with their number."""
    asked: dict[tuple[str, str, str], list[SpokenRow]] = {}
    reports: list[SpokenRow] = []
    for row in rows:
        if row.kind == REPORT:
            reports.append(row)
        else:
            asked.setdefault((row.kind, row.finding, row.expected), []).append(row)
    return Spoken(
        questions=tuple(_question(kind, finding, found) for (kind, finding, _), found in asked.items()),
        reports=tuple(_told(reports)),
    )


def _question(kind: str, finding: str, rows: list[SpokenRow]) -> Question:
    plain = [row for row in rows if row.condition == PLAIN] or rows[:1]
    others = [row for row in rows if row is not plain[0]]
    return Question(
        kind=KINDS.get(ProbeKind(kind), kind),
        finding=finding,
        question=plain[0].question,
        expected=plain[0].expected,
        plain=_told(plain[:1])[0],
        others=tuple(_told(others)),
    )


def _told(rows: list[SpokenRow]) -> list[Answered]:
    alike = Counter((row.condition, row.question, row.text, row.answer, row.fault, row.judged) for row in rows)
    return [
        Answered(
            condition=condition_title(condition),
            question=question if condition == PARAPHRASE else "",
            text=text,
            answer="" if answer in UNSETTLED and judged else answer,
            state=("fail" if fault == "answer_wrong" else "insufficient") if fault else "pass",
            word=FAULTS.get(fault, "right") if judged else "",
            times=times,
        )
        for (condition, question, text, answer, fault, judged), times in alike.items()
    ]
