"""What leaves the house: issued reports and signed bundles. Every download is recorded."""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST, require_safe

from core import ledger
from core.access import can
from core.errors import NotFoundError
from core.pages.forms import perform
from core.pages.readers import HouseRequest, reads
from evaluation.selectors import get_run
from governance import selectors
from governance.access import check_may_issue
from governance.models import Report
from governance.selectors import documents
from governance.selectors.documents import FORMS, ReportFilters, title_of
from models_registry.services.versions import model_store

__all__ = ["document_list", "record_download", "report_detail", "report_download", "report_request", "title_of"]

DOWNLOAD_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


@require_safe
@reads
def document_list(request: HouseRequest) -> HttpResponse:
    """Reports and bundles, with what is being written and what failed. A regulator sees bundles under a grant."""
    names = ("kind", "system", "status", "language")
    filters = ReportFilters(**{name: request.GET.get(name, "")[:80] for name in names})
    context = {
        "reports": documents.list_reports(filters),
        "filters": filters,
        "choices": documents.report_choices(),
        "bundles": selectors.bundles_list(),
        "may_issue": can(check_may_issue, request.user),
    }
    return render(request, "governance/documents.html", context)


@require_safe
@reads
def report_detail(request: HouseRequest, pk: int) -> HttpResponse:
    """One report: its forms with their digests, who signed, whether it is ready, and what changed since."""
    report = documents.get_report(pk)
    (row,) = documents.report_rows([report])
    context = {"report": report, "row": row, "forms": documents.forms_of(report), "shown": documents.SHOWN_CHANGES}
    return render(request, "governance/report.html", context)


@require_POST
@reads
def report_request(request: HouseRequest, run_pk: int) -> HttpResponse:
    from governance.services.reports import request_report

    run = get_run(run_pk)
    act = partial(request_report, kind=request.POST.get("kind", ""), version=run.version, run=run, by=request.user)
    done = "The report is being written. It appears under Reports when it is issued."
    return perform(request, act, done=done, back=reverse("audit", args=[run_pk]))


@transaction.atomic
def record_download(request: HouseRequest, *, act: str, subject: tuple[str, int], digest: str) -> None:
    """Enter a download in the ledger."""
    ledger.record(actor=request.user.get_username(), act=act, subject=subject, payload={"digest": digest})


@require_GET
@reads
def report_download(request: HouseRequest, pk: int, form: str) -> HttpResponse:
    """One form of an issued report, checked against its digest before a byte leaves."""
    report = Report.objects.filter(pk=pk, status=Report.Status.ISSUED).select_related("version__system").first()
    digest = getattr(report, f"{form}_digest", "") if form in FORMS else ""
    if report is None or not digest:
        raise NotFoundError("There is no such report.", remedy="Open it from the list of reports.")
    body = model_store().get_bytes(digest)
    record_download(request, act="report.downloaded", subject=("Report", pk), digest=digest)
    language = "" if report.language == "en" else f"-{report.language}"
    name = f"{report.kind}{language}-{report.version.system.slug}-{report.version.label}.{form}"
    response = HttpResponse(body, content_type=FORMS[form][1])
    response["Content-Disposition"] = f'attachment; filename="{_plain(name)}"'
    response["Content-Security-Policy"] = DOWNLOAD_POLICY
    return response


def _plain(name: str) -> str:
    """A file name of letters, digits, dot, dash and underscore only: safe in a header and on every disk."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in name)
