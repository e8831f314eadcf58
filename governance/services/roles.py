"""Giving a person a role, and taking it away."""

from __future__ import annotations

from collections.abc import Mapping

from core import ledger
from core.errors import RELOAD, ConflictError
from core.models import Role, RoleGrant, User
from core.reach import EVERYWHERE, service
from core.stepup import StepUp, check_stepped_up
from governance.access_accounts import check_may_change_roles
from models_registry.models import AISystem

OF_THE_HOUSE = (Role.ADMINISTRATOR, Role.REGULATOR)
"""Roles that cannot be limited: an administrator's concerns people, a regulator's is limited by grants."""


@service
def grant_role(*, person: User, role: Role, system: AISystem | None = None, by: User, signed: StepUp) -> None:
    """Give a person a role beside those that they have.

    Args:
        system: The one AI system that the role is limited to; None for all.

    Raises:
        DeniedError: ``by`` is no administrator, means themselves, or has not proved who they are.
        ConflictError: the person has the role, or their account is closed; or the role cannot be limited.
    """
    check_may_change_roles(by, person=person)
    proof = check_stepped_up(signed, by)
    if not person.is_active:
        raise ConflictError(f"The account {person.username} is closed.", remedy="Give the role to an open account.")
    if system is not None and role in OF_THE_HOUSE:
        raise ConflictError(
            f"The role {role.value} cannot be limited to a system.",
            remedy="Give it for the whole house, or choose another role.",
        )
    _, made = RoleGrant.objects.get_or_create(user=person, role=role, system_key=_key(system))
    if not made:
        raise ConflictError(f"{person.username} has the role {role.value}{_on(system)} already.", remedy=RELOAD)
    _enter("role.granted", person, role, system, by=by, facts=proof.in_ledger())


@service
def withdraw_role(*, person: User, role: Role, system: AISystem | None = None, by: User, signed: StepUp) -> None:
    """Take a role from a person. What they did under it stays as it is.

    Args:
        system: Where the role is limited to one.

    Raises:
        DeniedError: ``by`` is no administrator, means themselves, or has not proved who they are.
        ConflictError: the person does not have the role.
    """
    check_may_change_roles(by, person=person)
    proof = check_stepped_up(signed, by)
    gone, _ = RoleGrant.objects.filter(user=person, role=role, system_key=_key(system)).delete()
    if not gone:
        raise ConflictError(f"{person.username} does not have the role {role.value}{_on(system)}.", remedy=RELOAD)
    _enter("role.withdrawn", person, role, system, by=by, facts=proof.in_ledger())


def _key(system: AISystem | None) -> int:
    return EVERYWHERE if system is None else system.pk


def _on(system: AISystem | None) -> str:
    return "" if system is None else f" on {system.slug}"


def _enter(
    act: str, person: User, role: Role, system: AISystem | None, *, by: User, facts: Mapping[str, object]
) -> None:
    payload = {"user": person.username, "role": role.value, **facts}
    if system is not None:
        payload["system"] = system.slug
    ledger.record(actor=by.username, act=act, subject=("User", person.pk), payload=payload)
