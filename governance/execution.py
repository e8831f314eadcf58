"""What workers do for governance: write reports, build and verify bundles. Each may be started twice."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from core import ledger
from core.errors import AuscultError, DigestMismatchError, TransientError
from core.models import LedgerEntry
from evaluation.models import AuditRun
from governance.bundle.build import BundleContent, ReportFiles
from governance.bundle.build import build_bundle as sealed
from governance.bundle.layout import key_id
from governance.bundle.verify import Verification, verify_bytes
from governance.models import Bundle, Report, Review
from governance.reports.base import REPORTS, ReportContext, ReportDocument, ReviewRecord, VoteRecord
from governance.services.keys import signing_key
from models_registry.services.versions import model_store

LOST_AFTER = timedelta(minutes=10)


@contextmanager
def _failure_kept(rows: QuerySet[Any]) -> Iterator[None]:
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
    for task, rows in ((tasks.write_report, Report.objects), (tasks.build_bundle, Bundle.objects)):
        for pk in rows.filter(status="queued", issued_at__lt=since).values_list("pk", flat=True):
            task.delay(pk)
            sent += 1
    return sent


def write_report(report_id: int) -> None:
    """Write one report from the evidence in the store, and issue it. Delivered twice, it is issued once."""
    rows = Report.objects.filter(pk=report_id)
    report = rows.filter(status=Report.Status.QUEUED).select_related("run", "issued_by").first()
    if report is None:
        return
    with _failure_kept(rows):
        evidence = model_store().get_json(report.run.evidence_digest)
        document = REPORTS.get(report.kind).build(evidence, _context(report))
        _issue_report(report, document)


def _context(report: Report) -> ReportContext:
    """What was so when the report was asked for, so that writing it twice gives the same bytes."""
    asked = LedgerEntry.objects.get(act="report.requested", subject_kind="Report", subject_id=str(report.pk))
    head = ledger.tree_head(asked.index + 1)
    return ReportContext(
        as_of=report.as_of,
        issued_by=report.issued_by.username,
        ledger_size=head.size,
        ledger_root=head.root,
        review=_review_record(report.run, before=asked.index),
    )


def _review_record(run: AuditRun, *, before: int) -> ReviewRecord | None:
    """The review of a run as the ledger knew it before entry ``before``."""
    people = ("opened_by", "submitter", "runner", "protocol_approver")
    for review in Review.objects.filter(run=run).select_related(*people):
        known = _known_entries(review, before=before)
        if ("Review", str(review.pk), "review.opened") not in known:
            continue
        decided = ("Review", str(review.pk), "review.decided") in known
        cast = {key for kind, key, _ in known if kind == "Vote"}
        votes = [vote for vote in review.votes.select_related("voter") if str(vote.pk) in cast]
        return ReviewRecord(
            id=review.pk,
            status=review.status if decided else Review.Status.OPEN.value,
            quorum=review.quorum,
            opened_by=review.opened_by.username,
            opened_at=review.opened_at,
            closed_at=review.closed_at if decided else None,
            excluded=tuple(getattr(review, name).username for name in people[1:]),
            votes=tuple(
                VoteRecord(
                    voter=vote.voter.username,
                    choice=vote.choice,
                    rationale=vote.rationale,
                    cast_at=vote.cast_at,
                )
                for vote in votes
            ),
        )
    return None


def _known_entries(review: Review, *, before: int) -> set[tuple[str, str, str]]:
    votes = [str(pk) for pk in review.votes.values_list("pk", flat=True)]
    about = Q(subject_kind="Review", subject_id=str(review.pk)) | Q(subject_kind="Vote", subject_id__in=votes)
    rows = LedgerEntry.objects.filter(about, index__lt=before)
    return set(rows.values_list("subject_kind", "subject_id", "act"))


def _issue_report(report: Report, document: ReportDocument) -> None:
    store = model_store()
    pdf, data = store.put_bytes(document.pdf), store.put_json(document.data)
    with transaction.atomic():
        issued = Report.objects.filter(pk=report.pk, status=Report.Status.QUEUED).update(
            status=Report.Status.ISSUED, pdf_digest=pdf, json_digest=data, counts=document.counts
        )
        if issued:
            ledger.record(
                actor=report.issued_by.username,
                act="report.issued",
                subject=("Report", report.pk),
                payload={
                    "kind": report.kind,
                    "evidence": report.run.evidence_digest,
                    "pdf": pdf,
                    "json": data,
                    "counts": document.counts,
                },
            )


def build_bundle(bundle_id: int) -> None:
    """Gather, sign and verify one bundle, and issue it only if it verifies. Delivered twice, it is issued once."""
    rows = Bundle.objects.filter(pk=bundle_id)
    people = (
        "review__submitter",
        "review__runner",
        "review__protocol_approver",
        "review__opened_by",
        "issued_by",
    )
    waiting = rows.filter(status=Bundle.Status.QUEUED)
    bundle = waiting.select_related("review__version__system", "review__run__protocol", *people).first()
    if bundle is None:
        return
    with _failure_kept(rows):
        key = signing_key()
        fingerprint = key_id(key.public_key())
        raw = sealed(gather(bundle.review), key)
        result = verify_bytes(raw, trust=[fingerprint])
        if not result.ok:
            found = [f"{item.file} {item.message}" for check in result.checks for item in check.problems]
            raise DigestMismatchError(
                f"The bundle does not verify, so it was not issued: {'; '.join(found[:3])}.",
                remedy="Have the ledger and the store verified; something in them is not what it was.",
            )
        _issue_bundle(bundle, raw, result)


def _issue_bundle(bundle: Bundle, raw: bytes, result: Verification) -> None:
    digest = model_store().put_bytes(raw)
    version = bundle.review.version
    label = re.sub(r"[^A-Za-z0-9.]+", "-", version.label).strip("-.") or "version"
    name = f"{version.system.slug}-{label}-{digest[:8]}.zip"
    path = Path(settings.AUSCULT_HOME) / "bundles" / name
    _write_file(path, raw)
    with transaction.atomic():
        issued = Bundle.objects.filter(pk=bundle.pk, status=Bundle.Status.QUEUED).update(
            status=Bundle.Status.ISSUED,
            digest=digest,
            file_name=name,
            key_id=result.key_id,
            verification=result.to_dict() | {"verified_at": timezone.now().isoformat()},
        )
        if issued:
            ledger.record(
                actor=bundle.issued_by.username,
                act="bundle.issued",
                subject=("Bundle", bundle.pk),
                payload={
                    "review": bundle.review_id,
                    "evidence": bundle.review.evidence_digest,
                    "digest": digest,
                    "key": result.key_id,
                },
            )
    if not issued and not Bundle.objects.filter(file_name=name).exists():
        path.unlink()  # Another delivery of the task was first; its file is the issued one.


def _write_file(path: Path, raw: bytes) -> None:
    """Write at once or not at all. The name holds the digest, so a file that is there already is the same."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    with os.fdopen(handle, "wb") as stream:
        stream.write(raw)
    Path(name).replace(path)


def gather(review: Review) -> BundleContent:
    """Everything about a decided review that goes into its bundle.

    Raises:
        NotFoundError, DigestMismatchError: something is gone from the store or was changed there.
    """
    store = model_store()
    protocol = review.run.protocol
    issued = Report.objects.filter(run=review.run_id, status=Report.Status.ISSUED).order_by("issued_at")
    reports = {report.kind: report for report in issued}  # The latest of each kind.
    head = ledger.tree_head()
    return BundleContent(
        evidence=store.get_json(review.evidence_digest),
        evidence_bytes=store.get_bytes(review.evidence_digest),
        protocol_source=protocol.source,
        protocol_body=protocol.body,
        review=_review_document(review),
        reports=[
            ReportFiles(name=kind, pdf=store.get_bytes(report.pdf_digest), json=store.get_bytes(report.json_digest))
            for kind, report in sorted(reports.items())
        ],
        proofs=_proofs(review, [report.pk for report in reports.values()], head),
        head_size=head.size,
        head_root=head.root,
        head_time=timezone.now().isoformat(),
    )


def _review_document(review: Review) -> dict[str, Any]:
    """``review.json``: the decision, the votes with their reasons, and who may not vote."""
    return {
        "schema": "auscult/review/1",
        "id": review.pk,
        "run": review.run_id,
        "evidence": review.evidence_digest,
        "version": review.version_digest,
        "quorum": review.quorum,
        "decision": review.status,
        "submitter": review.submitter.username,
        "runner": review.runner.username,
        "protocol_approver": review.protocol_approver.username,
        "opened_by": review.opened_by.username,
        "opened_at": review.opened_at.isoformat(),
        "closed_at": review.closed_at.isoformat() if review.closed_at else None,
        "votes": [
            {
                "voter": vote.voter.username,
                "name": str(vote.voter),
                "choice": vote.choice,
                "rationale": vote.rationale,
                "cast_at": vote.cast_at.isoformat(),
            }
            for vote in review.votes.select_related("voter")
        ],
        "other_runs": _other_runs(review),
    }


def _other_runs(review: Review) -> list[dict[str, Any]]:
    """The other audits of the version, so that a chosen one cannot pass for the only one."""
    runs = AuditRun.objects.filter(version=review.version_id).exclude(pk=review.run_id)
    return [
        {
            "id": run.pk,
            "protocol": run.protocol.digest,
            "cohort": run.cohort.digest,
            "status": run.status,
            "outcome": run.outcome or None,
            "evidence": run.evidence_digest or None,
        }
        for run in runs.select_related("protocol", "cohort").order_by("pk")
    ]


def _proofs(review: Review, reports: list[int], head: ledger.TreeHead) -> list[dict[str, Any]]:
    """Inclusion proofs for every ledger entry about the version, protocol, run, review, votes and reports."""
    subjects = {
        "ModelVersion": [review.version_id],
        "Protocol": [review.run.protocol_id],
        "AuditRun": [review.run_id],
        "Review": [review.pk],
        "Vote": list(review.votes.values_list("pk", flat=True)),
        "Report": reports,
    }
    about = Q()
    for kind, keys in subjects.items():
        about |= Q(subject_kind=kind, subject_id__in=[str(key) for key in keys])
    entries = LedgerEntry.objects.filter(about, index__lt=head.size).order_by("index")
    proofs = [ledger.prove_inclusion(index, head.size) for index in entries.values_list("index", flat=True)]
    return [{"index": proof.index, "entry": proof.entry, "path": list(proof.path)} for proof in proofs]
