"""The figures of ``benchmarks.modalities`` against scikit-learn, and a whole run of it on a handful of patients."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import modalities
from models_registry.reference.settings import TrainingSettings
from models_registry.reference.studies import Studies

TINY = TrainingSettings(
    kind="backbone", epochs=1, head_epochs=1, batch_size=32, width=16, layers=1, image_layers=1, threads=1
)


def test_weighted_areas_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 12, (300, 3)) / 11  # with many ties
    truth = (rng.random((300, 3)) < 0.2).astype(np.float32)
    weight = rng.integers(0, 4, 300).astype(float)
    for given in (None, weight):
        found = modalities.areas(scores, truth, given)
        expected = [roc_auc_score(truth[:, k], scores[:, k], sample_weight=given) for k in range(3)]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_an_interval_draws_patients_and_not_studies():
    """Each patient ten times: the interval is as wide as that of one study for each patient."""
    rng = np.random.default_rng(1)
    truth = (rng.random((80, 1)) < 0.4).astype(np.float32)
    one, other = truth + rng.normal(0, 0.8, (80, 1)), rng.normal(size=(80, 1))
    widths = []
    for times in (1, 10):
        rows = np.repeat(np.arange(80), times)
        nothing = np.zeros((len(rows), 0), np.float32)
        data = Studies(arrays={}, pictures=nothing, reports=nothing, labels=truth[rows])
        task = modalities.Task(name="t", labels=["x"], training=data, held_out=data, patients=rows)
        estimate, low, high = modalities.interval(task, one[rows], other[rows])
        assert low < estimate < high
        widths.append(high - low)
    assert widths[0] == pytest.approx(widths[1], rel=1e-9)


def test_a_label_without_positives_has_no_area():
    truth = np.array([[0, 1], [0, 0], [0, 1]], np.float32)
    scores = np.array([[0.1, 0.9], [0.2, 0.3], [0.3, 0.5]])
    assert np.isnan(modalities.areas(scores, truth)[0])
    assert modalities.macro(scores, truth) == 1.0


def test_the_whole_benchmark_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(modalities, "REPLICATES", 20)
    targets, facts = modalities.measure(tmp_path, settings=replace(TINY, image_size=32), patients=90, held_out=90)
    assert [target.name.split(", ")[1] for target in targets] == [
        "findings: lower end (95 %)",
        "deterioration: lower end (95 %)",
        "rare: lower end (95 %)",
    ]
    for name in ("findings", "deterioration"):
        assert set(facts[name]["auroc"]) >= {"all", "image alone", "without series"}
        low, high = facts[name]["fusion_less_image"]["interval"]
        assert low <= facts[name]["fusion_less_image"]["estimate"] <= high
        assert facts[name]["lora"]["trained"] > facts[name]["frozen"]["trained"] > 0
    json.dumps(facts)
