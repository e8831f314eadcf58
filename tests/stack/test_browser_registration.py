"""A checkpoint on its way from somebody's computer to a verdict, in a browser, with real workers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.stack.conftest import Installation
from tests.stack.test_browser import (
    AUDIT,
    ESTIMATE,
    REFERENCE,
    WORKER,
    browser,
    chromium,
    cohort_option,
    protocol_place,
    sit_down,
)

__all__ = ["browser", "chromium", "sit_down"]
pytestmark = [
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.usefixtures("chromium"),
]
LABEL = "1.3-uploaded"
CHECKS = 10


@pytest.fixture
def checkpoint(installation: Installation, tmp_path: Path) -> Path:
    """The twin's files as they lie on the engineer's own computer, with a note, so that they are another version."""
    stored = installation.python(f"""
        from models_registry.models import ModelVersion
        from models_registry.services.versions import model_store
        twin = ModelVersion.objects.get(label="1.1", system__slug={REFERENCE!r})
        answer = str(model_store().folder_path(twin.digest))
    """)
    folder = shutil.copytree(stored, tmp_path / "checkpoint", copy_function=shutil.copyfile)
    (folder / "NOTES.md").write_text("Sent from the engineer's own computer.")
    return folder


def upload(desk: Any, folder: Path) -> None:
    """Fill in the form, send the folder, and see every check made by a worker."""
    page = desk.page
    desk.go(f"/systems/{REFERENCE}/")
    desk.link("Register a version").click()
    page.get_by_label("Label").fill(LABEL)
    page.get_by_label("Adapter").select_option("fusion")
    page.locator("#id_upload_folder").set_input_files(folder)
    desk.button("Check the model").click()
    page.locator(".title-line .status").get_by_text("Ready to register").wait_for(timeout=WORKER)
    states = page.get_by_role("group", name="Every check").locator("td .status").all_inner_texts()
    assert len(states) == CHECKS
    assert set(states) <= {"Good", "Look at this"}, states
    found = page.get_by_role("group", name="Every check").inner_text()
    assert f"{sum(1 for path in folder.rglob('*') if path.is_file())} files" in found
    # The twin holds the same weights, and whoever registers them again is told.
    assert "also in" in found


def confirm(desk: Any) -> str:
    """Say yes to what is shown; answers the address of the version's page."""
    desk.page.locator("summary", has_text="Register this version").click()
    desk.button("Confirm and register").click()
    desk.page.wait_for_url(re.compile(r"/versions/\d+/$"), timeout=WORKER)
    assert desk.page.locator(".title-line .status").first.inner_text() == "Submitted"
    assert desk.button("Request an audit").is_disabled(), "the submitter could audit their own version"
    return str(desk.page.url)


def read_version(desk: Any) -> None:
    """Files with sizes and digests, what changed, the lineage as picture and table, and the bill of materials."""
    page = desk.page
    page.get_by_role("link", name="Content", exact=True).click()
    page.get_by_text("Every file with its digest").click()
    files = page.get_by_role("group", name="Files", exact=True).inner_text()
    assert "NOTES.md" in files and re.search(r"\d MB|\d kB", files)
    expect(page.get_by_role("group", name="Changed files")).to_contain_text("NOTES.md", use_inner_text=True)
    picture = page.get_by_role("group", name="Lineage, as a picture")
    expect(picture).to_contain_text("1.1", use_inner_text=True)
    page.get_by_text("Show as table").first.click()
    expect(page.get_by_role("group", name="Lineage, as a table")).to_contain_text(
        "shares weights with", use_inner_text=True
    )
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the ML-BOM").click()
    assert download.value.suggested_filename.endswith(".cdx.json")


def test_a_checkpoint_is_uploaded_checked_registered_and_audited(
    installation: Installation, sit_down: Any, checkpoint: Path
) -> None:
    elena, amir = sit_down("elena"), sit_down("amir")
    upload(elena, checkpoint)
    elena.go("/")
    elena.page.get_by_role("link", name=re.compile(f"^Confirm .* {re.escape(LABEL)}$")).click()
    address = confirm(elena)
    read_version(elena)

    amir.page.goto(address)
    amir.link("Request an audit").click()
    amir.page.get_by_label("Cohort", exact=True).select_option(label=cohort_option(amir.page))
    amir.page.get_by_label("Protocol").select_option(index=protocol_place(amir.page, "reference-model-v1"))
    amir.button("Request the audit").click()
    amir.page.wait_for_url(re.compile(r"/audits/\d+/$"))
    asked: list[str] = []
    amir.page.on("response", lambda answer: asked.append(answer.url) if "/progress/?n=" in answer.url else None)
    expect(amir.page.get_by_role("progressbar", name="Studies done")).to_be_visible()
    amir.page.locator(".verdict-banner").wait_for(timeout=AUDIT)
    assert asked, "the page did not ask how far the audit was"
    assert amir.page.locator(".verdict-banner__word").inner_text().strip() == "Passes"
    assert ESTIMATE.search(amir.page.locator(".verdict-banner .numbers").inner_text())

    amir.go("/workers/")
    workers = amir.page.get_by_role("group", name="Workers").inner_text()
    assert "gpu" in workers and "studies/s" in workers and re.search(r"\d+ models?, ", workers)
    amir.page.goto(f"{address}~audits/")
    amir.page.get_by_text("Speed, memory and energy of the last audits").click()
    expect(amir.page.get_by_role("group", name="Throughput")).to_contain_text("studies/s", use_inner_text=True)
    assert elena.complaints == amir.complaints == []
