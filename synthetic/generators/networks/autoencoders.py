"""An autoencoder of grey pictures: from [edge, edge] to latents [4, edge / 4, edge / 4] and back.

The decoder also tells how far each pixel strays from its mean, so that pictures can be made as grainy as real ones are.
The loss is that of the pixels and of a plan reader's maps, which keeps what findings look like however small they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from synthetic.generators.networks.critics import PlanNetwork
from synthetic.generators.networks.running import Batch, Training, first_weights, train
from synthetic.generators.studies import Pixels

LATENTS = 4
"""Channels of the latents."""
FACTOR = 4
"""Pixels of an edge that one place of the latents stands for."""
BATCH = 48
MAPS = 3
"""How many of the reader's maps are compared, from the finest."""
FEATURES, DIVERGENCE, STRAY = 0.25, 1e-3, 0.05
"""Weights of the maps' difference, of the latents' divergence from a standard normal, and of the stray's likelihood,
beside the mean absolute difference of pixels in units of a quarter of the grey scale."""
LEAST_STRAY, MOST_STRAY = 0.002, 0.2


@dataclass(frozen=True, kw_only=True)
class AutoencoderSize:
    """Edge of the picture, channels at half its edge and at a quarter."""

    edge: int
    fine: int = 20
    coarse: int = 48


class Residual(nn.Module):  # type: ignore[misc]
    """Two convolutions beside a straight way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, 1, 1),
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, 1, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.layers(x)
        return found


class Autoencoder(nn.Module):  # type: ignore[misc]
    """Encoder and decoder. ``middle`` and ``width`` [4] bring the latents of real pictures to mean 0 and spread 1."""

    def __init__(self, size: AutoencoderSize) -> None:
        super().__init__()
        self.size = size
        fine, coarse = size.fine, size.coarse
        self.encoder = nn.Sequential(
            nn.Conv2d(1, fine, 4, 2, 1), nn.SiLU(), nn.Conv2d(fine, coarse, 4, 2, 1), Residual(coarse),
            nn.Conv2d(coarse, 2 * LATENTS, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(LATENTS, coarse, 3, 1, 1), Residual(coarse), nn.Conv2d(coarse, 4 * fine, 3, 1, 1),
            nn.PixelShuffle(2), nn.SiLU(), nn.Conv2d(fine, 8, 3, 1, 1), nn.PixelShuffle(2),
        )  # fmt: skip
        self.register_buffer("middle", torch.zeros(LATENTS))
        self.register_buffer("width", torch.ones(LATENTS))

    def spread(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the raw latents of pictures [n, 1, e, e] in [0, 1]."""
        mean, spread = self.encoder((pictures - 0.5) * 4).chunk(2, dim=1)
        return mean, spread.clamp(-12, 4)

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents [n, 4, e / 4, e / 4], of mean 0 and spread 1 over what was learnt from."""
        return (self.spread(pictures)[0] - self.middle[:, None, None]) / self.width[:, None, None]

    def paint(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and stray [n, 1, e, e] of pictures, from raw latents."""
        mean, stray = self.decoder(raw).chunk(2, dim=1)
        return mean / 4 + 0.5, (LEAST_STRAY + functional.softplus(stray - 3)).clamp(max=MOST_STRAY)

    def decode(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Pictures [n, 1, e, e] in [0, 1]. ``noise``: [n, 1, e, e] standard normal, or zeros for the mean."""
        mean, stray = self.paint(latents * self.width[:, None, None] + self.middle[:, None, None])
        return (mean + stray * noise).clamp(0, 1)


def train_autoencoder(
    images: Pixels,
    weights: npt.NDArray[np.float64],
    reader: PlanNetwork,
    size: AutoencoderSize,
    training: Training,
    told: Any,
) -> Autoencoder:
    """An autoencoder of the images [n, e, e].

    Args:
        weights: [n], how often each image is drawn: rare findings more often than they are.
        reader: Its maps of a picture and of what is made of it are compared.
    """
    with first_weights(training.seed):
        made = Autoencoder(size)
    pixels, chances = torch.from_numpy(images), torch.from_numpy(weights)

    def batch_of(noise: torch.Generator) -> Batch:
        pictures = pixels[torch.multinomial(chances, BATCH, replacement=True, generator=noise)].float()[:, None] / 255
        edge = size.edge // FACTOR
        drawn = torch.randn((BATCH, LATENTS, edge, edge), generator=noise)
        return pictures, drawn, torch.randn(pictures.shape, generator=noise)

    def loss_of(network: Autoencoder, pictures: Tensor, drawn: Tensor, grain: Tensor) -> Tensor:
        middle, spread = network.spread(pictures)
        mean, stray = network.paint(middle + (0.5 * spread).exp() * drawn)
        far = (pictures - mean).detach()
        grainy = mean + stray.detach() * grain
        return (
            4 * (pictures - mean).abs().mean()
            + FEATURES * _difference(reader, pictures, grainy)
            + DIVERGENCE * 0.5 * (middle**2 + spread.exp() - spread - 1).mean()
            + STRAY * (stray.log() + 0.5 * (far / stray) ** 2).mean()
        )

    train(made, batch_of, loss_of, training, told)
    with torch.inference_mode():
        parts = [made.spread(part.float()[:, None] / 255)[0] for part in pixels.split(256)]
    found = torch.cat(parts)
    made.middle.copy_(found.mean(dim=(0, 2, 3)))
    made.width.copy_(found.std(dim=(0, 2, 3)).clamp(min=1e-3))
    return made


def _difference(reader: PlanNetwork, pictures: Tensor, made: Tensor) -> Tensor:
    """Mean over the maps of their absolute difference, as a share of how much they differ over their places."""
    with torch.no_grad():
        wanted = reader.features(pictures)[:MAPS]
    found = reader.features(made)[:MAPS]
    shares = [
        (one - two).abs().mean() / (two - two.mean(dim=(0, 2, 3), keepdim=True)).abs().mean().clamp(min=1e-6)
        for one, two in zip(found, wanted, strict=True)
    ]
    return torch.stack(shares).mean()
