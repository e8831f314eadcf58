"""What a registered cohort holds of one study, as a reader of patient-level content is shown it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import CohortError, NotFoundError
from models_registry.cohorts import CohortReader, open_cohort
from models_registry.cohorts.images import ImageFault, decode_image
from models_registry.cohorts.schema import ColumnRole, ShardRef, role_of
from models_registry.cohorts.series import series_arrays
from models_registry.services.versions import model_store

LARGEST_SIDE = 1600
"""Pixels; a larger image is shown smaller."""


@dataclass(frozen=True, kw_only=True)
class HeldStudy:
    """One study of a cohort, without its image.

    Attributes:
        covariates: Column -> value as it is in the cohort, in the order of its columns; missing ones are None.
        labels: Label -> 1, 0, or None where the reference standard is silent.
        texts: Name -> text; without the expert's report unless it was asked for.
        series: Name -> float64 [t, 2] of (hours, value), in the order of time.
        has_image: There is an image to be asked for.
    """

    covariates: dict[str, Any]
    labels: dict[str, int | None]
    texts: dict[str, str] = field(default_factory=dict)
    series: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    has_image: bool = False


def held_study(cohort_digest: str, shard: int, study_id: str, *, with_reference: bool = False) -> HeldStudy:
    """What the cohort holds of a study.

    Args:
        with_reference: The expert's report is among the texts.

    Raises:
        NotFoundError: the share has no such study.
        DigestMismatchError: the share is not what was registered.
    """
    reader, part = _part(cohort_digest, shard)
    place = _place(reader, part, study_id)
    columns = [name for name in reader.manifest.columns if name not in {"image", "patient_id", "study_id"}]
    row = reader.table(part, columns).slice(place, 1)
    cells = {name: row[name] for name in columns}
    by_role = {role: [name for name in columns if role_of(name) is role] for role in ColumnRole}
    plain = (ColumnRole.COVARIATE, ColumnRole.STUDY_TIME, ColumnRole.SPLIT)
    series = {_short(name): series_arrays(cells[name].combine_chunks())[0] for name in by_role[ColumnRole.SERIES]}
    told = [name for name in by_role[ColumnRole.TEXT] if with_reference or name != "text.reference"]
    texts = {_short(name): cells[name][0].as_py() for name in told}
    return HeldStudy(
        covariates={name: cells[name][0].as_py() for name in columns if role_of(name) in plain},
        labels={_short(name): cells[name][0].as_py() for name in by_role[ColumnRole.LABEL]},
        texts={name: text for name, text in texts.items() if text},
        series={name: points for name, points in series.items() if points is not None},
        has_image="image" in reader.manifest.columns and _image(reader, part, place) is not None,
    )


def study_image(cohort_digest: str, shard: int, study_id: str) -> bytes:
    """The study's image as PNG, as it is decoded for a model; larger ones are made smaller.

    Raises:
        NotFoundError: the share has no such study, or the study no image.
        CohortError: the image cannot be decoded on this machine.
    """
    reader, part = _part(cohort_digest, shard)
    reader.table(part, ["study_id"])  # compares the share with its digest
    data = _image(reader, part, _place(reader, part, study_id)) if "image" in reader.manifest.columns else None
    if data is None:
        raise NotFoundError("This study has no image.", remedy="Go back to the study.")
    try:
        return _png(decode_image(data))
    except ImageFault as fault:
        raise CohortError(
            f"The image cannot be decoded on this machine: {fault.detail}.",
            remedy="Install the same image decoders as on the machine that registered the cohort.",
            column="image",
        ) from fault


def _short(column: str) -> str:
    return column.partition(".")[2]


def _part(cohort_digest: str, shard: int) -> tuple[CohortReader, ShardRef]:
    reader = _reader(model_store().folder_path(cohort_digest))
    if not 0 <= shard < len(reader.shards):
        raise NotFoundError("The cohort has no such share.", remedy="Begin at the list of studies.")
    return reader, reader.shards[shard]


@lru_cache(maxsize=4)
def _reader(folder: Path) -> CohortReader:
    """Readers stay: each compares a share with its digest once."""
    return open_cohort(folder)


def _place(reader: CohortReader, part: ShardRef, study_id: str) -> int:
    place: int = pc.index(reader.table(part, ["study_id"])["study_id"], study_id).as_py()
    if place < 0:
        raise NotFoundError("The cohort holds no such study.", remedy="Begin at the list of studies.")
    return place


def _image(reader: CohortReader, part: ShardRef, place: int) -> bytes | None:
    """The stored bytes of one image; only its row group is read."""
    with pq.ParquetFile(reader.folder / part.file, pre_buffer=False, memory_map=False) as file:
        for number in range(file.metadata.num_row_groups):
            size = file.metadata.row_group(number).num_rows
            if place < size:
                cell = file.read_row_group(number, columns=["image"], use_threads=False)["image"][place]
                found: bytes | None = cell.as_py()
                return found
            place -= size
    raise IndexError(place)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    sink = io.BytesIO()
    image.save(sink, format="PNG")
    return sink.getvalue()
