"""Real studies over nine years: 109,931 chest X-ray studies of PadChest, with the reports and the scanner's maker.

The file comes with the Python package ``torchxrayvision`` and is read where that is installed. None of its rows is in
this repository. One hospital changed its scanners during these years: from January 2009, two makers stand side by side;
the older one falls silent for some months and is gone from March 2016. See ``docs/data.md`` for source and licence.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import EnvironmentProblemError
from models_registry.cohorts.package_data import PACKAGE, locate_package_file

FILE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
SHA256 = "34a10144a87fe00c176f23f9aa174a10137fd425882b09d8fb012ab817d99d65"
WHAT = "studies of PadChest"
DESCRIPTION = (
    "Chest X-ray studies of the hospital San Juan (Alicante), one row for each study: reports in Spanish without stop "
    "words and endings, age, sex, projections, scanner. Reference standard: findings that were read from the report, "
    "by physicians or by a recurrent network trained on theirs. No pixels."
)
SOURCE = f"{FILE} of the Python package {PACKAGE} 1.5.7; Bustos A et al., Medical Image Analysis 2020;66:101797"
LICENCE = "PadChest Dataset Research Use Agreement (research only, no redistribution); see docs/data.md"
TERMS = "https://bimcv.cipf.es/bimcv-projects/padchest/padchest-dataset-research-use-agreement/"

FINDINGS: Mapping[str, frozenset[str]] = {
    "effusion": frozenset({"pleural effusion"}),
    "cardiomegaly": frozenset({"cardiomegaly"}),
    "pneumonia": frozenset({"pneumonia", "atypical pneumonia"}),
    "infiltrates": frozenset({"infiltrates", "interstitial pattern", "ground glass pattern", "alveolar pattern"}),
}
"""Label -> the terms of PadChest's tree that count as it."""
PROJECTIONS = ("PA", "AP", "AP_horizontal", "L")
"""The projection that stands for a study with several pictures: the first of these that it has."""
READ = (
    "StudyID", "StudyDate_DICOM", "PatientID", "PatientBirth", "PatientSex_DICOM", "Projection", "Manufacturer_DICOM",
    "Modality_DICOM", "BitsStored_DICOM", "Rows_DICOM", "Columns_DICOM", "WindowCenter_DICOM", "WindowWidth_DICOM",
    "XRayTubeCurrent_DICOM", "Exposure_DICOM", "ExposureTime", "Report", "MethodLabel", "Labels",
)  # fmt: skip
NUMBERS = {
    "bits_stored": "BitsStored_DICOM", "rows": "Rows_DICOM", "columns": "Columns_DICOM",
    "window_center": "WindowCenter_DICOM", "window_width": "WindowWidth_DICOM",
    "tube_current": "XRayTubeCurrent_DICOM", "exposure": "Exposure_DICOM", "exposure_time": "ExposureTime",
}  # fmt: skip
"""Columns of numbers -> those of the file, in the units of DICOM (mA, mAs, ms, pixels, bits)."""


@dataclass(frozen=True, kw_only=True)
class PadchestStudies:
    """The studies as columns of a cohort file, ordered by time, with the words to register them under.

    Attributes:
        frame: pandas DataFrame: ``patient_id``, ``study_id``, ``study_time`` (a day), ``age`` in years, ``sex``
            (F, M), ``view`` (the projection that stands for the study), ``pictures``, ``scanner``, ``modality``,
            ``label_method``, the columns of ``NUMBERS``, ``text.report`` and ``label.<finding>``.
    """

    frame: Any
    description: str = DESCRIPTION
    source: str = SOURCE
    licence: str = LICENCE

    def between(self, first: str, last: str) -> Any:
        """The studies from the day ``first`` to before the day ``last``, both as ``2009-01-01``."""
        days = self.frame["study_time"]
        return self.frame[(days >= first) & (days < last)]


def read_padchest(*, accept_licence: bool = False) -> PadchestStudies:
    """Every study of a patient who is not pediatric, one row each. The same file gives the same rows.

    Args:
        accept_licence: The one who runs it accepts the agreement on the use of the data.

    Raises:
        EnvironmentProblemError: without the licence accepted, or without the file on this machine.
        DigestMismatchError: the file is another one.
    """
    if not accept_licence:
        raise EnvironmentProblemError(
            f"The studies of PadChest come under an agreement that has to be accepted first: {LICENCE}.",
            remedy=f"Read {TERMS} and run again with --accept-licence.",
        )
    import pandas as pd

    path = locate_package_file(FILE, SHA256, what=WHAT)
    pictures = pd.read_csv(path, usecols=[*READ, "Pediatric"], dtype=str, keep_default_na=False, na_values=["", "None"])
    pictures = pictures[(pictures["Pediatric"] == "No") & pictures["Report"].notna()]
    return PadchestStudies(frame=_studies(pictures))


def _studies(pictures: Any) -> Any:
    """One row for each study, told by the picture of its first projection."""
    import pandas as pd

    rank = pictures["Projection"].map({name: place for place, name in enumerate(PROJECTIONS)}).fillna(len(PROJECTIONS))
    ordered = pictures.assign(rank=rank).sort_values(["StudyDate_DICOM", "StudyID", "rank"], kind="stable")
    count = ordered.groupby("StudyID", sort=False)["rank"].size()
    one = ordered.drop_duplicates("StudyID")
    days = pd.to_datetime(one["StudyDate_DICOM"], format="%Y%m%d")
    age = days.dt.year - pd.to_numeric(one["PatientBirth"], errors="coerce")
    made = {
        "patient_id": one["PatientID"],
        "study_id": one["StudyID"],
        "study_time": days.dt.strftime("%Y-%m-%d"),
        "age": age.where((age >= 0) & (age <= 120)).astype("Int64"),
        "sex": one["PatientSex_DICOM"].where(one["PatientSex_DICOM"].isin(["F", "M"])),
        "view": one["Projection"].where(one["Projection"].isin(PROJECTIONS), "other"),
        "pictures": one["StudyID"].map(count).astype("int64"),
        "scanner": one["Manufacturer_DICOM"],
        "modality": one["Modality_DICOM"],
        "label_method": one["MethodLabel"],
        **{name: pd.to_numeric(one[column], errors="coerce") for name, column in NUMBERS.items()},
        "text.report": one["Report"].str.strip(),
    }
    named = [_terms(value) for value in one["Labels"]]
    made |= {f"label.{name}": _truth(named, terms) for name, terms in FINDINGS.items()}
    return pd.DataFrame(made).reset_index(drop=True)


def _truth(named: list[frozenset[str] | None], terms: frozenset[str]) -> Any:
    """1 and 0; missing where the study has no labels, and where they say ``unchanged`` or ``exclude``."""
    import pandas as pd

    silent = [found is None or not found.isdisjoint({"unchanged", "exclude", "suboptimal study"}) for found in named]
    values: npt.NDArray[np.int8] = np.array([int(bool(found and found & terms)) for found in named], dtype=np.int8)
    return pd.Series(pd.array(values, dtype="Int8")).mask(np.array(silent) & (values == 0)).to_numpy()


def _terms(value: object) -> frozenset[str] | None:
    """The terms of one study; None where there are none. The file writes them as a list of Python."""
    if not isinstance(value, str) or not re.fullmatch(r"\[.*\]", value, flags=re.DOTALL):
        return None
    found = ast.literal_eval(value)
    return frozenset(str(term).strip() for term in found) or None
