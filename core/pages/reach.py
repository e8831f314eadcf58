"""Addresses that name what belongs to a system, and the middleware that looks before a page is made.

Each app says of its addresses which objects they name. For somebody whose roles are limited to systems, every object
that an address names is looked up first: what is not there, and what lies beyond their reach, answers alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponseBase

from core.models import User
from core.reach import acting_on, has_limited_roles, reach_of, serving
from core.scope import in_sight, ways

NOTHING = "There is nothing here that you may see. Your roles are limited to single systems: open one of yours."


@dataclass(frozen=True, kw_only=True)
class Names:
    """That addresses which begin so name an object.

    Attributes:
        route: Beginning of the route, such as ``audits/<int:pk>/``.
        model: What is named.
        by: The part of the route that names it.
        field: The field that it is looked up by.
        asked: Whether ``by`` is a parameter of the query or the form, and no part of the route: a page that makes
            something new for the object.
    """

    route: str
    model: type[Model]
    by: str = "pk"
    field: str = "pk"
    asked: bool = False


_names: list[Names] = []


def addresses(*found: Names) -> None:
    """Say which objects addresses name."""
    _names.extend(found)


def named_by(route: str) -> list[Names]:
    """What a route names, the outermost first."""
    return [item for item in _names if route.startswith(item.route)]


def systems_named(route: str, given: dict[str, Any], asked: Callable[[str], str | None]) -> Iterator[int | None]:
    """Keys of the systems of every object that an address names; None for one that is not there, or of no system."""
    for item in named_by(route):
        value = asked(item.by) if item.asked else given.get(item.by)
        if value is None or (item.asked and item.field == "pk" and not str(value).isdecimal()):
            continue
        way = ways().get(item.model, "")
        with in_sight(None):
            rows = item.model._default_manager.filter(**{item.field: value})
            yield rows.values_list(way, flat=True).first() if way else None


class ReachMiddleware:
    """Lets roles that are limited to systems count on the pages of these systems, and on no others."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Nothing of an earlier request is left, whatever this thread did before.
        with in_sight(None), acting_on(()), ExitStack() as stack:
            request.served = stack  # type: ignore[attr-defined]
            return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Iterable[Any], kwargs: dict[str, Any]) -> None:
        """Before a page is made.

        Raises:
            Http404: for a limited person, where the address names what is not theirs, or is not there.
        """
        if isinstance(request.user, User):
            serve(request, request.user, kwargs)


def serve(request: HttpRequest, user: User, kwargs: dict[str, Any]) -> None:
    """Serve a person until the answer is made.

    Raises:
        Http404: for a limited person, where the address names what is not theirs, or is not there.
    """
    if not has_limited_roles(user):
        return
    match = request.resolver_match
    route = match.route if match else ""
    found = list(systems_named(route, kwargs, lambda name: request.POST.get(name) or request.GET.get(name)))
    reach = reach_of(user)
    if reach is not None and any(key not in reach for key in found):
        raise Http404(NOTHING)
    request.served.enter_context(serving(user, (key for key in found if key is not None)))  # type: ignore[attr-defined]
