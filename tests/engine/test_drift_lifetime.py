"""The lifetime test: the formula by brute force, its promise by simulation, and what an alarm asks for."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from benchmarks.drift_scene import protocol_of
from evaluation.engine.drift import lifetime
from evaluation.engine.drift.exchangeable import Draw, count_score
from evaluation.engine.drift.lifetime import Track, all_starts, bets, look, spent, weights_of
from evaluation.engine.drift.records import Family, Residual, StreamShift
from evaluation.engine.protocol import Protocol
from evaluation.engine.protocol_drift import FalseAlarms
from evaluation.engine.statistics.seeds import generator

PROTOCOL = protocol_of()
WINDOWS = 52


def residual(
    stream: str, z: tuple[float, ...], *, n: float = 200, pool: float = 2000, group: str = "All", **changed: Any
) -> Residual:
    attribute = "" if group == "All" else "site"
    names = changed.pop("components", tuple(f"c{i}" for i in range(len(z))))
    family = changed.pop("family", Family.NUMERIC)
    return Residual(
        stream=stream, family=family, attribute=attribute, group=group, z=z, components=names, n=n, baseline=pool
    )


def shift(stream: str, value: float | None, *, effect: str = "wasserstein_sigma", group: str = "All") -> StreamShift:
    attribute = "" if group == "All" else "site"
    return StreamShift(
        stream=stream, family=Family.NUMERIC, attribute=attribute, group=group, effect=effect, value=value, low=None,
        high=None, margin=0.2, p_value=None, n=200, n_reference=2000,
    )  # fmt: skip


def ruled(**rules: Any) -> Protocol:
    assert PROTOCOL.drift is not None
    return replace(PROTOCOL, drift=replace(PROTOCOL.drift, false_alarms=FalseAlarms(**rules)))


@cache
def counted(count: int, n: int, marked: int, total: int) -> float:
    return count_score(count, [Draw(n, marked, total)]) or 0.0


def simulated(runs: int, n: int, reference: int, rate: float, later: float, start: int, *name: str) -> Track:
    """Scores of a category in ``runs`` monitors, whose share changes in window ``start``."""
    rng = generator(0, "lifetime", *name)
    rates = np.where(np.arange(WINDOWS) < start, rate, later)
    counts = rng.binomial(n, rates, size=(runs, WINDOWS))
    marked = rng.binomial(reference, rate, size=runs)[:, None] + np.cumsum(counts, axis=1)
    pool = reference + n * np.arange(WINDOWS, dtype=np.float64)
    z = [
        [counted(int(counts[r, k]), n, int(marked[r, k]), int(pool[k]) + n) for k in range(WINDOWS)]
        for r in range(runs)
    ]
    gain = np.sqrt(n * pool / (n + pool)) / pool
    return Track(z=np.array(z)[..., None], gain=gain, pool=pool, shares=np.ones(1))


def until(track: Track, k: int) -> Track:
    return replace(track, z=track.z[..., :k, :], gain=track.gain[:k], pool=track.pool[:k])


def over_life(track: Track, *, endless: bool = True) -> np.ndarray:
    """Logarithm of the e-value of each run after each window."""
    found = [all_starts(bets(until(track, k)), endless=endless) for k in range(1, WINDOWS + 1)]
    return np.stack(found, axis=1)


def first_at(reached: np.ndarray, start: int) -> np.ndarray:
    """Windows from ``start`` until the first alarm; 99 where there is none."""
    return np.where(reached[:, start:].any(axis=1), reached[:, start:].argmax(axis=1) + 1, 99)


@pytest.fixture(scope="module")
def quiet() -> Track:
    """1,000 monitors in which nothing changes, with a small reference: n = 50, reference 200."""
    return simulated(1000, 50, 200, 0.1, 0.1, 0, "quiet")


def test_line_9_a_thousand_quiet_years_alarm_in_at_most_alpha(quiet: Track) -> None:
    alpha = 0.05
    weekly = (np.abs(quiet.z[..., 0]) >= 1.96).any(axis=1).mean()
    assert weekly > 0.85
    many = simulated(1000, 1000, 200, 0.3, 0.3, 0, "small reference")
    rare = simulated(1000, 200, 2000, 0.005, 0.005, 0, "rare")
    for track in (quiet, many, rare):
        wealth = over_life(track)
        assert (wealth >= -math.log(alpha)).any(axis=1).mean() <= alpha
        # Ville's inequality holds at every height, not at 1 / alpha alone.
        assert (wealth >= math.log(4)).any(axis=1).mean() <= 1 / 4
        looks = np.stack([spent(until(track, k)) for k in range(1, WINDOWS + 1)], axis=1)
        limits = [-math.log(6 * alpha / (math.pi * k) ** 2) for k in range(1, WINDOWS + 1)]
        assert (looks >= limits).any(axis=1).mean() <= alpha
        detector = over_life(track, endless=False)
        assert (detector >= math.log(1000)).any(axis=1).mean() <= WINDOWS / 1000
        assert np.exp(detector[:, 9]).mean() < 12
    # Each window is held against all before it, so a reference that is off by chance does not bind them together.
    assert np.abs(np.corrcoef(many.z[:, :6, 0].T) - np.eye(6)).max() < 0.12


def test_a_change_is_found_within_weeks() -> None:
    """.10 to .15 at 200 patients a week, from the first week or the thirteenth; and with a hundredth of the wealth."""
    for start in (0, 12):
        track = simulated(300, 200, 5000, 0.10, 0.15, start, "change", str(start))
        wealth = over_life(track)
        delay = first_at(wealth >= math.log(20), start)
        assert np.median(delay) <= 4
        assert np.median(first_at(wealth >= math.log(2000), start)) <= 8
        assert (delay < 99).mean() > 0.97
        looks = np.stack([spent(until(track, k)) for k in range(1, WINDOWS + 1)], axis=1)
        limits = np.array([-math.log(0.3 / (math.pi * k) ** 2) for k in range(1, WINDOWS + 1)])
        assert np.median(first_at(looks >= limits, start)) <= 7


def test_the_bets_are_fair_at_every_window() -> None:
    """The mean over the next scores of the wealth then is the wealth now."""

    def worth(scores: np.ndarray) -> np.ndarray:
        windows = scores.shape[-2]
        sizes = [(200.0, 300.0), (50.0, 500.0)][:windows]
        gain = np.array([math.sqrt(n * m / (n + m)) / m for n, m in sizes])
        pool = np.array([m for _, m in sizes])
        track = Track(z=scores, gain=gain, pool=pool, shares=lifetime.shares_of(2, 2))
        return all_starts(bets(track), endless=True)

    grid = np.linspace(-40, 40, 401)
    x, y = np.meshgrid(grid, grid)
    density = stats.norm.logpdf(x) + stats.norm.logpdf(y)
    for past in ([], [[1.3, -0.4]]):
        known = np.broadcast_to(np.array(past).reshape(-1, 2), (401, 401, len(past), 2))
        scores = np.concatenate([known, np.stack([x, y], axis=-1)[:, :, None, :]], axis=2)
        mean = integrate.trapezoid(integrate.trapezoid(np.exp(worth(scores) + density), grid), grid)
        before = math.exp(float(worth(np.array([past]))[0])) if past else 1.0
        assert mean == pytest.approx(before, rel=1e-6)


def test_the_look_is_the_formula_written_out() -> None:
    rng = generator(1, "formula")
    sizes = [(150.0, 400.0), (90.0, 550.0), (220.0, 640.0), (180.0, 860.0)]
    history = [
        [
            residual("age", tuple(rng.normal(size=2) + 1.0), n=n, pool=m),
            residual("ward", tuple(rng.normal(size=1)), n=n, pool=m, family=Family.CATEGORICAL),
            residual("age", tuple(rng.normal(size=2)), n=n / 2, pool=m / 2, group="A"),
        ]
        for n, m in sizes
    ]
    found = look(PROTOCOL, history, [shift("age", 0.3), shift("ward", 0.1)], cycle=1)

    def ratio(items: list[Residual], start: int, component: int, scale: float) -> float:
        """The likelihood ratio of a shift d, integrated over d ~ N(0, scale^2)."""
        means = [
            items[start].baseline / item.baseline * math.sqrt(item.n * item.baseline / (item.n + item.baseline))
            for item in items[start:]
        ]
        z = [item.z[component] for item in items[start:]]

        def weighed(d: float) -> float:
            gained = math.fsum(d * c * x - d * d * c * c / 2 for c, x in zip(means, z, strict=True))
            return math.exp(gained) * stats.norm.pdf(d, scale=scale)

        return float(integrate.quad(weighed, -6 * scale, 6 * scale, limit=200)[0])

    def worth(items: list[Residual]) -> float:
        total = lifetime.STARTS / (len(items) + lifetime.STARTS)
        parts = len(items[0].z)
        for start in range(len(items)):
            made = [[ratio(items, start, c, t) for t in lifetime.SHIFTS] for c in range(parts)]
            alone = 0.125 + 0.875 * float(np.mean(made))
            total += float(lifetime.prior(9)[start]) * (0.75 * alone + 0.25 * float(np.mean(np.prod(made, axis=0))))
        return total

    each = [worth([window[place] for window in history]) for place in range(3)]
    assert [math.exp(found.streams[k]) for k in (("age", "", "All"), ("ward", "", "All"), ("age", "site", "A"))] == (
        pytest.approx(each, rel=1e-6)
    )
    assert math.exp(found.log_e) == pytest.approx(each[0] / 4 + each[1] / 4 + each[2] / 2, rel=1e-6)
    assert math.exp(found.log_e_over_margin) == pytest.approx(each[0] / 4, rel=1e-6)
    assert found.threshold == pytest.approx(math.log(20))
    assert look(PROTOCOL, history, [shift("age", 0.3), shift("ward", 0.1)], cycle=1) == found
    kept = json.loads(json.dumps([[item.to_dict() for item in window] for window in history]))
    again = [[Residual.from_dict(item) for item in window] for window in kept]
    assert look(PROTOCOL, again, [shift("age", 0.3), shift("ward", 0.1)], cycle=1) == found


def test_line_10_what_is_significant_and_trivial_raises_no_alarm() -> None:
    """A million patients a week, .005 standard deviations: each week's z is 3.5."""
    history = [[residual("age", (3.5,), n=1e6, pool=1e6 * (k + 5)), residual("ward", (0.1,))] for k in range(8)]
    trivial = look(PROTOCOL, history, [shift("age", 0.005), shift("ward", 0.01)], cycle=1)
    assert trivial.log_e > trivial.threshold
    assert not trivial.alarm
    assert trivial.alarming == ()
    assert trivial.onset is None
    assert look(PROTOCOL, history, [shift("age", -0.2)], cycle=1).alarm
    assert not look(PROTOCOL, history, [shift("age", None)], cycle=1).alarm
    assert not look(PROTOCOL, history, [], cycle=1).alarm


def test_a_drop_counts_downwards_only() -> None:
    history = [[residual("performance.x", (-5.0,))] for _ in range(4)]
    for value, alarm in ((0.3, True), (-0.3, False)):
        shifts = [shift("performance.x", value, effect="auroc_drop")]
        assert look(PROTOCOL, history, shifts, cycle=1).alarm is alarm


def test_an_alarm_names_its_streams_and_when_it_began() -> None:
    rng = generator(2, "onset")
    history = []
    for k in range(20):
        moved = 4.0 if k >= 14 else 0.0
        streams = [residual("age", tuple(rng.normal((0.0, moved, 0.0))), pool=2000 + 200 * k)]
        streams += [residual("crp", (float(rng.normal()) + moved / 2,), pool=2000 + 200 * k)]
        history.append([*streams, residual("ward", (float(rng.normal()),), pool=2000 + 200 * k)])
    shifts = [shift(name, 0.5) for name in ("age", "crp", "ward")]
    for rules in ({}, {"method": "alpha_spending"}):
        for cycle in (1, 2):
            found = look(ruled(**rules), history, shifts, cycle=cycle)
            assert found.alarm
            assert found.alarming[0] == ("age", "", "All")
            assert ("ward", "", "All") not in found.alarming
            assert found.onset is not None
            assert abs(found.onset - 15) <= 1
            assert found.method == ("run_length" if cycle == 2 else rules.get("method", "e_process"))
    early = look(PROTOCOL, history[:14], shifts, cycle=1)
    assert not early.alarm


def test_the_wealth_is_split_before_the_data_and_sums_to_one() -> None:
    keys = {
        ("age", "", "All"): "numeric",
        ("crp", "", "All"): "numeric",
        ("ward", "", "All"): "categorical",
        ("age", "sex", "F"): "numeric",
        ("age", "sex", "M"): "numeric",
        ("age", "site", "A"): "numeric",
        ("ward", "site", "A"): "categorical",
    }
    found = weights_of(keys)
    assert sum(found.values()) == pytest.approx(1)
    assert found["age", "", "All"] == 1 / 8
    assert found["ward", "", "All"] == 1 / 4
    assert found["age", "sex", "F"] == found["age", "site", "A"] == 1 / 8
    assert sum(weights_of({key: kind for key, kind in keys.items() if not key[1]}).values()) == pytest.approx(1)
    assert lifetime.prior(4000).sum() == pytest.approx(1 - 8 / 4008)
    assert lifetime.shares_of(3, 60).sum() < 1


def test_what_joins_later_takes_no_wealth_from_what_was_there() -> None:
    first = [residual("scanner", (0.5,), components=("B",)), residual("age", ())]
    later = [residual("scanner", (0.4, 6.0), components=("B", "new")), residual("age", (1.0,)), residual("crp", (9.0,))]
    found = look(PROTOCOL, [first, later, later], [shift("scanner", 0.5)], cycle=1)
    assert set(found.streams) == {("scanner", "", "All"), ("age", "", "All")}
    assert found.alarm
    without = look(PROTOCOL, [first[:1], [later[0]], [later[0]]], [shift("scanner", 0.5)], cycle=1)
    assert without.streams["scanner", "", "All"] == found.streams["scanner", "", "All"]


def test_a_window_with_too_few_patients_changes_nothing_and_says_so() -> None:
    history = [[residual("age", (6.0,))] for _ in range(3)]
    before = look(PROTOCOL, history, [shift("age", 0.5)], cycle=1)
    few = look(PROTOCOL, [*history, []], [shift("age", 0.5)], cycle=1)
    assert before.alarm
    assert not few.alarm
    assert few.log_e == pytest.approx(before.log_e, abs=0.2)
    assert "too few" in few.promise
    assert look(PROTOCOL, [[]], [], cycle=1).log_e == 0
    body = look(PROTOCOL, [], [], cycle=2).to_dict()
    assert json.loads(json.dumps(body, allow_nan=False)) == body


def test_after_an_alarm_the_promise_is_a_run_length() -> None:
    found = look(ruled(run_length=250), [[residual("age", (0.0,))]], [], cycle=2)
    assert found.threshold == pytest.approx(math.log(250))
    assert "250 windows" in found.promise
    assert "at most 0.05" in look(PROTOCOL, [[residual("age", (0.0,))]], [], cycle=1).promise
    third = look(ruled(method="alpha_spending"), [[residual("age", (0.0,))]] * 3, [], cycle=1)
    assert third.threshold == pytest.approx(-math.log(6 * 0.05 / (math.pi**2 * 9)))


def test_components_that_go_together_are_not_multiplied() -> None:
    """Mean wealth of a window whose two scores are one: 1, as a fair bet's; multiplied, it would have no bound."""
    grid = np.linspace(-12, 12, 4801)
    both = residual("image", (0.0, 0.0), components=("direction 1", "radius location"), n=10)
    tracks = lifetime.tracks_of([[both]])
    track = replace(next(iter(tracks.values())), z=np.stack([grid, grid], axis=-1)[:, None, :])
    assert track.joint is not None and track.joint.tolist() == [True, False]
    fair, not_so = (
        float(integrate.trapezoid(np.exp(bets(item)[:, 0]) * stats.norm.pdf(grid), grid))
        for item in (track, replace(track, joint=None))
    )
    assert fair == pytest.approx(1, abs=1e-6) and not_so > 10
