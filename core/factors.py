"""Second factors of a person: an authenticator app or a security key, with recovery codes beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError

from core.models import Role, User
from core.reach import grants_of

Kind = Authenticator.Type
FACTORS = (Kind.TOTP, Kind.WEBAUTHN)
HAS_FACTOR = "has_factor"
"""What a session keeps once it is known, so that not every page asks."""


def check_factor_roles() -> None:
    """Look at ``AUSCULT_MFA_ROLES`` when the installation starts.

    Raises:
        ImproperlyConfigured: there is no such role; a slip of the pen would leave the installation open.
    """
    if unknown := sorted(set(settings.AUSCULT_MFA_ROLES) - set(Role.values)):
        raise ImproperlyConfigured(
            f"AUSCULT_MFA_ROLES names {', '.join(unknown)}, and there is no such role. Use some of: "
            f"{', '.join(Role.values)}."
        )


def factors_of(user: User) -> frozenset[str]:
    """The kinds of second factor that a person has set up; recovery codes are none by themselves."""
    return frozenset(Authenticator.objects.filter(user=user, type__in=FACTORS).values_list("type", flat=True))


def must_have_factor(user: User) -> bool:
    """Whether the installation asks a second factor of one of the person's roles (``AUSCULT_MFA_ROLES``)."""
    asked = set(settings.AUSCULT_MFA_ROLES)
    return bool(asked) and any(role in asked for role, _ in grants_of(user))


def uses_code(user: User, code: str) -> bool:
    """Whether the code is right now the person's. It is used up: the same code is not right a second time."""
    found = Authenticator.objects.filter(user=user, type__in=[Kind.TOTP, Kind.RECOVERY_CODES])
    return bool(code) and any(factor.wrap().validate_code(code) for factor in found)


def key_challenge(user: User) -> dict[str, Any]:
    """What a browser is asked to prove with one of the person's security keys; the answer goes to :func:`uses_key`."""
    from allauth.mfa.webauthn.internal import auth

    return dict(auth.begin_authentication(user))


def uses_key(user: User, answer: Mapping[str, Any]) -> bool:
    """Whether a browser's answer to :func:`key_challenge` comes from one of the person's security keys."""
    from allauth.mfa.webauthn.internal import auth

    try:
        auth.parse_authentication_response(answer)
        auth.complete_authentication(user, dict(answer)).record_usage()
    except ValidationError:
        return False
    return True
