"""What is asked again of which study: with chance, with the study changed, in other words.

Patients are chosen as for the questions (``probing.plan.chosen_rows``): by one hash of seed and patient, so that the
patients of a smaller number are among those of a larger one, and an answer to compare with is always there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from core.errors import ProtocolError
from evaluation.engine.asking import (
    BLANK,
    DROPPED,
    NOISE,
    PARAPHRASE,
    PLAIN,
    REPORT,
    SAMPLED,
    SWAPPED,
    Asking,
    Flags,
    Ints,
    TruthRows,
)
from evaluation.engine.probing.plan import NO, YES, chosen_rows
from evaluation.engine.probing.truth import ABSENT, PRESENT, truth_rows
from evaluation.engine.probing.wording import questions_for
from evaluation.engine.protocol import Perturbation, Probing, Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.text.pairing import vocabulary_for

ANSWERS, REPORTS = "answers", "reports"
CHANGED = (BLANK, NOISE, SWAPPED)
"""Conditions in which the modality of the protocol is taken away or replaced."""

MOST_PARAPHRASES = 2
Row = dict[str, Any]


def dropped(modality: str) -> str:
    """The condition in which a modality is taken away: ``dropped:text.indication``."""
    return f"{DROPPED}:{modality}"


def plan_samples(protocol: Protocol, rows: TruthRows, probes: Asking, *, n_studies: int) -> Asking:
    """The texts that are drawn with a temperature: ``sampling.samples`` of each report, or of each answer.

    About ``sampling.studies`` of the cohort's studies are asked, whole patients at a time. The rows of an answer are
    those of its question with the condition ``sampled`` and a ``turn``. The same question of a study, asked for several
    reasons, is drawn once; one that changes the study is not.

    Args:
        probes: What ``plan_probes`` gave for the same rows; not used where reports are drawn.
        n_studies: Studies of the whole cohort.

    Raises:
        ProtocolError: when the protocol has no sampling.
    """
    sampling = protocol.sampling
    if sampling is None:
        raise _lacks("sampling")
    chosen = chosen_rows(protocol.seed, rows.patient_ids, sampling.studies, n_studies)
    turns = np.arange(sampling.samples, dtype=np.int64)
    if sampling.of == REPORTS:
        units = Asking.of([{"study": study, "kind": REPORT} for study in chosen.tolist()])
    else:
        asked = np.flatnonzero((probes.condition == PLAIN) & np.isin(probes.study, chosen))
        units = probes.rows(_first_of(asked, [(int(probes.study[row]), str(probes.question[row])) for row in asked]))
    repeated = units.rows(np.repeat(np.arange(len(units)), len(turns)))
    return replace(repeated, condition=_same(SAMPLED, len(repeated)), turn=np.tile(turns, len(units)))


def plan_perturbed(
    protocol: Protocol,
    rows: TruthRows,
    probes: Asking,
    *,
    reads: frozenset[str],
    n_studies: int,
    given: Mapping[str, Flags] | None = None,
) -> Asking:
    """The same questions, or reports, of a study that is changed.

    Of the questions, those with a true and an untrue form (yes or no) are asked again, one of each study and finding.
    ``blank`` and ``noise`` change the protocol's modality, ``dropped:<modality>`` takes another away, ``swapped`` gives
    another patient's: for a question, of a study with the opposite truth of the finding; for a report, of a study that
    differs in the truth of at least one finding. Such a partner must lie in the same share; where there is none, that
    row is not asked. A row keeps the answer that is right for the study itself as ``expected``. ``paraphrase``
    rows have other words and a ``turn``; a report has no question to put in other words.

    Args:
        probes: What ``plan_probes`` gave for the same rows; not used where reports are perturbed.
        reads: Modalities that the model reads; what it does not read is not changed, see :func:`not_perturbed`.
        n_studies: Studies of the whole cohort.
        given: Modality -> bool [n]: the study has it. What a study lacks cannot be taken from it, and would look like a
            change that moves nothing; a modality that is not named here, every study has.

    Raises:
        ProtocolError: when the protocol has no perturbation.
    """
    perturbation = protocol.perturbation
    if perturbation is None:
        raise _lacks("perturbation")
    chosen = chosen_rows(protocol.seed, rows.patient_ids, perturbation.studies, n_studies)
    planner = _Planner(
        perturbation=perturbation,
        modality=protocol.probing.modality if protocol.probing else perturbation.modality,
        seed=protocol.seed,
        rows=rows,
        left_out=frozenset(not_perturbed(perturbation, reads)),
        given=given or {},
    )
    if perturbation.of == REPORTS:
        return Asking.of([row for study in chosen.tolist() for row in planner.of_report(study)])
    return Asking.of([row for place in units_of(probes, chosen).tolist() for row in planner.of_question(probes, place)])


def not_perturbed(perturbation: Perturbation, reads: frozenset[str]) -> dict[str, str]:
    """Conditions of the protocol that are not asked of a model that reads these modalities, and why, in words."""
    found = {}
    for kind in perturbation.kinds:
        if kind in CHANGED and perturbation.modality not in reads:
            found[kind] = f"the model does not read '{perturbation.modality}'"
    for modality in perturbation.dropped:
        if modality not in reads:
            found[dropped(modality)] = f"the model does not read '{modality}'"
    if perturbation.of == REPORTS and PARAPHRASE in perturbation.kinds:
        found[PARAPHRASE] = "a report answers no question that could be put in other words"
    return found


def units_of(probes: Asking, chosen: Ints) -> Ints:
    """Rows of the plain yes-or-no questions of the chosen studies: the first of each study and finding."""
    asked = (probes.condition == PLAIN) & np.isin(probes.expected, (YES, NO)) & np.isin(probes.study, chosen)
    rows = np.flatnonzero(asked)
    return _first_of(rows, [(int(probes.study[row]), str(probes.finding[row])) for row in rows])


def settled_rows(protocol: Protocol, table: ShardTable) -> TruthRows:
    """What is true of each study, of the findings of the probing; without one, of those on which reports are compared.

    Raises:
        ProtocolError: as ``probing.truth.truth_rows``.
    """
    words = vocabulary_for(protocol)
    if protocol.probing is not None:
        return truth_rows(protocol, table, vocabulary=words)
    named = protocol.reports.findings if protocol.reports else ("*",)
    findings = tuple(words.findings) if "*" in named else named
    return truth_rows(replace(protocol, probing=Probing(findings=findings)), table, vocabulary=words)


@dataclass(frozen=True, kw_only=True)
class _Planner:
    """Everything that the rows of one unit are made from.

    Attributes:
        modality: What the words of a question speak of.
        left_out: Conditions that are not asked.
        given: Modality -> the studies that have it; every study where it is not named.
    """

    perturbation: Perturbation
    modality: str
    seed: int
    rows: TruthRows
    left_out: frozenset[str]
    given: Mapping[str, Flags]

    def _conditions(self, study: int) -> Iterator[str]:
        """Those that change the study, but for ``swapped``."""
        yield from (kind for kind in (BLANK, NOISE) if self._changes(kind, study))
        for modality in self.perturbation.dropped:
            if dropped(modality) not in self.left_out and self._has(modality)[study]:
                yield dropped(modality)

    def _changes(self, kind: str, study: int) -> bool:
        return self._asks(kind) and bool(self._has(self.perturbation.modality)[study])

    def _asks(self, kind: str) -> bool:
        return kind in self.perturbation.kinds and kind not in self.left_out

    def _has(self, modality: str) -> Flags:
        return self.given.get(modality, self._everyone)

    @cached_property
    def _everyone(self) -> Flags:
        return np.ones(len(self.rows.study_ids), dtype=np.bool_)

    def of_report(self, study: int) -> Iterator[Row]:
        plain = {"study": study, "kind": REPORT}
        yield from ({**plain, "condition": condition} for condition in self._conditions(study))
        if self._changes(SWAPPED, study) and (partner := self._unlike(study)) is not None:
            yield {**plain, "condition": SWAPPED, "partner": partner}

    def of_question(self, probes: Asking, place: int) -> Iterator[Row]:
        plain = {
            "study": int(probes.study[place]), "kind": probes.kind[place], "finding": probes.finding[place],
            "expected": probes.expected[place], "question": probes.question[place],
        }  # fmt: skip
        yield from ({**plain, "condition": condition} for condition in self._conditions(plain["study"]))
        if self._changes(SWAPPED, plain["study"]):
            partner = self._opposite(plain["study"], plain["finding"], plain["expected"])
            if partner is not None:
                yield {**plain, "condition": SWAPPED, "partner": partner}
        if self._asks(PARAPHRASE):
            others = [
                words
                for words in questions_for(plain["kind"], plain["finding"], self.modality)
                if words != plain["question"]
            ]
            for turn, words in enumerate(others[:MOST_PARAPHRASES]):
                yield {**plain, "condition": PARAPHRASE, "question": words, "turn": turn}

    def _opposite(self, study: int, finding: str, expected: str) -> int | None:
        """A study of another patient for which the other answer is right."""
        truth = self.rows.truth[self._order, self.rows.findings.index(finding)]
        return self._drawn(study, finding, self._order[truth == (ABSENT if expected == YES else PRESENT)])

    def _unlike(self, study: int) -> int | None:
        """A study of another patient that is known to differ in a finding."""
        mine, others = self.rows.truth[study], self.rows.truth[self._order]
        known = (mine != others) & (mine >= ABSENT) & (others >= ABSENT)
        return self._drawn(study, "", self._order[known.any(axis=1)])

    def _drawn(self, study: int, finding: str, among: Ints) -> int | None:
        """One of the studies that is not of the same patient; which, is told by seed, study and finding."""
        others = among[self.rows.patient_ids[among] != self.rows.patient_ids[study]]
        if not len(others):
            return None
        rng = generator(self.seed, "perturbation", SWAPPED, str(self.rows.study_ids[study]), finding)
        return int(others[rng.integers(0, len(others))])

    @cached_property
    def _order(self) -> Ints:
        """Studies that can lend the modality, by name: who is drawn does not depend on the order in which they came."""
        order = np.argsort(self.rows.study_ids.astype(str), kind="stable").astype(np.int64)
        return order[self._has(self.perturbation.modality)[order]]


def _first_of(rows: Ints, keys: Sequence[tuple[int, str]]) -> Ints:
    """The first row of each key, in order."""
    first: dict[tuple[int, str], int] = {}
    for row, key in zip(rows.tolist(), keys, strict=True):
        first.setdefault(key, row)
    return np.array(list(first.values()), dtype=np.int64)


def _same(value: str, size: int) -> Any:
    made = np.empty(size, dtype=object)
    made[:] = value
    return made


def _lacks(section: str) -> ProtocolError:
    return ProtocolError(
        f"The protocol has no section '{section}'.", remedy=f"Add '{section}' to the protocol.", column=section
    )
