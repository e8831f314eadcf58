"""What the backbone is pretrained for: bringing modalities together, and telling what is hidden from what is not.

No label is used. This module imports torch: import it inside the function that needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, smooth_l1_loss

from models_registry.reference.layers import PATCH
from models_registry.reference.model import KINDS
from models_registry.reference.preprocessing import FIRST_WORD, HOURS, UNKNOWN_WORD

if TYPE_CHECKING:
    from models_registry.reference.model import AuscultFusionModel

POOL = 2
"""Hidden patches are told as averages of 2 x 2 pixels."""

WEIGHTS = {"contrast": 1.0, "latent": 0.5, "patches": 0.5, "words": 0.5, "series": 0.5, "people": 0.2, "report": 1.0}
"""How much each objective counts."""

HIDDEN_KIND = 0.25
HIDDEN_PATCH = 0.25
HIDDEN_WORD = 0.15
"""Chances that a study is shown without one of its modalities, its picture without a patch, its text without a word."""

COURSE, NEAR = (-60.0, -36.0, -12.0, 0.0), 9.0
"""Hours before the study at which the course of a series is told, and how near to them a point counts most."""

SUMMARY = 2 + len(COURSE)
"""Figures that stand for the content of a series: mean, latest value, and its course."""


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """What one step hides of n studies.

    Attributes:
        kinds: Group of modalities -> bool [n], hidden from the fusion.
        patches: bool [n, tokens] of the picture. words: bool [n, text_length], read as unknown ones.
    """

    kinds: Mapping[str, Tensor]
    patches: Tensor
    words: Tensor


class Objectives(nn.Module):  # type: ignore[misc]
    """The losses of one batch, and the small maps that they need; dropped when the pretraining ends."""

    def __init__(self, model: AuscultFusionModel) -> None:
        super().__init__()
        config, width = model.config, model.config.width
        self.temperature = nn.Parameter(torch.tensor(2.0))
        self.latent = nn.ModuleDict({name: nn.Linear(width, width) for name in KINDS})
        self.patches = nn.Linear(width, (PATCH // POOL) ** 2)
        self.words = nn.Linear(width, config.vocabulary_size)
        self.series = nn.Linear(width, SUMMARY * len(config.series))
        self.own_series = nn.Linear(width, SUMMARY)
        self.categories = nn.ModuleList(nn.Linear(width, count + 1) for count in config.categorical.values())
        self.numbers = nn.Linear(width, len(config.numeric))
        self.own_categories = nn.ModuleList(nn.Linear(width, count + 1) for count in config.categorical.values())
        self.own_numbers = nn.ModuleList(nn.Linear(width, 1) for _ in config.numeric)

    def forward(self, model: AuscultFusionModel, inputs: dict[str, Tensor], reports: Tensor, hidden: Hidden) -> Any:
        """Every loss of a batch by name; those that the data have nothing for are left out.

        Args:
            inputs: As of the model, nothing hidden.
            reports: int64 [n, report_length], 0 where there is none.
        """
        seen = inputs | {
            "pixels": without_patches(inputs["pixels"], hidden.patches),
            "words": without_words(inputs["words"], hidden.words),
        }
        tokens, present = model.encode(seen), model.present(inputs)
        shown = {name: present[name] & ~hidden.kinds[name].unsqueeze(1) for name in tokens}
        states, keep = model.fuse(tokens, present | shown)
        latents = {name: (model.project(name, tokens[name], present[name]), present[name].any(1)) for name in tokens}
        whole = model.project("study", states[:, :1], keep[:, :1])
        losses = self._told(model, inputs, states, model.places(tokens), hidden, present)
        losses["latent"] = self._latent(states[:, 0], latents, hidden)
        losses["patches"] = self._patches(inputs, states, hidden, shown["image"][:, 0])
        there = (reports != 0).any(1)
        latents["study"] = (whole, torch.ones_like(there))
        if model.config.report_length and bool(there.any()):
            known = torch.ones_like(there).unsqueeze(1)
            latents["report"] = (model.project("report", model.text(reports), known), there)
        losses["contrast"] = self._contrast(latents)
        if model.config.decoder_layers and bool(there.any()):
            words = reports[there][:, : int((reports != 0).any(0).sum())]
            said = model.decoder(words, states[there], keep[there])
            losses["report"] = cross_entropy(said.flatten(0, 1), model.decoder.target(words).flatten())
        return losses

    def _contrast(self, latents: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        """Symmetric InfoNCE (Radford et al. 2021) of each pair of modalities over the studies that have both."""
        total = self.temperature * 0.0  # a batch in which no pair is there still has a gradient
        scale, count = self.temperature.exp().clamp(max=50.0), 0
        for one, other in combinations(sorted(latents), 2):
            if "demographics" in (one, other) and "study" not in (one, other):
                continue  # sex and age do not tell one patient from another
            both = latents[one][1] & latents[other][1]
            if int(both.sum()) < 2:
                continue
            likeness = scale * latents[one][0][both] @ latents[other][0][both].T
            places = torch.arange(len(likeness), device=likeness.device)
            total = total + (cross_entropy(likeness, places) + cross_entropy(likeness.T, places)) / 2
            count += 1
        return total / max(count, 1)

    def _latent(self, first: Tensor, latents: Mapping[str, tuple[Tensor, Tensor]], hidden: Hidden) -> Tensor:
        """Predict the latent of a hidden modality from the fused rest: 1 - cosine, the target held still."""
        total = first.new_zeros(())
        for name, (vectors, there) in latents.items():
            rows = hidden.kinds[name] & there
            if bool(rows.any()):
                guess = nn.functional.normalize(self.latent[name](first[rows]).float(), dim=-1)
                total = total + (1 - (guess * vectors[rows].detach()).sum(-1)).mean()
        return total / len(latents)

    def _patches(self, inputs: dict[str, Tensor], states: Tensor, hidden: Hidden, shown: Tensor) -> Tensor:
        """Predict the averaged pixels of the hidden patches of a picture that is shown, in units of their spread."""
        rows = hidden.patches & shown.unsqueeze(1)
        if not bool(rows.any()):
            return states.new_zeros(())
        image = states[:, 1 : 1 + hidden.patches.shape[1]]
        target = patches_of(avg_pool2d(inputs["pixels"], POOL), PATCH // POOL)
        return smooth_l1_loss(self.patches(image[rows]), target[rows])

    def _told(
        self,
        model: AuscultFusionModel,
        inputs: dict[str, Tensor],
        states: Tensor,
        places: Mapping[str, slice],
        hidden: Hidden,
        present: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Predict what words, series and covariates say: from the class token where hidden, else from their own.

        Telling the content of a modality from its own token keeps that content there for the heads.
        """
        losses = {}
        there = present["text"][:, 0]
        if bool(there.any()):
            own, away = states[:, places["text"]][:, 0], hidden.kinds["text"].unsqueeze(1)
            guess = self.words(torch.where(away, states[:, 0], own)[there])
            losses["words"] = said_loss(guess, inputs["words"][there])
        if "series" in places and bool(present["series"].any()):
            own, away = states[:, places["series"]], hidden.kinds["series"][:, None, None]
            guess = torch.where(away, self.series(states[:, 0]).unflatten(1, (-1, SUMMARY)), self.own_series(own))
            target = series_summary(inputs["points"], inputs["has_points"])
            losses["series"] = smooth_l1_loss(guess[present["series"]], target[present["series"]])
        if "demographics" in places and bool(present["demographics"].any()):
            losses["people"] = self._people(inputs, states, states[:, places["demographics"]], hidden)
        return losses

    def _people(self, inputs: dict[str, Tensor], states: Tensor, own: Tensor, hidden: Hidden) -> Tensor:
        """Each covariate from its own token, or from the class token of the studies in which it is hidden."""
        total, away = states.new_zeros(()), hidden.kinds["demographics"].unsqueeze(1)
        pairs = enumerate(zip(self.categories, self.own_categories, strict=True))
        for place, (rest, kept) in pairs:
            truth = inputs["categories"][:, place]
            if bool((truth != 0).any()):
                guess = torch.where(away, rest(states[:, 0]), kept(own[:, place]))
                total = total + cross_entropy(guess, truth, ignore_index=0)
        for place, layer in enumerate(self.own_numbers):
            known = inputs["has_numbers"][:, place]
            if bool(known.any()):
                rest = self.numbers(states[:, 0])[:, place : place + 1]
                guess = torch.where(away, rest, layer(own[:, len(self.categories) + place]))[:, 0]
                total = total + smooth_l1_loss(guess[known], inputs["numbers"][known, place])
        return total


def without_patches(pixels: Tensor, hidden: Tensor) -> Tensor:
    """The pictures [n, 1, size, size] with the hidden patches [n, tokens] grey."""
    side = pixels.shape[-1] // PATCH
    grid = hidden.unflatten(1, (side, side)).repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
    return pixels.masked_fill(grid.unsqueeze(1), 0.0)


def without_words(words: Tensor, hidden: Tensor) -> Tensor:
    """The texts [n, length] with the hidden words unknown; what is no word stays none."""
    return torch.where(hidden & (words != 0), torch.full_like(words, UNKNOWN_WORD), words)


def said_loss(guess: Tensor, words: Tensor) -> Tensor:
    """How badly the words of texts are told, whatever their order: cross-entropy of each word of the vocabulary being
    said or not, summed over the vocabulary, for each word that is said.

    Args:
        guess: Logits [n, vocabulary]. words: int64 [n, length], 0 for none.
    """
    said = torch.zeros_like(guess).scatter_(1, words, 1.0)[:, FIRST_WORD:]
    losses = nn.functional.binary_cross_entropy_with_logits(guess[:, FIRST_WORD:], said, reduction="sum")
    total: Tensor = losses / said.sum().clamp(min=1)
    return total


def patches_of(pixels: Tensor, edge: int) -> Tensor:
    """[n, 1, size, size] -> [n, tokens, edge * edge], in the order of the tokens."""
    cut = pixels.unfold(2, edge, edge).unfold(3, edge, edge)
    return cut.flatten(4).flatten(1, 3)


def series_summary(points: Tensor, present: Tensor) -> Tensor:
    """What a series says in six figures [n, series, length, 3] -> [n, series, 6]; 0 for one without points.

    Mean, latest value, and the mean of the points around each time of the course, those near to it counting more
    (Gaussian weights, Nadaraya and Watson 1964).
    """
    values, times = points[..., 1], points[..., 0] * HOURS
    weight = present.to(points.dtype)
    count = weight.sum(2)
    mean = (values * weight).sum(2) / count.clamp(min=1)
    last = values.gather(2, (count.long() - 1).clamp(min=0).unsqueeze(2)).squeeze(2)
    course = []
    for hour in COURSE:
        away = ((times - hour) / NEAR) ** 2 / 2
        near = torch.softmax((-away).masked_fill(~present, -1e4), dim=2)
        course.append((near * values * weight).sum(2))
    return torch.stack([mean, last, *course], dim=-1)
