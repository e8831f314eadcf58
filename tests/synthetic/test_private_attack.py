"""Differential privacy attacked: whoever knows everybody but one tries to tell whether that one was there.

Many generators are made of a cohort and of its neighbour. Of a test that tells them apart with the rates a (true
alarms) and b (false alarms), (epsilon, delta) promises a <= exp(epsilon) b + delta. Exact limits of both rates give an
epsilon that is surely spent: it may not be above the one that is told. With the noise left out, it is far above.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import beta, norm
from torch import nn

from core.errors import AuscultError
from synthetic.generators.kinds.private_tables import layout_of
from synthetic.generators.networks.language_model import ModelSize
from synthetic.generators.private import descent as descents
from synthetic.generators.private.accounting import Mechanism, Need, noise_for
from synthetic.generators.private.bounded import bounded
from synthetic.generators.private.descent import (
    BOUND,
    GRAIN,
    Descent,
    bounded_rows,
    check_private,
    descend,
    gradients_of,
)
from synthetic.generators.private.noise import Noise, Secret
from synthetic.generators.private.tables_counting import counted, noisy
from synthetic.generators.private.text_training import MappedModel
from synthetic.generators.private.text_training import _loss as model_loss
from tests.synthetic.private_scene import domain_of, plain_of, ward, without

DELTA, LEVEL = 1e-4, 0.001
Floats = np.ndarray[Any, Any]


def surely_spent(there: Floats, gone: Floats, threshold: float) -> float:
    """An epsilon that a mechanism with these scores exceeds with all but a chance of ``LEVEL``; 0 for none."""

    def least(hits: int, of: int) -> float:
        return 0.0 if hits == 0 else float(beta.ppf(LEVEL / 2, hits, of - hits + 1))

    def most(hits: int, of: int) -> float:
        return 1.0 if hits == of else float(beta.ppf(1 - LEVEL / 2, hits + 1, of - hits))

    true, false = int((there > threshold).sum()), int((gone > threshold).sum())
    above = least(true, len(there)) - DELTA
    return max(0.0, math.log(above / most(false, len(gone)))) if above > 0 else 0.0


class Silent(Noise):
    """The planted defect: no noise."""

    def normal(self, n: int) -> Floats:
        return np.zeros(n)


def tables_scores(epsilon: float, noise_of: Callable[[int], Noise], runs: int) -> tuple[Floats, Floats]:
    """Scores of tables with and without one patient: how far they lie along what that patient alone would change."""
    real = plain_of(ward(220, seed=4))
    other = without(real, real.patients[7])
    domain = domain_of(series={}, texts=[], image=False, times=None)
    layout = layout_of(domain, real)
    sides = [bounded(studies, domain) for studies in (real, other)]

    def flat(tables: dict[str, Any]) -> Floats:
        return np.concatenate([tables[table.name].ravel() for table in layout.tables()])

    exact = [
        np.concatenate([np.bincount(counted(layout, side)[table.name].cell, counted(layout, side)[table.name].weight,
                                    minlength=table.cells) for table in layout.tables()]) for side in sides
    ]  # fmt: skip
    away = exact[0] - exact[1]
    allowed = Mechanism(noise=noise_for(Need(), epsilon, DELTA))
    scores = [
        np.array([away @ (flat(noisy(layout, side, allowed, noise_of(2 * run + place))) - exact[1]) / (away @ away)
                  for run in range(runs)]) for place, side in enumerate(sides)
    ]  # fmt: skip
    return scores[0], scores[1]


def key_of(run: int) -> Noise:
    return Secret(b"attack").of(str(run))


def test_an_attack_on_tables_shows_no_more_than_was_promised() -> None:
    there, gone = tables_scores(2.0, key_of, 800)
    # The attack is not blind: scores lie around one and zero, as far apart as the noise allows.
    assert there.mean() - gone.mean() == pytest.approx(1, abs=0.3) and there.std() < 4
    shown = max(surely_spent(there, gone, threshold) for threshold in np.quantile(gone, [0.5, 0.7, 0.85, 0.95]))
    assert 0 < shown <= 2.0, "an attack that shows nothing would prove nothing"


def test_the_same_attack_finds_that_the_noise_is_left_out() -> None:
    there, gone = tables_scores(2.0, lambda run: Silent(None), 800)
    assert surely_spent(there, gone, 0.5) > 2.0


def test_the_attack_finds_that_a_tenth_of_the_noise_is_added() -> None:
    class Tenth(Noise):
        def normal(self, n: int) -> Floats:
            return super().normal(n) / 10

    there, gone = tables_scores(1.0, lambda run: Tenth(np.random.default_rng(run)), 800)
    assert max(surely_spent(there, gone, at) for at in np.quantile(gone, [0.7, 0.9, 0.97])) > 1.0


class _Mean(nn.Module):  # type: ignore[misc]
    """Weights that go where the data are."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(4))


def _pull(network: _Mean, study: dict[str, torch.Tensor]) -> torch.Tensor:
    return -(network.place * study["x"]).sum()


def descent_scores(epsilon: float, noise_of: Callable[[int], Noise], runs: int) -> tuple[Floats, Floats]:
    """How far weights have gone towards an outlier whose gradient would be a million bounds long."""
    crowd = torch.zeros(40, 4)
    outlier = torch.tensor([[1e6, 0.0, 0.0, 0.0]])
    need = Need(rate=0.9, steps=4)
    allowed = need.with_noise(noise_for(need, epsilon, DELTA))
    scores = []
    for place, data in enumerate((torch.cat([crowd, outlier]), crowd)):
        rows = [np.array([row]) for row in range(len(data))]
        own = []
        for run in range(runs):
            descent = Descent(allowed=allowed, noise=noise_of(2 * run + place), patients=40, seed=1)
            made = descend(_Mean(), _pull, {"x": data}, rows, descent, lambda step: None)
            own.append(float(made.place[0].detach()))
        scores.append(np.array(own))
    return scores[0], scores[1]


def test_an_attack_on_weights_shows_no_more_than_was_promised() -> None:
    there, gone = descent_scores(6.0, key_of, 200)
    shown = max(surely_spent(there, gone, threshold) for threshold in np.quantile(gone, [0.5, 0.8, 0.9]))
    assert 0.2 < shown <= 6.0


def test_the_same_attack_finds_weights_without_noise_and_gradients_without_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Unheard(Silent):
        def chosen(self, n: int, rate: float) -> Any:
            return np.arange(n)

    there, gone = descent_scores(2.0, lambda run: Unheard(np.random.default_rng(run)), 60)
    assert surely_spent(there, gone, 1e-6) > 2.0
    monkeypatch.setattr(descents, "bounded_rows", lambda rows: rows.double() * GRAIN)
    there, gone = descent_scores(1.0, key_of, 120)
    assert max(surely_spent(there, gone, threshold) for threshold in np.quantile(gone, [0.9, 0.99])) > 1.0


def test_rows_are_cut_to_their_bound_in_whole_numbers() -> None:
    rng = np.random.default_rng(2)
    rows = torch.from_numpy(rng.normal(0, 1, (60, 500)) * 10.0 ** rng.uniform(-9, 30, (60, 1))).float()
    rows[3], rows[4, 7], rows[5, 1] = 0.0, torch.nan, torch.inf
    found = bounded_rows(rows)
    assert (found == torch.round(found)).all() and torch.isfinite(found).all()
    norms = (found**2).sum(dim=1).sqrt() / GRAIN
    assert float(norms.max()) <= BOUND and not found[3].any() and not found[4].any() and not found[5].any()
    long = rows.double().norm(dim=1) > 1.01
    assert float(norms[long & torch.isfinite(rows).all(dim=1)].min()) > 0.999, "long ones reach it"
    short = bounded_rows(torch.tensor([[0.25, -0.5]]))
    assert short.tolist() == [[0.25 * GRAIN, -0.5 * GRAIN]], "short ones are left as they are"


def test_one_patient_changes_the_sum_of_a_step_by_no_more_than_the_bound() -> None:
    """Brute force over every patient, all taken: no other's contribution may move."""
    rng = np.random.default_rng(4)
    data = torch.from_numpy(rng.normal(0, 3, (50, 4))).float()

    def after(rows: list[Any]) -> Floats:
        total = descents._sum(
            descents.vmap(descents.grad(lambda w, s: -(w["place"] * s["x"]).sum()), in_dims=(None, 0)),
            {"place": torch.zeros(4)}, {"x": data}, np.concatenate(rows), [("place", (4,), 4)],
        )  # fmt: skip
        return total.numpy() / GRAIN

    rows = [np.array([row]) for row in range(50)]
    whole = after(rows)
    moves = [float(np.linalg.norm(whole - after(rows[:one] + rows[one + 1 :]))) for one in range(50)]
    assert 0.9 < max(moves) <= BOUND + 1e-12


def test_one_patient_changes_the_sum_of_the_language_model_by_no_more_than_the_bound() -> None:
    """Of a network of attention and embeddings, too, no other patient's gradient moves, to the last digit."""
    torch.manual_seed(3)
    size = ModelSize(tokens=90, fields=1, findings=2, more=20, region=8, longest=24, width=16, layers=1, heads=2)
    n = 40
    columns = {
        "plan": torch.randint(0, 3, (n, 2, 5)), "more": torch.randint(0, 20, (n, 3)), "regions": torch.randn(n, 8, 8),
        "has_image": torch.rand(n) < 0.8, "field": torch.zeros(n, dtype=torch.long),
        "words": torch.randint(0, 90, (n, 24)),
    }  # fmt: skip
    network = MappedModel(size)
    gradients = gradients_of(network, model_loss)
    weights = {name: value.detach() for name, value in network.named_parameters()}
    shapes = [(name, value.shape, value.numel()) for name, value in weights.items()]
    everyone = np.arange(n)
    whole = descents._sum(gradients, weights, columns, everyone, shapes)
    for one in (0, 15, 16, 39):
        own = descents._sum(gradients, weights, columns, everyone[[one]], shapes)
        rest = descents._sum(gradients, weights, columns, np.delete(everyone, one), shapes)
        assert (whole - rest == own).all() and 0.9 < float(own.norm()) / GRAIN <= BOUND


def test_networks_that_mix_patients_are_refused_by_the_name_of_the_layer() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3)))
    with pytest.raises(AuscultError, match=r"its layer 1\.1 is BatchNorm1d") as caught:
        check_private(network)
    assert caught.value.remedy
    check_private(nn.Sequential(nn.Linear(3, 3), nn.GroupNorm(1, 3)))


def test_the_attack_itself_knows_what_a_gaussian_mechanism_gives_away() -> None:
    """On scores of a known mechanism the epsilon that is surely spent is below the exact one, and not far below."""
    rng = np.random.default_rng(1)
    there, gone = rng.normal(1, 0.5, 20_000), rng.normal(0, 0.5, 20_000)
    exact = math.log((norm.sf(0.6 / 0.5 - 2) - DELTA) / norm.sf(0.6 / 0.5))
    assert exact - 0.15 < surely_spent(there, gone, 0.6) < exact
