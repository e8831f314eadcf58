"""Closing and opening accounts, and tokens of programs, as acts of an administrator who signs."""

from __future__ import annotations

from collections.abc import Collection

from allauth.mfa.models import Authenticator
from django.utils import timezone

from core import ledger
from core.account import end_sessions
from core.errors import RELOAD, ConflictError
from core.models import ApiToken, User
from core.reach import service
from core.stepup import StepUp, check_stepped_up
from core.tokens import issue_token, revoke_token
from governance.access_accounts import check_may_administer, check_may_close_account


@service
def close_account(*, person: User, reason: str, by: User, signed: StepUp) -> None:
    """End all access of a person at once: their sessions, and the tokens of programs that act for them.

    Roles stay recorded, and count again if the account is opened; tokens do not come back.

    Raises:
        DeniedError: ``by`` is no administrator, means themselves, or has not proved who they are.
        ConflictError: the account is closed already.
    """
    check_may_close_account(by, person=person)
    proof = check_stepped_up(signed, by)
    if not User.objects.filter(pk=person.pk, is_active=True).update(is_active=False):
        raise ConflictError(f"The account {person.username} is closed already.", remedy=RELOAD)
    ended = ApiToken.objects.filter(user=person, revoked_at=None).update(revoked_at=timezone.now())
    payload = {"user": person.username, "reason": reason, "tokens_revoked": ended, **proof.in_ledger()}
    ledger.record(actor=by.username, act="account.closed", subject=("User", person.pk), payload=payload)


@service
def open_account(*, person: User, by: User, signed: StepUp) -> None:
    """Let a person sign in again, with the roles that they had.

    Raises:
        DeniedError: ``by`` is no administrator, means themselves, or has not proved who they are.
        ConflictError: the account is open, or was merged into another.
    """
    check_may_close_account(by, person=person)
    proof = check_stepped_up(signed, by)
    if not User.objects.filter(pk=person.pk, is_active=False, merged_into=None).update(is_active=True):
        raise ConflictError(
            f"The account {person.username} is open already, or was merged into another.", remedy=RELOAD
        )
    payload = {"user": person.username, **proof.in_ledger()}
    ledger.record(actor=by.username, act="account.opened", subject=("User", person.pk), payload=payload)


@service
def take_factors(*, person: User, reason: str, by: User, signed: StepUp) -> None:
    """Take away a person's second factors, who lost them, and sign them out everywhere.

    They sign in with the password alone, and set up a new factor at once where their role asks for one.

    Raises:
        DeniedError: ``by`` is no administrator, means themselves, or has not proved who they are.
        ConflictError: the person has no second factor.
    """
    check_may_close_account(by, person=person)
    proof = check_stepped_up(signed, by)
    gone, _ = Authenticator.objects.filter(user=person).delete()
    if not gone:
        raise ConflictError(f"{person.username} has no second factor.", remedy=RELOAD)
    ended = end_sessions(person=person, keep="", by=by)
    payload = {"user": person.username, "reason": reason, "sessions_ended": ended, **proof.in_ledger()}
    ledger.record(actor=by.username, act="account.factors_taken", subject=("User", person.pk), payload=payload)


@service
def give_token(
    *, user: User, name: str, scopes: Collection[str], days: int, by: User, signed: StepUp
) -> tuple[ApiToken, str]:
    """Make a token of a program that acts for a person; its secret is returned once.

    Raises:
        DeniedError: ``by`` is no administrator, or has not proved who they are.
        ConflictError: as :func:`core.tokens.issue_token`.
    """
    check_may_administer(by)
    check_stepped_up(signed, by)
    return issue_token(user=user, name=name, scopes=scopes, days=days, by=by)


@service
def take_token(*, token: ApiToken, by: User) -> ApiToken:
    """End a token at once. Nothing has to be signed: stopping what may harm waits for nothing.

    Raises:
        DeniedError: ``by`` is no administrator.
        ConflictError: it is revoked already.
    """
    check_may_administer(by)
    return revoke_token(token=token, by=by)
