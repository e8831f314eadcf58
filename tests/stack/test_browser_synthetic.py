"""Synthetic patients from the request to the release by the data protection officer, in a browser, with workers."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.stack.conftest import Installation
from tests.stack.test_browser import AUDIT, WORKER, browser, chromium, cohort_option, protocol_place, sit_down

__all__ = ["browser", "chromium", "sit_down"]
pytestmark = [
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.usefixtures("chromium"),
]
NAME = "Women as on the ward"
PATIENTS = 400
PROTOCOL = """
auscult_protocol: 1
name: copies-only-v1
title: No synthetic patient is a real one
intended_use: Deciding about a first release of rows and series inside the hospital group, and about nothing else.
suites: [privacy]
labels: []
linked:
  attacks: 100
criteria:
  - {id: copies, title: "No exact copies", metric: copies, direction: at_most, margin: 0.05}
"""


def registered(installation: Installation) -> str:
    """A system for the generator; answers its name."""
    return str(
        installation.python("""
        from core.models import User
        from models_registry.models import AISystem
        from models_registry.services.systems import create_system
        name = "Generator of ward patients"
        AISystem.objects.filter(name=name).exists() or create_system(
            name=name, provider="Demonstration", intended_purpose="Making patients for teaching and for tests.",
            risk_class="", by=User.objects.get(username="elena"),
        )
        answer = name
    """)
    )


def train(elena: Any, system: str) -> None:
    """Order a generator of rows and series, step by step, and see it learn."""
    page = elena.page
    elena.go("/synthetic/")
    elena.link("Train a generator").click()
    page.get_by_label("Cohort", exact=True).select_option(label=cohort_option(page))
    page.get_by_label("Registered as").select_option(label=system)
    page.get_by_label("Version").fill("1.0.0")
    elena.button("Go on").click()
    page.get_by_label("Protection").wait_for()
    elena.button("Go on").click()
    for role in ("Images", "Texts", "Critic"):
        page.get_by_label(re.compile(f"^{role}")).select_option("none")
    elena.button("Go on").click()
    page.get_by_label("Training").select_option("0.05")
    elena.button("Go on").click()
    elena.reads("What it will learn from")
    elena.button("Train it").click()
    page.wait_for_url(re.compile(r"/synthetic/trainings/\d+/$"))
    page.locator(".title-line .status").get_by_text("Done").wait_for(timeout=AUDIT)
    expect(page.get_by_role("heading", name="Training curves")).to_be_visible()


def order(elena: Any) -> str:
    """Order women, and see them made; answers the address of the order."""
    page = elena.page
    elena.link("Order patients").click()
    page.get_by_label("Name of the cohort").fill(NAME)
    page.get_by_label("Patients", exact=True).fill(str(PATIENTS))
    elena.button("Go on").click()
    page.get_by_label(re.compile("^Sex")).select_option("F")
    elena.button("Go on").click()
    elena.button("Go on").click()
    elena.reads(f"{PATIENTS} patients, sex F.")
    elena.button("Order them").click()
    page.wait_for_url(re.compile(r"/synthetic/orders/\d+/$"))
    page.locator(".title-line .status").get_by_text("Done").wait_for(timeout=WORKER)
    elena.reads("In quarantine")
    return str(page.url)


def judge(amir: Any, clara: Any, address: str) -> None:
    """Lock and approve a protocol, audit what was made, and read the verdict."""
    amir.go("/audits/protocols/new/")
    amir.page.get_by_label(re.compile("^Or paste")).fill(PROTOCOL)
    amir.button("Check and lock").click()
    amir.page.wait_for_url(re.compile(r"/audits/protocols/\d+/$"))
    clara.page.goto(amir.page.url)
    clara.page.locator("summary", has_text="Approve").click()
    clara.button("Approve this protocol").click()
    amir.page.goto(address)
    amir.link("Request that audit").click()
    amir.page.get_by_label("Protocol").select_option(index=protocol_place(amir.page, "copies-only-v1"))
    amir.button("Request the audit").click()
    amir.page.wait_for_url(re.compile(r"/audits/\d+/$"))
    amir.page.locator(".verdict-banner").wait_for(timeout=AUDIT)
    assert amir.page.locator(".verdict-banner__word").inner_text().strip() == "Passes"


def release(amir: Any, dora: Any, password: str) -> None:
    """Ask for the release, and release it as the data protection officer."""
    page = amir.page
    amir.go("/governance/releases/new/")
    options = page.get_by_label("Synthetic cohort").locator("option").all_inner_texts()
    page.get_by_label("Synthetic cohort").select_option(label=next(text for text in options if text.startswith(NAME)))
    page.get_by_label("What it is to be used for").fill("Teaching students to read laboratory series of a ward.")
    page.get_by_label("Who gets it").fill("The medical school of the hospital group.")
    runs = page.get_by_label("Audit of its privacy").locator("option").all_inner_texts()
    place = next(place for place, text in enumerate(runs) if NAME in text or "copies-only-v1" in text)
    page.get_by_label("Audit of its privacy").select_option(index=place)
    amir.button("Ask for the release").click()
    page.wait_for_url(re.compile(r"/governance/releases/\d+/$"))
    dora.page.goto(page.url)
    dora.reads("It can be released, if the votes say so")
    dora.page.locator("input[name=choice][value=approve]").check()
    dora.page.get_by_label("Your reason").fill("No record is a copy of a patient's, and it stays in the group.")
    if dora.page.get_by_label("Your password").count():
        dora.page.get_by_label("Your password").fill(password)
    dora.button("Cast my vote").click()
    dora.page.locator(".title-line .status").first.get_by_text("Released").wait_for()


def take_files(dora: Any, folder: Path) -> list[str]:
    """Have the files written, and download them."""
    page, place = dora.page, dora.page.url
    page.get_by_label("Who publishes it").fill("Demonstration hospital")
    page.get_by_label("Whom to ask").fill("data@hospital.example")
    page.get_by_label("Licence").fill("CC-BY-NC-4.0")
    dora.button("Write the files").click()
    link = page.get_by_role("link", name=re.compile("^Download .*zip$"))
    for _ in range(60):
        if link.count():
            break
        page.wait_for_timeout(2000)
        page.goto(place)
    with page.expect_download() as download:
        link.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_patients_are_requested_made_audited_and_released(
    installation: Installation, sit_down: Any, tmp_path: Path
) -> None:
    elena, amir, clara, dora = (sit_down(name) for name in ("elena", "amir", "clara", "dora"))
    train(elena, registered(installation))
    address = order(elena)
    judge(amir, clara, address)
    release(amir, dora, installation.password)
    elena.page.goto(address)
    expect(elena.page.get_by_role("main")).not_to_contain_text("In quarantine")
    names = take_files(dora, tmp_path)
    for kind in (".parquet", ".csv", ".json"):
        assert any(name.endswith(kind) for name in names), kind
    assert all(desk.complaints == [] for desk in (elena, amir, clara, dora))
