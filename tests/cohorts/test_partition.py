"""Large prediction files: whole patients, nothing lost, bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from models_registry.cohorts import partition, partition_by_patient, read_predictions
from models_registry.cohorts.spool import KeySpool, count_patients, hash_ids, in_two, repeated

Write = Callable[..., Path]


@pytest.fixture
def predictions(write_csv: Write) -> Path:
    rng = np.random.default_rng(3)
    rows = []
    for i in range(2000):
        p = rng.integers(0, 500)
        label, score = rng.choice(["0", "1", ""]), rng.choice(["", f"{rng.random():.6f}"], p=[0.1, 0.9])
        rows.append(
            f"P{p:03d},S{i},{'FM'[p % 2]},{rng.integers(18, 99)},{label},{score},{int(rng.random() > 0.5)},t{i}"
        )
    return write_csv("patient_id,study_id,sex,age,label.x,score.x,pred.y,text.generated", *rows)


def test_parts_hold_whole_patients_and_all_values(
    predictions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "PART_ROWS", 300)
    monkeypatch.setattr(partition, "BUFFER_BYTES", 10_000)
    made = partition_by_patient(predictions, columns=["sex", "age"], spool=tmp_path / "spool")
    tables = [read_predictions(part) for part in made.parts]
    assert len(tables) == 7
    source = pd.read_csv(predictions, dtype={"patient_id": str})
    assert made.n_studies == len(source) == sum(len(table) for table in tables)
    assert made.n_patients == source.patient_id.nunique() == sum(len(set(table.patient_ids)) for table in tables)
    frames = [
        pd.DataFrame(
            {
                "patient_id": t.patient_ids,
                "study_id": t.study_ids,
                "sex": t.attributes["sex"],
                "age": t.attributes["age"].astype(int),
                "label.x": t.labels["x"],
                "score.x": t.scores["x"],
                "pred.y": t.decisions["y"],
                "text.generated": t.texts["generated"],
            }
        )
        for t in tables
    ]
    got = pd.concat(frames).sort_values("study_id").reset_index(drop=True)
    wanted = source.fillna({"label.x": -1}).sort_values("study_id").reset_index(drop=True)
    pd.testing.assert_frame_equal(got, wanted, check_dtype=False)
    assert {t.labels["x"].dtype for t in tables} == {np.dtype(np.int8)}
    assert {t.scores["x"].dtype for t in tables} == {np.dtype(np.float64)}


def test_only_what_is_asked_for_is_kept(predictions: Path, tmp_path: Path) -> None:
    made = partition_by_patient(predictions, spool=tmp_path / "spool")
    assert read_predictions(made.parts[0]).attributes == {}


def test_fields_are_those_of_the_engine(predictions: Path, tmp_path: Path) -> None:
    from dataclasses import fields

    from evaluation.engine.records import ShardTable

    made = partition_by_patient(predictions, columns=["sex"], spool=tmp_path / "spool")
    table = read_predictions(made.parts[0])
    # Series and other texts become facts about the studies, see ``evaluation.engine.runner.table_of``.
    shared = [f.name for f in fields(table) if f.name != "series"]
    assert shared == [
        f.name for f in fields(ShardTable) if f.name not in ("facts", "utterances", "judged_by", "streams")
    ]
    assert len(ShardTable(**{name: getattr(table, name) for name in shared})) == 2000


def test_repeats_across_buckets_match_brute_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models_registry.cohorts import spool as module

    monkeypatch.setattr(module, "BUFFER_RECORDS", 700)
    rng = np.random.default_rng(1)
    ids = [f"S{i}" for i in rng.integers(0, 5000, 6000)]
    spool = KeySpool(tmp_path, "studies")
    for start in range(0, 6000, 250):
        spool.add(hash_ids(pa.array(ids[start : start + 250])), np.arange(start, start + 250) + 1)
    assert len(list(tmp_path.iterdir())) > 10
    seen: dict[str, int] = {}
    later = []
    for row, name in enumerate(ids, 1):
        if name in seen:
            later.append(row)
        seen.setdefault(name, row)
    result = repeated(spool)
    assert sorted(result.rows.tolist()) == later
    assert (result.again, result.first) == (later[0], seen[ids[later[0] - 1]])
    counts = pd.Series(ids).value_counts()
    assert count_patients(spool).studies == counts.value_counts().to_dict()
    assert count_patients(spool).n_patients == len(counts)


def test_two_splits_match_brute_force(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    patients, splits = rng.integers(0, 300, 900), rng.integers(0, 2, 900)
    spool = KeySpool(tmp_path, "splits")
    spool.add(hash_ids(pa.array([str(p) for p in patients])), ((np.arange(900) + 1) << 8) | splits)
    first: dict[int, int] = {}
    wanted: dict[int, int] = {}
    for row, (patient, split) in enumerate(zip(patients, splits, strict=True), 1):
        if first.setdefault(patient, split) != split:
            wanted.setdefault(patient, row)
    assert sorted(in_two(spool).tolist()) == sorted(wanted.values())


MEASURE = """
import resource, sys
from pathlib import Path
from models_registry.cohorts import partition_by_patient
made = partition_by_patient(Path(sys.argv[1]), columns=["sex"], spool=Path(sys.argv[2]))
status = Path("/proc/self/status")
if status.exists():  # not ru_maxrss, which on Linux begins with the size of the process that started this one
    peak = int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
print(made.n_studies, peak)
"""


def test_memory_stays_under_a_gibibyte(tmp_path: Path) -> None:
    """A file of 120 MB, many times what a chunk holds; docs/cohorts.md has the figures of 5 GB."""
    path, n = tmp_path / "large.csv", 0
    filler = "x" * 60
    with path.open("w") as stream:
        stream.write("patient_id,study_id,sex,label.a,score.a,comment\n")
        for n in range(1, 1_200_001):
            stream.write(f"P{n // 3:08d},S{n:09d},F,0,0.{n:07d},{filler}\n")
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "spool")],
        capture_output=True,
        text=True,
        check=True,
    )
    studies, mebibytes = run.stdout.split()
    assert int(studies) == n
    assert float(mebibytes) < 700
