"""Regulator access: who gives it and to what, links that give a bundle once, and refusals that leave only a record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import AuscultError, ConflictError, DeniedError, DigestMismatchError, NotFoundError
from core.models import LedgerEntry, RoleGrant
from governance.models import Bundle, DownloadLink, Grant, Review
from governance.selectors import bundle_path
from governance.selectors import grants as grant_selectors
from governance.selectors import portal as portal_selectors
from governance.services import grants
from governance.services.grants import create_link, enter_grant, enter_overview, revoke_grant, use_link
from models_registry.models import AISystem, VersionStatus
from tests.governance.grant_scene import CONTENT, PURPOSE, give, issue
from tests.governance.two_downloaders import ROUNDS

REASON = "The case was closed on 20 November."


@pytest.fixture
def issued(decided: Callable[..., Review], people: SimpleNamespace, home: Path) -> Bundle:
    return issue(decided(), home, people.clara)


@pytest.fixture
def grant(people: SimpleNamespace, issued: Bundle) -> Grant:
    return give(people, issued)


def payloads(act: str) -> list[dict[str, Any]]:
    entries = LedgerEntry.objects.filter(act=act).order_by("index")
    return [json.loads(entry.body)["payload"] for entry in entries]


def aged(grant: Grant) -> None:
    Grant.objects.filter(pk=grant.pk).update(expires_at=timezone.now() - timedelta(minutes=1))


def test_a_grant_says_who_what_until_when_and_why(grant: Grant, people: SimpleNamespace) -> None:
    assert (grant.regulator, grant.granted_by, grant.purpose) == (people.rita, people.dora, PURPOSE)
    assert [system.slug for system in grant.systems.all()] == ["chest-model"]
    entry = LedgerEntry.objects.get(act="grant.given")
    assert (entry.actor, entry.subject_kind, entry.subject_id) == ("dora", "Grant", str(grant.pk))
    assert payloads("grant.given") == [
        {
            "grant": grant.pk,
            "regulator": "rita",
            "systems": ["chest-model"],
            "expires_at": grant.expires_at.astimezone(UTC).isoformat(timespec="seconds"),
            "purpose": PURPOSE,
        }
    ]


@pytest.mark.parametrize("name", ["elena", "amir", "mina", "lea", "rita", "ada"])
def test_only_the_chair_and_the_data_protection_officer_give_and_revoke(
    grant: Grant, issued: Bundle, people: SimpleNamespace, name: str
) -> None:
    person = getattr(people, name)
    with pytest.raises(DeniedError, match="committee chair or data protection officer may give and revoke"):
        give(people, issued, by=person)
    with pytest.raises(DeniedError):
        revoke_grant(grant=grant, reason=REASON, by=person)
    grant.refresh_from_db()
    assert (Grant.objects.count(), grant.revoked_at) == (1, None)


def test_nobody_gives_access_to_themselves(issued: Bundle, people: SimpleNamespace) -> None:
    RoleGrant.objects.create(user=people.dora, role="regulator")
    with pytest.raises(DeniedError, match="to themselves"):
        give(people, issued, regulator=people.dora)
    with pytest.raises(IntegrityError, match="grant_by_another"), transaction.atomic():
        Grant.objects.create(regulator=people.dora, granted_by=people.dora, purpose=PURPOSE, expires_at=timezone.now())


def test_the_terms_of_a_grant(issued: Bundle, people: SimpleNamespace) -> None:
    now = timezone.now()
    wrong = {
        "is not a regulator": {"regulator": people.mina},
        "at least one system": {"systems": []},
        "needs a purpose": {"purpose": "  "},
        "is past": {"expires_at": now},
        "one year at most": {"expires_at": now + timedelta(days=368)},
    }
    for message, terms in wrong.items():
        with pytest.raises(ConflictError, match=message) as refused:
            give(people, issued, **terms)
        assert refused.value.remedy
    people.rita.is_active = False
    people.rita.save()
    with pytest.raises(ConflictError, match="is not a regulator with an open account"):
        give(people, issued)
    assert not Grant.objects.exists() and not payloads("grant.given")


@pytest.mark.parametrize(
    ("today", "last"),
    [(date(2026, 11, 22), date(2027, 11, 22)), (date(2028, 2, 29), date(2029, 2, 28))],
)
def test_a_year_ends_on_the_same_day_of_the_next(today: date, last: date) -> None:
    assert grants.latest_end(today) == last


def test_a_grant_may_last_to_the_end_of_its_last_day(issued: Bundle, people: SimpleNamespace) -> None:
    last = grants.latest_end(timezone.localdate())
    end = datetime(last.year, last.month, last.day, 23, 59, 59, tzinfo=timezone.get_current_timezone())
    assert give(people, issued, expires_at=end).expires_at == end
    with pytest.raises(ConflictError):
        give(people, issued, expires_at=end + timedelta(seconds=1))


def test_each_view_is_an_entry_of_the_ledger(grant: Grant, issued: Bundle, people: SimpleNamespace) -> None:
    version = issued.review.version
    enter_overview(by=people.rita)
    enter_grant(pk=grant.pk, page="requirements", by=people.rita, version=version)
    enter_grant(pk=grant.pk, page="bundle", by=people.rita, bundle=issued)
    assert payloads("grant.viewed") == [
        {"grant": grant.pk, "page": "overview"},
        {"grant": grant.pk, "page": "requirements", "version": version.digest},
        {"grant": grant.pk, "page": "bundle", "bundle": issued.pk, "version": version.digest},
    ]


def test_a_view_without_its_entry_cannot_be(
    grant: Grant, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("the ledger is gone")

    monkeypatch.setattr(grants.ledger, "record", broken)
    with pytest.raises(RuntimeError):
        enter_grant(pk=grant.pk, page="bundle", by=people.rita)


def test_a_grant_opens_its_own_systems_only(grant: Grant, issued: Bundle, people: SimpleNamespace) -> None:
    other = AISystem.objects.create(name="Other", slug="other", intended_purpose="Else.", created_by=people.elena)
    version = issued.review.version
    version.system = other
    version.save()
    for about in ({"version": version}, {"bundle": issued}):
        with pytest.raises(NotFoundError, match="not under the grant"):
            enter_grant(pk=grant.pk, page="x", by=people.rita, **about)
    with pytest.raises(NotFoundError):
        create_link(grant=grant, bundle=issued, by=people.rita)
    assert not DownloadLink.objects.exists()
    assert [item["why"] for item in payloads("grant.refused")] == ["This is not under the grant."] * 2


def test_drafts_and_unfinished_bundles_are_not_under_a_grant(
    grant: Grant, issued: Bundle, people: SimpleNamespace
) -> None:
    version = issued.review.version
    version.status = VersionStatus.DRAFT
    version.save()
    with pytest.raises(NotFoundError):
        enter_grant(pk=grant.pk, page="requirements", by=people.rita, version=version)
    with pytest.raises(NotFoundError):
        portal_selectors.visible_version(version.pk)
    assert portal_selectors.held(enter_overview(by=people.rita))[0].systems[0].versions == ()
    issued.status = Bundle.Status.QUEUED
    issued.save()
    with pytest.raises(NotFoundError):
        create_link(grant=grant, bundle=issued, by=people.rita)
    with pytest.raises(NotFoundError):
        portal_selectors.issued_bundle(issued.pk)
    assert portal_selectors.held(enter_overview(by=people.rita))[0].systems[0].bundles == ()


def test_somebody_elses_grant_is_as_if_it_were_not_there(grant: Grant, people: SimpleNamespace) -> None:
    RoleGrant.objects.create(user=people.tom, role="regulator")
    refused = []
    for pk in (grant.pk, 9999):
        with pytest.raises(NotFoundError) as error:
            enter_grant(pk=pk, page="bundle", by=people.tom)
        refused.append(str(error.value))
    assert refused[0] == refused[1]
    assert LedgerEntry.objects.get(act="grant.refused").actor == "tom"


def test_an_expired_or_revoked_grant_opens_nothing_and_says_since_when(
    grant: Grant, issued: Bundle, people: SimpleNamespace
) -> None:
    later = give(people, issued, by=people.clara)
    aged(grant)
    revoke_grant(grant=later, reason=REASON, by=people.dora)
    for ended, word in ((grant, "expired on"), (later, "revoked on")):
        with pytest.raises(DeniedError, match=word):
            enter_grant(pk=ended.pk, page="bundle", by=people.rita, bundle=issued)
        with pytest.raises(DeniedError, match=word):
            create_link(grant=ended, bundle=issued, by=people.rita)
    assert not DownloadLink.objects.exists()
    assert len(payloads("grant.refused")) == len(payloads("link.refused")) == 2
    enter_overview(by=people.rita)
    assert payloads("grant.viewed") == []
    held = portal_selectors.held(enter_overview(by=people.rita))
    assert {item.standing for item in held} == {"expired", "revoked"}
    assert all(item.systems == () and item.names == ("Chest model",) for item in held)


def test_only_the_digest_of_a_token_is_kept(grant: Grant, issued: Bundle, people: SimpleNamespace) -> None:
    link, token = create_link(grant=grant, bundle=issued, by=people.rita)
    _, another = create_link(grant=grant, bundle=issued, by=people.rita)
    assert len(token) == 43 and token != another  # 32 bytes in base64 without padding
    kept = json.dumps(list(DownloadLink.objects.values()), default=str)
    told = "".join(LedgerEntry.objects.values_list("body", flat=True))
    assert token not in kept and token not in told
    assert link.token_digest not in told
    minutes = (link.expires_at - link.created_at).total_seconds() / 60
    assert abs(minutes - 15) < 0.1


def test_a_link_gives_the_bundle_once(grant: Grant, issued: Bundle, people: SimpleNamespace) -> None:
    link, token = create_link(grant=grant, bundle=issued, by=people.rita)
    with use_link(token=token, by=people.rita).file as file:
        assert file.read() == CONTENT
    link.refresh_from_db()
    assert link.used_at is not None
    about = {"grant": grant.pk, "link": link.pk, "bundle": issued.pk, "version": issued.review.version.digest}
    assert payloads("bundle.downloaded") == [about | {"digest": issued.digest}]
    with pytest.raises(ConflictError, match="used before") as refused:
        use_link(token=token, by=people.rita)
    assert "make a new link" in refused.value.remedy
    assert len(payloads("bundle.downloaded")) == 1
    assert payloads("download.refused") == [
        about | {"why": "This link was used before. Each link gives the bundle once."}
    ]


def expire_link(link: DownloadLink, people: SimpleNamespace) -> None:
    DownloadLink.objects.filter(pk=link.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def expire_grant(link: DownloadLink, people: SimpleNamespace) -> None:
    aged(link.grant)


def revoke(link: DownloadLink, people: SimpleNamespace) -> None:
    revoke_grant(grant=link.grant, reason=REASON, by=people.clara)


def close_account(link: DownloadLink, people: SimpleNamespace) -> None:
    people.rita.role_grants.all().delete()
    if hasattr(people.rita, "_auscult_roles"):
        del people.rita._auscult_roles


def tamper(link: DownloadLink, people: SimpleNamespace) -> None:
    bundle_path(link.bundle).write_bytes(CONTENT.replace(b"issued", b"forged"))


def remove(link: DownloadLink, people: SimpleNamespace) -> None:
    bundle_path(link.bundle).unlink()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (expire_link, ConflictError, "it held for 15 minutes"),
        (expire_grant, DeniedError, "grant expired on"),
        (revoke, DeniedError, "grant was revoked on"),
        (close_account, DeniedError, "Only people with the role regulator"),
        (tamper, DigestMismatchError, "changed after it was issued"),
        (remove, NotFoundError, "has no file"),
    ],
)
def test_a_refused_link_is_recorded_and_stays_unused(
    grant: Grant, issued: Bundle, people: SimpleNamespace, change: Any, error: type[AuscultError], words: str
) -> None:
    link, token = create_link(grant=grant, bundle=issued, by=people.rita)
    change(link, people)
    with pytest.raises(error, match=words) as refused:
        use_link(token=token, by=people.rita)
    assert refused.value.remedy
    link.refresh_from_db()
    assert link.used_at is None
    assert payloads("bundle.downloaded") == []
    [told] = payloads("download.refused")
    assert told["grant"] == grant.pk and words.split(" on")[0] in told["why"]


def test_another_persons_link_gives_them_nothing(grant: Grant, issued: Bundle, people: SimpleNamespace) -> None:
    """Neither another regulator with a grant of the same system, nor a chair."""
    RoleGrant.objects.create(user=people.tom, role="regulator")
    give(people, issued, regulator=people.tom)
    link, token = create_link(grant=grant, bundle=issued, by=people.rita)
    for person in (people.tom, people.clara):
        with pytest.raises(DeniedError, match="made for somebody else"):
            use_link(token=token, by=person)
    link.refresh_from_db()
    assert link.used_at is None
    assert [entry.actor for entry in LedgerEntry.objects.filter(act="download.refused")] == ["tom", "clara"]
    use_link(token=token, by=people.rita).file.close()


def test_a_token_that_was_never_made_is_refused_and_recorded(grant: Grant, people: SimpleNamespace) -> None:
    with pytest.raises(NotFoundError, match="no such download link"):
        use_link(token="guessed", by=people.rita)
    assert "guessed" not in LedgerEntry.objects.get(act="download.refused").body


def test_of_one_link_used_twice_at_once_exactly_one_gives_the_file(tmp_path: Path) -> None:
    environment = os.environ | {"AUSCULT_HOME": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-m", "tests.governance.two_downloaders", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    expected = {
        "results": [f"{len(CONTENT)} bytes", "This link was used before. Each link gives the bundle once."],
        "downloads": 1,
        "refusals": 1,
        "intact": True,
    }
    assert [json.loads(line) for line in done.stdout.splitlines()] == [expected] * ROUNDS


def test_a_grant_is_revoked_once_with_a_reason(grant: Grant, issued: Bundle, people: SimpleNamespace) -> None:
    create_link(grant=grant, bundle=issued, by=people.rita)
    with pytest.raises(ConflictError, match="needs a reason"):
        revoke_grant(grant=grant, reason=" ", by=people.clara)
    ended = revoke_grant(grant=grant, reason=REASON, by=people.clara)
    assert (ended.revoked_by, ended.revocation) == (people.clara, REASON)
    assert payloads("grant.revoked") == [{"grant": grant.pk, "reason": REASON, "links_ended": 1}]
    with pytest.raises(ConflictError, match="ended already"):
        revoke_grant(grant=grant, reason=REASON, by=people.clara)
    later = give(people, issued)
    aged(later)
    with pytest.raises(ConflictError, match="ended already"):
        revoke_grant(grant=later, reason=REASON, by=people.clara)


def test_the_house_sees_how_a_grant_was_used(grant: Grant, issued: Bundle, people: SimpleNamespace) -> None:
    other = give(people, issued)
    enter_grant(pk=grant.pk, page="requirements", by=people.rita, version=issued.review.version)
    _, token = create_link(grant=grant, bundle=issued, by=people.rita)
    use_link(token=token, by=people.rita).file.close()
    with pytest.raises(ConflictError):
        use_link(token=token, by=people.rita)
    rows = {row.grant.pk: row for row in grant_selectors.grants_list()}
    assert (rows[grant.pk].views, rows[grant.pk].downloads) == (1, 1)
    assert rows[grant.pk].last_used is not None
    assert (rows[other.pk].views, rows[other.pk].downloads, rows[other.pk].last_used) == (0, 0, None)
    assert grant_selectors.grant_row(grant) == rows[grant.pk]
    lines = grant_selectors.in_words(grant_selectors.entries_of(grant))
    assert [(line.what, line.about, line.refused) for line in lines] == [
        (
            "A download was refused: This link was used before. Each link gives the bundle once.",
            issued.file_name,
            True,
        ),
        ("Downloaded a bundle", issued.file_name, False),
        ("Made a download link", issued.file_name, False),
        ("Viewed the requirement status", str(issued.review.version), False),
        ("Access was given", "", False),
    ]


def test_the_verifier_that_is_offered_runs_alone(tmp_path: Path) -> None:
    """Unpacked in an empty folder, without this repository on the path, it says of a file that it is no bundle."""
    with zipfile.ZipFile(BytesIO(portal_selectors.verifier_zip())) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "bundle.zip").write_bytes(b"PK nothing")
    script = tmp_path / "auscult_verifier" / "verify.py"
    done = subprocess.run(
        [sys.executable, "-I", str(script), "bundle.zip"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_small_counts_of_people_are_not_told() -> None:
    told = portal_selectors.SMALL.sub(
        "fewer than 11", "It rests on 7 patients, 10 studies, 11 patients and 1,204 studies."
    )
    assert told == "It rests on fewer than 11 patients, fewer than 11 studies, 11 patients and 1,204 studies."
