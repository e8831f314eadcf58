"""Single sign-on opens accounts that are there: connected by their owner, or found by a verified address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.core.cache import cache
from django.test import Client

from config.sign_in_settings import sign_on_settings
from core.errors import EnvironmentProblemError
from core.models import LedgerEntry, RoleGrant, User
from tests.pages.oidc import CLIENT, SECRET, Provider, running

pytestmark = pytest.mark.django_db
PASSWORD = "a long pass phrase 7"
SAYS = {"sub": "u-17", "email": "nora@hospital.example", "email_verified": True, "name": "Nora North"}


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    cache.clear()
    with running() as found:
        told = {
            "AUSCULT_OIDC_URL": found.url,
            "AUSCULT_OIDC_CLIENT_ID": CLIENT,
            "AUSCULT_OIDC_CLIENT_SECRET": SECRET,
            "AUSCULT_OIDC_NAME": "North Hospital",
        }
        settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": sign_on_settings(told, production=False).apps}}
        found.says = dict(SAYS)
        yield found


@pytest.fixture
def person() -> User:
    return User.objects.create_user("nora", email="nora@hospital.example", password=PASSWORD)


def go(client: Client, *, process: str = "login", back: str = "") -> Any:
    """From the button to the provider and back: what our page answers in the end."""
    begun = client.post(f"/account/sign-on/house/login/?process={process}" + (f"&next={back}" if back else ""))
    assert begun.status_code == 302, begun.content
    back_here = requests.get(begun["Location"], allow_redirects=False, timeout=5).headers["Location"]
    parts = urlsplit(back_here)
    return client.get(parts.path, {name: found[0] for name, found in parse_qs(parts.query).items()})


def signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_the_button_shows_where_there_is_a_provider(client: Client, provider: Provider, settings: Any) -> None:
    assert "Sign in with North Hospital" in client.get("/sign-in/").content.decode()
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": []}}
    assert "Sign in with" not in client.get("/sign-in/").content.decode()


def test_nobody_without_an_account_comes_in_and_none_is_made(client: Client, provider: Provider) -> None:
    answer = go(client)
    assert answer.status_code == 403 and "No account belongs to you yet" in answer.content.decode()
    assert not signed_in(client) and not User.objects.exists()


def test_an_address_alone_opens_no_account(client: Client, provider: Provider, person: User) -> None:
    assert go(client).status_code == 403 and not signed_in(client)
    assert not SocialAccount.objects.exists()


def test_a_person_connects_it_and_signs_in_with_it(client: Client, provider: Provider, person: User) -> None:
    client.post("/sign-in/", {"username": "nora", "password": PASSWORD})
    assert "Connect North Hospital" in client.get("/account/").content.decode()
    assert go(client, process="connect")["Location"] == "/account/"
    assert "Connected as u-17" in client.get("/account/").content.decode()
    other = Client()
    assert go(other, back="/notifications/")["Location"] == "/notifications/"
    assert signed_in(other) and not SocialToken.objects.exists()
    assert provider.asked["code_challenge_method"] == "S256" and provider.tokens_asked["code_verifier"]
    assert set(LedgerEntry.objects.values_list("act", flat=True)) == {"account.sign_on_connected"}
    row = SocialAccount.objects.get()
    assert other.post(f"/account/sign-on/{row.pk}/remove/").status_code == 302
    assert not SocialAccount.objects.exists() and go(Client()).status_code == 403


def test_the_second_factor_is_asked_for_after_single_sign_on(client: Client, provider: Provider, person: User) -> None:
    SocialAccount.objects.create(user=person, provider="house", uid="u-17")
    TOTP.activate(person, "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
    assert go(client)["Location"].startswith("/account/factors/authenticate/") and not signed_in(client)


@pytest.mark.parametrize(
    ("says", "comes_in"),
    [
        ({}, True),
        ({"email": "NORA@hospital.example"}, True),
        ({"email_verified": False}, False),
        ({"email_verified": "true"}, False),
        ({"email": "other@hospital.example"}, False),
        ({"email": ""}, False),
    ],
)
def test_a_verified_address_finds_the_account_where_that_is_allowed(
    client: Client, provider: Provider, person: User, settings: Any, says: dict[str, Any], comes_in: bool
) -> None:
    settings.AUSCULT_SIGN_ON_BY_ADDRESS = True
    provider.says |= says
    go(client)
    assert signed_in(client) == comes_in
    person.refresh_from_db()
    assert person.check_password(PASSWORD), "the password stays, since signing asks for it"


def test_a_second_identity_does_not_take_over_an_account(
    client: Client, provider: Provider, person: User, settings: Any
) -> None:
    settings.AUSCULT_SIGN_ON_BY_ADDRESS = True
    SocialAccount.objects.create(user=person, provider="house", uid="u-1")
    assert go(client).status_code == 403 and not signed_in(client)


def test_a_closed_account_does_not_open(client: Client, provider: Provider, person: User) -> None:
    SocialAccount.objects.create(user=person, provider="house", uid="u-17")
    RoleGrant.objects.create(user=person, role="auditor")
    User.objects.update(is_active=False)
    go(client)
    assert client.get("/notifications/").status_code == 302 and not signed_in(client)


def test_a_forged_answer_and_a_refusal_sign_nobody_in(client: Client, provider: Provider, person: User) -> None:
    SocialAccount.objects.create(user=person, provider="house", uid="u-17")
    forged = client.get("/account/sign-on/house/login/callback/", {"code": "once", "state": "made up"})
    assert not signed_in(client) and forged.status_code < 500
    provider.fails = True
    assert go(client).status_code < 500 and not signed_in(client)
    assert client.get("/account/sign-on/elsewhere/login/").status_code == 404


def test_an_identity_of_somebody_else_is_not_removed(client: Client, provider: Provider, person: User) -> None:
    row = SocialAccount.objects.create(user=person, provider="house", uid="u-17")
    other = User.objects.create_user("otto", password=PASSWORD)
    client.force_login(other)
    client.post(f"/account/sign-on/{row.pk}/remove/")
    assert SocialAccount.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ({"AUSCULT_OIDC_URL": "http://login.example"}, "https"),
        ({"AUSCULT_OIDC_URL": "https://login.example"}, "AUSCULT_OIDC_CLIENT_ID"),
        ({"AUSCULT_OIDC_URL": "https://login.example", "AUSCULT_OIDC_CLIENT_ID": "x"}, "AUSCULT_OIDC_CLIENT_SECRET"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_the_server_starts(told: dict[str, str], word: str) -> None:
    with pytest.raises(EnvironmentProblemError, match=word):
        sign_on_settings(told, production=True)
