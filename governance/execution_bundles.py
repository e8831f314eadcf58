"""What workers do for bundles: gather, sign, verify, issue. Each may be started twice."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core import ledger
from core.errors import ConflictError, DigestMismatchError
from core.keys import signing_key
from core.models import LedgerEntry
from governance.bundle.build import BundleContent, ReportFiles, bundle_pieces
from governance.bundle.container import OversizeError
from governance.bundle.layout import key_id
from governance.bundle.verify import Verification, verify_bundle
from governance.bundle_review import review_document, subjects_of
from governance.execution import failure_kept
from governance.models import Bundle, Report, Review
from governance.reports.evidence import hide_small_cells
from governance.services.timestamps import timestamp
from governance.standing.status_document import status_document
from models_registry.cards import ml_bom_bytes
from models_registry.services.versions import model_store


def build_bundle(bundle_id: int) -> None:
    """Gather, sign and verify one bundle, and issue it only if it verifies. Delivered twice, it is issued once."""
    rows = Bundle.objects.filter(pk=bundle_id)
    people = (
        "review__submitter",
        "review__runner",
        "review__protocol_approver",
        "review__opened_by",
        "review__policy",
        "issued_by",
    )
    waiting = rows.filter(status=Bundle.Status.QUEUED)
    bundle = waiting.select_related("review__version__system", "review__run__protocol", *people).first()
    if bundle is None:
        return
    with failure_kept(rows):
        key = signing_key()
        with _written(bundle_pieces(gather(bundle), key, stamp=timestamp)) as path:
            result = verify_bundle(path, trust=[key_id(key.public_key())])
            if not result.ok:
                found = [f"{item.file} {item.message}" for check in result.checks for item in check.problems]
                raise DigestMismatchError(
                    f"The bundle does not verify, so it was not issued: {'; '.join(found[:3])}.",
                    remedy="Have the ledger and the store verified; something in them is not what it was.",
                )
            _issue_bundle(bundle, path, result)


@contextmanager
def _written(pieces: Iterator[bytes]) -> Iterator[Path]:
    """The bundle in a file of its own beside the issued ones, which is gone afterwards unless it was renamed."""
    folder = Path(settings.AUSCULT_HOME) / "bundles"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines(pieces)
        yield Path(name)
    except OversizeError as error:
        raise ConflictError(f"The bundle is too large: {error}.", remedy="Leave attachments out.") from error
    finally:
        Path(name).unlink(missing_ok=True)


def _issue_bundle(bundle: Bundle, written: Path, result: Verification) -> None:
    digest = model_store().put_file(written)
    version = bundle.review.version
    label = re.sub(r"[^A-Za-z0-9.]+", "-", version.label).strip("-.") or "version"
    name = f"{version.system.slug}-{label}-{digest[:8]}.zip"
    path = written.with_name(name)
    written.replace(path)  # The name holds the digest, so a file that is there already is the same.
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


def gather(bundle: Bundle) -> BundleContent:
    """Everything about a decided review that goes into its bundle.

    Raises:
        NotFoundError, DigestMismatchError: something is gone from the store or was changed there.
        ConflictError: the evidence tells of so few patients that it may not leave the platform.
    """
    store, review = model_store(), bundle.review
    protocol = review.run.protocol
    evidence = store.get_json(review.evidence_digest)
    _check_no_small_cells(evidence)
    dossier = store.get_bytes(_dossier_digest(bundle))
    reports = _reports(review)
    head = ledger.tree_head()
    return BundleContent(
        evidence=evidence,
        evidence_bytes=store.get_bytes(review.evidence_digest),
        protocol_source=protocol.source,
        protocol_body=protocol.body,
        review=review_document(review),
        dossier=dossier,
        status=status_document(dossier, evidence, evidence_digest=review.evidence_digest),
        model_bom=ml_bom_bytes(review.version),
        reports=[_report_files(report) for report in reports],
        proofs=_proofs(bundle, [report.pk for report in reports], head),
        head_size=head.size,
        head_root=head.root,
        head_time=timezone.now().isoformat(),
    )


def _check_no_small_cells(evidence: dict[str, Any]) -> None:
    """A bundle goes out, and its evidence cannot be changed without losing its digest: so it goes as it is or not."""
    shown, told = hide_small_cells(evidence)["result"], evidence["result"]
    given = [{"detail": {}} | item for item in told["measurements"]]
    if (shown["measurements"], shown["verdicts"]) != (given, told["verdicts"]):
        raise ConflictError(
            "The evidence holds counts of 1 to 10 patients, which may not leave the platform.",
            remedy="Run the audit again by a protocol whose smallest cell is 11, and review that audit.",
        )


def _dossier_digest(bundle: Bundle) -> str:
    """What the ledger says was known when the bundle was asked for."""
    asked = LedgerEntry.objects.get(act="bundle.requested", subject_kind="Bundle", subject_id=str(bundle.pk))
    digest = json.loads(asked.body)["payload"].get("dossier")
    if not digest:
        raise ConflictError("The bundle was asked for before bundles had dossiers.", remedy="Ask for it again.")
    return str(digest)


def _reports(review: Review) -> list[Report]:
    """The latest of each kind and language about the review's run, or about its version and no run.

    Those of a release that knew no dossiers are left out: nothing states what they were written from.
    """
    about = Q(run=review.run_id) | Q(run=None, version=review.version_id)
    issued = Report.objects.filter(about, status=Report.Status.ISSUED).exclude(dossier_digest="")
    latest = {_report_name(report): report for report in issued.order_by("issued_at", "pk")}
    return [latest[name] for name in sorted(latest)]


def _report_name(report: Report) -> str:
    return report.kind if report.language == "en" else f"{report.kind}-{report.language}"


def _report_files(report: Report) -> ReportFiles:
    store = model_store()
    return ReportFiles(
        name=_report_name(report),
        pdf=store.get_bytes(report.pdf_digest),
        json=store.get_bytes(report.json_digest),
        html=store.get_bytes(report.html_digest) if report.html_digest else None,
        docx=store.get_bytes(report.docx_digest) if report.docx_digest else None,
    )


def _proofs(bundle: Bundle, reports: list[int], head: ledger.TreeHead) -> list[dict[str, Any]]:
    """Inclusion proofs for every ledger entry about the version, protocol, run, review, reports and bundle."""
    review = bundle.review
    subjects = {
        "ModelVersion": [review.version_id],
        "Protocol": [review.run.protocol_id],
        "AuditRun": [review.run_id],
        **subjects_of(review),
        "Report": reports,
        "Bundle": [bundle.pk],
    }
    about = Q()
    for kind, keys in subjects.items():
        about |= Q(subject_kind=kind, subject_id__in=[str(key) for key in keys])
    entries = LedgerEntry.objects.filter(about, index__lt=head.size).order_by("index")
    proofs = [ledger.prove_inclusion(index, head.size) for index in entries.values_list("index", flat=True)]
    return [{"index": proof.index, "entry": proof.entry, "path": list(proof.path)} for proof in proofs]
