"""Light heads on a backbone: fitted alone, with low-rank additions to the fusion layers, or with every weight."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from models_registry.reference.pretraining import one_cycle
from models_registry.reference.settings import TrainingSettings
from models_registry.reference.studies import Progress, Studies

AT_ONCE = 256
VIEWS = 3
"""Of the fused tokens of a study that a frozen head is shown: the whole one, and others with modalities hidden."""

LORA_TARGETS = ("qkv", "out", "up", "down")
"""The linear maps of a fusion layer that low-rank adaptation adds to."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FittedHead:
    """A model with a head.

    Attributes:
        model: Ready to score; low-rank additions are merged into its weights.
        additions: Those additions by tensor name; empty for the other methods.
        trained: How many parameters were trained.
    """

    model: Any
    additions: dict[str, Any]
    trained: int


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """Tokens of all studies before the fusion, by group of modalities, and which of them are there."""

    tokens: dict[str, Any]
    present: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Fused:
    """Fused tokens of all studies [n, t, width], and which of them count [n, t]."""

    tokens: Any
    keep: Any


def fit_head(
    backbone: Any, labels: list[str], data: Studies, settings: TrainingSettings, *, tell: Progress
) -> FittedHead:
    """Put a head for ``labels`` on a backbone and train it as ``settings.method`` says; the backbone stays as it is."""
    model = _with_head(backbone, labels, settings)
    if settings.method == "full":
        trained = [*model.parameters()]
        _train(model, trained, partial(_from_studies, model, data, settings), data, settings, tell)
        return FittedHead(model=model, additions={}, trained=_count(trained))
    model.requires_grad_(False)
    if settings.method == "lora":
        return _adapted(model, data, settings, tell)
    trained = [*model.head.requires_grad_(True).parameters()]
    views = _fused_views(model, data, settings, tell)
    _train(model, trained, partial(_from_views, model, views), data, settings, tell)
    return FittedHead(model=model.requires_grad_(True), additions={}, trained=_count(trained))


def score(model: Any, data: Studies) -> npt.NDArray[np.float64]:
    """Scores [n, labels] of studies in memory."""
    import torch

    found = []
    with torch.inference_mode():
        for start in range(0, len(data), AT_ONCE):
            logits = model(**_tensors(data.rows(slice(start, start + AT_ONCE)))).logits
            found.append(torch.sigmoid(logits).double().numpy())
    return np.concatenate(found)


def merge_lora(model: Any, additions: dict[str, Any], lora: dict[str, Any]) -> None:
    """Add the low-rank products to the weights that they belong to: W + alpha / rank * B A.

    Args:
        additions: ``lora.<name of the linear map>.a`` [rank, in] and ``.b`` [out, rank].
    """
    import torch

    with torch.no_grad():
        for name in sorted(item.removesuffix(".a") for item in additions if item.endswith(".a")):
            linear = model.get_submodule(name.removeprefix("lora."))
            product = additions[f"{name}.b"] @ additions[f"{name}.a"]
            linear.weight.add_(product * (lora["alpha"] / lora["rank"]))


def _with_head(backbone: Any, labels: list[str], settings: TrainingSettings) -> Any:
    from models_registry.reference.model import AuscultFusionModel

    config = deepcopy(backbone.config)
    config.labels = list(labels)
    if settings.method == "lora":
        config.lora = {"rank": settings.rank, "alpha": 2 * settings.rank, "targets": list(LORA_TARGETS)}
    model = AuscultFusionModel(config)
    model.load_state_dict(backbone.state_dict(), strict=False)
    return model


def _adapted(model: Any, data: Studies, settings: TrainingSettings, tell: Progress) -> FittedHead:
    """Train low-rank additions to the fusion layers with peft, then merge them into a plain model."""
    from peft import LoraConfig, inject_adapter_in_model

    plain, lora = deepcopy(model), model.config.lora
    encoded = _encoded(model, data, tell)
    targets = rf"fusion\.\d+\.({'|'.join(lora['targets'])})"
    inject_adapter_in_model(
        LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], target_modules=targets, lora_dropout=0.0), model
    )
    model.head.requires_grad_(True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    _train(model, trained, partial(_from_encoded, model, encoded, settings), data, settings, tell)
    additions = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            additions[f"lora.{name}.a"] = module.lora_A["default"].weight.detach().clone()
            additions[f"lora.{name}.b"] = module.lora_B["default"].weight.detach().clone()
    plain.head.load_state_dict(model.head.state_dict())
    merge_lora(plain, additions, lora)
    return FittedHead(model=plain.requires_grad_(True).eval(), additions=additions, trained=_count(trained))


Step = Callable[[Rows, np.random.Generator], Any]
"""Logits [n, labels] of the studies in the given rows, as a training step shows them."""


def _train(
    model: Any, trained: list[Any], logits_of: Step, data: Studies, settings: TrainingSettings, tell: Progress
) -> None:
    import torch

    from models_registry.reference.model import binary_loss

    rng = np.random.default_rng([settings.seed, 2])
    steps = -(-len(data) // settings.batch_size)
    optimiser = torch.optim.AdamW(trained, lr=settings.head_learning_rate, weight_decay=settings.weight_decay)
    schedule = one_cycle(optimiser, highest=settings.head_learning_rate, steps=steps * settings.head_epochs)
    model.train()
    for epoch in range(settings.head_epochs):
        for step, rows in enumerate(np.array_split(rng.permutation(len(data)), steps)):
            loss = binary_loss(logits_of(rows, rng), torch.from_numpy(data.labels[rows]))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            schedule.step()
            done = (epoch + (step + 1) / steps) / settings.head_epochs
            tell(0.3 + 0.7 * done, f"Head, epoch {epoch + 1} of {settings.head_epochs}")
    model.eval()


def _from_studies(model: Any, data: Studies, settings: TrainingSettings, rows: Rows, rng: np.random.Generator) -> Any:
    """Logits of some studies, by the whole model."""
    inputs = _tensors(data.rows(rows))
    present = _dropped(model.present(inputs), settings.modality_dropout, rng)
    return model.head(*model.fuse(model.encode(inputs), present))


def _from_encoded(
    model: Any, encoded: _Encoded, settings: TrainingSettings, rows: Rows, rng: np.random.Generator
) -> Any:
    """Logits of some studies, by fusion and head: the encoders do not change, so they have been run once."""
    import torch

    places = torch.from_numpy(rows)
    present = {name: values[places] for name, values in encoded.present.items()}
    tokens = {name: values[places] for name, values in encoded.tokens.items()}
    return model.head(*model.fuse(tokens, _dropped(present, settings.modality_dropout, rng)))


def _from_views(model: Any, views: list[_Fused], rows: Rows, rng: np.random.Generator) -> Any:
    """Logits of some studies by the head alone, half of them of their first view, which hides nothing."""
    import torch

    chosen = torch.from_numpy(np.where(rng.random(len(rows)) < 0.5, 0, rng.integers(0, len(views), len(rows))))
    places = torch.from_numpy(rows)
    tokens = torch.empty(len(rows), *views[0].tokens.shape[1:])
    keep = torch.empty(len(rows), views[0].keep.shape[1], dtype=torch.bool)
    for number, view in enumerate(views):
        here = chosen == number
        tokens[here], keep[here] = view.tokens[places[here]], view.keep[places[here]]
    return model.head(tokens, keep)


def _encoded(model: Any, data: Studies, tell: Progress) -> _Encoded:
    """The tokens of every study as the encoders give them, which a head does not change."""
    import torch

    tokens: dict[str, list[Any]] = {}
    present: dict[str, list[Any]] = {}
    with torch.no_grad():
        for start in range(0, len(data), AT_ONCE):
            inputs = _tensors(data.rows(slice(start, start + AT_ONCE)))
            for kept, found in ((tokens, model.encode(inputs)), (present, model.present(inputs))):
                for name, values in found.items():
                    kept.setdefault(name, []).append(values)
            tell(0.3 * start / len(data), "Encoding the studies")
    return _Encoded(
        tokens={name: torch.cat(parts) for name, parts in tokens.items()},
        present={name: torch.cat(parts) for name, parts in present.items()},
    )


def _fused_views(model: Any, data: Studies, settings: TrainingSettings, tell: Progress) -> list[_Fused]:
    """The fused tokens of every study: with nothing hidden, then with modalities hidden by chance."""
    import torch

    rng = np.random.default_rng([settings.seed, 3])
    encoded, views = _encoded(model, data, tell), []
    for chance in (0.0, *[max(settings.modality_dropout, 0.05) * 2] * (VIEWS - 1)):
        parts = []
        with torch.no_grad():
            for start in range(0, len(data), AT_ONCE):
                rows = slice(start, start + AT_ONCE)
                present = {name: values[rows] for name, values in encoded.present.items()}
                tokens = {name: values[rows] for name, values in encoded.tokens.items()}
                parts.append(model.fuse(tokens, _dropped(present, chance, rng)))
                tell(0.3, "Encoding the studies")
        views.append(_Fused(tokens=torch.cat([part[0] for part in parts]), keep=torch.cat([part[1] for part in parts])))
    return views


def _dropped(present: dict[str, Any], chance: float, rng: np.random.Generator) -> dict[str, Any]:
    """Hide whole modalities of some studies, so that a head learns to do without any of them."""
    import torch

    n = len(next(iter(present.values())))
    return {name: there & torch.from_numpy(rng.random((n, 1)) >= chance) for name, there in present.items()}


def _count(parameters: list[Any]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _tensors(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(values) for name, values in arrays.items()}
