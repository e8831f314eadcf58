"""Utility: a redraw serves as well as real patients; labels without meaning, and a group that was left out, do not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from core.errors import AuscultError
from synthetic.generators.studies import LinkedStudies
from synthetic.suites import utility_arms
from synthetic.suites.figures import AuditSets, Figure
from synthetic.suites.utility import ARMS, GATES, MEANINGS, METRICS, _best_bar, audit_utility
from synthetic.suites.utility_arms import OTHER_REAL, OVERSAMPLED, RARE, REAL, SYNTHETIC, THRICE, TWICE
from tests.synthetic.likeness_scene import PATIENTS, failing, patients, valued, world

TWO = (REAL, SYNTHETIC)


def failed(figures: Iterable[Figure]) -> set[tuple[str, str]]:
    return failing(figures, METRICS, GATES)


@cache
def plain() -> AuditSets:
    """The world without images, with a rare disease that the pulse shows."""
    made = {}
    for place, name in enumerate(("learnt", "readers", "held_out", "synthetic")):
        made[name] = with_rare(getattr(world(), name), place)
    return AuditSets(seed=3, **made)


def with_rare(studies: LinkedStudies, seed: int) -> LinkedStudies:
    rng = np.random.default_rng(seed + 50)
    rare = (rng.random(len(studies)) < 0.06).astype(np.int8)
    pulse = [
        None if item is None else item + np.array([0, 60.0 * rare[row]])
        for row, item in enumerate(studies.series["pulse"])
    ]
    return replace(
        studies,
        labels={**studies.labels, "storm": rare},
        series={**studies.series, "pulse": pulse},
        images=None,
        has_image=np.zeros(len(studies), dtype=np.bool_),
    )


def changed(sets: AuditSets, **fields: object) -> AuditSets:
    return replace(sets, synthetic=replace(sets.synthetic, **fields))  # type: ignore[arg-type]


def test_a_redraw_fails_nothing_in_any_arm() -> None:
    told: list[str] = []
    figures = audit_utility(plain(), seeds=2, steps=60, tell=lambda share, message: told.append(message))
    assert failed(figures) == set() and set(METRICS) == set(MEANINGS) and set(GATES) <= set(METRICS)
    assert {item.metric for item in figures} == set(METRICS)
    assert len(told) == 2 * len(ARMS) and told[1] == "real, seed 2 of 2"
    loss = valued(figures, "tstr_minus_trtr")
    assert loss.value is not None and abs(loss.value) < 0.05 and loss.null is not None
    assert {item.of for item in figures if item.metric == "arm_auroc"} == set(ARMS)
    for arm in (TWICE, THRICE):
        assert f"{PATIENTS} real ones, and there are {PATIENTS}" in valued(figures, "arm_auroc", arm).reason
    assert valued(figures, "arm_auroc", REAL).value > 0.7  # type: ignore[operator]
    gains = {item.of: item.value for item in figures if item.metric == "rare_f1_gain"}
    assert set(gains) == {"storm against real alone", "storm against oversampling"}
    groups = {(item.attribute, item.group) for item in figures if item.metric == "subgroup_difference"}
    assert groups >= {("sex", "F"), ("sex", "M"), ("scanner", "old"), ("region", "coast")}
    json.dumps([item.to_dict() for item in figures], allow_nan=False)


def test_labels_without_meaning_teach_nothing() -> None:
    rng, made = np.random.default_rng(0), plain().synthetic
    labels = {name: values[rng.permutation(len(values))] for name, values in made.labels.items()}
    figures = audit_utility(changed(plain(), labels=labels), seeds=1, steps=60, arms=TWO)
    assert ("tstr_minus_trtr", "") in failed(figures)
    trts = valued(figures, "trts")
    assert trts.value is not None and trts.null is not None and trts.value < trts.null - 0.1


def test_images_teach_too_and_equal_seeds_give_equal_figures() -> None:
    bare = replace(
        world(),
        **{
            name: replace(getattr(world(), name), series={}, attributes={})
            for name in ("learnt", "readers", "held_out", "synthetic")
        },
    )
    first = audit_utility(bare, seeds=1, steps=32, arms=TWO)
    assert valued(first, "arm_auroc", SYNTHETIC).value > 0.75 and failed(first) == set()  # type: ignore[operator]
    second = audit_utility(bare, seeds=1, steps=32, arms=(SYNTHETIC,))
    one, two = (valued(figures, "arm_auroc", SYNTHETIC) for figures in (first, second))
    assert one.value == two.value, "the arms beside it do not matter"


def test_a_group_that_was_made_badly_is_named() -> None:
    """Among synthetic women labels mean the opposite; the mean over all hides a part of it."""
    made = plain().synthetic
    women = made.attributes["sex"] == "F"
    labels = {name: np.where(women, 1 - values, values).astype(np.int8) for name, values in made.labels.items()}
    figures = audit_utility(changed(plain(), labels=labels), seeds=1, steps=120, arms=TWO, attributes=("sex",))
    assert ("subgroup_difference", "F") in failed(figures)
    values = {item.group: item.value for item in figures if item.metric == "subgroup_difference"}
    assert values["M"] > values["F"] + 0.1  # type: ignore[operator]


def test_groups_of_few_patients_are_not_named() -> None:
    sets, made = plain(), {}
    for name in ("learnt", "readers", "held_out", "synthetic"):
        one: LinkedStudies = getattr(sets, name)
        values = one.attributes["region"].copy()
        values[np.isin(one.patient_ids.astype(str), one.patients[:20])] = "Lighthouse"
        made[name] = replace(one, attributes={**one.attributes, "region": values})
    figures = audit_utility(replace(sets, **made), seeds=1, steps=5, arms=TWO)
    assert "Lighthouse" not in json.dumps([item.to_dict() for item in figures])


def test_rare_synthetic_patients_that_are_wrong_gain_nothing() -> None:
    """Synthetic storms with a slow pulse: the learner unlearns what a storm is."""
    made = plain().synthetic
    calm = np.array([item is not None and item[:, 1].mean() < 95 for item in made.series["pulse"]])
    wrong = changed(plain(), labels={**made.labels, "storm": calm.astype(np.int8)})
    arms = (REAL, RARE, OVERSAMPLED)
    good, bad = (audit_utility(sets, seeds=2, steps=120, arms=arms) for sets in (plain(), wrong))
    assert failed(good) == set()
    assert failed(bad) == {("rare_f1_gain", f"storm against {other}") for other in ("real alone", "oversampling")}
    assert valued(good, "tstr_minus_trtr").reason == "the arm 'synthetic' was not asked for"


def test_two_and_three_times_as_many_are_used_where_they_are_there() -> None:
    half = plain().learnt.rows(
        np.isin(plain().learnt.patient_ids.astype(str), plain().learnt.patients[: PATIENTS // 3])
    )
    more = replace(plain(), learnt=half, synthetic=with_rare(patients(11, "more", PATIENTS), 11))
    figures = audit_utility(more, seeds=1, steps=5, arms=(REAL, TWICE, THRICE, OTHER_REAL), rare=("consolidation",))
    assert all(valued(figures, "arm_auroc", arm).value is not None for arm in (TWICE, THRICE, OTHER_REAL))


def test_an_arm_that_breaks_off_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(bench: utility_arms.Bench, rng: np.random.Generator) -> list[utility_arms.Inputs]:
        raise ZeroDivisionError

    monkeypatch.setitem(utility_arms.LESSONS, SYNTHETIC, broken)
    figures = audit_utility(plain(), seeds=1, steps=5, arms=TWO)
    assert valued(figures, "tstr_minus_trtr").reason == "teaching on 'synthetic' broke off with ZeroDivisionError"
    assert valued(figures, "trts").value is not None and "broke off" in caplog.text


def test_the_threshold_is_the_one_with_the_best_f1() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    labels = (rng.random(60) < 0.3).astype(np.float32)
    scores = rng.normal(labels, 1).astype(np.float64)
    best = max(f1_score(labels, scores >= bar) for bar in scores)
    assert f1_score(labels, scores >= _best_bar(scores, labels)) == pytest.approx(best)


def test_what_cannot_be_judged_says_why_and_wrong_calls_are_refused() -> None:
    none = {name: replace(getattr(plain(), name), labels={}) for name in ("learnt", "readers", "held_out", "synthetic")}
    figures = audit_utility(replace(plain(), **none))
    assert {item.metric for item in figures} == set(METRICS) and all("No label has" in item.reason for item in figures)
    with pytest.raises(AuscultError, match="no arm 'fake'"):
        audit_utility(plain(), arms=("fake",))
    with pytest.raises(AuscultError, match="'learnt' and in 'held_out'"):
        audit_utility(replace(plain(), held_out=plain().learnt))
