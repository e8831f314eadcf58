"""Systems: the list, one of them, a new one."""

from __future__ import annotations

from functools import partial

from django import forms
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from core.access import can
from core.pages.forms import HouseForm, attempt, bind
from core.pages.panels import panels_for
from core.pages.readers import HouseRequest, reads
from models_registry.access import check_may_create_system, check_may_register_version
from models_registry.models import SystemKind
from models_registry.selectors import get_system, list_systems
from models_registry.services.systems import create_system


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
@reads
def system_list(request: HouseRequest) -> HttpResponse:
    context = {"systems": list_systems(), "may_create": can(check_may_create_system, request.user)}
    return render(request, "models_registry/systems.html", context)


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
