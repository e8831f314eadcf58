"""Copies of learnt images, seen by an encoder that has learnt which pictures show the same.

The encoder learns from the audit's own images, by contrast: two views of an image, shifted, scaled, turned a little, of
another exposure and with noise, are to lie together and apart from views of all others. So a copy is found though it is
not equal pixel by pixel. Some images are like many others: half of how like an image is to the five of the audit's own
that are most like it is taken off. How alike two images of different patients can be is seen on patients held out.

Source: Chen, Kornblith, Norouzi and Hinton (2020), A simple framework for contrastive learning, ICML; Pizzi et al.
(2022), A self-supervised descriptor for image copy detection, CVPR; Dar et al. (2025), Unconditional latent diffusion
models memorize patient imaging data, Nature Biomedical Engineering.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.studies import Pixels
from synthetic.suites.figures import Figure, not_computed
from synthetic.suites.privacy_arms import Arm, Arms, Attack
from synthetic.suites.privacy_shares import excess
from synthetic.suites.values import Floats

Vectors = npt.NDArray[np.float32]
METRIC = "image_copies"
SIZE = 64
"""Edge at which images are looked at; larger ones are averaged down."""
CHANNELS = (24, 32)
PATCH = 4
WIDTH = 64
STEPS, BATCH, RATE, TEMPERATURE = 150, 96, 3e-3, 0.1
BEYOND = 0.99
"""Share of the patients held out whose first image is less like any learnt image than the threshold."""
BACKGROUND, NEIGHBOURS, WEIGHT = 4000, 5, 0.5
"""Images of the audit's own that an image is held against, how many of them count, and how much is taken off."""
AT_ONCE = 1024
LEAST = 64
"""Images without which no encoder is learnt."""


class CopyFinder:
    """Finds copies of images.

    Attributes:
        network: float32 [n, 1, SIZE, SIZE] -> [n, WIDTH].
        background: float32 [m, WIDTH], embeddings of the audit's own images.
    """

    def __init__(self, network: Any, images: Pixels) -> None:
        self.network = network
        self.background = self.encode(images)

    @classmethod
    def learnt_from(cls, images: Pixels, *, rng: np.random.Generator) -> CopyFinder:
        """An encoder of images uint8 [n, h, w], learnt by contrast. Equal images and seed give equal weights."""
        import torch
        from torch.nn.functional import cross_entropy

        torch_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        network = _network(torch_rng)
        steps = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
        batch = min(BATCH, len(images))
        for step in range(STEPS):
            for group in steps.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
            drawn = prepared(images[rng.integers(0, len(images), batch)])
            one, two = (_unit(network(_view(drawn, torch_rng))) for _ in range(2))
            alike = one @ two.T / TEMPERATURE
            target = torch.arange(batch)
            loss = (cross_entropy(alike, target) + cross_entropy(alike.T, target)) / 2
            steps.zero_grad()
            loss.backward()
            steps.step()
        return cls(network.eval(), images[rng.permutation(len(images))[:BACKGROUND]])

    def encode(self, images: Pixels) -> Vectors:
        """Embeddings of length 1: float32 [n, WIDTH]."""
        import torch

        with torch.no_grad():
            parts = [
                _unit(self.network(prepared(images[start : start + AT_ONCE])))
                for start in range(0, len(images), AT_ONCE)
            ]  # fmt: skip
        found: Vectors = torch.cat(parts).numpy() if parts else np.zeros((0, WIDTH), dtype=np.float32)
        return found

    def alike(self, images: Vectors, bank: Vectors) -> Floats:
        """How much more like an image of the bank each image is than it is like any: float64 [n], at most 1."""
        most = _nearest_cosines(images, bank, 1)[:, 0]
        usual = _nearest_cosines(images, self.background, min(NEIGHBOURS, len(self.background))).mean(axis=1)
        found: Floats = most - WEIGHT * usual
        return found


def image_attack(arms: Arms) -> Attack:
    """The attack on images, its encoder learnt from the readers: a function of arms, so that its null has the same."""
    if any(arm.studies.images is None for arm in (arms.synthetic, arms.learnt, arms.held_out)):
        return lambda chosen: [not_computed(METRIC, "not all sets have images")]
    images = arms.readers.studies.images
    there = arms.readers.studies.has_image
    if images is None or int(there.sum()) < LEAST:
        return lambda chosen: [not_computed(METRIC, f"the audit's own patients have fewer than {LEAST} images")]
    finder = CopyFinder.learnt_from(images[there], rng=arms.rng("copy finder"))
    return lambda chosen: [copies(chosen, finder)]


def copies(arms: Arms, finder: CopyFinder) -> Figure:
    """Share of synthetic patients whose image is more like a learnt one than the threshold, less the same with patients
    held out. The threshold is the :data:`BEYOND` quantile of how like a learnt image those of patients held out are."""
    learnt, held_out = (_encoded(arm, finder) for arm in (arms.learnt, arms.held_out))
    made, others = (_encoded(arm, finder, first=True) for arm in (arms.synthetic, arms.held_out))
    if min(len(learnt), len(held_out), len(made)) < 2:
        return not_computed(METRIC, "too few patients have an image")
    threshold = float(np.quantile(finder.alike(others, learnt), BEYOND))
    over = [finder.alike(made, bank) > threshold for bank in (learnt, held_out)]
    value, error = excess(*over)
    return Figure(
        metric=METRIC, value=value, error=error, n=len(made), counted="synthetic patients with an image", least=-1.0,
        method="Newcombe, paired, from Wilson limits",
        detail={"threshold": threshold, "of_learnt": float(over[0].mean()), "of_held_out": float(over[1].mean())},
    )  # fmt: skip


def _encoded(arm: Arm, finder: CopyFinder, *, first: bool = False) -> Vectors:
    """Embeddings of all images, or of the first of each patient."""
    studies = arm.studies
    assert studies.images is not None
    places = np.flatnonzero(studies.has_image)
    if first:
        places = places[np.unique(arm.owners()[places], return_index=True)[1]]
    return finder.encode(studies.images[places])


def _nearest_cosines(images: Vectors, bank: Vectors, count: int) -> Floats:
    """Cosines to the most alike of the bank, the largest first: float64 [n, count]."""
    import torch

    there = torch.from_numpy(bank).T
    parts = [
        (torch.from_numpy(images[start : start + AT_ONCE]) @ there).topk(count, dim=1).values
        for start in range(0, len(images), AT_ONCE)
    ]  # fmt: skip
    found: Floats = torch.cat(parts).numpy().astype(np.float64)
    return found


def prepared(images: Pixels) -> Any:
    """float32 [n, 1, SIZE, SIZE], each image of mean 0 and standard deviation 1."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d, interpolate

    found = torch.from_numpy(np.ascontiguousarray(images)).float()[:, None]
    if found.shape[-1] > SIZE:
        found = adaptive_avg_pool2d(found, SIZE)
    elif found.shape[-1] < SIZE:
        found = interpolate(found, size=(SIZE, SIZE), mode="bilinear")
    return (found - found.mean(dim=(2, 3), keepdim=True)) / (found.std(dim=(2, 3), keepdim=True) + 1e-3)


def _unit(values: Any) -> Any:
    return values / values.norm(dim=1, keepdim=True).clamp_min(1e-8)


def _view(images: Any, rng: Any) -> Any:
    """Images moved by up to 6 %, scaled by up to 8 %, turned by up to 5 degrees, of another contrast, with noise."""
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    n = len(images)

    def between(low: float, high: float) -> Any:
        return low + (high - low) * torch.rand(n, generator=rng)

    angle, scale = between(-0.09, 0.09), between(0.92, 1.08)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    turn = torch.stack([cos, -sin, between(-0.12, 0.12), sin, cos, between(-0.12, 0.12)], dim=1).view(n, 2, 3)
    grid = affine_grid(turn, list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, padding_mode="border", align_corners=False)
    contrast, amount = between(0.8, 1.25)[:, None, None, None], between(0.0, 0.25)[:, None, None, None]
    return moved * contrast + amount * torch.randn(images.shape, generator=rng)


def _network(rng: Any) -> Any:
    """Patches, one strided convolution, and what it sees at each of 8 x 8 places."""
    from torch import nn

    few, many = CHANNELS
    places = (SIZE // PATCH // 2) ** 2
    network = nn.Sequential(
        nn.Conv2d(1, few, PATCH, stride=PATCH), nn.GroupNorm(4, few), nn.GELU(),
        nn.Conv2d(few, many, 3, stride=2, padding=1), nn.GroupNorm(4, many), nn.GELU(),
        nn.Conv2d(many, 16, 1), nn.Flatten(), nn.Linear(16 * places, WIDTH),
    )  # fmt: skip
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            spread = 1 / math.sqrt(layer.weight[0].numel())
            nn.init.normal_(layer.weight, 0.0, spread, generator=rng)
            nn.init.zeros_(layer.bias)
    return network
