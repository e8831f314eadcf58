"""Steps of a training that two threads share: the same gradients as one thread's, and errors that are not lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from synthetic.generators.networks.running import Training, _Steps, train


def network() -> nn.Sequential:
    torch.manual_seed(4)
    made = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1), nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 1, 3, 1, 1))
    made.register_parameter("idle", nn.Parameter(torch.zeros(3)))
    return made


def loss_of(made: nn.Module, given: Tensor, wanted: Tensor) -> Tensor:
    found: Tensor = ((made(given) - wanted) ** 2).mean()
    return found


def batch_of(noise: torch.Generator) -> tuple[Tensor, ...]:
    given = torch.randn((6, 1, 8, 8), generator=noise)
    return given, 0.5 * given + 1


def test_two_halves_have_the_gradients_of_the_whole() -> None:
    one, two = network(), network()
    batch = batch_of(torch.Generator().manual_seed(1))
    with _Steps(one, loss_of, halves=False) as alone, _Steps(two, loss_of, halves=True) as shared:
        for _ in range(2):  # a second time: nothing of the first is left over
            assert alone.gradients(batch) == pytest.approx(shared.gradients(batch), rel=1e-6)
    for first, second in zip(one.parameters(), two.parameters(), strict=True):
        if first.grad is None:
            assert second.grad is None
        else:
            torch.testing.assert_close(first.grad, second.grad, rtol=1e-4, atol=1e-7)


def test_a_training_in_halves_learns_and_is_the_same_each_time() -> None:
    told: list[float] = []

    def learn(seed: int) -> dict[str, Tensor]:
        training = Training(curve="x", steps=60, seed=seed, rate=1e-2, halves=True)
        return dict(train(network(), batch_of, loss_of, training, lambda step, loss: told.append(loss)).state_dict())

    first = learn(3)
    assert told[-1] < 0.9 * told[0]
    again, other = learn(3), learn(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("broken", [0, 1])
def test_an_error_in_either_half_ends_the_training(broken: int) -> None:
    def fails(here: int) -> Callable[..., Tensor]:
        def loss(made: nn.Module, given: Tensor, wanted: Tensor, place: Tensor) -> Tensor:
            if int(place[0]) == here:
                raise ArithmeticError(f"half {here}")
            return loss_of(made, given, wanted)

        return loss

    def placed(noise: torch.Generator) -> tuple[Tensor, ...]:
        return (*batch_of(noise), torch.tensor([0, 0, 0, 1, 1, 1]))

    training = Training(curve="x", steps=5, seed=1, halves=True)
    with pytest.raises(ArithmeticError, match=f"half {broken}"):
        train(network(), placed, fails(broken), training, lambda step, loss: None)
