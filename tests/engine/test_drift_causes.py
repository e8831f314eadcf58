"""The search for causes finds what was planted, and finds nothing where nothing was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evaluation.engine.drift.causes import LEAST, Search, find_causes
from evaluation.engine.drift.records import Family, StreamShift
from evaluation.engine.drift.sample import DriftSample, hashes_of

RULES: Any = SimpleNamespace(seed=3, minimum_cell=11)


def sample(rng: np.random.Generator, n: int, first: int, **columns: Any) -> DriftSample:
    names = np.array([f"patient-{first + place}" for place in range(n)], dtype=object)
    keys = hashes_of(names, seed=0)
    order = np.argsort(keys)
    made = {name.replace("__", ".", 1): np.asarray(values)[order] for name, values in columns.items()}
    return DriftSample(keys=keys[order], patient_ids=names[order], study_ids=names[order], columns=made)


def device(rng: np.random.Generator, n: int, first: int, *, philips: float, age: float = 60.0) -> DriftSample:
    """A scanner that decides height and noise of the picture, beside an age that it does not touch."""
    maker = rng.random(n) < philips
    return sample(
        rng,
        n,
        first,
        category__scanner=np.where(maker, "Philips", "Imaging").astype(object),
        number__height=np.where(maker, rng.normal(2600, 150, n), rng.normal(1750, 150, n)).round(),
        number__noise=np.where(maker, rng.gamma(4, 1, n), rng.gamma(2, 1, n)),
        number__age=rng.normal(age, 12, n),
        group__sex=np.where(rng.random(n) < 0.5, "F", "M").astype(object),
    )


def test_a_changed_scanner_is_the_leading_cause_and_names_what_came_with_it() -> None:
    rng = np.random.default_rng(1)
    before, now = device(rng, 1500, 0, philips=0.3), device(rng, 800, 5000, philips=0.95)
    found = find_causes(RULES, before, now, [])
    first = found.causes[0]
    assert first.feature == "scanner"
    shares = [100 * (side.columns["category.scanner"] == "Philips").mean() for side in (before, now)]
    assert first.sentence.startswith(f"scanner: Philips {shares[0]:.0f} % before, {shares[1]:.0f} % now.")
    assert "height" in first.sentence
    assert first.share > 0.8 and found.auroc is not None and 0.75 < found.auroc < 0.95
    assert "age" not in {item.feature for item in found.causes}
    # The studies that are least like the reference are of the window, and of the new maker.
    makers = dict(zip(now.study_ids, now.columns["category.scanner"], strict=True))
    assert all(makers[study] == "Philips" for study, _ in found.exemplars)
    assert found == find_causes(RULES, before, now, [])


def test_two_changes_that_have_nothing_to_do_with_each_other_are_two_causes() -> None:
    rng = np.random.default_rng(2)
    found = find_causes(RULES, device(rng, 1500, 0, philips=0.3), device(rng, 900, 5000, philips=0.9, age=75.0), [])
    assert {item.feature for item in found.causes[:2]} == {"scanner", "age"}
    assert all("age" not in item.sentence for item in found.causes if item.feature == "scanner")


@pytest.mark.parametrize("seed", range(6))
def test_without_a_change_hardly_anything_is_named(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    found = find_causes(RULES, device(rng, 1500, 0, philips=0.3), device(rng, 800, 5000, philips=0.3), [])
    # One feature in a hundred passes the bar by chance: five of them, six times.
    assert len(found.causes) <= 1
    assert found.auroc is None or 0.45 < found.auroc < 0.55


def test_few_patients_are_not_searched_and_small_cells_are_not_told() -> None:
    rng = np.random.default_rng(4)
    before = device(rng, 1500, 0, philips=0.3)
    assert find_causes(RULES, before, device(rng, LEAST - 1, 5000, philips=0.9), []).causes == ()
    rare = device(rng, 1500, 0, philips=0.003)
    found: Search = find_causes(RULES, rare, device(rng, 800, 5000, philips=0.6), [])
    assert "fewer than 11 patients before" in next(c.sentence for c in found.causes if c.feature == "scanner")


def test_a_shift_in_one_group_alone_is_told_with_the_group() -> None:
    rng = np.random.default_rng(5)

    def shift(group: str, value: float, low: float) -> StreamShift:
        return StreamShift(
            stream="height", family=Family.NUMERIC, attribute="" if group == "All" else "sex", group=group,
            effect="wasserstein_sigma", value=value, low=low, high=value + 0.1, margin=0.2, p_value=0.01, n=300,
            n_reference=900,
        )  # fmt: skip

    data = device(rng, 1500, 0, philips=0.3), device(rng, 800, 5000, philips=0.6)
    alone = find_causes(RULES, *data, [shift("All", 0.15, 0.1), shift("F", 0.5, 0.3), shift("M", 0.05, 0.0)])
    assert [(c.attribute, c.group) for c in alone.causes if c.group] == [("sex", "F")]
    everywhere = find_causes(RULES, *data, [shift("All", 0.5, 0.4), shift("F", 0.5, 0.3), shift("M", 0.5, 0.3)])
    assert not [c for c in everywhere.causes if c.group]
