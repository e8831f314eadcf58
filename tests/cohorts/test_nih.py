"""The real studies: read where the package is installed; the figures are those of the published file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core.digests import sha256_file
from core.errors import DigestMismatchError, EnvironmentProblemError
from models_registry.cohorts import convert_cohort, inspect_cohort, nih, open_cohort, write_nih_expert_cohort

installed = pytest.mark.skipif(
    importlib.util.find_spec(nih.PACKAGE) is None, reason=f"the package {nih.PACKAGE} is not installed"
)


@installed
def test_the_cohort_has_the_published_studies(tmp_path: Path) -> None:
    files = write_nih_expert_cohort(tmp_path / "nih")
    inspection = inspect_cohort(files.cohort)
    assert inspection.errors == ()
    age = next(p for p in inspection.warnings if p.code == "implausible-age")
    assert (age.column, age.count) == ("age", 1)
    source = pd.read_csv(nih.locate_nih_labels())
    assert age.row == source.index[source["Patient Age"] > 120][0] + 1
    assert "155" in age.message
    summary = inspection.summary
    assert (summary["n_studies"], summary["n_patients"]) == (4376, 1695)
    assert summary["labels"]["pneumothorax"] == {"n": 4376, "positive": 238, "negative": 4138, "missing": 0}
    assert {name: item["positive"] for name, item in summary["labels"].items()} == {
        "pneumothorax": 238,
        "airspace_opacity": 2166,
        "nodule_or_mass": 605,
        "fracture": 186,
    }
    assert summary["attributes"]["source_set"]["values"] == {"val": 2414, "test": 1962}
    assert summary["attributes"]["view"]["values"] == {"AP": 3244, "PA": 1132}
    assert (files.description and files.licence and files.source) != ""


@installed
def test_the_text_mined_labels_find_what_they_are_known_to_find(tmp_path: Path) -> None:
    files = write_nih_expert_cohort(tmp_path)
    both = pd.read_parquet(files.cohort).merge(pd.read_parquet(files.predictions), on="study_id", validate="1:1")
    assert len(both) == 4376
    assert "pred.fracture" not in both

    def sensitivity(label: str, rows: Any) -> float:
        diseased = both[rows & (both[f"label.{label}"] == 1)]
        return float((diseased[f"pred.{label}"] == 1).mean())

    everyone = both.age > -1
    assert sensitivity("pneumothorax", everyone) == pytest.approx(0.458, abs=5e-4)
    assert sensitivity("pneumothorax", both["view"] == "PA") == pytest.approx(0.581, abs=5e-4)
    assert sensitivity("pneumothorax", both["view"] == "AP") == pytest.approx(0.361, abs=5e-4)
    assert sensitivity("pneumothorax", both.sex == "F") == pytest.approx(0.436, abs=5e-4)
    assert sensitivity("pneumothorax", both.sex == "M") == pytest.approx(0.477, abs=5e-4)
    assert sensitivity("airspace_opacity", both["view"] == "AP") == pytest.approx(0.542, abs=5e-4)
    assert sensitivity("airspace_opacity", both["view"] == "PA") == pytest.approx(0.346, abs=5e-4)


@installed
def test_the_files_are_the_same_each_time_and_can_be_registered(tmp_path: Path) -> None:
    one, two = write_nih_expert_cohort(tmp_path / "1"), write_nih_expert_cohort(tmp_path / "2")
    assert sha256_file(one.cohort) == sha256_file(two.cohort)
    assert sha256_file(one.predictions) == sha256_file(two.predictions)
    manifest = convert_cohort(one.cohort, mapping=None, destination=tmp_path / "cohort")
    reader = open_cohort(tmp_path / "cohort")
    assert sum(len(reader.reference(shard, ["sex", "age"])) for shard in manifest.shards) == 4376


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblemError) as caught:
        write_nih_expert_cohort(tmp_path / "out")
    assert "pip install --no-deps torchxrayvision" in caught.value.remedy
    assert not (tmp_path / "out").exists()


@installed
def test_another_content_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nih, "SHA256", "0" * 64)
    with pytest.raises(DigestMismatchError):
        write_nih_expert_cohort(tmp_path)


def test_the_package_is_not_imported() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from models_registry.cohorts import nih\n"
        "try: nih.locate_nih_labels()\nexcept Exception: pass\n"
        "assert 'torchxrayvision' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
