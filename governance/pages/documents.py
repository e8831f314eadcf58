"""What leaves the house: issued reports and signed bundles. Every download is recorded."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST, require_safe

from core.access import can
from core.pages.forms import perform
from core.pages.lists import Choice, Column, Listing, ListPlan, read_list
from core.pages.readers import HouseRequest, reads, reads_within
from evaluation.selectors import get_run
from governance import selectors
from governance.access import check_may_issue
from governance.selectors import documents
from governance.selectors.documents import title_of
from governance.services import downloads

__all__ = ["document_list", "record_download", "report_detail", "report_download", "report_request", "title_of"]

BUNDLES_SHOWN = 10
DOWNLOAD_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


@require_safe
@reads_within
def document_list(request: HouseRequest) -> HttpResponse:
    """Reports and bundles, with what is being written and what failed. A regulator sees bundles under a grant."""
    listing: Listing[Any] = read_list(request.GET, documents.list_reports(), _plan(), keep=["bundles"])
    bundles, every = selectors.bundles_list(), request.GET.get("bundles") == "all"
    context = {
        "listing": listing,
        "reports": documents.report_rows(list(listing.page)),
        "bundles": bundles if every else bundles[:BUNDLES_SHOWN],
        "more_bundles": 0 if every else max(0, len(bundles) - BUNDLES_SHOWN),
        "may_issue": can(check_may_issue, request.user),
    }
    return render(request, "governance/documents.html", context)


def _plan() -> ListPlan:
    choices = documents.report_choices()

    def choice(name: str, title: str, every: str, field: str = "") -> Choice:
        return Choice(name=name, title=title, every=every, options=choices[name], field=field or name)

    return ListPlan(
        columns=(
            Column(title="Report", key="kind", order=("kind", "language")),
            Column(title="Model version", key="version", order=("version__system__name", "version__label")),
            Column(title="Status", key="status", order=("status",)),
            Column(title="Ready"),
            Column(title="Requirements"),
            Column(title="As of", key="as-of", order=("as_of",), down=True),
            Column(title="By", key="by", order=("issued_by__last_name", "issued_by__username")),
            Column(title="Download"),
        ),
        search=("version__system__name", "version__label", "issued_by__last_name", "issued_by__username"),
        searched="System, version or person",
        choices=(
            choice("kind", "Report", "Every report"),
            choice("system", "System", "Every system", "version__system__slug"),
            choice("status", "Status", "Every status"),
            choice("language", "Language", "Every language"),
        ),
        anchor="reports",
    )


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


def record_download(request: HouseRequest, *, act: str, subject: tuple[str, int], digest: str) -> None:
    """Enter a download in the ledger."""
    downloads.record_download(act=act, subject=subject, digest=digest, by=request.user)


@require_GET
@reads
def report_download(request: HouseRequest, pk: int, form: str) -> HttpResponse:
    """One form of an issued report, checked against its digest before a byte leaves."""
    found = downloads.download_report(report=documents.get_report(pk), form=form, by=request.user)
    response = HttpResponse(found.body, content_type=found.content_type)
    response["Content-Disposition"] = f'attachment; filename="{found.name}"'
    response["Content-Security-Policy"] = DOWNLOAD_POLICY
    return response
