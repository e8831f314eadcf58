"""What the reference model is made of: transformer blocks, and an encoder for each modality.

This module imports torch: import it inside the function that needs it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

if TYPE_CHECKING:
    from models_registry.reference.model import AuscultFusionConfig

PATCH = 16
"""Edge of a patch of the image in pixels: one token each."""

STEM = (1, 24, 48, 96)
"""Channels of the convolutional stem, which halves the picture with every step but the first number."""


class Block(nn.Module):  # type: ignore[misc]
    """Self-attention and a perceptron, each behind a normalisation and beside a residual path (pre-norm)."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, states: Tensor, keep: Tensor | None = None) -> Tensor:
        """[n, t, width] -> the same. ``keep``: bool [n, t], at least one True in each row; None for all."""
        query, key, value = self.heads_of(self.attention_norm(states))
        mask = None if keep is None else keep[:, None, None, :]
        states = states + self.drop(self.joined(scaled_dot_product_attention(query, key, value, attn_mask=mask)))
        return states + self.drop(self.perceptron(states))

    def heads_of(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [n, heads, t, width / heads]."""
        query, key, value = (split(part, self.heads) for part in self.qkv(states).chunk(3, dim=-1))
        return query, key, value

    def joined(self, states: Tensor) -> Tensor:
        """What the heads attended to, as one [n, t, width] again."""
        result: Tensor = self.out(states.transpose(1, 2).flatten(2))
        return result

    def perceptron(self, states: Tensor) -> Tensor:
        result: Tensor = self.down(gelu(self.up(self.norm(states))))
        return result


class CrossAttention(nn.Module):  # type: ignore[misc]
    """Queries attend over another sequence."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.memory, self.out = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )

    def forward(self, states: Tensor, memory: tuple[Tensor, Tensor], keep: Tensor) -> Tensor:
        """states [n, t, width]; ``memory`` from :meth:`remember`; keep bool [n, m] -> [n, t, width]."""
        query = split(self.query(states), self.heads)
        seen = scaled_dot_product_attention(query, *memory, attn_mask=keep[:, None, None, :])
        result: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return result

    def remember(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a sequence [n, m, width], which do not change while the queries do."""
        key, value = self.memory(memory).chunk(2, dim=-1)
        return split(key, self.heads), split(value, self.heads)


def split(states: Tensor, heads: int) -> Tensor:
    """[n, t, width] -> [n, heads, t, width / heads]."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


class ImageEncoder(nn.Module):  # type: ignore[misc]
    """A vision transformer: a convolutional stem, patches of 16 pixels, transformer layers over them.

    The stem halves the picture three times before it is cut into patches (Xiao et al. 2021, Early Convolutions Help
    Transformers See Better), which a small training set needs: 64 px give 4 x 4 tokens.
    """

    def __init__(self, config: AuscultFusionConfig) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for before, after in pairwise(STEM):
            steps += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.GELU()]
        self.stem = nn.Sequential(*steps)
        self.patches = nn.Conv2d(STEM[-1], config.width, 2, stride=2)
        self.position = nn.Parameter(torch.zeros((config.image_size // PATCH) ** 2, config.width))
        self.layers = _layers(config, config.image_layers)

    def forward(self, pixels: Tensor) -> Tensor:
        """[n, 1, size, size] -> [n, tokens, width]."""
        states: Tensor = self.patches(self.stem(pixels)).flatten(2).transpose(1, 2) + self.position
        for layer in self.layers:
            states = layer(states)
        return states


class TextEncoder(nn.Module):  # type: ignore[misc]
    """Word embeddings, one transformer layer, mean over the words: one token."""

    def __init__(self, config: AuscultFusionConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocabulary_size, config.width, padding_idx=0)
        self.position = nn.Parameter(torch.zeros(max(config.text_length, config.report_length), config.width))
        self.layer = Block(config.width, config.heads, config.dropout)

    def forward(self, words: Tensor) -> Tensor:
        """[n, length] of word numbers, 0 for none -> [n, 1, width]."""
        words = words[:, : _longest(words != 0)]
        there = words != 0
        states = self.layer(self.words(words) + self.position[: words.shape[1]], keep=_not_empty(there))
        weight = there.unsqueeze(-1).to(states.dtype)
        mean: Tensor = (states * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
        return mean


class SeriesEncoder(nn.Module):  # type: ignore[misc]
    """Each point (time before the study, value, change) attends to the others of its series; one token each.

    The token is made of mean and maximum over the points and of the latest one, so that level, peak and present state
    are told apart.
    """

    def __init__(self, config: AuscultFusionConfig) -> None:
        super().__init__()
        inner = config.width // 2
        self.point = nn.Sequential(nn.Linear(3, inner), nn.GELU(), nn.Linear(inner, inner))
        self.name = nn.Parameter(torch.zeros(len(config.series), inner))
        self.layer = Block(inner, max(1, config.heads // 2), config.dropout)
        self.mix = nn.Linear(3 * inner, config.width)

    def forward(self, points: Tensor, present: Tensor) -> Tensor:
        """points [n, series, length, 3], present [n, series, length] -> [n, series, width]."""
        length = _longest(present.flatten(0, 1))
        points, present = points[:, :, :length], present[:, :, :length]
        shape, there = present.shape[:2], present.flatten(0, 1)
        states = (self.point(points) + self.name.unsqueeze(1)).flatten(0, 1)
        states = self.layer(states, keep=_not_empty(there))
        weight = there.unsqueeze(-1).to(states.dtype)
        count = weight.sum(1)
        mean = (states * weight).sum(1) / count.clamp(min=1)
        top = states.masked_fill(~there.unsqueeze(-1), -1e4).amax(1).clamp(min=-1e2)
        last = (count.squeeze(-1).long() - 1).clamp(min=0)
        latest = states[torch.arange(len(states), device=states.device), last]
        tokens: Tensor = self.mix(torch.cat([mean, top, latest], dim=-1)).unflatten(0, shape)
        return tokens


class DemographicsEncoder(nn.Module):  # type: ignore[misc]
    """A token for each covariate: an embedding of its category, or a linear map of its number."""

    def __init__(self, config: AuscultFusionConfig) -> None:
        super().__init__()
        self.categories = nn.ModuleList(nn.Embedding(count + 1, config.width) for count in config.categorical.values())
        self.numbers = nn.ModuleList(nn.Linear(1, config.width) for _ in config.numeric)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """categories [n, categorical], 0 for unknown; numbers [n, numeric] -> [n, covariates, width]."""
        tokens = [layer(categories[:, place]) for place, layer in enumerate(self.categories)]
        tokens += [layer(numbers[:, place : place + 1]) for place, layer in enumerate(self.numbers)]
        return torch.stack(tokens, dim=1)


class Projection(nn.Module):  # type: ignore[misc]
    """From the tokens of a modality into the latent space that all modalities share: a vector of length 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, width, bias=False)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """The mean of the present tokens, projected: tokens [n, t, width], present bool [n, t] -> [n, width]."""
        weight = present.unsqueeze(-1).to(tokens.dtype)
        mean = (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)
        return nn.functional.normalize(self.linear(self.norm(mean)).float(), dim=-1)


def _layers(config: AuscultFusionConfig, count: int) -> nn.ModuleList:
    return nn.ModuleList(Block(config.width, config.heads, config.dropout) for _ in range(count))


def _not_empty(there: Tensor) -> Tensor:
    """Which places take part in attention: those that are there, or all of a row in which nothing is.

    Attention over nothing is not a number; what comes out of such a row is not used.
    """
    return there | ~there.any(dim=1, keepdim=True)


def _longest(there: Tensor) -> int:
    """Length of the longest sequence of a batch that is filled from the front, at least 1: nothing lies beyond it."""
    return max(1, int(there.any(dim=0).sum()))
