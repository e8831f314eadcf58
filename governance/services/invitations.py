"""Inviting people: an administrator signs for roles, and whoever holds the link makes the account."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger, letters
from core.digests import sha256_bytes
from core.errors import RELOAD, AuscultError, ConflictError, DeniedError, NotFoundError
from core.mail import mail_is_on
from core.models import Invitation, Role, RoleGrant, User
from core.reach import EVERYWHERE, service
from core.stepup import StepUp, check_stepped_up
from governance.access_accounts import check_may_administer
from governance.services.roles import OF_THE_HOUSE
from models_registry.models import AISystem

MOST_DAYS = 30
GONE = "This invitation does not hold: it was used, withdrawn or has expired, or the link is not whole."


@service
def invite(
    *, email: str, roles: Collection[Role], system: AISystem | None = None, days: int = 7, by: User, signed: StepUp
) -> tuple[Invitation, str]:
    """Invite somebody to make an account with roles.

    Args:
        roles: What the account may do once it is made.
        system: The one AI system that the roles are limited to; None for all.
        days: How long the link holds, 1 to 30.

    Returns:
        The invitation, and the secret of its link, which is known this once.

    Raises:
        DeniedError: ``by`` is no administrator, or has not proved who they are.
        ConflictError: the address is not one, has an account or an open invitation; or the roles or days do not do.
    """
    check_may_administer(by)
    proof = check_stepped_up(signed, by)
    email = email.strip()
    _check_address(email)
    _check_roles(roles, system)
    if not 1 <= days <= MOST_DAYS:
        raise ConflictError(f"{days} days are not possible.", remedy=f"Choose 1 to {MOST_DAYS} days.")
    secret = secrets.token_urlsafe(32)
    row = Invitation.objects.create(
        email=email,
        roles=sorted(role.value for role in roles),
        system_key=EVERYWHERE if system is None else system.pk,
        invited_by=by,
        token_digest=sha256_bytes(secret.encode()),
        expires_at=timezone.now() + timedelta(days=days),
    )
    facts = {"email": email, "roles": row.roles, "expires_at": row.expires_at.isoformat(), **proof.in_ledger()}
    if system is not None:
        facts["system"] = system.slug
    ledger.record(actor=by.username, act="invitation.made", subject=("Invitation", row.pk), payload=facts)
    return row, secret


def send_invitation(row: Invitation, link: str) -> str:
    """Mail the link, which is kept nowhere.

    Returns:
        Why it could not be sent; empty if it was.
    """
    if not mail_is_on():
        return "E-mail is not set up in this installation."
    text = (
        f"{row.invited_by} invites you to Auscult. Open this link to make your account, until "
        f"{row.expires_at:%d %B %Y}:\n\n{link}\n\nThe link is for you alone: who has it makes the account."
    )
    try:
        letters.hand_over(letters.message_letter(address=row.email, subject="Your account for Auscult", text=text))
    except AuscultError as error:
        return error.message
    return ""


@service
def withdraw_invitation(*, invitation: Invitation, by: User) -> None:
    """End an invitation at once. Nothing has to be signed: stopping what may harm waits for nothing.

    Raises:
        DeniedError: ``by`` is no administrator.
        ConflictError: it was used or withdrawn already.
    """
    check_may_administer(by)
    rows = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
    if not rows.update(revoked_at=timezone.now()):
        raise ConflictError("This invitation was used or withdrawn already.", remedy=RELOAD)
    facts = {"email": invitation.email}
    ledger.record(actor=by.username, act="invitation.withdrawn", subject=("Invitation", invitation.pk), payload=facts)


def open_invitation(secret: str) -> Invitation:
    """The invitation of a link.

    Raises:
        NotFoundError: there is none that holds; which of the reasons it is, is not told.
    """
    digest = sha256_bytes(secret.encode())
    row = Invitation.objects.select_related("invited_by").filter(token_digest=digest, accepted_at=None).first()
    if row is None or row.revoked_at is not None or row.expires_at <= timezone.now():
        raise NotFoundError(GONE, remedy="Ask whoever invited you for a new one.")
    return row


@transaction.atomic
def accept_invitation(*, secret: str, username: str, first_name: str, last_name: str, password: str) -> User:
    """Make the account of somebody who was invited, with the roles that were signed for.

    Raises:
        NotFoundError: the invitation does not hold, or whoever made it may not any more.
        ConflictError: the user name is taken, or the password is too easy.
    """
    row = open_invitation(secret)
    try:
        check_may_administer(row.invited_by)
    except DeniedError as denial:
        raise NotFoundError(GONE, remedy="Ask an administrator for a new one.") from denial
    if not Invitation.objects.filter(pk=row.pk, accepted_at=None, revoked_at=None).update(accepted_at=timezone.now()):
        raise NotFoundError(GONE, remedy="Ask whoever invited you for a new one.")
    person = _made(username=username, email=row.email, first_name=first_name, last_name=last_name, password=password)
    Invitation.objects.filter(pk=row.pk).update(accepted_by=person)
    RoleGrant.objects.bulk_create(RoleGrant(user=person, role=role, system_key=row.system_key) for role in row.roles)
    facts = {"user": person.username, "roles": row.roles, "invited_by": row.invited_by.username}
    if row.system_key:
        facts["system"] = AISystem.objects.get(pk=row.system_key).slug
    ledger.record(actor=person.username, act="invitation.accepted", subject=("Invitation", row.pk), payload=facts)
    return person


def _made(*, username: str, email: str, first_name: str, last_name: str, password: str) -> User:
    taken = ConflictError(f"The user name {username} is taken.", remedy="Choose another one.")
    if User.objects.filter(username__iexact=username).exists():
        raise taken
    person = User(username=username, email=email, first_name=first_name, last_name=last_name)
    try:
        User.username_validator(username)
        validate_password(password, person)
    except ValidationError as error:
        raise ConflictError(" ".join(error.messages), remedy="Choose another one.") from error
    person.set_password(password)
    try:
        with transaction.atomic():
            person.save()
    except IntegrityError as error:
        raise taken from error
    return person


def _check_address(email: str) -> None:
    try:
        validate_email(email)
    except ValidationError as error:
        raise ConflictError(f"{email} is no e-mail address.", remedy="Look for a slip of the pen.") from error
    if User.objects.filter(email__iexact=email).exists():
        raise ConflictError(
            "Somebody with this address has an account.", remedy="Give the role to that account, on the page of people."
        )
    rows = Invitation.objects.filter(email__iexact=email, accepted_at=None, revoked_at=None)
    if rows.filter(expires_at__gt=timezone.now()).exists():
        raise ConflictError(
            "Somebody with this address is invited already.", remedy="Withdraw that invitation first, or wait for it."
        )


def _check_roles(roles: Collection[Role], system: AISystem | None) -> None:
    if not roles:
        raise ConflictError("An account without a role opens nothing.", remedy="Choose at least one role.")
    limited = [role for role in roles if system is not None and role in OF_THE_HOUSE]
    if limited:
        raise ConflictError(
            f"The role {limited[0].value} cannot be limited to a system.",
            remedy="Invite for the whole house, or choose another role.",
        )
