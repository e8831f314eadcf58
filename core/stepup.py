"""Step-up authentication: whoever signs proves anew who they are.

A session may have been left open. So an act that is a signature (a vote, an approval, an acceptance) asks for a proof
that is a few minutes old at most, and the proof is told in the ledger with the act. Refused proofs are entered in the
ledger too; after five within a quarter of an hour no more are tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import authenticate
from django.db import transaction
from django.utils import timezone

from core import ledger
from core.errors import DeniedError
from core.factors import factors_of, uses_code, uses_key
from core.models import LedgerEntry, User

VALID_FOR = timedelta(minutes=5)
MOST_FAILURES, WITHIN = 5, timedelta(minutes=15)
REFUSED = "stepup.refused"


@dataclass(frozen=True, kw_only=True)
class StepUp:
    """That a person proved who they are, when, and how.

    ``method`` is ``password``, ``password and code`` or ``password and security key``.
    """

    user_id: int
    at: datetime
    method: str = "password"

    @property
    def fresh(self) -> bool:
        """Whether it is recent enough to sign with. One from the future is not: the clock was set back."""
        return timedelta(0) <= timezone.now() - self.at <= VALID_FOR

    def in_ledger(self) -> dict[str, str]:
        """The facts for the ledger entry of the act that it signs."""
        return {"signed_at": self.at.isoformat(), "signed_with": self.method}


def confirm_identity(*, user: User, password: str, code: str = "", key: Mapping[str, Any] | None = None) -> StepUp:
    """Check the person's password now and, where they have a second factor, that too.

    The factor is looked at only after the password, so that a wrong password does not use up a recovery code.

    Args:
        code: Of the authenticator app, or a recovery code.
        key: A browser's answer from a security key, in place of a code.

    Raises:
        DeniedError: it is not the person's password, code or key, the account is closed, or too many tries failed.
    """
    _check_not_locked(user)
    if authenticate(username=user.username, password=password) != user:
        raise _refused(
            user, "This is not your password, so nothing was signed.", "Enter the password that you sign in with."
        )
    if not factors_of(user):
        return StepUp(user_id=user.pk, at=timezone.now())
    if key is not None:
        if not uses_key(user, key):
            raise _refused(
                user,
                "This security key is not one of yours, so nothing was signed.",
                "Use a key that your account lists.",
            )
        return StepUp(user_id=user.pk, at=timezone.now(), method="password and security key")
    if not uses_code(user, code.strip()):
        raise _refused(
            user,
            "This code is not right, or it was used already, so nothing was signed.",
            "Enter the code that your authenticator app shows now, or a recovery code that you have not used.",
        )
    return StepUp(user_id=user.pk, at=timezone.now(), method="password and code")


def _check_not_locked(user: User) -> None:
    since = timezone.now() - WITHIN
    failures = LedgerEntry.objects.filter(act=REFUSED, actor=user.username, recorded_at__gte=since).count()
    if failures >= MOST_FAILURES:
        raise DeniedError(
            f"{failures} tries to sign failed within {WITHIN.seconds // 60} minutes, so signing is locked.",
            remedy="Wait a quarter of an hour. If it was not you who tried, tell an administrator.",
        )


def _refused(user: User, message: str, remedy: str) -> DeniedError:
    """The refusal, once it is entered in the ledger."""
    with transaction.atomic():
        ledger.record(actor=user.username, act=REFUSED, subject=("User", user.pk))
    return DeniedError(message, remedy=remedy)


def check_stepped_up(signed: StepUp | None, by: User) -> StepUp:
    """The proof, if it is this person's and fresh.

    Raises:
        DeniedError: there is none, it is somebody else's, or it is too old.
    """
    if signed is None or signed.user_id != by.pk or not signed.fresh:
        raise DeniedError(
            f"Signing asks for a proof of who you are that is at most {VALID_FOR.seconds // 60} minutes old.",
            remedy="Enter your password again and repeat the act.",
        )
    return signed
