"""The permutation test of the largest gap against shuffling patients one by one, and its level under the null."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact, kstest

from evaluation.engine.sketches.counts import Cells, CountsSketch
from evaluation.engine.statistics.permutation import (
    TIE,
    PatientTable,
    alike,
    gap_test,
    gaps,
    patient_table,
    permutation_test,
    permuted_totals,
)
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.suites.fairness.rates import RATES
from tests.engine.builders import cells_of, clustered, protocol, table

TPR, FPR = RATES["tpr"], RATES["fpr"]


def table_of(vectors: np.ndarray, groups: np.ndarray, strata: np.ndarray | None = None) -> PatientTable:  # type: ignore[type-arg]
    """A table from one row per patient: vectors [n, 2R] and group codes [n]."""
    distinct, rows = np.unique(vectors, axis=0, return_inverse=True)
    patients = np.zeros((len(distinct), int(groups.max()) + 1), dtype=np.int64)
    np.add.at(patients, (rows.reshape(-1), groups), 1)
    return PatientTable(
        groups=tuple(f"g{code}" for code in range(patients.shape[1])),
        vectors=distinct,
        patients=patients,
        strata=alike(distinct) if strata is None else strata,
    )


def by_shuffling(vectors: np.ndarray, groups: np.ndarray, strata: np.ndarray, rounds: int) -> float:  # type: ignore[type-arg]
    """The p-value when labels are shuffled within strata, patient by patient."""
    rng = np.random.default_rng(3)

    def gap(labels: np.ndarray) -> float:  # type: ignore[type-arg]
        sums = [vectors[labels == code].sum(axis=0) for code in range(int(groups.max()) + 1)]
        found = []
        for k in range(0, vectors.shape[1], 2):
            rates = [row[k] / row[k + 1] for row in sums if row[k + 1]]
            found.append(max(rates) - min(rates))
        return max(found)

    observed, reached = gap(groups), 0
    for _ in range(rounds):
        labels = groups.copy()
        for stratum in np.unique(strata):
            inside = np.flatnonzero(strata == stratum)
            labels[inside] = labels[rng.permutation(inside)]
        reached += gap(labels) >= observed - 1e-12
    return (1 + reached) / (rounds + 1)


@pytest.mark.parametrize("rates", [1, 2])
@pytest.mark.parametrize("stratified", [True, False])
def test_the_p_value_equals_that_of_shuffling_patients(rates: int, stratified: bool) -> None:
    rng = np.random.default_rng(10 * rates + stratified)
    groups = rng.integers(0, 3, 60)
    studies = rng.integers(0 if rates == 2 else 1, 4, (60, rates))
    studies[:, 0] = np.maximum(studies[:, 0], 1)
    events = rng.binomial(studies, np.array([0.4, 0.5, 0.62])[groups][:, None])
    vectors = np.stack([events, studies], axis=2).reshape(60, 2 * rates)
    made = table_of(vectors, groups)
    if not stratified:
        made = table_of(vectors, groups, np.zeros(len(made.vectors), dtype=np.int64))
    strata = alike(vectors) if stratified else np.zeros(60, dtype=np.int64)
    ours = permutation_test(made, replicates=20000, rng=generator(1)).p_value or 0.0
    theirs = by_shuffling(vectors, groups, strata, 2000)
    assert abs(ours - theirs) < 4 * np.sqrt(ours * (1 - ours) * (1 / 2000 + 1 / 20000))


def test_two_groups_with_one_study_each_give_fishers_exact_test() -> None:
    cells = cells_of({"F": (21, 5, 9, 40), "M": (27, 3, 3, 60)})
    found = gap_test(cells, [TPR], ["F", "M"], replicates=40000, rng=generator(1))
    expected = fisher_exact([[21, 9], [27, 3]])[1]
    assert found.gap == pytest.approx(0.2)
    assert found.p_value == pytest.approx(expected, abs=4 * np.sqrt(expected / 40000))


def test_tables_keep_their_margins_and_have_the_hypergeometric_mean_and_variance() -> None:
    """Vectors are unit vectors, so that totals are the table itself."""
    patients = np.array([[30, 10, 5], [4, 6, 20], [1, 0, 2], [5, 5, 5]])
    made = PatientTable(
        groups=("a", "b", "c"), vectors=np.eye(4, dtype=np.int64), patients=patients,
        strata=np.array([0, 0, 0, 0]),
    )  # fmt: skip
    drawn = permuted_totals(made, replicates=20000, rng=generator(2))
    rows, columns, everyone = patients.sum(axis=1), patients.sum(axis=0), patients.sum()
    assert (drawn.sum(axis=1) == rows).all()
    assert (drawn.sum(axis=2) == columns).all()
    assert drawn.min() >= 0
    share = np.outer(columns, rows) / everyone
    assert drawn.mean(axis=0) == pytest.approx(share, abs=0.1)
    spread = share * np.outer(1 - columns / everyone, 1 - rows / everyone) * everyone / (everyone - 1)
    assert drawn.var(axis=0) == pytest.approx(spread, rel=0.06)


def test_p_values_are_uniform_when_groups_are_equal_though_prevalence_and_sizes_differ() -> None:
    """Group 2 is small, has few findings and many studies a patient: nothing of which is unequal treatment."""
    rng, found = np.random.default_rng(8), []
    for _ in range(250):
        groups = np.repeat([0, 1, 2], [150, 100, 30])
        studies = rng.binomial(np.array([2, 2, 5])[groups][:, None] + np.zeros((1, 2), dtype=int), [[0.35, 0.7]])
        own = rng.beta(3, 3, len(groups))[:, None]
        vectors = np.stack([rng.binomial(studies, own), studies], axis=2).reshape(-1, 4)
        made = table_of(vectors[studies.any(axis=1)], groups[studies.any(axis=1)])
        found.append(permutation_test(made, replicates=199, rng=rng).p_value)
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) < 0.10


def test_without_strata_another_prevalence_would_pass_for_unequal_treatment() -> None:
    """Why labels are dealt among alike patients: 12 findings in one group, 300 in the other, equal sensitivity."""
    rng, kept, naive = np.random.default_rng(5), 0, 0
    for _ in range(100):
        hit = [rng.binomial(12, 0.7), rng.binomial(300, 0.7)]
        cells = cells_of({"F": (hit[0], 50, 12 - hit[0], 538), "M": (hit[1], 30, 300 - hit[1], 270)})
        made = patient_table(cells, [TPR, FPR], ["F", "M"])
        assert made is not None
        mixed = PatientTable(
            groups=made.groups, vectors=made.vectors, patients=made.patients, strata=np.zeros_like(made.strata)
        )
        kept += (permutation_test(made, replicates=99, rng=rng).p_value or 0) <= 0.05
        naive += (permutation_test(mixed, replicates=99, rng=rng).p_value or 0) <= 0.05
    assert kept <= 12
    assert naive >= 25


def test_8_a_true_gap_is_found_and_the_p_value_is_one_more_than_counted_over_b_plus_one() -> None:
    cells = cells_of({"F": (100, 10, 100, 900), "M": (180, 10, 20, 900)})
    found = gap_test(cells, [TPR, FPR], ["F", "M"], replicates=999, rng=generator(1))
    assert found.p_value == 1 / 1000
    equal = gap_test(cells_of({"F": (9, 1, 1, 9), "M": (9, 1, 1, 9)}), [TPR], ["F", "M"], replicates=99,
                     rng=generator(1))  # fmt: skip
    assert (equal.gap, equal.p_value) == (0.0, 1.0)


def test_ties_of_fractions_count_as_reached() -> None:
    """4/10 - 3/10 and 3/10 - 2/10 differ in the last digit, and are one gap."""
    one, two = gaps(np.array([[[4.0, 10.0], [3.0, 10.0]], [[3.0, 10.0], [2.0, 10.0]]]))
    assert 0 < abs(one - two) < TIE
    made = PatientTable(
        groups=("a", "b"), vectors=np.array([[0, 1], [1, 1]]), patients=np.array([[1, 2], [2, 1]]),
        strata=np.array([0, 0]),
    )  # fmt: skip
    # Of the 20 ways to deal three of six patients, 2 leave a gap of 1 and 18 one of 1/3: all reach the observed 1/3.
    assert permutation_test(made, replicates=200, rng=generator(3)).p_value == 1.0


def test_patients_across_groups_leave_no_test_and_say_why() -> None:
    rows = pd.DataFrame(
        {"patient": [1, 1, 2, 3], "sex": ["F", "M", "F", "M"], "y_x": [1, 1, 1, 1], "d_x": [1, 0, 1, 0]}
    )
    cells = CountsSketch.from_table(protocol(), table(rows)).cells["x", "sex"]
    found = gap_test(cells, [TPR], ["F", "M"], replicates=99, rng=generator(1))
    assert found.p_value is None
    assert "more than one of the groups" in found.reason
    # Neither patient 1's other study without the finding nor one in a group that is not compared is in the way.
    assert gap_test(cells, [FPR], ["F", "M"], replicates=9, rng=generator(1)).reason.startswith("undefined")
    rows.loc[1, "y_x"] = 0
    cells = CountsSketch.from_table(protocol(), table(rows)).cells["x", "sex"]
    assert gap_test(cells, [TPR], ["F", "M"], replicates=99, rng=generator(1)).p_value is not None


def test_the_table_holds_the_patients_of_the_denominator() -> None:
    rows = clustered(np.random.default_rng(4), patients=80, tpr={"F": 0.6, "M": 0.8, "X": 0.5})
    cells = CountsSketch.from_table(protocol(), table(rows)).cells["x", "sex"]
    made = patient_table(cells, [TPR], ["M", "F"])
    assert made is not None
    positive = rows[(rows["y_x"] == 1) & rows["sex"].isin(["F", "M"])]
    each = positive.groupby(["sex", "patient"])["d_x"].agg(["sum", "count"]).reset_index()
    assert made.groups == ("M", "F")
    assert made.patients.sum(axis=0).tolist() == [int((each["sex"] == sex).sum()) for sex in ("M", "F")]
    totals = made.patients.T @ made.vectors
    assert totals.tolist() == [each[each["sex"] == sex][["sum", "count"]].sum().tolist() for sex in ("M", "F")]


def test_no_patients_and_a_single_group_have_a_reason() -> None:
    empty = Cells(groups=("F", "M"), vectors=np.zeros((0, 8), dtype=np.int64), counts=np.zeros(0, dtype=np.int64),
                  silent=np.zeros((2, 2), dtype=np.int64))  # fmt: skip
    assert gap_test(empty, [TPR], ["F", "M"], replicates=9, rng=generator(1)).reason.startswith("undefined")
    one = gap_test(cells_of({"F": (9, 1, 1, 9)}), [TPR], ["F"], replicates=9, rng=generator(1))
    assert (one.p_value, one.gap) == (None, None)


def test_the_cost_does_not_grow_with_the_number_of_patients() -> None:
    """The numbers drawn are as many for a billion patients as for a hundred."""
    few, many = ({"F": (7 * k, 0, 3 * k, 0), "M": (6 * k, 0, 4 * k, 0)} for k in (1, 10_000_000))
    for cells in (cells_of(few), cells_of(many)):
        assert gap_test(cells, [TPR], ["F", "M"], replicates=50, rng=generator(1)).replicates == 50
