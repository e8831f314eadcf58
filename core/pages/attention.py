"""What needs attention first about something, from every floor: the page of it begins with this list."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from core.models import User

ORDER = {"fail": 0, "insufficient": 1, "working": 2, "waiting": 3, "pass": 4, "rest": 5}
"""Tones, the most urgent first."""


@dataclass(frozen=True, kw_only=True)
class Attention:
    """One thing to know or to do: its state in a word, what it is, and where it is seen to."""

    tone: str
    word: str
    title: str
    text: str = ""
    href: str = ""


AttentionSource = Callable[[User, Any], Iterable[Attention]]
_sources: dict[str, list[AttentionSource]] = {}


def attention_source(place: str) -> Callable[[AttentionSource], AttentionSource]:
    """Decorator: ask this function what needs attention on pages of this place."""

    def add(source: AttentionSource) -> AttentionSource:
        _sources.setdefault(place, []).append(source)
        return source

    return add


def attention_for(place: str, user: User, subject: Any) -> list[Attention]:
    """Everything that needs attention, the most urgent first; alike, in the order of the sources."""
    found = [item for source in _sources.get(place, []) for item in source(user, subject)]
    return sorted(found, key=lambda item: ORDER.get(item.tone, len(ORDER)))
