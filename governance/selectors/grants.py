"""Reading grants as the house sees them: to whom, to what, until when, and what was opened. Nothing here writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db.models import Count, Max, QuerySet
from django.utils import timezone

from core.errors import NotFoundError
from core.models import LedgerEntry, Role, User
from governance.models import Bundle, Grant
from models_registry.models import AISystem, ModelVersion

VIEWED, DOWNLOADED = "grant.viewed", "bundle.downloaded"


class Standing(StrEnum):
    """Whether a grant gives access now."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


def standing_of(grant: Grant, now: datetime | None = None) -> Standing:
    if grant.revoked_at is not None:
        return Standing.REVOKED
    return Standing.EXPIRED if grant.expires_at <= (now or timezone.now()) else Standing.ACTIVE


@dataclass(frozen=True, kw_only=True)
class GrantRow:
    """A grant in the list of the house, with how often it was used."""

    grant: Grant
    standing: Standing
    systems: tuple[AISystem, ...]
    views: int
    downloads: int
    last_used: datetime | None


@dataclass(frozen=True, kw_only=True)
class Activity:
    """One entry of the ledger about a grant, in words."""

    entry: LedgerEntry
    what: str
    about: str
    refused: bool


def regulators() -> QuerySet[User]:
    """Everybody to whom access can be given."""
    people = User.objects.filter(role_grants__role=Role.REGULATOR, is_active=True)
    return people.order_by("first_name", "last_name", "username")


def grants() -> QuerySet[Grant]:
    """Every grant with its people and systems, newest first."""
    people = ("regulator", "granted_by", "revoked_by")
    return Grant.objects.select_related(*people).prefetch_related("systems").order_by("-granted_at", "-pk")


def grants_list() -> list[GrantRow]:
    """Every grant with how it was used: those that give access first, then the newest. Three queries."""
    used: dict[str, dict[str, Any]] = {}
    entries = LedgerEntry.objects.filter(subject_kind="Grant", act__in=[VIEWED, DOWNLOADED])
    counted = entries.order_by().values("subject_id", "act").annotate(times=Count("pk"), last=Max("recorded_at"))
    for item in counted:
        used.setdefault(item["subject_id"], {})[item["act"]] = item
    rows = [_row(grant, used.get(str(grant.pk), {})) for grant in grants()]
    return sorted(rows, key=lambda row: row.standing != Standing.ACTIVE)


def _row(grant: Grant, used: Mapping[str, Mapping[str, Any]]) -> GrantRow:
    return GrantRow(
        grant=grant,
        standing=standing_of(grant),
        systems=tuple(grant.systems.all()),
        views=used.get(VIEWED, {}).get("times", 0),
        downloads=used.get(DOWNLOADED, {}).get("times", 0),
        last_used=max((item["last"] for item in used.values()), default=None),
    )


def grant_by_id(pk: int) -> Grant:
    """One grant. Raises NotFoundError."""
    grant = grants().filter(pk=pk).first()
    if grant is None:
        raise NotFoundError(f"There is no grant {pk}.", remedy="Open it from the list of regulator access.")
    return grant


def grant_row(grant: Grant) -> GrantRow:
    """One grant with how it was used."""
    entries = entries_of(grant).filter(act__in=[VIEWED, DOWNLOADED]).order_by()
    counted = entries.values("act").annotate(times=Count("pk"), last=Max("recorded_at"))
    return _row(grant, {item["act"]: item for item in counted})


def entries_of(grant: Grant) -> QuerySet[LedgerEntry]:
    """Everything that the ledger says about a grant, newest first."""
    return LedgerEntry.objects.filter(subject_kind="Grant", subject_id=str(grant.pk)).order_by("-index")


def in_words(entries: Iterable[LedgerEntry]) -> list[Activity]:
    """Entries about grants as a reader sees them. Two queries, for the names of versions and bundles."""
    bodies = [(entry, json.loads(entry.body)["payload"]) for entry in entries]
    digests = {payload["version"] for _, payload in bodies if payload.get("version")}
    bundles = {payload["bundle"] for _, payload in bodies if payload.get("bundle")}
    versions = ModelVersion.objects.filter(digest__in=digests).select_related("system")
    names = {version.digest: str(version) for version in versions}
    files = dict(Bundle.objects.filter(pk__in=bundles).values_list("pk", "file_name"))
    return [
        Activity(
            entry=entry,
            what=_what(entry.act, payload),
            about=files.get(payload.get("bundle")) or names.get(payload.get("version"), ""),
            refused=entry.act.endswith(".refused"),
        )
        for entry, payload in bodies
    ]


PAGES = {
    "overview": "Viewed the list of versions and bundles",
    "system": "Viewed the versions and bundles of a system",
    "requirements": "Viewed the requirement status",
    "bundle": "Viewed the page of a bundle",
    "verifier": "Downloaded the verifier",
}
ACTS = {
    "grant.given": "Access was given",
    "grant.revoked": "Access was revoked",
    "link.made": "Made a download link",
    DOWNLOADED: "Downloaded a bundle",
}


def _what(act: str, payload: Mapping[str, Any]) -> str:
    if act == VIEWED:
        return PAGES.get(payload.get("page", ""), "Viewed a page")
    if act.endswith(".refused"):
        tried = {"download.refused": "A download", "link.refused": "A download link"}.get(act, "A page")
        return f"{tried} was refused: {payload.get('why', '')}"
    return ACTS.get(act, act)
