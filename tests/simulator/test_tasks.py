"""Deterioration and rare diseases: what the further tasks add, what they leave alone, and what it takes to rank."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from core.errors import CohortError
from models_registry.cohorts import inspect_cohort
from synthetic.simulator import (
    FINDINGS,
    LABELS,
    RARE_DISEASES,
    SERIES,
    TASKS,
    SimulatorSettings,
    Underdiagnosis,
    generator_digest,
    simulate_cohort,
)
from synthetic.simulator.deterioration import draw_deterioration
from synthetic.simulator.images import render
from synthetic.simulator.logistic import chances
from synthetic.simulator.patients import draw_studies
from synthetic.simulator.rare import DISEASES, draw_rare

ALL = tuple(TASKS)
FORMER_DIGEST = "1424d79c612b4831d6b5b0b3518c4a01b06f8ffe36522b3e25e1621e3e569fcd"
FORMER_COLUMNS = {
    "patient_id": "f1144a6d447c44e4",
    "study_id": "1269ad92b7d5bb1e",
    "study_time": "2320fcddcfd4ed12",
    "sex": "10fa10ed04cb32da",
    "age": "a0b6ce15f669de99",
    "view": "e618ccf189c597dc",
    "group": "652b3cfa4f529df4",
    "site": "57e20ab1631747f2",
    "scanner": "abd855ef85b828a9",
    "label.effusion": "823fbabdb0a9f6a1",
    "label.pneumothorax": "442ce52ea1a7ef72",
    "label.consolidation": "88a08564742c6119",
    "label.cardiomegaly": "3233954d0a9881ae",
    "text.indication": "6348a4bf7dbd23cb",
    "text.reference": "0de58065b13986c9",
    "series.crp": "fb0e6dbed50b8b29",
    "series.spo2": "5171aa4a04f73fe4",
    "series.heart_rate": "845ea768a4dc7fba",
    "series.nt_probnp": "d90730cb3b4947e9",
}


def simulated(folder, **settings):
    path = simulate_cohort(SimulatorSettings(**{"patients": 700, "seed": 5} | settings), folder / "c.parquet")
    return path, pq.read_table(path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("plain"))[1]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("full"), tasks=ALL)


@pytest.fixture(scope="module")
def truth():
    """6,000 patients without pictures: enough that the rarest disease is there 150 times."""
    settings = SimulatorSettings(patients=6000, seed=77, tasks=ALL)
    studies = draw_studies(settings, np.random.default_rng(1))
    deterioration = draw_deterioration(studies, settings, np.random.default_rng(2))
    return settings, studies, deterioration, draw_rare(studies, settings, np.random.default_rng(3))


def column_digest(column: pa.ChunkedArray) -> str:
    return hashlib.sha256(json.dumps(column.to_pylist(), default=str).encode()).hexdigest()[:16]


def test_settings_without_further_tasks_are_the_ones_of_before(tmp_path):
    """Digests taken before there were further tasks. Pictures are left out: their last bit is the processor's."""
    settings = SimulatorSettings(patients=60, seed=5)
    assert "tasks" not in settings.to_dict()
    assert generator_digest(settings) == FORMER_DIGEST
    _, table = simulated(tmp_path, patients=60)
    found = {name: column_digest(table[name]) for name in table.column_names if name != "image"}
    assert found == FORMER_COLUMNS


def test_further_tasks_change_no_former_draw(plain, full):
    """Patients, findings and reports are those of the plain cohort; only signs of what was added differ."""
    table = full[1]
    for name in plain.column_names:
        if name != "image" and name != "text.indication" and not name.startswith("series."):
            assert plain[name].equals(table[name]), name
    for before, after in zip(plain["text.indication"].to_pylist(), table["text.indication"].to_pylist(), strict=True):
        assert (before is None) == (after is None)
        assert after is None or after.startswith(before)
    for name in SERIES:
        times = [
            [[point["t"] for point in points or []] for points in t[f"series.{name}"].to_pylist()]
            for t in (plain, table)
        ]
        assert times[0] == times[1]


def test_deterioration_alone_leaves_pictures_and_words_as_they_are(tmp_path):
    tables = [simulated(tmp_path / str(i), patients=50, tasks=tasks)[1] for i, tasks in enumerate([ALL[:1], ALL[:2]])]
    for name in ("image", "text.indication", *(f"label.{finding}" for finding in FINDINGS)):
        assert tables[0][name].equals(tables[1][name])
    assert not tables[0]["series.heart_rate"].equals(tables[1]["series.heart_rate"])


def test_labels_stand_in_their_order_and_the_file_obeys_the_contract(full):
    path, table = full
    assert [name for name in table.column_names if name.startswith("label.")] == [f"label.{name}" for name in LABELS]
    assert [problem for problem in inspect_cohort(path).problems if problem.severity == "error"] == []
    assert json.loads(table.schema.metadata[b"auscult.settings"])["tasks"] == list(ALL)


@pytest.mark.parametrize("task", ALL)
def test_a_cohort_may_hold_one_task_alone(tmp_path, task):
    _, table = simulated(tmp_path, patients=20, tasks=(task,))
    labels = [name.removeprefix("label.") for name in table.column_names if name.startswith("label.")]
    assert tuple(labels) == TASKS[task]


def test_prevalence_is_as_set(truth):
    settings, _, deterioration, rare = truth
    # Four standard errors with about 2.5 correlated studies a patient.
    assert abs(deterioration.present.mean() - 0.15) < 0.02
    for column, name in enumerate(RARE_DISEASES):
        wanted = settings.share_with(name)
        assert 0.01 <= wanted <= 0.03
        assert abs(rare.present[:, column].mean() - wanted) < 4 * np.sqrt(wanted / 6000) * 1.1, name


def test_another_prevalence_may_be_asked_for(tmp_path):
    wanted = SimulatorSettings(patients=1, seed=0).prevalence | {"deterioration": 0.4}
    _, table = simulated(tmp_path, tasks=("deterioration",), prevalence=wanted, image_size=32)
    assert abs(table["label.deterioration"].to_numpy().mean() - 0.4) < 0.06


def test_a_rare_disease_stays_with_its_patient(truth):
    _, studies, _, rare = truth
    for patient in np.unique(studies.patient)[:500]:
        rows = rare.present[studies.patient == patient]
        assert (rows == rows[0]).all()


def test_no_sex_age_group_site_or_view_deteriorates_more_often(truth):
    _, studies, deterioration, _ = truth
    for name in ("sex", "group", "site", "view"):
        column = studies.attribute(name)
        rates = [deterioration.present[column == value].mean() for value in np.unique(column)]
        assert max(rates) - min(rates) < 0.035, name
    assert abs(np.corrcoef(studies.age, deterioration.present)[0, 1]) < 0.04


def test_rare_diseases_follow_age_and_sex(truth):
    _, studies, _, rare = truth
    share_women = {name: (studies.sex[rare.present[:, i]] == "F").mean() for i, name in enumerate(RARE_DISEASES)}
    assert share_women["lymphangioleiomyomatosis"] > 0.8
    assert share_women["alveolar_proteinosis"] < 0.45
    assert studies.age[rare.present[:, RARE_DISEASES.index("cardiac_amyloidosis")]].mean() > 65


def auroc(features, label):
    """Out of sample: fitted on the first half of the studies, judged on the second."""
    half = len(label) // 2
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(features[:half], label[:half])
    return roc_auc_score(label[half:], model.decision_function(features[half:]))


def test_course_and_picture_together_rank_deterioration_better_than_either(truth):
    _, studies, deterioration, _ = truth
    course = deterioration.course[:, None]
    shown = np.clip(studies.shown, 0, 2.2)
    alone = auroc(course, deterioration.present), auroc(shown, deterioration.present)
    both = auroc(np.hstack([course, shown]), deterioration.present)
    assert both > max(alone) + 0.04
    assert min(alone) > 0.68
    assert 0.85 < both < 0.97


def test_readings_tell_deterioration_by_their_course_not_by_their_level(full):
    """The last reading less the first one, where there are four or more, against their mean."""
    _, table = full
    label = table["label.deterioration"].to_numpy()
    rows = [
        (points[-1]["v"] - points[0]["v"], np.mean([point["v"] for point in points]), y)
        for points, y in zip(table["series.heart_rate"].to_pylist(), label, strict=True)
        if points and len(points) >= 4 and points[0]["t"] < -40 and points[-1]["t"] > -12
    ]
    change, level, ill = np.array(rows).T
    assert roc_auc_score(ill, change) > 0.68
    assert roc_auc_score(ill, change) > roc_auc_score(ill, level) + 0.05


def words_of(rare):
    phrases = sorted({word for disease in DISEASES.values() for word in disease.words})
    return np.array([[word in note for word in phrases] for note in rare.notes], dtype=float)


def test_ranking_rare_diseases_takes_several_modalities(truth):
    _, studies, _, rare = truth
    demographics = np.stack([disease.odds(studies.sex, studies.age) for disease in DISEASES.values()], axis=1)
    parts = {
        "picture": rare.shown,
        "words": words_of(rare),
        "labs": np.stack([rare.level(name) for name in SERIES], axis=1)
        + np.random.default_rng(9).standard_normal((len(studies), len(SERIES))) * [0.8, 1.5, 11, 0.9],
        "demographics": demographics,
    }
    for column, name in enumerate(RARE_DISEASES):
        label = rare.present[:, column]
        alone = {part: auroc(features, label) for part, features in parts.items()}
        together = auroc(np.hstack(list(parts.values())), label)
        assert together > max(alone.values()) + 0.02, (name, alone, together)
        assert all(value > 0.55 for value in alone.values()), (name, alone)


PLACES = {
    "sarcoidosis": (slice(22, 29), slice(20, 45)),
    "pulmonary_hypertension": (slice(18, 26), slice(34, 42)),
    "lymphangioleiomyomatosis": (slice(10, 46), slice(8, 56)),
    "cardiac_amyloidosis": (slice(32, 40), slice(18, 26)),
    "alveolar_proteinosis": (slice(20, 42), slice(10, 54)),
}
"""Rows and columns of a picture of 64 x 64 in which a disease is seen."""


@pytest.mark.parametrize("name", RARE_DISEASES)
def test_a_rare_disease_is_seen_in_its_place(name):
    """The same studies with the same noise: at a severity of 1 the picture changes there and hardly elsewhere."""
    settings = SimulatorSettings(patients=20, seed=3, studies_max=1)
    studies = draw_studies(settings, np.random.default_rng(1))
    ill = np.zeros((20, len(RARE_DISEASES)))
    ill[:, RARE_DISEASES.index(name)] = 1
    well, sick = (
        render(studies, np.arange(20), 64, np.random.default_rng(2), rare=rare).astype(float) for rare in (None, ill)
    )
    change = np.abs(sick - well).mean(axis=0)
    elsewhere = np.ones((64, 64), dtype=bool)
    elsewhere[PLACES[name]] = False
    assert change[PLACES[name]].mean() > 5
    assert change[elsewhere].mean() < 0.12 * change[PLACES[name]].mean()


def test_indications_name_no_disease(full):
    words = [*RARE_DISEASES, *(name.replace("_", " ") for name in RARE_DISEASES), *FINDINGS, "enlarged"]
    notes = [text or "" for text in full[1]["text.indication"].to_pylist()]
    assert any("Also noted: " in note for note in notes)
    assert not [note for note in notes if any(word in note.lower() for word in words)]


def test_a_defect_may_be_planted_in_the_new_labels(tmp_path, full):
    planted = Underdiagnosis(
        attribute="group", value="B", share=0.5, findings=("deterioration", "effusion", "sarcoidosis")
    )
    _, table = simulated(tmp_path, tasks=ALL, underdiagnosis=planted)
    members = np.array(table["group"].to_pylist()) == "B"
    counted = json.loads(table.schema.metadata[b"auscult.labels_erased"])
    for name in LABELS:
        before, after = full[1][f"label.{name}"].to_numpy(), table[f"label.{name}"].to_numpy()
        assert (before[~members] == after[~members]).all()
        wanted = round(0.5 * int(before[members].sum())) if name in planted.findings else 0
        assert int((before - after).sum()) == wanted == counted[name]
    for name in ("image", "text.indication", "series.crp"):
        assert full[1][name].equals(table[name])


def test_equal_settings_give_equal_bytes(tmp_path):
    first, second = (simulated(tmp_path / name, patients=30, tasks=ALL)[0] for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_tasks_survive_json_in_any_order():
    settings = SimulatorSettings(patients=3, seed=1, tasks=("rare", "findings"))
    assert settings.tasks == ("findings", "rare")
    assert SimulatorSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert generator_digest(settings) != generator_digest(SimulatorSettings(patients=3, seed=1))


@pytest.mark.parametrize(
    ("body", "column"),
    [
        ({"tasks": []}, "tasks"),
        ({"tasks": "rare"}, "tasks"),
        ({"tasks": ["rare", "rare"]}, "tasks"),
        ({"tasks": ["sepsis"]}, "tasks"),
        ({"tasks": [["rare"]]}, "tasks"),
        ({"prevalence": {"effusion": 0.3}}, "prevalence"),
        (
            {"tasks": ["rare"], "prevalence": dict.fromkeys((*FINDINGS, "deterioration"), 0.2)},
            "prevalence.deterioration",
        ),
        (
            {"underdiagnosis": {"attribute": "sex", "value": "F", "share": 0.5, "findings": ["deterioration"]}},
            "underdiagnosis.findings",
        ),
        (
            {"tasks": ["rare"], "underdiagnosis": {"attribute": "sex", "value": "F", "share": 0.5}},
            "underdiagnosis.findings",
        ),
    ],
)
def test_a_wrong_task_is_named(body, column):
    with pytest.raises(CohortError) as caught:
        SimulatorSettings.from_dict({"patients": 5, "seed": 1} | body)
    assert caught.value.column == column


def test_chances_have_the_mean_that_was_asked_for():
    score = np.random.default_rng(0).normal(3, 4, size=500)
    weights = np.random.default_rng(1).integers(1, 5, size=500).astype(float)
    for prevalence in (0.001, 0.15, 0.999):
        assert np.isclose(chances(score, prevalence).mean(), prevalence)
        assert np.isclose(np.average(chances(score, prevalence, weights), weights=weights), prevalence)
