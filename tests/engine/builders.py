"""Small protocols and tables for the engine's tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from evaluation.engine import Protocol, ShardTable
from evaluation.engine.sketches.counts import Cells


def body(**changes: Any) -> dict[str, Any]:
    """A protocol body: one label, sex, a criterion on sensitivity."""
    base: dict[str, Any] = {
        "auscult_protocol": 1,
        "name": "test-v1",
        "title": "Test",
        "labels": [{"name": "x"}],
        "attributes": [{"name": "sex"}],
        "criteria": [
            {"id": "sex-tpr", "metric": "equal_opportunity_difference", "attribute": "sex", "direction": "at_most",
             "margin": 0.1}
        ],
        "bootstrap": {"replicates": 500},
    }  # fmt: skip
    return base | changes


def protocol(**changes: Any) -> Protocol:
    return Protocol.from_dict(body(**changes))


def table(frame: pd.DataFrame, labels: tuple[str, ...] = ("x",)) -> ShardTable:
    """A table from columns ``patient``, ``y_<label>``, ``d_<label>`` or ``s_<label>``; all others are attributes."""
    known = {"patient"} | {f"{kind}_{label}" for kind in "yds" for label in labels}
    return ShardTable(
        patient_ids=frame["patient"].astype(str).to_numpy(object),
        study_ids=np.array([f"s{i}" for i in range(len(frame))], dtype=object),
        attributes={name: frame[name].to_numpy(object) for name in frame.columns if name not in known},
        labels={label: frame[f"y_{label}"].to_numpy(np.int8) for label in labels},
        decisions={label: frame[f"d_{label}"].to_numpy(np.int8) for label in labels if f"d_{label}" in frame},
        scores={label: frame[f"s_{label}"].to_numpy(np.float64) for label in labels if f"s_{label}" in frame},
    )


def clustered(
    rng: np.random.Generator, *, patients: int, tpr: dict[str, float], fpr: float = 0.1, prevalence: float = 0.4,
    studies: int = 3, spread: float = 0.15,
) -> pd.DataFrame:  # fmt: skip
    """Studies of patients who are alike within themselves: the rate of a patient is the group's, give or take."""
    sex = rng.choice(sorted(tpr), patients)
    count = rng.integers(1, studies + 1, patients)
    owner = np.repeat(np.arange(patients), count)
    y = (rng.random(patients) < prevalence)[owner]
    wobble = np.where(rng.random(patients) < 0.5, spread, -spread)[owner]
    hit = np.clip(np.array([tpr[value] for value in sex])[owner] + wobble, 0, 1)
    d = rng.random(len(owner)) < np.where(y, hit, fpr)
    return pd.DataFrame({"patient": owner, "sex": sex[owner], "y_x": y.astype(int), "d_x": d.astype(int)})


def cells_of(totals: dict[str, tuple[int, int, int, int]]) -> Cells:
    """Cells of patients with one study each, from ``{group: (tp, fp, fn, tn)}``."""
    groups = tuple(sorted(totals))
    size = 4 * len(groups)
    counts = np.array([totals[group][cell] for group in groups for cell in range(4)], dtype=np.int64)
    used = counts > 0
    return Cells(
        groups=groups,
        vectors=np.eye(size, dtype=np.int64)[used],
        counts=counts[used],
        silent=np.zeros((len(groups), 2), dtype=np.int64),
    )
