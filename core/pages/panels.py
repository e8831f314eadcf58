"""Where a higher floor adds to a lower floor's page without the lower floor knowing it.

The page of a version is in ``models_registry``; its reviews are in ``governance``. So ``governance`` registers a
panel for the place ``version``, and the page shows every panel that was registered for it. The queue on the home
page is made in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.models import User


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A section of a page: a template and its context.

    Attributes:
        links: Name and title of what the page's own list of contents leads to.
    """

    template: str
    context: dict[str, Any] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class QueueItem:
    """One thing that waits for a person: what, why for them, since when, and where to do it.

    Attributes:
        due: When it has to be done at the latest, where there is such a day.
        evidence_at: When the evidence that it rests on was finished, where it rests on any.
        note: What else the person has to know at a glance.
    """

    title: str
    why: str
    href: str
    since: datetime
    tone: str = "waiting"
    word: str = "To do"
    due: datetime | None = None
    evidence_at: datetime | None = None
    note: str = ""


PanelMaker = Callable[[User, Any], Panel | None]
QueueSource = Callable[[User], Iterable[QueueItem]]
_panels: dict[str, list[tuple[int, PanelMaker]]] = {}
_sources: list[QueueSource] = []


def panel(place: str, *, rank: int = 50) -> Callable[[PanelMaker], PanelMaker]:
    """Decorator: show this panel at ``place``: the lower its rank, the further up; alike, in order of registration."""

    def add(maker: PanelMaker) -> PanelMaker:
        _panels.setdefault(place, []).append((rank, maker))
        return maker

    return add


def queue_source(source: QueueSource) -> QueueSource:
    """Decorator: ask this function what waits for a person."""
    _sources.append(source)
    return source


def panels_for(place: str, user: User, subject: Any) -> list[Panel]:
    """Every panel for this place that has something to show."""
    ordered = sorted(_panels.get(place, []), key=lambda entry: entry[0])
    made = (maker(user, subject) for _rank, maker in ordered)
    return [item for item in made if item is not None]


def queue_for(user: User) -> list[QueueItem]:
    """Everything that waits for a person, in order."""
    return in_order(item for source in _sources for item in source(user))


def in_order(items: Iterable[QueueItem]) -> list[QueueItem]:
    """First what has a day, the soonest first; then the longest wait first."""
    return sorted(items, key=lambda item: (item.due is None, item.due or item.since))
