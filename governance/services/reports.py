"""Asking for reports. A worker writes them, from a dossier and from evidence that are kept by digest."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.errors import AuscultError, ConflictError, DigestMismatchError, NotFoundError
from core.models import User
from core.reach import limited, service
from evaluation.models import AuditRun, RunStatus
from governance.access import check_may_issue
from governance.applicability import prohibited
from governance.dossier import gather_dossier
from governance.models import Report
from governance.reports.base import LANGUAGES, REPORTS, ReportKind
from models_registry.models import ModelVersion
from models_registry.services.versions import model_store

DESPITE_PROHIBITION = frozenset({"serious_incident"})
"""What is reported even of a practice that Article 5 prohibits: it harms no less for being prohibited."""
AUDIT_AGAIN = "Audit the version again, and ask for the report about that audit."


@limited
def request_report(
    *, kind: str, version: ModelVersion, run: AuditRun | None = None, language: str = "en", by: User
) -> Report:
    """Order a report about a version, and about one audit of it where ``run`` is named.

    A request that is refused leaves one entry in the ledger and nothing else.

    Raises:
        DeniedError: ``by`` is neither chair nor auditor.
        AuscultError: there is no such kind or language; the message lists the known ones.
        ConflictError: the same report is being written; its evidence is missing or has gone stale; the kind needs an
            audit; the answers say that the practice is prohibited.
        NotFoundError, DigestMismatchError: the evidence is gone from the store or was changed there.
    """
    check_may_issue(by)
    report_kind = REPORTS.get(kind)
    if language not in LANGUAGES:
        raise AuscultError(
            f"There is no report in the language '{language}'.", remedy=f"Use one of: {', '.join(LANGUAGES)}."
        )
    try:
        return _create_report(report_kind, kind=kind, version=version, run=run, language=language, by=by)
    except (ConflictError, DigestMismatchError, NotFoundError) as error:
        _record_refusal(kind=kind, version=version, run=run, language=language, by=by, reason=error.message)
        raise


@service
def _create_report(
    report_kind: ReportKind, *, kind: str, version: ModelVersion, run: AuditRun | None, language: str, by: User
) -> Report:
    # The version is locked, so that of two requests at once the second sees the first.
    version = (
        ModelVersion.objects.select_for_update(of=("self",), no_key=True).select_related("system").get(pk=version.pk)
    )
    _check_not_being_written(kind, version, language)
    if run is None and report_kind.needs_run:
        raise ConflictError(
            f"The report “{report_kind.title}” is about an audit, and none was named.",
            remedy="Name a finished audit of the version.",
        )
    if run is not None:
        _check_run(run, version)
        _check_evidence(run, version)
    now = timezone.now()
    dossier = gather_dossier(version, run=run, as_of=now)
    _check_not_void(version, run, dossier)
    _check_not_prohibited(kind, dossier)
    digest = model_store().put_json(dossier)
    report = _insert(
        kind=kind, version=version, run=run, language=language, as_of=now, dossier_digest=digest, issued_by=by
    )
    ledger.record(
        actor=by.username,
        act="report.requested",
        subject=("Report", report.pk),
        payload=_about(kind, version, run, language) | {"dossier": digest},
    )
    from governance import tasks

    tasks.write_report.delay_on_commit(report.pk)
    return report


def _insert(**row: Any) -> Report:
    try:
        with transaction.atomic():
            return Report.objects.create(**row)
    except IntegrityError as error:
        raise _being_written(row["kind"], row["version"]) from error


def _check_not_being_written(kind: str, version: ModelVersion, language: str) -> None:
    waiting = Report.objects.filter(kind=kind, version=version, language=language, status=Report.Status.QUEUED)
    if waiting.exists():
        raise _being_written(kind, version)


def _being_written(kind: str, version: ModelVersion) -> ConflictError:
    return ConflictError(
        f"The report “{REPORTS.get(kind).title}” about {version} is being written already.",
        remedy="Wait until it is issued; it appears under Reports.",
    )


def _check_run(run: AuditRun, version: ModelVersion) -> None:
    """The run is of this version, has evidence, and no newer audit has taken its place."""
    if run.version_id != version.pk:
        raise ConflictError(f"Audit {run.pk} is not of {version}.", remedy="Name an audit of this version.")
    if run.status != RunStatus.DONE or not run.evidence_digest:
        raise ConflictError(
            f"Audit {run.pk} has no evidence to report on: it is {run.get_status_display().lower()}.",
            remedy="Wait until the audit is done.",
        )
    same = AuditRun.objects.filter(version=version, protocol=run.protocol_id, cohort=run.cohort_id)
    newer = same.filter(status=RunStatus.DONE, finished_at__gt=run.finished_at).exclude(pk=run.pk)
    if newest := newer.order_by("-finished_at").first():
        raise ConflictError(
            f"The evidence of audit {run.pk} has gone stale: audit {newest.pk} is newer, by the same protocol on the "
            "same cohort.",
            remedy=f"Ask for the report about audit {newest.pk}.",
        )


def _check_evidence(run: AuditRun, version: ModelVersion) -> None:
    """The evidence is in the store as it was, and about the files that the version has now."""
    told = model_store().get_json(run.evidence_digest)["version"]
    if told["digest"] != version.digest or told.get("manifest", version.manifest) != version.manifest:
        raise ConflictError(
            f"The evidence of audit {run.pk} has gone stale: it is about other files than {version} has now.",
            remedy=AUDIT_AGAIN,
        )


def _check_not_void(version: ModelVersion, run: AuditRun | None, dossier: dict[str, Any]) -> None:
    """Nothing voided the version since the audit that the report would rest on was requested."""
    if version.void_at is None:
        return
    void_at = version.void_at.isoformat()
    asked = [run.requested_at.isoformat()] if run else [audit["requested_at"] for audit in dossier["audits"]]
    if not asked or max(asked) <= void_at:
        raise ConflictError(
            f"The evidence about {version} has gone stale: it is older than what voided the version. "
            f"{version.void_reason}",
            remedy=AUDIT_AGAIN,
        )


def _check_not_prohibited(kind: str, dossier: dict[str, Any]) -> None:
    limbs = prohibited(dossier["answers"])
    if limbs and kind not in DESPITE_PROHIBITION:
        raise ConflictError(
            f"The answers say that Article 5 of the AI Act prohibits this practice ({', '.join(limbs)}): no document "
            "is issued about it.",
            remedy="Change the intended use, or correct the answer if it is wrong.",
        )


def _record_refusal(
    *, kind: str, version: ModelVersion, run: AuditRun | None, language: str, by: User, reason: str
) -> None:
    """Keep that a report was refused, and why; the request itself left nothing."""
    with transaction.atomic():
        ledger.record(
            actor=by.username,
            act="report.refused",
            subject=("ModelVersion", version.pk),
            payload=_about(kind, version, run, language) | {"reason": reason},
        )


def _about(kind: str, version: ModelVersion, run: AuditRun | None, language: str) -> dict[str, Any]:
    """What every ledger entry about a request says."""
    return {
        "kind": kind,
        "language": language,
        "version": version.digest,
        "run": run.pk if run else None,
        "evidence": run.evidence_digest if run else None,
    }
