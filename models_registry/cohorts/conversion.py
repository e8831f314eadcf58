"""Turns a file into a registered cohort: shards by patient, sorted, typed, named by digest."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.digests import canonical_json, sha256_file
from core.errors import CohortError
from models_registry.cohorts.inspection import (
    Inspection,
    Progress,
    image_folder,
    inspect_cohort,
    is_prediction,
    part_of,
    tracked,
)
from models_registry.cohorts.mapping import Mapping, ResolvedColumn, resolve
from models_registry.cohorts.normalise import Normaliser, cast_covariates
from models_registry.cohorts.problems import ProblemLog, error_of
from models_registry.cohorts.schema import CohortManifest, ShardRef
from models_registry.cohorts.source import open_source
from models_registry.cohorts.spool import hash_ids, room_on_disk

MANIFEST = "manifest.json"
STUDIES_PER_SHARD_WITH_IMAGES = 384
STUDIES_PER_SHARD = 1024
MAX_SHARDS = 256
ROW_GROUP_WITH_IMAGES = 64
ROW_GROUP = 4096
ROW_GROUP_BYTES = 32 << 20
BLOB = "images.blob"
PLACE = pa.struct([pa.field("offset", pa.int64()), pa.field("length", pa.int64())])


def convert_cohort(
    path: Path, *, mapping: Mapping | None, destination: Path, progress: Progress | None = None
) -> CohortManifest:
    """Check a cohort file and write it as a folder of shards with a manifest.

    The same file, images and mapping give the same bytes (with the same version of Arrow). A patient's studies are
    all in one shard, decided by a hash of the patient's identifier. The folder appears complete or not at all.

    Args:
        destination: A folder that does not exist yet.
        progress: Called with a share from 0 to 1 and a sentence.

    Raises:
        CohortError: the first error of the file, with the number of the others; or ``destination`` exists.
    """
    mapping = mapping or Mapping()
    if destination.exists():
        raise CohortError("The folder exists already.", remedy="Choose a new folder.", file=str(destination))
    state = _state(path)
    inspection = inspect_cohort(path, mapping=mapping, progress=part_of(progress, 0.0, 0.5))
    if (error := error_of(inspection.problems)) is not None:
        raise error
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        with room_on_disk(staging):
            manifest = _write(path, mapping, inspection, staging, progress)
        if _state(path) != state:
            raise CohortError(
                "The file was changed while it was read.", remedy="Start the import again.", file=path.name
            )
        staging.rename(destination)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def _state(path: Path) -> tuple[int, int] | None:
    return (path.stat().st_size, path.stat().st_mtime_ns) if path.exists() else None


def _write(
    path: Path, mapping: Mapping, inspection: Inspection, staging: Path, progress: Progress | None
) -> CohortManifest:
    summary = dict(inspection.summary)
    with_images = summary["modalities"].get("image", 0.0) > 0
    per_shard = STUDIES_PER_SHARD_WITH_IMAGES if with_images else STUDIES_PER_SHARD
    n_shards = min(MAX_SHARDS, max(1, round(summary["n_studies"] / per_shard)))
    with tempfile.TemporaryDirectory(prefix=".spool.", dir=staging.parent) as spool:
        names = _spool(path, mapping, inspection, Path(spool), n_shards, part_of(progress, 0.5, 0.85))
        pa.default_memory_pool().release_unused()
        report = part_of(progress, 0.85, 1.0)
        shards: list[ShardRef] = []
        for number in range(n_shards):
            source = Path(spool) / f"{number}.arrow"
            if source.exists():
                shards.append(_write_shard(source, staging, len(shards)))
                source.unlink()
            if report is not None:
                report((number + 1) / n_shards, f"Writing shard {number + 1} of {n_shards}")
    for key in ("scores", "decisions"):
        summary.pop(key)
    for key in ("columns", "modalities"):
        summary[key] = {name: value for name, value in summary[key].items() if name in names}
    manifest = CohortManifest(
        n_studies=summary["n_studies"],
        n_patients=summary["n_patients"],
        columns=names,
        shards=tuple(shards),
        source_digest=sha256_file(path),
        summary=summary,
    )
    (staging / MANIFEST).write_bytes(canonical_json(manifest.to_dict()))
    staging.chmod(0o700)
    return manifest


def _spool(
    path: Path,
    mapping: Mapping,
    inspection: Inspection,
    spool: Path,
    n_shards: int,
    progress: Progress | None,
) -> tuple[str, ...]:
    """Second pass: every study to the temporary file of its patient's shard. Returns the columns."""
    log = ProblemLog(path.name)
    source = open_source(path, mapping, log)
    plan = registered(resolve(source.columns, mapping, log))
    images = image_folder(path, mapping)
    normaliser = Normaliser(plan, mapping=mapping, typed=source.typed, images=images, log=log, check_images=False)
    with ExitStack() as stack:
        sink = _ShardSpool(spool, n_shards, stack)
        for chunk in tracked(source, normaliser.plan, log, progress, "Sorting by patient"):
            sink.write(cast_covariates(normaliser.apply(chunk), inspection.types))
    if (error := error_of(log.problems())) is not None:
        raise error
    return tuple(column.name for column in normaliser.plan)


def registered(plan: tuple[ResolvedColumn, ...]) -> tuple[ResolvedColumn, ...]:
    """The columns that belong to a cohort: all but predictions."""
    return tuple(column for column in plan if not is_prediction(column))


class _ShardSpool:
    """One Arrow stream on disk per shard; keeps nothing in memory. Images go to one common file, and their places
    (``image`` becomes a struct of offset and length) into the streams, so that sorting never moves them."""

    def __init__(self, folder: Path, n_shards: int, stack: ExitStack) -> None:
        self._folder, self._n, self._stack = folder, n_shards, stack
        self._writers: dict[int, Any] = {}
        self._blob = stack.enter_context((folder / BLOB).open("wb"))

    def write(self, batch: pa.RecordBatch) -> None:
        if "image" in batch.schema.names:
            at = batch.schema.get_field_index("image")
            batch = batch.set_column(at, "image", self._stored(batch.column(at)))
        for shard, part in by_patient(batch, self._n):
            if shard not in self._writers:
                target = str(self._folder / f"{shard}.arrow")
                self._writers[shard] = self._stack.enter_context(pa.ipc.new_stream(target, batch.schema))
            self._writers[shard].write_batch(part)

    def _stored(self, images: pa.Array) -> pa.Array:
        places: list[dict[str, int] | None] = []
        for image in images:
            data = image.as_py()
            places.append(None if data is None else {"offset": self._blob.tell(), "length": len(data)})
            self._blob.write(data or b"")
        return pa.array(places, PLACE)


def by_patient(batch: pa.RecordBatch, n: int) -> list[tuple[int, pa.RecordBatch]]:
    """The batch cut into parts of whole patients: hash of the patient's identifier modulo ``n``."""
    part: npt.NDArray[np.int64] = (hash_ids(batch.column("patient_id")) % np.uint64(n)).astype(np.int64)
    order = np.argsort(part, kind="stable")
    numbers, starts = np.unique(part[order], return_index=True)
    ends = [*starts[1:], len(order)]
    return [
        (int(number), batch.take(pa.array(order[start:end])))
        for number, start, end in zip(numbers, starts, ends, strict=True)
    ]


def _write_shard(source: Path, staging: Path, index: int) -> ShardRef:
    with pa.ipc.open_stream(str(source)) as stream:
        table = stream.read_all()
    keys = [(key, "ascending") for key in ("patient_id", "study_time", "study_id") if key in table.column_names]
    table = table.take(pc.sort_indices(table, sort_keys=keys))
    file = f"shard-{index:05d}.parquet"
    with (source.parent / BLOB).open("rb") as blob:
        groups = _row_groups(table, blob)
        first = next(groups)
        with pq.ParquetWriter(staging / file, first.schema, version="2.6", **_encodings(first.schema)) as writer:
            for group in (first, *groups):
                writer.write_table(group, row_group_size=len(group))
    return ShardRef(
        index=index,
        file=file,
        digest=sha256_file(staging / file),
        n_studies=len(table),
        n_patients=pc.count_distinct(table.column("patient_id")).as_py(),
    )


def _row_groups(table: pa.Table, blob: IO[bytes]) -> Iterator[pa.Table]:
    """The sorted table in row groups, with the images in their place: at most 64 studies, or about 32 MiB of images."""
    if "image" not in table.column_names:
        yield from (table.slice(start, ROW_GROUP) for start in range(0, len(table), ROW_GROUP))
        return
    at = table.column_names.index("image")
    images: list[bytes | None] = []
    start = held = 0
    for row, place in enumerate(table.column("image").to_pylist()):
        if len(images) >= ROW_GROUP_WITH_IMAGES or held >= ROW_GROUP_BYTES:
            yield table.slice(start, len(images)).set_column(at, "image", pa.array(images, pa.binary()))
            start, images, held = row, [], 0
        images.append(None if place is None else _read_at(blob, **place))
        held += len(images[-1] or b"")
    yield table.slice(start).set_column(at, "image", pa.array(images, pa.binary()))


def _read_at(blob: IO[bytes], *, offset: int, length: int) -> bytes:
    blob.seek(offset)
    return blob.read(length)


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Images are compressed already; names and codes profit from a dictionary; nobody filters by statistics.

    Small write batches keep a page of images small, so that a reader need not hold a whole row group of them.
    """
    return {
        "compression": {name: "NONE" if name == "image" else "ZSTD" for name in _leaves(schema)},
        "use_dictionary": [f.name for f in schema if pa.types.is_string(f.type)],
        "write_statistics": False,
        "write_batch_size": 8 if "image" in schema.names else 1024,
    }


def _leaves(schema: pa.Schema) -> list[str]:
    """Parquet's paths of the leaf columns."""
    return [
        leaf
        for field in schema
        for leaf in (
            [f"{field.name}.list.element.t", f"{field.name}.list.element.v"]
            if pa.types.is_list(field.type)
            else [field.name]
        )
    ]


def read_manifest(folder: Path) -> CohortManifest:
    """The manifest of a registered cohort.

    Raises:
        CohortError: when the folder holds none, or one that is not understood.
    """
    try:
        body = json.loads((folder / MANIFEST).read_bytes())
        return CohortManifest.from_dict(body)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CohortError(
            "This folder is not a registered cohort.", remedy="Register the cohort again.", file=str(folder)
        ) from error
