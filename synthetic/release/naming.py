"""Keys of synthetic patients, and the names that are made of them: of files, of DICOM objects."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from core.errors import CohortError
from synthetic.generators.studies import LinkedStudies

MARK = "SYNTHETIC"
PREFIX = "SYN-"
KEY = re.compile(r"SYN-[A-Za-z0-9](?:[A-Za-z0-9.-]{0,44}[A-Za-z0-9])?")
"""At most 50 characters: with what is added to it, it still is an id in FHIR and a patient's id in DICOM (64)."""
IsReal = Callable[[str], bool]


def check_keys(studies: LinkedStudies, *, is_real: IsReal | None = None) -> None:
    """Whether every key is that of a synthetic patient or study. Messages tell row numbers and no key: it may be real.

    Args:
        is_real: Whether a key is one of the real cohort's.

    Raises:
        CohortError: there is no study, or a key is no synthetic one, is a real one, or names two studies.
    """
    if not len(studies):
        raise CohortError("There is no study to release.", remedy="Make patients first.")
    for column, keys in (("patient_id", studies.patient_ids), ("study_id", studies.study_ids)):
        for row, key in enumerate(keys.tolist(), start=1):
            if not isinstance(key, str) or not KEY.fullmatch(key):
                raise CohortError(
                    f"A key is not that of a synthetic patient: it does not begin with {PREFIX}, or has other signs"
                    " than letters, digits, dots and hyphens, or more than 50 of them. Nothing was written.",
                    remedy="Release what a generator made, and never a cohort of real patients.",
                    column=column,
                    row=row,
                )
            if is_real is not None and is_real(key):
                raise CohortError(
                    "A key is one of the real cohort's. Nothing was written.",
                    remedy="Make the patients again under keys of their own.",
                    column=column,
                    row=row,
                )
    if len(set(studies.study_ids.tolist())) < len(studies):
        raise CohortError("Two studies have the same key.", remedy="Give each a key of its own.", column="study_id")
    visits, places = studies.patients, studies.patient_ids
    if int(np.sum(places[1:] != places[:-1])) + 1 != len(visits):
        raise CohortError(
            "The studies of a patient do not follow one another.", remedy="Order them by patient.", column="patient_id"
        )


def uid_of(origin: str, purpose: str, key: str) -> str:
    """A DICOM unique identifier: 2.25 and a UUID of version 8 (RFC 9562), made of SHA-256 of what is named."""
    raw = bytearray(hashlib.sha256(f"{MARK}\0{origin}\0{purpose}\0{key}".encode()).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return f"2.25.{uuid.UUID(bytes=bytes(raw)).int}"


def dicom_path(patient: str, study: str) -> str:
    """Where the image of a study lies in the release."""
    return f"dicom/{patient}/{study}.dcm"


def moment_of(time: np.datetime64) -> datetime | None:
    """The time of a study in UTC; None where it has none."""
    seconds = time.astype("datetime64[s]")
    return None if np.isnat(seconds) else datetime.fromtimestamp(int(seconds.astype(np.int64)), UTC)


def has_images(studies: LinkedStudies) -> bool:
    return studies.images is not None and studies.images.size > 0 and bool(studies.has_image.any())


def has_image(studies: LinkedStudies, row: int) -> bool:
    return has_images(studies) and bool(studies.has_image[row])
