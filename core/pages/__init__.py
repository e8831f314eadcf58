"""The page shell: what every page shows around its own content."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import get_language

from core.access import roles_of
from core.inbox import Unread, unread_of
from core.models import Role
from core.pages.navigation import entries_for, roles_in_words
from core.pages.readers import may_read
from core.pages.session import theme_of


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context of the frame: theme, navigation, the person, and a bell with what they have not read.

    Adds one query for a signed-in person's roles, and on whole pages one for the bell.
    """
    language = get_language() or "en-gb"
    context: dict[str, Any] = {
        "theme": theme_of(request),
        "product": "Auscult",
        "language": language,
        "language_tag": to_language_tag(language),
        "languages": settings.LANGUAGES,
    }
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        context["navigation"] = entries_for(user, path=request.path)
        context["roles_in_words"] = roles_in_words(user)
        context["administers"] = Role.ADMINISTRATOR in roles_of(user)
        if may_read(user):
            # A function, so that fragments of pages, which have no bell, ask nothing.
            context["unread"] = lambda: unread_for(request)
    return context


def to_language_tag(language: str) -> str:
    """A language as documents name it: ``en-gb`` is written ``en-GB``."""
    head, _, region = language.partition("-")
    return f"{head}-{region.upper()}" if region else head


def unread_for(request: HttpRequest) -> Unread:
    """How much the person of a request has not read, asked once for each request: the frame shows it twice."""
    if not hasattr(request, "_auscult_unread"):
        request._auscult_unread = unread_of(request.user)  # type: ignore[attr-defined, arg-type]
    kept: Unread = request._auscult_unread  # type: ignore[attr-defined]
    return kept
