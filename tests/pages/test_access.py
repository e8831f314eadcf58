"""Who may open what: every address for every role."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.test import Client

from evaluation.models import AuditRun, Protocol
from tests.pages import addresses
from tests.pages.scene import PASSWORD, PEOPLE, person

INSIDERS = [name for name in PEOPLE if name != "rita"]
SignIn = Callable[[str], Client]


@pytest.mark.parametrize("username", INSIDERS)
def test_every_role_but_regulator_reads_every_page(house: SimpleNamespace, sign_in: SignIn, username: str) -> None:
    client = sign_in(username)
    every = ["/", *addresses.pages(house), *addresses.parts(house), *addresses.issued(house)]
    assert {url: client.get(url).status_code for url in every} == dict.fromkeys(every, 200)


def test_a_regulator_reads_what_was_granted_only(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("rita")
    assert client.get("/").headers["Location"] == "/portal/"
    allowed = addresses.granted(house)
    assert {url: client.get(url).status_code for url in allowed} == dict.fromkeys(allowed, 200)
    denied = [*addresses.pages(house), *addresses.parts(house), *addresses.issued(house)]
    assert {url: client.get(url).status_code for url in denied} == dict.fromkeys(denied, 403)
    acts = addresses.acts(house)
    assert {url: client.post(url).status_code for url in acts} == dict.fromkeys(acts, 403)


def test_the_portal_is_for_regulators(house: SimpleNamespace, sign_in: SignIn) -> None:
    for username in INSIDERS:
        client = sign_in(username)
        denied = addresses.granted(house)
        assert {url: client.get(url).status_code for url in denied} == dict.fromkeys(denied, 403), username


def test_an_account_without_a_role_reads_nothing(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("nobody")
    assert "has no role yet" in client.get("/").content.decode()
    denied = [*addresses.pages(house), *addresses.parts(house), *addresses.issued(house)]
    assert {url: client.get(url).status_code for url in denied} == dict.fromkeys(denied, 403)


def test_nobody_is_let_in_without_signing_in(house: SimpleNamespace, client: Client) -> None:
    every = ["/", *addresses.pages(house), *addresses.parts(house), *addresses.issued(house), *addresses.granted(house)]
    for url in every:
        response = client.get(url)
        assert (response.status_code, response.headers["Location"].split("?")[0]) == (302, "/sign-in/"), url
    for url in addresses.acts(house):
        response = client.post(url)
        assert (response.status_code, response.headers["Location"].split("?")[0]) == (302, "/sign-in/"), url


def test_what_does_not_exist_answers_404_in_words(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")
    found = {url: client.get(url).status_code for url in addresses.unknown()}
    assert found == dict.fromkeys(found, 404)
    assert "There is no such audit" in client.get("/audits/9999/").content.decode()


def test_acts_take_no_get(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("clara")
    found = {url: client.get(url).status_code for url in addresses.acts(house)}
    assert found == dict.fromkeys(found, 405)


def test_acts_need_the_token_of_the_form(house: SimpleNamespace) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("clara"))
    assert client.post(f"/audits/protocols/{house.waiting.pk}/approve/").status_code == 403
    house.waiting.refresh_from_db()
    assert house.waiting.status == Protocol.Status.LOCKED


def test_denied_acts_change_nothing_and_say_why(house: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("mina").post(f"/audits/{house.running.pk}/cancel/", follow=True)
    assert "Only people with the role auditor may request an audit." in response.content.decode()
    assert AuditRun.objects.get(pk=house.running.pk).status == "running"


def test_a_disabled_control_says_why(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("mina").get(f"/audits/{house.running.pk}/").content.decode()
    assert "Only people with the role auditor may request an audit." in text
    assert f"/audits/{house.running.pk}/cancel/" not in text


def test_the_same_words_for_a_wrong_password_and_an_unknown_user(db: None, client: Client) -> None:
    person("amir")
    wrong = client.post("/sign-in/", {"username": "amir", "password": "guess"})
    unknown = client.post("/sign-in/", {"username": "nobody-at-all", "password": "guess"})
    message = "The user name or the password is not right."
    assert (wrong.status_code, unknown.status_code) == (422, 422)
    assert message in wrong.content.decode() and message in unknown.content.decode()
    assert 'value="amir"' in wrong.content.decode()


def test_signing_in_goes_where_one_was_going_but_never_off_the_site(db: None, client: Client) -> None:
    person("amir")
    typed = {"username": "amir", "password": PASSWORD}
    assert client.post("/sign-in/?next=/audits/", {**typed, "next": "/audits/"}).headers["Location"] == "/audits/"
    client.post("/sign-out/")
    assert client.post("/sign-in/", {**typed, "next": "https://evil.example/"}).headers["Location"] == "/"


def test_the_theme_is_kept_and_leads_back_on_the_site_only(db: None, client: Client) -> None:
    response = client.post("/theme/", {"theme": "dark", "back": "/sign-in/"})
    assert response.headers["Location"] == "/sign-in/"
    assert 'data-theme="dark"' in client.get("/sign-in/").content.decode()
    assert client.post("/theme/", {"theme": "dark", "back": "//evil.example/"}).headers["Location"] == "/"
    client.post("/theme/", {"theme": '"><script>', "back": "/sign-in/"})
    assert 'data-theme="dark"' in client.get("/sign-in/").content.decode()


def test_a_part_asked_for_after_the_session_ended_leads_the_whole_page_to_sign_in(
    house: SimpleNamespace, client: Client
) -> None:
    asked = {"HX-Request": "true", "HX-Current-URL": f"http://testserver/audits/{house.running.pk}/?x=1"}
    response = client.get(f"/audits/{house.running.pk}/progress/", headers=asked, follow=True)
    assert response.headers["HX-Redirect"] == f"/sign-in/?next=/audits/{house.running.pk}/"
    assert b"password" not in response.content
