"""Conditional flow matching over latents of pictures, by a small U-shaped network.

Latents x1 and noise x0 are joined by ``x_t = (1 - t) x0 + t x1``; the network learns
``E[x1 - x0 | x_t, t, condition]``, and latents are made by following it from t = 0 to 1 (Heun's method).
In training some conditions are dropped, so that what a condition adds can be made stronger (classifier-free guidance):
``v = v_without + g (v_with - v_without)``.

Source: Lipman et al. (2023), Flow matching for generative modeling, ICLR; Ho and Salimans (2022), Classifier-free
diffusion guidance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from synthetic.generators.networks.running import Batch, Training, first_weights, in_batches, train

BATCH = 128
TIMES = 16
DROPPED = 0.1
"""Share of the conditions that are dropped in training."""
FORGOTTEN = 0.3
"""Share of the earlier pictures that are hidden in training, so that a first visit is learnt by all."""
BLURRED = 4
"""Places of the latents' edge that one place of an earlier picture's latents stands for: anatomy, not detail."""
DRAWN = 8
"""Edge of the map on which a condition says where things are."""
MAP = 12
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FlowSize:
    """Edge and channels of the latents, length of the conditions, channels of the network at a half and a quarter."""

    edge: int
    latents: int
    conditions: int
    fine: int = 80
    coarse: int = 128
    told: int = 128


class _Block(nn.Module):  # type: ignore[misc]
    """Two convolutions, between which the condition scales and shifts each channel."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, 1, 1))
        self.norm = nn.GroupNorm(8, width, affine=False)
        self.turn = nn.Linear(told, 2 * width)
        self.second = nn.Conv2d(width, width, 3, 1, 1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.turn(told)[:, :, None, None].chunk(2, dim=1)
        found: Tensor = x + self.second(functional.silu(self.norm(self.first(x)) * (1 + scale) + shift))
        return found


class ImageFlow(nn.Module):  # type: ignore[misc]
    """The velocity field over latents [n, c, e, e]."""

    def __init__(self, size: FlowSize) -> None:
        super().__init__()
        self.size = size
        fine, coarse, told = size.fine, size.coarse, size.told
        self.tell = nn.Sequential(
            nn.Linear(2 * TIMES + size.conditions + 2, told), nn.SiLU(), nn.Linear(told, told), nn.SiLU()
        )
        self.place = nn.Linear(size.conditions + 2, MAP * DRAWN * DRAWN)
        self.enter = nn.Conv2d(8 * size.latents + MAP, fine, 3, 1, 1)
        self.where = nn.Parameter(0.02 * torch.randn(1, fine, size.edge // 2, size.edge // 2))
        self.down = nn.ModuleList(_Block(fine, told) for _ in range(2))
        self.narrow = nn.Conv2d(fine, coarse, 2, 2)
        self.deep = nn.ModuleList(_Block(coarse, told) for _ in range(2))
        self.widen = nn.ConvTranspose2d(coarse, fine, 2, 2)
        self.up = nn.ModuleList(_Block(fine, told) for _ in range(2))
        self.leave = nn.Sequential(nn.GroupNorm(8, fine), nn.SiLU(), nn.Conv2d(fine, 4 * size.latents, 3, 1, 1))
        nn.init.zeros_(self.leave[2].weight)

    def forward(
        self, x: Tensor, time: Tensor, condition: Tensor, known: Tensor, before: Tensor, seen: Tensor
    ) -> Tensor:
        """Velocities.

        Args:
            time: [n]; ``condition`` [n, C], which counts where ``known`` [n] is 1.
            before: [n, c, e / 4, e / 4] blurred latents of the patient's last picture, where ``seen`` [n] is 1.
        """
        angles = time[:, None] * (torch.arange(1, TIMES + 1) * torch.pi / 2)
        given = torch.cat([condition * known[:, None], known[:, None], seen[:, None]], dim=1)
        told = self.tell(torch.cat([angles.sin(), angles.cos(), given], dim=1))
        drawn = self.place(given).view(len(x), MAP, DRAWN, DRAWN)
        edge = self.size.edge // 2
        drawn = functional.interpolate(drawn, size=(edge, edge), mode="nearest")
        earlier = functional.interpolate(before * seen[:, None, None, None], size=x.shape[2:], mode="nearest")
        hidden = functional.pixel_unshuffle(torch.cat([x, earlier], dim=1), 2)
        hidden = self.enter(torch.cat([hidden, drawn], dim=1)) + self.where
        for block in self.down:
            hidden = block(hidden, told)
        deep = self.narrow(hidden)
        for block in self.deep:
            deep = block(deep, told)
        hidden = hidden + self.widen(deep)
        for block in self.up:
            hidden = block(hidden, told)
        found: Tensor = functional.pixel_shuffle(self.leave(hidden), 2)
        return found


@dataclass(frozen=True, kw_only=True)
class FlowRows:
    """What a flow learns from: n latents [n, c, e, e], conditions [n, C], and blurred latents of the patient's last
    picture [n, c, e / 4, e / 4], of which there are some where ``seen`` [n] is 1."""

    latents: Floats
    conditions: Floats
    before: Floats
    seen: Floats


def blurred(latents: Floats) -> Floats:
    """Latents [n, c, e, e] averaged over squares: [n, c, e / 4, e / 4]."""
    n, channels, edge, _ = latents.shape
    small = edge // BLURRED
    found: Floats = latents.reshape(n, channels, small, BLURRED, small, BLURRED).mean(axis=(3, 5)).astype(np.float32)
    return found


def train_flow(rows: FlowRows, size: FlowSize, training: Training, told: Any) -> ImageFlow:
    """A flow that makes latents from conditions."""
    with first_weights(training.seed):
        made = ImageFlow(size)
    latents, given, before, seen = (
        torch.from_numpy(np.ascontiguousarray(item)) for item in (rows.latents, rows.conditions, rows.before, rows.seen)
    )

    def batch_of(noise: torch.Generator) -> Batch:
        chosen = torch.randint(len(latents), (BATCH,), generator=noise)
        wanted = latents[chosen]
        start = torch.randn(wanted.shape, generator=noise)
        time = torch.randn(BATCH, generator=noise).sigmoid()
        known = (torch.rand(BATCH, generator=noise) >= DROPPED).float()
        shown = seen[chosen] * (torch.rand(BATCH, generator=noise) >= FORGOTTEN)
        return wanted, start, time, given[chosen], known, before[chosen], shown

    def loss_of(flow: ImageFlow, wanted: Tensor, start: Tensor, time: Tensor, *conditions: Tensor) -> Tensor:
        place = (1 - time)[:, None, None, None] * start + time[:, None, None, None] * wanted
        return ((flow(place, time, *conditions) - (wanted - start)) ** 2).mean()

    return train(made, batch_of, loss_of, training, told)


def follow(flow: ImageFlow, rows: FlowRows, *, steps: int, guidance: float) -> Floats:
    """Latents [n, c, e, e] that are made from noise: ``rows.latents``, standard normal.

    Args:
        guidance: 1 for what was learnt; above, conditions count more, at twice the cost.
    """

    def velocity(x: Tensor, now: float, given: Tensor, before: Tensor, seen: Tensor) -> Tensor:
        time, known = torch.full((len(x),), now), torch.ones(len(x))
        found = flow(x, time, given, known, before, seen)
        if guidance != 1:
            without = flow(x, time, given, 0 * known, before, seen)
            found = without + guidance * (found - without)
        return found

    def work(x: Tensor, given: Tensor, before: Tensor, seen: Tensor) -> Tensor:
        width = 1.0 / steps
        for step in range(steps):
            first = velocity(x, step * width, given, before, seen)
            second = velocity(x + width * first, (step + 1) * width, given, before, seen)
            x = x + width * (first + second) / 2
        return x

    return in_batches(work, rows.latents, rows.conditions, rows.before, rows.seen)


def row_losses(flow: ImageFlow, rows: FlowRows, noises: Floats) -> Floats:
    """How badly a flow explains latents that are given: float32 [n], the mean squared error of its velocities.

    Args:
        noises: [k, c, e, e] of a standard normal, the same for all rows, at as many times spread over (0, 1): losses of
            different rows are then to be compared.
    """
    total = np.zeros(len(rows.latents), dtype=np.float32)
    for place, noise in enumerate(noises):
        moment = (place + 0.5) / len(noises)

        def work(
            wanted: Tensor, given: Tensor, before: Tensor, seen: Tensor, moment: float = moment, noise: Floats = noise
        ) -> Tensor:
            start = torch.from_numpy(noise)[None].expand_as(wanted)
            time = torch.full((len(wanted),), moment)
            found = flow((1 - moment) * start + moment * wanted, time, given, torch.ones(len(wanted)), before, seen)
            return ((found - (wanted - start)) ** 2).mean(dim=(1, 2, 3))

        total += in_batches(work, rows.latents, rows.conditions, rows.before, rows.seen)
    found: Floats = (total / len(noises)).astype(np.float32)
    return found
