"""A tiny untrained backbone and studies that it takes: enough to check what each part computes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

N, SERIES, POINTS, WORDS = 9, 2, 5, 6
VOCABULARY = 20


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def model():
    import torch

    from models_registry.reference.model import AuscultFusionConfig, AuscultFusionModel

    torch.manual_seed(1)
    config = AuscultFusionConfig(
        image_size=32,
        vocabulary_size=VOCABULARY,
        text_length=WORDS,
        report_length=8,
        series=["crp", "spo2"],
        series_length=POINTS,
        categorical={"sex": 2},
        numeric=["age"],
        width=16,
        layers=1,
        image_layers=1,
        decoder_layers=2,
        heads=2,
    )
    return AuscultFusionModel(config).eval()


@pytest.fixture
def inputs():
    """Nine studies; the last has nothing at all, the one before no text and one series."""
    import torch

    rng = np.random.default_rng(3)
    lengths = rng.integers(1, POINTS + 1, (N, SERIES))
    lengths[-2, 1] = lengths[-1] = 0
    words = rng.integers(2, VOCABULARY, (N, WORDS))
    for row in range(N):
        words[row, rng.integers(1, WORDS + 1) :] = 0
    words[-2:] = 0
    there = np.arange(POINTS) < lengths[..., None]
    seen = np.arange(N) < N - 1
    arrays = {
        "pixels": rng.normal(size=(N, 1, 32, 32)).astype(np.float32) * seen[:, None, None, None],
        "has_image": seen,
        "words": words,
        "points": (rng.normal(size=(N, SERIES, POINTS, 3)) * there[..., None]).astype(np.float32),
        "has_points": there,
        "categories": rng.integers(1, 3, (N, 1)) * seen[:, None],
        "numbers": (rng.normal(size=(N, 1)) * seen[:, None]).astype(np.float32),
        "has_numbers": seen[:, None].copy(),
    }
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


@pytest.fixture
def reports():
    import torch

    rng = np.random.default_rng(4)
    words = rng.integers(2, VOCABULARY, (N, 8))
    for row in range(N):
        words[row, rng.integers(2, 8) :] = 0
    words[2] = 0
    return torch.from_numpy(words)


@pytest.fixture
def nothing_hidden(model):
    import torch

    from models_registry.reference.model import KINDS
    from models_registry.reference.objectives import Hidden

    return SimpleNamespace(
        make=lambda **changes: Hidden(
            **(
                {
                    "kinds": {name: torch.zeros(N, dtype=torch.bool) for name in KINDS},
                    "patches": torch.zeros(N, 4, dtype=torch.bool),
                    "words": torch.zeros(N, WORDS, dtype=torch.bool),
                }
                | changes
            )
        )
    )
