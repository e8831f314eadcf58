"""What is watched of covariates, series, and of which modalities a study has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.records import Shape
from models_registry.cohorts.schema import StudyBatch

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.object_]
Points = npt.NDArray[np.float64]
JOIN = " + "
NOTHING = "nothing"
MOST_MODALITIES = 10
"""Of a joint pattern; where there are more, series and covariates are told as all, some or none."""
LONGEST_CATEGORY = 120
FEW_VALUES = 50
A_TIME = "It holds times."
A_NAME = "Nearly every study has a value of its own: an identifier, or free text."
NO_VALUE = "No study of the reference has a value."


def kind_of(values: Sequence[Any], *, nominal: bool) -> Shape | str:
    """How a covariate is watched, by its values in the reference; in words why not, where it is not.

    Numbers are watched as numbers, unless they have at most two values, or are ``nominal``: codes of an attribute
    that the protocol does not cut into bands.
    """
    there = [value for value in values if value is not None]
    if not there:
        return NO_VALUE
    if any(isinstance(value, date | datetime | time) for value in there):
        return A_TIME
    distinct = set(there)
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in there)
    if numeric and not nominal and len(distinct) > 2:
        return Shape.NUMBER
    return A_NAME if len(distinct) > max(FEW_VALUES, len(there) / 2) else Shape.CATEGORY


def numbers_of(values: Sequence[Any]) -> Floats:
    """Values as float64 [n]; NaN where one is missing, is no number, or is not finite."""
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def categories_of(values: Sequence[Any]) -> Objects:
    """Values as text, object [n]; None where one is missing or blank. 2 and 2.0 are one category."""
    made = np.empty(len(values), dtype=object)
    made[:] = [_category(value) for value in values]
    return made


def _category(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = " ".join(str(value).split())
    return text[:LONGEST_CATEGORY] or None


def medians(series: Sequence[Points | None]) -> Floats:
    """Median of the values of each study, float64 [n]; NaN where there is none."""
    return np.array([_median(points) for points in series], dtype=np.float64)


def _median(points: Points | None) -> float:
    return math.nan if points is None or not len(points) else float(np.median(points[:, 1]))


def counts(series: Sequence[Points | None]) -> Floats:
    """Values of each study that has any, float64 [n]; NaN elsewhere: that none was taken is told by the mask."""
    found = np.array([0 if points is None else len(points) for points in series], dtype=np.float64)
    return np.where(found > 0, found, np.nan)


def rates(series: Sequence[Points | None]) -> Floats:
    """Values for each hour, ``(values - 1) / (last hour - first hour)``, float64 [n].

    NaN with fewer than two values, or all at one time.
    """
    return np.array([_rate(points) for points in series], dtype=np.float64)


def _rate(points: Points | None) -> float:
    if points is None or len(points) < 2:
        return math.nan
    hours = float(points[-1, 0] - points[0, 0])
    return (len(points) - 1) / hours if hours > 0 else math.nan


def values_of(batch: StudyBatch, modality: str) -> Sequence[Any]:
    """What the studies have of a modality or a column; None for each where the cohort has no such column."""
    head, _, name = modality.partition(".")
    nothing: list[Any] = [None] * len(batch)
    if modality == "image":
        return batch.images
    if head == "text" and name:
        return batch.texts.get(name, nothing)
    if head == "series" and name:
        return batch.series.get(name, nothing)
    return batch.covariates.get(modality, nothing)


def masks(batch: StudyBatch, modalities: Sequence[str]) -> Objects:
    """Which of the modalities each study has, as one category: ``image + text.indication``, object [n].

    Of more than ten, texts and images stand by name, series and covariates as ``all``, ``some`` or ``none``.
    """
    there = {name: [_given(value) for value in values_of(batch, name)] for name in modalities}
    folded: dict[str, list[str]] = {"series": [], "covariates": []}
    named = list(modalities)
    if len(modalities) > MOST_MODALITIES:
        named = [name for name in modalities if name == "image" or name.startswith("text.")]
        for name in modalities:
            if name not in named:
                folded["series" if name.startswith("series.") else "covariates"].append(name)
    made = np.empty(len(batch), dtype=object)
    for row in range(len(batch)):
        parts = [name for name in named if there[name][row]]
        for kind, names in folded.items():
            if names:
                have = sum(there[name][row] for name in names)
                parts.append(f"{'all' if have == len(names) else 'some' if have else 'no'} {kind}")
        made[row] = JOIN.join(parts) or NOTHING
    return made


def _given(value: Any) -> bool:
    """Whether a study has something: a blank text, an empty series and a NaN are nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    return bool(value.strip()) if isinstance(value, str) else len(value) > 0 if isinstance(value, np.ndarray) else True
