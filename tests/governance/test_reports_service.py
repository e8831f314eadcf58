"""Asking for reports: what is refused and recorded, and that writing one twice gives the same document."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pikepdf
import pytest
from django.utils import timezone

from core.digests import sha256_bytes
from core.errors import AuscultError, ConflictError, DeniedError, DigestMismatchError, NotFoundError
from core.models import LedgerEntry
from core.store import Store
from evaluation.models import AuditRun, RunStatus
from governance import execution, tasks
from governance.models import Answer, Report
from governance.reports.base import REPORTS, ReportContext, ReportDocument
from governance.reports.render import render_pdf
from governance.services.reports import request_report
from models_registry.models import ModelVersion
from tests.reports.pdf import read_pdf

Made = Callable[..., Any]


class SmallReport:
    """A report of one page that can be signed. It tells nothing but what it was written from."""

    title = "Small report"
    editable = False

    def __init__(self, key: str, *, needs_run: bool = False) -> None:
        self.key = key
        self.needs_run = needs_run

    def build(self, evidence: dict[str, Any] | None, context: ReportContext) -> ReportDocument:
        dossier = context.dossier
        data = {
            "evidence": evidence["result_digest"] if evidence else None,
            "dossier": dossier["schema"],
            "votes": [vote["voter"] for review in dossier["reviews"] for vote in review["votes"]],
            "ledger": dossier["ledger"],
            "others": sorted(context.documents),
            "certificate": context.certificate,
        }
        html = (
            f'<!doctype html><html lang="{context.language}"><head><title>Small</title>'
            f'<meta name="author" content="{context.issued_by}">'
            f'<meta name="dcterms.created" content="{context.as_of.isoformat()}"></head>'
            "<body><h1>Small</h1></body></html>"
        )
        printed = render_pdf(html, name=self.key, data=data, as_of=context.as_of)
        return ReportDocument(
            kind=self.key, title="Small", data=data, html=html, pdf=printed.pdf, counts={"complete": 1}
        )


@pytest.fixture(autouse=True)
def small_reports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The only kinds there are: two that need no audit and one that does."""
    kinds = [SmallReport("small"), SmallReport("serious_incident"), SmallReport("audited", needs_run=True)]
    monkeypatch.setattr(REPORTS, "_members", {kind.key: kind for kind in kinds})
    monkeypatch.setattr(REPORTS, "_sources", {kind.key: "tests" for kind in kinds})
    monkeypatch.setattr(REPORTS, "_scanned", True)
    return


@pytest.fixture
def refused(home: Path, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Asks for a report that is refused, and holds that one ledger entry is all that it leaves."""
    sent: list[int] = []
    monkeypatch.setattr(tasks.write_report, "delay_on_commit", sent.append)

    def ask(error: type[AuscultError], match: str, **given: Any) -> dict[str, Any]:
        entries, reports, files = LedgerEntry.objects.count(), Report.objects.count(), stored(home)
        waiting = len(sent)
        with pytest.raises(error, match=match) as caught:
            request_report(**({"kind": "small", "by": people.amir} | given))
        assert caught.value.remedy
        assert (Report.objects.count(), stored(home), len(sent)) == (reports, files, waiting)
        assert LedgerEntry.objects.count() == entries + 1
        entry = LedgerEntry.objects.order_by("-index").first()
        assert entry is not None and entry.act == "report.refused"
        body: dict[str, Any] = json.loads(entry.body)
        assert body["actor"] == "amir"
        assert body["payload"]["reason"] == caught.value.message
        assert body["payload"]["version"] == given["version"].digest
        return body

    return ask


def stored(home: Path) -> set[str]:
    return {str(path) for path in (home / "store").rglob("*") if path.is_file()}


def answered(version: ModelVersion, people: SimpleNamespace, question: str, value: Any) -> None:
    Answer.objects.create(system=version.system, question=question, value=value, author=people.elena)


def newer(run: AuditRun, **given: Any) -> AuditRun:
    """A later run of the same version, by the same protocol, on the same cohort, unless told otherwise."""
    run.pk, run.id = None, None
    run._state.adding = True
    run.spec_digest = sha256_bytes(b"newer")
    run.finished_at = timezone.now() + timedelta(minutes=1)
    for name, value in given.items():
        setattr(run, name, value)
    run.save()
    return run


def test_two_of_one_kind_at_once_are_refused(audited: Made, refused: Made, people: SimpleNamespace) -> None:
    run = audited()
    request_report(kind="small", version=run.version, run=run, by=people.amir)
    refused(ConflictError, "is being written already", version=run.version, run=run)
    # Another language, another kind and another version are other documents.
    request_report(kind="small", version=run.version, run=run, language="de", by=people.amir)
    request_report(kind="audited", version=run.version, run=run, by=people.amir)


def test_once_it_is_issued_it_may_be_asked_for_again(audited: Made, people: SimpleNamespace) -> None:
    run = audited()
    first = request_report(kind="small", version=run.version, by=people.amir)
    execution.write_report(first.pk)
    second = request_report(kind="small", version=run.version, by=people.amir)
    assert second.pk != first.pk


def test_the_database_refuses_what_the_check_did_not_see(
    audited: Made, refused: Made, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from governance.services import reports

    run = audited()
    request_report(kind="small", version=run.version, run=run, by=people.amir)
    dossier = json.loads(Store(Path(reports.model_store().root)).get_bytes(Report.objects.get().dossier_digest))
    monkeypatch.setattr(reports, "_check_not_being_written", lambda *_: None)
    monkeypatch.setattr(reports, "gather_dossier", lambda *_, **__: dossier)
    refused(ConflictError, "is being written already", version=run.version, run=run)


def test_a_newer_audit_makes_the_evidence_stale(audited: Made, refused: Made, people: SimpleNamespace) -> None:
    run = audited()
    later = newer(AuditRun.objects.get(pk=run.pk))
    body = refused(ConflictError, f"audit {later.pk} is newer", version=run.version, run=run)
    assert body["payload"]["run"] == run.pk and body["payload"]["evidence"] == run.evidence_digest


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.FAILED])
def test_a_newer_audit_that_found_nothing_makes_nothing_stale(
    status: str, audited: Made, people: SimpleNamespace
) -> None:
    run = audited()
    newer(AuditRun.objects.get(pk=run.pk), status=status)
    assert request_report(kind="small", version=run.version, run=run, by=people.amir).status == "queued"


def test_a_file_that_changed_makes_the_evidence_stale(audited: Made, refused: Made) -> None:
    run = audited()
    run.version.manifest = {"model.safetensors": sha256_bytes(b"other weights")}
    run.version.save(update_fields=["manifest"])
    refused(ConflictError, "about other files", version=run.version, run=run)


@pytest.mark.parametrize("about_run", [True, False])
def test_what_voided_the_version_makes_the_evidence_stale(about_run: bool, audited: Made, refused: Made) -> None:
    run = audited()
    run.version.void_at = timezone.now() + timedelta(seconds=1)
    run.version.void_reason = "A file of the backbone changed."
    run.version.save(update_fields=["void_at", "void_reason"])
    match = "older than what voided the version. A file of the backbone changed."
    refused(ConflictError, match, version=run.version, run=run if about_run else None)


def test_an_audit_that_was_requested_after_the_void_counts(audited: Made, people: SimpleNamespace) -> None:
    run = audited()
    run.version.void_at = run.requested_at - timedelta(minutes=1)
    run.version.save(update_fields=["void_at"])
    assert request_report(kind="small", version=run.version, run=run, by=people.amir).status == "queued"


@pytest.mark.parametrize("limb", ["art5_c", "art5_ba"])
def test_a_prohibited_practice_blocks_every_document_but_the_incident(
    limb: str, audited: Made, refused: Made, people: SimpleNamespace
) -> None:
    run = audited()
    for question in ("ai_system", "union_market", limb):
        answered(run.version, people, question, True)
    answered(run.version, people, "research_only", False)
    refused(ConflictError, "Article 5 of the AI Act prohibits", version=run.version, run=run)
    assert request_report(kind="serious_incident", version=run.version, by=people.amir).status == "queued"


def test_an_answer_that_was_corrected_blocks_nothing(audited: Made, people: SimpleNamespace) -> None:
    run = audited()
    for value in (True, False):
        answered(run.version, people, "art5_c", value)
    assert request_report(kind="small", version=run.version, by=people.amir).status == "queued"


def test_a_kind_about_an_audit_needs_one(audited: Made, refused: Made) -> None:
    refused(ConflictError, "is about an audit, and none was named", kind="audited", version=audited().version)


def test_an_audit_of_another_version_is_refused(audited: Made, refused: Made) -> None:
    run, other = audited(label="1.0"), audited(label="2.0")
    refused(ConflictError, "is not of", version=run.version, run=other)


def test_an_audit_that_is_not_done_is_refused(audited: Made, refused: Made) -> None:
    run = audited()
    run.status = RunStatus.RUNNING
    refused(ConflictError, "has no evidence to report on", version=run.version, run=run)


def test_evidence_that_is_gone_or_altered_is_refused(audited: Made, refused: Made, home: Path) -> None:
    run = audited()
    path = Store(home / "store").path(run.evidence_digest)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"pass", b"PASS", 1))
    refused(DigestMismatchError, "was changed on disk", version=run.version, run=run)
    path.unlink()
    refused(NotFoundError, "holds nothing", version=run.version, run=run)


@pytest.mark.parametrize("name", ["elena", "mina", "dora", "rita"])
def test_others_than_chair_and_auditor_may_not_ask(name: str, audited: Made, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError):
        request_report(kind="small", version=audited().version, by=getattr(people, name))
    assert not Report.objects.exists()


@pytest.mark.parametrize(("kind", "language"), [("poem", "en"), ("small", "fr")])
def test_an_unknown_kind_or_language_is_refused(
    kind: str, language: str, audited: Made, people: SimpleNamespace
) -> None:
    with pytest.raises(AuscultError, match="Use one of"):
        request_report(kind=kind, version=audited().version, language=language, by=people.amir)
    assert not Report.objects.exists()


def test_what_was_known_is_kept_by_its_digest_before_it_is_written(
    decided: Made, people: SimpleNamespace, home: Path
) -> None:
    review = decided("fail", "reject")
    report = request_report(kind="small", version=review.version, run=review.run, by=people.amir)
    dossier = Store(home / "store").get_json(report.dossier_digest)
    assert dossier["as_of"] == report.as_of.isoformat()
    assert [vote["voter"] for vote in dossier["reviews"][0]["votes"]] == ["mina", "tom"]
    entry = json.loads(LedgerEntry.objects.get(act="report.requested").body)["payload"]
    assert entry["dossier"] == report.dossier_digest and entry["evidence"] == review.evidence_digest


def without_signature(pdf: bytes) -> bytes:
    """The document as it was before it was signed: a signature is appended, and changes no byte before it."""
    return pdf[: pdf.index(b"%%EOF") + len(b"%%EOF")]


def test_delivered_twice_it_is_issued_once_and_signed(audited: Made, people: SimpleNamespace, home: Path) -> None:
    run = audited()
    report = request_report(kind="small", version=run.version, run=run, by=people.amir)
    for _ in range(2):
        execution.write_report(report.pk)
    report.refresh_from_db()
    assert (report.status, report.error, report.counts) == (Report.Status.ISSUED, "", {"complete": 1})
    assert LedgerEntry.objects.filter(act="report.issued").count() == 1
    store = Store(home / "store")
    pdf = store.get_bytes(report.pdf_digest)
    with pikepdf.open(io.BytesIO(pdf)) as document:
        assert [field.FT for field in document.Root.AcroForm.Fields] == ["/Sig"]
    assert read_pdf(pdf).attachments["small.json"] == store.get_json(report.json_digest)
    assert len(report.signed_by) == 64
    issued = json.loads(LedgerEntry.objects.get(act="report.issued").body)["payload"]
    assert issued["pdf"] == report.pdf_digest and issued["signed_by"] == report.signed_by
    assert store.get_bytes(report.html_digest).startswith(b"<!doctype html>")
    assert report.docx_digest == issued["docx"] == ""


def test_written_again_it_is_the_same_but_for_the_signature(audited: Made, people: SimpleNamespace, home: Path) -> None:
    """As if the worker had died before it could say that it was done."""
    run = audited()
    report = request_report(kind="small", version=run.version, run=run, by=people.amir)
    forms = []
    for _ in range(2):
        Report.objects.filter(pk=report.pk).update(status=Report.Status.QUEUED)
        execution.write_report(report.pk)
        report.refresh_from_db()
        pdf = Store(home / "store").get_bytes(report.pdf_digest)
        forms.append((report.json_digest, report.html_digest, without_signature(pdf)))
    assert forms[0] == forms[1]


def test_a_failure_while_signing_issues_nothing(
    audited: Made, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(pdf: bytes, **_: Any) -> bytes:
        raise AuscultError("The certificate expired.", remedy="Renew it.")

    run = audited()
    report = request_report(kind="small", version=run.version, run=run, by=people.amir)
    monkeypatch.setattr(execution, "sign_pdf", fails)
    execution.write_report(report.pk)
    report.refresh_from_db()
    assert report.status == Report.Status.FAILED
    assert report.error == "The certificate expired. What to do: Renew it."
    assert (report.pdf_digest, report.json_digest) == ("", "")
    assert not LedgerEntry.objects.filter(act="report.issued").exists()


def test_evidence_of_other_audits_is_handed_to_the_report(audited: Made, people: SimpleNamespace, home: Path) -> None:
    """The audit of the version before, by the same protocol: what changed since is told from its evidence."""
    earlier, run = audited(label="1.0"), audited(label="2.0")
    report = request_report(kind="small", version=run.version, run=run, by=people.amir)
    execution.write_report(report.pk)
    report.refresh_from_db()
    assert Store(home / "store").get_json(report.json_digest)["others"] == [earlier.evidence_digest]


def test_evidence_of_another_audit_that_is_gone_is_left_out(audited: Made, people: SimpleNamespace, home: Path) -> None:
    earlier, run = audited(label="1.0"), audited(label="2.0")
    Store(home / "store").path(earlier.evidence_digest).unlink()
    report = request_report(kind="small", version=run.version, run=run, by=people.amir)
    execution.write_report(report.pk)
    report.refresh_from_db()
    assert Store(home / "store").get_json(report.json_digest)["others"] == []
