"""Repairs: an order at a failed finding, one repair while it works, and the comparison at its end."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.access import can
from core.errors import NotFoundError
from core.pages.forms import HouseForm, attempt, bind, perform
from core.pages.readers import HouseRequest, reads
from evaluation.access import check_may_request_audit
from evaluation.models import AuditRun
from evaluation.selectors import get_run
from models_registry.models import JobStatus, ModelVersion
from synthetic import selectors_repairs as selectors
from synthetic.models import Repair, RepairStatus
from synthetic.pages.generators import POLL_SECONDS
from synthetic.pages.repair_panel import may_order
from synthetic.repairing.wishes import LEAST_PATIENTS
from synthetic.selectors import wish_in_words
from synthetic.services.repairs import (
    cancel_repair,
    check_may_repair,
    request_repair,
    resume_repair,
    start_audit,
    wishes_of,
)

PATIENTS = 400
WORDS = {"improved": "Improved", "not_shown": "Not shown to improve", "worse": "Worse"}
TONES = {"improved": "pass", "not_shown": "insufficient", "worse": "fail"}
SHOWN = 8
"""Rates that became worse on the page itself, those that changed most; the others are folded away."""
STEPS = (RepairStatus.MAKING, RepairStatus.TRAINING, RepairStatus.AUDITING, RepairStatus.COMPARED)


class RepairForm(HouseForm):
    group = forms.ChoiceField(help_text="Whom patients are made for; the one that is served worse stands first.")
    generator: Any = forms.ModelChoiceField(
        queryset=ModelVersion.objects.none(),
        empty_label="Choose a generator",
        help_text="Those that learnt from the cohort of the model's own training.",
    )
    patients = forms.IntegerField(
        min_value=LEAST_PATIENTS,
        max_value=1_000_000,
        label="Patients to make",
        help_text="Where a finding is missed more often in the group: half with the finding, half without.",
    )
    version_label = forms.CharField(max_length=80, label="Label of the new version")
    seed = forms.IntegerField(min_value=0, max_value=2**32 - 1)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def repair_new(request: HouseRequest, run_pk: int, position: int) -> HttpResponse:
    """The order of a repair, at one failed verdict."""
    run = get_run(run_pk)
    finding = _finding(run, position)
    source = selectors.training_of(run.version)
    form = bind(RepairForm, request, patients=PATIENTS, seed=0)
    form.fields["group"].choices = [(name, name) for name in finding.groups]  # type: ignore[attr-defined]
    if source is not None:
        form.fields["generator"].queryset = selectors.generators_from(source.cohort)  # type: ignore[attr-defined]
    facts: dict[str, Any] = {"run": run, "label": finding.label, "attribute": finding.attribute, "by": request.user}
    repair = attempt(form, partial(request_repair, **facts, criterion=finding.verdict.criterion))
    if repair:
        return redirect("repair", pk=repair.pk)
    context = {
        "form": form,
        "run": run,
        "finding": finding,
        "source": source,
        "permission": may_order(request.user, run),
    }
    return render(request, "synthetic/repair_new.html", context, status=form.status)


def _finding(run: AuditRun, position: int) -> selectors.Finding:
    for item in selectors.findings_of(run):
        if item.verdict.position == position:
            return item
    raise NotFoundError(
        "There is nothing to repair at this verdict: it did not fail, or compares no decisions between groups.",
        remedy="Choose a failed finding of fairness on the page of the audit.",
    )


@require_safe
@reads
def repair_detail(request: HouseRequest, pk: int) -> HttpResponse:
    return render(request, "synthetic/repair.html", _context(request, selectors.repair_by_id(pk)))


@require_safe
@reads
def repair_progress(request: HouseRequest, pk: int) -> HttpResponse:
    """The part that is asked for again and again. When a step has ended, the whole page is loaded instead."""
    repair = selectors.repair_by_id(pk)
    response = render(request, "synthetic/_repair_progress.html", _context(request, repair))
    moved = request.GET.get("step") not in (None, _step(repair))
    if moved and request.headers.get("HX-Request"):
        response["HX-Refresh"] = "true"
    return response


@require_POST
@reads
def repair_cancel(request: HouseRequest, pk: int) -> HttpResponse:
    act = partial(cancel_repair, repair=selectors.repair_by_id(pk), by=request.user)
    done = "The repair is cancelled. What is done is kept, and it can be resumed."
    return perform(request, act, done=done, back=reverse("repair", args=[pk]))


@require_POST
@reads
def repair_resume(request: HouseRequest, pk: int) -> HttpResponse:
    label = request.POST.get("version_label", "")
    act = partial(resume_repair, repair=selectors.repair_by_id(pk), version_label=label, by=request.user)
    return perform(request, act, done="The repair goes on where it stopped.", back=reverse("repair", args=[pk]))


@require_POST
@reads
def repair_audit(request: HouseRequest, pk: int) -> HttpResponse:
    act = partial(start_audit, repair=selectors.repair_by_id(pk), by=request.user)
    done = "The audit is requested. When it is done, both versions are compared."
    return perform(request, act, done=done, back=reverse("repair", args=[pk]))


def _step(repair: Repair) -> str:
    """What the page shows: the step, and whether its audit has begun."""
    return f"{repair.status}{'-begun' if repair.audit_id else ''}"


def _context(request: HouseRequest, repair: Repair) -> dict[str, Any]:
    version = repair.training.result if repair.training else None
    waits = repair.status == RepairStatus.AUDITING and repair.audit is None and version is not None
    worse = sorted(repair.comparison.get("worse", []), key=lambda row: -abs(row["value"]))
    return {
        "repair": repair,
        "version": version,
        "step": _step(repair),
        "active": repair.status in selectors.OPEN,
        "wait_seconds": POLL_SECONDS,
        "steps": _steps(repair),
        "wishes": [(wish["patients"], wish_in_words(wish)) for wish in wishes_of(repair)],
        "waits": waits,
        "may_audit": can(check_may_request_audit, request.user, version=version, protocol=repair.run.protocol)
        if waits
        else None,
        "may_steer": can(check_may_repair, request.user),
        "found": repair.comparison,
        "answer": _answer(repair.comparison),
        "by_chance": f"{_by_chance(repair.comparison):.1f}",
        "level": f"{100 * repair.comparison.get('level', 0):g} %",
        "worst": worse[:SHOWN],
        "further": worse[SHOWN:],
    }


def _answer(found: dict[str, Any]) -> dict[str, str]:
    """What became of the gap, in a word. An improvement that others pay for is not told as one."""
    answer = found.get("answer", "")
    if found.get("levelled_down"):
        return {"word": "Smaller, because others are served worse", "tone": "fail"}
    if answer == "improved" and (found["fallen"] or len(found["worse"]) > _by_chance(found)):
        return {"word": "Improved, with harm elsewhere", "tone": "insufficient"}
    return {"word": WORDS.get(answer, ""), "tone": TONES.get(answer, "")}


def _by_chance(found: dict[str, Any]) -> float:
    """How many rates would look worse by chance alone if nothing had changed."""
    return float(found.get("looked_at", 0) * (1 - found.get("level", 1)) / 2)


def _steps(repair: Repair) -> list[dict[str, Any]]:
    """The steps in their order: done, under way, or to come; with what is worked on and how far it is."""
    jobs = {RepairStatus.MAKING: repair.generation, RepairStatus.TRAINING: repair.training}
    now = repair.stopped_in or repair.status
    place = STEPS.index(RepairStatus(now))
    rows = []
    for number, step in enumerate(STEPS):
        job: Any = jobs.get(step)
        state = "done" if number < place or repair.status == RepairStatus.COMPARED else "to come"
        if number == place and repair.status != RepairStatus.COMPARED:
            waits = step == RepairStatus.AUDITING and repair.audit is None
            state = repair.status if repair.stopped_in else "waiting" if waits else "running"
        running = state == "running" and job is not None and job.status in (JobStatus.QUEUED, JobStatus.RUNNING)
        rows.append({"title": step.label, "state": state, "job": job if running else None})
    return rows
