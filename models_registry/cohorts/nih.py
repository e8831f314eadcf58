"""Real data that a machine without internet can have: 4,376 NIH chest X-ray studies read by experts.

The file comes with the Python package ``torchxrayvision`` and is read where that is installed, without importing
it. None of its rows is in this repository. See ``docs/data.md`` for source, citation and licence.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from models_registry.cohorts.package_data import PACKAGE, locate_package_file

FILE = "google2019_nih-chest-xray-labels.csv.gz"
SHA256 = "1d1b846e463753ed0219f67e21b10c8aef381897dbd64865c8191aa5794e8048"

DESCRIPTION = (
    "4,376 frontal chest X-ray studies of 1,695 patients of the NIH Clinical Center (ChestX-ray14) with reference "
    "labels for four findings adjudicated by radiologists (Majkowska et al. 2020). Recorded predictions: the labels "
    "that NIH text-mined from the radiology reports."
)
SOURCE = (
    f"{FILE} of the Python package {PACKAGE} 1.5.7; Majkowska A et al., Radiology 2020;294:421-431; "
    "Wang X et al., CVPR 2017"
)
LICENCE = (
    "NIH Clinical Center: no restriction on use, with attribution to the source and citation of the papers; "
    "the expert labels: see docs/data.md"
)

EXPERT = {
    "pneumothorax": "Pneumothorax",
    "airspace_opacity": "Airspace opacity",
    "nodule_or_mass": "Nodule or mass",
    "fracture": "Fracture",
}
"""Label -> the column of the experts' answer."""

MINED = {
    "pneumothorax": frozenset({"Pneumothorax"}),
    "airspace_opacity": frozenset({"Infiltration", "Consolidation", "Pneumonia", "Edema", "Atelectasis"}),
    "nodule_or_mass": frozenset({"Nodule", "Mass"}),
}
"""Label -> the text-mined findings that count as it. There is none for a fracture."""

_ANSWERS = {"YES": 1, "NO": 0}


@dataclass(frozen=True, kw_only=True)
class NihFiles:
    """The two files that were written, with the words to register them under."""

    cohort: Path
    predictions: Path
    description: str
    licence: str
    source: str


def locate_nih_labels() -> Path:
    """Where the file is on this machine, its content checked.

    Raises:
        EnvironmentProblemError: when the package is not installed, or its file is missing.
        DigestMismatchError: when the file is not the one that this code was written for.
    """
    return locate_package_file(FILE, SHA256, what="chest X-ray labels")


def write_nih_expert_cohort(destination: Path) -> NihFiles:
    """Write the cohort and the recorded predictions as Parquet files into ``destination``.

    The cohort has ``patient_id``, ``study_id`` (the image's name), age in years, sex, view, follow_up (number of
    the follow-up), ``source_set`` (the publishers' validation or test set) and ``label.<finding>`` by experts. The
    sets are no splits of a model under audit, so they are no ``split`` column. The predictions have ``study_id``
    and ``pred.<finding>``. The same input gives the same bytes.

    Raises:
        EnvironmentProblemError, DigestMismatchError: see :func:`locate_nih_labels`.
    """
    with gzip.open(locate_nih_labels(), "rb") as stream:
        rows = list(csv.DictReader(io.StringIO(stream.read().decode("utf-8"))))
    destination.mkdir(parents=True, exist_ok=True)
    files = NihFiles(
        cohort=destination / "nih-expert-cohort.parquet",
        predictions=destination / "nih-text-mined-predictions.parquet",
        description=DESCRIPTION,
        licence=LICENCE,
        source=SOURCE,
    )
    pq.write_table(_cohort(rows), files.cohort, version="2.6")
    pq.write_table(_predictions(rows), files.predictions, version="2.6")
    return files


def _cohort(rows: Sequence[dict[str, str]]) -> pa.Table:
    columns = {
        "patient_id": pa.array([row["Patient ID"] for row in rows], pa.string()),
        "study_id": pa.array([row["Image Index"] for row in rows], pa.string()),
        "age": pa.array([int(row["Patient Age"]) for row in rows], pa.int64()),
        "sex": pa.array([row["Patient Gender"] for row in rows], pa.string()),
        "view": pa.array([row["View Position"] for row in rows], pa.string()),
        "follow_up": pa.array([int(row["Follow-up #"]) for row in rows], pa.int64()),
        "source_set": pa.array([row["Set Id"] for row in rows], pa.string()),
    }
    for label, column in EXPERT.items():
        columns[f"label.{label}"] = pa.array([_ANSWERS[row[column]] for row in rows], pa.int8())
    return pa.table(columns)


def _predictions(rows: Sequence[dict[str, str]]) -> pa.Table:
    columns = {"study_id": pa.array([row["Image Index"] for row in rows], pa.string())}
    found = [frozenset(row["Finding Labels"].split("|")) for row in rows]
    for label, findings in MINED.items():
        columns[f"pred.{label}"] = pa.array([int(bool(findings & named)) for named in found], pa.int8())
    return pa.table(columns)
