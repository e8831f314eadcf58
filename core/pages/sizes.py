"""How large pictures are that were drawn before, so that pages leave room for them and nothing moves then."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.core.cache import caches
from django.utils.translation import get_language

SIZE = re.compile(r'<svg[^>]*? width="([\d.]+)" height="([\d.]+)"')
KEPT_SECONDS = 30 * 24 * 3600


def _key(address: str) -> str:
    """The same for both themes: they differ in colours alone. Words of another language take other room."""
    parts = urlsplit(address)
    asked = sorted((name, value) for name, value in parse_qsl(parts.query) if name not in {"theme", "in"})
    return f"picture-size:2:{get_language()}:{parts.path}?{urlencode(asked)}"


def remember_size(address: str, svg: str) -> None:
    """Keep the size of the picture at an address."""
    if found := SIZE.search(svg[:2000]):
        caches["pictures"].set(_key(address), (round(float(found[1])), round(float(found[2]))), timeout=KEPT_SECONDS)


def known_size(address: str) -> tuple[int, int] | None:
    """Width and height of the picture at an address, in pixels; None before it was drawn here."""
    kept: tuple[int, int] | None = caches["pictures"].get(_key(address))
    return kept
