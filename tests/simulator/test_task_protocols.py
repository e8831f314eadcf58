"""The protocols for deterioration and rare diseases judge models of known quality on simulated patients."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evaluation.engine import load_protocol, run_audit
from synthetic.simulator import RARE_DISEASES, SimulatorSettings
from synthetic.simulator.deterioration import draw_deterioration
from synthetic.simulator.patients import draw_studies
from synthetic.simulator.rare import DISEASES, draw_rare

PATIENTS = 2200


@pytest.fixture(scope="module")
def truth():
    settings = SimulatorSettings(patients=PATIENTS, seed=12, tasks=("findings", "deterioration", "rare"))
    studies = draw_studies(settings, np.random.default_rng(1))
    deterioration = draw_deterioration(studies, settings, np.random.default_rng(2))
    return studies, deterioration, draw_rare(studies, settings, np.random.default_rng(3))


def frame_of(studies, labels, scores, cuts):
    """A prediction log: scores, and decisions at the cuts."""
    table = {
        "patient_id": [f"p{index}" for index in studies.patient],
        "study_id": [f"p{index}-{visit}" for index, visit in zip(studies.patient, studies.visit, strict=True)],
        "sex": studies.sex,
        "age": studies.age,
        "site": studies.site,
    }
    for name, label in labels.items():
        table |= {f"label.{name}": label.astype(int), f"score.{name}": scores[name]}
        table[f"pred.{name}"] = (scores[name] >= cuts[name]).astype(int)
    return pd.DataFrame(table)


def outcome(tmp_path, name, frame):
    frame.to_parquet(tmp_path / "log.parquet")
    result = run_audit(protocol=load_protocol(name), predictions=tmp_path / "log.parquet").to_dict()
    return result["outcome"], {verdict["criterion"]: verdict["outcome"] for verdict in result["verdicts"]}


def warnings_of(studies, deterioration, *, course=1.0, missed_sex=None):
    """The chance that the truth was drawn with, seen through noise; without the course where a sex is not heard."""
    heard = np.where(studies.sex == missed_sex, 0.0, course)
    noise = np.random.default_rng(4).normal(0, 0.7, size=len(studies))
    odds = 2.0 * heard * (deterioration.course + noise) + np.clip(studies.shown, 0, 2.2) @ [1.6, 1.6, 1.9, 1.0]
    return 1 / (1 + np.exp(4.7 - odds))


@pytest.mark.parametrize(
    ("defect", "wanted", "failing"),
    [
        ({}, "pass", set()),
        ({"missed_sex": "F"}, "fail", {"sex-tpr"}),
        ({"course": -1.0}, "fail", {"ranking", "warned"}),
    ],
)
def test_deterioration_is_judged(tmp_path, truth, defect, wanted, failing):
    studies, deterioration, _ = truth
    scores = {"deterioration": warnings_of(studies, deterioration, **defect)}
    frame = frame_of(studies, {"deterioration": deterioration.present}, scores, {"deterioration": 0.15})
    found, verdicts = outcome(tmp_path, "deterioration-24h-v1", frame)
    assert found == wanted
    assert failing <= {name for name, verdict in verdicts.items() if verdict == "fail"}


def suspicions(studies, rare, *, blind=False):
    """Log-odds of the signs, each seen through noise; nothing but noise where the model is blind."""
    rng = np.random.default_rng(5)
    scores = {}
    for column, (name, disease) in enumerate(DISEASES.items()):
        words = np.array([sum(word in note for word in disease.words) for note in rare.notes])
        odds = 2.5 * words + 2.0 * rare.shown[:, column] + disease.odds(studies.sex, studies.age)
        scores[name] = 1 / (1 + np.exp(5.5 - (0 if blind else 1) * odds + rng.normal(0, 1, size=len(studies))))
    return scores


@pytest.mark.parametrize(("blind", "wanted"), [(False, "pass"), (True, "fail")])
def test_rare_diseases_are_judged(tmp_path, truth, blind, wanted):
    studies, _, rare = truth
    labels = {name: rare.present[:, column] for column, name in enumerate(RARE_DISEASES)}
    scores = suspicions(studies, rare, blind=blind)
    frame = frame_of(studies, labels, scores, {name: np.quantile(scores[name], 0.9) for name in scores})
    found, verdicts = outcome(tmp_path, "rare-disease-v1", frame)
    assert found == wanted
    assert verdicts["ranking"] == ("fail" if blind else "pass")
