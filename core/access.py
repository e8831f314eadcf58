"""Rules about people. A ``check_*`` raises :class:`~core.errors.DeniedError`; ``can`` turns it into an answer.

The denial's message is written for the person who is denied: pages show it beside the disabled control.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.errors import DeniedError
from core.models import Role, User


@dataclass(frozen=True, kw_only=True)
class Permission:
    """Answer of :func:`can`: whether the act is allowed and, if not, why."""

    allowed: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.allowed


def roles_of(user: User) -> frozenset[str]:
    """The roles a person holds, read once per user object."""
    if not hasattr(user, "_auscult_roles"):
        granted = frozenset(user.role_grants.values_list("role", flat=True)) if user.pk else frozenset()
        user._auscult_roles = granted  # type: ignore[attr-defined]
    roles: frozenset[str] = user._auscult_roles  # type: ignore[attr-defined]
    return roles


def check_role(user: User, *allowed: Role, to: str) -> None:
    """Raise unless the person is active and holds one of the roles.

    Args:
        to: The act in words, completing "may ...": ``request an audit``.
    """
    if not user.is_active:
        raise DeniedError("This account is closed.", remedy="Ask an administrator to open it again.")
    if not roles_of(user) & set(allowed):
        names = " or ".join(_in_sentence(Role(role).label) for role in allowed)
        raise DeniedError(
            f"Only people with the role {names} may {to}.", remedy="Ask one of them, or an administrator."
        )


def people_with(*roles: Role) -> list[User]:
    """Everyone who holds one of the roles: open accounts, one for each person, in the order of their names."""
    rows = User.objects.filter(role_grants__role__in=roles, is_active=True, merged_into=None)
    return list(rows.distinct().order_by("username"))


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
