"""Training with differential privacy (DP-SGD), a patient at a time.

Each step takes patients with a fixed chance (Poisson sampling), one study of each at random, and the gradient of that
patient's loss, cut to an L2 norm of ``BOUND``. Gradients are written as whole multiples of ``BOUND / GRAIN``, towards
zero, so that no norm grows and sums are exact; noise is added to the sum of whole numbers (see ``private.noise``). What
follows (division by the expected number of patients, Adam, the running mean of weights) knows the noisy sum alone.

All that is drawn in a step is secret: the noise, which patients are taken, which of their studies, and what a loss
draws for itself. Each patient's draws are of that patient alone, so one patient more changes no other's contribution.
Were they drawn from a known seed, one patient more would give all who follow other draws. First weights may be known.
Gradients are computed in batches of one size, as their last digits depend on it.

Source: Abadi et al. (2016), Deep learning with differential privacy, CCS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from core.errors import AuscultError
from synthetic.generators.private.accounting import Mechanism
from synthetic.generators.private.noise import Noise

BOUND = 1.0
GRAIN = 1 << 20
"""Whole numbers that a bound is divided into. Squares of norms stay below 2^40, so that they are exact."""
AT_ONCE = 16
"""Patients whose gradients are computed together, never more or fewer: a batch is filled up."""
KEPT = 0.98
Loss = Callable[..., Tensor]


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How a network descends.

    Attributes:
        allowed: What it may spend; its steps are the steps of the training.
        patients: How many there are, about: from a noisy count. It scales gradients and is no bound of anything.
        seed: Of first weights alone, which may be known.
    """

    allowed: Mechanism
    noise: Noise
    patients: float
    seed: int
    pace: float = 2e-3


def check_private(network: nn.Module) -> None:
    """Refuse networks in which patients of one step touch each other.

    Raises:
        AuscultError: naming the layer.
    """
    from opacus.validators import ModuleValidator

    for name, layer in network.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise _unfit(f"its layer {name or 'network'} is {type(layer).__name__}, which mixes the patients of a step")
    was = network.training
    network.train()
    found = ModuleValidator.validate(network, strict=False)
    network.train(was)
    if found:
        raise _unfit("; ".join(str(item).rstrip(".") for item in found))


def _unfit(reason: str) -> AuscultError:
    return AuscultError(
        f"The network cannot be trained with differential privacy: {reason}.",
        remedy="Use layers that see one study alone, such as group or layer normalisation.", column="parts",
    )  # fmt: skip


def descend(
    network: Any,
    loss_of: Loss,
    columns: Mapping[str, Tensor],
    rows: Sequence[npt.NDArray[np.int64]],
    descent: Descent,
    told: Callable[[int], None],
) -> Any:
    """A network that has learnt, with the running mean of its weights.

    Args:
        loss_of: Called with the module, and the columns of one study with an axis of one in front; made a function of
            the weights and mapped over patients.
        columns: Tensors whose first axis are studies.
        rows: For each patient who can teach it, the studies to choose from. Others contribute nothing.
        told: Called with each step; told nothing of the patients.
    """
    check_private(network)
    network.train()
    weights = {name: value.detach().clone() for name, value in network.named_parameters()}
    shapes = [(name, value.shape, value.numel()) for name, value in weights.items()]
    gradients = gradients_of(network, loss_of)
    flat = torch.cat([value.flatten() for value in weights.values()])
    flat.requires_grad_(True)
    optimiser = torch.optim.Adam([flat], lr=descent.pace, betas=(0.9, 0.99))
    mean, own = flat.detach().clone(), descent.noise.bits(5)
    chance = np.random.default_rng(own[:4])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(own[4] >> np.uint64(1)))
        for step in range(1, descent.allowed.steps + 1):
            taken = descent.noise.chosen(len(rows), descent.allowed.rate)
            studies = np.array([chance.choice(rows[place]) for place in taken], dtype=np.int64)
            total = _sum(gradients, _named(flat.detach(), shapes), columns, studies, shapes)
            total += torch.from_numpy(descent.noise.whole(len(total), descent.allowed.noise * GRAIN))
            expected = max(1.0, descent.allowed.rate * descent.patients)
            flat.grad = (total * (BOUND / GRAIN / expected)).float()
            optimiser.step()
            kept = min(KEPT, step / (step + 10))
            mean.lerp_(flat.detach(), 1 - kept)
            told(step)
    network.load_state_dict(
        network.state_dict() | {name: value.clone() for name, value in _named(mean, shapes).items()}
    )
    network.requires_grad_(False)
    network.eval()
    return network


def gradients_of(network: nn.Module, loss_of: Loss) -> Callable[..., dict[str, Tensor]]:
    """A function of weights and of columns of n studies, both by name: each study's gradients [n, ...], by name."""
    module = _Lossy(network, loss_of)

    def patient_loss(given: dict[str, Tensor], study: dict[str, Tensor]) -> Tensor:
        found: Tensor = functional_call(
            module, {f"network.{name}": value for name, value in given.items()},
            ({name: value[None] for name, value in study.items()},),
        )  # fmt: skip
        return found

    found: Callable[..., dict[str, Tensor]] = vmap(grad(patient_loss), in_dims=(None, 0), randomness="different")
    return found


class _Lossy(nn.Module):  # type: ignore[misc]
    """A network whose forward pass is its loss."""

    def __init__(self, network: nn.Module, loss_of: Loss) -> None:
        super().__init__()
        self.network, self.loss_of = network, loss_of

    def forward(self, study: dict[str, Tensor]) -> Tensor:
        return self.loss_of(self.network, study)


def _named(flat: Tensor, shapes: list[tuple[str, Any, int]]) -> dict[str, Tensor]:
    parts = torch.split(flat, [count for _, _, count in shapes])
    return {name: part.view(shape) for (name, shape, _), part in zip(shapes, parts, strict=True)}


def _sum(
    gradients: Any, weights: dict[str, Tensor], columns: Mapping[str, Tensor], studies: npt.NDArray[np.int64],
    shapes: list[tuple[str, Any, int]],
) -> Tensor:  # fmt: skip
    """Sum of the patients' bounded gradients: float64 of whole numbers."""
    total = torch.zeros(sum(count for _, _, count in shapes), dtype=torch.float64)
    for start in range(0, len(studies), AT_ONCE):
        own = studies[start : start + AT_ONCE]
        rows = torch.from_numpy(np.concatenate([own, np.repeat(own[:1], AT_ONCE - len(own))]))
        found = gradients(weights, {name: values[rows] for name, values in columns.items()})
        flat = torch.cat([found[name].flatten(1) for name, _, _ in shapes], dim=1)[: len(own)]
        total += bounded_rows(flat).sum(dim=0)
    return total


def bounded_rows(rows: Tensor) -> Tensor:
    """Rows [n, d] cut to an L2 norm of BOUND, in whole multiples of ``BOUND / GRAIN``: float64 [n, d].

    A row that holds what is no number counts as zero. Every row is checked in whole numbers.
    """
    norms = torch.linalg.vector_norm(rows.double(), dim=1, keepdim=True)
    fine = torch.isfinite(norms) & torch.isfinite(rows).all(dim=1, keepdim=True)
    # A hair below the bound, so that rounding of the norm itself lets no row beyond it.
    factor = torch.clamp(BOUND * (1 - 1e-9) / norms.clamp(min=1e-30), max=1.0)
    found = torch.trunc(torch.where(fine, rows.double() * factor, 0.0) * (GRAIN / BOUND))
    if bool(((found**2).sum(dim=1) > float(GRAIN) ** 2).any()):
        raise ArithmeticError("a patient's gradient is beyond its bound")
    return found
