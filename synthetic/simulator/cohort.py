"""Simulated patients written as one cohort file that obeys the file contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.digests import sha256_json
from core.errors import EnvironmentProblemError
from synthetic.simulator.images import render, to_png
from synthetic.simulator.patients import Bools, Studies, draw_studies, recorded_labels
from synthetic.simulator.series import ANALYTES, measure
from synthetic.simulator.settings import FINDINGS, SERIES, SimulatorSettings
from synthetic.simulator.texts import write_indications, write_references

SIMULATOR_VERSION = "1"
"""Raised whenever equal settings would give another cohort."""

BLOCK = 512
"""Studies drawn and written at a time: bounds the memory that pictures take."""

Progress = Callable[[float, str], None]


def simulate_cohort(settings: SimulatorSettings, destination: Path, *, progress: Progress | None = None) -> Path:
    """Write one Parquet file of simulated patients whose modalities tell one story.

    Columns: patient_id, study_id, study_time, sex, age, view, group, site, scanner, ``label.<finding>``,
    image (grey PNG), text.indication (what a model may read), text.reference (an expert's report of the
    truth, for comparison only) and ``series.<analyte>``. Labels are the truth, less what ``settings.underdiagnosis``
    takes away; all other columns are the same with and without it. Equal settings give equal bytes with equal
    versions of numpy, Pillow and pyarrow. The file's metadata say that it is simulated, with which settings.

    Args:
        destination: The file to write. It appears only when it is complete.
        progress: Called with the share done in [0, 1] and a short message.

    Returns:
        ``destination``.

    Raises:
        EnvironmentProblemError: when the folder cannot be written to.
    """
    tell = progress or (lambda share, message: None)
    streams = np.random.SeedSequence(settings.seed).spawn(5)
    truth, defect, words, labs, pictures = (np.random.default_rng(stream) for stream in streams)
    tell(0.0, "Drawing patients")
    studies = draw_studies(settings, truth)
    labels = recorded_labels(studies, settings, defect)
    table = _table_without_images(studies, labels, settings, words, labs)
    absent = pictures.random(len(studies)) < settings.missing.get("image", 0.0)
    partial = destination.with_name(destination.name + ".partial")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(partial, table.schema.append(pa.field("image", pa.binary()))) as writer:
            for start in range(0, len(studies), BLOCK):
                rows = np.arange(start, min(start + BLOCK, len(studies)))
                block = render(studies, rows, settings.image_size, pictures)
                images = [None if absent[row] else to_png(block[row - start]) for row in rows]
                part = table.slice(start, len(rows)).append_column("image", pa.array(images, pa.binary()))
                writer.write_table(part)
                tell((start + len(rows)) / len(studies), f"{start + len(rows)} of {len(studies)} studies")
        partial.replace(destination)
    except OSError as error:
        raise EnvironmentProblemError(
            f"The simulated cohort cannot be written: {error.strerror or error}.",
            remedy="Check that the folder exists, may be written to and has space left.",
            file=str(destination),
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return destination


def generator_digest(settings: SimulatorSettings) -> str:
    """What names this generator with these settings: SHA-256 of its version and the settings."""
    return sha256_json({"generator": "simulator", "version": SIMULATOR_VERSION, "settings": settings.to_dict()})


def _table_without_images(
    studies: Studies,
    labels: Bools,
    settings: SimulatorSettings,
    words: np.random.Generator,
    labs: np.random.Generator,
) -> pa.Table:
    indications = write_indications(studies, words)
    unsaid = words.random(len(studies)) < settings.missing.get("text.indication", 0.0)
    patients = [f"S{settings.seed}-P{index:06d}" for index in studies.patient.tolist()]
    visits = zip(patients, studies.visit.tolist(), strict=True)
    columns: dict[str, pa.Array] = {
        "patient_id": pa.array(patients),
        "study_id": pa.array([f"{patient}-{visit + 1}" for patient, visit in visits]),
        "study_time": pa.array(studies.time.astype("datetime64[s]")),
    }
    for name in ("sex", "age", "view", "group", "site", "scanner"):
        column = getattr(studies, name)
        columns[name] = pa.array(column.tolist())
    for index, finding in enumerate(FINDINGS):
        columns[f"label.{finding}"] = pa.array(labels[:, index].astype(np.int8))
    columns["text.indication"] = pa.array(
        [None if absent else text for absent, text in zip(unsaid, indications, strict=True)], pa.string()
    )
    columns["text.reference"] = pa.array(write_references(studies))
    for name in SERIES:
        columns[f"series.{name}"] = measure(studies, name, settings.missing.get(f"series.{name}", 0.0), labs)
    table = pa.table(columns)
    return table.replace_schema_metadata(_metadata(settings, studies, labels))


def _metadata(settings: SimulatorSettings, studies: Studies, labels: Bools) -> dict[str, str]:
    """What the file says about itself. Counts of the planted defect, not the rows it touched."""
    erased = (studies.present & ~labels).sum(axis=0).tolist()
    return {
        "auscult.simulated": "true",
        "auscult.source": f"Auscult patient simulator, version {SIMULATOR_VERSION}: no real patient is in it",
        "auscult.simulator_version": SIMULATOR_VERSION,
        "auscult.settings": json.dumps(settings.to_dict(), sort_keys=True),
        "auscult.labels_erased": json.dumps(dict(zip(FINDINGS, erased, strict=True))),
        "auscult.units": json.dumps({f"series.{name}": item.unit for name, item in ANALYTES.items()}),
    }
