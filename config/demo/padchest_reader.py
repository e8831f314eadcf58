"""A small reader of PadChest's reports: words to findings, fitted on half of the patients of the first two years.

It is what the drill on PadChest watches: a recorded system, real because it reads every report, and small because it
has to be made in seconds. It is no radiologist; its text is what a radiologist wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models_registry.cohorts.padchest import FINDINGS, PadchestStudies
from models_registry.cohorts.spool import hash_ids

FIRST, REPLAY = "2009-01-01", "2011-01-01"
"""The reader is fitted on, and the reference is of, the time between these days; what comes later is replayed."""
LAST = "2017-07-01"
"""From July 2017 on the file has too few studies in some months, and stops."""
TERMS = 1 << 15


@dataclass(frozen=True, kw_only=True)
class Drill:
    """What the drill needs, as files.

    Attributes:
        reference: Parquet, studies of 2009 and 2010 of the patients that the reader was not fitted on.
        predictions: Parquet, ``study_id`` and ``score.<finding>`` of every study of the reference and after.
        months: First day of each month that is replayed.
        fitted: Patients that the reader was fitted on.
    """

    reference: Path
    predictions: Path
    months: tuple[str, ...]
    fitted: int


def write_drill(studies: PadchestStudies, folder: Path) -> Drill:
    """Fit the reader and write what it says, and the reference. The same studies give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = studies.frame
    before = studies.between(FIRST, REPLAY)
    half = fitted_on(before["patient_id"])
    training, reference = before[half], before[~half]
    judged = frame[(frame["study_time"] >= REPLAY) & (frame["study_time"] < LAST)]
    files = Drill(
        reference=folder / "padchest-reference.parquet",
        predictions=folder / "padchest-predictions.parquet",
        months=months_of(REPLAY, LAST),
        fitted=int(training["patient_id"].nunique()),
    )
    import pandas as pd

    told = pd.concat([reference, judged])
    scores = read_reports(training, told)
    reference.to_parquet(files.reference, index=False)
    pd.DataFrame({"study_id": told["study_id"].to_numpy(), **scores}).to_parquet(files.predictions, index=False)
    return files


def write_month(studies: PadchestStudies, month: str, path: Path) -> int:
    """Write the studies of the month that begins with this day; returns how many there are."""
    following = months_of(month, "2100-01-01", most=2)[1]
    found = studies.between(month, following)
    part = path.with_suffix(".part")
    found.to_parquet(part, index=False)
    part.rename(path)  # a drop folder sees the file only when it is whole
    return len(found)


def fitted_on(patient_ids: Any) -> npt.NDArray[np.bool_]:
    """Whether the reader was fitted on each patient: half of them, by hash."""
    import pyarrow as pa

    chosen: npt.NDArray[np.bool_] = hash_ids(pa.array(patient_ids, pa.string())) % np.uint64(2) == 0
    return chosen


def months_of(first: str, last: str, *, most: int = 1000) -> tuple[str, ...]:
    """First days of the months from ``first`` to before ``last``."""
    year, month = int(first[:4]), int(first[5:7])
    found: list[str] = []
    while (day := f"{year:04d}-{month:02d}-01") < last and len(found) < most:
        found.append(day)
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return tuple(found)


def read_reports(training: Any, told: Any) -> dict[str, npt.NDArray[np.float64]]:
    """Scores of each finding from the words of the report, by logistic regression on words and pairs of words."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

    words = HashingVectorizer(n_features=TERMS, ngram_range=(1, 2), alternate_sign=False, token_pattern=r"[^\s.]+")
    known, asked = words.transform(training["text.report"]), words.transform(told["text.report"])
    scores = {}
    for name in FINDINGS:
        truth = training[f"label.{name}"].to_numpy(dtype=np.float64)
        there = ~np.isnan(truth)
        reader = LogisticRegression(C=30.0, max_iter=200).fit(known[there], truth[there].astype(int))
        scores[f"score.{name}"] = reader.predict_proba(asked)[:, 1]
    return scores
