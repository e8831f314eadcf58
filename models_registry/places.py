"""Which places on the server a person at a page may have read."""

from __future__ import annotations

import uuid
from pathlib import Path

from django.conf import settings
from django.utils.text import get_valid_filename

from core.errors import DeniedError


def check_readable_from_pages(path: Path) -> None:
    """Raise unless the path, symbolic links resolved, lies in a folder that the operator opened.

    Whoever may register a cohort or a model must not thereby be able to read any file that the server can read.
    """
    place = path.resolve()
    if not any(place.is_relative_to(root.resolve()) for root in settings.AUSCULT_IMPORT_ROOTS):
        raise DeniedError(
            f"The server does not read {path} for a page.",
            remedy="Upload the file, or ask the operator to add its folder to AUSCULT_IMPORT_ROOTS.",
        )


def place_for_upload(name: str) -> Path:
    """Where a file of patients that was sent is kept until it is registered or discarded: in a folder of its own."""
    folder = Path(settings.MEDIA_ROOT) / "cohorts" / uuid.uuid4().hex
    folder.mkdir(parents=True, mode=0o700)
    return folder / get_valid_filename(Path(name or "cohort.csv").name)
