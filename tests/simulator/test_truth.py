"""The truth beside a cohort: it is the cohort's, no defect of recording touches it, and reports tell it as they say."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.errors import EnvironmentProblemError
from synthetic.generators.plan_reading import read_plans
from synthetic.generators.plans import PARTS, UNTOLD, Plans
from synthetic.simulator import (
    FINDINGS,
    Drift,
    Faintness,
    Hallucination,
    SimulatorSettings,
    Underdiagnosis,
    simulate_cohort,
    truth_of,
    write_truth,
)
from synthetic.simulator.statements import plant_statements
from synthetic.simulator.story import draw_story
from synthetic.simulator.texts import write_references

MANY = {"patients": 1200, "seed": 8, "bilateral": 0.2}
TOLD = {"effusion": ("side", "size"), "pneumothorax": ("side", "size"), "consolidation": ("side", "zone")}
"""What every report tells of a finding."""


def plans_of(truth):
    return Plans.of_words({name: truth[f"plan.{name}"].to_pylist() for name in FINDINGS})


def read(story):
    """The plans that its reports tell, over the true labels."""
    labels = {name: present.astype(np.int8) for name, present in story.truth.items()}
    said = story.statements
    texts = write_references(said.stated, sizes_told=story.settings.sizes_told, compared=said.compared)
    return read_plans(labels, texts)


@pytest.mark.parametrize("sizes_told", [False, True])
def test_plans_read_from_reports_are_the_truth_where_it_is_told(sizes_told):
    """Nothing that is told is read wrongly or not at all, and what is not told stays untold."""
    settings = SimulatorSettings(**MANY, sizes_told=sizes_told)
    found, truth = read(draw_story(settings)), plans_of(truth_of(settings))
    assert (found.present == truth.present).all()
    for column, name in enumerate(FINDINGS):
        told = (*TOLD.get(name, ()), *(("size",) if sizes_told else ()))
        for part in PARTS:
            wanted = truth.part(part)[:, column] if part in told else np.full(len(truth), UNTOLD)
            assert (found.part(part)[:, column] == wanted).all(), (name, part)


def test_the_truth_holds_every_side_and_size_and_the_zones_of_consolidation():
    truth = plans_of(truth_of(SimulatorSettings(**MANY)))
    for column, name in enumerate(FINDINGS):
        there = truth.present[:, column] == 1
        assert (truth.size[there, column] >= 0).all()
        assert set(np.unique(truth.size[there, column])) == {0, 1, 2}
        assert set(np.unique(truth.side[there, column])) == ({UNTOLD} if name == "cardiomegaly" else {0, 1, 2})
        assert set(np.unique(truth.zone[there, column])) == ({0, 1, 2} if name == "consolidation" else {UNTOLD})
        both = (truth.side[there, column] == 2).mean()
        assert name == "cardiomegaly" or abs(both - 0.2) < 0.06


def test_the_truth_is_of_the_cohorts_studies_and_underdiagnosis_leaves_it(tmp_path):
    planted = Underdiagnosis(attribute="sex", value="F", share=0.5)
    settings = SimulatorSettings(patients=80, seed=3, image_size=32, tasks=("findings", "rare"), underdiagnosis=planted)
    cohort = pq.read_table(simulate_cohort(settings, tmp_path / "cohort.parquet"))
    truth = pq.read_table(write_truth(settings, tmp_path / "truth.parquet"))
    clean = truth_of(SimulatorSettings(patients=80, seed=3, image_size=32, tasks=("findings", "rare")))
    for name in ("patient_id", "study_id"):
        assert truth[name].equals(cohort[name])
    assert [name for name in truth.column_names if name.startswith("truth.")] == [
        name.replace("label.", "truth.") for name in cohort.column_names if name.startswith("label.")
    ]
    assert truth.equals(clean)
    erased = sum((truth[f"truth.{name}"].to_numpy() - cohort[f"label.{name}"].to_numpy()).sum() for name in FINDINGS)
    assert erased == sum(json.loads(cohort.schema.metadata[b"auscult.labels_erased"]).values()) > 0
    assert truth.schema.metadata[b"auscult.simulated"] == b"true"


def test_the_severity_tells_the_size():
    truth = truth_of(SimulatorSettings(patients=300, seed=2))
    for name in FINDINGS:
        words = np.array([text.split()[-1] for text in truth[f"plan.{name}"].to_pylist()])
        severity = truth[f"severity.{name}"].to_numpy()
        assert severity[words == "small"].max() <= 0.75 < severity[words == "moderate"].min()
        assert severity[words == "moderate"].max() <= 1.25 < severity[words == "large"].min()


def test_truth_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblemError):
        write_truth(SimulatorSettings(patients=2, seed=1), tmp_path / "file" / "truth.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def disagreements(settings):
    """Reports over the true labels: which part of which finding each kind of false statement has changed."""
    story = draw_story(settings)
    kinds = np.array(truth_of(settings)["false_statement"].to_pylist(), dtype=object)
    honest, said = story.studies, story.statements.stated
    wrong = {
        "invented": (said.present & ~honest.present).any(axis=1),
        "omitted": (~said.present & honest.present).any(axis=1),
        "side": (said.right != honest.right).any(axis=1),
        "size": (said.sizes() != honest.sizes()).any(axis=1),
        "comparison": story.statements.compared,
    }
    return story, kinds, wrong


def test_each_report_holds_the_false_statement_that_the_truth_tells():
    settings = SimulatorSettings(patients=800, seed=4, bilateral=0.1, hallucination=Hallucination(share=0.3))
    story, kinds, wrong = disagreements(settings)
    assert (kinds != None).sum() == round(0.3 * len(kinds)) == sum(story.statements.counts().values())  # noqa: E711
    for name, rows in wrong.items():
        assert (rows == (kinds == name)).all(), name
        assert rows.sum() == story.statements.counts()[name] > 20


def test_a_reader_of_the_reports_finds_what_was_planted():
    """Read back with the product's own reader: reports state what is not so in as many studies as were planted."""
    from evaluation.engine.text.claims import Assertion, findings_of

    settings = SimulatorSettings(patients=800, seed=4, hallucination=Hallucination(share=0.3))
    story = draw_story(settings)
    said, kind = story.statements, np.array(truth_of(settings)["false_statement"].to_pylist(), dtype=object)
    texts = write_references(said.stated, compared=said.compared)
    stated = np.array([[findings_of(text)[name] is Assertion.PRESENT for name in FINDINGS] for text in texts])
    assert ((stated & ~story.studies.present).any(axis=1) == (kind == "invented")).all()
    assert ((~stated & story.studies.present).any(axis=1) == (kind == "omitted")).all()
    plans, truth = read(story), plans_of(truth_of(settings))
    for part in ("side", "size"):
        told = (plans.part(part) != UNTOLD) & (truth.present == 1)
        assert ((told & (plans.part(part) != truth.part(part))).any(axis=1) == (kind == part)).all()
    first = story.studies.visit == 0
    compared = np.array(["prior study" in text for text in texts])
    assert ((compared & first) == (kind == "comparison")).all()


def test_only_the_kinds_that_were_asked_for_are_planted_and_never_more_than_are_possible():
    """A comparison can be false in first studies alone: with a share of 1 every one of them is."""
    settings = SimulatorSettings(patients=50, seed=4, hallucination=Hallucination(share=1.0, kinds=("comparison",)))
    story = draw_story(settings)
    assert story.statements.counts() == dict.fromkeys(("invented", "omitted", "side", "size"), 0) | {"comparison": 50}
    assert plant_statements(story.studies, settings, np.random.default_rng(0)).kind.max() == 4


@pytest.mark.parametrize(
    "planted",
    [
        {"hallucination": Hallucination(share=0.2)},
        {"faintness": Faintness(attribute="sex", value="F", share=0.5)},
        {"drift": Drift(day=100_00, noise=3.0, missing={"image": 1.0})},
        {"records": True},
        {"sizes_told": True},
    ],
)
def test_no_other_part_of_the_story_moves_with_a_knob(planted):
    plain, other = (truth_of(SimulatorSettings(patients=200, seed=6, **more)) for more in ({}, planted))
    moved = {name for name in plain.column_names if not plain[name].equals(other[name])}
    allowed = {"false_statement", "false_finding"} if "hallucination" in planted else set()
    allowed |= {f"seen.{name}" for name in FINDINGS} if "faintness" in planted else set()
    assert moved == allowed
