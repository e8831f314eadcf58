"""CSV files of a release. CSV has no place for facts about itself, so each row says SYNTHETIC, and each file's name.

Cells are text in UTF-8, rows end in CR LF as RFC 4180 says, what is missing is empty. Text that a spreadsheet would
take for a formula gets an apostrophe before it; Parquet and FHIR hold it without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from core.cells import csv_lines
from synthetic.generators.studies import LinkedStudies
from synthetic.release.facts import ReleaseFacts
from synthetic.release.naming import MARK, dicom_path, has_image, moment_of, uid_of

Row = Sequence[Any]


def write_tables(
    studies: LinkedStudies, folder: Path, facts: ReleaseFacts, *, images: bool, tell: Callable[[float], None]
) -> dict[str, str]:
    """Write ``SYNTHETIC_patients.csv``, ``_studies.csv``, ``_series.csv`` (long) and ``_reports.csv``.

    Args:
        images: Whether the release has the images as files, whose paths are then told.

    Returns:
        File name -> why it was not written.
    """
    folder.mkdir()
    made: dict[str, Iterator[Row]] = {
        "patients": patient_rows(studies),
        "studies": study_rows(studies, facts, images=images),
    }
    left_out: dict[str, str] = {}
    if any(item is not None and len(item) for values in studies.series.values() for item in values):
        made["series"] = series_rows(studies, facts)
    else:
        left_out[f"{MARK}_series.csv"] = "no study has a series"
    if any(text is not None for texts in studies.texts.values() for text in texts):
        made["reports"] = report_rows(studies)
    else:
        left_out[f"{MARK}_reports.csv"] = "no study has a text"
    for number, (name, rows) in enumerate(made.items()):
        _write(folder / f"{MARK}_{name}.csv", rows)
        tell((number + 1) / len(made))
    return left_out


def patient_rows(studies: LinkedStudies) -> Iterator[Row]:
    """One row a patient: how many studies, the first and last time, and the attributes that never change."""
    steady = [name for name, values in studies.attributes.items() if _is_steady(studies, values)]
    yield (
        "synthetic",
        "patient_id",
        "studies",
        "first_study_time",
        "last_study_time",
        *(f"attribute.{name}" for name in steady),
    )
    for rows in patients_of(studies):
        first, last = rows[0], rows[-1]
        times = [time for row in rows if (time := _time(studies, row))]
        yield (
            MARK, studies.patient_ids[first], last - first + 1, min(times, default=None), max(times, default=None),
            *(studies.attributes[name][first] for name in steady),
        )  # fmt: skip


def patients_of(studies: LinkedStudies) -> Iterator[range]:
    """The rows of each patient."""
    start = 0
    for row in range(1, len(studies) + 1):
        if row == len(studies) or studies.patient_ids[row] != studies.patient_ids[start]:
            yield range(start, row)
            start = row


def _is_steady(studies: LinkedStudies, values: Any) -> bool:
    return all(len({repr(values[row]) for row in rows}) == 1 for rows in patients_of(studies))


def study_rows(studies: LinkedStudies, facts: ReleaseFacts, *, images: bool) -> Iterator[Row]:
    """One row a study: attributes, labels (1, 0, empty for unknown), the plan in words, where its image lies."""
    words = studies.plans.words()
    attributes = [f"attribute.{name}" for name in studies.attributes]
    labels, plans = [f"label.{name}" for name in studies.labels], [f"plan.{name}" for name in words]
    yield ("synthetic", "patient_id", "study_id", "study_time", *attributes, *labels, *plans, "image", "study_uid")
    for row, (patient, study) in enumerate(zip(studies.patient_ids, studies.study_ids, strict=True)):
        shown = images and has_image(studies, row)
        yield (
            MARK, patient, study, _time(studies, row),
            *(values[row] for values in studies.attributes.values()),
            *(int(values[row]) if values[row] >= 0 else None for values in studies.labels.values()),
            *(values[row] for values in words.values()),
            dicom_path(patient, study) if shown else None,
            uid_of(facts.origin, "study", study) if shown else None,
        )  # fmt: skip


def series_rows(studies: LinkedStudies, facts: ReleaseFacts) -> Iterator[Row]:
    """One row a reading: hours from the study (negative before it), value, UCUM unit where it is known."""
    yield ("synthetic", "patient_id", "study_id", "series", "hours", "value", "unit")
    units = {name: unit_of(name, studies, facts) for name in studies.series}
    for row, (patient, study) in enumerate(zip(studies.patient_ids, studies.study_ids, strict=True)):
        for name, values in studies.series.items():
            readings = values[row]
            for hours, value in () if readings is None else readings.tolist():
                yield (MARK, patient, study, name, hours, value, units[name])


def unit_of(name: str, studies: LinkedStudies, facts: ReleaseFacts) -> str:
    """UCUM code of a series; empty where neither the facts nor the studies tell it."""
    return facts.units.get(name) or studies.units.get(f"series.{name}", "")


def report_rows(studies: LinkedStudies) -> Iterator[Row]:
    yield ("synthetic", "patient_id", "study_id", "text", "words")
    for row, (patient, study) in enumerate(zip(studies.patient_ids, studies.study_ids, strict=True)):
        for name, texts in studies.texts.items():
            if texts[row] is not None:
                yield (MARK, patient, study, name, texts[row])


def _write(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(csv_lines(rows))


def _time(studies: LinkedStudies, row: int) -> str | None:
    moment = moment_of(studies.times[row])
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
