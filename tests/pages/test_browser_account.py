"""A security key and an authenticator app in a browser: set up, signing in, signing an act, under the strict policy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from playwright.sync_api import expect

from tests.pages.scene import PASSWORD
from tests.pages.test_axe import broken
from tests.pages.test_browser import CHROMIUM, FILL, browser, served

__all__ = ["browser"]
KEY = {"protocol": "ctap2", "transport": "usb", "hasResidentKey": True, "hasUserVerification": True,
       "isUserVerified": True, "automaticPresenceSimulation": True}  # fmt: skip
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The installation by name: a key is bound to a name, and a number is none."""
    with served(tmp_path_factory.mktemp("house"), FILL) as found:
        yield found.replace("127.0.0.1", "localhost")


def fresh(browser: Any) -> tuple[Any, list[str]]:
    """A page of a browser of its own, and what breaks on it: scripts, and the policy of the content."""
    page, complaints = browser.new_context().new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None,
    )
    return page, complaints


def sign_in(page: Any, address: str, username: str) -> None:
    page.goto(f"{address}/sign-in/")
    page.fill("#id_username", username)
    page.fill("#id_password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/sign-in/" not in url)


def confirm(page: Any) -> None:
    """What the house asks for before how one signs in is changed."""
    page.fill("#id_password", PASSWORD)
    page.get_by_role("button", name="Confirm").click()


def test_a_security_key_is_added_signs_in_and_signs(browser: Any, address: str) -> None:
    page, complaints = fresh(browser)
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
    sign_in(page, address, "ada")
    page.goto(f"{address}/account/")
    assert broken(page) == []
    page.get_by_role("link", name="Add a security key").click()
    assert broken(page) == []
    confirm(page)
    page.fill("#id_name", "Blue key")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("heading", name="Recovery Codes")).to_be_visible()
    assert broken(page) == []
    for place in ("factors/", "factors/webauthn/", "password/"):
        page.goto(f"{address}/account/{place}")
        assert broken(page) == [], place
    page.goto(f"{address}/")
    page.locator(".sidebar").get_by_role("button", name="Sign out").click()
    # The password alone opens nothing.
    sign_in(page, address, "ada")
    page.wait_for_url("**/account/factors/authenticate/")
    assert broken(page) == []
    page.goto(f"{address}/administration/people/")
    expect(page).to_have_url(re.compile("/account/factors/authenticate/"))
    page.get_by_role("button", name="Use a security key").click()
    expect(page.locator(".sidebar")).to_be_visible()
    # A form that signs asks for a code, or for the key on a page beside it.
    page.goto(f"{address}/administration/invitations/")
    page.locator("summary", has_text="Invite somebody").click()
    link = page.get_by_role("link", name="Use a security key instead").first
    expect(link).to_have_attribute("target", "_blank")
    # The key of this test is plugged into one tab; people's keys are not.
    page.goto(f"{address}{link.get_attribute('href')}")
    page.fill("#id_password", PASSWORD)
    page.get_by_role("button", name="Use my security key").click()
    expect(page.get_by_role("heading", name="You are recognised")).to_be_visible()
    page.goto(f"{address}/administration/invitations/")
    page.locator("summary", has_text="Invite somebody").click()
    expect(page.locator("main input[type=password]")).to_have_count(0)
    assert complaints == []
    page.context.close()


def test_an_app_is_set_up_and_its_code_signs_in(browser: Any, address: str) -> None:
    page, complaints = fresh(browser)
    sign_in(page, address, "clara")
    page.goto(f"{address}/account/")
    page.get_by_role("link", name="Set up an authenticator app").click()
    confirm(page)
    expect(page.get_by_alt_text(re.compile("QR code"))).to_be_visible()
    assert broken(page) == []
    secret = page.locator("#authenticator_secret").input_value()
    counters = list(yield_hotp_counters_from_time())
    page.fill("#id_code", format_hotp_value(hotp_value(secret, counters[0])))
    page.get_by_role("button", name="Activate").click()
    expect(page.get_by_role("heading", name="Recovery Codes")).to_be_visible()
    recovery = page.locator("textarea").input_value().split()[0]
    other, _ = fresh(browser)
    sign_in(other, address, "clara")
    other.fill("#id_code", "000000")
    other.get_by_role("button", name="Sign In").click()
    expect(other.get_by_text("Incorrect code")).to_be_visible()
    other.fill("#id_code", recovery)
    other.get_by_role("button", name="Sign In").click()
    expect(other.locator(".sidebar")).to_be_visible()
    # Each sees the other session and can end it.
    page.goto(f"{address}/account/")
    page.get_by_role("button", name="Sign out there").click()
    expect(page.get_by_text("Signed out there.")).to_be_visible()
    other.goto(f"{address}/account/")
    expect(other).to_have_url(re.compile("/sign-in/"))
    assert complaints == []
    page.context.close()
    other.context.close()
