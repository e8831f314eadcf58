"""A convolutional network that reads a plan from a grey picture: for each finding whether, where and how large.

Pictures are never turned or mirrored: left and right are read, too. Besides the picture the network sees where each
pixel lies, and its last map is read place by place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from synthetic.generators.networks.running import Batch, Training, first_weights, train
from synthetic.generators.plans import PARTS, Plans
from synthetic.generators.studies import Pixels

WORDS = sum(len(words) for words in PARTS.values())
BATCH = 64
SHIFT, SCALE, GAIN, GRAIN = 0.05, 0.05, 0.06, 0.03
"""By how much a picture is moved and widened (of half its edge), made brighter, and how grainy, in training."""


@dataclass(frozen=True, kw_only=True)
class ReaderSize:
    """Edge of the picture, number of findings, channels of the maps: each map has half the edge of the one before."""

    edge: int
    findings: int
    channels: tuple[int, ...] = (20, 40, 80, 96)
    hidden: int = 128
    dropped: float = 0.3


class PlanNetwork(nn.Module):  # type: ignore[misc]
    """Logits [n, findings, 1 + 9] of grey pictures [n, 1, edge, edge] in [0, 1]."""

    def __init__(self, size: ReaderSize) -> None:
        super().__init__()
        self.size = size
        axis = torch.linspace(-1, 1, size.edge)
        self.register_buffer("places", torch.stack(torch.meshgrid(axis, axis, indexing="ij"))[None], persistent=False)
        self.maps = nn.ModuleList()
        before = 3
        for number, width in enumerate(size.channels):
            layers: list[Any] = [nn.Conv2d(before, width, 5 if number == 0 else 3, 2, 2 if number == 0 else 1)]
            layers += [nn.GroupNorm(4, width), nn.SiLU()]
            if number:
                layers += [nn.Conv2d(width, width, 3, 1, 1), nn.GroupNorm(4, width), nn.SiLU()]
            self.maps.append(nn.Sequential(*layers))
            before = width
        edge = -(-size.edge // 2 ** len(size.channels))
        self.leave = nn.Sequential(
            nn.Flatten(), nn.Dropout(size.dropped), nn.Linear(before * edge * edge, size.hidden), nn.SiLU(),
            nn.Dropout(size.dropped), nn.Linear(size.hidden, size.findings * (1 + WORDS)),
        )  # fmt: skip

    def features(self, pictures: Tensor) -> list[Tensor]:
        """The maps, the finest first."""
        found: list[Tensor] = []
        now = torch.cat([(pictures - 0.5) * 4, self.places.expand(len(pictures), -1, -1, -1)], dim=1)
        for layer in self.maps:
            now = layer(now)
            found.append(now)
        return found

    def forward(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.leave(self.features(pictures)[-1])
        return found.view(len(pictures), self.size.findings, 1 + WORDS)


def channels_of(edge: int) -> tuple[int, ...]:
    """Maps for pictures of this edge: the last has four to six places on each side."""
    return {32: (20, 40, 80), 64: (20, 40, 80, 96), 96: (20, 40, 80, 96)}.get(edge, (16, 24, 48, 80, 96))


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a reader learns from.

    Attributes:
        balanced: Each state of each finding counts alike, however rare: for features that show rare findings. Without,
            probabilities are those of the data.
        learnt: bool [F, 9]: words that it learns to tell.
    """

    images: Pixels
    plans: Plans
    learnt: npt.NDArray[np.bool_]
    balanced: bool


def train_reader(lesson: Lesson, size: ReaderSize, training: Training, told: Any) -> PlanNetwork:
    """A network that reads plans as well as the images show them."""
    with first_weights(training.seed):
        made = PlanNetwork(size)
    images = torch.from_numpy(lesson.images)
    state = torch.from_numpy(lesson.plans.present.astype(np.int64))
    words = torch.from_numpy(np.stack([lesson.plans.part(name) for name in PARTS], axis=2).astype(np.int64))
    learnt = torch.from_numpy(lesson.learnt)
    weights = _balance(state) if lesson.balanced else torch.ones(state.shape)

    def batch_of(noise: torch.Generator) -> Batch:
        rows = torch.randint(len(images), (BATCH,), generator=noise)
        pictures = varied(images[rows].float()[:, None] / 255, noise)
        # What is dropped follows from the training's own generator, too.
        return rows, pictures, torch.randint(2**31, (1,), generator=noise)

    def loss_of(network: PlanNetwork, rows: Tensor, pictures: Tensor, dropping: Tensor) -> Tensor:
        with first_weights(int(dropping)):
            logits = network(pictures)
        return reading_loss(logits, state[rows], words[rows], learnt, weights[rows])

    return train(made, batch_of, loss_of, training, told)


def reading_loss(logits: Tensor, state: Tensor, words: Tensor, learnt: Tensor, weights: Tensor) -> Tensor:
    """Mean negative log-likelihood of what is told of each finding, plus that of its side, zone and size."""
    known = (state >= 0).float() * weights
    each = functional.binary_cross_entropy_with_logits(logits[:, :, 0], state.clamp(min=0).float(), reduction="none")
    total: Tensor = (each * known).sum() / known.sum().clamp(min=1)
    start = 1
    for number, options in enumerate(PARTS.values()):
        allowed = learnt[:, start - 1 : start - 1 + len(options)]
        given = words[:, :, number]
        at = given.clamp(min=0)[:, :, None]
        told = (given >= 0) & torch.gather(allowed.expand(len(given), -1, -1), 2, at)[:, :, 0]
        chances = logits[:, :, start : start + len(options)].masked_fill(~allowed, -1e4).log_softmax(dim=2)
        each = -torch.gather(chances, 2, at)[:, :, 0]
        total = total + 0.5 * (each * told).sum() / told.sum().clamp(min=1)
        start += len(options)
    return total


def _balance(state: Tensor) -> Tensor:
    """Weights [n, F] with which both states of each finding count alike; at most tenfold."""
    counts = torch.stack([(state == value).sum(dim=0) for value in (0, 1)]).float().clamp(min=1)
    weight = (counts.sum(dim=0) / (2 * counts)).clamp(max=10)
    return torch.where(state == 1, weight[1], weight[0])


def varied(pictures: Tensor, noise: torch.Generator) -> Tensor:
    """Pictures [n, 1, e, e] moved, widened, made brighter or darker and grainy, each by a chance of its own."""
    n = len(pictures)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=noise)

    turn = torch.zeros(n, 2, 3)
    turn[:, 0, 0] = turn[:, 1, 1] = 1 + SCALE * normal(n)
    turn[:, :, 2] = SHIFT * normal(n, 2)
    grid = functional.affine_grid(turn, list(pictures.shape), align_corners=False)
    moved = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    brighter = moved * (1 + GAIN * normal(n, 1, 1, 1))
    grain = GRAIN * torch.rand(n, 1, 1, 1, generator=noise) * normal(*pictures.shape)
    return (brighter + grain).clamp(0, 1)
