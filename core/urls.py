"""Addresses of the shell: home, session, ledger."""

from __future__ import annotations

from django.urls import include, path

from core.pages import home, ledger, ledger_heads, notifications, session

urlpatterns = [
    path("", home.home, name="home"),
    path("sign-in/", session.SignIn.as_view(), name="sign-in"),
    path("sign-in/", session.SignIn.as_view(), name="account_login"),
    path("account/", include("core.account_urls")),
    path("sign-out/", session.SignOut.as_view(), name="sign-out"),
    path("theme/", session.choose_theme, name="theme"),
    path("language/", session.choose_language, name="language"),
    path("governance/ledger/", ledger.ledger_page, name="ledger"),
    path("governance/ledger/verify/", ledger.ledger_verify, name="ledger-verify"),
    path("governance/ledger/verification/", ledger.ledger_verification, name="ledger-verification"),
    path("governance/ledger/<int:index>/", ledger.ledger_entry, name="ledger-entry"),
    path("governance/ledger/<int:index>/proof.json", ledger.ledger_proof, name="ledger-proof"),
    path("governance/ledger/heads/", ledger_heads.ledger_heads, name="ledger-heads"),
    path("governance/ledger/heads/<int:size>.json", ledger_heads.ledger_head, name="ledger-head"),
    path("governance/ledger/heads/consistency.json", ledger_heads.ledger_consistency, name="ledger-consistency"),
    path("notifications/", notifications.notifications, name="notifications"),
    path("notifications/read/", notifications.read, name="notifications-read"),
    path("notifications/preferences/", notifications.notification_preferences, name="notification-preferences"),
    path("notifications/mails/", notifications.failed_mails, name="failed-mails"),
    path("notifications/mails/again/", notifications.failed_mails_again, name="failed-mails-again"),
    path("notifications/mails/leave/", notifications.failed_mails_leave, name="failed-mails-leave"),
    path("notifications/<int:pk>/", notifications.notification, name="notification"),
]
