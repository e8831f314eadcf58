"""Reads a registered cohort: batches of studies for a model, columns for an audit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.digests import sha256_file
from core.errors import CohortError, DigestMismatchError
from models_registry.cohorts.conversion import read_manifest
from models_registry.cohorts.images import ImageFault, Pixels, decode_image
from models_registry.cohorts.schema import CohortManifest, ColumnRole, ShardRef, StudyBatch, role_of
from models_registry.cohorts.series import series_arrays

Objects = npt.NDArray[np.object_]
NULLS_AT_ONCE = 64
"""Studies whose column is held at once to see where it is empty: of images, as many as a model is given."""


@dataclass(frozen=True, kw_only=True)
class ReferenceTable:
    """Who the studies are of and what the reference standard says. All arrays have length n.

    Attributes:
        patient_ids, study_ids: Arrays of str.
        attributes: Name -> array of object: str, int, float, or None where it is missing.
        labels: Label -> int8: 1, 0, or -1 where the reference standard is silent.
        texts: Name -> array of object: str or None. Only the texts that were asked for.
    """

    patient_ids: Objects
    study_ids: Objects
    attributes: dict[str, Objects]
    labels: dict[str, npt.NDArray[np.int8]]
    texts: dict[str, Objects] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.patient_ids)


def open_cohort(folder: Path) -> CohortReader:
    """Open a registered cohort.

    Raises:
        CohortError: when the folder is none.
    """
    return CohortReader(folder, read_manifest(folder))


class CohortReader:
    """A registered cohort. A shard may be given as its :class:`ShardRef` or its index.

    With ``verify=True`` a shard's SHA-256 is compared with the manifest's before a row of it is read; a shard that
    was found whole by this reader is not hashed again.
    """

    def __init__(self, folder: Path, manifest: CohortManifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._verified: set[int] = set()

    @property
    def shards(self) -> tuple[ShardRef, ...]:
        return self.manifest.shards

    def batches(self, shard: ShardRef | int, *, batch_size: int = 64, verify: bool = True) -> Iterator[StudyBatch]:
        """The shard's studies with decoded images, in the shard's order.

        Raises:
            DigestMismatchError: when the shard is not what was registered.
            CohortError: for an image that cannot be decoded on this machine.
        """
        path = self._path(shard, verify)
        seen = 0
        with pq.ParquetFile(path, pre_buffer=False, memory_map=False) as file:
            for batch in file.iter_batches(batch_size=batch_size, use_threads=False):
                yield _study_batch(batch, path.name, np.arange(seen, seen + len(batch)))
                seen += len(batch)

    def studies(
        self, shard: ShardRef | int, rows: Sequence[int], *, columns: Sequence[str] | None = None, verify: bool = True
    ) -> StudyBatch:
        """Some studies of a shard with decoded images; only the row groups that they lie in are read.

        Args:
            rows: Places in the shard's order, rising, each once.
            columns: Those of the cohort that are wanted, ``image`` or ``text.indication``; all of them when None.

        Raises:
            DigestMismatchError, CohortError: as :meth:`batches`.
        """
        path, wanted = self._path(shard, verify), np.asarray(rows, dtype=np.int64)
        named = None if columns is None else list(dict.fromkeys(["patient_id", "study_id", *columns]))
        parts: list[pa.Table] = []
        with pq.ParquetFile(path, pre_buffer=False, memory_map=False) as file:
            start = 0
            for number in range(file.metadata.num_row_groups):
                end = start + file.metadata.row_group(number).num_rows
                here = wanted[(wanted >= start) & (wanted < end)] - start
                if len(here):
                    parts.append(file.read_row_group(number, columns=named, use_threads=False).take(pa.array(here)))
                start = end
            schema = file.schema_arrow
        table = pa.concat_tables(parts) if parts else schema.empty_table()
        whole = table.combine_chunks().to_batches()
        batch = whole[0] if whole else pa.RecordBatch.from_pylist([], schema=table.schema)
        return _study_batch(batch, path.name, wanted)

    def missing(self, shard: ShardRef | int, column: str, *, verify: bool = True) -> npt.NDArray[np.bool_]:
        """Which studies of a shard lack a column: bool [n]. Images are not decoded; raises like :meth:`table`."""
        if column not in self.manifest.columns:
            raise CohortError(
                "The cohort has no such column.",
                remedy=f"Use one of: {', '.join(self.manifest.columns)}.",
                file=self.folder.name,
                column=column,
            )
        with pq.ParquetFile(self._path(shard, verify), pre_buffer=False, memory_map=False) as file:
            batches = file.iter_batches(batch_size=NULLS_AT_ONCE, columns=[column], use_threads=False)
            found = [batch.column(0).is_null().to_numpy(zero_copy_only=False) for batch in batches]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.bool_)

    def table(self, shard: ShardRef | int, columns: Sequence[str] | None = None, *, verify: bool = True) -> pa.Table:
        """Columns of a shard as they are stored; all but the images when ``columns`` is None.

        Raises:
            CohortError: for a column that the cohort does not have.
            DigestMismatchError: when the shard is not what was registered.
        """
        wanted = [c for c in self.manifest.columns if c != "image"] if columns is None else list(columns)
        for name in wanted:
            if name not in self.manifest.columns:
                raise CohortError(
                    "The cohort has no such column.",
                    remedy=f"Use one of: {', '.join(self.manifest.columns)}.",
                    file=self.folder.name,
                    column=name,
                )
        with pq.ParquetFile(self._path(shard, verify), pre_buffer=False, memory_map=False) as file:
            return file.read(columns=wanted, use_threads=False).select(wanted)

    def reference(
        self, shard: ShardRef | int, attributes: Sequence[str] = (), *, texts: Sequence[str] = (), verify: bool = True
    ) -> ReferenceTable:
        """Identifiers, attributes and all labels of a shard; raises like :meth:`table`.

        Args:
            attributes: Columns, such as ``age`` or ``split``.
            texts: Names of texts: ``reference`` is the column ``text.reference``.
        """
        labels = [name for name in self.manifest.columns if role_of(name) is ColumnRole.LABEL]
        said = {name: f"text.{name}" for name in texts}
        wanted = list(dict.fromkeys(["patient_id", "study_id", *labels, *attributes, *said.values()]))
        table = self.table(shard, wanted, verify=verify)
        return ReferenceTable(
            patient_ids=objects(table.column("patient_id")),
            study_ids=objects(table.column("study_id")),
            attributes={name: objects(table.column(name)) for name in attributes},
            labels={name.partition(".")[2]: signs(table.column(name)) for name in labels},
            texts={name: objects(table.column(column)) for name, column in said.items()},
        )

    def _path(self, shard: ShardRef | int, verify: bool) -> Path:
        ref = self.shards[shard] if isinstance(shard, int) else shard
        path = self.folder / ref.file
        if not path.is_file():
            raise DigestMismatchError(
                f"{ref.file} is missing from the registered cohort.",
                remedy="Restore it from the backup.",
                file=str(path),
            )
        if verify and ref.index not in self._verified:
            if sha256_file(path) != ref.digest:
                raise DigestMismatchError(
                    f"{ref.file} was changed since the cohort was registered.",
                    remedy="Restore it from the backup, or register the changed cohort as a new version.",
                    file=str(path),
                )
            self._verified.add(ref.index)
        return path


def objects(column: pa.ChunkedArray) -> Objects:
    """Values as Python objects, None where missing; equal texts share one object. Times become ISO text."""
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    table = np.empty(len(encoded.dictionary), dtype=object)
    values = encoded.dictionary.to_pylist()
    table[:] = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    made: Objects = table[encoded.indices.to_numpy(zero_copy_only=False)]
    return made


def signs(column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    """1, 0, or -1 where missing."""
    filled = pc.fill_null(column, pa.scalar(-1, pa.int8())).combine_chunks()
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.int8)


def _study_batch(batch: pa.RecordBatch, file: str, places: npt.NDArray[np.int64]) -> StudyBatch:
    texts: dict[str, list[str | None]] = {}
    series: dict[str, list[npt.NDArray[np.float64] | None]] = {}
    covariates: dict[str, list[Any]] = {}
    images: list[Pixels | None] = [None] * len(batch)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        role, short = role_of(name), name.partition(".")[2]
        if role is ColumnRole.IMAGE:
            images = [_decoded(cell.as_py(), file, int(place) + 1) for place, cell in zip(places, column, strict=True)]
        elif role is ColumnRole.TEXT:
            texts[short] = column.to_pylist()
        elif role is ColumnRole.SERIES:
            series[short] = series_arrays(column)
        elif role is ColumnRole.COVARIATE:
            covariates[name] = column.to_pylist()
    return StudyBatch(
        study_ids=tuple(batch.column("study_id").to_pylist()),
        patient_ids=tuple(batch.column("patient_id").to_pylist()),
        images=images,
        texts=texts,
        series=series,
        covariates=covariates,
    )


def _decoded(data: bytes | None, file: str, row: int) -> Pixels | None:
    if data is None:
        return None
    try:
        return decode_image(data)
    except ImageFault as fault:
        raise CohortError(
            f"The image cannot be decoded on this machine: {fault.detail}.",
            remedy="Install the same image decoders as on the machine that registered the cohort.",
            file=file,
            column="image",
            row=row,
        ) from fault
