"""The page shell: what every page shows around its own content."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from core.pages.navigation import entries_for, roles_in_words
from core.pages.session import theme_of


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context of the frame: theme, navigation and the person. Adds one query for a signed-in person's roles."""
    context: dict[str, Any] = {"theme": theme_of(request), "product": "Auscult"}
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        context["navigation"] = entries_for(user, path=request.path)
        context["roles_in_words"] = roles_in_words(user)
    return context
