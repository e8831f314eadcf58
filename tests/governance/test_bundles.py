"""Reports and bundles through services and workers: issued once, bound to the evidence, verified before issue."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.utils import timezone
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from core import ledger
from core.errors import AuscultError, ConflictError, DeniedError, NotFoundError
from core.keys import signing_key
from core.models import LedgerEntry
from core.store import Store
from evaluation.models import AuditRun
from governance import execution, execution_bundles, selectors
from governance.bundle.layout import key_id
from governance.bundle.verify import verify_bundle
from governance.models import Bundle, Report, Review
from governance.selectors.review_room import open_reviews, room_of, seen_by, votable_first
from governance.services.bundles import request_bundle
from governance.services.reports import request_report
from governance.services.reviews import cast_vote, open_review
from tests.governance.signed import signed

pytestmark = pytest.mark.usefixtures("plain_report")
Made = Callable[..., Any]


def contents(bundle: Bundle) -> dict[str, bytes]:
    with zipfile.ZipFile(selectors.bundle_path(bundle)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_report_is_issued_once_from_the_evidence(decided: Made, people: SimpleNamespace, home: Path) -> None:
    review = decided("fail", "reject")
    report = request_report(kind="plain", version=review.version, run=review.run, by=people.amir)
    for _ in range(2):  # Tasks may be delivered twice.
        execution.write_report(report.pk)
    report.refresh_from_db()
    store = Store(home / "store")
    assert (report.status, report.counts, report.error) == (Report.Status.ISSUED, {"complete": 3}, "")
    assert store.get_bytes(report.pdf_digest) == b"%PDF-1.7 plain"
    data = store.get_json(report.json_digest)
    assert (data["subject"]["evidence_digest"], data["decisions"]) == (review.evidence_digest, ["rejected"])
    issued = LedgerEntry.objects.get(act="report.issued")
    asked = LedgerEntry.objects.get(act="report.requested")
    assert data["size"] == asked.index
    assert json.loads(issued.body)["payload"]["pdf"] == report.pdf_digest


def test_a_report_speaks_of_when_it_was_asked_for(people: SimpleNamespace, audited: Made, home: Path) -> None:
    """Votes that came after the request are not in it, so writing it again gives the same."""
    review = open_review(run=audited(), by=people.clara)
    cast_vote(review=review, choice="approve", rationale="Fine.", by=people.mina, signed=signed(people.mina))
    report = request_report(kind="plain", version=review.version, run=review.run, by=people.amir)
    cast_vote(review=review, choice="approve", rationale="Fine.", by=people.tom, signed=signed(people.tom))
    execution.write_report(report.pk)
    report.refresh_from_db()
    store = Store(home / "store")
    (known,) = store.get_json(report.dossier_digest)["reviews"]
    assert ([vote["voter"] for vote in known["votes"]], known["status"]) == (["mina"], "open")
    assert known["excluded"] == ["elena", "amir", "clara"]
    assert store.get_json(report.json_digest)["decisions"] == ["open"]


def test_a_report_is_written_by_a_task_after_the_commit(
    decided: Made, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    from governance import tasks

    sent: list[int] = []
    monkeypatch.setattr(tasks.write_report, "apply_async", lambda args, kwargs=None, **_: sent.extend(args))
    review = decided()
    with django_capture_on_commit_callbacks(execute=True):
        report = request_report(kind="plain", version=review.version, run=review.run, by=people.amir)
        assert sent == []
    assert sent == [report.pk]


def test_work_whose_message_was_lost_is_sent_again(
    decided: Made, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from governance import tasks

    sent: list[tuple[str, int]] = []
    for task in (tasks.write_report, tasks.build_bundle):
        monkeypatch.setattr(task, "delay", lambda pk, name=task.name: sent.append((name.rpartition(".")[2], pk)))
    review = decided()
    bundle = request_bundle(review=review, by=people.clara)
    report = request_report(kind="plain", version=review.version, run=review.run, by=people.amir)
    assert execution.requeue_waiting() == 0
    long_ago = timezone.now() - timedelta(minutes=11)
    Report.objects.update(issued_at=long_ago)
    Bundle.objects.update(issued_at=long_ago)
    assert execution.requeue_waiting() == 2
    assert sent == [("write_report", report.pk), ("build_bundle", bundle.pk)]
    execution.write_report(report.pk)
    execution_bundles.build_bundle(bundle.pk)
    assert execution.requeue_waiting() == 0


@pytest.mark.parametrize("name", ["elena", "mina", "lea", "dora", "rita", "ada"])
def test_only_chair_and_auditor_issue(name: str, decided: Made, people: SimpleNamespace) -> None:
    review = decided()
    with pytest.raises(DeniedError, match="issue reports and bundles"):
        request_report(kind="plain", version=review.version, run=review.run, by=getattr(people, name))
    with pytest.raises(DeniedError, match="issue reports and bundles"):
        request_bundle(review=review, by=getattr(people, name))


def test_an_unknown_report_kind_lists_the_known(decided: Made, people: SimpleNamespace) -> None:
    with pytest.raises(AuscultError, match="Use one of: plain"):
        request_report(kind="poem", version=decided().version, by=people.amir)


def test_a_report_without_evidence_is_refused(audited: Made, people: SimpleNamespace) -> None:
    run: AuditRun = audited()
    run.status = "running"
    with pytest.raises(ConflictError, match="no evidence to report on"):
        request_report(kind="plain", version=run.version, run=run, by=people.amir)


def test_missing_evidence_fails_the_report_in_words(decided: Made, people: SimpleNamespace, home: Path) -> None:
    review = decided()
    report = request_report(kind="plain", version=review.version, run=review.run, by=people.amir)
    Store(home / "store").path(review.evidence_digest).unlink()
    execution.write_report(report.pk)
    report.refresh_from_db()
    assert report.status == Report.Status.FAILED
    assert "The store holds nothing with the digest" in report.error and "What to do" in report.error
    assert not LedgerEntry.objects.filter(act="report.issued").exists()


def test_an_unforeseen_fault_fails_the_report_and_reaches_the_log(
    decided: Made, people: SimpleNamespace, plain_report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = request_report(kind="plain", version=decided().version, by=people.amir)
    monkeypatch.setattr(plain_report, "build", lambda *_: {}["no such key"])
    with pytest.raises(KeyError):
        execution.write_report(report.pk)
    report.refresh_from_db()
    assert (report.status, report.error[:19]) == (Report.Status.FAILED, "Unexpected KeyError")


def test_a_bundle_is_issued_once_and_verifies(bundle: Bundle, home: Path) -> None:
    digest, size = bundle.digest, ledger.tree_head().size
    execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    assert (bundle.status, bundle.digest, ledger.tree_head().size) == (Bundle.Status.ISSUED, digest, size)
    assert bundle.file_name == f"chest-model-1.0-{digest[:8]}.zip"
    assert bundle.verification["ok"] and bundle.key_id == key_id(signing_key().public_key())
    result = verify_bundle(selectors.bundle_path(bundle), trust=[bundle.key_id])
    assert (result.ok, result.trusted) == (True, True)
    assert result.summary == "Chest model, version 1.0: evidence pass, approved with 2 votes."
    assert json.loads(LedgerEntry.objects.get(act="bundle.issued").body)["payload"]["digest"] == digest
    assert sorted(path.name for path in (home / "bundles").iterdir()) == [bundle.file_name]


def test_of_two_deliveries_at_once_one_bundle_stays(
    decided: Made, people: SimpleNamespace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second worker has begun while the first was still at work, and ends after it."""
    bundle = request_bundle(review=decided(), by=people.clara)
    real = execution_bundles.gather
    nested = []

    def gather(row: Bundle) -> Any:
        if not nested:
            nested.append(True)
            execution_bundles.build_bundle(bundle.pk)
        return real(row)

    monkeypatch.setattr(execution_bundles, "gather", gather)
    execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    assert [path.name for path in (home / "bundles").iterdir()] == [bundle.file_name]
    assert LedgerEntry.objects.filter(act="bundle.issued").count() == 1
    assert verify_bundle(selectors.bundle_path(bundle)).ok


def test_a_rejected_version_gets_its_bundle(decided: Made, people: SimpleNamespace) -> None:
    bundle = request_bundle(review=decided("fail", "reject", "1.0-biased"), by=people.clara)
    execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    assert bundle.verification["summary"].endswith("1.0-biased: evidence fail, rejected with 2 votes.")
    statement = json.loads(base64.b64decode(json.loads(contents(bundle)["statement.dsse.json"])["payload"]))
    assert statement["predicate"]["result"] == "FAILED"
    assert statement["predicate"]["failedTests"] == ["tpr-gap / effusion / sex"]
    assert "reports/plain.pdf" not in contents(bundle)


def test_what_is_in_a_bundle(bundle: Bundle) -> None:
    files = contents(bundle)
    assert set(files) == {
        "README.txt", "manifest.json", "statement.dsse.json", "key.pem", "evidence.json", "protocol.yaml",
        "protocol.json", "review.json", "ledger/head.json", "ledger/proofs.json", "dossier.json", "status.json",
        "model.cdx.json", "reports/plain.pdf", "reports/plain.json", "reports/plain.html", "reports/plain.docx",
    }  # fmt: skip
    acts = [json.loads(proof["entry"])["act"] for proof in json.loads(files["ledger/proofs.json"])["proofs"]]
    assert sorted(act for act in acts if act != "version.moved") == sorted([
        "version.registered", "protocol.locked", "protocol.approved", "run.requested", "run.judged", "review.opened",
        "vote.cast", "vote.cast", "review.decided", "report.requested", "report.issued", "bundle.requested",
    ])  # fmt: skip
    review = json.loads(files["review.json"])
    assert [(vote["voter"], vote["choice"], vote["rationale"]) for vote in review["votes"]] == [
        ("mina", "approve", "The evidence is clear."),
        ("tom", "approve", "I read it – and agree."),
    ]


def test_other_audits_of_the_version_are_named(decided: Made, people: SimpleNamespace, audited: Made) -> None:
    """A chosen passing audit cannot pass for the only one."""
    review = decided()
    other = AuditRun.objects.get(pk=review.run_id)
    other.pk, other.attempt, other.outcome = None, 2, "fail"
    other.save()
    bundle = request_bundle(review=review, by=people.clara)
    execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    assert [run["outcome"] for run in json.loads(contents(bundle)["review.json"])["other_runs"]] == ["fail"]
    assert [run.outcome for run in seen_by(people.clara, room_of(review.pk)).other_runs] == ["fail"]


def test_the_envelope_verifies_with_another_implementation(bundle: Bundle) -> None:
    files = contents(bundle)
    public = load_pem_public_key(files["key.pem"])
    for name in ("statement.dsse.json", "ledger/head.json"):
        key = SSlibKey.from_crypto(public, keyid=bundle.key_id)
        envelope = Envelope.from_dict(json.loads(files[name]))
        assert set(envelope.verify([key], 1)) == {bundle.key_id}


def test_the_statement_is_an_in_toto_test_result(bundle: Bundle) -> None:
    files = contents(bundle)
    envelope = json.loads(files["statement.dsse.json"])
    run = bundle.review.run
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert json.loads(base64.b64decode(envelope["payload"])) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": "model chest-model 1.0", "digest": {"sha256": run.version.digest}},
            {"name": "cohort Held out", "digest": {"sha256": run.cohort.digest}},
            {"name": "manifest.json", "digest": {"sha256": hashlib.sha256(files["manifest.json"]).hexdigest()}},
        ],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": "PASSED",
            "configuration": [{"name": "protocol.json", "digest": {"sha256": run.protocol.digest}}],
            "passedTests": ["tpr-gap / effusion / sex"],
            "warnedTests": [],
            "failedTests": [],
        },
    }


def test_an_open_review_gets_no_bundle(people: SimpleNamespace, audited: Made) -> None:
    with pytest.raises(ConflictError, match="not decided yet"):
        request_bundle(review=open_review(run=audited(), by=people.clara), by=people.clara)


def test_a_bundle_waits_for_reports_under_way(decided: Made, people: SimpleNamespace) -> None:
    review: Review = decided()
    request_report(kind="plain", version=review.version, run=review.run, by=people.amir)
    with pytest.raises(ConflictError, match="still being written"):
        request_bundle(review=review, by=people.clara)


def test_a_bundle_that_does_not_verify_is_not_issued(decided: Made, people: SimpleNamespace, home: Path) -> None:
    """Somebody has put another person's name to a vote in the database: the ledger knows better."""
    from django.db import connection

    review = decided()
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER vote_no_update")
        change = "UPDATE governance_vote SET rationale = 'I never said that.' WHERE voter_id = %s"
        cursor.execute(change, [people.tom.pk])
    bundle = request_bundle(review=review, by=people.clara)
    execution_bundles.build_bundle(bundle.pk)
    bundle.refresh_from_db()
    assert bundle.status == Bundle.Status.FAILED
    assert "review.json" in bundle.error and "vote.cast" in bundle.error
    assert list((home / "bundles").iterdir()) == []
    with pytest.raises(NotFoundError, match="has no file"):
        selectors.bundle_path(bundle)


def test_pages_ask_a_fixed_number_of_queries(
    decided: Made, audited: Made, people: SimpleNamespace, django_assert_num_queries: Any
) -> None:
    for label in ("1", "2", "3"):
        review = open_review(run=audited(label=label), by=people.clara)
        cast_vote(review=review, choice="approve", rationale="Fine.", by=people.mina, signed=signed(people.mina))
    people.tom._auscult_roles, people.mina._auscult_roles = None, None
    del people.tom._auscult_roles, people.mina._auscult_roles
    with django_assert_num_queries(3):  # Reviews, votes, recusals.
        found = open_reviews()
    with django_assert_num_queries(1):  # The person's roles.
        rows = [row for row, may_vote in votable_first(found, people.tom) if may_vote]
        assert [row.tally.approve_missing for row in rows] == [1] * 3
        assert [str(vote.voter) for row in rows for vote in row.review.votes.all()] == ["Mina Example"] * 3
    assert votable_first(found, people.mina)[0][1].reason.startswith("You have voted")
    detail = seen_by(people.tom, room_of(review.pk))
    assert detail.may_vote and detail.may_approve and detail.tally.approve == 1
    with pytest.raises(NotFoundError, match="no review 999"):
        selectors.review_by_id(999)
    with django_assert_num_queries(2):
        assert (selectors.reports_list(), selectors.bundles_list()) == ([], [])


def test_the_zip_is_an_ordinary_zip(bundle: Bundle) -> None:
    """Written by hand for the sake of its one form; any tool reads it."""
    raw = selectors.bundle_path(bundle).read_bytes()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        infos = archive.infolist()
    assert [info.filename for info in infos] == sorted(info.filename for info in infos)
    assert {(info.date_time, info.compress_type, info.external_attr >> 16) for info in infos} == {
        ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 0o100644)
    }
