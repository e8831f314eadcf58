"""What a reader sees when a page cannot be shown: what happened, and the next step."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from core.errors import AuscultError


def _words(exception: Exception | None) -> dict[str, str]:
    cause = exception.args[0] if exception is not None and exception.args else None
    return {"message": cause.message, "remedy": cause.remedy} if isinstance(cause, AuscultError) else {}


@login_not_required
def denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return render(request, "core/denied.html", _words(exception), status=403)


@login_not_required
def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return render(request, "core/not_found.html", _words(exception), status=404)


@login_not_required
def broken(request: HttpRequest) -> HttpResponse:
    """Shown when the code failed: rendered without the request, since the database may be what failed."""
    return HttpResponse(render_to_string("core/broken.html", {"theme": "auto", "product": "Auscult"}), status=500)


@login_not_required
def form_expired(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Shown when a form comes without its token, most often because the session ended meanwhile."""
    return render(request, "core/form_expired.html", status=403)
