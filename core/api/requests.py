"""A request of the programming interface, and the body that came with it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest

from core.api.problems import MediaTypeError, TooLargeError
from core.errors import AuscultError
from core.models import ApiToken, User
from core.store import check_room

PIECE = 1 << 20
JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Received:
    """A body on disk. ``path`` ends like the form it came in, and is gone once the request is answered."""

    path: Path
    size: int
    digest: str


class TokenRequest(HttpRequest):
    """A request with a token: ``auth`` is the person it acts for, ``received`` a body that was streamed to disk.

    ``answer_headers`` are put on the answer.
    """

    auth: User
    token: ApiToken
    received: Received
    answer_headers: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """How a body is taken that is no JSON: its forms (type -> end of the file's name), and its most bytes, asked anew
    for each request. ``refused`` is the error where it comes in another form."""

    forms: Mapping[str, str]
    most: Callable[[], int]
    refused: type[AuscultError] = MediaTypeError


def content_type(request: HttpRequest) -> str:
    return (request.content_type or "").lower()


def json_digest(request: HttpRequest, *, expected: bool) -> str:
    """SHA-256 of a body of JSON, which is read into memory; of nothing where there is none.

    Raises:
        MediaTypeError: it says to be something else.
        TooLargeError: it has more bytes than a request may.
    """
    try:
        body = request.body
    except RequestDataTooBig as error:
        raise TooLargeError("The body is too large.", remedy="Send fewer items at once.") from error
    if (body or expected) and content_type(request) != JSON:
        raise MediaTypeError("The body is not in a form that is taken here.", remedy=f"Send {JSON}.")
    return hashlib.sha256(body).hexdigest()


@contextmanager
def to_disk(request: HttpRequest, taken: Streamed) -> Iterator[Received]:
    """The body as a file in a private folder, piece by piece, with its digest; the folder is gone afterwards.

    Raises:
        MediaTypeError: another form than those that are taken, or what ``taken`` says instead.
        TooLargeError: more bytes than are taken.
        EnvironmentProblemError: the disk has no room for it.
        AuscultError: nothing at all.
    """
    suffix = taken.forms.get(content_type(request))
    if suffix is None:
        raise taken.refused(
            "The body is in no form that is taken here.",
            remedy=f"Set Content-Type to one of: {', '.join(taken.forms)}.",
        )
    home: Path = settings.AUSCULT_HOME / "received"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    said = request.headers.get("Content-Length", "")
    most = taken.most()
    if said.isdecimal() and int(said) > most:
        raise _too_large(most)
    if said.isdecimal():
        check_room(home, int(said))
    folder = Path(tempfile.mkdtemp(dir=home))
    try:
        yield _pour(request, folder / f"body{suffix}", most)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pour(request: HttpRequest, target: Path, most: int) -> Received:
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as stream:
        while piece := request.read(PIECE):
            size += len(piece)
            if size > most:
                raise _too_large(most)
            digest.update(piece)
            stream.write(piece)
    if not size:
        raise AuscultError("The body is empty.", remedy="Send one row for each study.")
    target.chmod(0o600)
    return Received(path=target, size=size, digest=digest.hexdigest())


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(
        f"The body is too large: at most {most:,} bytes are taken.", remedy="Send fewer items at once."
    )
