"""Giving a person a role, and taking it away."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from core import ledger
from core.errors import RELOAD, ConflictError
from core.models import Role, RoleGrant, User
from core.stepup import StepUp, check_stepped_up
from governance.access_accounts import check_may_change_roles


@transaction.atomic
def grant_role(*, person: User, role: Role, by: User, signed: StepUp) -> None:
    """Give a person a role beside those that they have.

    Raises:
        DeniedError: ``by`` is no administrator, means themselves, or has not proved who they are.
        ConflictError: the person has the role, or their account is closed.
    """
    check_may_change_roles(by, person=person)
    proof = check_stepped_up(signed, by)
    if not person.is_active:
        raise ConflictError(f"The account {person.username} is closed.", remedy="Give the role to an open account.")
    _, made = RoleGrant.objects.get_or_create(user=person, role=role)
    if not made:
        raise ConflictError(f"{person.username} has the role {role.value} already.", remedy=RELOAD)
    _enter("role.granted", person, role, by=by, facts=proof.in_ledger())


@transaction.atomic
def withdraw_role(*, person: User, role: Role, by: User, signed: StepUp) -> None:
    """Take a role from a person. What they did under it stays as it is.

    Raises:
        DeniedError: ``by`` is no administrator, means themselves, or has not proved who they are.
        ConflictError: the person does not have the role.
    """
    check_may_change_roles(by, person=person)
    proof = check_stepped_up(signed, by)
    gone, _ = RoleGrant.objects.filter(user=person, role=role).delete()
    if not gone:
        raise ConflictError(f"{person.username} does not have the role {role.value}.", remedy=RELOAD)
    _enter("role.withdrawn", person, role, by=by, facts=proof.in_ledger())


def _enter(act: str, person: User, role: Role, *, by: User, facts: Mapping[str, object]) -> None:
    payload = {"user": person.username, "role": role.value, **facts}
    ledger.record(actor=by.username, act=act, subject=("User", person.pk), payload=payload)
