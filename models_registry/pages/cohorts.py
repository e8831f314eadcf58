"""Cohorts: the list, the datasheet of one version, and what a cohort is to the models that are judged on it."""

from __future__ import annotations

from functools import partial

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from core.access import can
from core.pages.forms import HouseForm, attempt, bind
from core.pages.lists import Choice, Column, ListPlan, read_list
from core.pages.panels import panels_for
from core.pages.readers import HouseRequest, reads
from models_registry.access import check_may_import_cohort
from models_registry.models import CohortRole
from models_registry.pages.datasheet import datasheet_of
from models_registry.selectors import get_cohort_version, list_cohorts, open_imports
from models_registry.services.cohort_roles import MOST_SITE, assign_cohort_role, check_may_assign_role


class CohortRoleForm(HouseForm):
    role = forms.ChoiceField(
        choices=[("", "Choose one"), *CohortRole.choices],
        label="Role",
        help_text="A policy asks for evidence on cohorts with a role. A cohort that a version was trained on is never "
        "a test of that version, whatever stands here.",
        error_messages={"required": "Choose the role."},
    )
    site = forms.CharField(
        required=False,
        max_length=MOST_SITE,
        label="Site",
        help_text="The site that its patients come from, as deployments name it. Leave it empty for several sites.",
    )


COHORTS = ListPlan(
    columns=(
        Column(title="Cohort", key="name", order=("name",)),
        Column(title="Patients are", key="patients", order=("simulated", "name")),
        Column(title="Role", key="role", order=("role", "site")),
        Column(title="Studies", key="studies", order=("n_studies",), down=True, numeric=True),
        Column(title="Patients", key="size", order=("n_patients",), down=True, numeric=True),
        Column(title="Versions", key="versions", order=("n_versions",), down=True, numeric=True),
        Column(title="Registered", key="registered", order=("registered_at",), down=True),
    ),
    sort="name",
    search=("name", "description", "source", "site"),
    searched="Name, source or site",
    choices=(
        Choice(
            name="patients", title="Patients are", every="Real or simulated", options=(("real", "Real"),
            ("simulated", "Simulated")), keep=lambda rows, asked: rows.filter(simulated=asked == "simulated"),
        ),
        Choice(
            name="role", title="Role", every="In any role", field="role",
            options=tuple((str(role.value), str(role.label)) for role in CohortRole),
        ),
    ),
)  # fmt: skip


@require_safe
@reads
def cohort_list(request: HouseRequest) -> HttpResponse:
    context = {
        "listing": read_list(request.GET, list_cohorts(), COHORTS),
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
        "may_assign": can(check_may_assign_role, request.user, version.cohort),
    }
    return render(request, "models_registry/cohort.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def cohort_role(request: HouseRequest, slug: str) -> HttpResponse:
    cohort = get_cohort_version(slug).cohort
    form = bind(CohortRoleForm, request, role=cohort.role, site=cohort.site)
    if attempt(form, partial(assign_cohort_role, cohort=cohort, by=request.user)):
        messages.success(request, "The role is entered. Policies ask for it from now on.")
        return redirect("cohort", slug=slug)
    context = {"cohort": cohort, "form": form, "permission": can(check_may_assign_role, request.user, cohort)}
    return render(request, "models_registry/cohort_role.html", context, status=form.status)
