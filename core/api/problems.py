"""One form of an error: problem details (RFC 9457). They say which field is wrong and never what was in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse, JsonResponse

from core.errors import (
    AuscultError,
    ConflictError,
    DeniedError,
    EnvironmentProblemError,
    NotFoundError,
    TransientError,
)

MEDIA_TYPE = "application/problem+json"
DOCUMENT = "docs/api.md"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of problem: the end of its ``type``, its status, and its title."""

    slug: str
    status: int
    title: str

    @property
    def uri(self) -> str:
        """A reference that never changes, to the place where the kind is explained."""
        return f"{DOCUMENT}#errors-{self.slug}"


KINDS = {
    kind.slug: kind
    for kind in (
        Kind(slug="unreadable", status=400, title="The request cannot be read"),
        Kind(slug="token", status=401, title="A token is needed"),
        Kind(slug="not-allowed", status=403, title="Not allowed"),
        Kind(slug="not-found", status=404, title="Not found"),
        Kind(slug="method", status=405, title="Not by this method"),
        Kind(slug="conflict", status=409, title="In conflict with what is recorded"),
        Kind(slug="in-flight", status=409, title="The same request is being answered"),
        Kind(slug="too-large", status=413, title="Too large"),
        Kind(slug="media-type", status=415, title="Not in this form"),
        Kind(slug="not-as-asked", status=422, title="Not as asked for"),
        Kind(slug="key-used", status=422, title="The key was used for something else"),
        Kind(slug="too-many", status=429, title="Too many requests"),
        Kind(slug="failed", status=500, title="Something failed"),
        Kind(slug="not-now", status=503, title="Not possible now"),
    )
}
"""Every kind of problem, by its slug."""


class MediaTypeError(AuscultError):
    """The body came in a form that the operation does not take."""


class TooLargeError(AuscultError):
    """The body has more bytes than the operation takes."""


class InFlightError(ConflictError):
    """The request with this key is being answered right now."""


class KeyUsedError(AuscultError):
    """The key was used for another request."""


class TooManyError(AuscultError):
    """More requests than a token may make. ``seconds``: after how long the next one is answered."""

    def __init__(self, message: str, *, remedy: str = "", seconds: int) -> None:
        super().__init__(message, remedy=remedy)
        self.seconds = seconds


OF_ERRORS: tuple[tuple[type[AuscultError], str], ...] = (
    (InFlightError, "in-flight"),
    (KeyUsedError, "key-used"),
    (MediaTypeError, "media-type"),
    (TooLargeError, "too-large"),
    (TooManyError, "too-many"),
    (DeniedError, "not-allowed"),
    (NotFoundError, "not-found"),
    (ConflictError, "conflict"),
    (TransientError, "not-now"),
    (EnvironmentProblemError, "failed"),
    (AuscultError, "not-as-asked"),
)
"""Which kind an error of the house is: the first that fits."""


def problem(slug: str, detail: str, *, remedy: str = "", fields: list[dict[str, str]] | None = None) -> HttpResponse:
    """One error: its kind, what is wrong, and what to do."""
    return problem_with(slug, detail, remedy=remedy, **({"fields": fields} if fields else {}))


def problem_with(slug: str, detail: str, *, remedy: str = "", **more: Any) -> HttpResponse:
    """The same, with further members of the problem."""
    kind = KINDS[slug]
    body: dict[str, Any] = {"type": kind.uri, "title": kind.title, "status": kind.status, "detail": detail}
    body |= {"remedy": remedy} if remedy else {}
    response = JsonResponse(body | more, status=kind.status, content_type=MEDIA_TYPE)
    response["Cache-Control"] = "no-store"
    if kind.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def problem_of(error: AuscultError) -> HttpResponse:
    """The problem that an error of the house is."""
    slug = next(slug for kind, slug in OF_ERRORS if isinstance(error, kind))
    response = problem(slug, error.message, remedy=error.remedy)
    if isinstance(error, TooManyError):
        response["Retry-After"] = str(error.seconds)
    return response
