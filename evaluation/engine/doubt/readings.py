"""What is heard in an answer or a report: a state of each question, and a meaning by which texts are told apart."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from evaluation.engine.asking import Utterances
from evaluation.engine.probing.answers import Answer, read_answers
from evaluation.engine.probing.truth import finding_in
from evaluation.engine.text.ontology import Ontology
from evaluation.engine.text.pairing import Said
from evaluation.engine.text.records import Assertion, ReadText

States = npt.NDArray[np.int8]
YES, NO, REFUSED, UNCLEAR = range(4)
STATES = ("yes", "no", "refused", "unclear")
"""What an answer comes to. ``refused``: it declines, or there is none. ``unclear``: it cannot be read, was cut short,
or a report calls the finding possible. Neither is "no"."""

NONE = -1
ABSTAINS = "abstains"
"""The meaning of every report that declines."""

_STATE = {Answer.YES: YES, Answer.NO: NO, Answer.REFUSED: REFUSED}


def answer_states(utterances: Utterances, vocabulary: Ontology) -> States:
    """The state of every answer to a yes-or-no question, int8 [m]; -1 for a report."""
    answers = read_answers(utterances, vocabulary)
    found = [NONE if answer is None else _STATE.get(answer, UNCLEAR) for answer in answers]
    return np.array(found, dtype=np.int8)


def report_states(texts: Iterable[str | None], findings: Sequence[str], vocabulary: Ontology) -> States:
    """What each report says of each finding, int8 [m, k].

    Present, or implied by what is present: yes. Only possible: unclear. Denied or not mentioned: no. A report that is
    missing, blank or declines refuses every finding; one that is not English is unclear on all.
    """
    meant = [finding_in(name, vocabulary) for name in findings]
    rows = [_states(text, meant, vocabulary) for text in _read(texts, vocabulary)]
    return np.array(rows, dtype=np.int8).reshape(len(rows), len(meant))


def report_meanings(texts: Iterable[str | None], findings: frozenset[str], vocabulary: Ontology) -> list[Hashable]:
    """The meaning of each report: the findings that it calls present, and those that it calls possible.

    A finding that is denied and one that is not mentioned mean the same here: a report is not unsure because it spells
    out other negatives. A report that declines means only that; one in another language, nothing but itself.
    """
    return [_meaning(text, findings, place) for place, text in enumerate(_read(texts, vocabulary))]


def answer_meanings(answers: Iterable[Answer], texts: Iterable[str | None]) -> list[Hashable]:
    """The meaning of each answer: yes, no, a letter, a refusal; of one that cannot be read, its own words."""
    return [
        answer if answer.settled or answer is Answer.REFUSED else " ".join((text or "").lower().split())
        for answer, text in zip(answers, texts, strict=True)
    ]


def _read(texts: Iterable[str | None], vocabulary: Ontology) -> Iterator[ReadText]:
    from evaluation.engine.text.reading import read_texts

    return read_texts(texts, vocabulary)


def _states(text: ReadText, meant: Sequence[tuple[str, ...]], vocabulary: Ontology) -> list[int]:
    if text.abstains:
        return [REFUSED] * len(meant)
    if not text.supported:
        return [UNCLEAR] * len(meant)
    said = Said(text, vocabulary)
    return [
        YES if not said.implied.isdisjoint(known) else UNCLEAR if not said.likely.isdisjoint(known) else NO
        for known in meant
    ]


def _meaning(text: ReadText, findings: frozenset[str], place: int) -> Hashable:
    if not text.supported:
        return place
    if text.abstains:
        return ABSTAINS
    present, possible = (
        {claim.finding for claim in text.claims if claim.assertion is wanted and claim.finding in findings}
        for wanted in (Assertion.PRESENT, Assertion.UNCERTAIN)
    )
    return frozenset(present), frozenset(possible - present)
