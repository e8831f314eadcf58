"""Pretraining of the backbone on studies without their labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from models_registry.reference.settings import TrainingSettings
from models_registry.reference.studies import Progress, Studies

WARMING = 0.15
"""Share of the steps. Times a whole number it is never 1, for which torch's schedule divides by zero."""


def build_backbone(preprocess: Any, settings: TrainingSettings) -> Any:
    """An untrained backbone that takes what the preprocessing makes."""
    from models_registry.reference.model import AuscultFusionConfig, AuscultFusionModel

    return AuscultFusionModel(
        AuscultFusionConfig(
            image_size=preprocess.image_size,
            vocabulary_size=len(preprocess.vocabulary) + 2,
            text_length=preprocess.text_length,
            report_length=preprocess.report_length,
            series=list(preprocess.series),
            series_length=preprocess.series_length,
            categorical={name: len(values) for name, values in preprocess.categorical.items()},
            numeric=list(preprocess.numeric),
            width=settings.width,
            layers=settings.layers,
            image_layers=settings.image_layers,
            decoder_layers=settings.decoder_layers if preprocess.report_length else 0,
        )
    )


def pretrain(model: Any, data: Studies, settings: TrainingSettings, *, tell: Progress) -> dict[str, float]:
    """AdamW with a one-cycle learning rate; one pass over the studies in a new order for each epoch.

    Returns:
        The mean of each objective in the last epoch.
    """
    import torch

    from models_registry.reference.objectives import WEIGHTS, Objectives

    rng = np.random.default_rng([settings.seed, 1])
    goals = Objectives(model)
    weights = [*model.parameters(), *goals.parameters()]
    steps = -(-len(data) // settings.batch_size)
    optimiser = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = one_cycle(optimiser, highest=settings.learning_rate, steps=steps * settings.epochs)
    model.train()
    sums: dict[str, float] = {}
    for epoch in range(settings.epochs):
        sums = {}
        for step, rows in enumerate(np.array_split(rng.permutation(len(data)), steps)):
            batch = {name: torch.from_numpy(values) for name, values in data.rows(rows).items()}
            losses = goals(model, batch, torch.from_numpy(data.reports[rows]), _hidden(model, len(rows), rng))
            loss = sum(WEIGHTS[name] * value for name, value in losses.items())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            schedule.step()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / steps
            tell((epoch + (step + 1) / steps) / settings.epochs, f"Pretraining, epoch {epoch + 1} of {settings.epochs}")
    model.eval()
    return {name: round(value, 4) for name, value in sorted(sums.items())}


def one_cycle(optimiser: Any, *, highest: float, steps: int) -> Any:
    """A learning rate that warms up to ``highest`` and cools down to nearly nothing (Smith and Topin 2017)."""
    import torch

    return torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=highest, total_steps=steps, pct_start=WARMING)


def _hidden(model: Any, n: int, rng: np.random.Generator) -> Any:
    """What one step hides: modalities of a study by chance, never all of them, and patches of half of the pictures."""
    import torch

    from models_registry.reference.model import KINDS
    from models_registry.reference.objectives import HIDDEN_KIND, HIDDEN_PATCH, HIDDEN_WORD, Hidden

    kinds = rng.random((n, len(KINDS))) < HIDDEN_KIND
    kinds[kinds.all(axis=1), 0] = False
    tokens, length = model.image.position.shape[0], model.config.text_length
    patches = (rng.random((n, tokens)) < HIDDEN_PATCH) & (rng.random((n, 1)) < 0.5)
    return Hidden(
        kinds={name: torch.from_numpy(kinds[:, place].copy()) for place, name in enumerate(KINDS)},
        patches=torch.from_numpy(patches),
        words=torch.from_numpy(rng.random((n, length)) < HIDDEN_WORD),
    )
