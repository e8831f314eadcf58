"""A drafted protocol says what a file can be judged on, and judges it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.errors import ProtocolError
from evaluation.engine import Protocol, run_audit
from evaluation.engine.drafting import draft_protocol

ROWS = 120


def frame(**columns: Any) -> pd.DataFrame:
    index = np.arange(ROWS)
    facts = {
        "patient_id": [f"p{i}" for i in index],
        "study_id": [f"s{i}" for i in index],
        "sex": np.where(index % 2, "F", "M"),
    }
    return pd.DataFrame(facts | columns)


def draft(data: pd.DataFrame, path: Path) -> Protocol:
    data.to_parquet(path)
    return Protocol.from_yaml(draft_protocol(path))


def test_scores_are_ranked_too(tmp_path: Path) -> None:
    index = np.arange(ROWS)
    data = frame(**{"label.x": index % 2, "score.x": 0.5, "label.y": index % 3 == 0, "pred.y": 1})
    made = {item.id: item for item in draft(data, tmp_path / "p.parquet").criteria}
    assert (made["sex-auroc"].metric, made["sex-auroc"].labels, made["sex-auroc"].primary) == (
        "auroc_difference",
        ("x",),
        False,
    )
    assert made["sex-tpr"].labels == ("*",) and made["sex-tpr"].primary
    decided = frame(**{"label.y": index % 2, "pred.y": 1})
    assert "sex-auroc" not in {item.id for item in draft(decided, tmp_path / "q.parquet").criteria}


@pytest.mark.parametrize("labelled", [True, False])
def test_reports_are_compared(tmp_path: Path, labelled: bool) -> None:
    labels = {"label.x": np.arange(ROWS) % 2, "pred.x": 1} if labelled else {}
    texts = {"text.reference": "There is a pleural effusion.", "text.generated": "No pleural effusion."}
    made = draft(frame(**labels, **texts), tmp_path / "p.parquet")
    assert made.reports is not None and made.reports.findings == ("*",)
    found = {item.id: item for item in made.criteria}
    assert found["sex-reports"].primary is not labelled
    assert made.label_names == (("x",) if labelled else ())
    run_audit(protocol=made, predictions=tmp_path / "p.parquet", cross_check=False)


def test_nothing_to_judge_is_told(tmp_path: Path) -> None:
    frame(**{"label.x": 1, "text.reference": "a"}).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(ProtocolError, match="there are no reports to compare"):
        draft_protocol(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("names", "audited", "tuning"),
    [
        (("train", "test"), ("test",), ("train",)),
        (("val", "Test", "odd, name"), ("Test",), ("val",)),
        (("a", "b"), (), ()),
    ],
)
def test_splits_are_drafted(tmp_path: Path, names: tuple[str, ...], audited: Any, tuning: Any) -> None:
    index = np.arange(ROWS)
    split = [names[i // 2 % len(names)] for i in index]
    path = tmp_path / "p.parquet"
    made = draft(frame(**{"label.x": index // 4 % 2, "pred.x": index // 8 % 2, "split": split}), path)
    if not audited:
        assert made.splits is None and "# splits: {audited: [a]" in draft_protocol(path)
        return
    assert made.splits is not None
    assert (made.splits.audited, made.splits.tuning) == (audited, tuning)
    run_audit(protocol=made, predictions=path, cross_check=False)
