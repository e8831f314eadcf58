"""The administrator: somebody gets a role on one system, a program gets a token that works until it is taken back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.pages.test_browser import CHROMIUM
from tests.stories.conftest import Settle, Town

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]
PROGRAM = "PACS at North Hospital"


def without_a_role_one_opens_nothing(town: Town) -> None:
    nora = town.desk("nora")
    assert nora.page.goto(f"{town.address}/systems/").status == 403


def she_gives_a_role_on_one_system(town: Town) -> None:
    ada = town.desk("ada")
    ada.go("/administration/people/?q=nora")
    expect(ada.page.locator("tbody tr")).to_have_count(1)
    ada.leads(ada.page.locator("tbody th a").first)
    ada.unfold("Give a role")
    ada.choose("Role", "Auditor")
    ada.choose("Where", "Chest model")
    ada.press("Give this role")  # without the password: nothing is signed
    assert ada.field("Role").input_value() == "auditor", "what was typed is kept"
    ada.sign()
    ada.press("Give this role")
    ada.reads("Done. It is in the ledger.")
    ada.go("/administration/people/?role=auditor&sort=-name")
    ada.reads("Nora")


def who_has_it_sees_that_system_and_no_other(town: Town) -> None:
    nora = town.desk("nora")
    nora.go("/systems/")
    nora.reads("Chest model")
    expect(nora.page.get_by_role("main")).not_to_contain_text("Text-mined labels")


def a_program_gets_a_token_shown_once(town: Town) -> str:
    ada = town.desk("ada")
    ada.go("/administration/tokens/")
    ada.reads("No program has access")
    ada.unfold("Make a token")
    ada.choose("Acts for", "Amir Haddad")
    ada.fill("What it is for", PROGRAM)
    ada.page.get_by_label("Read what its person may read").check()
    ada.sign()
    ada.press("Make it and show the secret")
    secret = str(ada.page.locator(".secret code").inner_text())
    ada.go("/administration/tokens/?q=north+hospital")
    ada.reads(PROGRAM)
    assert secret not in ada.page.content()
    return secret


def it_opens_the_interface_until_it_is_revoked(town: Town, secret: str) -> None:
    ada = town.desk("ada")
    caller = ada.page.context.browser.new_context().request
    bearer = {"Authorization": f"Bearer {secret}"}
    url = f"{town.address}/api/v1/systems"
    assert caller.get(url).status == 401
    assert caller.get(url, headers=bearer).status == 200
    ada.go("/administration/tokens/")
    ada.unfold("Revoke")
    ada.press("Revoke it now")
    ada.reads("Revoked")
    assert caller.get(url, headers=bearer).status == 401


def every_act_stands_in_the_ledger(town: Town) -> None:
    ada = town.desk("ada")
    acts = town.python("""
        from core.models import LedgerEntry
        answer = list(LedgerEntry.objects.filter(actor="ada").order_by("index").values_list("act", flat=True))
    """)
    assert acts[-3:] == ["role.granted", "token.issued", "token.revoked"], acts
    assert ada.complaints == []


def test_the_administrator_lets_people_and_programs_in(settle: Settle) -> None:
    town = settle("office")
    without_a_role_one_opens_nothing(town)
    she_gives_a_role_on_one_system(town)
    who_has_it_sees_that_system_and_no_other(town)
    secret = a_program_gets_a_token_shown_once(town)
    it_opens_the_interface_until_it_is_revoked(town, secret)
    every_act_stands_in_the_ledger(town)
    town.nobody_complained()
