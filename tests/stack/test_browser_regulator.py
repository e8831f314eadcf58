"""A regulator is let in, reads what was granted, takes a bundle along, verifies it offline, and is shown out."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.stack.conftest import Installation
from tests.stack.test_browser import browser, chromium, sit_down

__all__ = ["browser", "chromium", "sit_down"]
pytestmark = [
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.usefixtures("chromium"),
]
PURPOSE = "Market surveillance under Article 74(12) of the AI Act, case 17/2026."
REASON = "The case was closed on the authority's own letter."
WATCH = 30_000
"""Milliseconds in which an open page finds out that its grant does not stand any more; it asks every 15 s."""


def about_the_bundle(installation: Installation) -> dict[str, Any]:
    """The bundle that the demo issued: its system, its file, and the fingerprint as the institution would tell it."""
    return installation.python("""
        from governance.bundle.layout import key_id
        from governance.models import Bundle
        from core.keys import signing_key
        bundle = Bundle.objects.filter(status="issued").earliest("issued_at")
        version = bundle.review.version
        answer = {"system": version.system.name, "version": str(version), "file": bundle.file_name,
                  "fingerprint": key_id(signing_key().public_key())}
    """)


def revoke_what_stands(installation: Installation) -> None:
    """End the grants that the demo gave, so that what is seen afterwards comes from the one that is given here."""
    installation.python("""
        from core.models import User
        from governance.models import Grant
        from governance.services.grants import revoke_grant
        dora = User.objects.get(username="dora")
        for grant in Grant.objects.filter(revoked_at__isnull=True):
            revoke_grant(grant=grant, reason="The demo's grant is not needed here.", by=dora)
        answer = Grant.objects.count()
    """)


def acts(installation: Installation) -> list[tuple[str, str]]:
    """Who did what about the newest grant, oldest first."""
    found = installation.python("""
        from core.models import LedgerEntry
        from governance.models import Grant
        about = LedgerEntry.objects.filter(subject_kind="Grant", subject_id=str(Grant.objects.latest("pk").pk))
        answer = list(about.order_by("index").values_list("actor", "act"))
    """)
    return [(actor, act) for actor, act in found]


def give(dora: Any, system: str) -> None:
    """Access for Rita until a day in two months, by the form."""
    page = dora.page
    dora.go("/governance/")
    dora.link("Regulator access").click()
    dora.link("Give access").click()
    page.get_by_label("Regulator", exact=True).select_option(label="Rita Janssen (rita)")
    page.get_by_label(system, exact=True).check()
    page.get_by_label("Until the end of").fill((datetime.now(UTC) + timedelta(days=60)).date().isoformat())
    page.get_by_label("Purpose").fill(PURPOSE)
    dora.button("Give access").click()
    dora.reads("Rita Janssen has access now.")


def read_requirements(rita: Any, version: str) -> None:
    """The status of one version: every requirement with its state and a reason."""
    page = rita.page
    rita.link(f"Requirement status of {version}").first.click()
    page.get_by_role("heading", level=1, name=f"Requirements of {version}").wait_for()
    rows = page.locator("tbody tr")
    assert rows.count() > 200
    reasons = page.locator('td[data-label="Why"]').all_inner_texts()
    assert len(reasons) == rows.count() and all(reason.strip() for reason in reasons)
    rita.link("Your access").first.click()


def take_along(rita: Any, file: str, folder: Path) -> tuple[Path, str]:
    """Make a link, use it, and answer the file and the link's address."""
    page = rita.page
    rita.link(file).first.click()
    rita.button("Make a download link").click()
    link = rita.link(f"Download {file}")
    link.wait_for()
    address = link.get_attribute("href")
    with page.expect_download() as download:
        link.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path, address


def test_a_regulator_opens_a_grant_downloads_and_verifies_offline(
    installation: Installation, sit_down: Any, tmp_path: Path
) -> None:
    about = about_the_bundle(installation)
    revoke_what_stands(installation)
    rita = sit_down("rita")
    assert rita.page.url == f"{rita.address}/portal/"
    rita.reads("The demo's grant is not needed here.")
    assert rita.link(about["file"]).count() == 0
    dora = sit_down("dora")
    give(dora, about["system"])

    rita.go("/")
    rooms = rita.page.get_by_role("navigation", name="Main").first.get_by_role("link").all_inner_texts()
    assert [room.strip() for room in rooms] == ["Your access"]
    rita.reads(PURPOSE)
    read_requirements(rita, about["version"])
    path, address = take_along(rita, about["file"], tmp_path)

    # The verifier that the page offers, in a folder of its own: it cannot import anything of this repository.
    with rita.page.expect_download() as download:
        rita.link("Download auscult-verifier.zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path)
    verifier = tmp_path / "auscult_verifier" / "verify.py"
    command = [sys.executable, "-I", str(verifier), str(path), "--trust", about["fingerprint"]]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "VERIFIED" in found.stdout and "NOT COMPARED" not in found.stdout
    assert rita.complaints == dora.complaints == []

    assert rita.go(address).status == 410
    rita.reads("This link was used before.")
    for room in ("/systems/", "/audits/", "/cohorts/", "/governance/", "/reports/"):
        assert rita.go(room).status == 403, room
    rita.page.get_by_text("A regulator's account opens only what the institution granted to it.").wait_for()
    shown_out(installation, rita, dora, about["file"])


def shown_out(installation: Installation, rita: Any, dora: Any, file: str) -> None:
    """A page that is open when the grant is revoked is gone within moments, without a click; and all is on record."""
    rita.go("/portal/")
    rita.link(file).first.click()
    rita.button("Make a download link").wait_for()
    dora.page.reload()
    dora.page.get_by_text("Downloaded a bundle").wait_for()
    dora.page.get_by_text("Revoke this grant").click()
    dora.page.get_by_label("Why the access ends").fill(REASON)
    dora.page.get_by_label("User name of the regulator").fill("rita")
    dora.button("Revoke now").click()
    dora.reads("The access of Rita Janssen ended at this moment.")
    rita.page.get_by_text("This grant was revoked on").wait_for(timeout=WATCH)
    rita.go("/portal/")
    rita.reads(REASON)
    assert rita.link(file).count() == 0
    assert acts(installation) == [
        ("dora", "grant.given"),
        ("rita", "grant.viewed"),
        ("rita", "grant.viewed"),
        ("rita", "grant.viewed"),
        ("rita", "grant.viewed"),
        ("rita", "link.made"),
        ("rita", "bundle.downloaded"),
        ("rita", "grant.viewed"),
        ("rita", "download.refused"),
        ("rita", "grant.viewed"),
        ("rita", "grant.viewed"),
        ("dora", "grant.revoked"),
        ("rita", "grant.refused"),
    ]
