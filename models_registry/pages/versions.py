"""One model version in rooms: what needs attention, what it is bound to, where it comes from, its bill of materials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.text import slugify
from django.views.decorators.http import require_safe

from core.digests import compare_manifests
from core.pages.attention import attention_for
from core.pages.panels import panels_for
from core.pages.readers import HouseRequest, reads
from core.pages.session import theme_of
from models_registry.lineage_selectors import former_version, newer_backbones
from models_registry.models import ModelVersion
from models_registry.pages.lineage import near_picture
from models_registry.pages.rooms import OVERVIEW, Room, doors_of
from models_registry.selectors import get_version


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a version: its path, SHA-256, and size in bytes where it was recorded."""

    path: str
    digest: str
    size: int | None


def files_of(version: ModelVersion) -> list[File]:
    """Every file of a version, in the order of the paths."""
    sizes = version.sizes or {}
    return [File(path=path, digest=digest, size=sizes.get(path)) for path, digest in sorted(version.manifest.items())]


@require_safe
@reads
def version_room(request: HouseRequest, slug: str, pk: int, room: Room = OVERVIEW) -> HttpResponse:
    """One room of a version, and what higher floors put into it."""
    version = get_version(slug, pk)
    return render(request, "models_registry/version.html", room_context(request, version, room))


def room_context(request: HouseRequest, version: ModelVersion, room: Room) -> dict[str, Any]:
    """What the frame of every room shows, and what the room itself does."""
    theme = theme_of(request)
    own = {OVERVIEW.key: _overview, "content": _content}.get(room.key)
    return {
        "version": version,
        "room": room,
        "doors": doors_of(version, room),
        "actions": panels_for("version-actions", request.user, version),
        "panels": panels_for(room.place, request.user, version),
        "chart_themes": ("light", "dark") if theme == "auto" else (theme,),
        **(own(request, version) if own else {}),
    }


def _overview(request: HouseRequest, version: ModelVersion) -> dict[str, Any]:
    return {
        "newer": newer_backbones(version) if version.has_newer_backbone else [],  # type: ignore[attr-defined]
        "attention": attention_for("version", request.user, version),
    }


def _content(request: HouseRequest, version: ModelVersion) -> dict[str, Any]:
    former, files = former_version(version), files_of(version)
    return {
        "files": files,
        "total_bytes": sum(version.sizes.values()) if version.sizes else None,
        "former": former,
        "change": compare_manifests(former.manifest, version.manifest) if former else None,
        "picture": near_picture(version),
        "card": version.card,
    }


@require_safe
@reads
def version_bom(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    """The version as a CycloneDX bill of materials, to take along: equal content gives equal bytes."""
    from models_registry.cards import ml_bom_bytes

    version = get_version(slug, pk)
    response = HttpResponse(ml_bom_bytes(version), content_type="application/vnd.cyclonedx+json; version=1.6")
    response["Content-Disposition"] = f'attachment; filename="{slug}-{slugify(version.label)}-{pk}.cdx.json"'
    return response
