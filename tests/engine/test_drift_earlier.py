"""What earlier windows say about later ones: numbers in another unit are no pool, contradicted estimates stay so."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.engine.drift.earlier import lasting, without_estimates, without_numbers
from evaluation.engine.drift.records import Family, Notice, NoticeKind, StreamShift
from evaluation.engine.drift.residuals import _estimated, residuals_of
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.statistics.seeds import generator
from tests.engine.drift_builders import sketched, watching

ALL = ("", "All")


def test_a_window_in_another_unit_leaves_no_trace_in_the_pool_of_that_stream() -> None:
    """The windows after it are as they were. With its numbers in the pool, they would look odd for ever."""
    rules, rng = watching("sex"), generator(1, "earlier")

    def window(n: int, name: str, factor: float = 1.0) -> DriftSketch:
        values = rng.lognormal(2, 0.5, n)
        numbers = {"crp": values * factor, "age": rng.normal(60, 10, n)}
        return sketched(rules, numbers, prefix=name, sex=rng.choice(["F", "M"], n))

    pool, odd, next_one = window(600, "r"), window(200, "w", factor=0.1), window(200, "v")
    kept = DriftSketch.from_bytes(pool.merge(without_numbers(odd, {"crp"})).to_bytes())
    assert (kept.n, kept.total().numbers["crp"].n, kept.total().numbers["age"].n) == (800, 600, 800)

    def location(baseline: DriftSketch) -> float:
        found = next(i for i in residuals_of(rules, next_one, baseline) if (i.stream, i.group) == ("crp", "All"))
        return dict(zip(found.components, found.z, strict=True))["location"]

    assert abs(location(kept)) < 3 < 5 < location(pool.merge(odd))
    assert without_numbers(odd, set()) is odd


def estimate(label: str, attribute: str = "", group: str = "All", family: Family = Family.ESTIMATED) -> StreamShift:
    return StreamShift(
        stream=f"{family.value}.{label}", family=family, attribute=attribute, group=group, effect="sensitivity_drop",
        value=0.2, low=0.1, high=0.3, margin=0.05, p_value=0.001, n=200, n_reference=500, detail={"ppv": {}},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "struck"),
    [
        (("x.y", *ALL), {("x.y", "All"), ("x.y", "F"), ("x.y", "M")}),
        (("x.y", "sex", "F"), {("x.y", "F")}),
        (("z", *ALL), {("z", "All")}),
        (("other", *ALL), set()),
    ],
)
def test_what_labels_contradicted_is_estimated_no_more(scope: tuple[str, str, str], struck: set[object]) -> None:
    every = [estimate("x.y"), estimate("x.y", "sex", "F"), estimate("x.y", "sex", "M"), estimate("z")]
    kept = estimate("x.y", family=Family.CONCEPT)
    *found, concept = without_estimates([*every, kept], {scope: 3})
    assert concept == kept, "what rests on labels is told as ever"
    gone = [item for item in found if item.value is None]
    assert {(item.stream.partition(".")[2], item.group) for item in gone} == struck
    assert all(item.low is item.high is item.p_value is None and not item.detail for item in gone)
    assert all("since window 3" in item.reason and "restarted" in item.reason for item in gone)


def test_a_contradiction_lasts_only_where_no_number_of_looks_explains_it() -> None:
    """Quiet p-values of 40 labels and groups, looked at each week: at most 1 % of 5,000 years lose estimates."""
    shifts = [estimate(str(place)) for place in range(40)]

    def told(p_value: float, looks: int) -> bool:
        notice = Notice(kind=NoticeKind.CONCEPT, stream="concept.0", message="", detail={"p_value": p_value})
        (found,) = lasting([notice], shifts, looks=looks)
        return bool(found.detail["lasting"])

    least = generator(3, "looks").random((5000, 52, 40)).min(axis=2)
    near = np.argwhere(least < 0.01)
    lost = {int(year) for year, week in near if told(float(least[year, week]), int(week) + 1)}
    assert 10 < len(lost) <= 0.01 * 5000 + 3 * np.sqrt(0.01 * 5000)
    assert told(1e-8, 52) and not told(0.005, 1)
    unit = Notice(kind=NoticeKind.UNIT, stream="crp", message="")
    assert lasting([unit], [], looks=1) == (unit,)


def test_scores_of_estimates_do_not_go_together() -> None:
    """Both of one window are bet on at once, so they must be uncorrelated: raw, they correlate by .7 here."""
    rng = generator(2, "estimates")

    def counts(n: int) -> np.ndarray:
        ill = rng.random(n) < 0.1
        place = np.minimum((64 / (1 + np.exp(2 - 1.5 * ill - rng.normal(0, 1, n)))).astype(int), 63)
        made = np.zeros((65, 3), dtype=np.int64)
        np.add.at(made, (place, np.where(ill, 0, 1)), 1)
        return made

    found = [_estimated([(counts(200), counts(2000))], 8)[0] for _ in range(400)]
    z = np.array([[item["errors"], item["sensitivity"]] for item in found])
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.15
    assert np.all(np.abs(z.std(axis=0) - 1) < 0.15)
