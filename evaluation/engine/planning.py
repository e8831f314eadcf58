"""What a model is to be asked about one share of the patients, before there is a model.

A plan is a function of protocol, cohort, share and of what the model declares; whoever plans gets the same questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.digests import sha256_json
from evaluation.engine.asking import (
    BLANK,
    DROPPED,
    NOISE,
    SWAPPED,
    Asking,
    CohortTruth,
    ProbeKind,
    TruthRows,
)
from evaluation.engine.doubt import not_perturbed, plan_perturbed, plan_samples, settled_rows
from evaluation.engine.probing import not_asked, plan_probes, truth_rows
from evaluation.engine.probing.wording import wording
from evaluation.engine.protocol import Protocol as Rules
from evaluation.engine.records import ShardTable
from evaluation.engine.sketch import audited
from evaluation.engine.text.pairing import vocabulary_for

if TYPE_CHECKING:
    from models_registry.cohorts import CohortReader
    from models_registry.cohorts.schema import ShardRef

REFERENCE = "text.reference"
ANSWER, GENERATE = "answer", "generate"
NO_ANSWERS = "the model answers no questions"
NO_REPORTS = "the model writes no reports"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked about a share.

    Attributes:
        asked: Rows of the plan; ``study`` and ``partner`` are rows of the share.
        modality: str [m]: what a row's condition changes; "" where it changes none.
        temperature: Of the rows that are sampled.
        seed: Of noise.
        why_not: What the model is not asked, and why.
    """

    asked: Asking
    modality: npt.NDArray[np.object_]
    temperature: float
    seed: int
    why_not: dict[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides what a model is given."""
        rows = {name: values.tolist() for name, values in vars(self.asked).items()}
        body = {"rows": rows, "modality": self.modality.tolist(), "temperature": self.temperature, "seed": self.seed}
        return sha256_json(body | {"why_not": self.why_not})


def asks(rules: Rules) -> bool:
    """Whether the protocol wants more of a model than its predictions."""
    return any(part is not None for part in (rules.probing, rules.sampling, rules.perturbation))


def predicts(rules: Rules) -> bool:
    """Whether the model's predictions are needed: not where it is asked questions alone."""
    others = (rules.sampling, rules.perturbation)
    return bool(rules.labels or rules.reports) or any(part is not None and part.of == "reports" for part in others)


def reference_table(rules: Rules, reader: CohortReader, part: ShardRef) -> ShardTable:
    """Who the studies of a share are of and what is true of them, without what a model says; all rows of the share."""
    columns = reader.manifest.columns
    attributes = [*rules.attribute_columns, *(["split"] if rules.splits else [])]
    texts = ["reference"] if rules.reports or (asks(rules) and REFERENCE in columns) else []
    found = reader.reference(part, attributes=attributes, texts=texts)
    return ShardTable(
        patient_ids=found.patient_ids,
        study_ids=found.study_ids,
        attributes=found.attributes,
        labels=found.labels,
        texts=found.texts,
        splits=found.attributes.get("split"),
    )


def count_cohort(rules: Rules, reader: CohortReader) -> CohortTruth:
    """How common the findings of the probing are among the audited studies of the whole cohort."""
    found = [
        CohortTruth.of(_truth(rules, audited(rules, reference_table(rules, reader, part)))) for part in reader.shards
    ]
    return reduce(CohortTruth.merge, found)


def truth_key(rules: Rules, reader: CohortReader) -> str:
    """Digest of everything that :func:`count_cohort` rests on."""
    return sha256_json(
        {
            "kind": "cohort truth",
            "cohort": reader.manifest.digest,
            "findings": list(rules.probing.findings) if rules.probing else [],
            "splits": rules.splits.to_dict() if rules.splits else None,
            "vocabulary": vocabulary_for(rules).digest,
            "wording": wording().version,
        }
    )


def plan_share(
    rules: Rules, reader: CohortReader, part: ShardRef, truth: CohortTruth, *, declared: Mapping[str, Any]
) -> Plan:
    """The plan of one share.

    Args:
        truth: Of the whole cohort, see :func:`count_cohort`.
        declared: What the model's adapter declared: ``AdapterInfo.to_dict()``.

    Raises:
        ProtocolError: a finding of the probing cannot be asked about in this cohort.
    """
    table = reference_table(rules, reader, part)
    judged = audited(rules, table)
    reads = _reads(declared, reader.manifest.columns)
    able = set(declared.get("capabilities", []))
    why = dict(_cannot(rules, able, reads))
    probes = Asking.of([])
    if rules.probing and "probing" not in why:
        probes = plan_probes(rules, _truth(rules, judged), truth, reads=reads)
        probes = _with_partners(probes, _given(reader, part, ("image",), table, judged))
    parts = [probes]
    if rules.sampling and "sampling" not in why:
        rows = _truth(rules, judged)
        parts.append(plan_samples(rules, rows, probes, n_studies=truth.n_studies))
    if rules.perturbation and "perturbation" not in why:
        rows = settled_rows(rules, judged)
        given = _given(reader, part, (rules.perturbation.modality, *rules.perturbation.dropped), table, judged)
        parts.append(plan_perturbed(rules, rows, probes, reads=reads, n_studies=truth.n_studies, given=given))
    asked = parts[0].join(*parts[1:])
    asked = asked.rows(np.array([_is_asked(*row, why) for row in zip(asked.kind, asked.condition, strict=True)], bool))
    return Plan(
        asked=_in_share(asked, table, judged),
        modality=_modalities(rules, asked),
        temperature=rules.sampling.temperature if rules.sampling else 1.0,
        seed=rules.seed,
        why_not=why,
    )


def _truth(rules: Rules, table: ShardTable) -> TruthRows:
    """What is true of the findings of the probing; of none where nothing is asked."""
    if rules.probing is None:
        return _no_truth(table)
    return truth_rows(rules, table, vocabulary=vocabulary_for(rules))


def _no_truth(table: ShardTable) -> TruthRows:
    empty = np.zeros((len(table), 0), dtype=np.int8)
    return TruthRows(study_ids=table.study_ids, patient_ids=table.patient_ids, findings=(), truth=empty)


def _reads(declared: Mapping[str, Any], columns: Iterable[str]) -> frozenset[str]:
    """The cohort's columns that the model reads. A log of predictions declares none: whoever made it knows."""
    wanted = set(declared.get("modalities", []))
    kinds = tuple(name.removesuffix("*") for name in wanted if name.endswith(".*"))
    return frozenset(name for name in columns if not wanted or name in wanted or (kinds and name.startswith(kinds)))


def _cannot(rules: Rules, able: set[str], reads: frozenset[str]) -> Iterable[tuple[str, str]]:
    """Sections, kinds and conditions that the model cannot be asked, each with why."""
    answers, reports = ANSWER in able, GENERATE in able
    if rules.probing and not answers:
        yield "probing", NO_ANSWERS
    elif rules.probing:
        yield from not_asked(rules.probing, reads).items()
    if rules.sampling and not (answers if rules.sampling.of == "answers" else reports):
        yield "sampling", NO_ANSWERS if rules.sampling.of == "answers" else NO_REPORTS
    if rules.perturbation is None:
        return
    of_answers = rules.perturbation.of == "answers"
    if not (answers if of_answers else reports):
        yield "perturbation", NO_ANSWERS if of_answers else NO_REPORTS
    yield from not_perturbed(rules.perturbation, reads).items()


def _is_asked(kind: str, condition: str, why: Mapping[str, str]) -> bool:
    """A wrong image is a question of the probing, also where nothing of the perturbation can be swapped."""
    return kind == ProbeKind.WRONG_IMAGE or condition not in why


def _given(
    reader: CohortReader, part: ShardRef, names: Sequence[str], table: ShardTable, judged: ShardTable
) -> dict[str, npt.NDArray[np.bool_]]:
    """Which of the audited studies have a modality; one that is no column of the cohort is left out."""
    rows = _rows_of(table, judged)
    return {name: ~reader.missing(part, name)[rows] for name in names if name in reader.manifest.columns}


def _with_partners(probes: Asking, given: Mapping[str, npt.NDArray[np.bool_]]) -> Asking:
    """Without the questions on another patient's image where that patient, or this one, has none."""
    if "image" not in given or not len(probes):
        return probes
    there = given["image"]
    swapped = probes.kind == ProbeKind.WRONG_IMAGE
    return probes.rows(~swapped | (there[probes.partner] & there[probes.study]))


def _rows_of(table: ShardTable, judged: ShardTable) -> npt.NDArray[np.int64]:
    """Where each audited study stands in the share."""
    place = {study: row for row, study in enumerate(table.study_ids)}
    return np.array([place[study] for study in judged.study_ids], dtype=np.int64)


def _in_share(asked: Asking, table: ShardTable, judged: ShardTable) -> Asking:
    """Rows of the audited studies as rows of the share."""
    rows = _rows_of(table, judged)
    if not len(asked):
        return asked
    partner = np.where(asked.partner >= 0, rows[asked.partner], -1)
    return replace(asked, study=rows[asked.study], partner=partner)


def _modalities(rules: Rules, asked: Asking) -> npt.NDArray[np.object_]:
    """What each row's condition changes. A wrong image is one of the probing, whatever else is perturbed."""
    made = np.full(len(asked), "", dtype=object)
    for row, (kind, condition) in enumerate(zip(asked.kind, asked.condition, strict=True)):
        if kind == ProbeKind.WRONG_IMAGE and condition == SWAPPED and rules.probing:
            made[row] = rules.probing.modality
        elif condition in (BLANK, NOISE, SWAPPED) and rules.perturbation:
            made[row] = rules.perturbation.modality
        elif condition.startswith(f"{DROPPED}:"):
            made[row] = condition.partition(":")[2]
    return made
