"""Cohorts: the list, and the datasheet of one version."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from core.access import can
from core.pages.panels import panels_for
from core.pages.readers import HouseRequest, reads
from models_registry.access import check_may_import_cohort
from models_registry.pages.datasheet import datasheet_of
from models_registry.selectors import get_cohort_version, list_cohorts, open_imports


@require_safe
@reads
def cohort_list(request: HouseRequest) -> HttpResponse:
    context = {
        "cohorts": list_cohorts(),
        "imports": open_imports(),
        "may_import": can(check_may_import_cohort, request.user),
        "panels": panels_for("cohorts", request.user, None),
    }
    return render(request, "models_registry/cohorts.html", context)


@require_safe
@reads
def cohort_detail(request: HouseRequest, slug: str, pk: int | None = None) -> HttpResponse:
    version = get_cohort_version(slug, pk)
    context = {
        "version": version,
        "cohort": version.cohort,
        "sheet": datasheet_of(version.summary, n_studies=version.n_studies),
        "siblings": version.cohort.versions.order_by("-registered_at", "-pk"),
        "panels": panels_for("cohort", request.user, version),
    }
    return render(request, "models_registry/cohort.html", context)
