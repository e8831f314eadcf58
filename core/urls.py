"""Addresses of the shell: home, session, ledger."""

from __future__ import annotations

from django.urls import path

from core.pages import home, ledger, session

urlpatterns = [
    path("", home.home, name="home"),
    path("sign-in/", session.SignIn.as_view(), name="sign-in"),
    path("sign-out/", session.SignOut.as_view(), name="sign-out"),
    path("theme/", session.choose_theme, name="theme"),
    path("governance/ledger/", ledger.ledger_page, name="ledger"),
    path("governance/ledger/verify/", ledger.ledger_verify, name="ledger-verify"),
]
