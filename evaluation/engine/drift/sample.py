"""A sample of studies with their streams: what the search for causes and the report of another library look at.

The sample is the ``size`` patients whose hash is least, one study of each, so that samples of shares merge to the
sample of the whole, in any order. Hashes depend on the protocol's seed. It is patient-level: it never leaves the
installation, and reading it is a permission.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.grouping import factorize, group_by
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.object_]
Ints = npt.NDArray[np.int64]
DIRECTIONS = 8
"""Leading coordinates of a vector that the sample keeps as numbers."""
HEADS = ("number.", "category.", "group.", "score.", "label.")


def hashes_of(patient_ids: Objects, *, seed: int) -> npt.NDArray[np.uint64]:
    """BLAKE2b-64 of each identifier, keyed with the seed: the same for whoever holds the patient."""
    key = str(seed).encode()[:64]
    digests = b"".join(blake2b(str(item).encode(), digest_size=8, key=key).digest() for item in patient_ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def one_study_each(patient_ids: Objects, study_ids: Objects, *, seed: int) -> Ints:
    """Rows of one study of each patient, the one whose hash is least, in the order of the table: int64 [patients]."""
    codes, uniques = factorize(patient_ids)
    if len(uniques) == len(patient_ids):
        return np.arange(len(patient_ids), dtype=np.int64)
    several = np.bincount(codes)[codes] > 1
    rows = np.flatnonzero(several)
    order = rows[np.argsort(hashes_of(study_ids[rows], seed=seed), kind="stable")]
    _, first = np.unique(codes[order], return_index=True)
    return np.sort(np.concatenate([np.flatnonzero(~several), order[first]])).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class DriftSample:
    """Studies of a sample, sorted by the hash of their patient. All arrays have length n.

    Attributes:
        keys: uint64, hash of the patient; ascending, no two alike.
        patient_ids, study_ids: Arrays of str.
        columns: Name -> float64 or object. ``number.<stream>`` (also ``number.<vector stream>[i]``, its leading
            coordinates), ``category.<stream>``, ``group.<attribute>``, ``score.<label>``,
            ``label.<label>`` (1, 0, NaN).
    """

    keys: npt.NDArray[np.uint64]
    patient_ids: Objects
    study_ids: Objects
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, protocol: Protocol, table: ShardTable) -> DriftSample:
        """The sample of one share, of at most ``protocol.drift.sample`` patients.

        Raises:
            AuscultError: the share has no streams: it was not read for drift.
        """
        if table.streams is None or protocol.drift is None:
            raise AuscultError("These studies were not read for drift.", remedy="Run them with a section 'drift'.")
        rows = one_study_each(table.patient_ids, table.study_ids, seed=protocol.seed)
        keys = hashes_of(table.patient_ids[rows], seed=protocol.seed)
        keys, first = np.unique(keys, return_index=True)
        rows, keys = rows[first][: protocol.drift.sample], keys[: protocol.drift.sample]
        columns = {name: values[rows] for name, values in _columns_of(protocol, table).items()}
        return cls(keys=keys, patient_ids=table.patient_ids[rows], study_ids=table.study_ids[rows], columns=columns)

    def merge(self, other: DriftSample, *, size: int) -> DriftSample:
        """The sample of both. A patient lies in one share; columns that one side lacks are missing there."""
        keys, first = np.unique(np.concatenate([self.keys, other.keys]), return_index=True)
        keys, first = keys[:size], first[:size]
        names = sorted({*self.columns, *other.columns})
        columns = {name: np.concatenate([_column(part, name) for part in (self, other)])[first] for name in names}
        return DriftSample(
            keys=keys,
            patient_ids=np.concatenate([self.patient_ids, other.patient_ids])[first],
            study_ids=np.concatenate([self.study_ids, other.study_ids])[first],
            columns=columns,
        )

    def to_bytes(self) -> bytes:
        """As an Arrow file; equal bytes for equal samples."""
        import pyarrow as pa
        import pyarrow.feather as feather

        arrays: dict[str, Any] = {
            "key": pa.array(self.keys, pa.uint64()),
            "patient_id": pa.array(self.patient_ids, pa.string()),
            "study_id": pa.array(self.study_ids, pa.string()),
        }
        for name in sorted(self.columns):
            values = self.columns[name]
            kind = pa.string() if values.dtype == object else pa.float64()
            arrays[name] = pa.array(values, kind, from_pandas=False)
        sink = io.BytesIO()
        feather.write_feather(pa.table(arrays), sink, compression="zstd")
        return sink.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> DriftSample:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        import pyarrow as pa
        import pyarrow.feather as feather

        try:
            table = feather.read_table(io.BytesIO(data))
            columns = {name: _values(table.column(name)) for name in table.column_names if name.startswith(HEADS)}
            return cls(
                keys=table.column("key").to_numpy(),
                patient_ids=_values(table.column("patient_id")),
                study_ids=_values(table.column("study_id")),
                columns=columns,
            )
        except (pa.ArrowException, KeyError, OSError) as error:
            raise AuscultError(
                "These bytes are not a sample that this version can read.", remedy="Run the window again."
            ) from error


def merge_samples(samples: list[DriftSample], *, size: int) -> DriftSample:
    """The sample of all shares; of none where there is none."""
    none = np.empty(0, dtype=object)
    merged = DriftSample(keys=np.zeros(0, dtype=np.uint64), patient_ids=none, study_ids=none)
    for sample in samples:
        merged = sample if not len(merged) else merged.merge(sample, size=size)
    return merged


def _columns_of(protocol: Protocol, table: ShardTable) -> dict[str, npt.NDArray[Any]]:
    assert table.streams is not None
    streams = table.streams
    columns: dict[str, npt.NDArray[Any]] = {f"number.{name}": values for name, values in streams.numbers.items()}
    columns |= {f"category.{name}": values for name, values in streams.categories.items()}
    for name, values in streams.vectors.items():
        leading = _coordinates(streams.frame, name, values)
        columns |= {f"number.{name}[{i}]": leading[:, i] for i in range(leading.shape[1])}
    for item in group_by(protocol, table)[: len(protocol.attributes)]:
        columns[f"group.{item.name}"] = np.array(item.groups, dtype=object)[item.codes]
    columns |= {f"score.{name}": table.scores[name] for name in protocol.label_names if name in table.scores}
    for name in protocol.label_names:
        if name in table.labels:
            truth = table.labels[name].astype(np.float64)
            columns[f"label.{name}"] = np.where(truth < 0, np.nan, truth)
    return columns


def _coordinates(frame: Any, name: str, values: npt.NDArray[np.float32]) -> Floats:
    """Leading coordinates in the frame of the reference; the vector's own where there is no frame yet."""
    if frame is None or name not in frame.vectors:
        return np.asarray(values[:, :DIRECTIONS], dtype=np.float64)
    projected: Floats = np.asarray(frame.vectors[name].project(values)[:, :DIRECTIONS], dtype=np.float64)
    return projected


def _column(sample: DriftSample, name: str) -> npt.NDArray[Any]:
    """A column of a sample, missing values where it has none."""
    if name in sample.columns:
        return sample.columns[name]
    if name.startswith(("category.", "group.")):
        return np.full(len(sample), None, dtype=object)
    return np.full(len(sample), np.nan)


def _values(column: Any) -> npt.NDArray[Any]:
    import pyarrow as pa

    if pa.types.is_string(column.type):
        made = np.empty(len(column), dtype=object)
        made[:] = column.to_pylist()
        return made
    return np.asarray(column.to_numpy(), dtype=np.float64)
