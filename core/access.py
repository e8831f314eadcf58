"""Rules about people. A ``check_*`` raises :class:`~core.errors.DeniedError`; ``can`` turns it into an answer.

The denial's message is written for the person who is denied: pages show it beside the disabled control.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db.models import Model, QuerySet
from rules.predicates import Predicate, predicate

from core.errors import DeniedError
from core.models import Role, RoleGrant, User
from core.reach import EVERYWHERE, counting_roles, grants_of
from core.scope import system_of


@dataclass(frozen=True, kw_only=True)
class Permission:
    """Answer of :func:`can`: whether the act is allowed and, if not, why."""

    allowed: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.allowed


def roles_of(user: User) -> frozenset[str]:
    """The roles of a person that count here and now: roles that are limited to systems count where these are acted on
    (see :mod:`core.reach`)."""
    return counting_roles(user)


@predicate  # type: ignore[untyped-decorator]
def has_open_account(user: User) -> bool:
    return user.is_active


@cache
def holds(*allowed: str) -> Any:
    """Predicate: the person holds one of the roles, everywhere or on what is acted on."""
    return Predicate(lambda user: bool(roles_of(user) & set(allowed)), name=" or ".join(allowed))


def check_role(user: User, *allowed: Role, to: str) -> None:
    """Raise unless the person is active and holds one of the roles.

    Args:
        to: The act in words, completing "may ...": ``request an audit``.
    """
    if not has_open_account(user):
        raise DeniedError("This account is closed.", remedy="Ask an administrator to open it again.")
    if not (has_open_account & holds(*allowed)).test(user):
        names = " or ".join(_in_sentence(Role(role).label) for role in allowed)
        if {role for role, _ in grants_of(user)} & set(allowed):
            raise DeniedError(
                f"Your role is limited to single systems. To {to} asks for the role {names} on what it is about.",
                remedy="Begin on the page of one of your systems.",
            )
        raise DeniedError(
            f"Only people with the role {names} may {to}.", remedy="Ask one of them, or an administrator."
        )


def people_with(*roles: Role, on: Model | None = None) -> list[User]:
    """Everyone who holds one of the roles: open accounts, one for each person, by their names.

    Args:
        on: An object; then also those whose role is limited to its system.
    """
    return list(holders_of(*roles, on=on))


def holders_of(*roles: Role, on: Model | None = None) -> QuerySet[User]:
    """The same people, not yet asked for."""
    keys = {EVERYWHERE, (system_of(on) if on is not None else None) or EVERYWHERE}
    held = RoleGrant.objects.filter(role__in=roles, system_key__in=keys).values("user")
    return User.objects.filter(pk__in=held, is_active=True, merged_into=None).order_by("username")


def same_person(one: User | None, other: User | None) -> bool:
    """Whether two accounts are of one person; False where one of them is nobody."""
    return one is not None and other is not None and one.identity_id == other.identity_id


def _in_sentence(label: str) -> str:
    """A role inside a sentence: ``ML engineer`` keeps its capitals, ``Auditor`` does not."""
    return label if label[:2].isupper() else label[0].lower() + label[1:]


def can(check: Callable[..., None], *args: Any, **kwargs: Any) -> Permission:
    """Whether ``check(*args, **kwargs)`` passes, with the reason when it does not."""
    try:
        check(*args, **kwargs)
    except DeniedError as denial:
        return Permission(allowed=False, reason=denial.message)
    return Permission(allowed=True)
