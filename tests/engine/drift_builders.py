"""Studies with streams, made up: what the tests of drift sketch and compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.frame import DriftFrame
from evaluation.engine.drift.records import Family, Shape, StreamSpec, StudyStreams
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable

SHAPES = {Family.NUMERIC: Shape.NUMBER, Family.SERIES: Shape.NUMBER, Family.MASK: Shape.CATEGORY}


def watching(*attributes: str, criteria: list[dict[str, Any]] | None = None, **drift: Any) -> Protocol:
    """A protocol of the drift suite."""
    rule = {"id": "numbers", "metric": "numeric_shift", "direction": "at_most", "margin": 0.2}
    return Protocol.from_dict(
        {
            "auscult_protocol": 1,
            "name": "watch",
            "title": "Watch",
            "suites": ["drift"],
            "labels": [],
            "attributes": [{"name": name} for name in attributes],
            "criteria": [{"title": "Numbers stay", **item} for item in criteria or [rule]],
            "drift": drift,
        }
    )


def spec(name: str, family: Family = Family.NUMERIC, unit: str = "") -> StreamSpec:
    """A stream of numbers or categories."""
    shape = SHAPES.get(family, Shape.CATEGORY)
    return StreamSpec(name=name, family=family, shape=shape, title=name, modality=name, unit=unit)


def numbers_like(values: dict[str, npt.ArrayLike], unit: dict[str, str] | None = None) -> list[StreamSpec]:
    """Their streams: those called ``series.*`` are of series."""
    return [
        spec(name, Family.SERIES if name.startswith("series.") else Family.NUMERIC, (unit or {}).get(name, ""))
        for name in values
    ]


def studies(
    numbers: dict[str, npt.ArrayLike] | None = None,
    categories: dict[str, npt.ArrayLike] | None = None,
    *,
    patients: list[str] | None = None,
    prefix: str = "p",
    units: dict[str, str] | None = None,
    **attributes: npt.ArrayLike,
) -> ShardTable:
    """One study for each patient, unless ``patients`` says whose they are. ``mask`` is of the mask's family."""
    given = {name: np.asarray(values, dtype=np.float64) for name, values in (numbers or {}).items()}
    kinds = {name: np.asarray(values, dtype=object) for name, values in (categories or {}).items()}
    columns = [*given.values(), *kinds.values(), *(np.asarray(values) for values in attributes.values())]
    n = len(columns[0])
    ids = np.array(patients or [f"{prefix}{row}" for row in range(n)], dtype=object)
    of_kinds = [spec(name, Family.MASK if name == "mask" else Family.CATEGORICAL) for name in kinds]
    specs = (*numbers_like(dict(given), units), *of_kinds)
    return ShardTable(
        patient_ids=ids,
        study_ids=np.array([f"{prefix}s{row}" for row in range(n)], dtype=object),
        attributes={name: np.asarray(values, dtype=object) for name, values in attributes.items()},
        labels={},
        streams=StudyStreams(specs=specs, numbers=given, categories=kinds, frame=DriftFrame(specs=specs)),
    )


def sketched(protocol: Protocol, *args: Any, **given: Any) -> DriftSketch:
    """The sketch of :func:`studies`."""
    return DriftSketch.from_table(protocol, studies(*args, **given))
