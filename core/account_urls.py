"""Addresses of a person's own account: sessions, password, second factors, single sign-on. Signing up has none."""

from __future__ import annotations

from allauth.account import views
from allauth.socialaccount import views as sign_on
from allauth.socialaccount.providers.openid_connect import views as openid
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path, register_converter
from django.views.generic import RedirectView

from core.pages import account


class Base36:
    """A person's number in an address, up to the first hyphen; the key behind it has hyphens of its own."""

    regex = "[0-9A-Za-z]+"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(Base36, "base36")
urlpatterns = [
    path("", account.account, name="account"),
    path("sessions/", account.sessions_end, name="account-sessions"),
    path("prove/", account.prove, name="account-prove"),
    path("sign-out/", views.logout, name="account_logout"),
    path("inactive/", views.account_inactive, name="account_inactive"),
    path("confirm/", views.reauthenticate, name="account_reauthenticate"),
    path("password/", views.password_change, name="account_change_password"),
    path("password/set/", views.password_set, name="account_set_password"),
    path("password/reset/", views.password_reset, name="account_reset_password"),
    path("password/reset/done/", views.password_reset_done, name="account_reset_password_done"),
    path("password/reset/key/done/", views.password_reset_from_key_done, name="account_reset_password_from_key_done"),
    path(
        "password/reset/key/<base36:uidb36>-<str:key>/",
        views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path("factors/", include("allauth.mfa.urls")),
    path("sign-on/<str:provider_id>/login/", openid.login, name="openid_connect_login"),
    path("sign-on/<str:provider_id>/login/callback/", openid.callback, name="openid_connect_callback"),
    path("sign-on/cancelled/", sign_on.login_cancelled, name="socialaccount_login_cancelled"),
    path("sign-on/failed/", login_not_required(sign_on.login_error), name="socialaccount_login_error"),
    path("sign-on/", RedirectView.as_view(pattern_name="account"), name="socialaccount_connections"),
    path("sign-on/<int:pk>/remove/", account.sign_on_remove, name="account-sign-on-remove"),
]
