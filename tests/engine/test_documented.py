"""The examples of docs/engine.md, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.engine import ShardTable

DOCS = Path(__file__).resolve().parents[2] / "docs" / "engine.md"
LABELS = ("effusion", "pneumothorax", "consolidation", "cardiomegaly")


def predictions(prefix: str, seed: int) -> pd.DataFrame:
    rng, size = np.random.default_rng(seed), 300
    columns: dict[str, Any] = {
        "patient_id": [f"{prefix}{i}" for i in range(size)],
        "study_id": [f"{prefix}s{i}" for i in range(size)],
        "sex": rng.choice(["F", "M"], size),
        "age": rng.integers(20, 90, size),
        "view": rng.choice(["PA", "AP"], size),
    }
    for label in LABELS:
        columns[f"label.{label}"] = rng.integers(0, 2, size)
        columns[f"score.{label}"] = rng.random(size)
    return pd.DataFrame(columns)


def table(frame: pd.DataFrame) -> ShardTable:
    return ShardTable(
        patient_ids=frame["patient_id"].to_numpy(object),
        study_ids=frame["study_id"].to_numpy(object),
        attributes={name: frame[name].to_numpy(object) for name in ("sex", "age", "view")},
        labels={name: frame[f"label.{name}"].to_numpy(np.int8) for name in LABELS},
        scores={name: frame[f"score.{name}"].to_numpy(np.float64) for name in LABELS},
    )


def test_the_examples_run_and_merged_hospitals_are_judged_as_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    north, south = predictions("n", 0), predictions("s", 1)
    pd.concat([north, south]).to_parquet(tmp_path / "predictions.parquet")
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {"table_of_north": table(north), "table_of_south": table(south)}
    exec(one, known)
    exec(two, known)
    printed = capsys.readouterr().out
    assert all(item.statement in printed for item in known["result"].assessment.verdicts)
    merged, whole = known["found"].to_dict(), known["result"].assessment.to_dict()
    assert merged["verdicts"] == whole["verdicts"]
    assert merged["measurements"] == whole["measurements"]
