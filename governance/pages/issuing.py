"""Before a report is issued: whether it is ready and why not, how it would look, and the request itself."""

from __future__ import annotations

from functools import partial
from typing import Any

from csp.decorators import csp_exempt, csp_update
from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_http_methods, require_safe

from core.access import can
from core.errors import AuscultError, NotFoundError
from core.models import User
from core.pages.forms import HouseForm, attempt
from core.pages.readers import HouseRequest, reads
from evaluation.models import AuditRun
from governance.access import check_may_issue
from governance.models import Report
from governance.previews import preview_report
from governance.reports.base import LANGUAGES, REPORTS, ReportKind
from governance.selectors import documents
from governance.selectors import requirements as selectors
from governance.selectors.requirements import Judged
from governance.services.reports import DESPITE_PROHIBITION, request_report
from models_registry.models import ModelVersion
from models_registry.selectors import get_version

PREVIEW_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)
LANGUAGE_NAMES = {"en": "English", "de": "German"}


class IssueForm(HouseForm):
    """In which language, and about which audit."""

    language = forms.ChoiceField(
        choices=[(key, LANGUAGE_NAMES[key]) for key in LANGUAGES], label="Language", initial=LANGUAGES[0]
    )
    run = forms.ChoiceField(label="About", required=False)

    def __init__(self, *args: Any, kind: ReportKind, runs: list[AuditRun], **kwargs: Any) -> None:
        kwargs["initial"] = {"language": LANGUAGES[0], "run": str(runs[0].pk) if runs else ""}
        super().__init__(*args, **kwargs)
        choices = [(str(run.pk), _run_words(run)) for run in runs]
        if not kind.needs_run or not choices:
            choices.append(("", "no audit: the version alone"))
        self.fields["run"].choices = choices  # type: ignore[attr-defined]

    @property
    def chosen(self) -> dict[str, str]:
        """Language and audit as they stand in the form, for the address of the preview."""
        return {name: str(self[name].value() or "") for name in ("language", "run")}


def _run_words(run: AuditRun) -> str:
    return gettext("audit %(pk)s: %(name)s on %(name2)s, %(x)s") % {
        "pk": run.pk,
        "name": run.protocol.name,
        "name2": run.cohort.cohort.name,
        "x": run.get_outcome_display().lower(),
    }


def _kind(key: str) -> ReportKind:
    if key not in REPORTS.keys():  # noqa: SIM118 - a registry is no mapping
        raise NotFoundError("There is no such kind of report.", remedy="Begin at the requirements of the version.")
    return REPORTS.get(key)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
@csp_update({"frame-src": ["'self'"]})
def report_new(request: HouseRequest, slug: str, pk: int, kind: str) -> HttpResponse:
    """Whether a report is ready, how it would look in a frame that can do nothing, and the button that issues it."""
    found, judged = _kind(kind), selectors.judge_version(slug, pk)
    runs = documents.runs_to_report(judged.version)
    form = _form(request, found, runs)
    report = attempt(form, partial(_request, kind=kind, version=judged.version, by=request.user))
    if report:
        messages.success(request, "The report is being written. It appears on this page when it is issued.")
        return redirect("report", pk=report.pk)
    context = _context(kind, found, judged) | {
        "form": form,
        "lacks_run": found.needs_run and not runs,
        "may_issue": can(check_may_issue, request.user),
    }
    return render(request, "governance/report_new.html", context, status=form.status)


def _request(*, kind: str, version: ModelVersion, language: str, run: str, by: User) -> Report:
    chosen = documents.run_to_report(version, run)
    return request_report(kind=kind, version=version, run=chosen, language=language, by=by)


def _context(kind: str, found: ReportKind, judged: Judged) -> dict[str, Any]:
    """What the page tells of a kind of report before anything is chosen."""
    return {
        "version": judged.version,
        "kind": kind,
        "title": found.title,
        "editable": found.editable,
        "blocked": bool(judged.statuses.prohibited) and kind not in DESPITE_PROHIBITION,
        "statuses": judged.statuses,
        "outlined": kind in judged.statuses.catalogue.outlines,
        "readiness": judged.statuses.ready(kind),
        "issued": documents.report_rows(list(_issued(judged.version, kind))),
    }


def _form(request: HouseRequest, kind: ReportKind, runs: list[AuditRun]) -> IssueForm:
    """What was sent to be issued; or what is looked at, as the address says."""
    if request.method == "POST":
        return IssueForm(request.POST, kind=kind, runs=runs)
    form = IssueForm(kind=kind, runs=runs)
    for name in ("language", "run"):
        known = {str(value) for value, _ in form.fields[name].choices}  # type: ignore[attr-defined]
        if request.GET.get(name) in known:
            form.initial[name] = request.GET[name]
    return form


def _issued(version: ModelVersion, kind: str) -> QuerySet[Report]:
    rows = Report.objects.filter(version=version, kind=kind)
    return rows.select_related("version__system", "run", "issued_by")[:5]


@require_safe
@reads
@xframe_options_sameorigin
@csp_exempt()
def report_preview(request: HouseRequest, slug: str, pk: int, kind: str) -> HttpResponse:
    """The report as it would be, for the frame: it may run nothing, load nothing and send nothing."""
    _kind(kind)
    version, language = get_version(slug, pk), request.GET.get("language", LANGUAGES[0])
    run = documents.run_to_report(version, request.GET.get("run", ""))
    try:
        html = preview_report(kind=kind, version=version, run=run, language=language, by=request.user)
        response = HttpResponse(html)
    except AuscultError as error:
        response = render(request, "governance/preview_refused.html", {"error": error}, status=409)
    response["Content-Security-Policy"] = PREVIEW_POLICY
    response["Cache-Control"] = "private, no-store"
    return response
