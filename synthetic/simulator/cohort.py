"""Simulated patients written as one cohort file that obeys the file contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.digests import sha256_json
from core.errors import EnvironmentProblemError
from synthetic.simulator.deterioration import Deterioration, draw_deterioration
from synthetic.simulator.images import render, to_png
from synthetic.simulator.patients import Bools, Studies, draw_studies, recorded_labels
from synthetic.simulator.rare import RareTruth, draw_rare
from synthetic.simulator.series import ANALYTES, measure
from synthetic.simulator.settings import FINDINGS, RARE_DISEASES, SERIES, SimulatorSettings
from synthetic.simulator.texts import write_indications, write_references

SIMULATOR_VERSION = "1"
"""Raised whenever equal settings would give another cohort."""

BLOCK = 512
"""Studies drawn and written at a time: bounds the memory that pictures take."""

Progress = Callable[[float, str], None]


def simulate_cohort(settings: SimulatorSettings, destination: Path, *, progress: Progress | None = None) -> Path:
    """Write one Parquet file of simulated patients whose modalities tell one story.

    Columns: patient_id, study_id, study_time, sex, age, view, group, site, scanner, ``label.<label>`` for every
    label of ``settings.tasks``, image (grey PNG), text.indication (what a model may read), text.reference (an
    expert's report of the findings, for comparison only) and ``series.<analyte>``. Labels are the truth, less what
    ``settings.underdiagnosis`` takes away; all other columns are the same with and without it. Equal settings give
    equal bytes with equal versions of numpy, Pillow and pyarrow. The file's metadata say that it is simulated, with
    which settings.

    Args:
        destination: The file to write. It appears only when it is complete.
        progress: Called with the share done in [0, 1] and a short message.

    Returns:
        ``destination``.

    Raises:
        EnvironmentProblemError: when the folder cannot be written to.
    """
    tell = progress or (lambda share, message: None)
    tell(0.0, "Drawing patients")
    story = _draw(settings)
    studies, pictures = story.studies, story.streams["pictures"]
    table = _table_without_images(story, settings)
    absent = pictures.random(len(studies)) < settings.missing.get("image", 0.0)
    rare = story.rare.shown if story.rare else None
    partial = destination.with_name(destination.name + ".partial")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(partial, table.schema.append(pa.field("image", pa.binary()))) as writer:
            for start in range(0, len(studies), BLOCK):
                rows = np.arange(start, min(start + BLOCK, len(studies)))
                block = render(studies, rows, settings.image_size, pictures, rare=rare)
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


@dataclass(frozen=True, kw_only=True)
class _Story:
    """All that is decided before anything is measured, and the streams that the rest is drawn from."""

    studies: Studies
    deterioration: Deterioration | None
    rare: RareTruth | None
    truth: dict[str, Bools]
    labels: dict[str, Bools]
    streams: dict[str, np.random.Generator]


def _draw(settings: SimulatorSettings) -> _Story:
    """Draw the truth. Each part has a stream of its own: a further task changes no draw of the others."""
    names = ("truth", "defect", "words", "labs", "pictures", "deterioration", "rare", "further defect")
    seeds = np.random.SeedSequence(settings.seed).spawn(len(names))
    streams = {name: np.random.default_rng(seed) for name, seed in zip(names, seeds, strict=True)}
    studies = draw_studies(settings, streams["truth"])
    findings = {name: studies.present[:, column] for column, name in enumerate(FINDINGS)}
    further: dict[str, Bools] = {}
    deterioration = rare = None
    if "deterioration" in settings.tasks:
        deterioration = draw_deterioration(studies, settings, streams["deterioration"])
        further["deterioration"] = deterioration.present
    if "rare" in settings.tasks:
        rare = draw_rare(studies, settings, streams["rare"])
        further |= {name: rare.present[:, column] for column, name in enumerate(RARE_DISEASES)}
    truth = findings | further if "findings" in settings.tasks else further
    recorded = recorded_labels(studies, findings, settings, streams["defect"])
    recorded |= recorded_labels(studies, further, settings, streams["further defect"])
    return _Story(
        studies=studies,
        deterioration=deterioration,
        rare=rare,
        truth=truth,
        labels={name: recorded[name] for name in truth},
        streams=streams,
    )


def _table_without_images(story: _Story, settings: SimulatorSettings) -> pa.Table:
    studies, words = story.studies, story.streams["words"]
    indications = write_indications(studies, words)
    if story.rare:
        indications = [f"{text} {note}".rstrip() for text, note in zip(indications, story.rare.notes, strict=True)]
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
    for name, present in story.labels.items():
        columns[f"label.{name}"] = pa.array(present.astype(np.int8))
    columns["text.indication"] = pa.array(
        [None if absent else text for absent, text in zip(unsaid, indications, strict=True)], pa.string()
    )
    columns["text.reference"] = pa.array(write_references(studies))
    for name in SERIES:
        columns[f"series.{name}"] = measure(
            studies,
            name,
            settings.missing.get(f"series.{name}", 0.0),
            story.streams["labs"],
            level=story.rare.level(name) if story.rare else None,
            turn=story.deterioration.turn(name) if story.deterioration else None,
        )
    table = pa.table(columns)
    return table.replace_schema_metadata(_metadata(settings, story))


def _metadata(settings: SimulatorSettings, story: _Story) -> dict[str, str]:
    """What the file says about itself. Counts of the planted defect, not the rows it touched."""
    erased = {name: int((story.truth[name] & ~recorded).sum()) for name, recorded in story.labels.items()}
    return {
        "auscult.simulated": "true",
        "auscult.source": f"Auscult patient simulator, version {SIMULATOR_VERSION}: no real patient is in it",
        "auscult.simulator_version": SIMULATOR_VERSION,
        "auscult.settings": json.dumps(settings.to_dict(), sort_keys=True),
        "auscult.labels_erased": json.dumps(erased),
        "auscult.units": json.dumps({f"series.{name}": item.unit for name, item in ANALYTES.items()}),
    }
