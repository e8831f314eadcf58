"""Small protocols and tables of written reports for the engine's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.engine import Protocol, ShardTable

CLEAR = "The heart is of normal size. No effusion, pneumothorax or consolidation."
CRITERION = {
    "id": "omission", "metric": "omission_difference", "attribute": "sex", "direction": "at_most", "margin": 0.1,
}  # fmt: skip


def report_protocol(**changes: Any) -> Protocol:
    """A protocol of a report generator: no labels, sex, a criterion on omission."""
    body: dict[str, Any] = {
        "auscult_protocol": 1,
        "name": "reports-v1",
        "title": "Reports",
        "labels": [],
        "attributes": [{"name": "sex"}],
        "reports": {"findings": ["*"]},
        "criteria": [CRITERION],
    }
    body |= changes
    if body["reports"] is None:
        del body["reports"]
        body["criteria"] = [CRITERION | {"metric": "equal_opportunity_difference"}]
    return Protocol.from_dict(body)


def report_table(
    patients: Sequence[str],
    attributes: Mapping[str, Sequence[str | None]],
    references: Sequence[str | None],
    generated: Sequence[str | None],
) -> ShardTable:
    def array(values: Sequence[str | None]) -> np.ndarray:
        made = np.empty(len(values), dtype=object)
        made[:] = values
        return made

    return ShardTable(
        patient_ids=array(patients),
        study_ids=array([f"s{index}" for index in range(len(patients))]),
        attributes={name: array(values) for name, values in attributes.items()},
        labels={},
        texts={"reference": array(references), "generated": array(generated)},
    )
