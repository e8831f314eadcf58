"""The programming interface under ``/api/v1/``: routers of the apps, one way to authenticate, one form of an error.

Errors are problem details (RFC 9457). They say which field is wrong and never what was in it.
"""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, URLResolver
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from core.errors import AuscultError, ConflictError, DeniedError, EnvironmentProblemError, NotFoundError, TransientError
from evaluation.api import monitors
from governance.api import gate, incidents, oversight

log = logging.getLogger(__name__)
STATUS: tuple[tuple[type[AuscultError], int], ...] = (
    (DeniedError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (TransientError, 503),
    (EnvironmentProblemError, 500),
    (AuscultError, 422),
)
TITLES = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "Not allowed",
    404: "Not found",
    409: "In conflict with what is recorded",
    413: "Too large",
    422: "Not as asked for",
    500: "Something failed",
    503: "Not possible now",
}
MOST_PROBLEMS = 20

api = NinjaAPI(title="Auscult", version="1", urls_namespace="api", docs_url=None, openapi_url=None)
api.add_router("", oversight.router)
api.add_router("", gate.router)
api.add_router("", incidents.router)
api.add_router("", monitors.router)


def problem(status: int, detail: str, *, remedy: str = "", fields: list[dict[str, str]] | None = None) -> HttpResponse:
    """One error: its status, what is wrong, and what to do."""
    body: dict[str, Any] = {"type": "about:blank", "title": TITLES[status], "status": status, "detail": detail}
    body |= {"remedy": remedy} if remedy else {}
    body |= {"fields": fields} if fields else {}
    response = JsonResponse(body, status=status, content_type="application/problem+json")
    response["Cache-Control"] = "no-store"
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


@api.exception_handler(AuscultError)
def refused(request: HttpRequest, error: AuscultError) -> HttpResponse:
    status = next(code for kind, code in STATUS if isinstance(error, kind))
    return problem(status, error.message, remedy=error.remedy)


@api.exception_handler(AuthenticationError)
def unknown(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    return problem(401, "There is no token, or it does not hold.", remedy="Send it as Authorization: Bearer TOKEN.")


@api.exception_handler(ValidationError)
def not_as_asked(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Which fields are wrong and how, without what was in them."""
    found = [{"field": _place(item.get("loc", ())), "problem": _words(item)} for item in error.errors[:MOST_PROBLEMS]]
    return problem(422, f"{len(error.errors)} fields are not as asked for.", fields=found)


KNOWN = frozenset(
    {"items", "key", "happened_at", "action", "reason", "label", "group", "study_id", "role", "day", "n", "version",
     "policy", "site", "batch", "owner", "escalate_to", "body", "query", "path", "pk",
     *incidents.IncidentIn.model_fields}
)  # fmt: skip
"""Names of fields that may be repeated. Another name was chosen by the sender, and may say anything."""


def _place(loc: Any) -> str:
    return ".".join(str(part) if isinstance(part, int) or part in KNOWN else "(unknown)" for part in loc)


def _words(item: dict[str, Any]) -> str:
    """What pydantic says of the kind of error: it names choices and bounds, and for a time what is wrong with it."""
    said = {"extra_forbidden": "This field is not known.", "json_invalid": "This is no JSON."}
    return said.get(str(item.get("type")), str(item.get("msg", "It is not as asked for.")))


@api.exception_handler(HttpError)
def unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem(400, "The body is no JSON.", remedy="Send application/json.")


@api.exception_handler(RequestDataTooBig)
def too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return problem(413, "The body is too large.", remedy="Send fewer items at once.")


@api.exception_handler(Http404)
def missing(request: HttpRequest, error: Http404) -> HttpResponse:
    return problem(404, "There is nothing at this address.")


@api.exception_handler(Exception)
def broken(request: HttpRequest, error: Exception) -> HttpResponse:
    """What nobody foresaw goes to the log without its words: they may repeat what was sent."""
    log.error("%s %s failed: %s", request.method, request.path, type(error).__name__)
    return problem(500, "Something failed, and nothing was recorded.", remedy="Tell an administrator the time.")


def patterns() -> list[URLPattern | URLResolver]:
    """The addresses. Signing in by page is not asked for: each operation asks for a token itself."""
    found = [pattern for pattern in api.urls[0] if getattr(pattern, "name", "") != "api-root"]
    for pattern in found:
        pattern.callback.login_required = False  # type: ignore[union-attr]
    return found
