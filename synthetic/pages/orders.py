"""Orders of synthetic patients: a request, one order while it works and when it is done."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.access import can
from core.errors import AuscultError
from core.pages.forms import perform
from core.pages.readers import HouseRequest, reads
from core.pages.steps import Steps
from synthetic import selectors
from synthetic.models import Generation
from synthetic.pages.forms_patients import PATIENTS_STEPS, in_words, wish_of
from synthetic.pages.generators import POLL_SECONDS
from synthetic.services.gallery import check_may_see_gallery
from synthetic.services.generators import (
    cancel_patients,
    check_may_order_patients,
    check_order,
    request_patients,
)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def patients_new(request: HouseRequest) -> HttpResponse:
    """The order, step by step; at the end it is read in words who will be made, and sent."""
    steps = Steps(PATIENTS_STEPS, request, version=request.GET.get("version"))
    if steps.complete:
        facts = {name: steps.answers[name] for name in ("version", "cohort_name", "seed")}
        try:
            check_order(facts["version"], wish_of(steps.answers))
            if steps.to_send:
                job = request_patients(**facts, wish=wish_of(steps.answers), by=request.user)
                return redirect("patients-order", pk=job.pk)
        except AuscultError as error:
            steps.refuse(error)
    context = {
        "steps": steps,
        "form": steps.form,
        "said": in_words(wish_of(steps.answers)) if steps.complete else "",
        "permission": can(check_may_order_patients, request.user),
        "nothing": not selectors.generators().exists(),
    }
    return render(request, "synthetic/patients_new.html", context, status=steps.status)


@require_safe
@reads
def order_detail(request: HouseRequest, pk: int) -> HttpResponse:
    return render(request, "synthetic/order.html", _context(request, selectors.order_by_id(pk)))


@require_safe
@reads
def order_progress(request: HouseRequest, pk: int) -> HttpResponse:
    """The part that is asked for again and again. When the order has ended, the whole page is loaded instead."""
    context = _context(request, selectors.order_by_id(pk))
    response = render(request, "synthetic/_order_progress.html", context)
    if not context["active"] and request.headers.get("HX-Request"):
        response["HX-Refresh"] = "true"
    return response


@require_POST
@reads
def order_cancel(request: HouseRequest, pk: int) -> HttpResponse:
    act = partial(cancel_patients, job=selectors.order_by_id(pk), by=request.user)
    done = "The order is cancelled. Nothing of it is kept."
    return perform(request, act, done=done, back=reverse("patients-order", args=[pk]))


def _context(request: HouseRequest, job: Generation) -> dict[str, Any]:
    return {
        "job": job,
        "may_look": can(check_may_see_gallery, request.user, job),
        "active": job.status in ("queued", "running"),
        "wait_seconds": POLL_SECONDS,
        "wish": selectors.wish_in_words(job.settings.get("wish", {})),
        "also": [(more["patients"], selectors.wish_in_words(more)) for more in job.settings.get("also", [])],
        "strata": selectors.strata_of(job.facts),
        "may_steer": can(check_may_order_patients, request.user),
    }
