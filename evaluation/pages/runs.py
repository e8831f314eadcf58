"""Audits: the list, a request, one run while it works and when it is done."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from django import forms
from django.db.models import prefetch_related_objects
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.access import can
from core.pages.forms import HouseForm, attempt, bind, perform
from core.pages.lists import Choice, Column, ListPlan, read_list
from core.pages.panels import panels_for
from core.pages.readers import HouseRequest, reads, reads_within
from evaluation import selectors
from evaluation.access import check_may_audit, check_may_steer_run
from evaluation.models import AuditRun, Outcome, RunStatus
from evaluation.pages.results import result_context
from evaluation.run_history import history_of
from evaluation.services.runs import cancel_run, request_audit, resume_run
from models_registry.models import CohortVersion

PAGE_SIZE = 50
POLL_SECONDS = (2, 2, 2, 3, 3, 5, 5, 8, 10, 10, 15, 20, 30)
"""How long to wait before each question about a run; the last figure for all that follow."""


class AuditForm(HouseForm):
    version: Any = forms.ModelChoiceField(queryset=None, label="Model version", empty_label="Choose a version")
    cohort: Any = forms.ModelChoiceField(queryset=None, empty_label="Choose a cohort")
    protocol: Any = forms.ModelChoiceField(
        queryset=None,
        empty_label="Choose a protocol",
        help_text="Only approved protocols: the rules stand before the run.",
    )

    control: Any = forms.ModelChoiceField(
        queryset=None,
        label="Control cohort",
        empty_label="None",
        required=False,
        help_text="For a generator of patients alone: patients whom it never saw. Without one, those whom its training"
        " held out are taken, who are few.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        fields["version"].queryset = selectors.auditable_versions()
        fields["cohort"].queryset = selectors.auditable_cohorts()
        fields["control"].queryset = selectors.auditable_cohorts()
        fields["protocol"].queryset = selectors.usable_protocols()


RUNS = ListPlan(
    columns=(
        Column(title="Audit", key="number", order=("pk",), down=True),
        Column(title="Outcome", key="outcome", order=("outcome", "status")),
        Column(title="Model version", key="version", order=("version__system__name", "version__label")),
        Column(title="Cohort", key="cohort", order=("cohort__cohort__name",)),
        Column(title="Protocol", key="protocol", order=("protocol__name",)),
        Column(title="Requested", key="requested", order=("requested_at",), down=True),
        Column(title="By", key="by", order=("requested_by__last_name", "requested_by__username")),
    ),
    sort="-requested",
    search=("version__system__name", "version__label", "cohort__cohort__name", "protocol__name"),
    searched="System, version, cohort or protocol",
    choices=(
        Choice(
            name="outcome", title="Outcome", every="Any outcome", field="outcome",
            options=tuple((str(item.value), str(item.label)) for item in Outcome),
        ),
        Choice(
            name="status", title="State", every="In any state", field="status",
            options=tuple((str(item.value), str(item.label)) for item in RunStatus),
        ),
    ),
    size=PAGE_SIZE,
)  # fmt: skip


RUNS_OF_PROTOCOL = replace(
    RUNS, columns=tuple(column for column in RUNS.columns if column.key != "protocol"), size=20, anchor="runs",
    search=tuple(name for name in RUNS.search if name != "protocol__name"), searched="System, version or cohort",
)  # fmt: skip
"""The audits by one protocol, on its page."""


@require_safe
@reads_within
def run_list(request: HouseRequest) -> HttpResponse:
    windows = request.GET.get("windows") == "1"
    rows = selectors.list_runs() if windows else selectors.requested_runs()
    context = {
        "listing": read_list(request.GET, rows, RUNS, keep=["windows"] if windows else []),
        "windows": windows,
        "awaiting": selectors.protocols_awaiting().count(),
        "may_audit": can(check_may_audit, request.user),
    }
    return render(request, "evaluation/runs.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def run_new(request: HouseRequest) -> HttpResponse:
    form = bind(AuditForm, request, **{name: request.GET.get(name) for name in ("version", "cohort")})
    run = attempt(form, partial(_requested, by=request.user))
    if run:
        return redirect("audit", pk=run.pk)
    context = {"form": form, "permission": can(check_may_audit, request.user)}
    return render(request, "evaluation/run_new.html", context, status=form.status)


def _requested(*, control: CohortVersion | None, **facts: Any) -> AuditRun:
    return request_audit(**facts, settings={"control": control.digest} if control else None)


def _progress_context(request: HouseRequest, run: AuditRun) -> dict[str, Any]:
    asked = int(request.GET["n"][:6]) if request.GET.get("n", "").isdecimal() else 0
    progress = selectors.progress_of(run)
    return {
        "run": run,
        "progress": progress,
        "events": history_of(run, progress.shards),
        "active": run.status in selectors.ACTIVE,
        "next_question": asked + 1,
        "wait_seconds": POLL_SECONDS[min(asked, len(POLL_SECONDS) - 1)],
        "may_steer": can(check_may_steer_run, request.user, run),
    }


@require_safe
@reads
def run_detail(request: HouseRequest, pk: int) -> HttpResponse:
    """One run: live progress until it is done, then what it found."""
    run = selectors.get_run(pk)
    prefetch_related_objects([run], "verdicts")  # which panels read too
    context = result_context(request, run) if run.status == "done" else _progress_context(request, run)
    context |= {
        "run": run,
        "panels": panels_for("run", request.user, run),
        "attempts": selectors.attempts_of(run) if run.tried_again else [run],  # type: ignore[attr-defined]
        "took": selectors.seconds_of(run),
    }
    return render(request, "evaluation/run.html", context)


@require_safe
@reads
def run_progress(request: HouseRequest, pk: int) -> HttpResponse:
    """The part that is asked for again and again. When the run has ended, the whole page is loaded instead."""
    run = selectors.get_run(pk)
    context = _progress_context(request, run)
    response = render(request, "evaluation/_progress.html", context)
    if not context["active"] and request.headers.get("HX-Request"):
        response["HX-Refresh"] = "true"
    return response


@require_POST
@reads
def run_cancel(request: HouseRequest, pk: int) -> HttpResponse:
    act = partial(cancel_run, run=selectors.get_run(pk), by=request.user)
    done = "The audit was cancelled. What was done is kept, and it can be resumed."
    return perform(request, act, done=done, back=reverse("audit", args=[pk]))


@require_POST
@reads
def run_resume(request: HouseRequest, pk: int) -> HttpResponse:
    act = partial(resume_run, run=selectors.get_run(pk), by=request.user)
    return perform(request, act, done="The audit goes on where it stopped.", back=reverse("audit", args=[pk]))
