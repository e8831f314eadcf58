"""What belongs to which AI system, and which systems are in sight.

Each kind of object says once by which foreign keys it leads to its system (:func:`belongs`). While somebody whose roles
are limited to systems is served, only these are in sight: :class:`OfSystem` then gives rows of no other, to lists,
counts, look-ups and all else that asks the database for them. Following a foreign key from a row in sight is not
limited.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Self, TypeVar, cast

from django.db import models

M = TypeVar("M", bound=models.Model)
_ways: dict[type[models.Model], str] = {}
_sight: ContextVar[frozenset[int] | None] = ContextVar("systems_in_sight", default=None)


def belongs(ways: Mapping[type[models.Model], str]) -> None:
    """Say by which foreign keys objects lead to their system: ``{AuditRun: "version__system_id"}``; "id" for itself,
    "" for a kind that belongs to none."""
    for model, way in ways.items():
        if model in _ways:
            raise ValueError(f"{model.__name__} has its way already")
        _ways[model] = way


def ways() -> Mapping[type[models.Model], str]:
    """The way of every kind of object that has said it."""
    return _ways


def system_of(item: models.Model) -> int | None:
    """Key of the system that an object belongs to; None where it belongs to none."""
    way = _ways.get(type(item), "")
    found: Any = item if way else None
    for step in filter(None, way.split("__")):
        found = getattr(found, step, None)
    return cast("int | None", found)


@contextmanager
def in_sight(systems: Iterable[int] | None) -> Iterator[None]:
    """Inside, rows of these systems are given, and of no others; None for all."""
    token = _sight.set(None if systems is None else frozenset(systems))
    try:
        yield
    finally:
        _sight.reset(token)


def everything_in_sight() -> bool:
    """Whether nothing is kept out of sight."""
    return _sight.get() is None


def systems_in_sight() -> tuple[int, ...] | None:
    """Keys of the systems in sight, in order; None for all."""
    sight = _sight.get()
    return None if sight is None else tuple(sorted(sight))


class SightManager(models.Manager[M]):
    """Rows of the systems that are in sight."""

    def get_queryset(self) -> models.QuerySet[M]:
        rows, sight = super().get_queryset(), _sight.get()
        way = _ways.get(self.model, "")
        return rows if sight is None or not way else rows.filter(**{f"{way}__in": sight})


class OfSystem(models.Model):
    """What belongs to an AI system."""

    objects: ClassVar[SightManager[Self]] = SightManager()

    class Meta:
        abstract = True
