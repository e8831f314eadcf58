"""Lists page by page: a cursor over (ordering key, primary key), signed, so that it is ours or refused.

What is added or removed meanwhile moves no other row to another page: the next page begins behind the last row that was
seen, not at a number of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from django.core import signing
from django.db.models import Model, Q, QuerySet
from ninja import Schema
from pydantic import Field

from core.api.requests import TokenRequest
from core.errors import AuscultError

MOST = 200
USUAL = 50
T = TypeVar("T")
M = TypeVar("M", bound=Model)


class Paging(Schema):
    """Which page of a list."""

    cursor: Annotated[
        str, Field(max_length=1000, description="From `next` of the page before; empty for the first page.")
    ] = ""
    limit: Annotated[int, Field(ge=1, le=MOST, description="Rows on a page.")] = USUAL


class Page(Schema, Generic[T]):
    """Rows, and the address of the next page; null on the last one. The header `Link` says the same."""

    items: list[T]
    next: str | None


def page_of(
    request: TokenRequest, rows: QuerySet[M], asked: Paging, *, tell: Callable[[M], Any], order: str = "-pk"
) -> dict[str, Any]:
    """One page of a list.

    Args:
        order: A column that is never empty, with a minus for the largest first; equal ones go by primary key.
        tell: What the answer says of one row.

    Raises:
        AuscultError: the cursor is none of this list.
    """
    name, falling = order.removeprefix("-"), order.startswith("-")
    salt = f"auscult.cursor.{rows.model._meta.label}.{order}"
    rows = rows.order_by(order, "-pk" if falling else "pk")
    if asked.cursor:
        rows = rows.filter(_behind(name, *_read(asked.cursor, salt), falling=falling))
    found = list(rows[: asked.limit + 1])
    after = None
    if len(found) > asked.limit:
        last = found[asked.limit - 1]
        after = _address(request, signing.dumps([_plain(getattr(last, name)), last.pk], salt=salt))
        request.answer_headers["Link"] = f'<{after}>; rel="next"'
    return {"items": [tell(row) for row in found[: asked.limit]], "next": after}


def _behind(name: str, value: Any, pk: int, *, falling: bool) -> Q:
    beyond = "lt" if falling else "gt"
    if name == "pk":
        return Q(**{f"pk__{beyond}": pk})
    return Q(**{f"{name}__{beyond}": value}) | Q(**{name: value, f"pk__{beyond}": pk})


def _read(cursor: str, salt: str) -> tuple[Any, int]:
    try:
        value, pk = signing.loads(cursor, salt=salt)
    except (signing.BadSignature, ValueError) as error:
        raise AuscultError(
            "The cursor is none of this list.", remedy="Begin without one, and take each from the page before."
        ) from error
    return value, pk


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _address(request: TokenRequest, cursor: str) -> str:
    query = [(name, value) for name, value in request.GET.items() if name != "cursor"]
    return request.build_absolute_uri(f"{request.path}?{urlencode([*query, ('cursor', cursor)])}")
