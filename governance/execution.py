"""What workers do for governance: write reports (bundles: ``execution_bundles.py``). Each may be started twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone, translation
from django.utils.translation import gettext

from core import ledger
from core.errors import AuscultError, TransientError
from governance.models import Bundle, ReleaseExport, Report
from governance.reports.base import REPORTS, ReportContext, ReportDocument
from governance.reports.wording import moment
from governance.services.certificates import Certificate, sign_pdf, signing_certificate
from models_registry.services.versions import model_store

LOST_AFTER = timedelta(minutes=10)


@contextmanager
def failure_kept(rows: QuerySet[Any]) -> Iterator[None]:
    """What goes wrong ends in the row, in words. What nobody foresaw goes on to the worker's log as well."""
    waiting = rows.filter(status="queued")
    try:
        yield
    except TransientError:
        raise
    except AuscultError as error:
        waiting.update(status="failed", error=str(error))
    except Exception as error:
        text = f"Unexpected {type(error).__name__}. What to do: see the log of the worker, then ask again."
        waiting.update(status="failed", error=text)
        raise


def requeue_waiting() -> int:
    """Send again what has waited so long that its message must be lost; doing so twice is harmless."""
    from governance import tasks

    since = timezone.now() - LOST_AFTER
    sent = 0
    kinds = (
        (tasks.write_report, Report.objects),
        (tasks.build_bundle, Bundle.objects),
        (tasks.write_release, ReleaseExport.objects),
    )
    for task, rows in kinds:
        for pk in rows.filter(status="queued", issued_at__lt=since).values_list("pk", flat=True):
            task.delay(pk)
            sent += 1
    return sent


def write_report(report_id: int) -> None:
    """Write one report from what is kept by digest, sign it and issue it. Delivered twice, it is issued once."""
    rows = Report.objects.filter(pk=report_id)
    report = rows.filter(status=Report.Status.QUEUED).select_related("run", "version", "issued_by").first()
    if report is None:
        return
    with failure_kept(rows):
        kind = REPORTS.get(report.kind)
        certificate = signing_certificate()
        evidence = model_store().get_json(report.run.evidence_digest) if report.run else None
        document = kind.build(evidence, _context(report, certificate))
        signed = sign_pdf(document.pdf, at=timezone.now(), reason=_reason(report, document))
        _issue_report(report, document, signed=signed, signed_by=certificate.fingerprint)


def _context(report: Report, certificate: Certificate) -> ReportContext:
    """What was known when the report was asked for, so that writing it twice gives the same document."""
    store = model_store()
    dossier = store.get_json(report.dossier_digest)
    own = report.run.evidence_digest if report.run else ""
    others = {audit["evidence_digest"] for audit in (*dossier["audits"], *dossier["earlier_audits"])} - {own, ""}
    with translation.override(report.language):
        words = certificate.in_words()
    return ReportContext(
        as_of=report.as_of,
        issued_by=report.issued_by.username,
        dossier=dossier,
        language=report.language,
        certificate=words,
        documents={digest: store.get_json(digest) for digest in sorted(others) if store.has(digest)},
    )


def _reason(report: Report, document: ReportDocument) -> str:
    """Why the PDF is signed: it is the document that was asked for, whatever it says."""
    with translation.override(report.language):
        return gettext("Issued as of %(moment)s for %(person)s: %(title)s") % {
            "moment": moment(report.as_of),
            "person": report.issued_by.username,
            "title": document.title,
        }


def _issue_report(report: Report, document: ReportDocument, *, signed: bytes, signed_by: str) -> None:
    """Store every form of the document, then issue it at once: a reader sees all of it or nothing."""
    store = model_store()
    files = {
        "pdf_digest": store.put_bytes(signed),
        "json_digest": store.put_json(document.data),
        "html_digest": store.put_bytes(document.html.encode()),
        "docx_digest": store.put_bytes(document.docx) if document.docx is not None else "",
    }
    told = {"counts": document.counts, "ready": document.ready, "signed_by": signed_by}
    with transaction.atomic():
        issued = Report.objects.filter(pk=report.pk, status=Report.Status.QUEUED).update(
            status=Report.Status.ISSUED, **files, **told
        )
        if issued:
            ledger.record(
                actor=report.issued_by.username,
                act="report.issued",
                subject=("Report", report.pk),
                payload={
                    "kind": report.kind,
                    "language": report.language,
                    "version": report.version.digest,
                    "evidence": report.run.evidence_digest if report.run else None,
                    "dossier": report.dossier_digest,
                    **{name.removesuffix("_digest"): digest for name, digest in files.items()},
                    **told,
                },
            )
