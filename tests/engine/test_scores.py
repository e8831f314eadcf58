"""The sketch of scores: its algebra, and what is read off it against scikit-learn, statsmodels and loops over rows."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import AuscultError
from evaluation.engine.sketches.counts import OVERALL
from evaluation.engine.sketches.moments import PatientMoments
from evaluation.engine.sketches.scores import BINS, SCALE, ScoresSketch, bin_edges, bin_of
from evaluation.engine.statistics import scored
from evaluation.engine.statistics.scored import Scores
from tests.engine.builders import protocol, table

READ = protocol(labels=[{"name": "x", "threshold": {"value": 0.3, "source": "test"}}])
studies = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.sampled_from(["F", "M", None]),
        st.sampled_from([0, 1, -1]),
        st.sampled_from([0.0, 1e-6, 0.2, 0.30000001, 0.5, 0.999999, 1.0, float("nan")]),
    ),
    max_size=25,
)


def frame(rows: list[tuple[object, str | None, int, float]]) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["patient", "sex", "y_x", "s_x"])
    made["sex"] = made["sex"].astype(object)
    return made.astype({"patient": str, "y_x": int, "s_x": float})


def sketch(rows: pd.DataFrame) -> ScoresSketch:
    return ScoresSketch.from_table(READ, table(rows))


def simulated(rng: np.random.Generator, patients: int) -> pd.DataFrame:
    """Several studies per patient, alike in severity and in how the model scores them."""
    owner = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    severity, habit = rng.normal(size=(2, patients))
    y = (rng.random(len(owner)) < 1 / (1 + np.exp(1 - 1.5 * severity[owner]))).astype(int)
    linear = -1 + 1.2 * y + 0.8 * habit[owner] + 0.6 * rng.normal(size=len(owner))
    sex = rng.choice(["F", "M"], patients).astype(object)
    return pd.DataFrame({"patient": owner.astype(str), "sex": sex[owner], "y_x": y, "s_x": 1 / (1 + np.exp(-linear))})


def scores_of(made: ScoresSketch, group: str = "All", by: str = OVERALL) -> Scores:
    cells = made.cells["x", by]
    row = cells.groups.index(group)
    counts, sums = cells.hist.sum(axis=0)[row], cells.sums.sum(axis=0)[row] / SCALE
    return Scores(counts=counts, means=np.divide(sums, counts, out=np.zeros(counts.shape), where=counts > 0))


def test_the_edges_are_fixed_and_tell_small_scores_apart() -> None:
    edges = bin_edges()
    assert len(edges) == BINS + 1
    assert edges[0] == 0 and edges[-1] == 1
    assert np.diff(edges).max() <= 0.001 + 1e-9
    assert {0.3, 0.5, 0.001} <= set(edges.tolist())
    assert bin_of(np.array([1e-6]))[0] != bin_of(np.array([2e-6]))[0]
    assert bin_of(np.array([0.3]))[0] != bin_of(np.array([np.nextafter(0.3, 0)]))[0]
    assert bin_of(np.array([0.0, 1.0])).tolist() == [0, BINS - 1]


@settings(max_examples=25, deadline=None)
@given(studies)
def test_the_sketch_counts_what_a_loop_over_rows_counts(rows: list[tuple[int, str | None, int, float]]) -> None:
    data = frame(rows)
    cells = sketch(data).cells["x", "sex"]
    data["group"] = data["sex"].fillna("Unknown")
    used = data[(data["y_x"] >= 0) & data["s_x"].notna()]
    for row, group in enumerate(cells.groups):
        mine = used[used["group"] == group]
        assert cells.hist[:, row].sum() == len(mine)
        assert cells.sums[:, row].sum() / SCALE == pytest.approx(mine["s_x"].sum(), abs=1e-6)
        whom = [mine[mine["y_x"] == 0], mine[mine["y_x"] == 1], mine]
        assert cells.owners[row].tolist() == [part["patient"].nunique() for part in whom]
        assert cells.largest[row] == mine.groupby("patient").size().max() if len(mine) else cells.largest[row] == 0
        above = (mine["s_x"] >= 0.3).astype(int)
        parts = [(above & mine["y_x"]), (above & (1 - mine["y_x"])), ((1 - above) & mine["y_x"])]
        assert cells.decided[:, row].sum(axis=0)[:3].tolist() == [int(part.sum()) for part in parts]
        for column, other in enumerate(cells.groups):
            both = set(mine["patient"]) & set(used[used["group"] == other]["patient"])
            assert cells.shared[row, column] == len(both)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(studies, studies, studies)
def test_merging_is_associative_commutative_and_equal_to_one_pass(one: list, two: list, three: list) -> None:  # type: ignore[type-arg]
    parts = [
        [(f"{prefix}{row[0]}", *row[1:]) for row in rows] for rows, prefix in ((one, "a"), (two, "b"), (three, "c"))
    ]
    a, b, c = (sketch(frame(part)) for part in parts)
    whole = sketch(frame([row for part in parts for row in part])).to_bytes()
    assert a.merge(b).merge(c).to_bytes() == whole
    assert c.merge(a.merge(b)).to_bytes() == whole
    assert b.merge(c).merge(a).to_bytes() == whole
    assert a.update(READ, table(frame(parts[1]))).update(READ, table(frame(parts[2]))).to_bytes() == whole
    assert ScoresSketch.from_bytes(whole).to_bytes() == whole


def test_damaged_bytes_and_shares_without_scores_are_refused() -> None:
    made = sketch(frame([(1, "F", 1, 0.5), (1, "M", 0, 0.2)]))
    with pytest.raises(AuscultError):
        ScoresSketch.from_bytes(made.to_bytes()[:-9])
    with pytest.raises(AuscultError, match="Only some shares"):
        made.merge(ScoresSketch(cells={}))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 4)), max_size=30), st.integers(0, 5))
def test_moments_are_those_of_a_dense_matrix_and_merge(entries: list[tuple[int, int, int]], cut: int) -> None:
    data = np.array(entries, dtype=np.int64).reshape(-1, 3)
    dense = np.zeros((6, 4), dtype=np.int64)
    np.add.at(dense, (data[:, 0], data[:, 1]), data[:, 2])
    made = PatientMoments.from_entries(data[:, 0], data[:, 1], 4, data[:, 2])
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(4, 2)), rng.normal(size=(4, 3))
    assert made.product(one, two) == pytest.approx(one.T @ (dense.T @ dense) @ two)
    assert made.total.tolist() == dense.sum(axis=0).tolist()
    assert made.patients == int(dense.any(axis=1).sum())
    left, right = (
        PatientMoments.from_entries(part[:, 0], part[:, 1], 4, part[:, 2])
        for part in (data[data[:, 0] < cut], data[data[:, 0] >= cut])
    )
    for merged in (left.merge(right), right.merge(left)):
        assert merged.to_blocks() == made.to_blocks()
    later = data[data[:, 0] >= cut]
    assert left.update(later[:, 0], later[:, 1], later[:, 2]).to_blocks() == made.to_blocks()
    moved = made.placed(np.array([5, 0, 3, 1]), 7)
    spread = np.zeros((7, 2))
    spread[[5, 0, 3, 1]] = one
    assert moved.product(spread, spread) == pytest.approx(made.product(one, one))
    assert PatientMoments.from_blocks(moved.to_blocks()[0], iter(moved.to_blocks()[1])).to_blocks() == moved.to_blocks()


def test_point_values_equal_scikit_learn_and_statsmodels() -> None:
    import statsmodels.api as sm
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

    data = simulated(np.random.default_rng(1), 3000)
    y, s = data["y_x"].to_numpy(), data["s_x"].to_numpy()
    made = scores_of(sketch(data))
    assert scored.auroc(made).value == pytest.approx(roc_auc_score(y, s), abs=5e-5)
    assert scored.average_precision(made).value == pytest.approx(average_precision_score(y, s), abs=1e-3)
    assert scored.brier(made).value == pytest.approx(brier_score_loss(y, s), abs=3e-7)
    assert scored.observed_expected(made).value == pytest.approx(y.sum() / s.sum(), abs=1e-7)
    logit, family = np.log(s / (1 - s)), sm.families.Binomial()
    intercept = sm.GLM(y, np.ones(len(y)), offset=logit, family=family).fit().params[0]
    slope = sm.GLM(y, sm.add_constant(logit), family=family).fit().params[1]
    assert scored.calibration_line(made, slope=False).value == pytest.approx(intercept, abs=1e-5)
    assert scored.calibration_line(made, slope=True).value == pytest.approx(slope, abs=1e-4)
    for threshold in (0.1, 0.3, 0.75):
        called = s >= threshold
        benefit = (called & (y == 1)).mean() - (called & (y == 0)).mean() * threshold / (1 - threshold)
        first = int(np.searchsorted(bin_edges(), threshold))
        assert scored.net_benefit(made, first, threshold).value == pytest.approx(benefit, abs=1e-12)


def test_the_slope_of_very_small_scores_is_that_of_statsmodels() -> None:
    import statsmodels.api as sm

    data = simulated(np.random.default_rng(6), 2000)
    data["s_x"] *= 1e-6
    logit = np.log(data["s_x"] / (1 - data["s_x"])).to_numpy()
    oracle = sm.GLM(data["y_x"], sm.add_constant(logit - logit.mean()), family=sm.families.Binomial()).fit().params
    found = scored.calibration_line(scores_of(sketch(data)), slope=True).value
    assert found == pytest.approx(oracle.iloc[1], rel=5e-3)


def test_the_cross_group_auroc_equals_a_count_of_pairs() -> None:
    data = simulated(np.random.default_rng(2), 400)
    made = sketch(data)
    women, men = (data[data["sex"] == group] for group in "FM")
    above = women[women["y_x"] == 1]["s_x"].to_numpy()[:, None]
    below = men[men["y_x"] == 0]["s_x"].to_numpy()[None, :]
    brute = float((above > below).mean() + 0.5 * (above == below).mean())
    value = scored.cross_auroc(scores_of(made, "F", "sex"), scores_of(made, "M", "sex"))[0].value
    assert value == pytest.approx(brute, abs=2e-4)


def test_ece_equals_a_loop_over_its_bins_and_the_edges_are_those_of_all_studies() -> None:
    data = simulated(np.random.default_rng(3), 800)
    made = scores_of(sketch(data))
    edges = scored.equal_mass_edges(made.counts.sum(axis=0), 10)
    ends = bin_edges()[edges]
    s, y = data["s_x"].to_numpy(), data["y_x"].to_numpy()
    brute = 0.0
    for low, high in pairwise(ends):
        inside = (s >= low) & (s < high)
        brute += abs(y[inside].sum() - s[inside].sum()) / len(s)
    assert scored.calibration_error(made, edges) == pytest.approx(brute, abs=1e-7)
    sizes = [item.n for item in scored.calibration_curve(made, edges)]
    assert max(sizes) < 1.2 * min(sizes)


@pytest.mark.parametrize("metric", ["auroc", "average_precision", "brier", "observed_expected", "intercept", "slope"])
def test_influences_are_the_derivative_of_the_statistic(metric: str) -> None:
    """Adding a share of one study moves the statistic by its influence: checked by finite differences."""
    functions = {
        "intercept": lambda made: scored.calibration_line(made, slope=False),
        "slope": lambda made: scored.calibration_line(made, slope=True),
    }
    of = functions.get(metric) or getattr(scored, metric)
    made = scores_of(sketch(simulated(np.random.default_rng(4), 300)))
    base = of(made)
    assert float((made.counts * base.influence).sum()) == pytest.approx(0, abs=1e-9)
    places = np.argwhere(made.counts > 0)
    step = 1e-3
    for outcome, place in places[:: max(1, len(places) // 8)]:
        counts = made.counts.astype(np.float64)
        counts[outcome, place] += step
        moved = of(_Weighted(counts, made.means))
        change = np.log(moved.value / base.value) if metric == "observed_expected" else moved.value - base.value
        assert change / step == pytest.approx(base.influence[outcome, place], rel=0.02, abs=2e-7)


class _Weighted(Scores):
    """Scores whose counts need not be whole."""

    def __init__(self, counts: np.ndarray, means: np.ndarray) -> None:
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "means", means)

    @property
    def without(self) -> float:  # type: ignore[override]
        return float(self.counts[0].sum())

    @property
    def with_finding(self) -> float:  # type: ignore[override]
        return float(self.counts[1].sum())

    @property
    def n(self) -> float:  # type: ignore[override]
        return float(self.counts.sum())


def test_5_the_edges_of_calibration_are_the_same_for_every_group() -> None:
    from evaluation.engine import assess, sketch_shard

    data = simulated(np.random.default_rng(5), 1500)
    data.loc[data["sex"] == "F", "s_x"] *= 0.6
    found = assess(READ, sketch_shard(READ, table(data)), cross_check=False)
    bins = {m.group: m.detail["bins"] for m in found.measurements if m.metric == "ece" and m.attribute == "sex"}
    assert set(bins) == {"F", "M"}
    assert [(b["low"], b["high"]) for b in bins["F"]] == [(b["low"], b["high"]) for b in bins["M"]]
    assert bins["F"] != bins["M"]


def test_one_class_or_no_study_is_undefined_with_a_reason_and_never_0() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        only = scores_of(sketch(frame([(i, "F", 1, 0.2 + i / 100) for i in range(6)])))
        for of in (scored.auroc, scored.average_precision, lambda made: scored.calibration_line(made, slope=True)):
            assert of(only).value is None
            assert "undefined" in of(only).reason
        nothing = Scores(counts=np.zeros((2, BINS), dtype=np.int64), means=np.zeros((2, BINS)))
        assert scored.brier(nothing).value is None
        assert scored.calibration_error(nothing, [0, BINS]) is None
        separated = scores_of(sketch(frame([(i, "F", int(i > 5), 0.1 + 0.08 * i) for i in range(10)])))
        assert scored.calibration_line(separated, slope=True).value is None
        assert scored.auroc(separated).value == 1.0
