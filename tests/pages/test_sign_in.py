"""Signing in with a password and with a second factor, and signing an act with a code."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.utils import timezone

from config.sign_in_settings import cache_settings
from core import factor_secrets
from core.account import browser_in_words, forget_ended
from core.errors import DeniedError
from core.factors import check_factor_roles
from core.models import LedgerEntry, RoleGrant, User
from core.stepup import confirm_identity

pytestmark = pytest.mark.django_db
PASSWORD = "a long pass phrase 7"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
WRONG = "The user name or the password is not right"


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def person() -> User:
    return User.objects.create_user("nora", email="nora@hospital.example", password=PASSWORD)


def _sign_in(client: Client, name: str = "nora", password: str = PASSWORD, **rest: str) -> object:
    return client.post("/sign-in/", {"username": name, "password": password, **rest})


def _code() -> str:
    return format_hotp_value(hotp_value(SECRET, next(iter(yield_hotp_counters_from_time()))))


def _signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


@pytest.mark.parametrize("name", ["nora", "nora@hospital.example"])
def test_a_user_name_or_an_address_signs_in(client: Client, person: User, name: str) -> None:
    response = _sign_in(client, name, next="/notifications/")
    assert response.status_code == 302 and response["Location"] == "/notifications/"
    assert _signed_in(client) and client.session.get_expiry_age() == 8 * 3600


def test_another_host_is_no_place_to_go_on(client: Client, person: User) -> None:
    assert _sign_in(client, next="https://evil.example/")["Location"] == "/"


@pytest.mark.parametrize(("name", "password"), [("nora", "wrong"), ("nobody", PASSWORD), ("no@one.example", PASSWORD)])
def test_every_failure_says_the_same(
    client: Client, person: User, caplog: pytest.LogCaptureFixture, name: str, password: str
) -> None:
    with caplog.at_level(logging.WARNING, "auscult.sign_in"):
        response = _sign_in(client, name, password)
    assert response.status_code == 422 and WRONG in response.content.decode() and not _signed_in(client)
    assert name in caplog.text and password not in caplog.text
    assert not LedgerEntry.objects.exists()


def test_a_closed_account_is_not_signed_in_and_says_the_same(client: Client, person: User) -> None:
    User.objects.update(is_active=False)
    assert WRONG in _sign_in(client).content.decode() and not _signed_in(client)


def test_after_five_failures_the_right_password_is_refused_too(client: Client, person: User) -> None:
    for _ in range(5):
        _sign_in(client, password="wrong")
    response = _sign_in(client)
    assert "Too many tries" in response.content.decode() and not _signed_in(client)
    cache.clear()
    _sign_in(client)
    assert _signed_in(client)


def test_nobody_registers(client: Client) -> None:
    assert client.get("/account/signup/").status_code in (302, 404)
    assert not User.objects.exists()


def test_a_forgotten_password_is_reset_by_mail(client: Client, person: User) -> None:
    assert client.post("/account/password/reset/", {"email": "nobody@x.example"}).status_code == 302
    assert mail.outbox == []
    client.post("/account/password/reset/", {"email": "nora@hospital.example"})
    link = next(word for word in str(mail.outbox[0].body).split() if "/password/reset/key/" in word)
    page = client.get("/" + link.split("/", 3)[3], follow=True)
    address = page.redirect_chain[-1][0]
    client.post(address, {"password1": "another long phrase 8", "password2": "another long phrase 8"})
    assert not _signed_in(client)
    _sign_in(client, password="another long phrase 8")
    assert _signed_in(client)


def test_with_a_factor_the_password_alone_signs_nobody_in(client: Client, person: User) -> None:
    TOTP.activate(person, SECRET)
    response = _sign_in(client)
    assert response["Location"].startswith("/account/factors/authenticate/") and not _signed_in(client)
    assert client.get("/notifications/").status_code == 302
    client.post("/account/factors/authenticate/", {"code": "000000"})
    assert not _signed_in(client)
    client.post("/account/factors/authenticate/", {"code": _code()})
    assert _signed_in(client)


def test_an_app_is_set_up_from_the_page(client: Client, person: User) -> None:
    _sign_in(client)
    if (page := client.get("/account/factors/totp/activate/")).status_code == 302:
        page = client.post(page["Location"], {"password": PASSWORD}, follow=True)
    assert page.status_code == 200 and b"<style" not in page.content and b" style=" not in page.content
    secret = client.session["mfa.totp.secret"]
    code = format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))
    client.post("/account/factors/totp/activate/", {"code": code})
    kinds = set(Authenticator.objects.values_list("type", flat=True))
    assert kinds == {"totp", "recovery_codes"}
    for path in ("", "recovery-codes/", "totp/deactivate/"):
        assert client.get(f"/account/factors/{path}").status_code == 200


def test_a_role_that_needs_a_factor_is_led_to_set_one_up(client: Client, person: User, settings: Any) -> None:
    RoleGrant.objects.create(user=person, role="dpo")
    client.force_login(person)
    assert client.get("/notifications/").status_code == 200
    settings.AUSCULT_MFA_ROLES = ["dpo"]
    assert client.get("/notifications/")["Location"] == "/account/"
    part = client.get("/notifications/", headers={"HX-Request": "true"})
    assert part["HX-Redirect"] == "/account/"
    TOTP.activate(person, SECRET)
    assert client.get("/notifications/").status_code == 200


def test_signing_asks_for_a_code_where_there_is_a_factor(person: User) -> None:
    assert confirm_identity(user=person, password=PASSWORD).method == "password"
    TOTP.activate(person, SECRET)
    with pytest.raises(DeniedError, match="code is not right"):
        confirm_identity(user=person, password=PASSWORD)
    code = _code()
    assert confirm_identity(user=person, password=PASSWORD, code=code).method == "password and code"
    with pytest.raises(DeniedError, match="used already"):
        confirm_identity(user=person, password=PASSWORD, code=code)
    assert LedgerEntry.objects.filter(act="stepup.refused").count() == 2


def test_a_recovery_code_signs_once_and_a_wrong_password_does_not_use_it_up(person: User) -> None:
    TOTP.activate(person, SECRET)
    codes = RecoveryCodes.activate(person).get_unused_codes()
    with pytest.raises(DeniedError, match="not your password"):
        confirm_identity(user=person, password="wrong", code=codes[0])
    assert confirm_identity(user=person, password=PASSWORD, code=codes[0]).method == "password and code"
    with pytest.raises(DeniedError, match="used already"):
        confirm_identity(user=person, password=PASSWORD, code=codes[0])


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("redis+socket:///run/r.sock?virtual_host=3", "unix:///run/r.sock?db=3"),
        ("memory://", "auscult"),
        ("", "auscult"),
    ],
)
def test_tries_are_counted_in_redis_where_there_is_one(url: str, place: str) -> None:
    assert cache_settings(url)["LOCATION"] == place


def test_a_secret_is_stored_encrypted_and_with_another_key_no_code_fits(person: User, settings: Any) -> None:
    TOTP.activate(person, SECRET)
    kept = Authenticator.objects.get(user=person).data["secret"]
    assert SECRET not in kept and factor_secrets.decrypt(kept) == SECRET
    settings.SECRET_KEY = "another key of another installation"
    assert factor_secrets.decrypt(kept) not in ("", SECRET)
    with pytest.raises(DeniedError, match="code is not right"):
        confirm_identity(user=person, password=PASSWORD, code=_code())


def test_a_role_that_is_unknown_is_told_when_the_server_starts(settings: Any) -> None:
    settings.AUSCULT_MFA_ROLES = ["dpo", "chair"]
    with pytest.raises(ImproperlyConfigured, match="names chair"):
        check_factor_roles()


def test_what_changes_about_signing_in_is_in_the_ledger_and_told_by_mail(client: Client, person: User) -> None:
    _sign_in(client)
    new = "another long phrase 8"
    client.post("/account/password/", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert list(LedgerEntry.objects.values_list("act", flat=True)) == ["account.password_changed"]
    assert len(mail.outbox) == 1 and new not in str(mail.outbox[0].body)
    assert _signed_in(client) and person.check_password(PASSWORD)
    person.refresh_from_db()
    assert person.check_password(new)


def test_a_session_of_somebody_else_is_not_ended(client: Client, person: User) -> None:
    other = Client()
    User.objects.create_user("otto", password=PASSWORD)
    _sign_in(client)
    _sign_in(other, "otto")
    own, foreign = UserSession.objects.get(user=person), UserSession.objects.exclude(user=person).get()
    client.post("/account/sessions/", {"session": foreign.pk})
    assert _signed_in(other) and "has ended, or it is not yours" in client.get("/account/").content.decode()
    client.post("/account/sessions/", {"session": own.pk})
    assert _signed_in(client), "the session that asks is not ended by this"
    third = Client()
    _sign_in(third)
    client.post("/account/sessions/", {})
    assert _signed_in(client) and third.get("/account/").status_code == 302
    assert list(LedgerEntry.objects.values_list("act", flat=True)) == ["account.sessions_ended"]


def test_sessions_that_ended_are_forgotten_and_others_stay(client: Client, person: User) -> None:
    over, closed = Client(), Client()
    for one in (client, over, closed):
        _sign_in(one)
    assert UserSession.objects.count() == 3
    Session.objects.filter(session_key=over.session.session_key).update(expire_date=timezone.now() - timedelta(hours=1))
    closed.post("/sign-out/")
    assert forget_ended() == 1
    assert [row.session_key for row in UserSession.objects.all()] == [client.session.session_key]
    assert client.get("/account/").status_code == 200


def test_an_administrator_takes_lost_factors_away_and_ends_the_sessions(client: Client, person: User) -> None:
    ada = User.objects.create_user("ada", password=PASSWORD)
    RoleGrant.objects.create(user=ada, role="administrator")
    TOTP.activate(person, SECRET)
    RecoveryCodes.activate(person)
    office, lost = Client(), Client()
    office.force_login(ada)
    _sign_in(lost)
    lost.post("/account/factors/authenticate/", {"code": _code()})
    assert _signed_in(lost)
    sent = {"act": "factors", "factors-reason": "Lost the phone", "factors-password": PASSWORD}
    page = f"/administration/people/{person.pk}/"
    assert "Take second factors away" in office.get(page).content.decode()
    assert office.post(page, sent).status_code == 302
    assert not Authenticator.objects.exists() and lost.get("/account/").status_code == 302
    assert "account.factors_taken" in LedgerEntry.objects.values_list("act", flat=True)
    again = Client()
    _sign_in(again)
    assert _signed_in(again)
    assert office.post(f"/administration/people/{ada.pk}/", sent).status_code == 403


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15_5) AppleWebKit/605 Version/18.5 Safari/605.1", "Safari on macOS"),
        ("Mozilla/5.0 (Linux; Android 16) AppleWebKit/537 Chrome/140.0 Mobile Safari/537", "Chrome on Android"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537 Chrome/140.0 Safari/537 Edg/140.0", "Edge on Windows"),
        ("curl/8.5", ""),
    ],
)
def test_a_browser_is_named_in_words(agent: str, words: str) -> None:
    assert browser_in_words(agent) == words
