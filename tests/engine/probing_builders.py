"""Small cohorts that are asked questions, for tests of the probing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from evaluation.engine import Protocol, ShardTable
from evaluation.engine.asking import Asking, CohortTruth, TruthRows, Utterances
from evaluation.engine.probing import plan_probes
from tests.engine.builders import protocol

FINDINGS = ("effusion", "pneumothorax", "consolidation", "cardiomegaly", "edema", "fracture")
IMAGE = frozenset({"image"})
ALL_KINDS = ("random", "popular", "adversarial", "false_premise", "none_of_above", "wrong_image")
REFUSALS = {
    "id": "refusals", "metric": "refusal_rate_difference", "attribute": "sex", "direction": "at_most", "margin": 0.1
}  # fmt: skip
Speaker = Callable[[dict[str, Any]], str | None]


def asking(findings: Sequence[str] = FINDINGS, *, seed: int = 0, **probing: Any) -> Protocol:
    """A protocol that asks about these findings."""
    criteria = probing.pop("criteria", [REFUSALS])
    section = {"findings": list(findings), "kinds": list(ALL_KINDS), **probing}
    return protocol(labels=[], criteria=criteria, suites=["hallucination"], seed=seed, probing=section)


def truth_of(truth: Any, findings: Sequence[str] = FINDINGS, *, per_patient: int = 1, first: int = 0) -> TruthRows:
    """Studies s<first>, s<first+1>, ... of patients with ``per_patient`` each."""
    values = np.asarray(truth, dtype=np.int8)
    numbers = range(first, first + len(values))
    return TruthRows(
        study_ids=np.array([f"s{number:05d}" for number in numbers], dtype=object),
        patient_ids=np.array([f"p{number // per_patient:05d}" for number in numbers], dtype=object),
        findings=tuple(findings),
        truth=values,
    )


def some_truth(n: int, seed: int = 0, findings: int = len(FINDINGS)) -> Any:
    return np.random.default_rng(seed).choice([1, 0, -1], p=[0.3, 0.6, 0.1], size=(n, findings)).astype(np.int8)


def planned(rules: Protocol, rows: TruthRows, cohort: CohortTruth | None = None) -> Asking:
    return plan_probes(rules, rows, cohort or CohortTruth.of(rows), reads=IMAGE)


def rows_as_dicts(asked: Asking) -> list[dict[str, Any]]:
    return [{name: values[row] for name, values in vars(asked).items()} for row in range(len(asked))]


def answered(
    rows: TruthRows, asked: Asking, speaker: Speaker, *, truncated: Sequence[int] = (), sex: Sequence[str] | None = None
) -> ShardTable:
    """The table of studies whose questions are answered by a function of the row."""
    said = np.array([speaker(row) for row in rows_as_dicts(asked)], dtype=object)
    cut = np.zeros(len(asked), dtype=bool)
    cut[list(truncated)] = True
    groups = np.array(list(sex) if sex is not None else ["F"] * len(rows.study_ids), dtype=object)
    return ShardTable(
        patient_ids=rows.patient_ids,
        study_ids=rows.study_ids,
        attributes={"sex": groups},
        labels={},
        utterances=Utterances(asked=asked, text=said, truncated=cut),
    )


def perfect(row: dict[str, Any]) -> str:
    """Always right, whatever is asked."""
    if row["expected"] == "reject":
        return "It is not present."
    return f"{str(row['expected']).capitalize()}."
