"""Reviews, reports and bundles: lists, one of them, asking for reports and bundles, downloads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import FileResponse, HttpResponse
from ninja import Path, Query, Schema
from pydantic import Field

from core.api.fields import Number, Pk, Strict, Word
from core.api.paging import Page, Paging, page_of
from core.api.requests import TokenRequest
from core.api.routing import HouseRouter, Scope
from evaluation.api.rows import run_of
from governance.api.rows import bundle_of, bundles_seen, report_of, reports_seen, review_of, reviews_seen
from governance.models import Bundle, Report, Review, Vote
from governance.selectors.documents import FORMS, title_of
from governance.services.bundles import request_bundle
from governance.services.downloads import download_bundle, download_report
from governance.services.reports import request_report
from models_registry.api.rows import version_of

router = HouseRouter("Reviews, reports and bundles")
Key = Annotated[int | None, Field(ge=1, le=2**63 - 1)]
OBJECT = {"schema": {"type": "object"}}
BYTES = {"schema": {"type": "string", "format": "binary"}}


class ReviewOut(Schema):
    """A committee's decision about a version. ``status`` is open, approved, conditional, rejected or withdrawn."""

    id: int
    version: int
    system: str
    label: str
    audit: int
    policy: str | None
    status: str
    quorum: int
    approve: int
    reject: int
    evidence_digest: str
    opened_by: str
    opened_at: datetime
    closed_at: datetime | None


class VoteOut(Schema):
    """A member's vote and its reason."""

    voter: str
    choice: str
    rationale: str
    cast_at: datetime


class ReviewDetailOut(ReviewOut):
    """The same, with the votes."""

    votes: list[VoteOut]


class ReportIn(Strict):
    """Which kind of report, about which version; about which audit of it, where it speaks of one."""

    kind: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00]*$")]
    version: Number
    audit: Number | None = None
    language: Literal["en", "de"] = "en"


class ReportOut(Schema):
    """A report. ``files`` maps each form in which it was issued to its SHA-256; ``signed_by`` is the fingerprint of the
    certificate in the PDF."""

    id: int
    kind: str
    title: str
    version: int
    system: str
    label: str
    audit: int | None
    language: str
    status: str
    error: str
    ready: bool
    counts: dict[str, int]
    files: dict[str, str]
    signed_by: str
    issued_by: str
    issued_at: datetime


class BundleIn(Strict):
    """The review that the bundle attests."""

    review: Number


class BundleOut(Schema):
    """A signed bundle. ``digest`` is the SHA-256 of its file, ``key`` names the key of its signature."""

    id: int
    review: int
    version: int
    system: str
    label: str
    status: str
    error: str
    digest: str
    file_name: str
    key: str
    issued_by: str
    issued_at: datetime


def review_out(row: Review) -> dict[str, Any]:
    choices = [vote.choice for vote in row.votes.all()]
    return {
        "id": row.pk,
        "version": row.version_id,
        "system": row.version.system.slug,
        "label": row.version.label,
        "audit": row.run_id,
        "policy": str(row.policy) if row.policy else None,
        "status": row.status,
        "quorum": row.quorum,
        "approve": choices.count(Vote.Choice.APPROVE),
        "reject": choices.count(Vote.Choice.REJECT),
        "evidence_digest": row.evidence_digest,
        "opened_by": row.opened_by.username,
        "opened_at": row.opened_at,
        "closed_at": row.closed_at,
    }


def report_out(row: Report) -> dict[str, Any]:
    names = ("kind", "language", "status", "error", "ready", "counts", "signed_by", "issued_at")
    return {name: getattr(row, name) for name in names} | {
        "id": row.pk,
        "title": title_of(row.kind),
        "version": row.version_id,
        "system": row.version.system.slug,
        "label": row.version.label,
        "audit": row.run_id,
        "files": {form: digest for form in FORMS if (digest := getattr(row, f"{form}_digest"))},
        "issued_by": row.issued_by.username,
    }


def bundle_out(row: Bundle) -> dict[str, Any]:
    names = ("status", "error", "digest", "file_name", "issued_at")
    return {name: getattr(row, name) for name in names} | {
        "id": row.pk,
        "review": row.review_id,
        "version": row.review.version_id,
        "system": row.review.version.system.slug,
        "label": row.review.version.label,
        "key": row.key_id,
        "issued_by": row.issued_by.username,
    }


class ReviewFilter(Schema):
    """Which reviews."""

    status: Review.Status | None = None
    system: Word = ""
    version: Key = None


@router.operation("GET", "/reviews", scope=Scope.READ, gives=Page[ReviewOut], name="reviews")
def list_reviews(request: TokenRequest, paging: Query[Paging], wanted: Query[ReviewFilter]) -> Any:
    """Reviews, newest first."""
    given = {"status": wanted.status, "version__system__slug": wanted.system, "version": wanted.version}
    rows = reviews_seen(request).filter(**{name: value for name, value in given.items() if value})
    return page_of(request, rows, paging, order="-opened_at", tell=review_out)


@router.operation(
    "GET", "/reviews/{pk}", scope=Scope.READ, gives=ReviewDetailOut, name="review", refuses=("not-found",)
)
def get_review(request: TokenRequest, pk: Pk) -> Any:
    """One review, with its votes. Votes are cast by persons, at the page."""
    row = review_of(request, pk)
    names = ("choice", "rationale", "cast_at")
    votes = [{name: getattr(vote, name) for name in names} | {"voter": vote.voter.username} for vote in row.votes.all()]
    return review_out(row) | {"votes": votes}


class ReportFilter(Schema):
    """Which reports."""

    status: Report.Status | None = None
    kind: Word = ""
    language: Literal["", "en", "de"] = ""
    system: Word = ""
    version: Key = None


@router.operation("GET", "/reports", scope=Scope.READ, gives=Page[ReportOut], name="reports")
def list_reports(request: TokenRequest, paging: Query[Paging], wanted: Query[ReportFilter]) -> Any:
    """Reports, newest first."""
    given = wanted.model_dump(exclude={"system"}) | {"version__system__slug": wanted.system}
    rows = reports_seen(request).filter(**{name: value for name, value in given.items() if value})
    return page_of(request, rows, paging, order="-issued_at", tell=report_out)


@router.operation(
    "POST", "/reports", scope=Scope.REPORT, gives=ReportOut, status=201, name="reports",
    refuses=("not-found", "conflict"), example={"kind": "annex_iv", "version": 12, "audit": 40, "language": "en"},
)  # fmt: skip
def ask_for_report(request: TokenRequest, body: ReportIn) -> Any:
    """Ask for a report. A worker writes it. For chairs and auditors."""
    version = version_of(request, body.version)
    run = None if body.audit is None else run_of(request, body.audit)
    row = request_report(kind=body.kind, version=version, run=run, language=body.language, by=request.auth)
    request.answer_headers["Location"] = f"/api/v1/reports/{row.pk}"
    return report_out(report_of(request, row.pk))


@router.operation("GET", "/reports/{pk}", scope=Scope.READ, gives=ReportOut, name="report", refuses=("not-found",))
def get_report(request: TokenRequest, pk: Pk) -> Any:
    """One report, with the forms in which it was issued."""
    return report_out(report_of(request, pk))


@router.operation(
    "GET", "/reports/{pk}/files/{form}", scope=Scope.REPORT, refuses=("not-found",),
    content={kind.partition(";")[0]: OBJECT if form == "json" else BYTES for form, (_, kind, _) in FORMS.items()},
)  # fmt: skip
def get_report_file(
    request: TokenRequest, pk: Pk, form: Annotated[Literal["pdf", "html", "json", "docx"], Path()]
) -> Any:
    """Download a form of an issued report. Entered in the ledger."""
    found = download_report(report=report_of(request, pk), form=form, by=request.auth)
    headers = {"Content-Disposition": f'attachment; filename="{found.name}"'}
    return HttpResponse(found.body, content_type=found.content_type, headers=headers)


class BundleFilter(Schema):
    """Which bundles."""

    status: Bundle.Status | None = None
    review: Key = None


@router.operation("GET", "/bundles", scope=Scope.READ, gives=Page[BundleOut], name="bundles")
def list_bundles(request: TokenRequest, paging: Query[Paging], wanted: Query[BundleFilter]) -> Any:
    """Bundles, newest first."""
    rows = bundles_seen(request).filter(**{name: value for name, value in wanted.model_dump().items() if value})
    return page_of(request, rows, paging, order="-issued_at", tell=bundle_out)


@router.operation(
    "POST", "/bundles", scope=Scope.REPORT, gives=BundleOut, status=201, name="bundles",
    refuses=("not-found", "conflict"), example={"review": 7},
)  # fmt: skip
def ask_for_bundle(request: TokenRequest, body: BundleIn) -> Any:
    """Ask for the signed bundle of a decided review. A worker builds and verifies it. For chairs and auditors."""
    row = request_bundle(review=review_of(request, body.review), by=request.auth)
    request.answer_headers["Location"] = f"/api/v1/bundles/{row.pk}"
    return bundle_out(bundle_of(request, row.pk))


@router.operation("GET", "/bundles/{pk}", scope=Scope.READ, gives=BundleOut, name="bundle", refuses=("not-found",))
def get_bundle(request: TokenRequest, pk: Pk) -> Any:
    """One bundle."""
    return bundle_out(bundle_of(request, pk))


@router.operation(
    "GET", "/bundles/{pk}/download", scope=Scope.REPORT, refuses=("not-found",), content={"application/zip": BYTES}
)
def get_bundle_file(request: TokenRequest, pk: Pk) -> Any:
    """Download an issued bundle. Entered in the ledger; it is verified without this server."""
    row = bundle_of(request, pk)
    path = download_bundle(bundle=row, by=request.auth)
    return FileResponse(path.open("rb"), as_attachment=True, filename=row.file_name, content_type="application/zip")
