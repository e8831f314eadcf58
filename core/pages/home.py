"""The first page after signing in: what waits for this person, and why."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render

from core.access import roles_of
from core.inbox import unread_urgent
from core.kept import kept
from core.models import Role, User
from core.pages import unread_for
from core.pages.panels import QueueItem, in_order, panels_for, queue_for
from core.pages.readers import HouseRequest
from core.reach import acting_on, grants_of, reach_of, works_here
from core.scope import in_sight

MOST_URGENT = 3
PAGE_SIZE = 50


def home(request: HouseRequest) -> HttpResponse:
    """The queue by role. A regulator is taken to their grants; an account without a role is told whom to ask."""
    if not works_here(request.user):
        regulates = Role.REGULATOR in roles_of(request.user)
        return redirect("portal") if regulates else render(request, "core/no_role.html")
    user = request.user
    queue = kept("queue", user.pk, sorted(grants_of(user)), make=lambda: _queue(user))
    context = {
        "urgent": unread_urgent(request.user)[:MOST_URGENT],
        "more_urgent": max(0, unread_for(request).urgent - MOST_URGENT),
        "waiting": len(queue),
        "page": Paginator(queue, PAGE_SIZE).get_page(request.GET.get("page")),
        "panels": panels_for("home", request.user, None),
    }
    return render(request, "core/home.html", context)


def _queue(user: User) -> list[QueueItem]:
    """What waits for a person; where their roles are limited to systems, with the roles that count on each."""
    reach = reach_of(user)
    if reach is None:
        return queue_for(user)
    found: dict[str, QueueItem] = {}
    for key in sorted(reach):
        with in_sight({key}), acting_on({key}):
            found |= {item.href + item.title: item for item in queue_for(user)}
    return in_order(found.values())
