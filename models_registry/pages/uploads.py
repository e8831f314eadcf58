"""Uploads over HTTP: what will come, what has arrived, the next bytes, the end. JSON both ways, for scripts of a page.

A sender asks what has arrived (``GET``), sends the bytes that follow (``PUT`` or ``PATCH`` with an offset), and goes on
so until all is there; after a broken connection it asks again. Refusals are JSON too: ``error``, ``remedy``, ``file``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from core.errors import AuscultError, ConflictError, DeniedError, EnvironmentProblemError, NotFoundError
from core.pages.readers import HouseRequest, reads
from models_registry.intake.uploads import PromisedFile
from models_registry.models import AISystem, ModelVersion, SystemKind, VersionIntake
from models_registry.services.intakes import check_may_send, finish_upload, receive_chunk, start_intake

LONGEST_REQUEST = 4 << 20
RANGE = re.compile(r"bytes (\d{1,16})-(\d{1,16})/(\d{1,16})")
STATUS = {DeniedError: 403, NotFoundError: 404, ConflictError: 409, EnvironmentProblemError: 507}
View = Callable[..., JsonResponse]


def _in_json(view: View) -> View:
    """Answers a refusal of the house in JSON, with its remedy."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> JsonResponse:
        try:
            return view(request, *args, **kwargs)
        except AuscultError as error:
            status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 422)
            body = {"error": error.message, "remedy": error.remedy, "file": error.place}
            return JsonResponse(body, status=status)

    return answered


@require_POST
@reads
@_in_json
def intake_start(request: HouseRequest, slug: str) -> JsonResponse:
    """Promise files: ``{"label", "adapter", "notes", "backbone", "files": [{"path", "size"}]}``."""
    system = AISystem.objects.filter(slug=slug).first()
    if system is None:
        raise NotFoundError("There is no such system.", remedy="Begin at the list of systems.")
    body = _body(request)
    row = start_intake(
        system=system,
        label=_text(body, "label"),
        adapter=_text(body, "adapter"),
        kind=VersionIntake.Kind.UPLOAD,
        source_path=None,
        notes=_text(body, "notes"),
        backbone=_backbone(body.get("backbone")),
        files=_promised(body.get("files")),
        by=request.user,
    )
    return JsonResponse(_state(row), status=201)


@require_http_methods(["GET", "HEAD", "PUT", "PATCH"])
@reads
@_in_json
def intake_files(request: HouseRequest, slug: str, pk: int) -> JsonResponse:
    """What has arrived, or with ``PUT ?path=...&offset=N`` the next bytes of a file."""
    row = _intake(slug, pk)
    if request.method not in {"PUT", "PATCH"}:
        check_may_send(row, request.user)
        return JsonResponse(_state(row))
    length = _length(request)
    path = request.GET.get("path", "")
    offset = _offset(request, row, path=path, length=length)
    file = receive_chunk(intake=row, path=path, offset=offset, stream=request, length=length, by=request.user)  # type: ignore[arg-type]
    return JsonResponse({"path": file.path, "size": file.size, "received": file.received})


@require_POST
@reads
@_in_json
def intake_finish(request: HouseRequest, slug: str, pk: int) -> JsonResponse:
    """All bytes are there: a worker checks them."""
    return JsonResponse(_state(finish_upload(intake=_intake(slug, pk), by=request.user)))


def _intake(slug: str, pk: int) -> VersionIntake:
    row = VersionIntake.objects.filter(system__slug=slug, pk=pk).select_related("system").first()
    if row is None:
        raise NotFoundError("There is no such upload.", remedy="Begin at the system's page.")
    return row


def _state(row: VersionIntake) -> dict[str, Any]:
    files = [{"path": file.path, "size": file.size, "received": file.received} for file in row.files.all()]
    return {
        "id": row.pk,
        "status": str(row.status),
        "files": files,
        "href": reverse("intake", args=[row.system.slug, row.pk]),
    }


def _body(request: HouseRequest) -> dict[str, Any]:
    length = _length(request)
    if length > LONGEST_REQUEST:
        raise AuscultError("The list of files is too long.", remedy="Upload the model as one archive.")
    try:
        body = json.loads(request.read(length))
    except (ValueError, RecursionError) as error:
        raise AuscultError("The request is no JSON.", remedy="Send a JSON object.") from error
    if not isinstance(body, dict):
        raise AuscultError("The request is no JSON object.", remedy="Send a JSON object.")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str):
        raise AuscultError(f"The value of {name} is no text.", remedy="Send a text.")
    return value


def _promised(files: Any) -> list[PromisedFile]:
    good = isinstance(files, list) and all(
        isinstance(file, dict) and isinstance(file.get("path"), str) and type(file.get("size")) is int for file in files
    )
    if not good:
        raise AuscultError("The list of files is missing.", remedy='Send files as [{"path": "...", "size": 123}].')
    return [PromisedFile(path=file["path"], size=file["size"]) for file in files]


def _backbone(value: Any) -> ModelVersion | None:
    """The version of a backbone by its number; None where none was chosen."""
    if value in (None, ""):
        return None
    number = int(value) if str(value).isdecimal() else 0
    rows = ModelVersion.objects.filter(pk=number, system__kind=SystemKind.BACKBONE).select_related("system")
    if (found := rows.first()) is None:
        raise NotFoundError("There is no such backbone.", remedy="Choose one of the list, or none.")
    return found


def _length(request: HouseRequest) -> int:
    said = request.headers.get("Content-Length") or ("" if "Transfer-Encoding" in request.headers else "0")
    if not said.isdecimal():
        raise AuscultError("The request does not say how many bytes it has.", remedy="Send Content-Length.")
    return int(said)


def _offset(request: HouseRequest, row: VersionIntake, *, path: str, length: int) -> int:
    """Where the bytes begin: ``offset`` in the address, or ``Content-Range: bytes FIRST-LAST/SIZE``."""
    given = request.headers.get("Content-Range")
    if given is None:
        said = request.GET.get("offset", "")
        if not said.isdecimal() or len(said) > 16:
            raise AuscultError("The offset is missing.", remedy="Send ?offset=N, or Content-Range.", file=path)
        return int(said)
    found = RANGE.fullmatch(given.strip())
    if found is None:
        raise AuscultError("Content-Range cannot be read.", remedy="Send: bytes FIRST-LAST/SIZE.", file=path)
    first, last, size = map(int, found.groups())
    if last - first + 1 != length:
        raise AuscultError("Content-Range and Content-Length differ.", remedy="Send what both say.", file=path)
    promised = row.files.filter(path=path).values_list("size", flat=True).first()
    if promised is not None and promised != size:
        raise ConflictError(
            f"The file now has {size:,} bytes; {promised:,} were promised.",
            remedy="It changed meanwhile: begin a new upload.",
            file=path,
        )
    return first
