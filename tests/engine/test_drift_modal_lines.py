"""Lines 14 to 16 of the list of what a toy gets wrong: bandwidth, held-out folds, estimates that no longer hold."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from evaluation.engine.drift.discriminant import mmd2, vector_shift
from evaluation.engine.drift.estimated import scored_shifts
from evaluation.engine.drift.frame import DriftFrame
from evaluation.engine.drift.records import Family, NoticeKind, Shape, StreamSpec, StudyStreams
from evaluation.engine.drift.sample import hashes_of
from evaluation.engine.drift.scored import ScoredCounts
from evaluation.engine.drift.shares import shapley_of_performance
from evaluation.engine.drift.shifts import shifts_of
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.drift.vectors import VectorFrame, VectorSketch, folds_of
from evaluation.engine.protocol import Protocol
from evaluation.engine.protocol_drift import Drift
from evaluation.engine.sketches.embeddings import median_bandwidth
from tests.engine.drift_builders import studies

Array = np.ndarray[Any, Any]
WATCH: dict[str, Any] = {
    "auscult_protocol": 1, "name": "watch", "title": "Watch", "suites": ["drift"],
    "labels": [{"name": "x", "threshold": {"value": 0.2, "source": "tuned on others"}}],
    "criteria": [
        {"id": "ranks", "title": "Ranks", "metric": "performance_shift", "direction": "at_most", "margin": 0.05},
    ],
}  # fmt: skip
SCORED = tuple(
    StreamSpec(name=f"{name}.x", family=Family(family), shape=Shape.SCORED, title=name, modality="score.x")
    for name, family in (("score", "prediction"), ("performance", "performance"), ("concept", "concept"))
)
SPEC = StreamSpec(name="e", family=Family.IMAGE, shape=Shape.VECTOR, title="e", modality="image")


def test_line_14_the_bandwidth_is_fixed_on_the_reference() -> None:
    """A window that drifts far does not widen the kernel by which it is measured."""
    rng = np.random.default_rng(14)
    reference = rng.normal(size=(400, 6))
    frame = VectorFrame.fit(reference, seed=1)
    standard = (reference - reference.mean(axis=0)) / reference.std(axis=0, ddof=1)
    assert frame.features.bandwidth == median_bandwidth(standard, seed=1)
    before, folds = frame.digest, np.arange(400) % 4
    found = []
    for size in (0.0, 1.0, 4.0, 20.0):
        window = rng.normal(size=(400, 6)) + np.linspace(-size, size, 400)[:, None]
        sketch = VectorSketch.of(frame, window, folds)
        assert sketch.frame_digest == before == frame.digest
        found.append(mmd2([(sketch, VectorSketch.of(frame, reference, folds))]))
        # A kernel as wide as the window's own distances would shrink to nothing beside them.
        if size == 20.0:
            assert median_bandwidth(window, seed=1) > 5 * frame.features.bandwidth
    assert None not in found and found == sorted(found, key=lambda value: value or 0.0)
    assert abs(found[0] or 0.0) < 0.01 and (found[-1] or 0.0) > 0.3
    # The frame depends on nothing but the reference and the seed.
    assert VectorFrame.fit(reference, seed=1).to_bytes() == frame.to_bytes()


def test_line_15_the_classifier_scores_held_out_folds_split_by_patient() -> None:
    """Patients have several studies that are alike. Nothing differs between window and reference but the patients."""
    areas, naive, own = [], [], []
    for run in range(8):
        rng = np.random.default_rng(run)
        names = np.array([f"p{row // 8}" for row in range(480)], dtype=object)
        centre = np.repeat(rng.normal(size=(60, 16)), 8, axis=0)
        rows = centre + 0.2 * rng.normal(size=(480, 16))
        frame = VectorFrame.fit(rng.normal(size=(400, 16)), seed=run)
        folds = folds_of(hashes_of(names, seed=run))
        sides = [slice(0, 240), slice(240, 480)]
        sketches = [VectorSketch.of(frame, rows[side], folds[side]) for side in sides]
        areas.append(vector_shift(SPEC, *sketches, margin=0.1, seed=1).detail["auc"])
        # Folds of studies: a patient lies in several, and is known again.
        mixed = [VectorSketch.of(frame, rows[side], np.arange(240) % 4) for side in sides]
        naive.append(vector_shift(SPEC, *mixed, margin=0.1, seed=1).detail["auc"])
        truth = np.repeat([1, 0], 240)
        model = LinearDiscriminantAnalysis().fit(rows, truth)
        own.append(roc_auc_score(truth, model.decision_function(rows)))
    assert np.mean(own) > 0.75, "on the studies it was trained on, a classifier tells any two samples apart"
    assert np.mean(naive) > 0.65, "split by study, it knows the patients again"
    assert np.mean(areas) == pytest.approx(0.5, abs=0.06)


def test_line_16_an_estimate_is_invalid_once_labels_contradict_it() -> None:
    """The scores stay as they are, but mean more: an estimate without labels sees nothing, and then says it is void."""
    rules: Any = SimpleNamespace(drift=Drift(), alpha=0.05, minimum_cell=11)
    rng = np.random.default_rng(16)

    def draw(n: int, *, odds: float = 0.0, labelled: bool = True) -> ScoredCounts:
        logit = -2 + 1.5 * rng.normal(size=n)
        truth = (rng.random(n) < 1 / (1 + np.exp(-logit - odds))).astype(int)
        return ScoredCounts.of(1 / (1 + np.exp(-logit)), truth if labelled else np.full(n, -1), threshold=0.2)

    reference = draw(8000)
    shifts, notices = scored_shifts(rules, "x", draw(800, odds=1.0, labelled=False), reference)
    by_name = {item.stream: item for item in shifts}
    assert notices == () and by_name["concept.x"].value is None
    estimate = by_name["estimated.x"]
    assert estimate.value is not None and estimate.low is not None and estimate.low < 0.05
    shifts, notices = scored_shifts(rules, "x", draw(800, odds=1.0), reference)
    by_name = {item.stream: item for item in shifts}
    assert by_name["estimated.x"].value is None and "invalid" in by_name["estimated.x"].reason
    assert "concept.x" in by_name["estimated.x"].reason
    assert [(item.kind, item.stream) for item in notices] == [(NoticeKind.CONCEPT, "concept.x")]
    concept = by_name["concept.x"]
    assert concept.low is not None and concept.low > 0.05 and concept.detail["observed"] > concept.detail["expected"]
    # Labels that agree leave the estimate as it is.
    shifts, notices = scored_shifts(rules, "x", draw(800), reference)
    assert notices == () and {item.stream: item for item in shifts}["estimated.x"].value is not None


def test_a_worse_scanner_is_named_as_the_cause_of_worse_performance() -> None:
    """In one of two scanners scores became noise; the mix of sexes changed as well, which matters less."""
    rng = np.random.default_rng(17)

    def sketch(n: int, *, women: float, broken: bool) -> DriftSketch:
        sex, scanner = (rng.random(n) < women).astype(int), rng.integers(0, 2, n)
        logit = -1.5 + 2 * rng.normal(size=n) + 0.3 * sex
        truth = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.int8)
        scores = 1 / (1 + np.exp(-logit))
        scores = np.where((scanner == 1) & broken, rng.permutation(scores), scores)
        table = studies(sex=np.array(["M", "F"])[sex], scanner=np.array(["Philips", "Siemens"])[scanner])
        streams = StudyStreams(specs=SCORED, frame=DriftFrame(specs=SCORED))
        return DriftSketch.from_table(rules, replace(table, labels={"x": truth}, scores={"x": scores}, streams=streams))

    rules = Protocol.from_dict(WATCH | {"attributes": [{"name": "sex"}, {"name": "scanner"}], "drift": {}})
    before = sketch(6000, women=0.5, broken=False)
    window = sketch(1500, women=0.8, broken=True)
    causes = shapley_of_performance(rules, window, before, "x")
    assert (causes[0].feature, causes[0].attribute, causes[0].group) == ("scanner=Siemens", "scanner", "Siemens")
    assert causes[0].share > 0.7 and sum(item.share for item in causes) == pytest.approx(1.0)
    assert "Siemens: Brier score 0.1" in causes[0].sentence
    alike = shapley_of_performance(rules, sketch(1500, women=0.8, broken=False), before, "x")
    assert {item.feature for item in alike} == {"performance.x", "sex"}
    assert shapley_of_performance(rules, before, before, "absent") == ()
    # And so the shifts of that scanner show it, and those of the other do not.
    found = {(item.stream, item.group): item for item in shifts_of(rules, window, before)[0]}
    worse, same = (found[("performance.x", group)] for group in ("Siemens", "Philips"))
    assert worse.low is not None and worse.low > 0.1 and same.low is not None and same.low < 0.02
    # The sketch keeps the threshold of the protocol, through its bytes.
    kept = DriftSketch.from_bytes(window.to_bytes()).total().scored["x"]
    assert kept.threshold == 0.2 and kept.labelled == 1500
