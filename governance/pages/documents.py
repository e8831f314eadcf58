"""What leaves the house: issued reports and signed bundles. Every download is recorded."""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST, require_safe

from core import ledger
from core.access import can
from core.errors import NotFoundError
from core.pages.forms import perform
from core.pages.readers import HouseRequest, may_read, reads, reads_issued
from evaluation.selectors import get_run
from governance import selectors
from governance.access import check_may_issue
from governance.models import Bundle, Report
from governance.reports.base import REPORTS
from models_registry.services.versions import model_store

FORMS = {"pdf": "application/pdf", "json": "application/json"}


@require_safe
@reads_issued
def document_list(request: HouseRequest) -> HttpResponse:
    """Reports and bundles. People of the house also see what is being written and what failed."""
    reports, bundles = selectors.reports_list(), selectors.bundles_list()
    inside = may_read(request.user)
    if not inside:
        reports = [item for item in reports if item.status == Report.Status.ISSUED]
        bundles = [item for item in bundles if item.status == Bundle.Status.ISSUED]
    context = {
        "reports": [{"report": item, "title": title_of(item.kind)} for item in reports],
        "bundles": bundles,
        "inside": inside,
        "may_issue": can(check_may_issue, request.user),
    }
    return render(request, "governance/documents.html", context)


def title_of(kind: str) -> str:
    """The title of a kind of report; its key when the kind is no longer installed."""
    return next((item.title for key, item in REPORTS if key == kind), kind)


@require_POST
@reads
def report_request(request: HouseRequest, run_pk: int) -> HttpResponse:
    from governance.services.reports import request_report

    act = partial(request_report, kind=request.POST.get("kind", ""), run=get_run(run_pk), by=request.user)
    done = "The report is being written. It appears under Reports when it is issued."
    return perform(request, act, done=done, back=reverse("audit", args=[run_pk]))


@require_POST
@reads
def bundle_request(request: HouseRequest, pk: int) -> HttpResponse:
    from governance.services.bundles import request_bundle

    act = partial(request_bundle, review=selectors.review_by_id(pk), by=request.user)
    done = "The bundle is being built and signed. It appears here when it is issued."
    return perform(request, act, done=done, back=reverse("review", args=[pk]))


@transaction.atomic
def _record_download(request: HouseRequest, *, act: str, subject: tuple[str, int], digest: str) -> None:
    ledger.record(actor=request.user.get_username(), act=act, subject=subject, payload={"digest": digest})


@require_GET
@reads_issued
def report_download(request: HouseRequest, pk: int, form: str) -> HttpResponse:
    """The PDF or the JSON of an issued report, checked against its digest before a byte leaves."""
    report = Report.objects.filter(pk=pk, status=Report.Status.ISSUED).select_related("version__system").first()
    digest = getattr(report, f"{form}_digest", "") if form in FORMS else ""
    if report is None or not digest:
        raise NotFoundError("There is no such report.", remedy="Open it from the list of reports.")
    body = model_store().get_bytes(digest)
    _record_download(request, act="report.downloaded", subject=("Report", pk), digest=digest)
    name = f"{report.kind}-{report.version.system.slug}-{report.version.label}.{form}"
    response = HttpResponse(body, content_type=FORMS[form])
    response["Content-Disposition"] = f'attachment; filename="{_plain(name)}"'
    return response


@require_GET
@reads_issued
def bundle_download(request: HouseRequest, pk: int) -> FileResponse:
    bundle = Bundle.objects.filter(pk=pk, status=Bundle.Status.ISSUED).first()
    if bundle is None:
        raise Http404(NotFoundError("There is no such bundle.", remedy="Open it from the list of reports."))
    path = selectors.bundle_path(bundle)
    _record_download(request, act="bundle.downloaded", subject=("Bundle", pk), digest=bundle.digest)
    return FileResponse(path.open("rb"), as_attachment=True, filename=bundle.file_name)


def _plain(name: str) -> str:
    """A file name of letters, digits, dot, dash and underscore only: safe in a header and on every disk."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in name)
