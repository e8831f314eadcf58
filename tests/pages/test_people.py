"""Administration: people, their roles and where these count, closing accounts, tokens of programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from core.models import ApiToken, LedgerEntry, Role, RoleGrant, User
from core.tokens import token_of
from tests.pages.scene import PASSWORD, PEOPLE, person

SignIn = Callable[[str], Client]
PEOPLE_PAGE, TOKENS = "/administration/people/", "/administration/tokens/"


def act(client: Client, who: User, name: str, **values: Any) -> Any:
    body = {f"{name}-{key}": value for key, value in values.items()} | {"act": name}
    return client.post(f"{PEOPLE_PAGE}{who.pk}/", body)


@pytest.fixture
def ada(house: SimpleNamespace, sign_in: SignIn) -> Client:
    return sign_in("ada")


def test_only_administrators_enter(house: SimpleNamespace, sign_in: SignIn) -> None:
    amir = person("amir")
    for name in PEOPLE:
        client, expected = sign_in(name), 200 if name == "ada" else 403
        for url in (PEOPLE_PAGE, f"{PEOPLE_PAGE}{amir.pk}/", TOKENS):
            assert client.get(url).status_code == expected, (name, url)
        assert (PEOPLE_PAGE in client.get("/governance/").content.decode()) == (name == "ada")
        if name != "ada":
            assert act(client, amir, "close", reason="x", password=PASSWORD).status_code == 403
            assert client.post(TOKENS, {}).status_code == 403
    assert not ApiToken.objects.exists()


def test_people_are_found_by_name_and_role(house: SimpleNamespace, ada: Client) -> None:
    page = ada.get(PEOPLE_PAGE).content.decode()
    assert all(f">{person(name)}</a>" in page for name in ("amir", "clara"))
    found = ada.get(PEOPLE_PAGE + "?role=auditor&state=open").content.decode()
    assert f">{person('amir')}</a>" in found and f">{person('clara')}</a>" not in found
    assert "Nobody matches" in ada.get(PEOPLE_PAGE + "?q=nowhere-to-be-found").content.decode()
    assert ada.get(f"{PEOPLE_PAGE}99999/").status_code == 404


def test_a_role_is_given_on_one_system_and_taken_away(house: SimpleNamespace, ada: Client) -> None:
    nobody = person("nobody")
    wrong = act(ada, nobody, "give", role="auditor", system=house.system.pk, password="not mine")
    assert wrong.status_code == 403 and "not your password" in wrong.content.decode()
    assert not nobody.role_grants.exists()
    assert act(ada, nobody, "give", role="auditor", system=house.system.pk, password=PASSWORD).status_code == 302
    [grant] = nobody.role_grants.all()
    assert (grant.role, grant.system_key) == (Role.AUDITOR, house.system.pk)
    entry = LedgerEntry.objects.filter(act="role.granted").order_by("-index")[0]
    assert '"system":"chest-model"' in entry.body and '"signed_with":"password' in entry.body
    page = ada.get(f"{PEOPLE_PAGE}{nobody.pk}/").content.decode()
    assert f"Auditor on {house.system.name}" in page
    # The proof is fresh: no password is asked for again.
    twice = act(ada, nobody, "give", role="auditor", system=house.system.pk)
    assert twice.status_code == 409 and "already" in twice.content.decode()
    limited = act(ada, nobody, "give", role="administrator", system=house.system.pk)
    assert limited.status_code == 409 and "cannot be limited" in limited.content.decode()
    assert act(ada, nobody, "take", held=f"auditor:{house.system.pk}").status_code == 302
    assert not nobody.role_grants.exists()
    assert act(ada, nobody, "take", held="auditor:0").status_code == 422


def test_nobody_changes_their_own_account(house: SimpleNamespace, ada: Client) -> None:
    me = person("ada")
    page = ada.get(f"{PEOPLE_PAGE}{me.pk}/").content.decode()
    assert "You cannot change roles of your own" in page and "You cannot close an account of your own" in page
    assert act(ada, me, "give", role="auditor", password=PASSWORD).status_code == 403
    assert act(ada, me, "close", reason="x").status_code == 403
    assert me.role_grants.count() == 1 and User.objects.get(pk=me.pk).is_active


def test_a_closed_account_is_out_at_once_and_comes_back_without_its_programs(
    house: SimpleNamespace, ada: Client, sign_in: SignIn
) -> None:
    amir, his = person("amir"), sign_in("amir")
    made = ada.post(TOKENS, {"user": amir.pk, "name": "PACS", "scopes": ["gate"], "days": 30, "password": PASSWORD})
    [secret] = re.findall(r"<code>(auscult_[\w-]+)</code>", made.content.decode())
    assert made.status_code == 200 and made.headers["Cache-Control"] == "no-store" and token_of(secret)
    assert secret not in ada.get(TOKENS).content.decode()
    assert his.get("/audits/").status_code == 200
    assert act(ada, amir, "close", reason="Left the hospital.").status_code == 302
    assert his.get("/audits/").status_code == 302 and token_of(secret) is None
    assert "Closed" in ada.get(f"{PEOPLE_PAGE}{amir.pk}/").content.decode()
    assert act(ada, amir, "close", reason="Again.").status_code == 409
    assert act(ada, amir, "open").status_code == 302
    assert User.objects.get(pk=amir.pk).is_active and token_of(secret) is None
    assert RoleGrant.objects.filter(user=amir, role=Role.AUDITOR).exists()
    acts = list(LedgerEntry.objects.order_by("index").values_list("act", flat=True))
    assert acts[-3:] == ["token.issued", "account.closed", "account.opened"]


def test_a_token_is_revoked_by_one_click_and_bad_orders_say_why(house: SimpleNamespace, ada: Client) -> None:
    amir = person("amir")
    empty = ada.post(TOKENS, {"days": 999})
    page = empty.content.decode()
    assert empty.status_code == 422 and "Choose for whom it acts" in page and "Choose at least one" in page
    ada.post(TOKENS, {"user": amir.pk, "name": "PACS", "scopes": ["gate"], "days": 30, "password": PASSWORD})
    token = ApiToken.objects.get()
    assert ada.post(f"{TOKENS}{token.pk}/revoke/", follow=True).status_code == 200
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert "revoked already" in ada.post(f"{TOKENS}{token.pk}/revoke/", follow=True).content.decode()
    assert ada.post(f"{TOKENS}9999/revoke/").status_code == 404


def test_queries_do_not_grow_with_people(
    house: SimpleNamespace, ada: Client, django_assert_max_num_queries: Any
) -> None:
    User.objects.bulk_create(User(username=f"person{number}") for number in range(60))
    RoleGrant.objects.bulk_create(
        RoleGrant(user=one, role=Role.AUDITOR, system_key=house.system.pk)
        for one in User.objects.filter(username__startswith="person")
    )
    with django_assert_max_num_queries(12):
        assert ada.get(PEOPLE_PAGE).status_code == 200
