"""What the backbone is pretrained for, against plain computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax


def test_patches_are_cut_in_the_order_of_the_tokens(model):
    import torch

    from models_registry.reference.objectives import patches_of, without_patches

    picture = torch.arange(32 * 32, dtype=torch.float32).reshape(1, 1, 32, 32)
    found = patches_of(picture, 16)[0].numpy()
    plain = picture[0, 0].numpy()
    for token, (row, column) in enumerate(((0, 0), (0, 16), (16, 0), (16, 16))):
        np.testing.assert_array_equal(found[token], plain[row : row + 16, column : column + 16].ravel())
    hidden = torch.tensor([[False, True, False, False]])
    grey = without_patches(picture + 1, hidden)[0, 0].numpy()
    assert (grey[:16, 16:] == 0).all()
    assert (grey != 0).sum() == 3 * 256


def test_a_series_is_summed_up_in_six_figures(inputs):
    from models_registry.reference.objectives import COURSE, NEAR, series_summary

    inputs["points"][..., 0] = inputs["points"][..., 0].clamp(-1, 0)  # times are hours before the study
    found = series_summary(inputs["points"], inputs["has_points"]).numpy()
    for row in range(found.shape[0]):
        for place in range(found.shape[1]):
            kept = inputs["points"][row, place, inputs["has_points"][row, place]].numpy().astype(float)
            expected = [0.0] * 6
            if len(kept):
                near = [np.exp(-(((kept[:, 0] * 72 - hour) / NEAR) ** 2) / 2) for hour in COURSE]
                expected = [kept[:, 1].mean(), kept[-1, 1], *(np.average(kept[:, 1], weights=w) for w in near)]
            np.testing.assert_allclose(found[row, place], expected, atol=1e-4)


def test_hidden_words_are_unknown_and_no_word_stays_none(inputs):
    import torch

    from models_registry.reference.objectives import without_words

    words = inputs["words"]
    found = without_words(words, torch.ones_like(words, dtype=torch.bool))
    np.testing.assert_array_equal(found.numpy(), np.where(words.numpy() != 0, 1, 0))


def test_the_words_of_a_text_are_told_in_any_order():
    import torch

    from models_registry.reference.objectives import said_loss

    guess = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    words = torch.tensor([[5, 2, 2, 0], [3, 0, 0, 0]])
    chance = 1 / (1 + np.exp(-guess.numpy()))
    total = 0.0
    for row, said in enumerate(({5, 2}, {3})):
        for word in range(2, 6):
            total -= np.log(chance[row, word] if word in said else 1 - chance[row, word])
    assert float(said_loss(guess, words)) == pytest.approx(total / 3, rel=1e-5)


def test_contrast_is_info_nce_over_the_pairs_that_are_there(model):
    import torch

    from models_registry.reference.objectives import Objectives

    goals = Objectives(model)
    rng = np.random.default_rng(0)
    vectors = {name: rng.normal(size=(5, 4)).astype(np.float32) for name in ("image", "report", "demographics")}
    there = {"image": [1, 1, 1, 0, 1], "report": [1, 0, 1, 1, 1], "demographics": [1] * 5}
    latents = {name: (torch.from_numpy(vectors[name]), torch.tensor(there[name], dtype=torch.bool)) for name in vectors}
    rows = [0, 2, 4]  # image and report; demographics tell no patient from another, and are left out
    likeness = np.exp(2.0) * vectors["image"][rows] @ vectors["report"][rows].T
    expected = -(np.trace(log_softmax(likeness, axis=1)) + np.trace(log_softmax(likeness, axis=0))) / 6
    with torch.no_grad():
        assert float(goals._contrast(latents)) == pytest.approx(expected, rel=1e-5)


def test_the_content_of_a_hidden_modality_does_not_reach_its_own_prediction(model, inputs, reports, nothing_hidden):
    """What is hidden is told from the rest: changing it changes the target, never the guess."""
    import torch

    from models_registry.reference.model import KINDS

    hidden = nothing_hidden.make(kinds={name: torch.full((9,), name == "series", dtype=torch.bool) for name in KINDS})
    present = model.present(inputs)
    shown = {name: present[name] & ~hidden.kinds[name].unsqueeze(1) for name in present}
    with torch.inference_mode():
        before, _ = model.fuse(model.encode(inputs), shown)
        inputs["points"] = inputs["points"] + 3.0
        after, _ = model.fuse(model.encode(inputs), shown)
    np.testing.assert_array_equal(before[:, 0].numpy(), after[:, 0].numpy())


def test_every_objective_moves_the_backbone(model, inputs, reports, nothing_hidden):
    import torch

    from models_registry.reference.objectives import WEIGHTS, Objectives

    rng = np.random.default_rng(1)
    hidden = nothing_hidden.make(
        kinds={name: torch.from_numpy(rng.random(9) < 0.4) for name in ("image", "text", "series", "demographics")},
        patches=torch.from_numpy(rng.random((9, 4)) < 0.5),
        words=torch.from_numpy(rng.random((9, 6)) < 0.3),
    )
    losses = Objectives(model)(model, inputs, reports, hidden)
    assert set(losses) == set(WEIGHTS)
    for name, loss in losses.items():
        assert bool(torch.isfinite(loss)), name
        model.zero_grad()
        loss.backward(retain_graph=True)
        assert any(float(value.grad.abs().sum()) > 0 for value in model.parameters() if value.grad is not None), name


def test_studies_without_anything_are_no_reason_to_stop(model, inputs, reports, nothing_hidden):
    import torch

    from models_registry.reference.objectives import Objectives

    bare = {name: torch.zeros_like(values) for name, values in inputs.items()}
    losses = Objectives(model)(model, bare, torch.zeros_like(reports), nothing_hidden.make())
    total = sum(losses.values())
    total.backward()
    assert bool(torch.isfinite(total))
    assert all(bool(torch.isfinite(value.grad).all()) for value in model.parameters() if value.grad is not None)
