"""People on many rows: read once each, where joining them to every row would make them anew for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Model

from core.models import User


def attach_people(*kinds: tuple[Sequence[Model], Sequence[str]]) -> None:
    """Give rows of several kinds the people whom their foreign keys name: one query for all of them; none for no row.

    Args:
        kinds: Rows, with the names of their foreign keys.
    """
    named: list[tuple[Any, str]] = [(row, name) for rows, names in kinds for row in rows for name in names]
    keys = [(row, name, key) for row, name in named if (key := getattr(row, f"{name}_id"))]
    people = User.objects.in_bulk({key for _row, _name, key in keys}) if keys else {}
    for row, name, key in keys:
        setattr(row, name, people[key])
