"""The training of one network in steps that can be interrupted: an interrupted training ends in the very same weights.

Adam with decoupled weight decay; the rate rises over the first twentieth of the steps and falls as a cosine to zero.
What is learnt is the running mean of the weights. State is kept as safetensors in one file that appears whole or not
at all.

Steps of a network that is large enough are shared out: two threads compute the gradients of a half of the batch each,
which are added in a fixed order. The halves are there on every machine, so that equal seeds give equal weights whether
it has one core free or many; the threads wait for each other once a step, not at every operator.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

WARM = 0.05
"""Share of the steps in which the rate rises."""
KEPT = 0.995
"""Of the running mean of the weights, at each step, once it has run in."""
TOLD = 40
STATES = 8
"""How often a training tells its loss and keeps its state."""
AT_ONCE = 64
"""Rows that a network computes together when it is used. The last digits depend on it, so it is never another."""
N = TypeVar("N", bound=Any)
Batch = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network learns.

    Attributes:
        curve: Its name, such as ``image.flow``; its state is kept under it.
        seed: Decides every draw in the steps.
        folder: Where state is kept; None to keep none.
        key: What the state belongs to: state with another key is not gone on from.
        halves: Whether two threads share each step. Then the loss is a mean over rows, and draws nothing itself.
    """

    curve: str
    steps: int
    seed: int
    rate: float = 2e-3
    decay: float = 1e-2
    folder: Path | None = None
    key: str = ""
    halves: bool = False

    @property
    def file(self) -> Path | None:
        return None if self.folder is None else self.folder / f"{self.curve}.safetensors"


@contextmanager
def first_weights(seed: int) -> Iterator[None]:
    """Networks that are made inside have weights that follow from the seed; torch's own randomness is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def train(
    network: N,
    batch_of: Callable[[torch.Generator], Batch],
    loss_of: Callable[..., Tensor],
    training: Training,
    told: Callable[[int, float], None],
) -> N:
    """Train a network, or go on where a training with the same key stopped.

    Args:
        batch_of: Tensors of one batch, which it draws with the generator that it is given and nothing else.
        loss_of: Of a network and the batch's tensors, the loss.
        told: Called with the step and the mean loss since it was last called; may raise to stop. Of a training that was
            finished before it is called once, with the last step.

    Returns:
        The network, with the running mean of its weights, not to be trained any more.
    """
    network.train()
    state = _State(network, training)
    state.read()
    if state.step == training.steps:
        told(state.step, state.last)
    pause, keep = max(1, training.steps // TOLD), max(1, training.steps // STATES)
    with _Steps(network, loss_of, halves=training.halves) as steps:
        for step in range(state.step + 1, training.steps + 1):
            state.forward(step, steps.gradients(batch_of(state.noise)))
            if pausing := step % pause == 0 or step == training.steps:
                state.last, state.total, state.since = state.total / state.since, 0.0, 0
            if step % keep == 0 or step == training.steps:
                state.write(step)
            if pausing:
                told(step, state.last)
    network.load_state_dict(state.mean)
    network.requires_grad_(False)
    network.eval()
    return network


class _Steps:
    """Gradients of batches, by one thread or by two. The second has a network of its own over the same weights."""

    def __init__(self, network: Any, loss_of: Callable[..., Tensor], *, halves: bool) -> None:
        self.loss_of, self.networks = loss_of, [network]
        self.pool: ThreadPoolExecutor | None = None
        if halves:
            self.networks.append(copy.deepcopy(network))
            for own, other in zip(network.parameters(), self.networks[1].parameters(), strict=True):
                other.data = own.data
            self.pool = ThreadPoolExecutor(1, thread_name_prefix="half")

    def __enter__(self) -> _Steps:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown()

    def gradients(self, batch: Batch) -> float:
        """The loss of a batch; its gradients are those of the network afterwards."""
        if self.pool is None:
            return self._one(self.networks[0], batch)
        half = len(batch[0]) // 2
        waiting = self.pool.submit(self._one, self.networks[1], tuple(column[half:] for column in batch))
        first = self._one(self.networks[0], tuple(column[:half] for column in batch))
        second = waiting.result()
        for own, other in zip(*(network.parameters() for network in self.networks), strict=True):
            if own.grad is not None:
                own.grad.add_(other.grad).mul_(0.5)
        return (first + second) / 2

    def _one(self, network: Any, batch: Batch) -> float:
        for weights in network.parameters():
            weights.grad = None
        loss = self.loss_of(network, *batch)
        loss.backward()
        return float(loss.detach())


class _State:
    """All that decides how a training goes on."""

    def __init__(self, network: Any, training: Training) -> None:
        self.network, self.training = network, training
        self.step, self.since, self.total, self.last = 0, 0, 0.0, 0.0
        self.noise = torch.Generator().manual_seed(training.seed)
        self.mean = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.names = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self.optimiser = torch.optim.AdamW(
            self.names.values(), lr=training.rate, weight_decay=training.decay, betas=(0.9, 0.99), fused=True
        )  # fmt: skip

    def forward(self, step: int, loss: float) -> None:
        """One step down the loss, by the gradients that the weights hold."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.training.rate * _share_of_rate(step, self.training.steps)
        nn.utils.clip_grad_norm_(list(self.names.values()), 1.0)
        self.optimiser.step()
        kept = min(KEPT, step / (step + 10))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.mean[name].lerp_(value, 1 - kept)
                else:
                    self.mean[name].copy_(value)
        self.total, self.since, self.step = self.total + loss, self.since + 1, step

    def write(self, step: int) -> None:
        if (file := self.training.file) is None:
            return
        held = {"noise": self.noise.get_state(), "loss": torch.tensor([self.total, self.last], dtype=torch.float64)}
        held |= {f"network {name}": value.detach() for name, value in self.network.state_dict().items()}
        held |= {f"mean {name}": value for name, value in self.mean.items()}
        for name, value in self.names.items():
            held |= {f"{kind} {name}": item for kind, item in self.optimiser.state[value].items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        told = {"key": self.training.key, "step": str(step), "since": str(self.since)}
        save_file({name: value.contiguous().clone() for name, value in held.items()}, partial, metadata=told)
        partial.replace(file)

    def read(self) -> None:
        file = self.training.file
        if file is None or not file.is_file():
            return
        with safe_open(file, framework="pt") as held:
            told = held.metadata() or {}
            if told.get("key") != self.training.key:
                return
            found = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
        self.step, self.since = int(told["step"]), int(told["since"])
        self.total, self.last = (float(value) for value in found["loss"])
        self.noise.set_state(found["noise"])
        self.network.load_state_dict({name: found[f"network {name}"] for name in self.mean})
        for name in self.mean:
            self.mean[name].copy_(found[f"mean {name}"])
        for name, value in self.names.items():
            kinds = ("step", "exp_avg", "exp_avg_sq")
            self.optimiser.state[value] = {kind: found[f"{kind} {name}"] for kind in kinds}


def _share_of_rate(step: int, steps: int) -> float:
    warm = max(1, round(WARM * steps))
    if step <= warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def in_batches(work: Callable[..., Tensor], *columns: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """What ``work`` makes of tensors of :data:`AT_ONCE` rows each, row by row: float32 [n, ...].

    The last batch is filled up with zeros, so that a row's result does not depend on how many rows there are.
    """
    made = []
    rows = len(columns[0])
    with torch.inference_mode():
        for start in range(0, max(rows, 1), AT_ONCE):
            parts = [column[start : start + AT_ONCE] for column in columns]
            missing = AT_ONCE - len(parts[0])
            full = [np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)]) for part in parts]
            made.append(work(*(torch.from_numpy(np.ascontiguousarray(part)) for part in full)).numpy())
    found: npt.NDArray[np.float32] = np.concatenate(made)[:rows].astype(np.float32)
    return found


def weights_of(network: Any) -> dict[str, npt.NDArray[Any]]:
    """The weights by name."""
    return {name: value.detach().numpy().copy() for name, value in sorted(network.state_dict().items())}


def with_weights(network: N, weights: dict[str, npt.NDArray[Any]]) -> N:
    """The network with these weights, not to be trained any more."""
    network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    network.requires_grad_(False)
    network.eval()
    return network
