"""The programming interface under ``/api/v1/``: routers of the apps, and one form of an error (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, re_path
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from core.api.problems import problem, problem_of
from core.errors import AuscultError
from evaluation.api import audits, monitors, protocols
from governance.api import documents, gate, incidents, oversight
from models_registry.api import cohorts, imports, intakes, systems
from synthetic.api import orders

log = logging.getLogger(__name__)
MOST_PROBLEMS = 20
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROUTERS = (
    systems.router,
    intakes.router,
    cohorts.router,
    imports.router,
    protocols.router,
    audits.router,
    monitors.router,
    orders.router,
    documents.router,
    gate.router,
    incidents.router,
    oversight.router,
)
"""In the order in which the documentation tells of them."""

api = NinjaAPI(title="Auscult", version="1", urls_namespace="api", docs_url=None, openapi_url=None)
for router in ROUTERS:
    api.add_router("", router)


@api.exception_handler(AuscultError)
def refused(request: HttpRequest, error: AuscultError) -> HttpResponse:
    return problem_of(error)


@api.exception_handler(AuthenticationError)
def unknown(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    return problem("token", "There is no token, or it does not hold.", remedy="Send it as Authorization: Bearer TOKEN.")


@api.exception_handler(ValidationError)
def not_as_asked(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Which fields are wrong and how, without what was in them."""
    known = KNOWN | _named_in(request)
    found = [
        {"field": _place(item.get("loc", ()), known), "problem": _words(item)} for item in error.errors[:MOST_PROBLEMS]
    ]
    return problem("not-as-asked", f"{len(error.errors)} fields are not as asked for.", fields=found)


KNOWN = frozenset({"body", "query", "path"})


def _named_in(request: HttpRequest) -> frozenset[str]:
    """Names of fields that may be repeated: those of the operation. Another was chosen by the sender, and may say
    anything."""
    return FIELDS.get(getattr(request.resolver_match, "route", ""), frozenset())


def _place(loc: Any, known: frozenset[str]) -> str:
    return ".".join(str(part) if isinstance(part, int) or part in known else "(unknown)" for part in loc)


def _words(item: dict[str, Any]) -> str:
    """What pydantic says of the kind of error: it names choices and bounds, and for a time what is wrong with it."""
    said = {"extra_forbidden": "This field is not known.", "json_invalid": "This is no JSON."}
    return said.get(str(item.get("type")), str(item.get("msg", "It is not as asked for.")))


@api.exception_handler(HttpError)
def unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem("unreadable", "The body is no JSON.", remedy="Send application/json.")


@api.exception_handler(RequestDataTooBig)
def too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return problem("too-large", "The body is too large.", remedy="Send fewer items at once.")


@api.exception_handler(Http404)
def missing(request: HttpRequest, error: Http404) -> HttpResponse:
    return problem("not-found", "There is nothing at this address.")


@api.exception_handler(Exception)
def broken(request: HttpRequest, error: Exception) -> HttpResponse:
    """What nobody foresaw goes to the log without its words: they may repeat what was sent."""
    log.error("%s %s failed: %s", request.method, request.path, type(error).__name__)
    return problem("failed", "Something failed, and nothing was recorded.", remedy="Tell an administrator the time.")


def _fields() -> dict[str, frozenset[str]]:
    """Route -> names of all fields of its operations, those of nested objects too."""
    found: dict[str, frozenset[str]] = {}
    for router in ROUTERS:
        for path, view in router.path_operations.items():
            names = {name for operation in view.operations for model in operation.models for name in _names(model)}
            route = path.lstrip("/").replace("{", "<").replace("}", ">")
            found[f"api/v1/{route}"] = frozenset(names)
    return found


def _names(model: Any) -> set[str]:
    """Names in the schema of a model, at any depth."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}


FIELDS = _fields()


def patterns() -> list[URLPattern | URLResolver]:
    """The addresses. Signing in by page is not asked for: each operation asks for a token itself."""
    found: list[URLPattern | URLResolver] = []
    for pattern in api.urls[0]:
        if isinstance(pattern, URLPattern) and pattern.name != "api-root":
            pattern.callback = _open(_by_method(pattern.callback))
            found.append(pattern)
    return found


def beyond() -> URLPattern:
    """Every other address under ``/api/``: a problem instead of a page."""
    return re_path(r"^api(?:/.*)?$", _open(_nothing))


def _nothing(request: HttpRequest) -> HttpResponse:
    return problem("not-found", "There is nothing at this address.", remedy="See /api/ for all of them.")


def _open(view: Callable[..., Any]) -> Callable[..., Any]:
    """Neither a session nor the token of a form is asked for: no cookie is read here."""
    view.login_required = False  # type: ignore[attr-defined]
    view.csrf_exempt = True  # type: ignore[attr-defined]
    return view


def _by_method(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = view(request, *args, **kwargs)
        if response.status_code != 405:
            return response
        allowed = response.headers["Allow"]
        told = problem("method", f"This address does not take {_method(request)}.", remedy=f"Use {allowed}.")
        told["Allow"] = allowed
        return told

    return answered


def _method(request: HttpRequest) -> str:
    return request.method if request.method in METHODS else "this method"
