"""Forms and acts: what is refused is said in words, with the next step, and nothing that was typed is lost."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from core.models import LedgerEntry
from evaluation.models import AuditRun, Protocol
from governance.models import Vote
from models_registry.models import AISystem, CohortImport
from tests.pages import scene

SignIn = Callable[[str], Client]
SYSTEM = {
    "name": "Ward triage",
    "provider": "Example Ltd",
    "intended_purpose": "Sorts reading lists.",
    "risk_class": "",
}
REASON = "The gap among women over 80 is beyond the margin."


def test_an_empty_form_lists_every_field_and_links_to_it(house: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("elena").post("/systems/~new/", {"name": "", "provider": "Example Ltd", "intended_purpose": ""})
    text = response.content.decode()
    assert response.status_code == 422
    assert 'href="#id_name"' in text and 'href="#id_intended_purpose"' in text
    assert 'value="Example Ltd"' in text


def test_a_refusal_of_the_service_comes_with_its_remedy_and_keeps_what_was_typed(
    house: SimpleNamespace, sign_in: SignIn
) -> None:
    response = sign_in("elena").post("/systems/~new/", SYSTEM | {"name": "Chest model"})
    text = response.content.decode()
    assert response.status_code == 409
    assert "There is already a system called &#x27;Chest model&#x27;." in text
    assert "Open it and register a new version there." in text
    assert "Sorts reading lists." in text


def test_a_denied_person_learns_why_and_nothing_is_made(house: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("mina").post("/systems/~new/", SYSTEM)
    assert response.status_code == 403
    assert "Only people with the role ML engineer may register a system." in response.content.decode()
    assert not AISystem.objects.filter(name="Ward triage").exists()


def test_a_system_is_registered(house: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("elena").post("/systems/~new/", SYSTEM, follow=True)
    assert response.redirect_chain == [("/systems/ward-triage/", 302)]
    assert LedgerEntry.objects.filter(act="system.registered", actor="elena").count() == 1


def test_a_version_needs_a_whole_path_to_a_folder_that_exists(
    house: SimpleNamespace, sign_in: SignIn, settings: Any
) -> None:
    client, url = sign_in("elena"), "/systems/chest-model/versions/new/"
    relative = client.post(url, {"label": "2.0", "adapter": "recorded", "folder": "models/a"})
    assert relative.status_code == 422 and "Give the whole path" in relative.content.decode()
    outside = client.post(url, {"label": "2.0", "adapter": "recorded", "folder": "/etc"})
    assert outside.status_code == 403 and "The server does not read /etc for a page." in outside.content.decode()
    nowhere = str(settings.AUSCULT_HOME / "sources" / "nowhere")
    missing = client.post(url, {"label": "2.0", "adapter": "recorded", "folder": nowhere})
    assert missing.status_code == 422
    assert "There is no such folder on the server." in missing.content.decode()
    assert f'value="{nowhere}"' in missing.content.decode()


def test_a_protocol_that_is_no_protocol_is_shown_again(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")
    pasted = client.post("/audits/protocols/new/", {"source": "name: [unclosed"})
    assert pasted.status_code == 422 and "name: [unclosed" in pasted.content.decode()
    wrong = SimpleUploadedFile("p.yaml", b"\xff\xfe\x00bad")
    assert "not UTF-8" in client.post("/audits/protocols/new/", {"upload": wrong}).content.decode()
    assert "Choose a file, or paste" in client.post("/audits/protocols/new/", {}).content.decode()
    assert Protocol.objects.count() == 2


def test_a_protocol_is_locked_by_upload_then_approved_by_another(house: SimpleNamespace, sign_in: SignIn) -> None:
    from evaluation.engine.protocol import bundled_source

    upload = SimpleUploadedFile("p.yaml", bundled_source("imaging-classifier-v1").encode())
    response = sign_in("amir").post("/audits/protocols/new/", {"upload": upload}, follow=True)
    made = Protocol.objects.latest("pk")
    assert response.redirect_chain == [(f"/audits/protocols/{made.pk}/", 302)]
    sign_in("clara").post(f"/audits/protocols/{made.pk}/approve/")
    made.refresh_from_db()
    assert (made.status, made.approved_by.username) == ("approved", "clara")


def test_the_waiting_protocol_is_on_the_chairs_list_until_approved(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("clara")
    assert "Approve the protocol follow-up-v1" in client.get("/").content.decode()
    client.post(f"/audits/protocols/{house.waiting.pk}/approve/")
    assert "Approve the protocol follow-up-v1" not in client.get("/").content.decode()


def test_a_second_approval_comes_too_late_and_says_so(house: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("clara").post(f"/audits/protocols/{house.protocol.pk}/approve/", follow=True)
    assert "is not waiting for approval. Reload the page" in response.content.decode()


def test_an_audit_form_takes_only_what_exists(house: SimpleNamespace, sign_in: SignIn) -> None:
    typed = {"version": house.twin.pk, "cohort": house.real.pk, "protocol": house.waiting.pk}
    response = sign_in("amir").post("/audits/new/", typed)
    assert response.status_code == 422
    assert 'href="#id_version"' in response.content.decode() and 'href="#id_protocol"' in response.content.decode()
    assert AuditRun.objects.count() == 5


def test_cancelling_and_resuming(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")
    text = client.post(f"/audits/{house.running.pk}/cancel/", follow=True).content.decode()
    assert "The audit was cancelled." in text and "Resume" in text
    again = client.post(f"/audits/{house.running.pk}/cancel/", follow=True).content.decode()
    assert "This was not done" in again and "not waiting or running" in again


def test_who_had_a_part_finds_no_ballot_but_the_reason(house: SimpleNamespace, sign_in: SignIn) -> None:
    room = f"/governance/reviews/{house.review.pk}/"
    reasons = {
        "clara": "You approved the protocol of this audit",
        "amir": "You requested this audit",
        "tom": "You have voted on this review.",
    }
    for username, reason in reasons.items():
        text = sign_in(username).get(room).content.decode()
        assert reason in text and 'name="rationale"' not in text
    refused = sign_in("clara").post(room, {"choice": "reject", "rationale": REASON, "password": scene.PASSWORD})
    assert refused.status_code == 403
    assert Vote.objects.filter(review=house.review).count() == 1


def test_a_vote_needs_a_reason_and_keeps_the_choice(house: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("mina").post(f"/governance/reviews/{house.review.pk}/", {"choice": "reject", "rationale": "no"})
    text = response.content.decode()
    assert response.status_code == 422 and "Give your reason in at least 20 characters" in text
    assert 'value="reject" id="id_choice_1" required checked' in " ".join(text.split()) or "checked" in text


def test_what_the_evidence_fails_cannot_be_approved(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, room = sign_in("mina"), f"/governance/reviews/{house.review.pk}/"
    text = client.get(room).content.decode()
    assert "The evidence does not pass" in text
    option = text[text.index('value="approve"') :].partition(">")[0]
    assert "disabled" in option
    assert client.post(room, {"choice": "approve", "rationale": REASON, "password": scene.PASSWORD}).status_code == 403
    assert Vote.objects.filter(review=house.review).count() == 1


def test_the_deciding_vote_rejects_the_version(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, room = sign_in("mina"), f"/governance/reviews/{house.review.pk}/"
    assert "Vote on Chest model 1.0-biased" in client.get("/").content.decode()
    text = client.post(
        room, {"choice": "reject", "rationale": REASON, "password": scene.PASSWORD}, follow=True
    ).content.decode()
    assert "Your vote is cast: reject." in text and "Rejected" in text
    house.version.refresh_from_db()
    assert house.version.status == "rejected"
    assert "Vote on Chest model 1.0-biased" not in client.get("/").content.decode()


def test_a_bundle_is_asked_for_on_a_decided_review_only(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("clara")
    early = client.post(f"/governance/reviews/{house.review.pk}/bundle/", follow=True).content.decode()
    assert "This review is not decided yet" in early
    done = client.post(f"/governance/reviews/{house.decided.pk}/bundle/", follow=True).content.decode()
    assert "being built and signed" in done
    assert house.decided.bundles.count() == 2


def test_an_unknown_report_is_refused_with_the_known_ones(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("clara").post(f"/reports/request/{house.fail.pk}/", {"kind": "novel"}, follow=True).content.decode()
    assert "There is no report called &#x27;novel&#x27;" in text and "annex_iv" in text


def test_an_import_takes_a_file_or_a_path_and_not_both(house: SimpleNamespace, sign_in: SignIn, settings: Any) -> None:
    client, facts = sign_in("elena"), {"name": "Ward", "description": ""}
    neither = client.post("/cohorts/~import/", facts)
    assert neither.status_code == 422 and "one of the two" in neither.content.decode()
    both = facts | {"source_path": "/data/x.csv", "upload": SimpleUploadedFile("x.csv", b"a,b\n")}
    assert client.post("/cohorts/~import/", both).status_code == 422
    outside = client.post("/cohorts/~import/", facts | {"source_path": "/data/none.csv"})
    assert outside.status_code == 403 and "The server does not read /data/none.csv" in outside.content.decode()
    nowhere = str(settings.AUSCULT_HOME / "sources" / "none.csv")
    missing = client.post("/cohorts/~import/", facts | {"source_path": nowhere})
    assert "There is no such file on the server." in missing.content.decode()
    assert f'value="{nowhere}"' in missing.content.decode()


def test_an_upload_is_kept_under_a_plain_name_for_nobody_else(house: SimpleNamespace, sign_in: SignIn) -> None:
    upload = SimpleUploadedFile("../../etc/evil name.csv", b"patient_id,study_id\np,s\n")
    response = sign_in("elena").post("/cohorts/~import/", {"name": "Ward", "upload": upload})
    made = CohortImport.objects.latest("pk")
    assert response.headers["Location"] == f"/cohorts/~import/{made.pk}/"
    from pathlib import Path

    kept = Path(made.source_path)
    assert kept.read_bytes().startswith(b"patient_id") and kept.name == "evil_name.csv"
    assert kept.stat().st_mode & 0o077 == 0 and kept.parent.stat().st_mode & 0o077 == 0


def test_who_may_not_import_leaves_no_file_behind(house: SimpleNamespace, sign_in: SignIn, settings: object) -> None:
    upload = SimpleUploadedFile("x.csv", b"patient_id\n")
    assert sign_in("mina").post("/cohorts/~import/", {"name": "Ward", "upload": upload}).status_code == 403
    assert not settings.MEDIA_ROOT.exists()  # type: ignore[attr-defined]


def test_an_import_with_errors_cannot_be_confirmed_and_says_why(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("elena"), f"/cohorts/~import/{house.blocked.pk}/"
    text = client.get(url).content.decode()
    assert "first in row 3, 1,204 rows" in text and "Stops the registration" in text
    assert f"{url}confirm/" not in text and "The file has errors. Mend them" in text
    assert "The file has errors." in client.post(f"{url}confirm/", follow=True).content.decode()
    assert (
        f"/cohorts/~import/{house.ready.pk}/confirm/"
        in client.get(f"/cohorts/~import/{house.ready.pk}/").content.decode()
    )


MAPPING = {
    "original": ["Patient ID ", "Accession", "Effusion?", "Age"],
    "role": ["patient_id", "study_id", "label", "ignore"],
    "name": ["", "", "effusion", "age"],
    "values": ["", "", "yes = 1, no = 0, unsure = ", ""],
    "ignore": "Unnamed: 0",
    "encoding": "cp1252",
    "delimiter": "\\t",
    "image_root": "",
}


def test_the_editor_becomes_a_mapping(house: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("elena").post(f"/cohorts/~import/{house.blocked.pk}/mapping/", MAPPING)
    assert response.status_code == 302
    house.blocked.refresh_from_db()
    assert house.blocked.status == "queued"
    assert house.blocked.mapping == {
        "columns": {"Patient ID ": "patient_id", "Accession": "study_id", "Effusion?": "label.effusion"},
        "values": {"label.effusion": {"yes": 1, "no": 0, "unsure": None}},
        "ignore": ["Age", "Unnamed: 0"],
        "encoding": "cp1252",
        "delimiter": "\t",
    }


def test_a_mapping_that_cannot_be_read_is_shown_as_it_was_typed(house: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("elena"), f"/cohorts/~import/{house.blocked.pk}/mapping/"
    response = client.post(url, MAPPING | {"values": ["", "", "yes 1", ""]})
    text = response.content.decode()
    assert response.status_code == 422
    assert "column Effusion?" in text and "yes 1" in text and "does not say what a value means" in text
    nameless = client.post(url, MAPPING | {"name": ["", "", "", ""]}).content.decode()
    assert "has a role that needs a name" in nameless
    house.blocked.refresh_from_db()
    assert house.blocked.status == "blocked"


def test_discarding_registers_nothing(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("elena")
    assert "Confirm the import of Ward export 2026" in client.get("/").content.decode()
    client.post(f"/cohorts/~import/{house.ready.pk}/discard/")
    house.ready.refresh_from_db()
    assert (house.ready.status, house.ready.result) == ("discarded", None)
    assert "Confirm the import of" not in client.get("/").content.decode()


def test_verifying_the_ledger_names_the_entry_that_was_changed(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("dora")
    assert "The ledger is intact" in client.post("/governance/ledger/verify/").content.decode()
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER IF EXISTS ledger_no_update")
        names = cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            cursor.execute(f'DROP TRIGGER "{name}"')
    LedgerEntry.objects.filter(index=1).update(actor="somebody-else")
    text = client.post("/governance/ledger/verify/").content.decode()
    assert "The ledger was tampered with" in text and "Entry 1" in text


def test_the_ledger_can_be_searched(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("dora")
    scene.entries(60)
    assert "Entries 62 to 13" in client.get("/governance/ledger/").content.decode()
    assert "No entry matches" in client.get("/governance/ledger/?q=nothing-like-this").content.decode()
    assert "Entries 12 to 0" in client.get("/governance/ledger/?act=run.requested&before=13").content.decode()


def test_failed_work_is_on_the_list_of_whoever_ordered_it(house: SimpleNamespace, sign_in: SignIn) -> None:
    mine, others = sign_in("elena").get("/").content.decode(), sign_in("clara").get("/").content.decode()
    for title in ("Training of Chest model 1.3-failed failed", "The cohort Next cohort, failed was not made"):
        assert title in mine and title not in others
    assert "The disk is full. What to do: free some space." in mine
    assert "Next cohort, running" in sign_in("elena").get("/cohorts/").content.decode()


def test_no_name_hides_a_page(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("elena")
    client.post("/systems/~new/", SYSTEM | {"name": "New"})
    assert "<h1>New</h1>" in client.get("/systems/new/").content.decode()
    scene.cohort("Import")
    assert "<h1>Import</h1>" in client.get("/cohorts/import/").content.decode()
