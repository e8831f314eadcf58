"""The reference multimodal model: a transformers ``PreTrainedModel`` over image, text, series and demographics.

Every modality has an encoder whose tokens have one width; missing ones are masked out, so any subset can be given. A
transformer attends over all tokens (fusion). A light head scores labels from the fused tokens; without labels the model
is a backbone. Beside the fusion, each modality is projected into one latent space, in which the modalities of a patient
were brought together (contrastive pretraining), and a small decoder writes a report.

This module imports torch and transformers: import it inside the function that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from models_registry.reference.decoder import ReportDecoder
from models_registry.reference.layers import (
    PATCH,
    Block,
    DemographicsEncoder,
    ImageEncoder,
    Projection,
    SeriesEncoder,
    TextEncoder,
    split,
)

MODEL_TYPE = "auscult_fusion"
KINDS = ("image", "text", "series", "demographics")
"""The groups of modalities, in the order of their tokens."""

QUERIES, HIDDEN, DROPPED = 2, 64, 0.2
"""Of a head: queries over all tokens, width of its perceptron, dropout of what it reads."""


class AuscultFusionConfig(PretrainedConfig):  # type: ignore[misc]
    """Shape of the model.

    Attributes:
        labels: What the head scores, in the order of its outputs; none for a backbone.
        image_size: Edge of the square grey image in pixels; a multiple of 16.
        vocabulary_size, text_length, report_length: Of the word tokenizer in ``preprocessing.json``.
        series: Names of the labs and vitals series; series_length: points kept of each, the latest ones.
        categorical: Covariate -> number of categories, not counting unknown. numeric: names of numeric covariates.
        layers, image_layers, decoder_layers: Transformer layers of the fusion, of the image encoder, and of the report
            decoder; without the last the model writes no report.
        lora: What ``head.safetensors`` adds to the fusion layers: ``{"rank", "alpha", "targets"}``; None for nothing.
    """

    model_type = MODEL_TYPE

    def __init__(
        self,
        labels: list[str] | None = None,
        image_size: int = 64,
        vocabulary_size: int = 256,
        text_length: int = 32,
        report_length: int = 0,
        series: list[str] | None = None,
        series_length: int = 12,
        categorical: dict[str, int] | None = None,
        numeric: list[str] | None = None,
        width: int = 128,
        layers: int = 3,
        image_layers: int = 2,
        decoder_layers: int = 0,
        heads: int = 4,
        dropout: float = 0.0,
        lora: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        self.labels = list(labels or [])
        self.image_size = image_size
        self.vocabulary_size = vocabulary_size
        self.text_length = text_length
        self.report_length = report_length
        self.series = list(series or [])
        self.series_length = series_length
        self.categorical = dict(categorical or {})
        self.numeric = list(numeric or [])
        self.width = width
        self.layers = layers
        self.image_layers = image_layers
        self.decoder_layers = decoder_layers
        self.heads = heads
        self.dropout = dropout
        self.lora = lora
        super().__init__(**rest)


@dataclass
class FusionOutput(ModelOutput):  # type: ignore[misc]
    """What the model answers for n studies.

    Attributes:
        loss: Mean binary cross-entropy over the labels that are known.
        logits: float [n, labels]; None for a backbone.
        tokens: float [n, t, width], the fused tokens; the first is the class token, where all modalities meet.
        keep: bool [n, t], which tokens count: those of modalities that the study has, and the class token.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    tokens: Tensor | None = None
    keep: Tensor | None = None


class LabelHead(nn.Module):  # type: ignore[misc]
    """Light head: what a few queries find among all fused tokens, the class token, and the tokens that stand for text,
    series and covariates, through a small perceptron and a linear path beside it.

    The linear path adds up what single modalities tell, which few positives suffice to learn; the perceptron sees how
    they go together.
    """

    def __init__(self, config: AuscultFusionConfig) -> None:
        super().__init__()
        labels, width = len(config.labels), config.width
        self.heads, self.patches = config.heads, (config.image_size // PATCH) ** 2
        single = 1 + len(config.series) + len(config.categorical) + len(config.numeric)
        inputs = (QUERIES + 1 + single) * width
        self.query = nn.Parameter(torch.empty(QUERIES, width).normal_(std=0.02))
        self.memory = nn.Linear(width, 2 * width)
        self.drop = nn.Dropout(DROPPED)
        self.hidden, self.out = nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, labels)
        self.beside = nn.Linear(inputs, labels, bias=False)
        for start in (self.out.weight, self.out.bias, self.beside.weight):
            nn.init.zeros_(start)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """tokens [n, t, width], keep bool [n, t], in the order of ``fuse`` -> logits [n, labels]."""
        key, value = (split(part, self.heads) for part in self.memory(tokens).chunk(2, dim=-1))
        query = split(self.query.expand(len(tokens), -1, -1), self.heads).to(key.dtype)
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=keep[:, None, None, :])
        single = slice(1 + self.patches, None)
        there = tokens[:, single] * keep[:, single].unsqueeze(-1)
        inputs = torch.cat([seen.transpose(1, 2).flatten(1), tokens[:, 0], there.flatten(1)], dim=1)
        inputs = self.drop(inputs)
        logits: Tensor = self.out(gelu(self.hidden(inputs))) + self.beside(inputs)
        return logits


class AuscultFusionModel(PreTrainedModel):  # type: ignore[misc]
    """Scores labels from any subset of image, text, series and demographics.

    ``forward`` takes the tensors of :class:`models_registry.reference.preprocessing.Preprocessor` and answers a
    :class:`FusionOutput`. A study without any modality is scored from the class token alone.
    """

    config_class = AuscultFusionConfig
    main_input_name = "pixels"

    def __init__(self, config: AuscultFusionConfig) -> None:
        super().__init__(config)
        self.image = ImageEncoder(config)
        self.text = TextEncoder(config)
        if config.series:
            self.series = SeriesEncoder(config)
        if config.categorical or config.numeric:
            self.demographics = DemographicsEncoder(config)
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.kind = nn.ParameterDict({name: torch.zeros(config.width) for name in KINDS})
        self.fusion = nn.ModuleList(Block(config.width, config.heads, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        shared = (*KINDS, "study", *(["report"] if config.report_length else []))
        self.projections = nn.ModuleDict({name: Projection(config.width) for name in shared})
        if config.decoder_layers:
            self.decoder = ReportDecoder(config)
        if config.labels:
            self.head = LabelHead(config)
        self.post_init()

    @classmethod
    def from_pretrained(cls, folder: str | Path, *_: Any, **__: Any) -> AuscultFusionModel:
        """The model of a folder, see :mod:`models_registry.reference.checkpoint`; nothing is downloaded."""
        from models_registry.reference.checkpoint import load_model

        model: AuscultFusionModel = load_model(Path(folder))
        return model

    def _init_weights(self, module: nn.Module) -> None:
        """The modules keep PyTorch's own initialisation; only embeddings start smaller."""
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, labels: Tensor | None = None, **inputs: Tensor) -> FusionOutput:
        """Fuse what the studies have, and score them where there is a head.

        Args:
            labels: float [n, labels], NaN where unknown; gives the loss.
            inputs: ``pixels``, ``has_image``, ``words``, ``points``, ``has_points``, ``categories``, ``numbers``,
                ``has_numbers``: shapes as :class:`Preprocessor` makes them.
        """
        tokens, keep = self.fuse(self.encode(inputs), self.present(inputs))
        logits = self.head(tokens, keep) if self.config.labels else None
        loss = None if labels is None or logits is None else binary_loss(logits, labels)
        return FusionOutput(loss=loss, logits=logits, tokens=tokens, keep=keep)

    def encode(self, inputs: dict[str, Tensor], kinds: Collection[str] = KINDS) -> dict[str, Tensor]:
        """Tokens [n, t, width] of each group of modalities that the model reads."""
        tokens: dict[str, Tensor] = {}
        if "image" in kinds:
            tokens["image"] = self.image(inputs["pixels"])
        if "text" in kinds:
            tokens["text"] = self.text(inputs["words"])
        if "series" in kinds and self.config.series:
            tokens["series"] = self.series(inputs["points"], inputs["has_points"])
        if "demographics" in kinds and (self.config.categorical or self.config.numeric):
            tokens["demographics"] = self.demographics(inputs["categories"], inputs["numbers"])
        return tokens

    def present(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Which tokens of :meth:`encode` the studies have, bool [n, t]."""
        patches = (self.config.image_size // PATCH) ** 2
        return {
            "image": inputs["has_image"].unsqueeze(1).expand(-1, patches),
            "text": (inputs["words"] != 0).any(dim=1, keepdim=True),
            "series": inputs["has_points"].any(dim=2),
            "demographics": torch.cat([inputs["categories"] != 0, inputs["has_numbers"]], dim=1),
        }

    def fuse(self, tokens: dict[str, Tensor], present: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Fused tokens [n, t, width], the class token first, and which of them count [n, t]."""
        n = len(present["image"])
        first = self.class_token.expand(n, -1, -1)
        states = torch.cat([first, *(tokens[name] + self.kind[name] for name in tokens)], dim=1)
        there = torch.ones(n, 1, dtype=torch.bool, device=states.device)
        keep = torch.cat([there, *(present[name] for name in tokens)], dim=1)
        for layer in self.fusion:
            states = layer(states, keep)
        return self.norm(states), keep

    @staticmethod
    def places(tokens: dict[str, Tensor]) -> dict[str, slice]:
        """Where the tokens of each group of modalities stand among the fused ones, behind the class token."""
        found, start = {}, 1
        for name, values in tokens.items():
            found[name] = slice(start, start + values.shape[1])
            start += values.shape[1]
        return found

    def embed(self, kind: str, inputs: dict[str, Tensor]) -> Tensor:
        """Vectors of length 1 in the shared latent space, float32 [n, width].

        Args:
            kind: One of :data:`KINDS`, or ``study`` for all modalities fused.
        """
        if kind == "study":
            tokens, keep = self.fuse(self.encode(inputs), self.present(inputs))
            return self.project("study", tokens[:, :1], keep[:, :1])
        return self.project(kind, self.encode(inputs, {kind})[kind], self.present(inputs)[kind])

    def project(self, name: str, tokens: Tensor, present: Tensor) -> Tensor:
        """Tokens of a modality as one vector of length 1 in the shared latent space."""
        vectors: Tensor = self.projections[name](tokens, present)
        return vectors

    def adapted_linears(self) -> list[str]:
        """Names of the linear maps of the fusion layers that low-rank additions belong to; none without them."""
        targets = (self.config.lora or {}).get("targets", [])
        return [f"fusion.{place}.{name}" for place in range(len(self.fusion)) for name in targets]

    def write_reports(self, inputs: dict[str, Tensor], *, choose: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Word numbers of a report of each study, int64 [n, report_length], 0 after its end; see ``decoder.write``."""
        written: Tensor = self.decoder.write(*self.fuse(self.encode(inputs), self.present(inputs)), choose=choose)
        return written


def binary_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy over the known labels."""
    known = ~torch.isnan(labels)
    losses = nn.functional.binary_cross_entropy_with_logits(logits, labels.nan_to_num(0.0), reduction="none")
    total: Tensor = (losses * known).sum() / known.sum().clamp(min=1)
    return total


def register() -> None:
    """Make the Auto classes know this model; done once in a process, and harmless when done again."""
    from transformers import AutoConfig, AutoModel

    AutoConfig.register(MODEL_TYPE, AuscultFusionConfig, exist_ok=True)
    AutoModel.register(AuscultFusionConfig, AuscultFusionModel, exist_ok=True)
