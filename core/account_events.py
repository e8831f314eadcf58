"""What people change about how they sign in is entered in the ledger: passwords, second factors, single sign-on.

Signing in and out is logged and not entered: somebody who tries passwords could fill the ledger.
"""

from __future__ import annotations

from typing import Any

from allauth.account.signals import password_changed, password_reset, password_set
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from allauth.socialaccount.signals import social_account_added
from django.db import transaction
from django.dispatch import Signal
from django.http import HttpRequest

from core import ledger
from core.factors import HAS_FACTOR
from core.models import User

PASSWORDS: dict[Signal, str] = {
    password_changed: "account.password_changed",
    password_set: "account.password_changed",
    password_reset: "account.password_reset",
}
FACTORS: dict[Signal, str] = {
    authenticator_added: "account.factor_added",
    authenticator_removed: "account.factor_removed",
    authenticator_reset: "account.factor_renewed",
}


def listen() -> None:
    """Have the library's signals entered in the ledger."""
    for signal, act in PASSWORDS.items():
        signal.connect(_password(act), weak=False, dispatch_uid=act)
    for signal, act in FACTORS.items():
        signal.connect(_factor(act), weak=False, dispatch_uid=act)
    social_account_added.connect(_linked, dispatch_uid="account.sign_on_connected")


def _enter(user: User, act: str, **facts: object) -> None:
    with transaction.atomic():
        ledger.record(actor=user.username, act=act, subject=("User", user.pk), payload={"user": user.username, **facts})


def _password(act: str) -> Any:
    def heard(user: User, **rest: Any) -> None:
        _enter(user, act)

    return heard


def _factor(act: str) -> Any:
    def heard(request: HttpRequest, user: User, authenticator: Any, **rest: Any) -> None:
        request.session.pop(HAS_FACTOR, None)
        _enter(user, act, kind=str(authenticator.type))

    return heard


def _linked(sociallogin: Any, **rest: Any) -> None:
    _enter(sociallogin.user, "account.sign_on_connected", provider=sociallogin.account.provider)
