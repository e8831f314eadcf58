"""The learner of the suite on utility: images, attributes and series in a small network, the same in every arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.studies import LinkedStudies, Pixels
from synthetic.suites.likeness_columns import SERIES, Column, frame, schema
from synthetic.suites.likeness_reader import AT_ONCE, BATCH, EPOCHS, WIDTH, batches, scaled, small_network

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
STEPS = 500
HIDDEN = 48


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """n studies as the learner takes them.

    Attributes:
        images: uint8 [n, size, size]; None where the cohort has none.
        has_image: float32 [n].
        table: float32 [n, d], attributes and what series come to.
        labels: float32 [n, labels], NaN where unknown.
        patients: object [n], names.
    """

    images: Pixels | None
    has_image: Floats
    table: Floats
    labels: Floats
    patients: npt.NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, rows: Ints | npt.NDArray[np.bool_]) -> Inputs:
        return Inputs(
            images=None if self.images is None else self.images[rows],
            has_image=self.has_image[rows],
            table=self.table[rows],
            labels=self.labels[rows],
            patients=self.patients[rows],
        )

    @classmethod
    def joined(cls, parts: Sequence[Inputs]) -> Inputs:
        images = [part.images for part in parts if part.images is not None]
        return cls(
            images=np.concatenate(images) if len(images) == len(parts) else None,
            has_image=np.concatenate([part.has_image for part in parts]),
            table=np.concatenate([part.table for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            patients=np.concatenate([part.patients for part in parts]),
        )


class InputMaker:
    """How studies become inputs: the columns, their scales and categories are the readers'.

    Reports are left out, for they tell the labels; so are plans.
    """

    def __init__(self, readers: LinkedStudies, labels: Sequence[str], *, images: bool) -> None:
        self.labels = tuple(labels)
        self._images = images
        known = schema((readers,))
        self.columns = tuple(item for item in known if item.name in readers.attributes or item.table == SERIES)
        made = frame(readers, self.columns)
        self._scales = {
            item.name: _scale(made.values[item.name])
            for item in self.columns
            if item.numeric and np.isfinite(made.values[item.name]).any()
        }

    def __call__(self, studies: LinkedStudies) -> Inputs:
        made = frame(studies, self.columns)
        parts = [self._part(item, made.values[item.name]) for item in self.columns]
        labels = [np.where(studies.labels[name] < 0, np.nan, studies.labels[name]) for name in self.labels]
        return Inputs(
            images=studies.images if self._images else None,
            has_image=studies.has_image.astype(np.float32),
            table=np.concatenate([np.ones((len(studies), 1)), *parts], axis=1).astype(np.float32),
            labels=np.column_stack(labels).astype(np.float32),
            patients=studies.patient_ids,
        )

    def _part(self, column: Column, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """A number in units of its spread with a sign where it is missing, or a category as indicators."""
        if not column.numeric:
            indicators: npt.NDArray[np.float64] = 1.0 * (values[:, None] == np.arange(len(column.codes))[None, :])
            return indicators
        middle, spread = self._scales.get(column.name, (0.0, 1.0))
        numbers = np.clip((values - middle) / spread, -5, 5)
        return np.column_stack([np.nan_to_num(numbers), np.isnan(values)])


def _scale(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Median, and half the distance of the 16th and 84th percentile: a few wild values do not move them."""
    low, middle, high = np.nanpercentile(values, [16, 50, 84])
    return float(middle), float((high - low) / 2) or 1.0


def full_steps(count: int, steps: int) -> int:
    """Training steps for so many studies: at most ``steps``, and no study more than EPOCHS times."""
    return min(steps, max(1, EPOCHS * count // BATCH))


class Learner:
    """A network that is taught in one or more lessons, and gives scores."""

    def __init__(self, like: Inputs, *, seed: int) -> None:
        import torch

        self._rng = generator(seed, "utility learner")
        with fixed_threads(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self._rng.integers(2**31)))
            self._network = _fusion(like)

    def learn(self, inputs: Inputs, *, steps: int) -> None:
        """One lesson of so many steps."""
        import torch
        from torch.nn import functional

        with fixed_threads(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self._rng.integers(2**31)))
            optimiser = torch.optim.AdamW(self._network.parameters(), lr=2e-3, weight_decay=1e-2)
            pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps + 1)
            labels = torch.from_numpy(inputs.labels)
            self._network.train()
            for rows in batches(len(inputs), steps, self._rng):
                known = ~torch.isnan(labels[rows])
                if len(rows) < 2 or not known.any():
                    continue
                told = self._network(*_given(inputs, rows))
                loss = functional.binary_cross_entropy_with_logits(told[known], labels[rows][known])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                pace.step()
            self._network.eval()

    def scores(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Log odds [n, labels]."""
        import torch

        parts = [np.zeros((0, inputs.labels.shape[1]))]
        with fixed_threads(), torch.inference_mode():
            for start in range(0, len(inputs), AT_ONCE):
                rows = np.arange(start, min(start + AT_ONCE, len(inputs)))
                parts.append(self._network(*_given(inputs, rows)).double().numpy())
        return np.concatenate(parts)


def _given(inputs: Inputs, rows: Ints) -> tuple[Any, Any, Any]:
    import torch

    pixels = None if inputs.images is None else scaled(inputs.images[rows])
    return pixels, torch.from_numpy(inputs.has_image[rows]), torch.from_numpy(inputs.table[rows])


def _fusion(like: Inputs) -> Any:
    import torch
    from torch import nn

    class Fusion(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.picture = None if like.images is None else small_network(1, like.images.shape[-1])
            self.table = nn.Sequential(nn.Linear(like.table.shape[1], HIDDEN), nn.ReLU(), nn.Dropout(0.1))
            self.head = nn.Linear(HIDDEN + (WIDTH if self.picture is not None else 0), like.labels.shape[1])

        def forward(self, pixels: Any, has_image: Any, table: Any) -> Any:
            parts = [self.table(table)]
            if self.picture is not None:
                parts.append(self.picture(pixels)[1] * has_image[:, None])
            return self.head(torch.cat(parts, dim=1))

    return Fusion()
