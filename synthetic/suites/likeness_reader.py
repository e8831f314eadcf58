"""A small network that reads the plan of a study from its image. It learns from the audit's readers alone.

It is the judge of what synthetic images show, and the encoder in which images are compared: both only mean something
because neither generator nor test patients had a part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.plans import PARTS, Plans
from synthetic.generators.studies import LinkedStudies, Pixels

Floats = npt.NDArray[np.float32]
WIDTH = 64
"""Features of an image."""
LEAST_IMAGES = 100
BATCH = 128
AT_ONCE = 512
STEPS = 700
"""Training steps at most; a small set is seen at most EPOCHS times."""
EPOCHS = 25
STYLE_VALUES = 8


@dataclass(frozen=True, kw_only=True)
class SeenPlans:
    """What the reader sees in n images.

    Attributes:
        present: [n, F] probability that a finding is there.
        parts: ``side``, ``zone``, ``size`` -> [n, F, 3] log-probability of each of its words.
        features: [n, WIDTH].
    """

    present: Floats
    parts: dict[str, Floats]
    features: Floats


class ImageReader:
    """A trained reader. Make one with :func:`train_reader`.

    Attributes:
        findings: Of the plans that it learnt.
    """

    def __init__(self, network: Any, findings: tuple[str, ...]) -> None:
        self._network = network
        self.findings = findings

    def see(self, images: Pixels) -> SeenPlans:
        """What is in images uint8 [n, size, size]; n may be 0."""
        import torch

        count = len(self.findings)
        outputs, features = [torch.zeros(0, count * 10)], [torch.zeros(0, WIDTH)]
        with fixed_threads(), torch.inference_mode():
            for start in range(0, len(images), AT_ONCE):
                output, feature = self._network(scaled(images[start : start + AT_ONCE]))
                outputs.append(output[:, : count * 10])
                features.append(feature)
        told = torch.cat(outputs).reshape(-1, count, 10)
        logs = {name: told[:, :, 1 + 3 * k : 4 + 3 * k].log_softmax(-1).numpy() for k, name in enumerate(PARTS)}
        return SeenPlans(present=told[:, :, 0].sigmoid().numpy(), parts=logs, features=torch.cat(features).numpy())


def scaled(images: Pixels) -> Any:
    """float32 [n, 1, size, size] around 0."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(images)).float()[:, None] / 127.5 - 1


def small_network(outputs: int, size: int, width: int = WIDTH) -> Any:
    """A network of three convolutions: images [n, 1, size, size] -> outputs [n, outputs], features [n, width].

    The first takes the image, of 64 px at most, to a grid of 16 x 16 at once, which makes it fast. What lies where is
    kept until the end (a grid of 4 x 4): a side can be told.
    """
    import torch
    from torch import nn

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            stem = max(1, min(size, 64) // 16)
            layers: list[Any] = []
            for before, after, kernel, stride in ((1, 24, 7, stem), (24, 32, 3, 2), (32, 32, 3, 1)):
                layers += [
                    nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
                ]  # fmt: skip
            self.body = nn.Sequential(*layers)
            self.grid = nn.AdaptiveAvgPool2d(4)
            self.features = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(32 * 16, width), nn.ReLU())
            self.head = nn.Linear(width, outputs)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            if images.shape[-1] > 64:
                images = nn.functional.adaptive_avg_pool2d(images, 64)
            features = self.features(self.grid(self.body(images)))
            return self.head(features), features

    return Network()


def train_reader(readers: LinkedStudies, *, seed: int, steps: int = STEPS) -> ImageReader:
    """A reader of the plans of some real studies' images, and of their commonest attributes besides.

    Attributes such as the view or the scanner make the features tell of the picture as a whole, not only of findings.

    Raises:
        AuscultError: there are too few images, or no finding.
    """
    import torch

    have = np.flatnonzero(readers.has_image) if readers.images is not None else np.zeros(0, dtype=np.int64)
    if len(have) < LEAST_IMAGES or not readers.plans.findings:
        raise AuscultError(
            f"The readers hold {len(have)} images of {len(readers.plans.findings)} findings: too few to learn from.",
            remedy=f"Give at least {LEAST_IMAGES} images and one finding.",
        )
    studies = readers.rows(have)
    targets = _targets(studies.plans)
    styles = _styles(studies)
    rng = generator(seed, "image reader")
    total = min(steps, max(1, EPOCHS * len(have) // BATCH))
    count = len(studies.plans.findings)
    with fixed_threads(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        assert studies.images is not None
        network = small_network(count * 10 + sum(width for _, width in styles), studies.images.shape[-1])
        optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
        pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=total + 1)
        network.train()
        for rows in batches(len(have), total, rng):
            output, _ = network(scaled(studies.images[rows]))
            loss = _plan_loss(output[:, : count * 10], targets, rows)
            loss = loss + _style_loss(output[:, count * 10 :], styles, rows)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            pace.step()
        network.eval()
    return ImageReader(network, studies.plans.findings)


def batches(count: int, steps: int, rng: np.random.Generator, size: int = BATCH) -> Any:
    """So many batches of rows; every row comes up once before any comes up again."""
    waiting = np.zeros(0, dtype=np.int64)
    for _ in range(steps):
        while len(waiting) < min(size, count):
            waiting = np.concatenate([waiting, rng.permutation(count)])
        yield waiting[:size]
        waiting = waiting[size:]


def _targets(plans: Plans) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(getattr(plans, name).astype(np.int64)) for name in ("present", *PARTS)}


def _plan_loss(output: Any, targets: dict[str, Any], rows: npt.NDArray[np.int64]) -> Any:
    """Cross-entropy of what each plan tells."""
    from torch.nn import functional

    told = output.reshape(len(rows), -1, 10)
    present = targets["present"][rows]
    known = present >= 0
    loss = functional.binary_cross_entropy_with_logits(told[:, :, 0][known], present[known].float())
    for k, name in enumerate(PARTS):
        part = targets[name][rows]
        if (part >= 0).any():
            logits = told[:, :, 1 + 3 * k : 4 + 3 * k]
            loss = loss + 0.3 * functional.cross_entropy(logits[part >= 0], part[part >= 0])
    return loss


def _styles(studies: LinkedStudies) -> list[tuple[Any, int]]:
    """Codes of attributes with few values, -100 where missing, and how many values each has."""
    import torch

    found = []
    for values in studies.attributes.values():
        kinds = sorted({str(value) for value in values if value is not None})
        if 2 <= len(kinds) <= STYLE_VALUES:
            place = {kind: code for code, kind in enumerate(kinds)}
            codes = [-100 if value is None else place[str(value)] for value in values]
            found.append((torch.tensor(codes), len(kinds)))
    return found


def _style_loss(output: Any, styles: Sequence[tuple[Any, int]], rows: npt.NDArray[np.int64]) -> Any:
    from torch.nn import functional

    loss, start = output.sum() * 0.0, 0
    for codes, width in styles:
        known = codes[rows] >= 0
        if known.any():
            part = output[:, start : start + width][known]
            loss = loss + 0.2 * functional.cross_entropy(part, codes[rows][known])
        start += width
    return loss
