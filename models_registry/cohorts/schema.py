"""The file contract of a cohort, as types. The words are in ``docs/cohorts.md``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from core.digests import sha256_json


class ColumnRole(StrEnum):
    """What a column is, told by its canonical name."""

    PATIENT_ID = "patient_id"
    STUDY_ID = "study_id"
    STUDY_TIME = "study_time"
    SPLIT = "split"
    LABEL = "label"
    SCORE = "score"
    PRED = "pred"
    TRUNCATED = "truncated"
    TEXT = "text"
    IMAGE = "image"
    SERIES = "series"
    COVARIATE = "covariate"


def role_of(column: str) -> ColumnRole:
    """The role of a column by its canonical name: ``label.effusion`` is a label, ``sex`` is a covariate."""
    if column in {"patient_id", "study_id", "study_time", "split", "image"}:
        return ColumnRole(column)
    head, dot, tail = column.partition(".")
    if dot and tail and head in {"label", "score", "pred", "truncated", "text", "series"}:
        return ColumnRole(head)
    return ColumnRole.COVARIATE


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something found in a file. Errors stop a registration; warnings are shown and kept with the cohort.

    Attributes:
        code: Stable identifier, such as ``missing-column``, ``duplicate-study``, ``implausible-age``.
        row: First data row it was found in, counted from 1; None when it concerns the whole file or column.
        count: In how many rows.
    """

    severity: str
    code: str
    message: str
    remedy: str
    file: str = ""
    column: str | None = None
    row: int | None = None
    count: int = 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ShardRef:
    """One share of a registered cohort's patients: a Parquet file in the cohort's folder, sorted by patient."""

    index: int
    file: str
    digest: str
    n_studies: int
    n_patients: int


@dataclass(frozen=True, kw_only=True)
class CohortManifest:
    """Content of a registered cohort. ``digest`` is the SHA-256 of ``to_dict()`` in canonical JSON.

    Attributes:
        columns: Canonical column names in order.
        source_digest: SHA-256 of the file it was made from.
        summary: Counts for people: labels with prevalence, attributes with counts per value, modalities with
            coverage, warnings. No rows.
    """

    n_studies: int
    n_patients: int
    columns: tuple[str, ...]
    shards: tuple[ShardRef, ...]
    source_digest: str
    summary: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "columns": list(self.columns),
            "shards": [asdict(shard) for shard in self.shards],
        }

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> CohortManifest:
        """Read what :meth:`to_dict` wrote."""
        shards = tuple(ShardRef(**shard) for shard in body["shards"])
        return cls(**{**body, "columns": tuple(body["columns"]), "shards": shards})

    @property
    def digest(self) -> str:
        return sha256_json(self.to_dict())


@dataclass(frozen=True, kw_only=True)
class StudyBatch:
    """A batch of n studies on its way into a model. Every list has length n; None where a modality is missing.

    Attributes:
        images: uint8 arrays, H x W (grey) or H x W x 3.
        texts: Name -> texts.
        series: Name -> float64 arrays [t, 2] of (time in hours, value), in the order of time.
        covariates: Name -> values as they are in the cohort (demographics and further numeric columns).
    """

    study_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    images: list[npt.NDArray[np.uint8] | None]
    texts: dict[str, list[str | None]] = field(default_factory=dict)
    series: dict[str, list[npt.NDArray[np.float64] | None]] = field(default_factory=dict)
    covariates: dict[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.study_ids)

    def rows(self, start: int, end: int) -> StudyBatch:
        """The studies from ``start`` up to ``end``, left out."""
        part = slice(start, end)
        return StudyBatch(
            study_ids=self.study_ids[part],
            patient_ids=self.patient_ids[part],
            images=self.images[part],
            texts={name: values[part] for name, values in self.texts.items()},
            series={name: values[part] for name, values in self.series.items()},
            covariates={name: values[part] for name, values in self.covariates.items()},
        )
