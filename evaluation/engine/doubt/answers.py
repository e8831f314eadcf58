"""Answers to a study that was changed, beside the answers to the study as it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evaluation.engine.asking import PLAIN, REPORT, TruthRows, Utterances
from evaluation.engine.doubt.plan import REPORTS, settled_rows
from evaluation.engine.doubt.readings import NO, YES, States, answer_states, report_states
from evaluation.engine.probing.truth import ABSENT, PRESENT
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.text.marking import texts_of
from evaluation.engine.text.pairing import vocabulary_for

RIGHT = {"yes": YES, "no": NO}
"""What is expected -> the state that is right."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question about one study, with all that was answered to it.

    Attributes:
        study: Row of the table.
        right: The state that is right of the study itself: yes or no.
        plain: The state of the answer to the study as it is.
        under: Condition -> states of the answers under it; several for paraphrases.
    """

    study: int
    right: int
    plain: int
    under: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


def questions_again(protocol: Protocol, table: ShardTable, conditions: Collection[str]) -> Iterator[Asked]:
    """Every question that was asked of a study as it is and again under one of some conditions, with these answers.

    Where reports are perturbed, findings that the reference settles are such questions, and what a report says of one
    is the answer: as many absent findings of a study as present ones, drawn by the protocol's seed. Most findings are
    absent, and a report that says nothing is right about these: without the balance it would hardly be seen that a
    model does not look. A study without a finding that is present is not counted.
    """
    utterances, perturbation = table.utterances, protocol.perturbation
    if utterances is None or perturbation is None or not len(utterances):
        return
    if perturbation.of == REPORTS:
        found = _reports(protocol, table, utterances, conditions)
    else:
        found = _questions(protocol, utterances, conditions)
    yield from (item for item in found if item.under)


def _questions(protocol: Protocol, utterances: Utterances, conditions: Collection[str]) -> Iterator[Asked]:
    wanted = np.isin(utterances.asked.condition.astype(str), [PLAIN, *conditions])
    utterances = utterances.rows(wanted & (utterances.asked.kind != REPORT))
    asked, states = utterances.asked, answer_states(utterances, vocabulary_for(protocol))
    units: dict[tuple[int, str, str], Asked] = {}
    keys = list(zip(asked.study.tolist(), asked.kind.tolist(), asked.finding.tolist(), strict=True))
    for row in np.flatnonzero(asked.condition == PLAIN).tolist():
        if asked.expected[row] in RIGHT:
            units.setdefault(
                keys[row], Asked(study=keys[row][0], right=RIGHT[asked.expected[row]], plain=int(states[row]))
            )  # fmt: skip
    for row in np.flatnonzero(asked.condition != PLAIN).tolist():
        if keys[row] in units:
            units[keys[row]].under[str(asked.condition[row])].append(int(states[row]))
    yield from units.values()


def _reports(
    protocol: Protocol, table: ShardTable, utterances: Utterances, conditions: Collection[str]
) -> Iterator[Asked]:
    asked = utterances.asked
    again = np.flatnonzero((asked.kind == REPORT) & np.isin(asked.condition.astype(str), list(conditions)))
    if not len(again):
        return
    truth, words = settled_rows(protocol, table), vocabulary_for(protocol)
    studies = np.unique(asked.study[again])
    plain = report_states(_texts(texts_of(table, "generated")[studies]), truth.findings, words)
    states = report_states(_texts(utterances.text[again]), truth.findings, words)
    place = {study: row for row, study in enumerate(studies.tolist())}
    units: dict[tuple[int, int], Asked] = {}
    for study, row in place.items():
        for finding, right in _balanced(protocol.seed, truth, study):
            units[study, finding] = Asked(study=study, right=right, plain=int(plain[row, finding]))
    for line, row in enumerate(again.tolist()):
        _add(units, int(asked.study[row]), str(asked.condition[row]), states[line])
    yield from units.values()


def _balanced(seed: int, truth: TruthRows, study: int) -> Iterator[tuple[int, int]]:
    """As many findings of a study that are absent as that are present, each with the state that is right."""
    rng = generator(seed, "perturbation", REPORT, str(truth.study_ids[study]))
    sides = [rng.permutation(np.flatnonzero(truth.truth[study] == value)) for value in (PRESENT, ABSENT)]
    most = min(len(side) for side in sides)
    for side, right in zip(sides, (YES, NO), strict=True):
        yield from ((finding, right) for finding in side[:most].tolist())


def _add(units: dict[tuple[int, int], Asked], study: int, condition: str, states: States) -> None:
    for finding, state in enumerate(states.tolist()):
        if (study, finding) in units:
            units[study, finding].under[condition].append(state)


def _texts(texts: npt.NDArray[np.object_]) -> list[str | None]:
    return [text if isinstance(text, str) else None for text in texts]
