"""Reports and bundles as their pages show them: filtered, with their files, and with what changed since."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from core.errors import AuscultError, NotFoundError
from evaluation.models import AuditRun, RunStatus
from governance.models import Answer, Bundle, Report, Statement
from governance.questions import load_questions
from governance.reports.base import REPORTS
from governance.selectors import bundle_path
from governance.selectors.portal import STATES
from models_registry.models import AISystem, ModelVersion
from models_registry.selectors import unshown

FORMS = {
    "pdf": ("PDF", "application/pdf", "signed; to read, print and archive"),
    "html": ("HTML", "text/html; charset=utf-8", "one page of its own, without scripts"),
    "json": ("JSON", "application/json", "for machines; its schema is published"),
    "docx": (
        "DOCX",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "a working copy to edit; not the issued document",
    ),
}
"""Name, type and purpose of each form of a report."""
SHOWN_CHANGES = 3


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that a report rests on and that changed after it was asked for."""

    at: datetime
    what: str


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """A report in a list, with what changed since, earliest first; empty where it is current."""

    report: Report
    title: str
    stale: tuple[Change, ...] = ()

    @property
    def since(self) -> datetime | None:
        return self.stale[0].at if self.stale else None

    @property
    def counts(self) -> tuple[tuple[int, str], ...]:
        """How many requirements are in which state, in words, without the states that none is in."""
        found = self.report.counts
        return tuple((found[key], word.lower()) for key, word in STATES.items() if found.get(key))


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form in which a report was issued."""

    key: str
    name: str
    purpose: str
    digest: str


def title_of(kind: str) -> str:
    """The title of a kind of report; its key when the kind is no longer installed."""
    return next((str(item.title) for key, item in REPORTS if key == kind), kind)


def list_reports() -> QuerySet[Report]:
    """Reports with what a list shows; :func:`report_rows` says what changed since."""
    return Report.objects.select_related("version__system", "run", "issued_by").defer(*unshown("version"))


def report_rows(reports: list[Report]) -> list[ReportRow]:
    """Reports with their titles and what changed since."""
    titles = {key: str(kind.title) for key, kind in REPORTS}
    found = changes_of(reports)
    return [
        ReportRow(report=row, title=titles.get(row.kind, row.kind), stale=tuple(found.get(row.pk, ())))
        for row in reports
    ]


def report_choices() -> dict[str, tuple[tuple[str, str], ...]]:
    """What reports can be filtered by: the kinds and systems that there are reports of. Two queries."""
    kinds = Report.objects.order_by("kind").values_list("kind", flat=True).distinct()
    systems = AISystem.objects.filter(versions__reports__isnull=False).distinct()
    return {
        "kind": tuple((key, title_of(key)) for key in kinds),
        "system": tuple((system.slug, system.name) for system in systems),
        "status": tuple((str(value), str(word)) for value, word in Report.Status.choices),
        "language": (("en", "English"), ("de", "German")),
    }


def get_report(pk: int) -> Report:
    """One report. Raises NotFoundError where there is none with this number."""
    rows = Report.objects.select_related("version__system", "run__protocol", "run__cohort__cohort", "issued_by")
    found = rows.filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such report.", remedy="Open it from the list of reports.")
    return found


def forms_of(report: Report) -> list[Form]:
    """The forms in which a report was issued."""
    return [
        Form(key=key, name=name, purpose=purpose, digest=getattr(report, f"{key}_digest"))
        for key, (name, _type, purpose) in FORMS.items()
        if getattr(report, f"{key}_digest")
    ]


def changes_of(reports: Iterable[Report]) -> dict[int, list[Change]]:
    """What each issued report rests on and that changed after it was asked for, earliest first."""
    issued = [row for row in reports if row.status == Report.Status.ISSUED]
    if not issued:
        return {}
    since = min(row.as_of for row in issued)
    changes = [
        *_answers(since, {row.version.system_id for row in issued}),
        *_statements(since, {row.version.system_id for row in issued}),
        *_audits(since, {row.version_id for row in issued}),
    ]
    return {
        row.pk: sorted(
            [change for about, change in changes if about in _rests_on(row) and change.at > row.as_of]
            + _void(row.version, row.as_of),
            key=lambda change: change.at,
        )
        for row in issued
    }


Found = tuple[tuple[str, int], Change]


def _rests_on(report: Report) -> set[tuple[str, int]]:
    return {("system", report.version.system_id), ("version", report.version_id)}


def _answers(since: datetime, systems: set[int]) -> list[Found]:
    labels = {item.key: item.label for item in load_questions()}
    rows = Answer.objects.filter(system__in=systems, answered_at__gt=since).order_by("pk")
    return [
        (("system", system), Change(at=at, what=f"The answer to “{labels.get(key, key)}” changed."))
        for system, key, at in rows.values_list("system", "question", "answered_at")
    ]


def _statements(since: datetime, systems: set[int]) -> list[Found]:
    rows = Statement.objects.filter(version__system__in=systems, status=Statement.Status.ACCEPTED)
    found = rows.filter(decided_at__gt=since).values_list("version__system", "requirement", "decided_at")
    return [
        (("system", system), Change(at=at, what=f"A statement about {key} was accepted."))
        for system, key, at in found
        if at is not None
    ]


def _audits(since: datetime, versions: set[int]) -> list[Found]:
    rows = AuditRun.objects.filter(version__in=versions, status=RunStatus.DONE, finished_at__gt=since)
    return [
        (("version", version), Change(at=at, what=f"Audit {pk} finished."))
        for pk, version, at in rows.values_list("pk", "version", "finished_at")
        if at is not None
    ]


def _void(version: ModelVersion, as_of: datetime) -> list[Change]:
    if version.void_at is None or version.void_at <= as_of:
        return []
    return [Change(at=version.void_at, what=f"The approval of the version became void. {version.void_reason}")]


def runs_to_report(version: ModelVersion) -> list[AuditRun]:
    """Finished audits of a version, newest first, with what a choice among them shows."""
    shown = ("protocol__name", "cohort__cohort__name")
    rows = _reportable(version).only("outcome", "version", "evidence_digest", *shown)
    return list(rows.order_by("-finished_at", "-pk"))


def run_to_report(version: ModelVersion, pk: str) -> AuditRun | None:
    """One finished audit of a version, whole; None where its number is of none."""
    return _reportable(version).filter(pk=int(pk)).first() if pk.isdecimal() and len(pk) < 18 else None


def _reportable(version: ModelVersion) -> QuerySet[AuditRun]:
    rows = AuditRun.objects.filter(version=version, status=RunStatus.DONE).exclude(evidence_digest="")
    return rows.select_related("protocol", "cohort__cohort")


@dataclass(frozen=True, kw_only=True)
class InBundle:
    """A file of a bundle, with its size in bytes."""

    name: str
    size: int
    what: str


@dataclass(frozen=True, kw_only=True)
class BundleDetail:
    """A bundle with what is in it, and what its verification found when it was issued."""

    bundle: Bundle
    files: tuple[InBundle, ...]
    missing: str
    checks: tuple[dict[str, Any], ...]
    stamp: dict[str, Any] | None
    reports: tuple[Report, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


WHAT = {
    "README.txt": "what the files are and how to check them",
    "manifest.json": "size and SHA-256 of every file",
    "statement.dsse.json": "the signed statement about the model, the cohort and the manifest",
    "timestamp.tsr": "time-stamp of an authority over the statement",
    "key.pem": "the public key of the signatures",
    "evidence.json": "what the audit measured and judged",
    "protocol.yaml": "the rules as they were locked",
    "protocol.json": "the rules as they were read",
    "review.json": "the decision, the votes and their reasons",
    "dossier.json": "what was known of the version",
    "status.json": "the state of every requirement, and why",
    "model.cdx.json": "the model and each of its files: CycloneDX ML-BOM",
    "ledger/head.json": "the head of the ledger, signed",
    "ledger/proofs.json": "proofs that each act is in the ledger",
}


def get_bundle(pk: int) -> Bundle:
    """One bundle. Raises NotFoundError where there is none with this number."""
    about = ("review__version__system", "review__run__protocol", "issued_by")
    found = Bundle.objects.select_related(*about).filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such bundle.", remedy="Open it from the list of reports.")
    return found


def bundle_detail(bundle: Bundle) -> BundleDetail:
    """A bundle with its files, as far as its file is there and can be read."""
    files, missing = _files(bundle)
    told = bundle.verification or {}
    review = bundle.review
    about = Q(run=review.run_id) | Q(run=None, version=review.version_id)
    reports = Report.objects.filter(about, status=Report.Status.ISSUED, issued_at__lte=bundle.issued_at)
    return BundleDetail(
        bundle=bundle,
        files=files,
        missing=missing,
        checks=tuple(told.get("checks", ())),
        stamp=told.get("timestamp") or None,
        reports=tuple(reports.select_related("version__system")),
    )


def _files(bundle: Bundle) -> tuple[tuple[InBundle, ...], str]:
    if bundle.status != Bundle.Status.ISSUED:
        return (), ""
    try:
        with zipfile.ZipFile(bundle_path(bundle)) as archive:
            entries = archive.infolist()
    except AuscultError as error:
        return (), f"{error.message} {error.remedy}"
    except (OSError, zipfile.BadZipFile):
        return (), "The file of this bundle cannot be read. Restore it from its backup, or ask for the bundle again."
    return tuple(InBundle(name=item.filename, size=item.file_size, what=_what(item.filename)) for item in entries), ""


def _what(name: str) -> str:
    """What a file of a bundle is, in words; empty for one that the bundle's layout does not know."""
    if name.startswith("reports/"):
        kind, _dot, form = name.removeprefix("reports/").rpartition(".")
        base, _dash, language = kind.partition("-")
        return f"{title_of(base)}, {form.upper()}" + (f", language {language}" if language else "")
    return WHAT.get(name, "")
