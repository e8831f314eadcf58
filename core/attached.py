"""People on many rows: read once each, where joining them to every row would make them anew for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from django.db.models import Model

from core.models import User

M = TypeVar("M", bound=Model)


def attach_people(rows: Iterable[M], *names: str) -> list[M]:
    """The rows with the people whom these foreign keys name. One query, however many rows and keys; none for no row."""
    found: list[Any] = list(rows)
    wanted = {key for row in found for name in names if (key := getattr(row, f"{name}_id"))}
    people = User.objects.in_bulk(wanted) if wanted else {}
    for row in found:
        for name in names:
            if key := getattr(row, f"{name}_id"):
                setattr(row, name, people[key])
    return found
