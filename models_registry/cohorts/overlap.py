"""Patients who are in two files: whoever tuned a threshold must not be among those it is tested on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from models_registry.cohorts.images import ImageFolder
from models_registry.cohorts.inspection import Progress, tracked
from models_registry.cohorts.mapping import Mapping, resolve
from models_registry.cohorts.normalise import Normaliser
from models_registry.cohorts.problems import ProblemLog, error_of
from models_registry.cohorts.schema import ColumnRole
from models_registry.cohorts.source import open_source
from models_registry.cohorts.spool import Keys, KeySpool, hash_ids, room_on_disk


@dataclass(frozen=True, kw_only=True)
class SharedPatients:
    """Patients of the audited file who are in the other too, and the first row of the audited file with one."""

    patients: int
    row: int | None


def shared_patients(
    other: Path,
    audited: Path,
    *,
    mapping: Mapping | None = None,
    splits: Collection[str] = (),
    progress: Progress | None = None,
) -> SharedPatients:
    """Compare the ``patient_id`` of two files. Streams both; identifiers are compared by 64-bit hashes.

    Args:
        mapping: Of both files.
        splits: Only these splits of the audited file count; all its rows when there are none.

    Raises:
        CohortError: when either cannot be read, or lacks a patient identifier in some row.
    """
    mapping = mapping or Mapping()
    with TemporaryDirectory(prefix="auscult-overlap-") as folder, room_on_disk(Path(folder)):
        spool = KeySpool(Path(folder), "patients")
        for keys, rows in _patients(other, mapping, (), progress):
            spool.add(keys, rows * 2)
        for keys, rows in _patients(audited, mapping, splits, progress):
            spool.add(keys, rows * 2 + 1)
        patients, first = 0, []
        for found, values in spool.buckets():
            judged = (values & 1) == 1
            both = judged & np.isin(found, found[~judged])
            patients += len(np.unique(found[both]))
            first += [int(values[both].min()) >> 1] if both.any() else []
    return SharedPatients(patients=patients, row=min(first, default=None))


def _patients(
    path: Path, mapping: Mapping, splits: Collection[str], progress: Progress | None
) -> Iterator[tuple[Keys, npt.NDArray[np.int64]]]:
    """Hashed patients and row numbers of a file, chunk by chunk."""
    log = ProblemLog(path.name)
    source = open_source(path, mapping, log)
    wanted = {ColumnRole.PATIENT_ID, *([ColumnRole.SPLIT] if splits else [])}
    # What else is wrong with the columns of the other file does not matter here.
    plan = tuple(column for column in resolve(source.columns, mapping, ProblemLog(path.name)) if column.role in wanted)
    if not any(column.role is ColumnRole.PATIENT_ID for column in plan):
        log.add("missing-column", column="patient_id", examples=['columns: {"...": patient_id}'])
    else:
        images = ImageFolder(path.parent)
        normaliser = Normaliser(plan, mapping=mapping, typed=source.typed, images=images, log=log)
        for chunk in tracked(source, normaliser.plan, log, progress, "Comparing patients"):
            batch = normaliser.apply(chunk)
            ids, rows = batch.column("patient_id"), chunk.rows
            kept = np.asarray(ids.is_valid())
            if splits:
                kept &= np.isin(np.array(batch.column("split").to_pylist(), dtype=str), sorted(splits))
            yield hash_ids(ids.filter(kept)), rows[kept]
    if (error := error_of(log.problems())) is not None:
        raise error
