"""Maps of where patients lie tell crowds, and no single patient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from synthetic.suites.density_map import SMALL, density_map
from synthetic.suites.fidelity import audit_fidelity
from tests.synthetic.likeness_scene import reader, valued, with_synthetic, world


def counts(side: dict[str, Any]) -> list[int]:
    return [count for row in side["cells"] for count in row if count is not None]


@pytest.mark.parametrize("seed", range(40))
def test_nobody_can_be_counted_out(seed: int) -> None:
    """Untold cells together hold nobody, or at least eleven; told cells hold at least eleven each."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(30, 900))
    spread = rng.choice([0.05, 0.3, 1.0])
    found = density_map(rng.normal(size=(n, 2)) * spread, rng.normal(size=(n + 7, 4)))
    assert found is not None
    for side in (found["real"], found["synthetic"]):
        hidden = side["n"] - sum(counts(side))
        assert hidden == 0 or hidden >= SMALL
        assert all(count >= SMALL for count in counts(side))


def test_an_outlier_is_in_no_cell_of_its_own() -> None:
    crowd = np.full((300, 2), 0.1)
    lonely = np.concatenate([crowd, [[-2.4, 2.4]]])
    with_them, without = density_map(lonely, crowd), density_map(crowd, crowd)
    assert with_them is not None and without is not None
    assert counts(with_them["real"]) == [], "the crowd is withheld too: else 301 less 300 tells of one"
    assert counts(without["real"]) == [300]


def test_cells_are_where_the_points_are() -> None:
    real = np.array([[-2.0, 2.0]] * 50 + [[9.0, -9.0]] * 40)
    found = density_map(real, real)
    assert found is not None and found["edge"] == 4
    assert (found["real"]["cells"][3][0], found["real"]["cells"][0][3]) == (50, 40)
    assert sum(counts(found["real"])) == 90


def test_one_dimension_has_no_map() -> None:
    assert density_map(np.zeros((50, 1)), np.zeros((50, 1))) is None


def test_an_audit_keeps_a_map_of_rows_and_one_of_images_and_a_shift_is_seen() -> None:
    made = world().synthetic
    assert made.images is not None
    bright = np.clip(made.images.astype(np.int64) + 90, 0, 255).astype(np.uint8)
    plain, shifted = (
        audit_fidelity(sets, reader=reader(), sdmetrics=False) for sets in (world(), with_synthetic(images=bright))
    )
    assert "map" in valued(plain, "alpha_precision", "columns").detail
    one, two = (valued(figures, "alpha_precision", "images").detail["map"] for figures in (plain, shifted))
    assert one["real"] == two["real"] and _overlap(one) > 0.75 > 0.5 > _overlap(two)


def _overlap(found: dict[str, Any]) -> float:
    """Share of patients in common, of the cells that are told."""
    real, made = (
        [(count or 0) / side["n"] for row in side["cells"] for count in row]
        for side in (found["real"], found["synthetic"])
    )
    return float(sum(min(pair) for pair in zip(real, made, strict=True)))
