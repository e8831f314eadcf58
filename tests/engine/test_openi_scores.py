"""Claims of real reports against experts' tags: the scorer against scikit-learn, and the extractor's targets."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from benchmarks.openi import (
    ALL_MACRO,
    ALL_MICRO,
    ENOUGH_POSITIVES,
    Score,
    list_errors,
    score_half,
    score_texts,
    table,
    targets_of,
)
from evaluation.engine.text.records import Assertion
from models_registry.cohorts.openi import openi_findings
from models_registry.cohorts.package_data import PACKAGE

installed = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"the package {PACKAGE} is not installed"
)


def made_up(seed: int, n: int = 300) -> tuple[list[dict[str, Assertion]], list[frozenset[str]]]:
    rng = np.random.default_rng(seed)
    names = openi_findings()
    tagged = [frozenset(name for name in names if rng.random() < 0.2) for _ in range(n)]
    kinds = [Assertion.PRESENT, Assertion.UNCERTAIN, Assertion.ABSENT]
    chances = {True: [0.8, 0.1, 0.1], False: [0.1, 0.1, 0.8]}
    said = [{name: kinds[rng.choice(3, p=chances[name in labels])] for name in names} for labels in tagged]
    return said, tagged


@pytest.mark.parametrize("lenient", [False, True])
def test_scores_are_those_of_scikit_learn(lenient: bool) -> None:
    said, tagged = made_up(3)
    counted = {Assertion.PRESENT, Assertion.UNCERTAIN} if lenient else {Assertion.PRESENT}
    names = openi_findings()
    truth = np.array([[name in labels for name in names] for labels in tagged])
    found = np.array([[item[name] in counted for name in names] for item in said])
    precision, recall, f1, positive = precision_recall_fscore_support(truth, found, zero_division=0.0)
    *each, micro, macro = score_texts(said, tagged, lenient=lenient)
    for place, score in enumerate(each):
        assert (score.name, score.positive) == (names[place], positive[place])
        assert score.precision == pytest.approx(precision[place])
        assert score.recall == pytest.approx(recall[place])
        assert score.f1 == pytest.approx(f1[place])
    assert micro.name == ALL_MICRO
    assert micro.f1 == pytest.approx(f1_score(truth, found, average="micro"))
    assert macro.name == ALL_MACRO
    assert macro.f1 == pytest.approx(f1_score(truth, found, average="macro"))


def test_the_interval_of_f1_is_that_of_resampled_reports() -> None:
    """An own loop over resamples, with another seed, comes to the same interval within its noise."""
    said, tagged = made_up(5)
    name = openi_findings()[0]
    truth = np.array([name in labels for labels in tagged])
    found = np.array([item[name] is Assertion.PRESENT for item in said])
    rng = np.random.default_rng(99)
    values = []
    for _ in range(2000):
        rows = rng.integers(0, len(truth), len(truth))
        both = (truth[rows] & found[rows]).sum()
        values.append(2 * both / (truth[rows].sum() + found[rows].sum()))
    score = score_texts(said, tagged, lenient=False)[0]
    assert score.f1_interval == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), abs=0.012)


def test_what_nobody_says_or_tags_is_undefined() -> None:
    scores = score_texts([{}, {}], [frozenset(), frozenset({"mass"})], lenient=False)
    by_name = {score.name: score for score in scores}
    assert by_name["hernia"].f1 is by_name["hernia"].precision is by_name["hernia"].f1_interval is None
    assert (by_name["mass"].f1, by_name["mass"].precision) == (0.0, None)
    assert by_name[ALL_MACRO].f1 == 0.0
    assert "| hernia | 0 | undefined | undefined | undefined |" in table(scores)


def test_errors_of_the_test_half_are_not_listed(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="develop half alone"):
        list_errors(tmp_path / "errors.txt", "test")
    assert not (tmp_path / "errors.txt").exists()


@installed
def test_the_extractor_reaches_its_targets_on_reports_that_no_rule_was_written_for() -> None:
    scores = score_half("test")
    assert scores[0].n == 1921
    missed = [target for target in targets_of(scores) if not target.met]
    assert missed == []


@installed
def test_an_extractor_that_ignores_negation_misses_them() -> None:
    """The targets can be missed: whoever takes every named finding as present fails."""

    def careless(text: str) -> dict[str, Assertion]:
        folded = text.lower()
        return {name: Assertion.PRESENT for name in openi_findings() if name.split("_")[-1] in folded}

    scores: tuple[Score, ...] = score_half("test", reader=careless)
    assert scores[-2].f1 is not None
    assert scores[-2].f1 < 0.5
    often = [score for score in scores[:-2] if score.positive >= ENOUGH_POSITIVES]
    assert {score.name for score in often} == {
        "atelectasis", "cardiomegaly", "effusion", "nodule", "emphysema", "infiltration"
    }  # fmt: skip
