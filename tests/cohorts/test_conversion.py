"""What goes into a cohort comes out of it: every modality, any of them missing, the same bytes each time."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.errors import CohortError, DigestMismatchError, EnvironmentProblemError
from models_registry.cohorts import Mapping, convert_cohort, inspect_cohort, open_cohort, partition_by_patient
from models_registry.cohorts.conversion import read_manifest
from models_registry.cohorts.schema import CohortManifest, StudyBatch
from models_registry.cohorts.spool import hash_ids
from tests.cohorts.conftest import grey, png

Write = Callable[..., Path]
PINNED = 8249318728438118036
MODAL = ["patient_id,study_id,study_time,image,text.report,series.crp,age,sex,weight,label.x"]


@pytest.fixture
def modal_csv(write_csv: Write, tmp_path: Path) -> Path:
    """Three studies: complete, without image and series, without anything."""
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.png").write_bytes(png(grey(3)))
    return write_csv(
        *MODAL,
        '01,S2,2024-05-02T10:00,,"No effusion,\nclear.",,61,F,70.5,0',
        '01,S1,2024-05-01T10:00,scans/a.png,Effusion,"[[0, 7.1],[6, 6.8]]",60,F,71,1',
        "2,S3,,,,,,,,",
    )


def batches(folder: Path, **options: Any) -> list[StudyBatch]:
    reader = open_cohort(folder)
    return [batch for shard in reader.shards for batch in reader.batches(shard, **options)]


def check_modal(folder: Path) -> None:
    (batch,) = batches(folder)
    assert batch.patient_ids == ("01", "01", "2")
    assert batch.study_ids == ("S1", "S2", "S3")  # by patient, then time
    assert batch.images[0] is not None
    np.testing.assert_array_equal(batch.images[0], grey(3))
    assert batch.images[1:] == [None, None]
    assert batch.texts == {"report": ["Effusion", "No effusion,\nclear.", None]}
    assert batch.series["crp"][0] is not None
    np.testing.assert_array_equal(batch.series["crp"][0], [[0.0, 7.1], [6.0, 6.8]])
    assert batch.series["crp"][1:] == [None, None]
    assert batch.covariates == {"age": [60, 61, None], "sex": ["F", "F", None], "weight": [71.0, 70.5, None]}
    reference = open_cohort(folder).reference(0, ["sex", "age", "study_time"])
    assert reference.labels["x"].tolist() == [1, 0, -1]
    assert reference.labels["x"].dtype == np.int8
    assert reference.attributes["age"].tolist() == [60, 61, None]
    assert reference.attributes["study_time"].tolist() == ["2024-05-01T10:00:00", "2024-05-02T10:00:00", None]
    assert reference.patient_ids.dtype == object


def test_round_trip_from_csv(modal_csv: Path, tmp_path: Path) -> None:
    manifest = convert_cohort(modal_csv, mapping=None, destination=tmp_path / "out")
    check_modal(tmp_path / "out")
    assert (manifest.n_studies, manifest.n_patients) == (3, 2)
    assert manifest.summary["modalities"] == {"image": 1 / 3, "text.report": 2 / 3, "series.crp": 1 / 3}
    assert manifest.summary["studies_per_patient"] == {"min": 1, "median": 1.5, "max": 2}


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("path_images", [False, True])
def test_round_trip_from_parquet(tmp_path: Path, pairs: bool, path_images: bool) -> None:
    (tmp_path / "a.png").write_bytes(png(grey(3)))
    points: Any = [[0.0, 7.1], [6.0, 6.8]] if pairs else [{"t": 0.0, "v": 7.1}, {"t": 6.0, "v": 6.8}]
    table = pa.table(
        {
            "patient_id": ["01", "01", "2"],
            "study_id": pa.array(["S2", "S1", "S3"]).dictionary_encode(),
            "study_time": pa.array(["2024-05-02T10:00:00", "2024-05-01T10:00:00", None]).cast(pa.timestamp("ns")),
            "image": [None, "a.png" if path_images else png(grey(3)), None],
            "text.report": pa.array(["No effusion,\nclear.", "Effusion", None], pa.large_string()),
            "series.crp": [None, points, []],
            "age": [61, 60, None],
            "sex": pa.array(["F", "F", None]).dictionary_encode(),
            "weight": pa.array([70.5, 71.0, float("nan")], pa.float32()),
            "label.x": [False, True, None],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    convert_cohort(tmp_path / "in.parquet", mapping=None, destination=tmp_path / "out")
    check_modal(tmp_path / "out")


def test_images_are_kept_byte_for_byte(tmp_path: Path, write_parquet: Write) -> None:
    stream = io.BytesIO()
    Image.fromarray(grey(size=16)).save(stream, format="JPEG")
    images = [png(grey(1)), None, stream.getvalue()]
    convert_cohort(write_parquet({"image": images}), mapping=None, destination=tmp_path / "out")
    table = open_cohort(tmp_path / "out").table(0, ["study_id", "image"])
    assert dict(zip(table["study_id"].to_pylist(), table["image"].to_pylist(), strict=True)) == {
        "S0": images[0],
        "S1": None,
        "S2": images[2],
    }


def test_every_study_keeps_its_own_image(write_csv: Write, tmp_path: Path) -> None:
    """More studies than a chunk and a row group hold."""
    n = 150
    for i in range(n):
        (tmp_path / f"{i}.png").write_bytes(png(np.full((2, 3), i, np.uint8)))
    rows = [f"P{i % 40},S{i},{i}.png" if i % 7 else f"P{i % 40},S{i}," for i in range(n)]
    path = write_csv("patient_id,study_id,image", *rows)
    convert_cohort(path, mapping=None, destination=tmp_path / "out")
    found = {
        study: None if image is None else int(image[0, 0])
        for batch in batches(tmp_path / "out", batch_size=17)
        for study, image in zip(batch.study_ids, batch.images, strict=True)
    }
    assert found == {f"S{i}": i if i % 7 else None for i in range(n)}
    (tmp_path / "113.png").unlink()
    assert [(p.code, p.row) for p in inspect_cohort(path).errors] == [("missing-image-file", 114)]


def test_studies_stand_in_the_order_of_time_and_zones_become_utc(write_csv: Write, tmp_path: Path) -> None:
    path = write_csv(
        "patient_id,study_id,study_time,label.x",
        "1,S1,2024-05-31T12:00:00,0",
        "1,S2,2024-05-31T13:30:00+02:00,1",
        "1,S3,2023-01-01,1",
    )
    convert_cohort(path, mapping=None, destination=tmp_path / "out")
    table = open_cohort(tmp_path / "out").reference(0, ["study_time"])
    assert table.study_ids.tolist() == ["S3", "S2", "S1"]
    assert table.attributes["study_time"].tolist() == [
        "2023-01-01T00:00:00",
        "2024-05-31T11:30:00",
        "2024-05-31T12:00:00",
    ]


def test_series_are_put_into_the_order_of_time(write_csv: Write, tmp_path: Path) -> None:
    path = write_csv("patient_id,study_id,series.crp", '1,S1,"[[6, 1], [0, 2], [3, 4]]"', '2,S2,"[[1, 9]]"')
    convert_cohort(path, mapping=None, destination=tmp_path / "out")
    (batch,) = batches(tmp_path / "out")
    series = dict(zip(batch.study_ids, batch.series["crp"], strict=True))
    np.testing.assert_array_equal(series["S1"], [[0, 2], [3, 4], [6, 1]])
    np.testing.assert_array_equal(series["S2"], [[1, 9]])


def test_images_in_a_folder_of_their_own(write_csv: Write, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png(grey()))
    path = write_csv("patient_id,study_id,image", "1,S1,a.png", name="tables/cohort.csv")
    assert inspect_cohort(path, mapping=Mapping(image_root="../images")).errors == ()
    assert [p.code for p in inspect_cohort(path).errors] == ["missing-image-file"]


def many(write_csv: Write, n: int = 3000) -> Path:
    rng = np.random.default_rng(5)
    rows = [f"P{p:04d},S{i:05d},{'FM'[p % 2]},{rng.integers(0, 2)}" for i, p in enumerate(rng.integers(0, 900, n))]
    return write_csv("patient_id,study_id,sex,label.x", *rows)


def test_shards_hold_whole_patients_and_every_study(write_csv: Write, tmp_path: Path) -> None:
    path = many(write_csv)
    manifest = convert_cohort(path, mapping=None, destination=tmp_path / "out")
    reader = open_cohort(tmp_path / "out")
    assert len(reader.shards) == 3
    tables = [reader.reference(shard, ["sex"]) for shard in reader.shards]
    patients = [set(table.patient_ids) for table in tables]
    assert not patients[0] & patients[1] | patients[0] & patients[2] | patients[1] & patients[2]
    assert sum(len(p) for p in patients) == manifest.n_patients == sum(s.n_patients for s in reader.shards)
    source = {line.split(",")[1]: line.split(",") for line in path.read_text().splitlines()[1:]}
    found = {
        study: [patient, study, sex, str(label)]
        for t in tables
        for patient, study, sex, label in zip(
            t.patient_ids, t.study_ids, t.attributes["sex"], t.labels["x"], strict=True
        )
    }
    assert found == source


def test_the_same_input_gives_the_same_digests(write_csv: Write, tmp_path: Path) -> None:
    path = many(write_csv)
    first = convert_cohort(path, mapping=None, destination=tmp_path / "one")
    second = convert_cohort(path, mapping=Mapping(), destination=tmp_path / "two")
    assert first.digest == second.digest
    for shard in first.shards:
        assert (tmp_path / "one" / shard.file).read_bytes() == (tmp_path / "two" / shard.file).read_bytes()
    lines = path.read_text().splitlines()
    shuffled = write_csv(lines[0], *reversed(lines[1:]), name="other.csv")
    third = convert_cohort(shuffled, mapping=None, destination=tmp_path / "three")
    assert [s.digest for s in third.shards] == [s.digest for s in first.shards]
    assert third.source_digest != first.source_digest


def test_the_shard_of_a_patient_is_pinned() -> None:
    """The hash decides digests of registered cohorts: a change here would orphan them."""
    ids = ["00012", "P1", "Zoë", "00012"]
    expected = [int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little") for name in ids]
    assert hash_ids(pa.array(ids)).tolist() == expected
    assert hash_ids(pa.array(["00012"])).tolist() == [PINNED]


def test_small_batches_cover_the_shard(write_csv: Write, tmp_path: Path) -> None:
    convert_cohort(many(write_csv, 100), mapping=None, destination=tmp_path / "out")
    got = batches(tmp_path / "out", batch_size=32)
    assert [len(batch) for batch in got] == [32, 32, 32, 4]


def test_a_changed_shard_is_noticed(write_csv: Write, tmp_path: Path) -> None:
    convert_cohort(many(write_csv, 100), mapping=None, destination=tmp_path / "out")
    shard = tmp_path / "out" / "shard-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    reader = open_cohort(tmp_path / "out")
    for read in (lambda: list(reader.batches(0)), lambda: reader.table(0), lambda: reader.reference(0)):
        with pytest.raises(DigestMismatchError, match=r"shard-00000\.parquet"):
            read()
    shard.unlink()
    with pytest.raises(DigestMismatchError, match="missing"):
        reader.table(0)


def test_columns_that_are_not_there(write_csv: Write, tmp_path: Path) -> None:
    convert_cohort(many(write_csv, 50), mapping=None, destination=tmp_path / "out")
    with pytest.raises(CohortError) as caught:
        open_cohort(tmp_path / "out").reference(0, ["race"])
    assert caught.value.column == "race"
    with pytest.raises(CohortError):
        open_cohort(tmp_path)


def test_the_manifest_can_be_read_back(write_csv: Write, tmp_path: Path) -> None:
    manifest = convert_cohort(many(write_csv, 50), mapping=None, destination=tmp_path / "out")
    assert read_manifest(tmp_path / "out") == CohortManifest.from_dict(json.loads(json.dumps(manifest.to_dict())))
    assert read_manifest(tmp_path / "out").digest == manifest.digest


def test_an_existing_folder_is_not_touched(write_csv: Write, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(CohortError, match="exists"):
        convert_cohort(many(write_csv, 50), mapping=None, destination=tmp_path / "out")


def test_a_failure_in_the_second_pass_leaves_nothing(write_csv: Write, tmp_path: Path) -> None:
    path = many(write_csv, 50)
    before = {p.name for p in tmp_path.iterdir()}

    def break_off(share: float, text: str) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_cohort(path, mapping=None, destination=tmp_path / "out", progress=break_off)
    assert {p.name for p in tmp_path.iterdir()} == before


def test_a_full_disk_is_told_as_such(write_csv: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = many(write_csv, 50)

    def full(*args: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pa.ipc, "new_stream", full)
    for work in (
        lambda: convert_cohort(path, mapping=None, destination=tmp_path / "out"),
        lambda: partition_by_patient(path, spool=tmp_path / "spool"),
    ):
        with pytest.raises(EnvironmentProblemError, match="full"):
            work()
    assert not (tmp_path / "out").exists()


def test_progress_goes_up_to_one(write_csv: Write, tmp_path: Path) -> None:
    seen: list[float] = []
    convert_cohort(
        many(write_csv),
        mapping=None,
        destination=tmp_path / "out",
        progress=lambda share, text: seen.append(share),
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_identifiers_and_codes_stay_text(write_csv: Write, tmp_path: Path) -> None:
    path = write_csv("patient_id,study_id,site,dose,big", "1,00012,007,1e-3,12345678901234567890", "2,12,008,2,1")
    convert_cohort(path, mapping=None, destination=tmp_path / "out")
    table = open_cohort(tmp_path / "out").reference(0, ["site", "dose", "big"])
    assert sorted(table.study_ids) == ["00012", "12"]
    assert sorted(table.attributes["site"]) == ["007", "008"]
    assert sorted(table.attributes["dose"]) == [0.001, 2.0]
    assert sorted(table.attributes["big"]) == ["1", "12345678901234567890"]


def test_the_summary_suppresses_small_cells_and_long_lists(write_csv: Write) -> None:
    rows = [f"{i},S{i},{'A' if i < 30 else 'B'},{'CDE'[i % 3]}{i},{20 + i}" for i in range(36)]
    rows += [f"{i},S{i},A,X{i},{20 + i}" for i in range(36, 60)]
    attributes = inspect_cohort(write_csv("patient_id,study_id,site,code,age", *rows)).summary["attributes"]
    assert attributes["site"]["values"] == {"A": 54, "B": "<11"}
    assert attributes["code"] == {"type": "text", "missing": 0, "distinct": "more than 50"}
    assert attributes["age"] == {"type": "integer", "missing": 0, "min": 20.0, "median": 49.5, "max": 79.0}


def test_the_preview_is_short_and_json_ready(write_parquet: Write) -> None:
    path = write_parquet({"image": [png(grey())] * 12, "text.report": ["long " * 100] * 12})
    preview = inspect_cohort(path).preview
    assert len(preview.rows) == 10
    assert preview.columns == ("patient_id", "study_id", "text.report", "image")
    assert preview.rows[0][3].endswith("bytes")
    assert len(preview.rows[0][2]) == 80
    json.dumps(inspect_cohort(path).to_dict(), allow_nan=False)
