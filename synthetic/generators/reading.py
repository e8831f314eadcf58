"""From a registered cohort to studies in memory, and from studies to a file that can be registered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models_registry.cohorts.reader import CohortReader, objects, signs
from models_registry.cohorts.schema import ColumnRole, role_of
from models_registry.reference.studies import labels_of
from synthetic.generators.plan_reading import read_plans
from synthetic.generators.plans import Plans
from synthetic.generators.studies import LinkedStudies, Pixels, Readings, Tell

REPORT = "reference"
"""The text that an expert wrote of a study: what a generated report is like, and where plans are read."""
MARK = "SYNTHETIC"


def read_linked(
    reader: CohortReader, *, image_size: int = 64, findings: tuple[str, ...] = (), tell: Tell | None = None
) -> LinkedStudies:
    """Every study of a cohort, images grey and of one size, with plans read from labels and reports.

    Args:
        findings: Labels that plans are made of; all labels of the cohort where it is empty.

    Raises:
        CohortError: the cohort lacks a label that is named.
        DigestMismatchError: a shard is not what was registered.
    """
    if findings:
        labels_of(reader, findings)
    parts = []
    for number in range(len(reader.shards)):
        parts.append(_read_shard(reader, number, image_size, findings))
        if tell:
            tell((number + 1) / len(reader.shards), f"{number + 1} of {len(reader.shards)} shares read")
    return _in_order(LinkedStudies.joined(parts))


def _read_shard(reader: CohortReader, shard: int, size: int, findings: tuple[str, ...]) -> LinkedStudies:
    from models_registry.reference.preprocessing import grey_pixels

    columns = reader.manifest.columns
    table = reader.table(shard)
    labels = {
        name.partition(".")[2]: signs(table.column(name)) for name in columns if role_of(name) is ColumnRole.LABEL
    }
    texts = {
        name.partition(".")[2]: objects(table.column(name)) for name in columns if role_of(name) is ColumnRole.TEXT
    }
    chosen = {name: labels[name] for name in findings or labels}
    n = table.num_rows
    reports = texts[REPORT].tolist() if REPORT in texts else None
    images, has_image = np.zeros((n, size, size), dtype=np.uint8), np.zeros(n, dtype=np.bool_)
    series: dict[str, Readings] = {}
    row = 0
    for batch in reader.batches(shard, verify=False):
        end = row + len(batch)
        has_image[row:end] = [item is not None for item in batch.images]
        images[row:end] = grey_pixels(batch, size)[:, 0]
        for name, values in batch.series.items():
            series.setdefault(name, []).extend(values)
        row = end
    covariates = [name for name in columns if role_of(name) is ColumnRole.COVARIATE]
    return LinkedStudies(
        patient_ids=objects(table.column("patient_id")),
        study_ids=objects(table.column("study_id")),
        times=_times(table, n),
        attributes={name: objects(table.column(name)) for name in covariates},
        labels=labels,
        plans=read_plans(chosen, reports) if chosen else Plans.empty((), n),
        series=series,
        texts=texts,
        images=images if "image" in columns else None,
        has_image=has_image,
    )


def _times(table: Any, n: int) -> npt.NDArray[np.datetime64]:
    if "study_time" not in table.column_names:
        return np.full(n, np.datetime64("NaT", "s"))
    found: npt.NDArray[np.datetime64] = table.column("study_time").to_numpy().astype("datetime64[s]")
    return found


def _in_order(studies: LinkedStudies) -> LinkedStudies:
    """Patients one after the other, each in the order of time."""
    order = np.lexsort((studies.study_ids.astype(str), studies.times, studies.patient_ids.astype(str)))
    return studies.rows(order)


def write_linked(studies: LinkedStudies, path: Path, *, metadata: Mapping[str, str]) -> Path:
    """A Parquet file that obeys the file contract of cohorts; its metadata say SYNTHETIC. It appears when complete.

    Args:
        metadata: Further facts of the file, such as the generator's digest.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        "patient_id": pa.array(studies.patient_ids.tolist(), pa.string()),
        "study_id": pa.array(studies.study_ids.tolist(), pa.string()),
    }
    if not np.isnat(studies.times).all():
        columns["study_time"] = pa.array(studies.times.astype("datetime64[s]"))
    columns |= {name: pa.array(values.tolist()) for name, values in studies.attributes.items()}
    for name, values in studies.labels.items():
        columns[f"label.{name}"] = pa.array(values.astype(np.int8), mask=values < 0)
    columns |= {f"text.{name}": pa.array(values.tolist(), pa.string()) for name, values in studies.texts.items()}
    columns |= {f"series.{name}": _series(values) for name, values in studies.series.items()}
    if studies.images is not None:
        columns["image"] = pa.array(_pngs(studies.images, studies.has_image), pa.binary())
    told = {"auscult.synthetic": MARK, "auscult.units": json.dumps(studies.units, sort_keys=True), **metadata}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        pq.write_table(pa.table(columns).replace_schema_metadata(told), partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _series(values: Readings) -> Any:
    import pyarrow as pa

    kind = pa.list_(pa.struct([("t", pa.float64()), ("v", pa.float64())]))
    rows = [None if item is None else [{"t": t, "v": v} for t, v in item.tolist()] for item in values]
    return pa.array(rows, kind)


def _pngs(images: Pixels, has_image: npt.NDArray[np.bool_]) -> list[bytes | None]:
    from synthetic.simulator.images import to_png

    return [to_png(image) if there else None for image, there in zip(images, has_image, strict=True)]
