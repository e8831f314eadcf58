"""The records that cross the engine's boundary. Frozen, keyword-only, and plain enough to become JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from evaluation.engine.asking import Utterances
    from evaluation.engine.drift.records import StudyStreams

UNKNOWN = "Unknown"
"""The group of studies whose attribute is missing or not plausible."""

ALL = "All"
"""The group of every study."""


class Outcome(StrEnum):
    """Judgement of a criterion. There is no fourth: what cannot be computed is insufficient evidence."""

    PASS = "pass"
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


@dataclass(frozen=True, kw_only=True)
class ShardTable:
    """Studies with what the model said about them: what a sketch is updated with. All arrays have length n.

    Attributes:
        patient_ids, study_ids: Arrays of str.
        attributes: Name -> array of object: str, int, float, or None where it is missing.
        labels: Label -> int8: 1, 0, or -1 where the reference standard is silent.
        scores: Label -> float64 in [0, 1], NaN where the model gave none.
        decisions: Label -> int8: 1, 0, or -1 where there is none; given by the model, not by our threshold.
        texts: Field (``reference``, ``generated``) -> array of object: str or None.
        splits: Value of the column ``split``, str or None; None where the data have no such column.
        truncated: Field of ``texts`` -> bool: the text ended at the model's limit of tokens, not by itself.
        facts: What the model was given beside, for checks of what it says; None where no suite asks.
        utterances: What the model was asked beyond its report, with its answers; None where no suite asks.
        judged_by: Judge -> what it said of each study's report, see ``evaluation.engine.judges``.
        streams: What is watched for drift; None where no suite asks.
    """

    patient_ids: npt.NDArray[np.object_]
    study_ids: npt.NDArray[np.object_]
    attributes: dict[str, npt.NDArray[np.object_]]
    labels: dict[str, npt.NDArray[np.int8]]
    scores: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    decisions: dict[str, npt.NDArray[np.int8]] = field(default_factory=dict)
    texts: dict[str, npt.NDArray[np.object_]] = field(default_factory=dict)
    splits: npt.NDArray[np.object_] | None = None
    truncated: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    facts: StudyFacts | None = None
    utterances: Utterances | None = None
    judged_by: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    streams: StudyStreams | None = None

    def __len__(self) -> int:
        return len(self.patient_ids)

    @classmethod
    def joined_decisions(cls, parts: Sequence[ShardTable]) -> ShardTable:
        """Who was studied and what was decided, part after part; without texts and what is watched beside."""

        def column(name: str) -> dict[str, Any]:
            return {
                key: np.concatenate([getattr(part, name)[key] for part in parts]) for key in getattr(parts[0], name)
            }

        splits = [part.splits for part in parts if part.splits is not None]
        return cls(
            patient_ids=np.concatenate([part.patient_ids for part in parts]),
            study_ids=np.concatenate([part.study_ids for part in parts]),
            attributes=column("attributes"),
            labels=column("labels"),
            scores=column("scores"),
            decisions=column("decisions"),
            splits=np.concatenate(splits) if splits else None,
        )


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """What n studies hold that a model may speak of. All arrays have length n.

    Attributes:
        prior: bool: an earlier study was given to the model.
        given: Modality (``image``, ``text.indication``, ``series.crp``) -> bool: the study has it.
        series: Analyte -> object: float64 [t, 2] of (hours, value) in the protocol's unit of it, or None.
    """

    prior: npt.NDArray[np.bool_]
    given: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    series: dict[str, npt.NDArray[np.object_]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number with everything that is needed to trust it.

    Attributes:
        value: The number, or None when it is undefined or suppressed; ``reason`` then says why.
        low, high: Interval at ``level`` (None where there is none).
        n: Studies in the denominator. For a difference between groups: in the smaller group.
        patients: Patients that these studies belong to.
        group: Group name; for a comparison of groups, the two or more names joined with `` vs ``.
        method: How the interval was made, such as ``wilson``, ``patient-cluster bootstrap``.
    """

    suite: str
    metric: str
    metric_version: str
    label: str
    attribute: str
    group: str
    value: float | None
    reason: str
    low: float | None
    high: float | None
    level: float
    n: int | None
    patients: int | None
    method: str
    seed: int | None
    detail: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return _fields_of(self)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The judgement of one criterion for one label and attribute.

    Attributes:
        criterion: Identifier of the criterion in the protocol.
        statement: The verdict in a sentence for a committee, number, interval and n included.
        value, low, high: What was held against ``margin``.
        n, patients: Studies in the denominators of all the groups compared, and the patients they belong to.
        p_value, p_adjusted: Of the hypothesis that the criterion holds, before and after Holm (primary criteria)
            or Benjamini-Hochberg (exploratory ones); None where no test could be made.
        needed: For insufficient evidence, what would suffice.
    """

    criterion: str
    metric: str
    label: str
    attribute: str
    groups: tuple[str, ...]
    outcome: Outcome
    primary: bool
    direction: str
    margin: float
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    patients: int | None
    p_value: float | None
    p_adjusted: float | None
    statement: str
    needed: str = ""

    def to_dict(self) -> dict[str, Any]:
        return _fields_of(self) | {"outcome": self.outcome.value, "groups": list(self.groups)}

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Verdict:
        """Read what :meth:`to_dict` wrote."""
        return cls(**{**body, "outcome": Outcome(body["outcome"]), "groups": tuple(body["groups"])})


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What one method of mitigation would do to a criterion that failed, measured on patients it was not fitted on.

    Attributes:
        method: Such as ``ThresholdOptimizer``; ``title`` says it in a reader's words.
        before, after: Gap of the criterion's metric on the held-out half of the patients, as audited and mitigated;
            None where it cannot be computed, and ``reason`` says why.
        n_fit, n_held_out: Studies of each half.
        costs: Rate -> (before, after) over all groups together, on the held-out half.
        detail: What was fitted, such as thresholds by group.
    """

    criterion: str
    metric: str
    label: str
    attribute: str
    method: str
    title: str
    before: float | None
    after: float | None
    reason: str
    n_fit: int
    n_held_out: int
    costs: dict[str, tuple[float | None, float | None]]
    detail: dict[str, Any]
    caution: str

    def to_dict(self) -> dict[str, Any]:
        return _fields_of(self) | {"costs": {name: list(pair) for name, pair in self.costs.items()}}


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What the engine made of the merged sketches.

    Attributes:
        outcome: Fail if a primary criterion failed, else insufficient if one lacked evidence, else pass.
        advice: What could reduce the gaps of criteria that failed.
        notes: Facts about the data that a reader must know: unknown demographics, patients that span groups.
        cross_checks: Comparisons with an independent library: name, cells compared, largest difference.
    """

    measurements: tuple[Measurement, ...]
    verdicts: tuple[Verdict, ...]
    outcome: Outcome
    notes: tuple[str, ...] = ()
    cross_checks: tuple[dict[str, Any], ...] = ()
    advice: tuple[Advice, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome.value,
            "measurements": [item.to_dict() for item in self.measurements],
            "verdicts": [item.to_dict() for item in self.verdicts],
            "notes": list(self.notes),
            "cross_checks": list(self.cross_checks),
            "advice": [item.to_dict() for item in self.advice],
        }


def _fields_of(record: Measurement | Verdict | Advice) -> dict[str, Any]:
    """The fields of a record by name. ``detail`` is not copied: a record is not changed, nor is what it was made of."""
    return {item.name: getattr(record, item.name) for item in fields(record)}
