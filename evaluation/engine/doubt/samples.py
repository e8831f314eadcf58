"""Units of which several texts were drawn: how unsure the model was of each, and whether it was wrong."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.asking import PLAIN, REPORT, SAMPLED, Utterances
from evaluation.engine.doubt.entropy import LEAST_SAMPLES, agreeing, normalised_entropy, shared_ngrams
from evaluation.engine.doubt.plan import REPORTS
from evaluation.engine.doubt.readings import ABSTAINS, answer_meanings, report_meanings
from evaluation.engine.probing.answers import read_answers
from evaluation.engine.protocol import Protocol
from evaluation.engine.protocol_sections import Reports
from evaluation.engine.records import ShardTable
from evaluation.engine.text.marking import mark_table, texts_of
from evaluation.engine.text.marks import MarkedPair, MarkKind
from evaluation.engine.text.pairing import ReportRules, vocabulary_for

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
WRONG = frozenset({MarkKind.UNSUPPORTED, MarkKind.CONTRADICTED})
NOT_SCORED = frozenset({"no_reference", "unsupported_language", "abstained"})


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One report or answer of which texts were drawn, or one that has too few of them.

    Attributes:
        study: Row of the table.
        error: 1 where the text written without chance is wrong, 0 where it is right, None where it cannot be held
            against the truth: it declines, cannot be read, or there is no truth.
        declined: The text written without chance is missing or declines.
        entropy: Normalised semantic entropy of the samples; None with fewer than two.
        samples: Texts that were drawn and given; ``agreeing``: those with the meaning of the text without chance. Both
            are 0 where there is no such text.
        shared: Share of n-grams in common, see ``entropy.shared_ngrams``.
    """

    study: int
    error: int | None
    declined: bool
    entropy: float | None
    samples: int
    agreeing: int
    shared: float | None


def units_drawn(protocol: Protocol, table: ShardTable) -> list[Unit]:
    """Every unit of a table that texts were drawn for, in the order in which they were asked.

    A report is wrong where it has a finding that the expert's report does not support, or that one of the two asserts
    and the other denies. An answer is wrong where it settles the question otherwise than is expected.
    """
    if table.utterances is None or protocol.sampling is None:
        return []
    if protocol.sampling.of == REPORTS:
        return _reports(protocol, table, table.utterances)
    return _answers(protocol, table.utterances)


def _reports(protocol: Protocol, table: ShardTable, utterances: Utterances) -> list[Unit]:
    drawn = _drawn(utterances, (utterances.asked.kind == REPORT))
    studies = np.array(list(drawn), dtype=np.int64)
    if not len(studies):
        return []
    rules_of = protocol if protocol.reports else replace(protocol, reports=Reports(findings=("*",)))
    rules = ReportRules.of(rules_of)
    plain = [text if isinstance(text, str) else None for text in texts_of(table, "generated")[studies]]
    rows = [row for found in drawn.values() for row in found]
    meanings = report_meanings([*plain, *utterances.text[rows]], rules.findings, rules.vocabulary)
    sense = dict(zip(rows, meanings[len(plain) :], strict=True))
    pairs = mark_table(rules_of, _part(table, studies))
    return [
        _unit(
            study, _error_of(pair, text), text is None or meaning == ABSTAINS, text, meaning,
            [sense[row] for row in drawn[study]], [utterances.text[row] for row in drawn[study]],
        )
        for study, text, meaning, pair in zip(studies.tolist(), plain, meanings[: len(plain)], pairs, strict=True)
    ]  # fmt: skip


def _error_of(pair: MarkedPair, text: str | None) -> int | None:
    """Whether a report is wrong; None where nothing is written, or it cannot be held against an expert's."""
    if not (text or "").strip() or not NOT_SCORED.isdisjoint(pair.flags):
        return None
    return int(any(mark.kind in WRONG for mark in pair.generated))


def _part(table: ShardTable, rows: Ints) -> ShardTable:
    """The texts of some studies, for the comparison with the expert's."""
    return ShardTable(
        patient_ids=table.patient_ids[rows],
        study_ids=table.study_ids[rows],
        attributes={},
        labels={},
        texts={name: values[rows] for name, values in table.texts.items()},
        truncated={name: values[rows] for name, values in table.truncated.items()},
    )


def _answers(protocol: Protocol, utterances: Utterances) -> list[Unit]:
    asked = utterances.asked
    answers = read_answers(utterances, vocabulary_for(protocol))
    drawn = _drawn(utterances, asked.kind != REPORT, by_question=True)
    plain = {
        (int(asked.study[row]), str(asked.question[row])): row
        for row in np.flatnonzero((asked.condition == PLAIN) & (asked.kind != REPORT))[::-1].tolist()
    }
    units = []
    for key, rows in drawn.items():
        first = plain.get(key)
        if first is None:
            continue
        used = [first, *rows]
        own, *meanings = answer_meanings([answers[row] for row in used], [utterances.text[row] for row in used])
        answer, text = answers[first], utterances.text[first]
        error = int(str(answer) != asked.expected[first]) if answer.settled else None
        words = [str(utterances.text[row]) for row in rows]
        declined = answer is type(answer).REFUSED
        units.append(_unit(key[0], error, declined, text, own, meanings, words))
    return units


def _drawn(
    utterances: Utterances, of_kind: npt.NDArray[np.bool_], *, by_question: bool = False
) -> dict[Any, list[int]]:
    """Rows of the samples that were given, by study or by study and question; units without one are kept."""
    asked = utterances.asked
    found: dict[Any, list[int]] = {}
    for row in np.flatnonzero((asked.condition == SAMPLED) & of_kind).tolist():
        study = int(asked.study[row])
        rows = found.setdefault((study, str(asked.question[row])) if by_question else study, [])
        if isinstance(utterances.text[row], str):
            rows.append(row)
    return found


def _unit(
    study: int,
    error: int | None,
    declined: bool,
    plain: str | None,
    own: Hashable,
    meanings: Sequence[Hashable],
    words: Sequence[str],
) -> Unit:
    known = isinstance(plain, str) and len(meanings) >= LEAST_SAMPLES
    return Unit(
        study=study,
        error=error,
        declined=declined,
        entropy=normalised_entropy(meanings),
        samples=len(meanings) if known else 0,
        agreeing=agreeing(own, meanings) if known else 0,
        shared=shared_ngrams(plain or "", words) if known else None,
    )
