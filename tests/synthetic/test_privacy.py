"""The privacy audit: a redraw passes, whoever copies is found, and what cannot be told is not told."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.digests import canonical_json
from synthetic.generators.studies import LinkedStudies, split_patients
from synthetic.suites import privacy
from synthetic.suites.figures import Figure
from synthetic.suites.privacy import GATES, MEANINGS, METRICS, audit_privacy
from synthetic.suites.privacy_arms import arms_of
from synthetic.suites.privacy_distance import copy_figures, distance_figures
from tests.synthetic.privacy_scene import copied, patients, scene, verdicts

PATIENTS_ONLY = {"image_copies", "canaries_extracted", "weights_auc", "weights_tpr", "canary_exposure"}
"""What cannot be told of patients without images, canaries and weights."""


def one(figures: Any, metric: str, of: str = "") -> Figure:
    return next(item for item in figures if (item.metric, item.of) == (metric, of))


def test_every_metric_is_told_explained_and_has_a_gate() -> None:
    assert set(METRICS) == set(MEANINGS) == set(GATES)
    figures = audit_privacy(scene(60), generator=None, attacks=20)
    assert {item.metric for item in figures} == set(METRICS)
    assert one(figures, "weights_auc").reason == "the weights were not given"
    assert one(figures, "canaries_extracted").reason == "no canaries were planted before the training"
    assert all(item.counted for item in figures if item.value is not None)


def test_line_6_a_redraw_passes_every_gate() -> None:
    figures = audit_privacy(scene(4500), generator=None)
    said = verdicts(figures)
    assert {metric for metric, outcome in said.items() if outcome != "pass"} == PATIENTS_ONLY, said
    told = [item for item in figures if item.value is not None]
    assert all(item.null is not None and item.null_error is not None for item in told)


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_line_6_a_redraw_of_few_patients_fails_no_gate(seed: int) -> None:
    figures = audit_privacy(scene(600, seed=seed), generator=None)
    assert "fail" not in verdicts(figures).values()
    risk = one(figures, "linkability")
    assert (risk.n, risk.detail["attacks_wanted"], risk.detail["too_few"]) == (600, 2000, True)


def test_line_3_all_rows_copied_fail() -> None:
    said = verdicts(audit_privacy(scene(600, 1.0), generator=None))
    failed = {metric for metric, outcome in said.items() if outcome == "fail"}
    assert failed >= {"dcr_share", "dcr_tail", "near_copies", "copies", "domias_auc", "domias_tpr"}, said
    assert failed >= {"singling_out", "linkability", "inference", "text_copies", "text_overlap"}, said


@pytest.mark.parametrize(("share", "least"), [(0.3, {"copies", "near_copies", "domias_tpr", "linkability"}),
                                              (0.1, {"copies", "near_copies", "dcr_tail"})])  # fmt: skip
def test_line_4_copies_of_a_share_of_the_rows_fail(share: float, least: set[str]) -> None:
    figures = audit_privacy(scene(1200, share), generator=None, attacks=1200)
    said = verdicts(figures)
    assert {metric for metric, outcome in said.items() if outcome == "fail"} >= least, said
    assert one(figures, "copies", "records").value == pytest.approx(share, abs=0.01)


def test_line_5_a_full_copy_fails_though_linkability_is_low() -> None:
    figures = audit_privacy(scene(600, 1.0, coarse=True), generator=None)
    linked = one(figures, "linkability")
    assert linked.value is not None and linked.value < 0.09
    assert {"dcr_share", "copies"} <= {metric for metric, said in verdicts(figures).items() if said == "fail"}


def test_line_2_a_perfect_generator_scores_the_same_whatever_the_hold_out_s_size() -> None:
    sets, shares = scene(1500), []
    for size in (1.0, 0.4, 0.15):
        held_out = split_patients(sets.held_out, [size], seed=1)[0]
        arms = arms_of(replace(sets, held_out=held_out), attacks=10)
        assert len(arms.learnt) == len(arms.held_out) == round(1500 * size)
        shares.append(one(distance_figures(arms), "dcr_share"))
    assert all(item.interval(2.6)[0] < 0.5 < item.interval(2.6)[1] for item in shares), shares
    assert max(abs((item.value or 0) - 0.5) for item in shares) < 0.08


def test_rows_that_were_changed_a_little_are_near_copies_and_no_exact_ones() -> None:
    sets = scene(600)
    made = copied(sets.learnt, sets.synthetic, 0.2)
    weight = np.array([value + 0.1 for value in made.attributes["weight"].tolist()], dtype=object)
    arms = arms_of(replace(sets, synthetic=replace(made, attributes={**made.attributes, "weight": weight})), attacks=10)
    assert one(copy_figures(arms), "copies", "records").value == 0.0
    assert verdicts([one(distance_figures(arms), "near_copies")]) == {"near_copies": "fail"}


def test_line_16_what_does_not_vary_is_not_computable() -> None:
    sets = scene(80)
    dull = {"country": np.full(1, "X", dtype=object), "empty": np.full(1, None, dtype=object)}

    def with_dull(studies: LinkedStudies, *, only: bool = False) -> LinkedStudies:
        more = {name: np.resize(value, len(studies)) for name, value in dull.items()}
        return replace(studies, attributes=({} if only else studies.attributes) | more)

    names = ("learnt", "readers", "held_out", "synthetic")
    dulled = replace(sets, **{name: with_dull(getattr(sets, name)) for name in names})
    left_out = one(audit_privacy(dulled, generator=None, attacks=20), "dcr_share").detail["left_out"]
    assert left_out["attribute.country"] == "all values are equal"
    assert left_out["attribute.empty"] == "all values are missing"

    def alone(studies: LinkedStudies) -> LinkedStudies:
        first = with_dull(studies.rows(studies.visits() == 0), only=True)
        same = replace(first, times=np.full(len(first), np.datetime64("2021-01-01", "s")), series={}, labels={})
        return replace(same, plans=first.plans.empty((), len(first)))

    nothing = replace(sets, **{name: alone(getattr(sets, name)) for name in names})
    figures = audit_privacy(nothing, generator=None, attacks=20)
    for metric in ("dcr_share", "dcr_tail", "near_copies", "domias_auc", "singling_out", "linkability", "inference"):
        assert all(item.value is None and item.reason for item in figures if item.metric == metric), metric


def test_an_attack_that_crashes_is_told_and_logged_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(arms: Any) -> list[Figure]:
        raise KeyError("crp")

    monkeypatch.setattr(privacy, "linkability_figures", broken)
    with caplog.at_level(logging.ERROR):
        figures = audit_privacy(scene(60), generator=None, attacks=20)
    assert one(figures, "linkability").reason == "the attack failed with KeyError: 'crp'"
    assert one(figures, "inference", "findings").value is not None
    assert "Linkability" in caplog.text and "KeyError" in caplog.text


def test_too_few_patients_are_told_and_whoever_stops_the_work_stops_it() -> None:
    sets = replace(scene(60), held_out=patients(20, 9))
    figures = audit_privacy(sets, generator=None)
    assert {item.metric for item in figures} == set(METRICS)
    assert all("the set 'held_out' has 20 patients;" in item.reason for item in figures)

    def stop(share: float, message: str) -> None:
        raise InterruptedError(message)

    with pytest.raises(InterruptedError, match="Distances"):
        audit_privacy(scene(60), generator=None, tell=stop)


def test_equal_sets_give_equal_figures_and_no_patient_is_named() -> None:
    runs = [audit_privacy(scene(120, 0.1), generator=None, attacks=60) for _ in range(2)]
    assert canonical_json([item.to_dict() for item in runs[0]]) == canonical_json([item.to_dict() for item in runs[1]])
    assert "P10-" not in str(runs[0]) and "P11-" not in str(runs[0])
