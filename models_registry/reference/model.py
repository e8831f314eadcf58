"""The reference multimodal model: a transformers ``PreTrainedModel`` over image, text, series and demographics.

Every modality becomes tokens of one width; missing ones are masked out, so any subset can be given. A transformer
attends over all tokens, and one head scores each finding from the class token.

This module imports torch and transformers: import it inside the function that needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

MODEL_TYPE = "auscult_fusion"


class AuscultFusionConfig(PretrainedConfig):  # type: ignore[misc]
    """Shape of the model.

    Attributes:
        labels: Findings, in the order of the head's outputs.
        image_size: Edge of the square grey image in pixels; a multiple of 16.
        vocabulary_size, text_length: Of the word tokenizer in ``preprocessing.json``.
        series: Names of the labs and vitals series; series_length: points kept of each, the latest ones.
        categorical: Covariate -> number of categories, not counting unknown. numeric: names of numeric covariates.
    """

    model_type = MODEL_TYPE

    def __init__(
        self,
        labels: list[str] | None = None,
        image_size: int = 64,
        vocabulary_size: int = 256,
        text_length: int = 32,
        series: list[str] | None = None,
        series_length: int = 12,
        categorical: dict[str, int] | None = None,
        numeric: list[str] | None = None,
        width: int = 128,
        layers: int = 3,
        heads: int = 4,
        dropout: float = 0.0,
        **rest: Any,
    ) -> None:
        self.labels = list(labels or [])
        self.image_size = image_size
        self.vocabulary_size = vocabulary_size
        self.text_length = text_length
        self.series = list(series or [])
        self.series_length = series_length
        self.categorical = dict(categorical or {})
        self.numeric = list(numeric or [])
        self.width = width
        self.layers = layers
        self.heads = heads
        self.dropout = dropout
        super().__init__(**rest)


@dataclass
class FusionOutput(ModelOutput):  # type: ignore[misc]
    """What the model answers for n studies.

    Attributes:
        loss: Mean binary cross-entropy over the labels that are known.
        logits: float [n, labels].
        latent: float [n, width], the class token that the head reads: where all modalities meet.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    latent: Tensor | None = None


class ImageEncoder(nn.Module):  # type: ignore[misc]
    """A convolutional stem that ends in a grid of tokens: four halvings, so 64 px give 4 x 4 tokens."""

    def __init__(self, config: AuscultFusionConfig) -> None:
        super().__init__()
        widths = (1, 24, 48, 96, config.width)
        steps: list[nn.Module] = []
        for before, after in pairwise(widths):
            steps += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.GELU()]
        self.stem = nn.Sequential(*steps)
        self.position = nn.Parameter(torch.zeros((config.image_size // 16) ** 2, config.width))

    def forward(self, pixels: Tensor) -> Tensor:
        """[n, 1, size, size] -> [n, tokens, width]."""
        tokens: Tensor = self.stem(pixels).flatten(2).transpose(1, 2) + self.position
        return tokens


class TextEncoder(nn.Module):  # type: ignore[misc]
    """Word embeddings, one transformer layer, mean over the words: one token."""

    def __init__(self, config: AuscultFusionConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocabulary_size, config.width, padding_idx=0)
        self.position = nn.Parameter(torch.zeros(config.text_length, config.width))
        self.layer = _layer(config)

    def forward(self, words: Tensor) -> Tensor:
        """[n, length] of word numbers, 0 for none -> [n, 1, width]."""
        empty = words == 0
        empty_row = empty.all(dim=1, keepdim=True)
        states = self.layer(self.words(words) + self.position, src_key_padding_mask=empty & ~empty_row)
        weight = (~empty).unsqueeze(-1).to(states.dtype)
        mean: Tensor = (states * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
        return mean


class SeriesEncoder(nn.Module):  # type: ignore[misc]
    """Each point (time before the study, value, change) through a small network; mean and maximum over the points."""

    def __init__(self, config: AuscultFusionConfig) -> None:
        super().__init__()
        self.point = nn.Sequential(nn.Linear(3, config.width), nn.GELU(), nn.Linear(config.width, config.width))
        self.name = nn.Parameter(torch.zeros(len(config.series), config.width))
        self.mix = nn.Linear(2 * config.width, config.width)

    def forward(self, points: Tensor, present: Tensor) -> Tensor:
        """points [n, series, length, 3], present [n, series, length] -> [n, series, width]."""
        states = self.point(points)
        weight = present.unsqueeze(-1).to(states.dtype)
        mean = (states * weight).sum(2) / weight.sum(2).clamp(min=1)
        top = states.masked_fill(~present.unsqueeze(-1), -1e4).amax(2).clamp(min=-1e3)
        tokens: Tensor = self.mix(torch.cat([mean, top], dim=-1)) + self.name
        return tokens


class AuscultFusionModel(PreTrainedModel):  # type: ignore[misc]
    """Scores findings from any subset of image, text, series and demographics.

    ``forward`` takes the tensors of :class:`models_registry.reference.preprocessing.Preprocessor` and answers a
    :class:`FusionOutput`. A study without any modality is scored from the class token alone.
    """

    config_class = AuscultFusionConfig
    main_input_name = "pixels"

    def __init__(self, config: AuscultFusionConfig) -> None:
        super().__init__(config)
        self.image = ImageEncoder(config)
        self.text = TextEncoder(config)
        self.series = SeriesEncoder(config)
        self.categories = nn.ModuleDict(
            {name: nn.Embedding(count + 1, config.width) for name, count in config.categorical.items()}
        )
        self.numbers = nn.ModuleDict({name: nn.Linear(1, config.width) for name in config.numeric})
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.kind = nn.Parameter(torch.zeros(4, config.width))
        self.fusion = nn.ModuleList(_layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, len(config.labels))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The modules keep PyTorch's own initialisation; only embeddings start smaller."""
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def forward(
        self,
        pixels: Tensor,
        has_image: Tensor,
        words: Tensor,
        points: Tensor,
        has_points: Tensor,
        categories: Tensor,
        numbers: Tensor,
        has_numbers: Tensor,
        labels: Tensor | None = None,
        **_: Any,
    ) -> FusionOutput:
        """See :class:`Preprocessor` for the shapes. ``labels``: float [n, labels], NaN where unknown."""
        states, missing = self._tokens(pixels, has_image, words, points, has_points, categories, numbers, has_numbers)
        for layer in self.fusion:
            states = layer(states, src_key_padding_mask=missing)
        latent = self.norm(states[:, 0])
        logits = self.head(latent)
        return FusionOutput(loss=None if labels is None else _loss(logits, labels), logits=logits, latent=latent)

    def _tokens(
        self,
        pixels: Tensor,
        has_image: Tensor,
        words: Tensor,
        points: Tensor,
        has_points: Tensor,
        categories: Tensor,
        numbers: Tensor,
        has_numbers: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """All tokens [n, t, width], and which of them to leave out [n, t]."""
        image = self.image(pixels) + self.kind[0]
        parts = [self.class_token.expand(len(pixels), -1, -1), image, self.text(words) + self.kind[1]]
        absent = [
            torch.zeros_like(has_image).unsqueeze(1),
            (~has_image).unsqueeze(1).expand(-1, image.shape[1]),
            (words == 0).all(dim=1, keepdim=True),
        ]
        if self.config.series:
            parts.append(self.series(points, has_points) + self.kind[2])
            absent.append(~has_points.any(dim=2))
        for place, name in enumerate(self.config.categorical):
            parts.append(self.categories[name](categories[:, place : place + 1]) + self.kind[3])
            absent.append(categories[:, place : place + 1] == 0)
        for place, name in enumerate(self.config.numeric):
            parts.append((self.numbers[name](numbers[:, place : place + 1]) + self.kind[3]).unsqueeze(1))
            absent.append(~has_numbers[:, place : place + 1])
        return torch.cat(parts, dim=1), torch.cat(absent, dim=1)


def _layer(config: AuscultFusionConfig) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        d_model=config.width,
        nhead=config.heads,
        dim_feedforward=2 * config.width,
        dropout=config.dropout,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    known = ~torch.isnan(labels)
    losses = nn.functional.binary_cross_entropy_with_logits(logits, labels.nan_to_num(0.0), reduction="none")
    total: Tensor = (losses * known).sum() / known.sum().clamp(min=1)
    return total


def register() -> None:
    """Make the Auto classes know this model; done once in a process, and harmless when done again."""
    from transformers import AutoConfig, AutoModel

    AutoConfig.register(MODEL_TYPE, AuscultFusionConfig, exist_ok=True)
    AutoModel.register(AuscultFusionConfig, AuscultFusionModel, exist_ok=True)
