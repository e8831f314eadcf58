"""Scores and truths of a label: counts, standardisation, and each shift against the rows, scikit-learn or the truth."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, precision_score, recall_score, roc_auc_score

from core.errors import AuscultError
from evaluation.engine.drift.estimated import scored_shifts
from evaluation.engine.drift.performance import calibration_of
from evaluation.engine.drift.prevalence import shifted_prevalence
from evaluation.engine.drift.rates import losses_of, rates_of
from evaluation.engine.drift.records import Family, StreamShift
from evaluation.engine.drift.scored import ScoredCounts, edges_of
from evaluation.engine.drift.shares import performance_shares
from evaluation.engine.drift.standardised import LABELLED, Sides, mean_scores
from evaluation.engine.protocol_drift import Drift

Array = np.ndarray[Any, Any]
RULES: Any = SimpleNamespace(drift=Drift(), alpha=0.05, minimum_cell=11)
THRESHOLD = 0.2


def people(rng: np.random.Generator, n: int, *, mean: float = 0.0, odds: float = 0.0) -> tuple[Array, Array]:
    """Calibrated scores of a finding of prevalence .14; ``mean`` moves the patients, ``odds`` what scores mean."""
    logit = -2.6 + 1.5 * rng.normal(mean, 1, n)
    chance = 1 / (1 + np.exp(-logit))
    return chance, (rng.random(n) < 1 / (1 + np.exp(-logit - odds))).astype(np.int8)


def counted(rng: np.random.Generator, n: int, *, labelled: bool = True, **given: float) -> ScoredCounts:
    scores, truth = people(rng, n, **given)
    return ScoredCounts.of(scores, truth if labelled else np.full(n, -1), threshold=THRESHOLD)


def shifts(window: Any, reference: Any, rules: Any = RULES) -> dict[Family, StreamShift]:
    return {item.family: item for item in scored_shifts(rules, "x", window, reference)[0]}


@pytest.mark.parametrize("threshold", [None, 0.2, 0.5, 0.0, 1.0])
def test_counts_are_those_of_the_rows(threshold: float | None) -> None:
    rng = np.random.default_rng(1)
    scores, truth = rng.beta(0.4, 2, 900), rng.integers(-1, 2, 900)
    scores[:5], scores[5:10], scores[10:15], scores[15:20] = np.nan, 0.0, 1.0, 0.2
    found, edges = ScoredCounts.of(scores, truth, threshold=threshold), edges_of(threshold)
    assert found.counts.sum() == 900 and found.missing == 5 and len(found.counts) == len(edges)
    for score, label in zip(scores[5:60], truth[5:60], strict=True):
        place = max(i for i in range(len(edges) - 1) if edges[i] <= score)
        assert found.counts[place, {1: 0, 0: 1, -1: 2}[int(label)]] > 0
    assert found.labelled == ((truth >= 0) & np.isfinite(scores)).sum()
    assert found.positives == ((truth == 1) & np.isfinite(scores)).sum()
    assert found.sums.sum() / 2**30 == pytest.approx(np.nansum(scores), abs=1e-6)
    if threshold is not None:
        assert found.from_bin is not None
        assert found.counts[found.from_bin : -1].sum() == (scores[5:] >= threshold).sum()
    parts = [
        ScoredCounts.of(scores[part], truth[part], threshold=threshold)
        for part in np.array_split(rng.permutation(900), 3)
    ]
    merged = parts[2].merge(parts[0]).merge(parts[1])
    assert merged.to_bytes() == found.to_bytes() == ScoredCounts.from_bytes(found.to_bytes()).to_bytes()


def test_what_cannot_be_counted_is_refused() -> None:
    for scores, truth in (([1.2], [0]), ([0.5], [2]), ([0.5, 0.1], [1])):
        with pytest.raises(ValueError, match=r"outside 0 to 1|one length"):
            ScoredCounts.of(scores, truth)
    with pytest.raises(AuscultError, match="different thresholds"):
        ScoredCounts.of([0.5], [1]).merge(ScoredCounts.of([0.5], [1], threshold=0.4))
    with pytest.raises(AuscultError, match="not a sketch"):
        ScoredCounts.from_bytes(ScoredCounts.of([0.5], [1]).to_bytes() + b"1")
    whole = ScoredCounts.of([0.5, 0.1], [1, 0], threshold=0.4).to_bytes()
    with pytest.raises(AuscultError, match="not scores"):
        ScoredCounts.from_bytes(whole.replace(b'"threshold":0.4', b'"threshold":7.4'))


def test_rates_are_scikit_learns_and_their_gradients_are_right() -> None:
    rng = np.random.default_rng(2)
    scores, truth = people(rng, 3000)
    counts = ScoredCounts.of(scores, truth, threshold=THRESHOLD)
    positive, negative = counts.counts[:-1, 0].astype(float), counts.counts[:-1, 1].astype(float)
    means = mean_scores([(counts, counts)])
    found = rates_of(positive, negative, counts.from_bin) | losses_of(positive, negative, means)
    called = scores >= THRESHOLD
    exact = {
        "sensitivity": recall_score(truth, called), "specificity": recall_score(1 - truth, ~called),
        "ppv": precision_score(truth, called), "accuracy": accuracy_score(truth, called),
    }  # fmt: skip
    assert {name: found[name].value for name in exact} == pytest.approx(exact, abs=1e-12)
    near = {
        "auroc": roc_auc_score(truth, scores), "brier": brier_score_loss(truth, scores),
        "log_loss": log_loss(truth, scores),
    }  # fmt: skip
    assert {name: found[name].value for name in near} == pytest.approx(near, abs=2e-3)
    binned = np.searchsorted(edges_of(THRESHOLD), scores, side="right")
    assert found["auroc"].value == pytest.approx(roc_auc_score(truth, binned), abs=1e-12)
    for place in (3, 20, 41):
        for column, step in ((0, positive), (1, negative)):
            step[place] += 1e-4
            moved = rates_of(positive, negative, counts.from_bin) | losses_of(positive, negative, means)
            step[place] -= 1e-4
            for name, rate in found.items():
                slope = (rate.by_positive, rate.by_negative)[column][place]
                assert (moved[name].value - rate.value) / 1e-4 == pytest.approx(slope, abs=1e-7), name


def test_the_reference_is_put_into_the_windows_mix_of_strata() -> None:
    rng = np.random.default_rng(3)
    reference = [counted(rng, 900, mean=-1.0), counted(rng, 300, mean=1.5)]
    window = [counted(rng, 150, mean=-1.0), counted(rng, 450, mean=1.5)]
    sides = Sides.of(list(zip(window, reference, strict=True)), columns=LABELLED)
    assert sides is not None
    by_hand = reference[0].counts[:-1, :2] * (150 / 900) + reference[1].counts[:-1, :2] * (450 / 300)
    assert sides.reference == pytest.approx(by_hand) and sides.n == 600
    assert sides.worth == pytest.approx(1 / ((150 / 600) ** 2 / 900 + (450 / 600) ** 2 / 300))
    apart, together = shifts(window, reference), shifts(window[0].merge(window[1]), reference[0].merge(reference[1]))
    for family in (Family.PREDICTION, Family.LABEL, Family.ESTIMATED):
        assert together[family].p_value is not None and together[family].p_value < 1e-6, family
        assert apart[family].p_value is not None and apart[family].p_value > 0.01, family
    lacking = shifts([*window, counted(rng, 40)], [*reference, ScoredCounts.of(threshold=THRESHOLD)])
    assert lacking[Family.PREDICTION].detail["uncompared"] == 40 and lacking[Family.PREDICTION].n == 600


def test_prevalence_before_labels_is_right_under_label_shift() -> None:
    """By hand: of 100 with the finding 80 are called, of 900 without 90; of a window of 4,000, 900 are."""

    def rows(*cells: tuple[float, int, int]) -> ScoredCounts:
        scores, truth, times = zip(*cells, strict=True)
        return ScoredCounts.of(np.repeat(scores, times), np.repeat(truth, times), threshold=0.5)

    reference = rows((0.9, 1, 80), (0.1, 1, 20), (0.9, 0, 90), (0.1, 0, 810))
    window = rows((0.9, -1, 900), (0.1, -1, 3100))
    sides = Sides.of([(window, reference)])
    assert sides is not None
    found = shifted_prevalence(sides, mean_scores([(window, reference)]), window.from_bin, alpha=0.05)
    assert found.value == pytest.approx((900 / 4000 - 0.1) / 0.7) and found.change == pytest.approx(found.value - 0.1)
    assert found.condition == pytest.approx(np.linalg.cond([[0.8, 0.1], [0.2, 0.9]]))
    # The delta method against drawing both sides again.
    rng, drawn = np.random.default_rng(4), []
    for _ in range(4000):
        true, false, calls = (
            rng.binomial(100, 0.8) / 100,
            rng.binomial(900, 0.1) / 900,
            rng.binomial(4000, 0.225) / 4000,
        )
        drawn.append((calls - false) / (true - false))
    assert found.low is not None and found.high is not None
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(np.std(drawn), rel=0.06)
    told = shifts(window, reference)[Family.LABEL]
    assert told.effect == "estimated_prevalence_change" and told.value == pytest.approx(found.change)
    # Scores that do not depend on the finding say nothing of its prevalence.
    blind = rows((0.9, 1, 10), (0.1, 1, 90), (0.9, 0, 90), (0.1, 0, 810))
    undefined = shifts(window, blind)[Family.LABEL]
    assert undefined.value is None and "hardly depend" in undefined.reason
    assert undefined.detail["estimate"]["condition"] is None or undefined.detail["estimate"]["condition"] > 1e3


def test_estimates_without_labels_find_the_true_drop_when_patients_change() -> None:
    """Easier patients: the true sensitivity at .2 falls by .175 (a million draws), with no label of the window."""
    rng = np.random.default_rng(5)
    found = shifts(counted(rng, 4000, mean=-0.5, labelled=False), counted(rng, 20_000))[Family.ESTIMATED]
    assert found.effect == "sensitivity_drop" and found.low is not None and found.high is not None
    assert found.low < 0.175 < found.high and found.high - found.low < 0.08
    now, truth = people(rng, 400_000, mean=-0.5)
    exact = {
        "sensitivity": (now >= THRESHOLD)[truth == 1].mean(), "ppv": truth[now >= THRESHOLD].mean(),
        "accuracy": ((now >= THRESHOLD) == truth).mean(), "auroc": roc_auc_score(truth, now),
    }  # fmt: skip
    assert {name: found.detail[name]["value"] for name in exact} == pytest.approx(exact, abs=0.03)
    same = counted(rng, 3000)
    assert shifts(same, same)[Family.ESTIMATED].value == pytest.approx(0.0, abs=1e-12)


def test_intervals_cover_and_nothing_is_found_where_nothing_changed() -> None:
    covered: dict[Family, list[bool]] = {}
    rejected: dict[Family, list[bool]] = {}
    notices, concept = 0, []
    truth = {Family.LABEL: 0.0, Family.ESTIMATED: 0.0, Family.PERFORMANCE: 0.0}
    for run in range(300):
        rng = np.random.default_rng(run)
        found, told = scored_shifts(RULES, "x", counted(rng, 300), counted(rng, 1500))
        notices += len(told)
        concept.append({item.family: item for item in found}[Family.CONCEPT].value or 0.0)
        for item in found:
            if item.low is not None and item.high is not None and item.p_value is not None:
                rejected.setdefault(item.family, []).append(item.p_value <= 0.05)
                if item.family in truth:
                    covered.setdefault(item.family, []).append(item.low <= 0 <= item.high)
    assert all(np.mean(values) > 0.9 for values in covered.values()) and len(covered) == 3
    assert all(np.mean(values) < 0.1 for values in rejected.values()) and len(rejected) == 5
    assert notices <= 9
    # What chance adds to the distance of calibrations is taken off: about .06 of these windows.
    assert np.mean(concept) < 0.025


def test_the_interval_of_an_estimate_counts_the_noise_of_a_small_reference() -> None:
    """Patients of another kind, many of them: nearly all noise is that of the reference's calibration."""
    rng = np.random.default_rng(9)
    window = counted(rng, 20_000, mean=1.0, labelled=False)
    found = [shifts(window, counted(rng, 400))[Family.ESTIMATED] for _ in range(200)]
    wide = [(item.high - item.low) / (2 * 1.96) for item in found if item.low is not None and item.high is not None]
    for name in ("sensitivity", "ppv", "accuracy"):
        told = [item.detail[name] for item in found if name in item.detail]
        errors = np.array([(rate["high"] - rate["low"]) / (2 * 1.96) for rate in told])
        drops = np.array([rate["drop"] for rate in told])
        assert np.sqrt((errors**2).mean()) == pytest.approx(drops.std(), rel=0.2), name
    assert len(wide) == 200


def test_calibration_is_isotonic_and_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    scores, truth = people(rng, 20_000)
    reference, window = ScoredCounts.of(scores, truth), ScoredCounts.of(scores[:500], truth[:500])
    sides = Sides.of([(window, reference)], columns=LABELLED)
    assert sides is not None
    found = calibration_of(sides)
    place = np.searchsorted(edges_of(None), scores, side="right") - 1
    oracle = IsotonicRegression().fit(place, truth)
    bins = np.flatnonzero(np.bincount(place) >= 40)
    assert found.share[bins] == pytest.approx(oracle.predict(bins), abs=0.03) and len(bins) > 30
    assert (np.diff(found.share) >= -1e-12).all()


def test_labels_tell_worse_ranking_and_its_size() -> None:
    rng = np.random.default_rng(7)
    scores, truth = people(rng, 6000)
    noisy, outcome = people(rng, 1500)
    noisy = np.clip(noisy * np.exp(rng.normal(0, 1.2, 1500)), 0, 1)
    reference, window = (ScoredCounts.of(*pair, threshold=THRESHOLD) for pair in ((scores, truth), (noisy, outcome)))
    found = shifts(window, reference)[Family.PERFORMANCE]
    exact = roc_auc_score(truth, scores) - roc_auc_score(outcome, noisy)
    assert found.value == pytest.approx(exact, abs=3e-3) and found.low is not None and found.low > 0
    assert found.detail["brier"]["drop"] == pytest.approx(
        brier_score_loss(outcome, noisy) - brier_score_loss(truth, scores), abs=2e-3
    )
    few = shifts(ScoredCounts.of(noisy[:60], np.r_[np.ones(3), np.zeros(57)], threshold=THRESHOLD), reference)
    assert few[Family.PERFORMANCE].value is None and "10 studies" in few[Family.PERFORMANCE].reason
    silent = shifts(ScoredCounts.of(noisy[:60], np.r_[np.ones(5), np.full(55, -1)], threshold=THRESHOLD), reference)
    assert silent[Family.PERFORMANCE].value is None and "too few" in silent[Family.PERFORMANCE].reason
    assert silent[Family.LABEL].effect == "estimated_prevalence_change"


def test_a_model_that_only_decides_and_one_without_scores() -> None:
    rng = np.random.default_rng(8)
    truth = (rng.random(2000) < 0.3).astype(int)
    calls = np.where(rng.random(2000) < 0.85, truth, 1 - truth).astype(float)
    reference, window = (
        ScoredCounts.of(calls[part], truth[part], threshold=0.5) for part in (slice(1500), slice(1500, None))
    )
    found = shifts(window, reference)
    assert {item.family for item in found.values() if item.value is None} == set()
    assert abs(found[Family.PERFORMANCE].value or 0.0) < 0.05
    none = shifts(ScoredCounts.of(np.full(40, np.nan), truth[:40], threshold=0.5), reference)
    assert none[Family.PREDICTION].value is None and none[Family.LABEL].value is not None
    only = SimpleNamespace(drift=Drift(watch=("label",)), alpha=0.05, minimum_cell=11)
    assert list(shifts(window, reference, only)) == [Family.LABEL]


def test_shares_of_a_change_add_up_and_find_the_group() -> None:
    """By hand: Brier .1 and .3 in two groups of equal size; then .1 and .5, of sizes one to three."""

    def group(n: int, loss: float) -> ScoredCounts:
        wrong = round(n * loss)
        return ScoredCounts.of(np.zeros(n), np.r_[np.ones(wrong), np.zeros(n - wrong)])

    found = performance_shares(
        "scanner", {"A": group(100, 0.1), "B": group(300, 0.5)}, {"A": group(500, 0.1), "B": group(500, 0.3)}
    )
    assert found is not None
    assert found.total == pytest.approx(0.25 * 0.1 + 0.75 * 0.5 - 0.2)
    assert found.mix.value == pytest.approx(-0.25 * 0.1 + 0.25 * 0.4)
    assert [(part.group, part.value) for part in found.within] == [
        ("A", pytest.approx(0.0)), ("B", pytest.approx(0.2 * 0.625)),
    ]  # fmt: skip
    assert found.p_value < 1e-4 and found.mix.moved in ("A", "B")
    new = performance_shares("scanner", {"A": group(100, 0.1), "C": group(100, 0.4)}, {"A": group(400, 0.1)})
    assert new is not None and new.total == pytest.approx(0.15) == new.mix.value
    rare = performance_shares(
        "scanner", {"A": group(90, 0.1), "B": group(4, 0.5)}, {"A": group(90, 0.1)}, minimum_cell=11
    )
    assert rare is not None and "B" not in {part.group for part in rare.within}
    assert performance_shares("scanner", {}, {"A": group(90, 0.1)}) is None
