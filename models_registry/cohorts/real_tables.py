"""Real tables that Python packages carry, as cohorts: patients without images, texts or series.

Their files are read where the packages are installed, without importing them. None of their rows is in this repository.
See ``docs/data.md`` for source, citation and licence.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import AuscultError
from models_registry.cohorts.package_data import locate_package_file

NIH = ("Data_Entry_2017_v2020.csv.gz", "9d4de640ee4f760215d8be98376b20387ca52f9c6b4d1b727cb588fb82f40b80")
ACTG = ("ACTG175.csv", "56fba31fa0d7bfbff9667b7149fd96a97c352e72aa582871a62a935e812f0e07")
NHEFS = ("nhefs.dta", "b4e01608bd920f9b967567f241875dcb70dce6a37711ff3e43a0f751b595e12d")
NO_FINDING = "No Finding"
ARMS = ("zidovudine", "zidovudine and didanosine", "zidovudine and zalcitabine", "didanosine")
NUMBERS = ("age", "school", "ht", "wt71", "wt82", "smokeintensity", "smokeyrs", "sbp", "dbp", "cholesterol")
DISEASES = ("asthma", "bronch", "diabetes", "hbp", "death")


@dataclass(frozen=True, kw_only=True)
class RealTable:
    """A cohort file that was written, with the words to register it under."""

    file: Path
    name: str
    description: str
    source: str
    licence: str


def write_real_table(key: str, destination: Path) -> RealTable:
    """Write a real table as a cohort file into a folder.

    Args:
        key: One of :data:`TABLES`.

    Raises:
        AuscultError: there is no such table.
        EnvironmentProblemError, DigestMismatchError: its package is not installed, or holds another file.
    """
    if key not in TABLES:
        raise AuscultError(f"There is no real table called '{key}'.", remedy=f"Use one of: {', '.join(TABLES)}.")
    read, words = TABLES[key]
    columns = read()
    destination.mkdir(parents=True, exist_ok=True)
    file = destination / f"{key}.parquet"
    pq.write_table(pa.table(columns), file, version="2.6")
    return RealTable(file=file, **words)


def _nih() -> dict[str, pa.Array]:
    """112,120 images of 30,805 patients: age in years, sex, view, number of the follow-up, 14 text-mined findings."""
    path = locate_package_file(*NIH, what="chest X-ray metadata")
    with gzip.open(path, "rb") as stream:
        rows = list(csv.DictReader(io.StringIO(stream.read().decode("utf-8"))))
    told = [frozenset(row["Finding Labels"].split("|")) for row in rows]
    names = sorted(frozenset().union(*told) - {NO_FINDING})
    labels = {f"label.{name.lower()}": pa.array([int(name in one) for one in told], pa.int8()) for name in names}
    return {
        "patient_id": pa.array([row["Patient ID"].zfill(6) for row in rows]),
        "study_id": pa.array([row["Image Index"] for row in rows]),
        "age": pa.array([int(row["Patient Age"]) for row in rows]),
        "sex": pa.array([row["Patient Gender"] for row in rows]),
        "view": pa.array([row["View Position"] for row in rows]),
        "follow_up": pa.array([int(row["Follow-up #"]) for row in rows]),
    } | labels


def _actg() -> dict[str, pa.Array]:
    """2,139 patients of a trial of HIV therapy: age, sex, race, weight, CD4 counts, arm; event (``label.event``)."""
    path = locate_package_file(*ACTG, what="trial data", package="lifelines", folder="datasets")
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {
        "patient_id": pa.array([row["pidnum"] for row in rows]),
        "study_id": pa.array([f"{row['pidnum']}-1" for row in rows]),
        "age": pa.array([int(row["age"]) for row in rows]),
        "sex": pa.array(["M" if row["gender"] == "1" else "F" for row in rows]),
        "race": pa.array(["not white" if row["race"] == "1" else "white" for row in rows]),
        "weight": pa.array([round(float(row["wtkg"]), 1) for row in rows]),
        "karnofsky": pa.array([int(row["karnof"]) for row in rows]),
        "arm": pa.array([ARMS[int(row["arms"])] for row in rows]),
        "cd4_start": pa.array([int(row["cd40"]) for row in rows]),
        "cd4_20_weeks": pa.array([int(row["cd420"]) for row in rows]),
        "cd4_96_weeks": pa.array([_number(row["cd496"]) for row in rows]),
        "label.symptomatic": pa.array([int(row["symptom"]) for row in rows], pa.int8()),
        "label.event": pa.array([int(row["cens"]) for row in rows], pa.int8()),
    }


def _nhefs() -> dict[str, pa.Array]:
    """1,629 smokers of a follow-up survey: age, sex, race, body, smoking; diseases and death by 1992."""
    import pandas as pd

    frame = pd.read_stata(locate_package_file(*NHEFS, what="survey data", package="causaldata", folder="nhefs"))
    names = [str(int(number)) for number in frame["seqn"]]
    columns: dict[str, Any] = {"patient_id": pa.array(names), "study_id": pa.array([f"{name}-1" for name in names])}
    columns["sex"] = pa.array(["F" if str(value) == "1" else "M" for value in frame["sex"]])
    columns["race"] = pa.array(["not white" if str(value) == "1" else "white" for value in frame["race"]])
    for name in NUMBERS:
        columns[name] = pa.array([None if pd.isna(value) else float(value) for value in frame[name]], pa.float64())
    columns["quit_smoking"] = pa.array(["yes" if value == 1 else "no" for value in frame["qsmk"]])
    for name in DISEASES:
        # 2 is "not known" in the questions on diseases.
        columns[f"label.{name}"] = pa.array(
            [int(value) if value in (0, 1) else None for value in frame[name]], pa.int8()
        )
    return columns


def _number(text: str) -> int | None:
    return None if text in ("", "NA") else int(text)


TABLES: Mapping[str, tuple[Callable[[], dict[str, pa.Array]], dict[str, str]]] = {
    "nih-metadata": (
        _nih,
        {
            "name": "NIH ChestX-ray14 metadata",
            "description": "112,120 frontal chest X-rays of 30,805 patients: what is told of them, without the images.",
            "source": f"{NIH[0]} of the Python package torchxrayvision 1.5.7; Wang X et al., CVPR 2017",
            "licence": "NIH Clinical Center: no restriction on use, with attribution and citation",
        },
    ),
    "actg175": (
        _actg,
        {
            "name": "ACTG 175",
            "description": "2,139 patients of a randomised trial of therapies of HIV, 1991 to 1994.",
            "source": f"{ACTG[0]} of the Python package lifelines 0.30.3; Hammer SM et al., NEJM 1996;335:1081-1090",
            "licence": "MIT (of the package)",
        },
    ),
    "nhefs": (
        _nhefs,
        {
            "name": "NHEFS",
            "description": "1,629 smokers of a national survey of the USA, seen in 1971 and 1982.",
            "source": f"{NHEFS[0]} of the Python package causaldata 0.1.5; NHANES I Epidemiologic Follow-up Study",
            "licence": "MIT (of the package); the survey's data are public",
        },
    ),
}
"""Key -> how it is read, and the words to register it under."""
