"""How findings are put into words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone


def day(at: datetime) -> str:
    """``22 Nov 2026``."""
    local = timezone.localtime(at)
    return f"{local.day} {local:%b %Y}"


def moment(at: datetime) -> str:
    """``22 Nov 2026 at 14:05 UTC``."""
    return f"{day(at)} at {timezone.localtime(at):%H:%M %Z}"


def listed(words: Sequence[str], joint: str = "and") -> str:
    """``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {joint} {words[-1]}" if words else ""
