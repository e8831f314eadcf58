"""Protocols: the list, and the rules of one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Query, Schema

from core.api.fields import Digest, Pk, Word
from core.api.paging import Page, Paging, page_of
from core.api.requests import TokenRequest
from core.api.routing import HouseRouter, Scope
from core.pages.readers import check_may_read
from evaluation.api.rows import protocol_of, protocols_seen
from evaluation.models import Protocol

router = HouseRouter("Protocols")


class ProtocolOut(Schema):
    """Rules that an audit is judged by. Only approved ones may be used."""

    id: int
    name: str
    title: str
    digest: str
    status: str
    locked_by: str
    locked_at: datetime
    approved_by: str | None
    approved_at: datetime | None


class ProtocolDetailOut(ProtocolOut):
    """The same, with the rules in canonical form (the digest covers them) and as they were written."""

    body: dict[str, Any]
    source: str


class ProtocolFilter(Schema):
    """Which protocols."""

    status: Protocol.Status | None = None
    name: Word = ""
    digest: Digest = ""


def protocol_out(row: Protocol) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "title": row.title,
        "digest": row.digest,
        "status": row.status,
        "locked_by": row.locked_by.username,
        "locked_at": row.locked_at,
        "approved_by": row.approved_by.username if row.approved_by else None,
        "approved_at": row.approved_at,
    }


@router.operation("GET", "/protocols", scope=Scope.READ, may=check_may_read, gives=Page[ProtocolOut], name="protocols")
def list_protocols(request: TokenRequest, paging: Query[Paging], wanted: Query[ProtocolFilter]) -> Any:
    """Protocols, those locked last first."""
    rows = protocols_seen(request).defer("source", "body")
    rows = rows.filter(**{name: value for name, value in wanted.model_dump().items() if value})
    return page_of(request, rows, paging, order="-locked_at", tell=protocol_out)


@router.operation(
    "GET",
    "/protocols/{pk}",
    scope=Scope.READ,
    may=check_may_read,
    gives=ProtocolDetailOut,
    name="protocol",
    refuses=("not-found",),
)
def get_protocol(request: TokenRequest, pk: Pk) -> Any:
    """One protocol, with its rules."""
    row = protocol_of(request, pk)
    return protocol_out(row) | {"body": row.body, "source": row.source}
