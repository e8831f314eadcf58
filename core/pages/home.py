"""The first page after signing in: what waits for this person, and why."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render

from core.access import roles_of
from core.inbox import unread_urgent
from core.models import Role
from core.pages import unread_for
from core.pages.panels import panels_for, queue_for
from core.pages.readers import HouseRequest

MOST_URGENT = 3


def home(request: HouseRequest) -> HttpResponse:
    """The queue by role. A regulator is taken to their grants; an account without a role is told whom to ask."""
    roles = roles_of(request.user) - {Role.PATIENT_READER}
    if roles == {Role.REGULATOR}:
        return redirect("portal")
    if not roles:
        return render(request, "core/no_role.html")
    context = {
        "urgent": unread_urgent(request.user)[:MOST_URGENT],
        "more_urgent": max(0, unread_for(request).urgent - MOST_URGENT),
        "queue": queue_for(request.user),
        "panels": panels_for("home", request.user, None),
    }
    return render(request, "core/home.html", context)
