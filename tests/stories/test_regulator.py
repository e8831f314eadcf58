"""The regulator: let in for a purpose, takes the bundle along, verifies it offline; a changed byte is found."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.pages.test_browser import CHROMIUM
from tests.stories.conftest import Settle, Town

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]
PURPOSE = "Market surveillance under Article 74(12) of the AI Act, case 17/2026."
FINGERPRINT = """
    from core.keys import signing_key
    from governance.bundle.layout import key_id
    answer = key_id(signing_key().public_key())
"""


def without_a_grant_there_is_nothing(town: Town) -> None:
    rita = town.desk("rita")
    rita.go("/portal/")
    assert rita.page.get_by_role("link", name="auscult-review").count() == 0
    assert rita.page.goto(f"{town.address}/systems/").status == 403


def the_officer_lets_her_in(town: Town) -> None:
    dora = town.desk("dora")
    dora.go("/governance/grants/")
    dora.reads("No regulator has access")
    dora.follow("Give access")
    dora.choose("Regulator", "Rita")
    dora.page.get_by_label("Chest model", exact=True).check()
    dora.fill("Until the end of", (datetime.now(UTC) + timedelta(days=60)).date().isoformat())
    dora.fill("Purpose", PURPOSE)
    dora.press("Give access")
    dora.reads("Rita Example has access now.")


def she_takes_the_bundle_and_the_verifier_along(town: Town, folder: Path) -> Path:
    rita = town.desk("rita")
    rita.go("/portal/")
    rita.reads(PURPOSE)
    rita.leads(rita.page.get_by_role("main").locator("a[href*='/bundles/']").first)
    rita.press("Make a download link")
    with rita.page.expect_download() as download:
        rita.page.locator("main a[href*='/links/'], main a.button--primary[download]").first.click()
    bundle = folder / download.value.suggested_filename
    download.value.save_as(bundle)
    with rita.page.expect_download() as download:
        rita.page.get_by_role("link", name="Download auscult-verifier.zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(folder)
    return bundle


def verify(folder: Path, bundle: Path, fingerprint: str) -> subprocess.CompletedProcess[str]:
    """The verifier alone, which can import nothing of this repository and asks no server."""
    verifier = folder / "auscult_verifier" / "verify.py"
    command = [sys.executable, "-I", str(verifier), str(bundle), "--trust", fingerprint]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def a_changed_byte_is_found(folder: Path, bundle: Path, fingerprint: str) -> None:
    """In the first, the middle and the last third of the file; and another key than the one that was told."""
    whole = bundle.read_bytes()
    for place in (len(whole) // 5, len(whole) // 2, len(whole) - 40):
        changed = bytearray(whole)
        changed[place] ^= 1
        forged = folder / "forged.zip"
        forged.write_bytes(bytes(changed))
        found = verify(folder, forged, fingerprint)
        assert found.returncode != 0 and "NOT VERIFIED" in found.stdout, (place, found.stdout, found.stderr)
    assert verify(folder, bundle, "ab" * 32).returncode != 0, "signed by another key"


def the_house_sees_what_was_opened(town: Town) -> None:
    dora = town.desk("dora")
    dora.go("/governance/grants/?q=surveillance&sort=-downloads")
    dora.leads(dora.page.locator("tbody th a").first)
    dora.reads("Downloaded a bundle")


def test_the_regulator_verifies_offline(settle: Settle, tmp_path: Path) -> None:
    town = settle("portal")
    without_a_grant_there_is_nothing(town)
    the_officer_lets_her_in(town)
    bundle = she_takes_the_bundle_and_the_verifier_along(town, tmp_path)
    fingerprint = str(town.python(FINGERPRINT))
    found = verify(tmp_path, bundle, fingerprint)
    assert found.returncode == 0 and "VERIFIED" in found.stdout, found.stdout + found.stderr
    a_changed_byte_is_found(tmp_path, bundle, fingerprint)
    the_house_sees_what_was_opened(town)
    town.nobody_complained()
