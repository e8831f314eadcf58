"""Systems: the list, one of them, a new one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django import forms
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from core.access import can
from core.models import User
from core.pages.columns import Cell, PageColumn, cells_for, columns_of, page_column
from core.pages.forms import HouseForm, attempt, bind
from core.pages.lists import Choice, Column, Listing, ListPlan, Order, read_list
from core.pages.panels import panels_for
from core.pages.readers import HouseRequest, reads, reads_within
from models_registry.access import check_may_create_system, check_may_register_version
from models_registry.models import AISystem, Deployment, SystemKind, VersionStatus
from models_registry.selectors import deployments_in_use, get_system, list_systems
from models_registry.services.systems import create_system

NO_VERSION = "none"
STATES = (*((str(state.value), str(state.label)) for state in VersionStatus), (NO_VERSION, "No version yet"))
KINDS = tuple((str(kind.value), str(kind.label)) for kind in SystemKind)
USES = (("yes", "Runs somewhere"), ("no", "Runs nowhere"))
SITES_SHOWN = 3


class KindField(forms.ChoiceField):
    """Chosen beforehand, so that nobody has to think about backbones who registers none."""

    def clean(self, value: str | None) -> str:
        return str(super().clean(value or SystemKind.SYSTEM))


class SystemForm(HouseForm):
    name = forms.CharField(max_length=200)
    provider = forms.CharField(max_length=200, required=False, help_text="Who places it on the market or built it.")
    intended_purpose = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="What it is for, on whom, used by whom. The technical documentation quotes it.",
    )
    kind = KindField(
        choices=SystemKind.choices,
        initial=SystemKind.SYSTEM,
        label="What it is",
        help_text="A backbone is a general model that other systems put a light head on. When its weights change, the "
        "approvals of what is built on it are void.",
    )
    risk_class = forms.CharField(
        max_length=200, required=False, help_text="For example: MDR class IIa; high-risk by Art. 6(1) AI Act."
    )


@require_safe
@reads_within
def system_list(request: HouseRequest) -> HttpResponse:
    """The portfolio: a row a system, with what every floor says of it in a column."""
    added = columns_of("systems")
    listing: Listing[AISystem] = read_list(request.GET, list_systems(), _plan(added))
    systems = list(listing.page)
    cells = cells_for(added, request.user, systems)
    context = {
        "listing": listing,
        "rows": [{"system": system, "cells": cells[system.pk]} for system in systems],
        "may_create": can(check_may_create_system, request.user),
    }
    return render(request, "models_registry/systems.html", context)


def _plan(added: Sequence[PageColumn]) -> ListPlan:
    return ListPlan(
        columns=(
            Column(title="System", key="name", order=("name",)),
            Column(title="Version", key="version", order=("latest_status", "name")),
            *(column.head for column in added),
        ),
        sort="name",
        search=("name", "provider", "intended_purpose", "risk_class"),
        searched="Name, provider or purpose",
        choices=(
            Choice(name="status", title="Newest version is", every="In any state", keep=_in_state, options=STATES),
            Choice(name="kind", title="What it is", every="Anything", field="kind", options=KINDS),
            Choice(name="use", title="In use", every="In use or not", keep=_in_use, options=USES),
        ),
    )


def _in_state(rows: QuerySet[AISystem], state: str) -> QuerySet[AISystem]:
    wanted = {"latest_status": None if state == NO_VERSION else state}  # of the list alone, no field of a system
    return rows.filter(**wanted)


def _running() -> QuerySet[Deployment]:
    return Deployment.objects.filter(version__system=OuterRef("pk")).exclude(status=Deployment.Status.ENDED)


def _in_use(rows: QuerySet[AISystem], use: str) -> QuerySet[AISystem]:
    return rows.filter(Exists(_running())) if use == "yes" else rows.exclude(Exists(_running()))


def _by_use() -> tuple[Order, ...]:
    counted = _running().order_by().values("version__system").annotate(n=Count("pk")).values("n")
    return (Coalesce(Subquery(counted), 0),)


@page_column("systems", key="use", title="In use", rank=60, order=_by_use, down=True)
def sites_in_use(user: User, systems: Sequence[AISystem]) -> dict[int, Cell]:
    """Where versions of a system run."""
    found = deployments_in_use(system.pk for system in systems)
    return {
        key: Cell(
            template="models_registry/_cell_use.html",
            context={"n": len(rows), "sites": sorted({row.site for row in rows}), "shown": SITES_SHOWN},
        )
        for key, rows in found.items()
    }


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def system_new(request: HouseRequest) -> HttpResponse:
    form = bind(SystemForm, request)
    system = attempt(form, partial(create_system, by=request.user))
    if system:
        return redirect("system", slug=system.slug)
    context = {"form": form, "permission": can(check_may_create_system, request.user)}
    return render(request, "models_registry/system_new.html", context, status=form.status)


@require_safe
@reads
def system_detail(request: HouseRequest, slug: str) -> HttpResponse:
    """The system with its versions, and what higher floors add."""
    system = get_system(slug)
    context = {
        "system": system,
        "may_register": can(check_may_register_version, request.user),
        "panels": panels_for("system", request.user, system),
    }
    return render(request, "models_registry/system.html", context)
