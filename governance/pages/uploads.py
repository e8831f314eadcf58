"""Receiving attachments: what is too large is thrown away while it arrives, and never fills the disk."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from core.errors import AuscultError
from core.models import User
from governance.services.attachments import LARGEST, Attachment, keep_attachment, plain_name
from models_registry.models import ModelVersion

View = Callable[..., HttpResponseBase]
MOST_FILES = 20
Received = tuple[dict[str, list[Attachment]], dict[str, list[str]]]
"""Files that were kept, and words about those that were refused, by field."""


class CappedUpload(FileUploadHandler):
    """Skips what grows beyond the limit, and everything after so many files; notes the names of what it skipped."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        self.skipped: list[tuple[str, str]] = []
        self.begun = 0

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.begun += 1

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        # Only here: skipped before every handler has begun with it, a file would take the one before with it.
        if self.begun > MOST_FILES or start + len(raw_data) > LARGEST:
            self.skipped.append((str(self.field_name), plain_name(str(self.file_name))))
            raise SkipFile
        return raw_data

    def file_complete(self, file_size: int) -> UploadedFile | None:
        return None


def capped(view: View) -> View:
    """View decorator: uploads are capped before the form's token is looked for, which reads the whole request."""

    @csrf_exempt
    @wraps(view)
    def received(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        handler = CappedUpload(request)
        request.upload_handlers.insert(0, handler)
        request.skipped_uploads = handler.skipped  # type: ignore[attr-defined]
        return csrf_protect(view)(request, *args, **kwargs)

    return received


def keep_uploads(
    request: HttpRequest, names: dict[str, str], *, version: ModelVersion, requirement: str, by: User
) -> Received:
    """Keep every file that came for one of the fields; what was refused comes back in words.

    Args:
        names: Field by the name of its input.
    """
    kept: dict[str, list[Attachment]] = {}
    refused: dict[str, list[str]] = {}
    for sent, name in names.items():
        for upload in request.FILES.getlist(sent):
            try:
                file = keep_attachment(
                    version=version, requirement=requirement, name=str(upload.name), body=upload.read(), by=by
                )
            except AuscultError as error:
                refused.setdefault(name, []).append(f"{error.message} {error.remedy}")
            else:
                kept.setdefault(name, []).append(file)
    for sent, file_name in request.skipped_uploads:  # type: ignore[attr-defined]
        told = gettext(
            "The file “%(name)s” is larger than 20 MB, or one of too many. Attach up to %(FILES)s files."
        ) % {"name": file_name, "FILES": MOST_FILES}
        refused.setdefault(names.get(sent, sent), []).append(told)
    return kept, refused
