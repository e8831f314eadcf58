"""The rooms of a version: each is a page with an address of its own, and higher floors furnish most of them.

A room with key ``fairness`` shows the panels that were registered for the place ``version:fairness``; the first room
those for ``version``. A room may have a template of its own, which comes before the panels.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse

from models_registry.models import ModelVersion


@dataclass(frozen=True, kw_only=True)
class Room:
    """A room. ``lacking`` says why it may be empty, and what would fill it."""

    key: str
    title: str
    template: str = ""
    lacking: tuple[str, str] = ("", "")

    @property
    def place(self) -> str:
        return f"version:{self.key}" if self.key else "version"

    def href(self, version: ModelVersion) -> str:
        base = reverse("version", args=[version.system.slug, version.pk])
        return f"{base}~{self.key}/" if self.key else base


OVERVIEW = Room(key="", title="Overview", template="models_registry/_room_overview.html")
LEDGER = Room(key="ledger", title="Ledger")
ROOMS = (
    OVERVIEW,
    Room(key="audits", title="Audits"),
    Room(key="fairness", title="Fairness"),
    Room(key="drift", title="Drift"),
    Room(key="hallucination", title="Hallucination"),
    Room(key="synthetic", title="Synthetic"),
    Room(key="requirements", title="Requirements"),
    Room(
        key="reviews",
        title="Reviews",
        lacking=(
            "No review yet",
            "A chair puts the evidence of a finished audit before the committee. Its reviews, and the reports about "
            "this version, appear here.",
        ),
    ),
    Room(
        key="use",
        title="In use",
        lacking=("It runs nowhere", "Once an approval stands, a clinician lead deploys it at a site."),
    ),
    Room(key="content", title="Content", template="models_registry/_room_content.html"),
    LEDGER,
)


@dataclass(frozen=True, kw_only=True)
class Door:
    """A link to a room."""

    title: str
    href: str
    here: bool


def doors_of(version: ModelVersion, here: Room) -> list[Door]:
    """Links to every room of a version."""
    return [Door(title=room.title, href=room.href(version), here=room == here) for room in ROOMS]
