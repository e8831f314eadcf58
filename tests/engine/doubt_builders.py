"""Cohorts whose truth is known, and planted models that are asked by the plans of sampling and perturbation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from evaluation.engine import Protocol, ShardTable
from evaluation.engine.asking import Asking, CohortTruth, TruthRows, Utterances
from evaluation.engine.doubt import plan_perturbed, plan_samples, settled_rows
from evaluation.engine.probing import plan_probes
from evaluation.engine.protocol_sections import Perturbation, Probing, Sampling
from tests.engine.builders import protocol

FINDINGS = ("effusion", "pneumothorax", "cardiomegaly", "nodule")
READS = frozenset({"image", "text.indication"})
Model = Callable[[dict[str, Any]], str | None]
"""Gives a text for one row of a plan, as a dictionary, with ``shown``: the truth of the image that it is given."""


def asking_protocol(**sections: Any) -> Protocol:
    """A protocol by sex that probes the findings; ``sampling`` and ``perturbation`` as given, ``probing`` too."""
    base = replace(protocol(), minimum_denominator=10, minimum_cell=5)
    return replace(base, **{"probing": Probing(findings=FINDINGS, studies=100_000), **sections})


def cohort(rng: np.random.Generator, *, patients: int, most: int = 1) -> ShardTable:
    """Studies with labels for each finding, each present in two of five; up to ``most`` studies a patient."""
    count = rng.integers(1, most + 1, patients)
    owner = np.repeat(np.arange(patients), count)
    sex = rng.choice(["F", "M"], patients)[owner]
    n = len(owner)
    return ShardTable(
        patient_ids=np.array([f"p{i:05d}" for i in owner], dtype=object),
        study_ids=np.array([f"s{i:05d}" for i in range(n)], dtype=object),
        attributes={"sex": sex.astype(object)},
        labels={
            **{name: (rng.random(n) < 0.4).astype(np.int8) for name in FINDINGS},
            "x": rng.integers(0, 2, n).astype(np.int8),
        },
        decisions={"x": rng.integers(0, 2, n).astype(np.int8)},
    )


def planned(rules: Protocol, table: ShardTable, *, reads: frozenset[str] = READS) -> Asking:
    """Every row that the protocol asks of the table, the questions first."""
    rows = settled_rows(rules, table)
    probes = plan_probes(rules, rows, CohortTruth.of(rows), reads=reads) if rules.probing else Asking.of([])
    parts = []
    if rules.sampling:
        parts.append(plan_samples(rules, rows, probes, n_studies=len(table)))
    if rules.perturbation:
        parts.append(plan_perturbed(rules, rows, probes, reads=reads, n_studies=len(table)))
    return probes.join(*parts)


def ask(rules: Protocol, table: ShardTable, model: Model, *, truth: TruthRows | None = None) -> ShardTable:
    """The table with what a model answers to all that the protocol asks."""
    asked, known = planned(rules, table), truth or settled_rows(rules, table)
    text = np.array([model(seen(asked, known, row)) for row in range(len(asked))], dtype=object)
    utterances = Utterances(asked=asked, text=text, truncated=np.zeros(len(asked), dtype=bool))
    return replace(table, utterances=utterances)


def seen(asked: Asking, truth: TruthRows, row: int) -> dict[str, Any]:
    """One row of a plan, with the truth of the image that is shown: its own, the partner's, or none at all."""
    condition, finding = str(asked.condition[row]), str(asked.finding[row])
    study = int(asked.partner[row]) if condition == "swapped" else int(asked.study[row])
    shown = None
    if condition not in {"blank", "noise"} and finding in truth.findings:
        shown = int(truth.truth[study, truth.findings.index(finding)])
    return {
        "study": int(asked.study[row]), "finding": finding, "condition": condition, "shown": shown,
        "expected": str(asked.expected[row]), "turn": int(asked.turn[row]), "question": str(asked.question[row]),
        "kind": str(asked.kind[row]),
    }  # fmt: skip


def reads_the_image(row: dict[str, Any]) -> str:
    """Says what the image shows, and that it cannot tell where it shows nothing."""
    if row["shown"] is None:
        return "I cannot tell."
    return "Yes." if row["shown"] == 1 else "No."


def ignores_the_image(row: dict[str, Any]) -> str:
    """Says yes of two findings and no of the others, whoever is shown."""
    return "Yes." if row["finding"] in FINDINGS[:2] else "No."


SAMPLING = Sampling(of="answers", samples=5, studies=100_000, target_risk=0.1)
PERTURBATION = Perturbation(studies=100_000, dropped=("text.indication",))
