"""The flow over rows of numbers, trained with differential privacy: what series and images share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthetic.generators.networks.flows_series import FlowSize, SeriesFlow
from synthetic.generators.networks.running import first_weights
from synthetic.generators.private.descent import Descent, descend

DRAWS = 4
"""Times and noises at which a patient's loss is taken: they cost nothing, as the gradient of their mean is cut once."""


def train_private_flow(
    rows: npt.NDArray[np.float64],
    there: npt.NDArray[np.float64],
    conditions: npt.NDArray[np.float64],
    by_patient: Sequence[npt.NDArray[np.int64]],
    descent: Descent,
    told: Callable[[int], None],
    *,
    width: int = 64,
) -> SeriesFlow:
    """A flow that makes rows [n, D], of which ``there`` is 1 or 0, from conditions [n, C]."""
    with first_weights(descent.seed):
        made = SeriesFlow(FlowSize(columns=rows.shape[1], conditions=conditions.shape[1], width=width, blocks=1))
    columns = {
        name: torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        for name, values in (("rows", rows), ("there", there), ("conditions", conditions))
    }
    return descend(made, _loss, columns, by_patient, descent, told)  # type: ignore[no-any-return]


def _loss(flow: SeriesFlow, study: dict[str, Tensor]) -> Tensor:
    """Mean squared error of velocities over what is there, at several draws."""
    data, mask, given = (study[name].expand(DRAWS, -1) for name in ("rows", "there", "conditions"))
    start, time = torch.randn(data.shape), torch.rand(DRAWS)
    place = (1 - time)[:, None] * start + time[:, None] * data
    error = (flow(place, time, mask, given) - (data - start)) * mask
    return (error**2).sum() / mask.sum().clamp(min=1)
