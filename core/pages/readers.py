"""Who may open which pages. Everyone with a role reads; a regulator reads what was granted to them alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import render

from core.access import can, check_role, roles_of
from core.errors import AuscultError, DeniedError, NotFoundError
from core.models import INSIDERS, Role, User
from core.reach import works_here

log = logging.getLogger(__name__)
View = Callable[..., HttpResponseBase]


class HouseRequest(HttpRequest):
    """A request of somebody who is signed in: the middleware lets nobody else reach a view of the house."""

    user: User  # type: ignore[assignment]


def check_may_read(user: User) -> None:
    """Raise unless the person has a role in the house: a regulator's account opens what was granted to it only."""
    if roles_of(user) - {Role.PATIENT_READER} == {Role.REGULATOR}:
        raise DeniedError(
            "A regulator's account opens only what the institution granted to it.",
            remedy="Open Your access: it lists what was granted to you, by whom and until when.",
        )
    check_role(user, *INSIDERS, to="open this page")


def check_may_read_some(user: User) -> None:
    """Raise unless the person has a role in the house, be it limited to single systems."""
    if not works_here(user):
        check_may_read(user)


def check_may_read_granted(user: User) -> None:
    check_role(user, Role.REGULATOR, to="open this page")


def may_read(user: User) -> bool:
    """Whether a person works here, be it on single systems alone."""
    return bool(can(check_may_read_some, user))


def guarded(check: Callable[[User], None], *, opens: str) -> Callable[[View], View]:
    """View decorator: people for whom ``check`` passes. Denials and missing things become 403 and 404 with words, and
    what else the house refuses while a page is made (evidence changed on disk, say) becomes a page that says so.

    Args:
        opens: For whom, in a word; ``docs/access.md`` tells it of each address.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def opened(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                check(request.user)  # type: ignore[arg-type]
                return view(request, *args, **kwargs)
            except DeniedError as denial:
                raise PermissionDenied(denial) from denial
            except NotFoundError as missing:
                raise Http404(missing) from missing
            except AuscultError as error:
                log.warning("%s: %s", request.path, error)
                return render(request, "core/refused.html", {"error": error}, status=500)

        opened.opens = opens  # type: ignore[attr-defined]
        return opened

    return decorate


reads = guarded(check_may_read, opens="house")
"""View decorator: anyone with a role but regulator; on pages of a system also whoever has a role on it."""

reads_within = guarded(check_may_read_some, opens="house, and people of single systems")
"""View decorator like :data:`reads`, for lists and what belongs to the house: also for people whose roles are limited
to single systems. They are given rows of these alone (see :mod:`core.scope`)."""

reads_granted = guarded(check_may_read_granted, opens="regulators")
"""View decorator: regulators. What each of them may open, a grant says; the view asks the service that checks it."""
