"""Files that are spoilt in one place, and the command that must refuse them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from click.testing import CliRunner, Result

from config.cli.audit import audit
from tests.engine.builders import body

ROWS = 60
RULES = body(labels=[{"name": "x", "threshold": {"value": 0.5, "source": "elsewhere"}}])
Change = Callable[[pd.DataFrame], pd.DataFrame]


def frame() -> pd.DataFrame:
    index = np.arange(ROWS)
    return pd.DataFrame(
        {
            "patient_id": [f"p{i // 2}" for i in index],
            "study_id": [f"s{i}" for i in index],
            "sex": np.where(index % 4 < 2, "F", "M"),
            "age": 20 + index,
            "label.x": index % 2,
            "score.x": np.round(np.random.default_rng(1).random(ROWS), 3),
        }
    )


def run(data: Path, rules: bytes | dict[str, Any] = RULES, *more: str | Path) -> Result:
    """The command as the documentation writes it, with a result file that must not appear."""
    written = data.parent / "rules.yaml"
    written.write_bytes(rules if isinstance(rules, bytes) else yaml.safe_dump(rules).encode())
    out = data.parent / "out.json"
    given = ["--suite", "fairness", "--predictions", data, "--protocol", written, "--json", "--out", out, *more]
    before = {path.name for path in data.parent.iterdir()}
    ran = CliRunner().invoke(audit, [str(item) for item in given])
    if ran.exit_code == 3:
        assert ran.stdout == ""
        assert {path.name for path in data.parent.iterdir()} == before
    return ran


def refused(ran: Result, *said: str) -> None:
    assert ran.exit_code == 3, ran.output
    first, _, remedy = ran.stderr.partition("What to do: ")
    assert first.startswith("Error: ")
    assert len(remedy.strip()) > 10
    for words in said:
        assert words in ran.stderr, ran.stderr


def assign(column: str, value: Any, row: int | None = None) -> Change:
    """A change of a whole column, or of one row of it (counted from 1)."""

    def change(data: pd.DataFrame) -> pd.DataFrame:
        if row is None:
            data[column] = value
        else:
            values = data[column].astype(object)
            values.iloc[row - 1] = value
            data[column] = values.infer_objects()
        return data

    return change


def write(data: pd.DataFrame, path: Path) -> Path:
    data.to_csv(path, index=False) if path.suffix == ".csv" else data.to_parquet(path)
    return path
