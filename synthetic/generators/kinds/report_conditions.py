"""What a report is told before its first word, as codes: plan and plan before, attributes, visit, readings, image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.conditions import (
    aligned,
    common_words,
    is_number_column,
    numbers_of,
    patient_numbers,
    words_of,
)
from synthetic.generators.plans import PARTS, UNTOLD
from synthetic.generators.studies import LinkedStudies, Readings

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
BINS = 5
MOST_CATEGORIES = 32
LAST_VISIT = 5
GRID = (4, 2)
"""Rows and columns of the regions of an image that are told apart: upper to lower, one side and the other."""
PLAN_CODES = {"present": 4, "side": 4, "zone": 4, "size": 4, "before": 4}
"""Codes of each part of a finding. Of ``present``: absent, present, not known, hidden (in training alone)."""
HIDDEN = 3


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """What n reports are told.

    Attributes:
        plan: int64 [n, F, 5], codes of PLAN_CODES in their order.
        more: int64 [n, M], codes of attributes, of the visit and of series, each with numbers of its own from 0 to the
            size of :attr:`ReportConditions.more_codes`.
        regions: float32 [n, R, P], latents of the regions of the image; ``has_image``: bool [n].
    """

    plan: Ints
    more: Ints
    regions: Floats
    has_image: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.plan)

    def rows(self, rows: npt.NDArray[Any]) -> Prefix:
        return replace(
            self, plan=self.plan[rows], more=self.more[rows], regions=self.regions[rows], has_image=self.has_image[rows]
        )


@dataclass(frozen=True, kw_only=True)
class ReportConditions:
    """How studies are written as codes.

    Attributes:
        cuts: Attribute or ``series.<name>`` -> ends of five bins of its numbers, of a series those of study means.
        categories: Attribute -> values that as many patients as ``rare_below`` have.
        middle, width: Of each channel of the latents; empty where no image was learnt from.
    """

    findings: tuple[str, ...]
    cuts: dict[str, tuple[float, ...]]
    categories: dict[str, tuple[str, ...]]
    middle: tuple[float, ...]
    width: tuple[float, ...]

    @property
    def more_codes(self) -> int:
        """How many codes there are besides those of plans."""
        return LAST_VISIT + 1 + (BINS + 1) * len(self.cuts) + sum(len(kinds) + 1 for kinds in self.categories.values())

    def prefix(self, studies: LinkedStudies, latents: Floats | None) -> Prefix:
        """The codes of studies. Without latents, or where a study has no image, the image is told as none."""
        columns, start = [np.minimum(studies.visits(), LAST_VISIT)], LAST_VISIT + 1
        for name, ends in self.cuts.items():
            values = _measured(studies, name)
            known = np.isfinite(values)
            columns.append(start + np.where(known, 1 + np.searchsorted(ends, np.where(known, values, 0.0)), 0))
            start += BINS + 1
        for name, kinds in self.categories.items():
            places = {kind: place + 1 for place, kind in enumerate(kinds)}
            given = words_of(studies.attributes.get(name), len(studies)).tolist()
            columns.append(start + np.array([places.get(word, 0) for word in given], dtype=np.int64))
            start += len(kinds) + 1
        regions = self._regions(studies, latents)
        shown = studies.has_image if latents is not None and self.middle else np.zeros(len(studies), dtype=np.bool_)
        return Prefix(
            plan=self._plan(studies), more=np.stack(columns, axis=1).astype(np.int64), regions=regions, has_image=shown
        )

    def _plan(self, studies: LinkedStudies) -> Ints:
        plans = aligned(studies.plans, self.findings)
        state = np.where(plans.present < 0, 2, plans.present).astype(np.int64)
        before = np.zeros_like(state)
        later = np.flatnonzero(studies.visits() > 0)
        before[later] = 1 + state[later - 1]
        parts = [plans.part(name).astype(np.int64) - UNTOLD for name in PARTS]
        return np.stack([state, *parts, before], axis=2)

    def _regions(self, studies: LinkedStudies, latents: Floats | None) -> Floats:
        if latents is None or not self.middle:
            return np.zeros((len(studies), 0, 0), dtype=np.float32)
        middle, width = (np.array(item, dtype=np.float32)[:, None, None] for item in (self.middle, self.width))
        return regions_of((latents - middle) / width)

    def to_dict(self) -> dict[str, Any]:
        return {
            "findings": list(self.findings), "cuts": {name: list(ends) for name, ends in self.cuts.items()},
            "categories": {name: list(kinds) for name, kinds in self.categories.items()},
            "middle": list(self.middle), "width": list(self.width),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> ReportConditions:
        return cls(
            findings=tuple(body["findings"]),
            cuts={name: tuple(ends) for name, ends in sorted(body["cuts"].items())},
            categories={name: tuple(kinds) for name, kinds in sorted(body["categories"].items())},
            middle=tuple(body["middle"]),
            width=tuple(body["width"]),
        )


def learn_report_conditions(studies: LinkedStudies, latents: Floats | None, *, rare_below: int) -> ReportConditions:
    """Bins, categories and the scale of latents, from the studies that are learnt from."""
    patients = patient_numbers(studies)
    cuts: dict[str, tuple[float, ...]] = {}
    categories: dict[str, tuple[str, ...]] = {}
    for name, values in studies.attributes.items():
        if is_number_column(values):
            cuts |= _cuts(name, numbers_of(values, len(studies)), patients, rare_below)
        elif common := common_words(words_of(values, len(studies)), patients, rare_below)[:MOST_CATEGORIES]:
            categories[name] = common
    for name in studies.series:
        cuts |= _cuts(f"series.{name}", _measured(studies, f"series.{name}"), patients, rare_below)
    middle: tuple[float, ...] = ()
    width: tuple[float, ...] = ()
    if latents is not None and studies.has_image.any():
        shown = latents[studies.has_image].astype(np.float64)
        middle = tuple(shown.mean(axis=(0, 2, 3)).tolist())
        width = tuple(np.maximum(shown.std(axis=(0, 2, 3)), 1e-6).tolist())
    return ReportConditions(
        findings=studies.plans.findings, cuts=dict(sorted(cuts.items())), categories=dict(sorted(categories.items())),
        middle=middle, width=width,
    )  # fmt: skip


def _cuts(name: str, values: npt.NDArray[np.float64], patients: Ints, rare_below: int) -> dict[str, tuple[float, ...]]:
    there = np.isfinite(values)
    if len(np.unique(patients[there])) < BINS * rare_below:
        return {}
    return {name: tuple(np.quantile(values[there], np.arange(1, BINS) / BINS).tolist())}


def _measured(studies: LinkedStudies, name: str) -> npt.NDArray[np.float64]:
    """Numbers [n] of an attribute, or means over the readings of a series; NaN where there is none."""
    if not name.startswith("series.") or name in studies.attributes:
        return numbers_of(studies.attributes.get(name), len(studies))
    nothing: Readings = [None] * len(studies)
    found = np.full(len(studies), np.nan)
    for row, item in enumerate(studies.series.get(name.removeprefix("series."), nothing)):
        values = np.zeros(0) if item is None else item[np.isfinite(item[:, 1]), 1]
        if len(values):
            found[row] = values.mean()
    return found


def regions_of(latents: Floats) -> Floats:
    """[n, rows x columns, P] regions of latents [n, channels, h, w]; edges that do not divide are padded with zeros."""
    n, channels, height, width = latents.shape
    down, across = -(-height // GRID[0]), -(-width // GRID[1])
    spare = ((0, 0), (0, 0), (0, down * GRID[0] - height), (0, across * GRID[1] - width))
    whole = np.pad(latents, spare).reshape(n, channels, GRID[0], down, GRID[1], across)
    found: Floats = whole.transpose(0, 2, 4, 1, 3, 5).reshape(n, GRID[0] * GRID[1], channels * down * across)
    return np.ascontiguousarray(found, dtype=np.float32)
