"""What a model is asked beyond its report, and what it answered: rows that probing, sampling and perturbation share.

A plan (:class:`Asking`) is a function of protocol, cohort and study alone: whoever holds a share of the patients plans
the same questions for them. A worker asks, and keeps plan and answers together (:class:`Utterances`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]
Flags = npt.NDArray[np.bool_]

REPORT = "report"
"""The kind of a row that asks for a report, not a question."""

PLAIN, SAMPLED, BLANK, NOISE, SWAPPED, PARAPHRASE, DROPPED = (
    "plain", "sampled", "blank", "noise", "swapped", "paraphrase", "dropped",
)  # fmt: skip
"""Conditions: the study as it is; words drawn with a temperature; the modality of the protocol made blank, replaced by
noise, or by another patient's; the question in other words; another modality taken away (``dropped:<modality>``)."""


class ProbeKind(StrEnum):
    """Why a question is asked. ``PRESENT`` is true of the study; the others are not."""

    PRESENT = "present"
    RANDOM = "random"
    POPULAR = "popular"
    ADVERSARIAL = "adversarial"
    FALSE_PREMISE = "false_premise"
    NONE_OF_ABOVE = "none_of_above"
    WRONG_IMAGE = "wrong_image"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A plan of m rows. All arrays have length m.

    Attributes:
        study: int64, row of the table of studies.
        kind: str: a value of :class:`ProbeKind`, or ``report``.
        finding: str: what is asked about; "" for a report.
        expected: str: ``yes``, ``no``, ``reject`` (a false premise), the letter of an option, or "" for a report.
        pair: int64: rows of one study with one number of 0 or above are twins that must both be right; -1 for none.
        condition: str: one of the conditions above.
        turn: int64: number of the sample or the paraphrase, from 0.
        question: str: the words; "" for a report.
        partner: int64: row of the study whose modality is given instead (``swapped``); -1 for none.
    """

    study: Ints
    kind: Objects
    finding: Objects
    expected: Objects
    pair: Ints
    condition: Objects
    turn: Ints
    question: Objects
    partner: Ints

    def __len__(self) -> int:
        return len(self.study)

    @classmethod
    def of(cls, rows: list[dict[str, Any]]) -> Asking:
        """From one dictionary for each row; ``pair`` and ``partner`` are -1, ``condition`` plain, unless given."""
        ints = {"study", "pair", "turn", "partner"}
        defaults: dict[str, Any] = {
            "pair": -1, "partner": -1, "turn": 0, "condition": PLAIN, "finding": "", "expected": "", "question": "",
        }  # fmt: skip
        made: dict[str, Any] = {}
        for name in (item.name for item in fields(cls)):
            column = np.empty(len(rows), dtype=np.int64 if name in ints else object)
            column[:] = [row[name] if name in row else defaults[name] for row in rows]
            made[name] = column
        return cls(**made)

    def rows(self, chosen: Ints | Flags) -> Asking:
        """The chosen rows, in the order in which they are chosen."""
        return Asking(**{item.name: getattr(self, item.name)[chosen] for item in fields(self)})

    def join(self, *others: Asking) -> Asking:
        """These rows, then those of the others."""
        parts = (self, *others)
        return Asking(
            **{item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(self)}
        )


@dataclass(frozen=True, kw_only=True)
class Utterances:
    """A plan with what was answered.

    Attributes:
        text: str, or None where the model gave no answer (a modality that it needs is missing, or it cannot).
        truncated: The answer ended at the limit of tokens, not by itself.
        why_not: Part of the plan (``probing``, ``sampling``, ``perturbation``, a kind or a condition) -> why it was
            not asked at all, in words.
    """

    asked: Asking
    text: Objects
    truncated: Flags
    why_not: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.asked)

    @classmethod
    def none(cls, why_not: dict[str, str]) -> Utterances:
        """Nothing was asked, for these reasons."""
        return cls(
            asked=Asking.of([]), text=np.empty(0, dtype=object), truncated=np.zeros(0, dtype=np.bool_), why_not=why_not
        )

    def rows(self, chosen: Ints | Flags) -> Utterances:
        return Utterances(
            asked=self.asked.rows(chosen),
            text=self.text[chosen],
            truncated=self.truncated[chosen],
            why_not=self.why_not,
        )


@dataclass(frozen=True, kw_only=True)
class TruthRows:
    """What is true of n studies: the ground that questions are built on.

    Attributes:
        study_ids, patient_ids: str [n].
        findings: Names of k findings.
        truth: int8 [n, k]: 1 present, 0 absent, -1 where the reference standard is silent or uncertain.
    """

    study_ids: Objects
    patient_ids: Objects
    findings: tuple[str, ...]
    truth: npt.NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class CohortTruth:
    """How common findings are in the whole cohort, alone and together. Sums, so shares of the patients add up.

    Attributes:
        n_studies: Studies of the cohort.
        positives: int64 [k], studies with each finding.
        together: int64 [k, k], studies with both; the diagonal is ``positives``.
    """

    findings: tuple[str, ...]
    n_studies: int
    positives: Ints
    together: Ints

    @classmethod
    def of(cls, rows: TruthRows) -> CohortTruth:
        present = (rows.truth == 1).astype(np.int64)
        together = present.T @ present
        common = np.diag(together).copy()
        return cls(findings=rows.findings, n_studies=len(present), positives=common, together=together)

    def merge(self, other: CohortTruth) -> CohortTruth:
        """Both together; they are of the same findings and of different studies."""
        return CohortTruth(
            findings=self.findings,
            n_studies=self.n_studies + other.n_studies,
            positives=self.positives + other.positives,
            together=self.together + other.together,
        )
