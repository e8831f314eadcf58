"""Semantic entropy, self-consistency and selective answering: against brute force, scikit-learn, scipy and by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise, permutations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from evaluation.engine.asking import REPORT, Asking, Utterances
from evaluation.engine.doubt.entropy import (
    agreeing,
    attainable,
    normalised_entropy,
    semantic_entropy,
    shared_ngrams,
)
from evaluation.engine.doubt.readings import report_meanings
from evaluation.engine.doubt.samples import units_drawn
from evaluation.engine.doubt.selective import (
    Kept,
    abstain_above,
    aurc,
    best_aurc,
    least_for,
    risk_at,
    risk_coverage,
    thinned,
)
from evaluation.engine.protocol_sections import Reports, Sampling
from evaluation.engine.statistics.scored import Scores
from evaluation.engine.suites.hallucination.sampled import levels_tried
from evaluation.engine.text.ontology import ontology
from tests.engine.doubt_builders import SAMPLING, ask, asking_protocol, cohort, planned, reads_the_image

RULES = asking_protocol(sampling=SAMPLING)


def scores_of(levels: np.ndarray, errors: np.ndarray, bins: int = 2048) -> Scores:
    """A histogram from the bin of each text and whether it is wrong."""
    counts = np.zeros((2, bins), dtype=np.int64)
    np.add.at(counts, (errors, levels), 1)
    return Scores(counts=counts, means=np.zeros(counts.shape))


# Entropy


def test_semantic_entropy_is_scipys_in_nats():
    rng = np.random.default_rng(1)
    for _ in range(50):
        drawn = rng.integers(0, 4, rng.integers(2, 12)).tolist()
        counts = np.unique(drawn, return_counts=True)[1]
        assert semantic_entropy(drawn) == pytest.approx(stats.entropy(counts), abs=1e-12)
        assert normalised_entropy(drawn) == pytest.approx(stats.entropy(counts) / math.log(len(drawn)), abs=1e-12)


def test_entropy_is_0_where_all_agree_1_where_none_do_and_undefined_for_one_sample():
    assert semantic_entropy(["a"] * 5) == 0 and normalised_entropy(list(range(7))) == pytest.approx(1)
    assert semantic_entropy(["a"]) is None and normalised_entropy([]) is None


@pytest.mark.parametrize("samples", [2, 3, 4, 5])
def test_attainable_values_are_those_of_every_draw(samples):
    every = {round(normalised_entropy(draw), 9) + 0.0 for draw in np.ndindex(*(samples,) * samples)}
    assert attainable(samples) == tuple(sorted(every))


def test_only_thresholds_that_tell_values_apart_are_tried():
    assert levels_tried(2) == (0, 10)
    assert levels_tried(3) == (0, 6, 10)
    assert levels_tried(20) == tuple(range(11))


def test_shared_words_by_hand():
    # of (a b) (b c), the first sample has both and the second one
    assert shared_ngrams("a b c", ["A, b c!", "b c d"]) == 0.75
    assert shared_ngrams("Yes.", ["yes", "no"]) == 0.5
    assert shared_ngrams("", ["yes"]) is None and shared_ngrams("yes", []) is None
    assert agreeing("x", ["x", "y", "x"]) == 2


# Meanings


def test_reports_mean_what_they_assert_and_not_how_they_say_it():
    words = ontology()
    texts = [
        "There is a left pleural effusion.", "Pleural effusion on the left. No pneumothorax.", "Possible effusion.",
        "No effusion.", "The heart is normal in size. Lungs are clear.", "Unable to assess.", "",
    ]  # fmt: skip
    effusion, worded, possible, denied, clear, declined, blank = report_meanings(
        texts, frozenset(words.findings), words
    )
    assert effusion == worded
    assert denied == clear
    assert declined == blank
    assert len({effusion, possible, denied, declined}) == 4


def test_findings_that_are_not_compared_tell_nothing_apart():
    words = ontology()
    one, two = report_meanings(["Effusion and pneumothorax.", "Effusion."], frozenset({"effusion"}), words)
    assert one == two


# Risk and coverage


def brute_aurc(levels: np.ndarray, errors: np.ndarray) -> float:
    """Mean over every order of the texts that is sorted by level."""
    found = []
    for order in permutations(range(len(levels))):
        if all(levels[a] <= levels[b] for a, b in pairwise(order)):
            right = np.cumsum(errors[list(order)]) / np.arange(1, len(order) + 1)
            found.append(right.mean())
    return float(np.mean(found))


@pytest.mark.parametrize("seed", range(4))
def test_aurc_is_the_mean_over_all_orders_of_ties(seed):
    rng = np.random.default_rng(seed)
    levels, errors = rng.integers(0, 3, 6), rng.integers(0, 2, 6)
    assert aurc(scores_of(levels, errors)).value == pytest.approx(brute_aurc(levels, errors), abs=1e-12)


def test_aurc_of_a_perfect_order_a_random_one_and_without_errors():
    rng = np.random.default_rng(2)
    errors = (rng.random(2000) < 0.3).astype(int)
    everyone, wrong = len(errors), int(errors.sum())
    perfect = aurc(scores_of(np.where(errors == 1, 1999, 10), errors)).value
    curve = np.cumsum(np.sort(errors)) / np.arange(1, everyone + 1)
    assert perfect == pytest.approx(best_aurc(everyone, wrong), abs=1e-12) == pytest.approx(curve.mean(), abs=1e-12)
    assert aurc(scores_of(np.zeros(everyone, dtype=int), errors)).value == pytest.approx(errors.mean(), abs=1e-12)
    assert aurc(scores_of(np.arange(everyone), np.zeros(everyone, dtype=int))).value == 0
    assert aurc(scores_of(np.zeros(0, dtype=int), np.zeros(0, dtype=int))).value is None


@pytest.mark.parametrize("coverage", [0.25, 0.5, 0.75, 1.0])
def test_risk_is_the_share_of_errors_among_the_surest(coverage):
    rng = np.random.default_rng(3)
    levels, errors = rng.permutation(400), (rng.random(400) < 0.4).astype(int)
    first = np.argsort(levels)[: int(coverage * 400)]
    assert risk_at(scores_of(levels, errors), coverage).value == pytest.approx(errors[first].mean(), abs=1e-12)


def test_risk_within_ties_is_their_mean():
    # the two surest of four equal texts, of which one is wrong
    assert risk_at(scores_of(np.zeros(4, dtype=int), np.array([1, 0, 0, 0])), 0.5).value == pytest.approx(0.25)


def test_the_curve_has_a_step_for_each_level():
    curve = risk_coverage(scores_of(np.array([5, 5, 9, 100]), np.array([0, 1, 0, 1])))
    assert curve == [(0.5, 0.5), (0.75, pytest.approx(1 / 3)), (1.0, 0.5)]
    assert thinned(curve, 0.25) == curve and thinned(curve, 0.5) == [curve[0], curve[2]] and thinned(curve, 2) == []
    assert thinned([(0.9, 0.1), (1.0, 0.2)], 0.2) == [(1.0, 0.2)], "a last step of few texts tells of few patients"


@pytest.mark.parametrize("statistic", [aurc, lambda scores: risk_at(scores, 0.7)])
def test_influences_are_the_derivatives_of_the_value(statistic):
    rng = np.random.default_rng(4)
    levels = rng.integers(0, 6, 3000)
    errors = (rng.random(3000) < 0.1 + 0.1 * levels).astype(int)
    scores = scores_of(levels, errors, bins=8)
    found = statistic(scores)
    assert float((scores.counts * found.influence).sum()) == pytest.approx(0, abs=1e-9)
    for outcome in (0, 1):
        for level in range(6):
            more = scores.counts.copy()
            more[outcome, level] += 1
            moved = statistic(Scores(counts=more, means=scores.means)).value - found.value
            assert moved == pytest.approx(found.influence[outcome, level], abs=2e-6)


# The threshold of abstention


def test_the_bound_is_clopper_and_pearsons_for_independent_texts():
    for errors, n in ((0, 40), (3, 80), (25, 200)):
        kept = Kept(threshold=0.0, n=n, errors=errors, squares=float(n), worth=float(n))
        exact = stats.binomtest(errors, n, alternative="less").proportion_ci(0.95).high
        assert kept.bound(0.05) == pytest.approx(exact, abs=1e-9)
    assert Kept(threshold=0.0, n=0, errors=0, squares=0.0, worth=0.0).bound(0.05) == 1.0


def test_texts_of_one_patient_count_as_one_where_errors_are_too_few_to_tell():
    # 30 patients of 4 texts each are worth 30, not 120
    kept = Kept(threshold=0.0, n=120, errors=0, squares=30 * 16.0, worth=120.0)
    exact = stats.binomtest(0, 30, alternative="less").proportion_ci(0.95).high
    assert kept.bound(0.05) == pytest.approx(exact, abs=1e-9)


def test_the_largest_coverage_below_the_target_is_chosen():
    levels = [
        Kept(threshold=t, n=n, errors=e, squares=float(n), worth=float(n))
        for t, n, e in ((0.0, 300, 3), (0.5, 600, 20), (1.0, 900, 200))
    ]
    found = abstain_above(levels, 0.1, 0.05)
    assert found.kept == levels[1] and found.bound <= 0.1
    assert found.bound == pytest.approx(levels[1].bound(0.05 / 3))
    assert abstain_above(levels, 0.001, 0.05).kept is None


def test_too_few_texts_never_meet_a_target_even_without_an_error():
    needed = least_for(0.1, 1 - 0.05 / 3)
    for n, met in ((needed, True), (needed - 1, False)):
        level = Kept(threshold=0.0, n=n, errors=0, squares=float(n), worth=float(n))
        assert (abstain_above([level] * 3, 0.1, 0.05).kept is not None) is met


def test_the_true_risk_is_above_the_target_in_at_most_5_percent_of_audits():
    """Five texts of each of 120 patients who are alike, with a true risk just above the target at every threshold."""
    bad = {"by patient": 0, "as if independent": 0}
    for run in range(300):
        rng = np.random.default_rng([5, run])
        place = rng.integers(0, 3, 120)
        wrong = rng.random((120, 5)) < rng.beta(0.05, 0.45, 120)[:, None]  # a mean of .1
        levels = {name: [] for name in bad}
        for last in range(3):
            inside = wrong[place <= last]
            n, errors = inside.size, int(inside.sum())
            apart = inside.sum(axis=1) - errors / n * 5
            between = (apart**2).sum() / n**2 * len(inside) / (len(inside) - 1)
            worth = n / max(1.0, between / max(errors / n * (1 - errors / n) / n, 1e-12))
            facts = {"threshold": float(last), "n": n, "errors": errors}
            levels["by patient"].append(Kept(**facts, squares=25.0 * len(inside), worth=worth))
            levels["as if independent"].append(Kept(**facts, squares=float(n), worth=float(n)))
        for name, kept in levels.items():
            bad[name] += abstain_above(kept, 0.0999, 0.05).kept is not None
    assert bad["by patient"] <= 300 * 0.05
    assert bad["as if independent"] > 300 * 0.1, "the check can tell a bound that does not hold"


# Units


def test_samples_are_drawn_of_each_distinct_question_of_the_chosen_studies():
    table = cohort(np.random.default_rng(6), patients=40)
    asked = planned(RULES, table)
    drawn, plain = asked.rows(asked.condition == "sampled"), asked.rows(asked.condition == "plain")
    questions = set(zip(plain.study.tolist(), plain.question.tolist(), strict=True))
    assert len(drawn) == 5 * len(questions)
    assert {(s, q, t) for s, q in questions for t in range(5)} == set(
        zip(drawn.study.tolist(), drawn.question.tolist(), drawn.turn.tolist(), strict=True)
    )


def test_an_answer_is_wrong_where_it_settles_the_question_otherwise():
    table = cohort(np.random.default_rng(7), patients=30)
    right = units_drawn(RULES, ask(RULES, table, reads_the_image))
    turned = {"Yes.": "No.", "No.": "Yes."}
    wrong = units_drawn(RULES, ask(RULES, table, lambda row: turned[reads_the_image(row)]))
    assert {unit.error for unit in right} == {0} and {unit.error for unit in wrong} == {1}
    for unit in (*right, *wrong):
        assert unit.entropy == 0 and unit.samples == unit.agreeing == 5


def test_line_20_a_refusal_is_no_error_and_no_answer():
    table = cohort(np.random.default_rng(8), patients=20)

    def declines(row):
        return "I cannot tell." if row["condition"] == "plain" else reads_the_image(row)

    units = units_drawn(RULES, ask(RULES, table, declines))
    assert {unit.error for unit in units} == {None} and all(unit.declined for unit in units)
    assert {unit.agreeing for unit in units} == {0}


def test_answers_that_cannot_be_read_agree_only_word_for_word():
    table = cohort(np.random.default_rng(9), patients=5)
    units = units_drawn(RULES, ask(RULES, table, lambda row: f"xyzzy {row['turn']}"))
    assert [unit.entropy for unit in units] == pytest.approx([1.0] * len(units))
    assert units and {unit.error for unit in units} == {None}


def test_missing_samples_leave_too_few():
    table = cohort(np.random.default_rng(10), patients=5)

    def model(row):
        gone = row["condition"] == "sampled" and row["turn"] > 0
        return None if gone else reads_the_image(row)

    units = units_drawn(RULES, ask(RULES, table, model))
    assert units and {unit.entropy for unit in units} == {None} and {unit.samples for unit in units} == {0}


REPORTS = replace(
    RULES, probing=None, reports=Reports(findings=("*",)), sampling=Sampling(of="reports", samples=3, studies=100)
)  # fmt: skip


def test_reports_are_wrong_where_they_invent_or_contradict():
    """The expert: effusion, no pneumothorax. Four plain texts, three samples each."""
    reference = ["Left pleural effusion. No pneumothorax."] * 4 + [None]
    plain = ["Pleural effusion on the left.", "Pneumothorax.", "No effusion.", "Unable to assess.", "Effusion."]
    samples = [
        ["Left effusion.", "Left pleural effusion.", "Effusion. No nodule."], ["Effusion.", "Nodule.", "Clear lungs."],
        ["No effusion.", "Lungs are clear.", "Effusion."], ["Effusion."] * 3, ["Effusion."] * 3,
    ]  # fmt: skip
    asked = Asking.of([
        {"study": study, "kind": REPORT, "condition": "sampled", "turn": turn} for study in range(5)
        for turn in range(3)
    ])  # fmt: skip
    table = replace(
        cohort(np.random.default_rng(11), patients=5),
        texts={"reference": np.array(reference, dtype=object), "generated": np.array(plain, dtype=object)},
        utterances=Utterances(
            asked=asked, text=np.array([text for texts in samples for text in texts], dtype=object),
            truncated=np.zeros(15, dtype=bool),
        ),
    )  # fmt: skip
    units = units_drawn(REPORTS, table)
    assert [unit.error for unit in units] == [0, 1, 1, None, None]
    assert [unit.agreeing for unit in units] == [3, 0, 2, 0, 3]
    third = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / math.log(3)
    assert [unit.entropy for unit in units] == pytest.approx([0, 1, third, 0, 0])
    assert [unit.declined for unit in units] == [False, False, False, True, False]


def test_auroc_of_the_units_is_scikit_learns():
    """What the histogram measures is told in test_uncertainty; here the uncertainty itself is of use."""
    rng = np.random.default_rng(12)

    def model(row):
        doubt = row["study"] % 2
        answer = reads_the_image(row)
        flipped = {"Yes.": "No.", "No.": "Yes."}[answer]
        return flipped if rng.random() < (0.4 if doubt else 0.05) else answer

    units = units_drawn(RULES, ask(RULES, cohort(rng, patients=200), model))
    errors, entropies = [unit.error for unit in units], [unit.entropy for unit in units]
    assert roc_auc_score(errors, entropies) > 0.65
