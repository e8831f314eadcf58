"""What a regulator sees and takes along, and what is refused: in words, on the record, under the strict policy."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from core.models import LedgerEntry, RoleGrant
from governance.models import Answer, DownloadLink, Grant, Statement
from governance.selectors.portal import requirement_status
from governance.services.grants import revoke_grant
from tests.governance.example_answers import DEVICE
from tests.pages import scene
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]
WRITER = "Wanda Unfinished"


@pytest.fixture
def portal(house: SimpleNamespace) -> SimpleNamespace:
    """Addresses under Rita's grant."""
    base = f"/portal/grants/{house.grant.pk}"
    bundle = f"{base}/bundles/{house.bundle.pk}/"
    return SimpleNamespace(
        bundle=bundle,
        link=f"{bundle}link/",
        version=f"{base}/versions/{house.twin.pk}/",
        verifier=f"{base}/verifier.zip",
    )


def last(act: str) -> tuple[str, dict[str, Any]]:
    entry = LedgerEntry.objects.filter(act=act).latest("index")
    return entry.actor, json.loads(entry.body)["payload"]


def refused(response: Any, status: int) -> str:
    """The refusal's words, after looking at its page: well-formed, under the strict policy."""
    text = response.content.decode()
    page = Page(text)
    assert response.status_code == status
    assert (page.faults, page.stack, page.tags["h1"]) == ([], [], 1)
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    return text


def test_the_home_page_of_a_regulator_is_what_was_granted(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("rita")
    response = client.get("/", follow=True)
    text = response.content.decode()
    assert response.redirect_chain == [("/portal/", 302)]
    assert house.bundle.file_name in text and "case 17/2026" in text and "by Dora Novak" in text
    assert "Text-mined labels" not in text
    for room in ("/audits/", "/systems/", "/cohorts/", "/governance/", "/reports/"):
        assert f'href="{room}"' not in text
    assert last("grant.viewed") == ("rita", {"grant": house.grant.pk, "page": "overview"})


def test_nothing_granted_is_said_with_the_next_step(house: SimpleNamespace, sign_in: SignIn) -> None:
    Grant.objects.all().delete()
    text = sign_in("rita").get("/portal/").content.decode()
    assert "Nothing was granted to you yet" in text and "data protection officer" in text


def test_ended_grants_are_named_and_open_nothing(house: SimpleNamespace, sign_in: SignIn) -> None:
    scene.grant(scene.system("Other system"), days=-2)
    scene.grant(scene.system("Third system"), revoked=True)
    text = sign_in("rita").get("/portal/").content.decode()
    assert "Expired" in text and "2 days ago" in text and "Other system" in text
    assert "Revoked" in text and "The case was closed." in text and "Third system" in text
    assert text.count("Requirement status<span") == 3  # the versions of the one grant that stands


def test_drafts_are_not_named(house: SimpleNamespace, sign_in: SignIn) -> None:
    scene.version("3.0-secret-draft", status="draft")
    assert "3.0-secret-draft" not in sign_in("rita").get("/portal/").content.decode()


def test_requirement_status_is_told_per_requirement_with_its_reason(
    house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace
) -> None:
    response = sign_in("rita").get(portal.version)
    text, status = response.content.decode(), response.context["status"]
    assert response.status_code == 200
    lines = [line for group in status.groups for line in group.lines]
    assert len(lines) == status.total == sum(n for _, _, n in status.counts) > 200
    assert all(line.id in text and line.reason and line.word for line in lines)
    assert f"as of {timezone.localdate().day} " in text
    assert last("grant.viewed")[1] == {"grant": house.grant.pk, "page": "requirements", "version": house.twin.digest}


def test_states_come_with_what_decides_them(house: SimpleNamespace) -> None:
    """A device that a provider makes: something is missing, something does not apply, and each says why."""
    for question, value in DEVICE.items():
        Answer.objects.create(system=house.system, question=question, value=value, author=scene.person("elena"))
    status = requirement_status(house.twin)
    lines = {line.id: line for group in status.groups for line in group.lines}
    found = {state: n for state, _, n in status.counts}
    assert found["missing"] > 0 and found["not_applicable"] > 0 and found["unknown"] == 0
    assert lines["AIA-Art3-1"].state == "missing" and lines["AIA-Art3-1"].reason.startswith("Lacking: ")
    assert lines["AIA-Art4a"].state == "not_applicable" and "special categories" in lines["AIA-Art4a"].reason.lower()


def test_one_state_of_requirements_is_shown_alone(
    house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace
) -> None:
    client = sign_in("rita")
    whole = client.get(portal.version).context["status"]
    for state, word, n in whole.counts:
        shown = client.get(f"{portal.version}?state={state}")
        lines = [line for group in shown.context["groups"] for line in group.lines]
        assert (len(lines), {line.word for line in lines} <= {word}) == (n, True), state
    assert "No requirement is in this state" in client.get(f"{portal.version}?state=nonsense").content.decode()


def test_a_draft_statement_leaves_no_trace_in_the_status(
    house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace
) -> None:
    """The status with a draft about every requirement is the status without any."""
    before = requirement_status(house.twin)
    writer = scene.person("wanda")
    writer.first_name, writer.last_name = WRITER.split()
    writer.save()
    for group in before.groups:
        for line in group.lines:
            Statement.objects.create(
                version=house.twin, requirement=line.id, revision=1, text="Secret words.", author=writer
            )
    after = requirement_status(house.twin)
    assert after.groups == before.groups
    text = sign_in("rita").get(portal.version).content.decode()
    assert "wanda" not in text.lower() and "Secret words" not in text


def test_no_number_of_a_group_of_patients_is_on_any_page(
    house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace
) -> None:
    """The cohort's size, its groups and the measured rates are in bundles alone, as their evidence shows them."""
    client = sign_in("rita")
    for url in ("/portal/", portal.version, portal.bundle):
        text = client.get(url).content.decode()
        for figure in ("5,210", "5210", "2,100 patients", "2100", "F &amp; &gt;=80", "Simulated chest cohort, n"):
            assert figure not in text, (url, figure)


def test_what_is_not_under_the_grant_is_not_there(house: SimpleNamespace, sign_in: SignIn) -> None:
    other = scene.version("5.0", of=scene.system("Other system"))
    foreign = scene.bundle(scene.review(scene.run(other, house.cohort, house.protocol), status="approved"))
    unfinished = scene.bundle(scene.review(house.short, status="rejected"), status="queued")
    client, base = sign_in("rita"), f"/portal/grants/{house.grant.pk}"
    for url in (
        f"{base}/versions/{other.pk}/",
        f"{base}/bundles/{foreign.pk}/",
        f"{base}/bundles/{unfinished.pk}/",
        f"{base}/versions/9999/",
        f"/portal/grants/9999/bundles/{house.bundle.pk}/",
    ):
        assert "access page" in refused(client.get(url), 404), url
    assert client.post(f"{base}/bundles/{foreign.pk}/link/").status_code == 404
    assert not DownloadLink.objects.exists()


def test_the_page_of_a_bundle_says_how_to_verify_it(
    house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace
) -> None:
    client = sign_in("rita")
    text = client.get(portal.bundle).content.decode()
    name = house.bundle.file_name
    assert f"auscult verify {name} --trust FINGERPRINT" in text
    assert f"python verify.py {name} --trust FINGERPRINT" in text
    assert "by another way than this page" in text and house.bundle.digest in text
    assert last("grant.viewed")[1]["bundle"] == house.bundle.pk
    offered = client.get(portal.verifier)
    assert hashlib.sha256(offered.content).hexdigest() in text
    with zipfile.ZipFile(BytesIO(offered.content)) as archive:
        names = set(archive.namelist())
    assert {f"auscult_verifier/{file}.py" for file in ("verify", "checks", "layout")} <= names
    assert "auscult_verifier/build.py" not in names
    assert last("grant.viewed")[1]["page"] == "verifier"


def test_a_bundle_is_downloaded_by_a_link_that_works_once(
    house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace
) -> None:
    client = sign_in("rita")
    made = client.post(portal.link)
    address = made.context["address"]
    assert address in made.content.decode() and "It works once, until" in made.content.decode()
    response = client.get(address)
    assert b"".join(response.streaming_content) == b"PK test"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{house.bundle.file_name}"'
    assert response.headers["Content-Length"] == "7" and "no-store" in response.headers["Cache-Control"]
    actor, told = last("bundle.downloaded")
    assert (actor, told["grant"], told["digest"]) == ("rita", house.grant.pk, house.bundle.digest)
    text = refused(client.get(address), 410)
    assert "This link was used before." in text and "make a new link" in text
    assert last("download.refused")[1]["bundle"] == house.bundle.pk
    assert LedgerEntry.objects.filter(act="bundle.downloaded").count() == 1


def test_looking_at_a_link_does_not_use_it(house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace) -> None:
    client = sign_in("rita")
    address = client.post(portal.link).context["address"]
    assert client.head(address).status_code == 405
    assert client.post(address).status_code == 405
    assert Client().get(address).headers["Location"].startswith("/sign-in/")
    assert DownloadLink.objects.get().used_at is None


def test_opening_the_address_of_the_button_leads_to_the_bundle(sign_in: SignIn, portal: SimpleNamespace) -> None:
    assert sign_in("rita").get(portal.link).headers["Location"] == portal.bundle
    assert not DownloadLink.objects.exists()


def test_a_link_needs_the_token_of_the_form(house: SimpleNamespace, portal: SimpleNamespace) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(scene.person("rita"))
    assert client.post(portal.link).status_code == 403
    assert not DownloadLink.objects.exists()


def test_an_expired_link_says_so(house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace) -> None:
    client = sign_in("rita")
    address = client.post(portal.link).context["address"]
    DownloadLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "it held for 15 minutes" in refused(client.get(address), 410)


def test_another_persons_link_says_so(house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace) -> None:
    address = sign_in("rita").post(portal.link).context["address"]
    RoleGrant.objects.create(user=scene.person("tom"), role="regulator")
    assert "made for somebody else" in refused(sign_in("tom").get(address), 403)
    assert last("download.refused")[0] == "tom"
    assert DownloadLink.objects.get().used_at is None
    assert sign_in("clara").get(address).status_code == 403


def test_a_link_that_was_never_made_says_so(house: SimpleNamespace, sign_in: SignIn) -> None:
    assert "There is no such download link." in refused(sign_in("rita").get("/portal/links/guessed/"), 404)


def test_a_file_that_was_changed_is_not_handed_out(
    house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace, settings: Any
) -> None:
    client = sign_in("rita")
    address = client.post(portal.link).context["address"]
    (settings.AUSCULT_HOME / "bundles" / house.bundle.file_name).write_bytes(b"PK forged")
    assert "was changed after it was issued" in refused(client.get(address), 500)
    assert DownloadLink.objects.get().used_at is None


def test_revoking_ends_open_pages_and_links_at_once(
    house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace
) -> None:
    client = sign_in("rita")
    address = client.post(portal.link).context["address"]
    watch = f"/portal/standing/?grants={house.grant.pk}"
    assert f'hx-get="{watch}"' in client.get(portal.bundle).content.decode()
    stands = client.get(watch)
    assert (stands.status_code, "HX-Refresh" in stands.headers) == (204, False)
    revoke_grant(grant=house.grant, reason="The case was closed.", by=scene.person("clara"))
    assert client.get(watch).headers["HX-Refresh"] == "true"
    for url in (portal.bundle, portal.version, portal.verifier, address):
        text = refused(client.get(url), 403)
        assert "This grant was revoked on" in text and "Ask Dora Novak" in text, url
    assert client.post(portal.link).status_code == 403
    assert LedgerEntry.objects.filter(act="grant.refused").count() == 3
    assert LedgerEntry.objects.filter(act="download.refused").count() == 1
    assert LedgerEntry.objects.filter(act="link.refused").count() == 1
    assert DownloadLink.objects.get().used_at is None


def test_an_expired_grant_refuses_and_says_since_when(
    house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace
) -> None:
    Grant.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    text = refused(sign_in("rita").get(portal.bundle), 403)
    assert "This grant expired on" in text
    assert last("grant.refused")[1]["why"].startswith("This grant expired on")


def test_watching_somebody_elses_grant_tells_nothing(house: SimpleNamespace, sign_in: SignIn) -> None:
    RoleGrant.objects.create(user=scene.person("tom"), role="regulator")
    client = sign_in("tom")
    for grants in (house.grant.pk, 9999):
        assert client.get(f"/portal/standing/?grants={grants}").headers["HX-Refresh"] == "true"
    assert client.get("/portal/standing/?grants=<x>").status_code == 204
    assert client.get(f"/portal/standing/?grants={10**30}").headers["HX-Refresh"] == "true"


def test_portal_pages_are_well_formed_and_strict(
    house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace
) -> None:
    client = sign_in("rita")
    for response in (
        client.get("/portal/"),
        client.get(portal.version),
        client.get(portal.bundle),
        client.post(portal.link),
    ):
        page = Page(response.content.decode())
        assert (page.faults, page.stack, page.tags["h1"], page.unnamed()) == ([], [], 1, [])
        assert [name for name, times in page.ids.items() if times > 1] == []
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert "no-store" in response.headers["Cache-Control"]


def test_a_void_approval_is_told(house: SimpleNamespace, sign_in: SignIn, portal: SimpleNamespace) -> None:
    house.twin.status = "void"
    house.twin.save()
    client = sign_in("rita")
    assert "Approval void" in client.get("/portal/").content.decode()
    assert "The approval of this version is void" in client.get(portal.bundle).content.decode()


def test_somebody_of_the_house_who_is_a_regulator_too_finds_both(house: SimpleNamespace, sign_in: SignIn) -> None:
    RoleGrant.objects.create(user=scene.person("rita"), role="auditor")
    client = sign_in("rita")
    text = client.get("/").content.decode()
    assert 'href="/portal/"' in text and 'href="/audits/"' in text
    assert client.get("/portal/").status_code == 200
