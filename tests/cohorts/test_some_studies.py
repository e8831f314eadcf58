"""Some studies of a shard by their places, and where a column is empty: against the shard read whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import CohortError, DigestMismatchError
from models_registry.cohorts import CohortReader, convert_cohort, inspect_cohort, open_cohort
from models_registry.cohorts.schema import ColumnRole, role_of
from synthetic.simulator import SimulatorSettings, simulate_cohort

ROWS = ([], [0], [2, 3, 4], [0, 6, 7, 8, 30], [-1])


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> CohortReader:
    """Row groups of seven studies, so that a few studies lie in several."""
    home = tmp_path_factory.mktemp("some")
    settings = SimulatorSettings(patients=30, seed=3, missing={"image": 0.3, "series.crp": 0.4})
    file = simulate_cohort(settings, home / "cohort.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models_registry.cohorts.conversion.ROW_GROUP_WITH_IMAGES", 7)
        convert_cohort(file, mapping=None, destination=home / "shards")
    found = open_cohort(home / "shards")
    assert found.shards[0].n_studies > 35
    return found


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_studies_are_those_of_their_places(reader: CohortReader, rows: list[int]) -> None:
    whole = next(reader.batches(0, batch_size=10_000))
    rows = [row % len(whole) for row in rows]
    some = reader.studies(0, rows)
    assert some.study_ids == tuple(whole.study_ids[row] for row in rows)
    assert some.patient_ids == tuple(whole.patient_ids[row] for row in rows)
    for name, values in whole.texts.items():
        assert some.texts[name] == [values[row] for row in rows]
    for name, values in whole.covariates.items():
        assert some.covariates[name] == [values[row] for row in rows]
    for place, row in enumerate(rows):
        for one, other in ((some.images, whole.images), (some.series["crp"], whole.series["crp"])):
            assert (one[place] is None) == (other[row] is None)
            assert other[row] is None or np.array_equal(one[place], other[row])


def test_only_the_columns_that_are_wanted_are_read(reader: CohortReader) -> None:
    some = reader.studies(0, [1, 9], columns=["text.indication"])
    assert list(some.texts) == ["indication"] and not some.series and not some.covariates
    assert some.images == [None, None]
    assert reader.studies(0, [1, 9], columns=["image"]).texts == {}


def test_a_share_that_was_changed_is_not_read(reader: CohortReader, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(reader.folder, tmp_path / "shards")
    file = tmp_path / "shards" / reader.shards[0].file
    file.write_bytes(file.read_bytes()[:-1] + b"X")
    with pytest.raises(DigestMismatchError):
        open_cohort(tmp_path / "shards").studies(0, [0])


@pytest.mark.parametrize("column", ["image", "series.crp", "text.indication", "sex"])
def test_what_is_missing_is_told_without_reading_it_all(reader: CohortReader, column: str) -> None:
    whole = next(reader.batches(0, batch_size=10_000))
    values = {
        "image": whole.images, "series.crp": whole.series["crp"], "text.indication": whole.texts["indication"],
        "sex": whole.covariates["sex"],
    }[column]  # fmt: skip
    missing = reader.missing(0, column)
    assert missing.dtype == np.bool_ and missing.tolist() == [value is None for value in values]
    assert missing.any() == (column in ("image", "series.crp"))


def test_a_column_that_there_is_not_is_refused(reader: CohortReader) -> None:
    with pytest.raises(CohortError) as caught:
        reader.missing(0, "series.troponin")
    assert caught.value.column == "series.troponin" and "series.crp" in caught.value.remedy


def test_what_a_model_cut_off_is_a_prediction_and_stays_out_of_a_cohort(tmp_path: Path) -> None:
    assert role_of("truncated.generated") is ColumnRole.TRUNCATED
    table = pa.table(
        {
            "patient_id": ["a", "b"], "study_id": ["1", "2"], "label.effusion": [1, 0],
            "text.reference": ["Effusion.", "Clear."], "truncated.generated": [1, 0],
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "cohort.parquet")
    manifest = convert_cohort(tmp_path / "cohort.parquet", mapping=None, destination=tmp_path / "shards")
    assert "truncated.generated" not in manifest.columns
    pq.write_table(table.set_column(4, "truncated.generated", pa.array([1, 7])), tmp_path / "odd.parquet")
    problems = {problem.column: problem.row for problem in inspect_cohort(tmp_path / "odd.parquet").errors}
    assert problems.get("truncated.generated") == 2
