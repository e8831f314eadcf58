"""Generators: the list, an order, one training while it works and when it is done."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.access import can
from core.errors import AuscultError
from core.pages.forms import perform
from core.pages.readers import HouseRequest, reads
from core.pages.session import theme_of
from core.pages.steps import Steps
from evaluation.chart_words import for_reader
from evaluation.pages.pictures import asked_theme, drawn_once, picture, themes_of
from models_registry.access import check_may_train
from models_registry.models import JobStatus
from synthetic import selectors, selectors_training
from synthetic.models import GeneratorTraining
from synthetic.pages.forms_generator import GENERATOR_STEPS, generator_settings
from synthetic.selectors_repairs import list_repairs
from synthetic.services.generators import (
    cancel_generator,
    check_may_order_patients,
    request_generator,
    resume_generator,
)

POLL_SECONDS = 4
MOST_REPAIRS = 20


@require_safe
@reads
def overview(request: HouseRequest) -> HttpResponse:
    context = {
        "generators": selectors.generators_with_cohorts(),
        "trainings": selectors.open_trainings(),
        "orders": selectors.open_orders(),
        "made": selectors.made_cohorts(),
        "repairs": list_repairs()[:MOST_REPAIRS],
        "may_train": can(check_may_train, request.user),
        "may_order": can(check_may_order_patients, request.user),
    }
    return render(request, "synthetic/overview.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def generator_new(request: HouseRequest) -> HttpResponse:
    """The order, step by step; at the end it is seen what will be learnt, and sent."""
    steps = Steps(GENERATOR_STEPS, request, cohort=request.GET.get("cohort"))
    if steps.to_send:
        facts = {name: steps.answers[name] for name in ("system", "version_label", "cohort")}
        try:
            job = request_generator(**facts, settings=generator_settings(steps.said), by=request.user)
        except AuscultError as error:
            steps.refuse(error)
        else:
            return redirect("generator-training", pk=job.pk)
    context = {
        "steps": steps,
        "form": steps.form,
        "plan": _plan(steps.answers) if steps.complete else {},
        "permission": can(check_may_train, request.user),
    }
    return render(request, "synthetic/generator_new.html", context, status=steps.status)


def _plan(answers: dict[str, Any]) -> dict[str, Any]:
    return selectors.plan_of(answers["cohort"], private=answers["privacy"] is not None)


@require_safe
@reads
def training_detail(request: HouseRequest, pk: int) -> HttpResponse:
    job = selectors.training_by_id(pk)
    return render(request, "synthetic/training.html", _context(request, job))


@require_safe
@reads
def training_progress(request: HouseRequest, pk: int) -> HttpResponse:
    """The part that is asked for again and again. When the training has ended, the whole page is loaded instead."""
    job = selectors.training_by_id(pk)
    context = _context(request, job)
    response = render(request, "synthetic/_training_progress.html", context)
    if not context["active"] and request.headers.get("HX-Request"):
        response["HX-Refresh"] = "true"
    return response


@require_safe
@reads
def training_curve(request: HouseRequest, pk: int, curve: str) -> HttpResponse:
    """One curve as a picture."""
    from evaluation.charts.curves import plan_curve

    job, theme = selectors.training_by_id(pk), asked_theme(request)
    if curve not in job.curves:
        raise Http404
    points = job.curves[curve]
    if job.status != JobStatus.DONE:  # a curve that still grows is drawn again each time, and kept nowhere
        return picture(for_reader(plan_curve(curve, points)).draw(theme).svg, request)
    return picture(drawn_once("curve", theme, [curve, points], lambda: plan_curve(curve, points)), request)


@require_POST
@reads
def training_cancel(request: HouseRequest, pk: int) -> HttpResponse:
    act = partial(cancel_generator, job=selectors.training_by_id(pk), by=request.user)
    done = "The training is cancelled. What is finished is kept, and it can be resumed."
    return perform(request, act, done=done, back=reverse("generator-training", args=[pk]))


@require_POST
@reads
def training_resume(request: HouseRequest, pk: int) -> HttpResponse:
    act = partial(resume_generator, job=selectors.training_by_id(pk), by=request.user)
    done = "The training goes on with the parts that are not finished."
    return perform(request, act, done=done, back=reverse("generator-training", args=[pk]))


def _context(request: HouseRequest, job: GeneratorTraining) -> dict[str, Any]:
    from evaluation.charts.curves import plan_curve

    return {
        "job": job,
        "active": job.status in ("queued", "running"),
        "wait_seconds": POLL_SECONDS,
        "curves": [
            {"name": name, "points": len(points), "plan": for_reader(plan_curve(name, points))}
            for name, points in sorted(job.curves.items())
            if points
        ],
        "chart_themes": themes_of(theme_of(request)),
        "may_steer": can(check_may_train, request.user),
        "may_order": can(check_may_order_patients, request.user),
        "left": selectors_training.time_left(job, timezone.now()),
        "facts": selectors_training.facts_in_words(job.facts),
        "gates": selectors_training.gates_of(job.facts),
        "readers": selectors_training.readers_of(job.facts),
        "critic": selectors_training.critic_of(job.facts),
    }
