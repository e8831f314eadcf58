"""Orders of synthetic patients: a request, one order while it works and when it is done."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.access import can
from core.pages.forms import bind, perform
from core.pages.readers import HouseRequest, reads
from synthetic import selectors
from synthetic.models import Generation
from synthetic.pages.forms import PatientsForm, attempt_at, checked
from synthetic.pages.generators import POLL_SECONDS
from synthetic.services.generators import cancel_patients, check_may_order_patients, request_patients


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def patients_new(request: HouseRequest) -> HttpResponse:
    """The order: first checked, so that it is read in words who will be made; then sent."""
    form = bind(PatientsForm, request, version=request.GET.get("version"))
    said = ""
    if request.method == "POST" and form.is_valid():
        if request.POST.get("send") == checked(form):
            given = form.cleaned_data
            facts = {name: given[name] for name in ("version", "cohort_name", "seed")}
            job = attempt_at(form, lambda: request_patients(**facts, wish=form.wish(), by=request.user))
            if job is not None:
                return redirect("patients-order", pk=job.pk)
        else:
            said = form.in_words()
    context = {
        "form": form,
        "said": said,
        "checked": checked(form),
        "permission": can(check_may_order_patients, request.user),
        "nothing": not form.fields["version"].queryset.exists(),  # type: ignore[attr-defined]
    }
    return render(request, "synthetic/patients_new.html", context, status=form.status)


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
        "active": job.status in ("queued", "running"),
        "wait_seconds": POLL_SECONDS,
        "wish": selectors.wish_in_words(job.settings.get("wish", {})),
        "strata": selectors.strata_of(job.facts),
        "may_steer": can(check_may_order_patients, request.user),
    }
