"""Step-up authentication: whoever signs proves anew who they are.

A session may have been left open. So an act that is a signature (a vote, an approval, an acceptance) asks for a proof
that is a few minutes old at most, and the proof is told in the ledger with the act. Refused proofs are entered in the
ledger too; after five within a quarter of an hour no more are tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth import authenticate
from django.db import transaction
from django.utils import timezone

from core import ledger
from core.errors import DeniedError
from core.models import LedgerEntry, User

VALID_FOR = timedelta(minutes=5)
MOST_FAILURES, WITHIN = 5, timedelta(minutes=15)
REFUSED = "stepup.refused"


@dataclass(frozen=True, kw_only=True)
class StepUp:
    """That a person proved who they are, when, and how (``password``; second factors come with sign-in)."""

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


def confirm_identity(*, user: User, password: str) -> StepUp:
    """Check the person's password now.

    Raises:
        DeniedError: it is not the person's password, the account is closed, or too many tries failed.
    """
    since = timezone.now() - WITHIN
    failures = LedgerEntry.objects.filter(act=REFUSED, actor=user.username, recorded_at__gte=since).count()
    if failures >= MOST_FAILURES:
        raise DeniedError(
            f"{failures} tries to sign failed within {WITHIN.seconds // 60} minutes, so signing is locked.",
            remedy="Wait a quarter of an hour. If it was not you who tried, tell an administrator.",
        )
    if authenticate(username=user.username, password=password) != user:
        with transaction.atomic():
            ledger.record(actor=user.username, act=REFUSED, subject=("User", user.pk))
        raise DeniedError(
            "This is not your password, so nothing was signed.", remedy="Enter the password that you sign in with."
        )
    return StepUp(user_id=user.pk, at=timezone.now())


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
