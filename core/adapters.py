"""What the library for signing in asks this product: who may sign up, what failures say, what is logged."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal.httpkit import get_client_ip
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from core import factor_secrets, letters
from core.errors import AuscultError
from core.mail import mail_is_on
from core.models import User

log = logging.getLogger("auscult.sign_in")
WRONG = _("The user name or the password is not right. Both are case-sensitive.")
TOO_MANY = _("Too many tries failed. Wait five minutes, then try again.")
QUIET = {"account/messages/logged_in.txt", "account/messages/logged_out.txt"}


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody registers; every failure to sign in says the same; failures are logged, never with the password."""

    error_messages: ClassVar[dict[str, Any]] = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": WRONG,
        "email_password_mismatch": WRONG,
        "too_many_login_attempts": TOO_MANY,
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address that tries are counted by. Behind a socket that tells none, all count as one."""
        return get_client_ip(request) or "0.0.0.0"

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """As the library does, but a closed account is refused like a wrong password, and not told as closed."""
        user = super().authenticate(request, **credentials)
        if user is not None and not user.is_active:
            self.authentication_failed(request, **credentials)
            return None
        return user

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        super().authentication_failed(request, **credentials)
        told = str(credentials.get("username") or credentials.get("email") or "")[:150]
        log.warning("Sign-in refused for %r from %s", told, self.get_client_ip(request))

    def add_message(
        self, request: HttpRequest, level: int, message_template: str = "", *rest: Any, **more: Any
    ) -> None:
        """No notice where the page itself shows that one is signed in or out."""
        if message_template not in QUIET:
            super().add_message(request, level, message_template, *rest, **more)

    def post_login(self, request: HttpRequest, user: User, **rest: Any) -> Any:
        log.info("Signed in: %s from %s", user.get_username(), self.get_client_ip(request))
        return super().post_login(request, user, **rest)

    def get_reset_password_from_key_url(self, key: str) -> str:
        """The link of a mail; it begins with the installation's own address, not with what a request said."""
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
        uid, rest = key.split("-", 1)
        here = letters.absolute(path.replace("UID", uid).replace("KEY", rest))
        return here or str(super().get_reset_password_from_key_url(key))

    def send_notification_mail(
        self, template_prefix: str, user: User, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        """Addresses are those that administrators entered; nobody confirms one of their own."""
        if email or user.email:
            super().send_notification_mail(template_prefix, user, context, email or user.email)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """A mail that cannot be sent is logged, and stops nothing: the page says the same either way."""
        if not mail_is_on():
            log.warning("No mail about %s was sent: e-mail is not set up.", template_prefix)
            return
        told = {"request": self.request, "email": email, "product": "Auscult", "home": letters.absolute("/")} | context
        try:
            letters.hand_over(self.render_mail(template_prefix, email, told))
        except AuscultError as error:
            log.error("A mail about %s was not sent: %s", template_prefix, error)


class FactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Secrets of second factors are stored encrypted, and named after the installation."""

    def encrypt(self, text: str) -> str:
        return factor_secrets.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return factor_secrets.decrypt(encrypted_text)

    def _get_site_name(self) -> str:
        return "Auscult"

    def _get_user_identifier(self, user: User) -> str:
        return user.get_username()


class SignOnAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Single sign-on opens accounts that are there. It makes none, and gives no role."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Before somebody who comes from the identity provider is signed in.

        Raises:
            ImmediateHttpResponse: no account belongs to them; the page says what to do.
        """
        if sociallogin.is_existing or sociallogin.state.get("process") == "connect":
            return
        person = person_behind(sociallogin) if settings.AUSCULT_SIGN_ON_BY_ADDRESS else None
        if person is None:
            log.warning("Single sign-on of somebody without an account, from %s", get_client_ip(request))
            raise ImmediateHttpResponse(render(request, "account/signup_closed.html", status=403))
        sociallogin.connect(request, person)

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: Any) -> str:
        return reverse("account")

    def on_authentication_error(self, request: HttpRequest, provider: Any, **rest: Any) -> None:
        told = rest.get("exception") or rest.get("error") or "no reason was given"
        log.warning("Single sign-on failed: %s", type(told).__name__ if isinstance(told, Exception) else told)


def person_behind(sociallogin: Any) -> User | None:
    """The one open account with the address that the provider verified, where it has no identity there yet.

    The provider says ``true``; anything else, such as the word "true", does not count.
    """
    told = sociallogin.account.extra_data
    told = told.get("userinfo") or told.get("id_token") or told
    if told.get("email_verified") is not True or not told.get("email"):
        return None
    rows = list(User.objects.filter(email__iexact=told["email"], is_active=True, merged_into=None)[:2])
    if len(rows) != 1 or SocialAccount.objects.filter(user=rows[0], provider=sociallogin.account.provider).exists():
        return None
    return rows[0]
