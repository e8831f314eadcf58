"""The language model of reports, first taught by public sentences, then with differential privacy by real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from synthetic.generators.kinds.report_conditions import PLAN_CODES
from synthetic.generators.kinds.report_words import padded
from synthetic.generators.networks.language_model import (
    ASIDE_WEIGHT,
    Batch,
    Examples,
    ModelSize,
    ModelTraining,
    ReportModel,
    train_model,
)
from synthetic.generators.private.descent import Descent, descend


class _Sum(nn.Embedding):  # type: ignore[misc]
    """The sum of codes' vectors, as nn.EmbeddingBag, written so that it can be mapped over patients."""

    def forward(self, codes: Tensor) -> Tensor:
        found: Tensor = super().forward(codes).sum(dim=1)
        return found


class MappedModel(ReportModel):
    """The same network with the same weights, whose operations can all be mapped over patients."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__(size)
        self.more = _Sum(max(1, size.more), size.width)
        # Fused attention has no rule for being mapped over patients.
        self.body.config._attn_implementation = "eager"

    def plan_of(self, batch: Batch) -> Tensor:
        if not self.size.findings:
            return torch.zeros(len(batch.field), 1, self.size.width)
        parts = [
            (batch.plan[:, :, part, None] == torch.arange(codes)) for part, codes in enumerate(PLAN_CODES.values())
        ]
        found: Tensor = self.whole(torch.cat(parts, dim=2).flatten(1).float())[:, None]
        return found


def train_private_model(
    size: ModelSize,
    public: Examples,
    lessons: int,
    examples: Examples,
    by_patient: Sequence[npt.NDArray[np.int64]],
    descent: Descent,
    told: Callable[[int], None],
) -> ReportModel:
    """A model that has learnt texts.

    Args:
        public: Texts that cost nothing, learnt in ``lessons`` steps of the usual kind.
        examples: Real texts; ``by_patient`` are those of each patient who has one.
    """
    first = train_model(size, public, ModelTraining(steps=lessons, seed=descent.seed), lambda step, loss, aside: None)
    made = MappedModel(size)
    made.load_state_dict(first.state_dict())
    made.requires_grad_(True)
    # Where nobody has a text that can be learnt, that is a secret, too: the noise is added all the same.
    found: MappedModel = descend(made, _loss, _columns(examples, size), by_patient, descent, told)
    plain = ReportModel(size)
    plain.load_state_dict(found.state_dict())
    plain.eval()
    return plain


def _columns(examples: Examples, size: ModelSize) -> dict[str, Tensor]:
    prefix = examples.prefix.rows(examples.study)
    words = np.zeros((len(examples.words), size.longest), dtype=np.int64)
    if len(examples.words):
        given = padded([text[: size.longest] for text in examples.words])
        words[:, : given.shape[1]] = given
    return {
        "plan": torch.from_numpy(prefix.plan), "more": torch.from_numpy(prefix.more),
        "regions": torch.from_numpy(prefix.regions), "has_image": torch.from_numpy(prefix.has_image),
        "field": torch.from_numpy(examples.field), "words": torch.from_numpy(words),
    }  # fmt: skip


def _loss(model: MappedModel, text: dict[str, Tensor]) -> Tensor:
    loss, aside = model.losses(Batch(truth=text["plan"], learnt=text["words"] > 0, **text))
    return loss + ASIDE_WEIGHT * aside
