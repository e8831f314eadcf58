"""docs/access.md is what the code says, and what the code does."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import resolve

from config.access_table import FILE, acts, table
from config.access_table import addresses as told_of
from core.access import check_role
from core.errors import DeniedError
from core.models import Role, RoleGrant, User
from tests.pages import addresses
from tests.pages.scene import PEOPLE

SignIn = Callable[[str], Client]
REGULATOR, ADMINISTRATOR = "rita", "ada"


def test_the_page_is_current() -> None:
    assert FILE.read_text() == table(), "run: python -m config.access_table"


def test_every_address_says_for_whom_it_opens() -> None:
    assert [route for route, opens in told_of() if not opens] == []
    assert len(told_of()) > 150


@pytest.mark.parametrize("username", [*PEOPLE, "nobody"])
def test_every_page_opens_for_whom_the_table_says(house: SimpleNamespace, sign_in: SignIn, username: str) -> None:
    client, opens = sign_in(username), dict(told_of())
    own = ["/administration/people/", "/administration/tokens/"]
    every = [
        *addresses.pages(house),
        *addresses.parts(house),
        *addresses.issued(house),
        *addresses.granted(house),
        *own,
    ]
    expected = {
        "house": username not in (REGULATOR, "nobody"),
        "house, and people of single systems": username not in (REGULATOR, "nobody"),
        "regulators": username == REGULATOR,
        "administrators": username == ADMINISTRATOR,
    }
    found, wanted = {}, {}
    for url in every:
        route = resolve(url.partition("?")[0]).route
        found[url], wanted[url] = client.get(url).status_code != 403, expected[opens[f"/{route}"]]
    assert found == wanted
    assert len(every) > 90


@pytest.mark.parametrize("role", list(Role))
def test_every_act_asks_for_the_roles_that_the_table_names(db: None, role: Role) -> None:
    person = User.objects.create(username="one")
    RoleGrant.objects.create(user=person, role=role)
    known = [act for act in acts() if act.roles]
    assert len(known) > 60
    for act in known:
        try:
            check_role(person, *(Role(value) for value in act.roles), to=act.words)
            allowed = True
        except DeniedError as denial:
            allowed = False
            assert act.words in denial.message
        assert allowed == (role.value in act.roles), act
