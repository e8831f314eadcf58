"""Tokens of programs: a secret that acts for a person, for some purposes, until a day. Only its digest is kept."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import timedelta

from django.utils import timezone

from core import ledger
from core.digests import sha256_bytes
from core.errors import ConflictError, DeniedError, NotFoundError
from core.models import ApiToken, User
from core.reach import service

PREFIX = "auscult_"
MOST_DAYS = 365
USED_EVERY = timedelta(minutes=1)
"""The moment of the last use is kept to the minute, so that not every request writes."""


@service
def issue_token(*, user: User, name: str, scopes: Collection[str], days: int, by: User | None) -> tuple[ApiToken, str]:
    """Make a token that acts for a person.

    Args:
        name: What it is for, such as ``PACS at North Hospital``.
        scopes: Values of :class:`~core.models.ApiToken.Scope`: what it may be used for.
        days: How long it holds, 1 to 365.
        by: Who makes it; None for whoever has the machine's command line.

    Returns:
        The token, and its secret, which is shown once and never again.

    Raises:
        ConflictError: the account is closed, or the name, a scope or the number of days is wrong.
    """
    name = " ".join(name.split())
    if not user.is_active or user.merged_into_id is not None:
        raise ConflictError(f"The account of {user} is closed.", remedy="Choose an account that is open.")
    if not name or "\0" in name or len(name) > 120:
        raise ConflictError("A token needs a name of up to 120 characters.", remedy="Say what it is for.")
    unknown = set(scopes) - set(ApiToken.Scope.values)
    if unknown or not scopes:
        raise ConflictError(
            f"There is no scope {', '.join(sorted(unknown))}." if unknown else "A token needs a scope.",
            remedy=f"Use some of: {', '.join(ApiToken.Scope.values)}.",
        )
    if not 1 <= days <= MOST_DAYS:
        raise ConflictError(f"{days} days are not possible.", remedy=f"Choose 1 to {MOST_DAYS} days.")
    secret = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user,
        name=name,
        scopes=sorted(set(scopes)),
        token_digest=sha256_bytes(secret.encode()),
        expires_at=timezone.now() + timedelta(days=days),
    )
    ledger.record(
        actor=by.username if by else "system",
        act="token.issued",
        subject=("ApiToken", token.pk),
        payload={"user": user.username, "scopes": token.scopes, "expires_at": token.expires_at.isoformat()},
    )
    return token, secret


@service
def revoke_token(*, token: ApiToken, by: User | None) -> ApiToken:
    """End a token at once.

    Raises:
        ConflictError: it is revoked already.
    """
    if not ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        raise ConflictError(f"Token {token.pk} is revoked already.")
    ledger.record(
        actor=by.username if by else "system",
        act="token.revoked",
        subject=("ApiToken", token.pk),
        payload={"user": token.user.username, "scopes": token.scopes},
    )
    token.refresh_from_db()
    return token


def token_of(secret: str) -> ApiToken | None:
    """The token with this secret, if it holds: not revoked, not expired, and the account is open. None otherwise."""
    if not secret.startswith(PREFIX) or len(secret) > 200:
        return None
    now = timezone.now()
    holding = ApiToken.objects.filter(
        token_digest=sha256_bytes(secret.encode()), revoked_at=None, expires_at__gt=now, user__is_active=True
    )
    token = holding.select_related("user").first()
    if token is not None and (token.used_at is None or now - token.used_at > USED_EVERY):
        ApiToken.objects.filter(pk=token.pk).update(used_at=now)
    return token


def check_scope(token: ApiToken, scope: str) -> None:
    """Raise unless the token may be used for this.

    Raises:
        DeniedError: it was made for something else.
    """
    if scope not in token.scopes:
        raise DeniedError(
            f"This token may not be used for this: it lacks the scope {scope}.",
            remedy="Ask an administrator for a token with this scope.",
        )


def token_by_id(pk: int) -> ApiToken:
    """One token.

    Raises:
        NotFoundError: there is none with this number.
    """
    token = ApiToken.objects.select_related("user").filter(pk=pk).first()
    if token is None:
        raise NotFoundError(f"There is no token {pk}.", remedy="List them with: auscult token list.")
    return token


def own_tokens(user: User) -> list[ApiToken]:
    """Tokens of programs that act for a person now, the newest first; never a secret."""
    return list(ApiToken.objects.filter(user=user, revoked_at=None, expires_at__gt=timezone.now()).order_by("-pk"))
