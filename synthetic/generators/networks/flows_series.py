"""Conditional flow matching over rows of numbers of which some are missing: a velocity field on a line from noise.

A row x1 and noise x0 are joined by ``x_t = (1 - t) x0 + t x1``; the network learns ``E[x1 - x0 | x_t, t, condition]``
over the entries that are there, and a row is made by following it from t = 0 to 1 (Heun's method).

Source: Lipman et al. (2023), Flow matching for generative modeling, ICLR; Liu et al. (2023), Rectified flow, ICLR.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Floats = npt.NDArray[np.float64]
TIMES = 16
KEPT = 0.995
"""Of the running mean of the weights, at each step: what is made is made with the mean."""


@dataclass(frozen=True, kw_only=True)
class FlowSize:
    """Columns of rows and of conditions, width and number of blocks of the network."""

    columns: int
    conditions: int
    width: int = 256
    blocks: int = 3


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.second(nn.functional.silu(self.first(self.norm(x))))
        return found


class SeriesFlow(nn.Module):  # type: ignore[misc]
    """The velocity field."""

    def __init__(self, size: FlowSize) -> None:
        super().__init__()
        self.size = size
        self.enter = nn.Linear(2 * size.columns + size.conditions + 2 * TIMES, size.width)
        self.blocks = nn.ModuleList(_Block(size.width) for _ in range(size.blocks))
        self.leave = nn.Sequential(nn.LayerNorm(size.width), nn.Linear(size.width, size.columns))
        # A straight way for what is linear: most of what relates scores to each other is.
        self.straight = nn.Linear(2 * size.columns + size.conditions, size.columns)
        nn.init.zeros_(self.leave[1].weight)

    def forward(self, x: Tensor, time: Tensor, there: Tensor, condition: Tensor) -> Tensor:
        angles = time[:, None] * (torch.arange(1, TIMES + 1) * torch.pi / 2)
        plain = torch.cat([x * there, there, condition], dim=1)
        hidden = self.enter(torch.cat([plain, angles.sin(), angles.cos()], dim=1))
        for block in self.blocks:
            hidden = block(hidden)
        found: Tensor = self.leave(hidden) + self.straight(plain)
        return found


@dataclass(frozen=True, kw_only=True)
class FlowTraining:
    """How a flow learns. ``seed`` decides first weights, order of rows, times and noise."""

    steps: int
    seed: int
    batch: int = 512
    rate: float = 2e-3
    told_each: int = 50


def train_flow(
    rows: Floats,
    there: Floats,
    conditions: Floats,
    training: FlowTraining,
    told: Callable[[int, float], None],
) -> SeriesFlow:
    """A flow that makes rows [n, D], of which ``there`` [n, D] is 1 or 0, from conditions [n, C].

    Args:
        told: Called with the step and the mean loss since it was last called.
    """
    noise = torch.Generator().manual_seed(training.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        made = SeriesFlow(FlowSize(columns=rows.shape[1], conditions=conditions.shape[1]))
    data, mask, given = (torch.from_numpy(np.ascontiguousarray(item, dtype=np.float32))
                         for item in (rows, there, conditions))  # fmt: skip
    optimiser = torch.optim.AdamW(made.parameters(), lr=training.rate, weight_decay=1e-4)
    whole = max(2, training.steps + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(  # which divides by zero where the rise is one step long
        optimiser, max_lr=training.rate, total_steps=whole, pct_start=max(0.1, 1.5 / whole)
    )
    mean = {name: value.detach().clone() for name, value in made.state_dict().items()}
    total = 0.0
    for step in range(1, training.steps + 1):
        chosen = torch.randint(len(data), (min(training.batch, 4 * len(data)),), generator=noise)
        loss = _loss(made, data[chosen], mask[chosen], given[chosen], noise)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        kept = min(KEPT, step / (step + 10))
        for name, value in made.state_dict().items():
            mean[name].mul_(kept).add_(value, alpha=1 - kept)
        total += float(loss.detach())
        if step % training.told_each == 0 or step == training.steps:
            told(step, total / (step - (step - 1) // training.told_each * training.told_each))
            total = 0.0
    made.load_state_dict(mean)
    made.eval()
    return made


def _loss(flow: SeriesFlow, data: Tensor, mask: Tensor, given: Tensor, noise: torch.Generator) -> Tensor:
    start = torch.randn(data.shape, generator=noise)
    time = torch.rand(len(data), generator=noise)
    place = (1 - time)[:, None] * start + time[:, None] * data
    error = (flow(place, time, mask, given) - (data - start)) * mask
    return (error**2).sum() / mask.sum().clamp(min=1)


def follow(flow: SeriesFlow, there: Floats, conditions: Floats, noise: Floats, *, steps: int = 16) -> Floats:
    """Rows [n, D] that are made from noise [n, D]; entries that are not there are 0."""
    mask, given, place = (torch.from_numpy(np.ascontiguousarray(item, dtype=np.float32))
                          for item in (there, conditions, noise))  # fmt: skip
    width = 1.0 / steps
    with torch.inference_mode():
        for step in range(steps):
            now, then = (torch.full((len(place),), width * (step + more)) for more in (0, 1))
            first = flow(place, now, mask, given)
            second = flow(place + width * first, then, mask, given)
            place = place + width * (first + second) / 2
    found: Floats = (place * mask).numpy().astype(np.float64)
    return found


def row_losses(flow: SeriesFlow, rows: Floats, there: Floats, conditions: Floats, noises: Floats) -> Floats:
    """How badly a flow explains rows that are given: float64 [n], the mean squared error of its velocities over what is
    there; NaN where nothing is.

    Args:
        noises: [k, D] of a standard normal, the same for all rows, at as many times spread over (0, 1).
    """
    data, mask, given, starts = (torch.from_numpy(np.ascontiguousarray(item, dtype=np.float32))
                                 for item in (rows, there, conditions, noises))  # fmt: skip
    total = torch.zeros(len(data))
    with torch.inference_mode():
        for place, start in enumerate(starts):
            moment = (place + 0.5) / len(starts)
            time = torch.full((len(data),), moment)
            error = (flow((1 - moment) * start + moment * data, time, mask, given) - (data - start)) * mask
            total += (error**2).sum(dim=1)
    counts = mask.sum(dim=1)
    found: Floats = torch.where(counts > 0, total / (len(starts) * counts), torch.nan).numpy().astype(np.float64)
    return found


def flow_of(size: FlowSize, weights: dict[str, npt.NDArray[np.float32]]) -> SeriesFlow:
    """A flow with these weights."""
    made = SeriesFlow(size)
    made.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    made.eval()
    return made


def weights_of(module: nn.Module) -> dict[str, npt.NDArray[Any]]:
    """The weights by name."""
    return {name: value.detach().numpy().copy() for name, value in sorted(module.state_dict().items())}
