"""Files of thresholds' tests: patients half of whom are for tuning, and the protocol that says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from click.testing import CliRunner, Result

from config.cli.audit import audit
from evaluation.engine.thresholds import Rule, tune_thresholds

RULES = ("sensitivity=0.9", "specificity=0.8", "youden", "net-benefit=0.2")
TEXT = """\
# Rules of a test, with comments that must survive.
auscult_protocol: 1
name: test-v1
title: Test   # a title
labels:
  - name: x   # the first label
    # a comment under it
  - {name: y}   # the second
attributes: [{name: sex}]
splits: {audited: [test], tuning: [tuning]}
criteria:
  - {id: a, metric: tpr, direction: at_least, margin: 0.5}
"""


def frame(patients: int = 400) -> pd.DataFrame:
    """Two studies of each patient; the first half of the patients is for tuning."""
    rng = np.random.default_rng(5)
    owner = np.repeat(np.arange(patients), 2)
    y = rng.integers(0, 2, (2, len(owner)))
    scores = np.round(1 / (1 + np.exp(-(rng.normal(size=y.shape) + 1.5 * y - 1))), 4)
    return pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in owner],
            "study_id": [f"s{i}" for i in range(len(owner))],
            "sex": np.where(owner % 2, "F", "M"),
            "split": np.where(owner < patients // 2, "tuning", "test"),
            "label.x": y[0], "label.y": y[1], "score.x": scores[0], "score.y": scores[1],
        }
    )  # fmt: skip


def tune(path: Path, rule: str = "youden", text: str = TEXT, **options: Any) -> Any:
    return tune_thresholds(text, source="p.yaml", predictions=path, rule=Rule.parse(rule), **options)


def save(data: pd.DataFrame, path: Path) -> Path:
    data.to_parquet(path)
    return path


def run(data: Path, rules: Path, *more: str | Path) -> Result:
    given = ["--predictions", data, "--protocol", rules, "--json", *more]
    return CliRunner().invoke(audit, [str(item) for item in given])
