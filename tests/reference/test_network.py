"""The parts of the reference model: what is masked has no influence, and what is cached is what would be computed."""

from __future__ import annotations

import numpy as np
import pytest


def row_of(inputs, row):
    return {name: values[row : row + 1] for name, values in inputs.items()}


def test_a_study_is_encoded_the_same_in_any_company(model, inputs):
    """Batches are cut to their longest text and series: that must not show."""
    import torch

    with torch.inference_mode():
        whole = model(**inputs)
        for row in range(len(inputs["pixels"])):
            alone = model(**row_of(inputs, row))
            np.testing.assert_allclose(alone.tokens[0].numpy(), whole.tokens[row].numpy(), atol=1e-5)


def test_what_a_study_lacks_has_no_influence_on_the_class_token(model, inputs):
    import torch

    with torch.inference_mode():
        before = model(**inputs).tokens[:, 0]
        inputs["pixels"][-1] = 9.0
        inputs["points"][-2, 1] = 7.0
        inputs["numbers"][-1] = 5.0
        after = model(**inputs).tokens[:, 0]
    np.testing.assert_array_equal(before.numpy(), after.numpy())


def test_nothing_at_all_is_still_a_number(model, inputs):
    import torch

    with torch.inference_mode():
        found = model(**row_of(inputs, len(inputs["pixels"]) - 1))
        assert bool(torch.isfinite(found.tokens).all())
        assert found.keep.sum() == 1
        for kind in ("image", "text", "series", "demographics", "study"):
            assert bool(torch.isfinite(model.embed(kind, inputs)).all())


def test_the_tokens_stand_where_they_are_said_to(model, inputs):
    tokens = model.encode(inputs)
    places = model.places(tokens)
    assert list(places) == ["image", "text", "series", "demographics"]
    whole, keep = model.fuse(tokens, model.present(inputs))
    assert [places[name].stop - places[name].start for name in places] == [4, 1, 2, 2]
    assert places["demographics"].stop == whole.shape[1] == keep.shape[1]


def test_a_model_reads_what_its_cohort_had():
    """Without series and covariates there is nothing to encode of them."""
    import torch

    from models_registry.reference.model import AuscultFusionConfig, AuscultFusionModel

    model = AuscultFusionModel(AuscultFusionConfig(image_size=16, width=8, layers=1, heads=2, labels=["effusion"]))
    n = 3
    inputs = {
        "pixels": torch.randn(n, 1, 16, 16),
        "has_image": torch.ones(n, dtype=torch.bool),
        "words": torch.zeros(n, 32, dtype=torch.long),
        "points": torch.zeros(n, 0, 12, 3),
        "has_points": torch.zeros(n, 0, 12, dtype=torch.bool),
        "categories": torch.zeros(n, 0, dtype=torch.long),
        "numbers": torch.zeros(n, 0),
        "has_numbers": torch.zeros(n, 0, dtype=torch.bool),
    }
    found = model.eval()(**inputs, labels=torch.tensor([[1.0], [0.0], [float("nan")]]))
    assert found.logits.shape == (n, 1)
    assert float(found.loss.detach()) == pytest.approx(np.log(2))  # an untrained head says one half


def test_a_training_of_any_length_has_a_learning_rate():
    import torch

    from models_registry.reference.pretraining import one_cycle

    for steps in range(1, 200):
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
        schedule = one_cycle(optimiser, highest=0.5, steps=steps)
        rates = []
        for _ in range(steps):
            rates.append(schedule.get_last_lr()[0])
            optimiser.step()
            schedule.step() if len(rates) < steps else None
        assert all(0 < rate <= 0.5 for rate in rates)
        assert rates[-1] < 0.01


def test_a_head_does_not_see_what_is_missing(model, inputs):
    import torch

    from models_registry.reference.model import LabelHead

    model.config.labels = ["effusion", "gout"]
    head = LabelHead(model.config).eval()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with torch.inference_mode():
        tokens, keep = model.fuse(model.encode(inputs), model.present(inputs))
        before = head(tokens, keep)
        garbled = torch.where(keep.unsqueeze(-1), tokens, tokens + 5)
        np.testing.assert_allclose(head(garbled, keep).numpy(), before.numpy(), atol=1e-5)
        assert np.abs(head(tokens + 5, keep).numpy() - before.numpy()).max() > 0.1
    assert before.shape == (9, 2)


def test_writing_word_by_word_is_saying_the_most_likely_word_each_time(model, inputs):
    """The decoder keeps what it computed for earlier words; computing everything again must give the same words."""
    import torch

    with torch.inference_mode():
        written = model.write_reports(inputs)
        tokens, keep = model.fuse(model.encode(inputs), model.present(inputs))
        so_far = torch.zeros(len(tokens), 0, dtype=torch.long)
        for place in range(model.config.report_length):
            logits = model.decoder(so_far, tokens, keep)[:, -1]
            logits[:, :2] = -torch.inf
            word = logits.argmax(dim=-1)
            ended = (so_far == 0).any(dim=1) | (word == model.config.vocabulary_size)
            word = word.masked_fill(ended, 0)
            np.testing.assert_array_equal(written[:, place].numpy(), word.numpy())
            so_far = torch.cat([so_far, word.unsqueeze(1)], dim=1)


def test_the_decoder_is_asked_for_the_words_and_then_for_the_end(model):
    import torch

    words = torch.tensor([[5, 6, 1, 7, 0, 0], [4, 0, 0, 0, 0, 0], [2, 3, 4, 5, 6, 7]])
    mark, none = model.config.vocabulary_size, -100
    expected = [[5, 6, none, 7, mark, none, none], [4, mark, *[none] * 5], [2, 3, 4, 5, 6, 7, mark]]
    assert model.decoder.target(words).tolist() == expected


def test_a_word_does_not_see_those_after_it(model, inputs, reports):
    import torch

    with torch.inference_mode():
        tokens, keep = model.fuse(model.encode(inputs), model.present(inputs))
        before = model.decoder(reports, tokens, keep)
        reports[:, 4:] = 3
        after = model.decoder(reports, tokens, keep)
    np.testing.assert_allclose(before[:, :5].numpy(), after[:, :5].numpy(), atol=1e-6)
    assert np.abs(before[:, 5:].numpy() - after[:, 5:].numpy()).max() > 1e-3
