"""The registry in a browser: uploads in pieces and through broken connections, and a lineage without a mouse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.pages.test_browser import CHROMIUM, address, browser, open_as

__all__ = ["address", "browser"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]
FORM = "/systems/chest-model/versions/new/"
PIECES = "**/files/?path=*"
LARGE = 20_000_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of three pieces, an empty one, and one in a folder below."""
    folder = tmp_path_factory.mktemp("upload") / "model"
    (folder / "processor").mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(os.urandom(LARGE))
    (folder / "README.md").write_text("# A model")
    (folder / "empty.txt").touch()
    (folder / "processor" / "config.json").write_text("{}")
    return folder


def fill(page: Any, label: str) -> None:
    page.get_by_label("Label").fill(label)
    page.get_by_label("Adapter").select_option("fusion")


def test_only_the_chosen_source_is_shown(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "elena")
    page.goto(address + FORM)
    shown = {"Archive or files": True, "Folder on the server": False, "Archive on the server": False, "Run": False}
    choices = {
        "In a folder on the server": "Folder on the server",
        "In an archive on the server": "Archive on the server",
        "In an MLflow run on the server": "Run",
    }
    for label, visible in shown.items():
        assert page.get_by_label(label, exact=True).is_visible() is visible, label
    for choice, field in choices.items():
        page.get_by_label(choice).check()
        expect(page.get_by_label(field, exact=True)).to_be_visible()
        expect(page.get_by_label("Archive or files")).not_to_be_visible()
    assert complaints == []


def test_a_folder_goes_up_through_a_broken_connection(browser: Any, address: str, model: Path) -> None:
    """One piece never arrives, and of one the answer is lost: both are noticed, and nothing is sent twice."""
    page, _ = open_as(browser, address, "elena")
    page.goto(address + FORM)
    fill(page, "up-1")
    page.locator("#id_upload_folder").set_input_files(model)
    sent: list[str] = []

    def disturb(route: Any) -> None:
        sent.append(route.request.url.partition("path=")[2])
        if len(sent) == 2:
            route.abort()
        elif len(sent) == 4:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route(PIECES, disturb)
    page.get_by_role("button", name="Check the model").click()
    page.get_by_role("main").get_by_text("Waiting to be checked").wait_for(timeout=30_000)
    assert "/systems/chest-model/intakes/" in page.url
    assert len(sent) == 6, "two small files, three pieces of the large one, and the one that never arrived"
    assert len(set(sent)) == 5


def test_an_upload_goes_on_after_a_reload(browser: Any, address: str, model: Path) -> None:
    page, _ = open_as(browser, address, "elena")
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(address + FORM)
    fill(page, "up-2")
    page.locator("#id_upload_folder").set_input_files(model)
    sent: list[str] = []

    def stop_after_first_piece(route: Any) -> None:
        sent.append(route.request.url)
        if "offset=0" in route.request.url:
            route.continue_()
        else:
            route.abort()

    page.route(PIECES, stop_after_first_piece)
    page.get_by_role("button", name="Check the model").click()
    page.get_by_role("status").filter(has_text=" of 20.0 MB").wait_for()
    while len(sent) < 4:
        page.wait_for_timeout(50)
    page.unroute(PIECES)
    page.reload()
    expect(page.locator("[data-arrived]")).to_contain_text("8.4 MB of 20.0 MB", use_inner_text=True)

    go_on = page.get_by_role("button", name="Go on with the upload")
    go_on.click()
    page.get_by_text("This file is not among those that were chosen.").wait_for()
    expect(page.locator(".error-summary")).to_be_focused()
    page.locator("#id_again").set_input_files({"name": "weights.safetensors", "mimeType": "", "buffer": b"other"})
    go_on.click()
    page.get_by_text("It has 5 bytes; 20000000 were promised.").wait_for()
    again: list[str] = []
    page.on("request", lambda request: again.append(request.url) if request.method == "PUT" else None)
    # By its name alone: whoever chose the folder first may choose the one file that is missing now.
    page.locator("#id_again").set_input_files(model / "weights.safetensors")
    go_on.click()
    page.get_by_role("main").get_by_text("Waiting to be checked").wait_for(timeout=30_000)
    assert len(again) == 2 and all("weights.safetensors&offset=" in url for url in again)


def test_a_refusal_is_said_and_the_form_stays(browser: Any, address: str, model: Path) -> None:
    page, _ = open_as(browser, address, "elena")
    page.goto(address + FORM)
    fill(page, "1.1")
    page.locator("#id_upload").set_input_files(model / "README.md")
    page.get_by_role("button", name="Check the model").click()
    page.get_by_role("alert").get_by_text("already has a version 1.1").wait_for()
    expect(page.get_by_label("Label")).to_have_value("1.1")
    expect(page.get_by_role("button", name="Check the model")).to_be_enabled()


def test_without_a_script_the_form_sends_the_files(browser: Any, address: str, model: Path) -> None:
    page, _ = open_as(browser, address, "elena", java_script_enabled=False)
    page.goto(address + FORM)
    fill(page, "up-3")
    page.locator("#id_upload").set_input_files([model / "README.md", model / "weights.safetensors"])
    page.get_by_role("button", name="Check the model").click()
    page.get_by_role("main").get_by_text("Waiting to be checked").wait_for()


def test_the_lineage_is_walked_with_the_keyboard(browser: Any, address: str) -> None:
    """Every box is a link that shows its focus; the table below says the same without the picture."""
    page, complaints = open_as(browser, address, "dora")
    page.goto(f"{address}/systems/chest-findings/versions/6/lineage/")
    boxes = page.locator("svg.lineage a")
    assert boxes.count() >= 8
    first = boxes.first
    first.focus()
    plain = boxes.nth(1).locator("rect").evaluate("box => getComputedStyle(box).strokeWidth")
    assert first.locator("rect").evaluate("box => getComputedStyle(box).strokeWidth") != plain
    href = first.get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}{href}")
    page.go_back()
    page.get_by_text("Show as table").click()
    table = page.get_by_role("group", name="Lineage, as a table")
    assert table.get_by_role("row").count() == 1 + page.locator("svg.lineage path.lineage__line").count()
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_follows_the_theme_and_fits_on_paper(browser: Any, address: str, scheme: str) -> None:
    page, _ = open_as(browser, address, "dora", color_scheme=scheme)
    page.goto(f"{address}/systems/chest-findings/versions/6/lineage/")
    fill = "box => getComputedStyle(box).fill"
    box = page.locator(".lineage__box--focal")
    assert box.evaluate(fill) == {"light": "rgb(255, 255, 255)", "dark": "rgb(27, 27, 27)"}[scheme]
    page.emulate_media(media="print")
    assert box.evaluate(fill) == "rgb(255, 255, 255)"
    picture = page.locator("svg.lineage").evaluate("item => item.getBoundingClientRect().width")
    assert picture <= page.evaluate("document.documentElement.clientWidth")


def test_the_workers_page_asks_again_by_itself(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "amir")
    page.goto(f"{address}/workers/")
    with page.expect_response(lambda answer: answer.url.endswith("/workers/"), timeout=10_000) as again:
        pass
    assert again.value.status == 200
    page.wait_for_timeout(300)
    assert page.locator("#workers").count() == 1 and page.get_by_role("heading", level=1).count() == 1
    assert complaints == []
