"""Roles that are limited to single AI systems: where they count, and what such a person sees.

A role is held everywhere, or on one system. Somebody whose roles are all limited sees what belongs to their systems and
nothing else: another hospital's system does not exist for them. Three things keep that:

- *Sight*: rows of other systems are not given while the person is served (``core.scope``).
- *Addresses*: the objects that an address names are looked up before its page is made (``core.pages.reach``). What is
  beyond the person's reach answers as if it were not there.
- *Services*: :func:`service` looks at the objects that an act is about. A limited role counts there if the person holds
  it on every system concerned, whatever page the act came from.

Without an object that belongs to a system, only roles held everywhere count: what nobody thought of stays closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar, cast

from django.db import transaction
from django.db.models import Model

from core.errors import NotFoundError
from core.models import INSIDERS, User
from core.scope import in_sight, system_of

EVERYWHERE = 0
"""In place of a system's key: the role counts for all."""
F = TypeVar("F", bound=Callable[..., Any])
_acting: ContextVar[frozenset[int]] = ContextVar("acting_on", default=frozenset())
services: list[Callable[..., Any]] = []
"""Every act that was marked with :func:`service` or :func:`limited`."""


def grants_of(user: User) -> frozenset[tuple[str, int]]:
    """(role, key of the system or :data:`EVERYWHERE`) that a person holds, read once per user object."""
    if not hasattr(user, "_auscult_roles"):
        rows = user.role_grants.values_list("role", "system_key") if user.pk else []
        user._auscult_roles = frozenset(rows)  # type: ignore[attr-defined]
    found: frozenset[tuple[str, int]] = user._auscult_roles  # type: ignore[attr-defined]
    return found


def counting_roles(user: User) -> frozenset[str]:
    """The roles that count here and now: those held everywhere, and those held on every system that is acted on."""
    grants, here = grants_of(user), _acting.get()
    found = {role for role, key in grants if key == EVERYWHERE}
    if here:
        found |= {role for role, _ in grants if all((role, key) in grants for key in here)}
    return frozenset(found)


def has_limited_roles(user: User) -> bool:
    """Whether any role of a person is limited to a system."""
    return any(key != EVERYWHERE for _, key in grants_of(user))


def reach_of(user: User) -> frozenset[int] | None:
    """Keys of the systems that a person may see; None for all of them."""
    grants = grants_of(user)
    if any(key == EVERYWHERE and role in INSIDERS for role, key in grants):
        return None
    return frozenset(key for role, key in grants if key != EVERYWHERE and role in INSIDERS)


def works_here(user: User) -> bool:
    """Whether a person sees anything at all: everything, or single systems."""
    return user.is_active and reach_of(user) != frozenset()


def check_within(user: User, *items: Model) -> None:
    """Raise if an object lies beyond a person's reach, as if it were not there.

    Raises:
        NotFoundError: one does.
    """
    reach = reach_of(user)
    for item in items if reach is not None else ():
        if (system := system_of(item)) is not None and system not in (reach or ()):
            raise NotFoundError(
                "There is nothing here that you may see.", remedy="Open it from the list of your systems."
            )


@contextmanager
def acting_on(systems: Iterable[int]) -> Iterator[None]:
    """Inside, roles that are limited to these systems count."""
    token = _acting.set(frozenset(systems))
    try:
        yield
    finally:
        _acting.reset(token)


@contextmanager
def serving(user: User, systems: Iterable[int] = ()) -> Iterator[None]:
    """Inside, a person is served: what they may not see is not given, and their roles on these systems count."""
    with in_sight(reach_of(user)), acting_on(systems):
        yield


def service(work: F) -> F:
    """Decorator of an act of a person, ``by``: all of it or nothing, with the roles that count for what it is about.

    Raises:
        NotFoundError: from the act, where an object that it is given lies beyond the person's reach.
    """
    return cast(F, _guarded(work, transaction.atomic()(work)))


def limited(work: F) -> F:
    """Decorator like :func:`service` for acts that keep no transaction, or several."""
    return cast(F, _guarded(work, work))


def _guarded(work: Callable[..., Any], whole: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(work)
    def done(*args: Any, **kwargs: Any) -> Any:
        by = kwargs.get("by")
        if not isinstance(by, User) or not _is_limited(by):
            return whole(*args, **kwargs)
        items = [item for item in kwargs.values() if isinstance(item, Model) and not isinstance(item, User)]
        check_within(by, *items)
        with acting_on(key for key in map(system_of, items) if key is not None):
            return whole(*args, **kwargs)

    services.append(done)
    return done


def _is_limited(by: User) -> bool:
    """Whether any role is limited; what was read is forgotten, so that the act reads roles once it holds its locks."""
    kept, found = hasattr(by, "_auscult_roles"), has_limited_roles(by)
    if not kept:
        del by._auscult_roles  # type: ignore[attr-defined]
    return found
