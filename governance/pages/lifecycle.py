"""The ends of a version's life: a draft is submitted, a version is retired."""

from __future__ import annotations

from functools import partial

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from core.pages.forms import perform
from core.pages.readers import HouseRequest, reads
from governance.pages.decision_panels import RetireForm
from models_registry.selectors import get_version
from models_registry.services.versions import retire_version, submit_version


@require_POST
@reads
def version_submit(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    version = get_version(slug, pk)
    act = partial(submit_version, version=version, by=request.user)
    return perform(request, act, done="It is submitted and can be audited now.", back=_page(slug, pk))


@require_POST
@reads
def version_retire(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    """Out of use for good; a reason that is too short is named on the page of the version."""
    version, form = get_version(slug, pk), RetireForm(request.POST, prefix="retire")
    if not form.is_valid():
        messages.error(request, " ".join(line.message for line in form.error_lines))
        return redirect(_page(slug, pk))
    act = partial(retire_version, version=version, reason=form.cleaned_data["reason"], by=request.user)
    return perform(request, act, done="It is retired.", back=_page(slug, pk))


def _page(slug: str, pk: int) -> str:
    return reverse("version", args=[slug, pk])
