"""From a registered cohort to linked studies and back: nothing is lost, nothing is read that is not told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import CohortError
from models_registry.cohorts import convert_cohort
from models_registry.cohorts.conversion import STUDIES_PER_SHARD_WITH_IMAGES
from models_registry.cohorts.reader import CohortReader, open_cohort
from synthetic.generators.keeping import studies_digest
from synthetic.generators.plan_reading import read_plans
from synthetic.generators.plans import Plans
from synthetic.generators.reading import read_linked, write_linked
from synthetic.generators.studies import split_patients
from synthetic.simulator import FINDINGS, SimulatorSettings, simulate_cohort

SETTINGS = SimulatorSettings(patients=60, seed=4)
Registered = Callable[[Path], CohortReader]


@pytest.fixture
def registered(tmp_path: Path) -> Registered:
    def register(file: Path) -> CohortReader:
        folder = tmp_path / f"{file.stem}-registered"
        convert_cohort(file, mapping=None, destination=folder)
        return open_cohort(folder)

    return register


def test_what_is_written_and_registered_is_what_was_read(
    tmp_path: Path, registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models_registry.cohorts.conversion.STUDIES_PER_SHARD_WITH_IMAGES", 40)
    assert STUDIES_PER_SHARD_WITH_IMAGES > 40
    reader = registered(simulate_cohort(SETTINGS, tmp_path / "c.parquet"))
    told: list[float] = []
    first = read_linked(reader, tell=lambda share, message: told.append(share))
    assert len(reader.shards) > 1 and len(told) == len(reader.shards) and told[-1] == 1
    assert first.patients == tuple(sorted(first.patients)) and len(first.patients) == 60
    same = first.patient_ids[1:] == first.patient_ids[:-1]
    assert (first.times[1:][same] > first.times[:-1][same]).all(), "a patient's studies are in the order of time"
    written = write_linked(first, tmp_path / "made.parquet", metadata={"auscult.generator": "x"})
    again = read_linked(registered(written))
    assert studies_digest(again) == studies_digest(first)
    kept = pq.read_schema(written).metadata
    assert (kept[b"auscult.synthetic"], kept[b"auscult.generator"]) == (b"SYNTHETIC", b"x")
    lacking = ~first.has_image
    assert lacking.any() and first.images is not None and not first.images[lacking].any()


def test_plans_are_of_the_findings_that_are_named_and_words_say_all_of_them(
    tmp_path: Path, registered: Registered
) -> None:
    reader = registered(simulate_cohort(SETTINGS, tmp_path / "c.parquet"))
    studies = read_linked(reader, findings=("effusion", "consolidation"))
    assert studies.plans.findings == ("effusion", "consolidation") and set(studies.labels) == set(FINDINGS)
    assert ((studies.plans.zone[:, 1] >= 0) == (studies.labels["consolidation"] == 1)).all()
    assert ((studies.plans.side[:, 0] >= 0) == (studies.labels["effusion"] == 1)).all()
    words = Plans.of_words(studies.plans.words())
    assert studies_digest(replace(studies, plans=words)) == studies_digest(studies)


@pytest.mark.parametrize(
    ("report", "plan"),
    [
        ("Small left pleural effusion.", "left small"),
        ("Moderate effusion at the right base.", "right lower moderate"),
        ("Effusion. The upper zones are clear.", "present"),
        ("Right effusion in the upper and lower zone.", "right"),
        ("Right upper and lower zone effusion.", "right"),
        ("Right upper zone effusion and left lower zone pneumothorax.", "right upper"),
        ("No pleural effusion.", "present"),  # a report never overrules the label
        (None, "present"),
    ],
)
def test_a_plan_is_read_from_the_words_around_its_finding(report: str | None, plan: str) -> None:
    found = read_plans({"effusion": np.array([1, 0, -1], dtype=np.int8)}, [report] * 3)
    assert found.words()["effusion"].tolist() == [plan, "none", "unknown"]


def test_a_cohort_without_labels_has_plans_that_tell_nothing(tmp_path: Path, registered: Registered) -> None:
    table = {"patient_id": ["a", "a", "b"], "study_id": ["1", "2", "3"], "age": [40, 41, 70]}
    pq.write_table(pa.table(table), tmp_path / "plain.parquet")
    reader = registered(tmp_path / "plain.parquet")
    studies = read_linked(reader)
    assert (len(studies), len(studies.plans), studies.plans.findings, studies.images) == (3, 3, (), None)
    assert studies.attributes["age"].tolist() == [40, 41, 70] and np.isnat(studies.times).all()
    with pytest.raises(CohortError):
        read_linked(reader, findings=("effusion",))


def test_patients_are_split_and_their_studies_stay_together(tmp_path: Path, registered: Registered) -> None:
    studies = read_linked(registered(simulate_cohort(SETTINGS, tmp_path / "c.parquet")))
    parts = split_patients(studies, [0.5, 0.25, 0.25], seed=1)
    assert [len(part.patients) for part in parts] == [30, 15, 15] and sum(map(len, parts)) == len(studies)
    assert len({name for part in parts for name in part.patients}) == 60
    assert [part.patients for part in split_patients(studies, [0.5, 0.25, 0.25], seed=1)] == [p.patients for p in parts]
    assert split_patients(studies, [0.5], seed=2)[0].patients != parts[0].patients
