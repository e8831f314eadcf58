"""Drift from a day on, and findings that are fainter in one group: what changes, and that nothing else does."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.errors import CohortError
from models_registry.cohorts import inspect_cohort
from synthetic.simulator import (
    FINDINGS,
    UNITS,
    Drift,
    Faintness,
    Hallucination,
    SimulatorSettings,
    generator_digest,
    simulate_cohort,
    truth_of,
)

DAY = 400
CAME = np.datetime64("2021-01-01") + np.timedelta64(DAY, "D")
DRIFT = Drift(
    day=DAY,
    prevalence={"pneumothorax": 0.6},
    noise=4.0,
    scanners={"Corvus mobile": 1.0},
    units={"crp": "mg/dL", "spo2": "1"},
    missing={"image": 0.5, "series.heart_rate": 0.9, "text.indication": 0.5},
)


def simulated(folder, **settings):
    body = {"patients": 300, "seed": 5, "image_size": 32, "missing": {"image": 0.05}} | settings
    path = simulate_cohort(SimulatorSettings(**body), folder / "c.parquet")
    return path, pq.read_table(path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("plain"))[1]


@pytest.fixture(scope="module")
def drifted(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("drifted"), drift=DRIFT)


def values(table, name, rows):
    return np.array([point["v"] for points in np.array(table[name].to_pylist(), object)[rows] for point in points])


def noise_of(png):
    """Standard deviation under the diaphragm, where a picture shows nothing but noise and a slow slope."""
    pixels = np.asarray(Image.open(io.BytesIO(png)), float)[-6:-1, 12:20]
    return np.diff(pixels, axis=1).std()


def test_studies_before_the_day_are_as_they_would_be_without_drift(plain, drifted):
    before = plain["study_time"].to_numpy() < CAME
    assert 0.2 < before.mean() < 0.8
    assert plain.filter(before).equals(drifted[1].filter(before))
    assert int(drifted[1].schema.metadata[b"auscult.studies_changed"]) == (~before).sum()


def test_from_the_day_on_everything_that_was_asked_for_is_different(plain, drifted):
    table, after = drifted[1], plain["study_time"].to_numpy() >= CAME
    assert set(table["scanner"].filter(after).to_pylist()) == {"Corvus mobile"}
    assert abs(table["label.pneumothorax"].filter(after).to_numpy().mean() - 0.6) < 0.1
    assert table["label.effusion"].equals(plain["label.effusion"])
    for name, share in DRIFT.missing.items():
        had = plain[name].filter(after)
        lost = (table[name].filter(after).null_count - had.null_count) / (len(had) - had.null_count)
        assert abs(lost - share) < 0.1, name
    rows = np.flatnonzero(after)
    assert np.allclose(values(table, "series.crp", rows), 0.1 * values(plain, "series.crp", rows))
    assert (values(table, "series.spo2", rows) <= 1).all()
    noise = [np.median([noise_of(png) for png in t["image"].filter(after).to_pylist() if png]) for t in (plain, table)]
    assert noise[1] > 3 * noise[0]


def test_the_file_still_tells_the_former_unit_and_obeys_the_contract(drifted):
    """The change of unit is a defect that nobody told. Out of range values are warnings at most."""
    path, table = drifted
    assert json.loads(table.schema.metadata[b"auscult.units"])["series.crp"] == "mg/L"
    assert [problem for problem in inspect_cohort(path).problems if problem.severity == "error"] == []


def test_units_keep_their_precision():
    """1 mg/L of CRP is 8.69 nmol/L and 1 ng/L of NT-proBNP is .118 pmol/L."""
    assert abs(UNITS["crp"]["nmol/L"] - 8.686) < 0.001
    assert abs(UNITS["nt_probnp"]["pmol/L"] - 0.1182) < 0.0001


def test_a_drift_may_come_over_several_days():
    settings = SimulatorSettings(patients=3000, seed=1, drift=Drift(day=200, over_days=300, noise=2.0))
    from synthetic.simulator.story import draw_story

    studies = draw_story(settings).studies
    day = (studies.time - np.datetime64("2021-01-01")) / np.timedelta64(1, "D")
    assert not studies.changed[day < 200].any()
    assert studies.changed[day >= 500].all()
    for start in (200, 260, 320, 380, 440):
        here = (day >= start) & (day < start + 60)
        assert abs(studies.changed[here].mean() - (start + 30 - 200) / 300) < 0.09


def test_a_change_of_prevalence_follows_the_same_patients():
    """Whoever had the finding at the lower share has it at the higher one, and reports and labels say so alike."""
    plain = truth_of(SimulatorSettings(patients=400, seed=2))
    more = truth_of(SimulatorSettings(patients=400, seed=2, drift=Drift(day=0, prevalence={"effusion": 0.6})))
    assert (plain["truth.effusion"].to_numpy() <= more["truth.effusion"].to_numpy()).all()
    assert abs(more["truth.effusion"].to_numpy().mean() - 0.6) < 0.06
    assert plain["plan.cardiomegaly"].equals(more["plan.cardiomegaly"])


FAINT = Faintness(attribute="sex", value="F", share=0.8, findings=("cardiomegaly",))


def test_findings_are_fainter_in_the_pictures_of_one_group_and_nowhere_else(plain, tmp_path):
    table = simulated(tmp_path, faintness=FAINT)[1]
    women = np.array(table["sex"].to_pylist()) == "F"
    ill = table["label.cardiomegaly"].to_numpy() == 1
    for name in plain.column_names:
        if name != "image":
            assert plain[name].equals(table[name]), name
    same = np.array([a == b for a, b in zip(plain["image"].to_pylist(), table["image"].to_pylist(), strict=True)])
    gone = np.array([png is None for png in plain["image"].to_pylist()])
    assert same[~(women & ill)].all()
    assert not same[women & ill & ~gone].any()
    told = json.loads(table.schema.metadata[b"auscult.findings_fainter"])
    assert told == dict.fromkeys(FINDINGS, 0) | {"cardiomegaly": int((women & ill).sum())}


def test_at_a_share_of_one_a_picture_does_not_tell_the_finding():
    """By severity alone: without the defect .96 at the default difficulty, with it chance."""
    from sklearn.metrics import roc_auc_score

    planted = Faintness(attribute="group", value="B", share=1.0, findings=("effusion",))
    settings = SimulatorSettings(patients=4000, seed=3, faintness=planted)
    truth = truth_of(settings)
    from synthetic.simulator.story import draw_story

    members = draw_story(settings).studies.group == "B"
    label, seen = truth["truth.effusion"].to_numpy(), truth["seen.effusion"].to_numpy()
    assert abs(roc_auc_score(label[members], seen[members]) - 0.5) < 0.04
    assert abs(roc_auc_score(label[~members], seen[~members]) - 0.961) < 0.02


def test_settings_of_every_kind_survive_json():
    settings = SimulatorSettings(
        patients=3, seed=1, drift=DRIFT, faintness=FAINT, hallucination=Hallucination(share=0.1, kinds=("side",)),
        bilateral=0.1, sizes_told=True, records=True, fine_pictures=True,
    )  # fmt: skip
    assert SimulatorSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_knobs_that_are_left_alone_are_not_written_down_and_those_turned_change_the_digest():
    plain = SimulatorSettings(patients=3, seed=1)
    later = ("tasks", "drift", "faintness", "hallucination", "bilateral", "sizes_told", "records", "fine_pictures")
    assert not set(later) & set(plain.to_dict())
    turned = [
        {"drift": DRIFT}, {"faintness": FAINT}, {"hallucination": Hallucination(share=0.1)}, {"bilateral": 0.1},
        {"sizes_told": True}, {"records": True}, {"fine_pictures": True},
    ]  # fmt: skip
    digests = {generator_digest(SimulatorSettings(patients=3, seed=1, **more)) for more in [{}, *turned]}
    assert len(digests) == len(turned) + 1


@pytest.mark.parametrize(
    ("body", "column"),
    [
        ({"drift": {}}, "drift.day"),
        ({"drift": 5}, "drift"),
        ({"drift": {"day": -1}}, "drift.day"),
        ({"drift": {"day": 5, "nois": 2}}, "drift.nois"),
        ({"drift": {"day": 5, "noise": float("nan")}}, "drift.noise"),
        ({"drift": {"day": 5, "prevalence": {"effusion": 1}}}, "drift.prevalence"),
        ({"drift": {"day": 5, "prevalence": {"deterioration": 0.5}}}, "drift.prevalence.deterioration"),
        ({"drift": {"day": 5, "scanners": {"Aquila DR": 0.5}}}, "drift.scanners"),
        ({"drift": {"day": 5, "units": {"heart_rate": "/s"}}}, "drift.units.heart_rate"),
        ({"drift": {"day": 5, "units": {"crp": "g/L"}}}, "drift.units.crp"),
        ({"drift": {"day": 5, "units": {"crp": ["mg/dL"]}}}, "drift.units.crp"),
        ({"drift": {"day": 5, "missing": {"text.reference": 0.5}}}, "drift.missing.text.reference"),
        ({"faintness": {"attribute": "sex", "value": "X", "share": 0.5}}, "faintness.value"),
        ({"faintness": {"attribute": "sex", "value": "F", "share": 0.5, "findings": ["nodule"]}}, "faintness.findings"),
        ({"hallucination": {"share": 1.5}}, "hallucination.share"),
        ({"hallucination": {"share": 0.5, "kinds": []}}, "hallucination.kinds"),
        ({"hallucination": {"share": 0.5, "kinds": ["sides"]}}, "hallucination.kinds"),
        ({"bilateral": -0.1}, "bilateral"),
        ({"records": 1}, "records"),
        ({"fine_pictures": "yes"}, "fine_pictures"),
    ],
)
def test_a_wrong_knob_is_named(body, column):
    with pytest.raises(CohortError) as caught:
        SimulatorSettings.from_dict({"patients": 5, "seed": 1} | body)
    assert caught.value.column == column
    assert caught.value.remedy
