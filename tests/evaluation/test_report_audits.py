"""An audit of a model that writes reports: by workers on a registered cohort, and of a file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.errors import ProtocolError
from evaluation.engine import Protocol, run_audit
from evaluation.models import RunStatus
from evaluation.services.runs import request_audit
from models_registry.cohorts import convert_cohort
from tests.evaluation.steps import finish
from tests.registry.scene import make_cohort, make_protocol, make_version

RULES = """
auscult_protocol: 1
name: report-gap
title: Findings are omitted equally often in women and men
labels: []
reports: {findings: [effusion, cardiomegaly]}
attributes: [{name: sex, values: [F, M]}]
splits: {audited: [test]}
criteria:
  - {id: sex-omission, metric: omission_difference, attribute: sex, direction: at_most, margin: 0.10}
minimum: {cell: 5, rate_denominator: 20}
"""


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """The model omits effusions of women; rows of the split "train" would hide it."""
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(300), 2)
    sex = np.where(patients % 2 == 0, "F", "M")
    split = np.where(patients < 240, "test", "train")
    said = (rng.random(len(patients)) >= np.where(sex == "F", 0.5, 0.1)) | (split == "train")
    return pd.DataFrame(
        {
            "patient_id": [f"p{number:03}" for number in patients],
            "study_id": [f"s{number:04}" for number in range(len(patients))],
            "sex": sex,
            "split": split,
            "label.effusion": 1,
            "text.reference": "Small pleural effusion. The heart is of normal size.",
            "text.generated": np.where(said, "Pleural effusion.", "No pleural effusion."),
        }
    )


@pytest.mark.django_db
def test_workers_judge_the_reports_of_a_recorded_model(
    people: SimpleNamespace, frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    frame[["study_id", "text.generated"]].iloc[::-1].to_parquet(log / "predictions.parquet", index=False)
    frame.drop(columns="text.generated").to_parquet(tmp_path / "cohort.parquet", index=False)
    monkeypatch.setattr("models_registry.cohorts.conversion.STUDIES_PER_SHARD", 150)
    convert_cohort(tmp_path / "cohort.parquet", mapping=None, destination=tmp_path / "shards")
    run = request_audit(
        version=make_version(people, log),
        cohort=make_cohort(people, tmp_path / "shards"),
        protocol=make_protocol(people, RULES),
        by=people.amir,
    )
    assert run.shards.count() > 1
    done = finish(run)
    assert (done.status, done.outcome, done.error) == (RunStatus.DONE, "fail", "")
    judged = frame[frame["split"] == "test"]
    for sex in ("F", "M"):
        texts = judged[judged["sex"] == sex]["text.generated"]
        found = done.measurements.get(metric="omission", label="report", attribute="sex", group=sex)
        assert found.value == pytest.approx((texts == "No pleural effusion.").mean(), abs=1e-12)
        assert found.n == len(texts)
    assert "reports of female patients omit more" in done.verdicts.get().detail["statement"]


def audit(frame: pd.DataFrame, folder: Path) -> Any:
    path = folder / "reports.csv"
    frame.to_csv(path, index=False)
    return run_audit(protocol=Protocol.from_yaml(RULES), predictions=path, cross_check=False).assessment


def test_a_file_of_reports_is_judged_as_workers_would(frame: pd.DataFrame, tmp_path: Path) -> None:
    found = audit(frame, tmp_path)
    assert found.outcome == "fail" and found.verdicts[0].label == "report"
    counted = {(row.attribute, row.group): row.n for row in found.measurements if row.metric == "support"}
    assert counted == {("", "All"): 480, ("sex", "F"): 240, ("sex", "M"): 240}


@pytest.mark.parametrize("column", ["text.reference", "text.generated"])
def test_a_file_without_reports_is_refused_by_name(frame: pd.DataFrame, tmp_path: Path, column: str) -> None:
    with pytest.raises(ProtocolError, match=column.replace(".", r"\.")):
        audit(frame.drop(columns=column), tmp_path)
