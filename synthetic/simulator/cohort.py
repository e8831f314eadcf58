"""Simulated patients written as one cohort file that obeys the file contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from core.digests import sha256_json
from synthetic.simulator.images import render, to_png
from synthetic.simulator.names import FINDINGS, SERIES
from synthetic.simulator.records import write_records
from synthetic.simulator.series import ANALYTES, measure
from synthetic.simulator.settings import SimulatorSettings
from synthetic.simulator.story import Story, draw_story
from synthetic.simulator.texts import write_indications, write_references
from synthetic.simulator.writing import appearing

SIMULATOR_VERSION = "1"
"""Raised whenever equal settings would give another cohort."""

BLOCK = 512
"""Studies drawn and written at a time: bounds the memory that pictures take."""

Progress = Callable[[float, str], None]


def simulate_cohort(settings: SimulatorSettings, destination: Path, *, progress: Progress | None = None) -> Path:
    """Write one Parquet file of simulated patients whose modalities tell one story.

    Columns: patient_id, study_id, study_time, sex, age, view, group, site, scanner, ``label.<label>`` for every
    label of ``settings.tasks``, image (grey PNG), text.indication (what a model may read), text.reference (an
    expert's report of the findings, for comparison only) and ``series.<analyte>``; with ``settings.records`` also
    those of a health record. Labels are the truth, less what ``settings.underdiagnosis`` takes away; all other columns
    are the same with and without it. Equal settings give equal bytes with equal versions of numpy, Pillow and pyarrow.
    The file's metadata say that it is simulated, with which settings, and how much of each defect was planted. What is
    really there is in :func:`synthetic.simulator.truth.truth_of`.

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
    story = draw_story(settings)
    studies, pictures = story.studies, story.streams["pictures"]
    table = _table_without_images(story)
    absent = (pictures.random(len(studies)) < settings.missing.get("image", 0.0)) | story.lost["image"]
    schema = table.schema.append(pa.field("image", pa.binary()))
    with appearing(destination, what="The simulated cohort") as partial, pq.ParquetWriter(partial, schema) as writer:
        for start in range(0, len(studies), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(studies)))
            block = _pictures(story, rows)
            images = [None if absent[row] else to_png(block[row - start]) for row in rows]
            part = table.slice(start, len(rows)).append_column("image", pa.array(images, pa.binary()))
            writer.write_table(part)
            tell((start + len(rows)) / len(studies), f"{start + len(rows)} of {len(studies)} studies")
    return destination


def generator_digest(settings: SimulatorSettings) -> str:
    """What names this generator with these settings: SHA-256 of its version and the settings."""
    return sha256_json({"generator": "simulator", "version": SIMULATOR_VERSION, "settings": settings.to_dict()})


def _pictures(story: Story, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    settings = story.settings
    return render(
        story.studies,
        rows,
        settings.image_size,
        story.streams["pictures"],
        rare=story.rare.shown if story.rare else None,
        noise=settings.drift.noise if settings.drift else 1.0,
        fine=settings.fine_pictures,
    )


def _table_without_images(story: Story) -> pa.Table:
    settings, studies, words = story.settings, story.studies, story.streams["words"]
    indications = write_indications(studies, words, hints=settings.hints)
    texts = indications.texts
    if story.rare:
        texts = [f"{text} {note}".rstrip() for text, note in zip(texts, story.rare.notes, strict=True)]
    unsaid = words.random(len(studies)) < settings.missing.get("text.indication", 0.0)
    unsaid |= story.lost["text.indication"]
    columns: dict[str, pa.Array] = {
        "patient_id": pa.array(story.patient_ids),
        "study_id": pa.array(story.study_ids),
        "study_time": pa.array(studies.time.astype("datetime64[s]")),
    }
    for name in ("sex", "age", "view", "group", "site", "scanner"):
        columns[name] = pa.array(getattr(studies, name).tolist())
    if settings.records:
        held = write_records(studies, indications.histories, story.streams["records"])
        columns |= {name: pa.array(values) for name, values in held.items()}
    for name, present in story.labels.items():
        columns[f"label.{name}"] = pa.array(present.astype(np.int8))
    columns["text.indication"] = pa.array(
        [None if absent else text for absent, text in zip(unsaid, texts, strict=True)], pa.string()
    )
    said = story.statements
    columns["text.reference"] = pa.array(
        write_references(said.stated, sizes_told=settings.sizes_told, compared=said.compared)
    )
    for name in SERIES:
        columns[f"series.{name}"] = _readings(story, name)
    return pa.table(columns).replace_schema_metadata(_metadata(settings, story))


def _readings(story: Story, name: str) -> pa.Array:
    settings = story.settings
    return measure(
        story.studies,
        name,
        settings.missing.get(f"series.{name}", 0.0),
        story.streams["labs"],
        level=story.rare.level(name) if story.rare else None,
        turn=story.deterioration.turn(name) if story.deterioration else None,
        lost=story.lost[f"series.{name}"] if settings.drift else None,
        unit=settings.drift.units.get(name, "") if settings.drift else "",
        hints=settings.hints,
    )


def _metadata(settings: SimulatorSettings, story: Story) -> dict[str, str]:
    """What the file says about itself. Counts of the planted defects, not the rows they touched."""
    erased = {name: int((story.truth[name] & ~recorded).sum()) for name, recorded in story.labels.items()}
    told = {
        "auscult.simulated": "true",
        "auscult.source": f"Auscult patient simulator, version {SIMULATOR_VERSION}: no real patient is in it",
        "auscult.simulator_version": SIMULATOR_VERSION,
        "auscult.settings": json.dumps(settings.to_dict(), sort_keys=True),
        "auscult.labels_erased": json.dumps(erased),
        "auscult.units": json.dumps({f"series.{name}": item.unit for name, item in ANALYTES.items()}),
    }
    studies = story.studies
    if settings.hallucination:
        told["auscult.false_statements"] = json.dumps(story.statements.counts())
    if settings.faintness:
        fainter = (studies.seen < studies.shown).sum(axis=0).tolist()
        told["auscult.findings_fainter"] = json.dumps(dict(zip(FINDINGS, fainter, strict=True)))
    if settings.drift:
        told["auscult.studies_changed"] = str(int(studies.changed.sum()))
    return told
