"""A person's own account: where they are signed in, and single sign-on. Each change is entered in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.utils import timezone

from core import ledger
from core.errors import RELOAD, ConflictError, NotFoundError
from core.models import User
from core.reach import service

BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)  # fmt: skip
UNKNOWN_PLACE = "0.0.0.0"


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """A place where a person is signed in.

    Attributes:
        browser: In words, such as ``Firefox on Windows``; empty where the browser does not say.
        place: The network address; empty where it is not known.
        current: Whether it is the session of the request.
    """

    pk: int
    browser: str
    place: str
    since: datetime
    current: bool


def sessions_of(user: User, *, current: str = "") -> list[SignedIn]:
    """Where a person is signed in now, the newest first.

    Args:
        current: Key of the session that asks.
    """
    rows = list(UserSession.objects.filter(user=user).order_by("-created_at", "-pk"))
    keys = {row.session_key for row in rows}
    alive = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    open_now = set(alive.values_list("session_key", flat=True))
    return [
        SignedIn(
            pk=row.pk,
            browser=browser_in_words(row.user_agent),
            place="" if row.ip == UNKNOWN_PLACE else row.ip,
            since=row.created_at,
            current=row.session_key == current,
        )
        for row in rows
        if row.session_key in open_now
    ]


def browser_in_words(agent: str) -> str:
    """A browser and its system from what it says of itself, such as ``Firefox on Windows``; empty if neither is known.

    It is for people who look at their own sessions; nothing is decided by it.
    """
    browser = next((name for word, name in BROWSERS if word in agent), "")
    system = next((name for word, name in SYSTEMS if word in agent), "")
    return f"{browser} on {system}" if browser and system else browser or system


@service
def end_sessions(*, person: User, keep: str, only: int | None = None, by: User) -> int:
    """Sign a person out where they are signed in.

    Args:
        keep: Key of the session that stays; empty for none.
        only: Number of the one session to end; None for all but ``keep``.

    Returns:
        How many were ended.

    Raises:
        NotFoundError: the person has no such session, or it has ended.
    """
    rows = UserSession.objects.filter(user=person).exclude(session_key=keep)
    found = list(rows.filter(pk=only) if only is not None else rows)
    if only is not None and not found:
        raise NotFoundError("This session has ended, or it is not yours.", remedy=RELOAD)
    Session.objects.filter(session_key__in=[row.session_key for row in found]).delete()
    UserSession.objects.filter(pk__in=[row.pk for row in found]).delete()
    if found:
        facts = {"user": person.username, "sessions": len(found)}
        ledger.record(actor=by.username, act="account.sessions_ended", subject=("User", person.pk), payload=facts)
    return len(found)


def forget_ended() -> int:
    """Forget sessions that ran out, and those of the lists of people that ended otherwise. Returns how many ran out."""
    over = Session.objects.filter(expire_date__lt=timezone.now()).delete()[0]
    UserSession.objects.exclude(session_key__in=Session.objects.values("session_key")).delete()
    return over


def sign_ons_of(user: User) -> list[SocialAccount]:
    """Identities at the provider of single sign-on that open the account."""
    return list(SocialAccount.objects.filter(user=user).order_by("pk"))


@service
def remove_sign_on(*, person: User, identity: int, by: User) -> None:
    """Stop an identity of single sign-on from opening the account.

    Raises:
        NotFoundError: the account has no such identity.
        ConflictError: the account has no password, and would open no more.
    """
    row = SocialAccount.objects.filter(pk=identity, user=person).first()
    if row is None:
        raise NotFoundError("This identity does not open your account.", remedy=RELOAD)
    if not person.has_usable_password():
        raise ConflictError(
            "The account has no password: nobody could sign in to it any more.", remedy="Set a password first."
        )
    provider = row.provider
    row.delete()
    facts = {"user": person.username, "provider": provider}
    ledger.record(actor=by.username, act="account.sign_on_removed", subject=("User", person.pk), payload=facts)
