"""Human oversight: the measures of each system by limb of Art. 14(4), and how often its outputs are overruled."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from core.access import can, holders_of
from core.kept import kept
from core.models import User
from core.pages.forms import HouseForm, attempt, bind
from core.pages.lists import Choice, Column, ListPlan, read_list
from core.pages.readers import HouseRequest, reads, reads_within
from governance.access_oversight import (
    INSIDERS,
    check_may_end_measure,
    check_may_record_measure,
    check_may_report_overrides,
    check_may_verify_measure,
)
from governance.models import Override, OversightMeasure
from governance.pages.deployment_forms import one_of, reason_field
from governance.selectors import deployments, oversight
from governance.services import oversight as services
from governance.services.overrides import OverrideItem, Recorded, record_overrides, stopped_at
from governance.standing.coarse import SEXES
from models_registry.models import AISystem, Deployment
from models_registry.selectors import get_system

PAGE_SIZE = 50
OVERRIDES = ListPlan(
    columns=(
        Column(title=_("When"), key="when", order=("happened_at",), down=True),
        Column(title=_("What the clinician did"), key="action", order=("action",)),
        Column(title=_("Why"), key="reason", order=("reason",)),
        Column(title=_("Finding"), key="finding", order=("label",)),
        Column(title=_("Function"), key="function", order=("role",)),
    ),
    search=("label", "role"),
    searched=_("Finding or function"),
    choices=(
        Choice(name="action", title=_("What was done"), every=_("Anything"), field="action",
               options=tuple(Override.Action.choices)),
        Choice(name="reason", title=_("Why"), every=_("Any reason"), field="reason",
               options=tuple(Override.Reason.choices)),
    ),
    size=PAGE_SIZE,
    anchor="records",
)  # fmt: skip
BANDS = ("<18", "18-39", "40-59", "60-79", ">=80")


CHOOSE = ("", "Choose one")


class MeasureForm(HouseForm):
    limb = forms.ChoiceField(choices=[CHOOSE, *OversightMeasure.Limb.choices], label="What it lets people do")
    kind = forms.ChoiceField(choices=[CHOOSE, *OversightMeasure.Kind.choices], label="By whom")
    text = forms.CharField(
        label="Measure",
        widget=forms.Textarea(attrs={"rows": 4}),
        min_length=20,
        max_length=4000,
        help_text="So that somebody else can tell whether it is done. At least 20 characters.",
        error_messages={"min_length": "Describe it in at least 20 characters.", "required": "Describe the measure."},
    )
    role = forms.CharField(label="Who carries it out", max_length=200, help_text="A function, such as radiologist.")
    moment = forms.CharField(label="When", max_length=200, help_text="Before, while or after the output is used.")
    site = forms.CharField(label="Site", max_length=200, required=False, help_text="Empty: at every site.")
    responsible = forms.ModelChoiceField(
        queryset=User.objects.none(), label="Who answers for it", empty_label="Choose one"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["responsible"]
        field.queryset = holders_of(*INSIDERS)


class VerifyForm(HouseForm):
    verification = reason_field("What was looked at, where and how. At least 20 characters.", label="What was checked")
    verified_on = forms.DateField(
        label="On which day", widget=forms.DateInput(attrs={"type": "date"}), initial=timezone.localdate
    )


class EndMeasureForm(HouseForm):
    reason = reason_field("Why it does not hold any more. At least 20 characters.")


class OverrideForm(HouseForm):
    """One override by hand. It asks for no identifier: a case that is reported twice by hand counts twice."""

    happened_at = forms.DateTimeField(
        label="When",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text=format_lazy(_("Time zone: {zone}."), zone=settings.TIME_ZONE),
    )
    action = forms.ChoiceField(choices=[CHOOSE, *Override.Action.choices], label="What the clinician did")
    reason = forms.ChoiceField(choices=[CHOOSE, *Override.Reason.choices], label="Why")
    label = forms.CharField(label="Which finding", max_length=120, required=False)
    sex = forms.ChoiceField(choices=[("", "Not stated"), *((sex, sex) for sex in SEXES)], required=False)
    age_band = forms.ChoiceField(
        choices=[("", "Not stated"), *((band, band) for band in BANDS)], label="Age band", required=False
    )
    role = forms.CharField(
        label="Function of the clinician", max_length=80, required=False, help_text="Such as radiologist; no name."
    )
    key = forms.CharField(widget=forms.HiddenInput)

    def describe(self, deployment: Deployment) -> None:
        """Offer the labels that the version declares, and the further attributes that this installation allows."""
        labels = [str(name) for name in deployment.version.config.get("labels") or ()]
        if labels:
            choices = [("", "Not stated"), *((name, name) for name in labels)]
            self.fields["label"] = forms.ChoiceField(label="Which finding", choices=choices, required=False)
        for name in settings.AUSCULT_GROUP_ATTRIBUTES:
            field = forms.CharField(label=name.replace("_", " ").capitalize(), max_length=40, required=False)
            self.fields[f"group_{name}"] = field
        self.order_fields(["happened_at", "action", "reason", "label"])


@require_safe
@reads_within
def oversight_list(request: HouseRequest) -> HttpResponse:
    return render(request, "governance/oversight.html", {"rows": oversight.systems_overseen()})


def _measures(system: AISystem) -> tuple[list[OversightMeasure], list[OversightMeasure]]:
    """Those that hold, and those that ended."""
    return list(oversight.measures_of(system)), list(oversight.ended_measures(system))


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def oversight_system(request: HouseRequest, slug: str) -> HttpResponse:
    """The five limbs with their measures, the rate of each site, and the form that records a measure."""
    system, form = get_system(slug), bind(MeasureForm, request)
    if attempt(form, partial(services.record_measure, system=system, by=request.user)):
        messages.success(request, "The measure is recorded. It counts once somebody else has verified it.")
        return redirect("oversight-system", slug=slug)
    measures, ended = kept("measures", system.pk, make=partial(_measures, system))
    context = {
        "system": system,
        "limbs": oversight.limbs_of(measures),
        "missing": [row for row in oversight.limbs_of(measures) if row.missing],
        "ended": ended,
        "sites": kept("rates_by_site", system.pk, make=lambda: oversight.rates_by_site(system)),
        "deployments": deployments.list_deployments(system=system),
        "may_record": can(check_may_record_measure, request.user),
        "form": form,
    }
    return render(request, "governance/oversight_system.html", context, status=form.status)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def measure_detail(request: HouseRequest, pk: int) -> HttpResponse:
    measure = oversight.measure_by_id(pk)
    given: dict[str, HouseForm] = {
        "verify": one_of(VerifyForm, "verify", request),
        "end": one_of(EndMeasureForm, "end", request),
    }
    acts: dict[str, Any] = {"verify": services.verify_measure, "end": services.end_measure}
    name = request.POST.get("act", "")
    sent = given.get(name)
    if sent is not None and attempt(sent, partial(acts[name], measure=measure, by=request.user)):
        messages.success(request, "The measure is verified." if name == "verify" else "The measure is ended.")
        return redirect("oversight-measure", pk=pk)
    context = {
        "measure": measure,
        "forms": given,
        "form": sent,
        "may_verify": can(check_may_verify_measure, request.user, measure),
        "may_end": can(check_may_end_measure, request.user, measure),
    }
    return render(request, "governance/oversight_measure.html", context, status=sent.status if sent else 200)


@require_safe
@reads
def override_register(request: HouseRequest, pk: int) -> HttpResponse:
    """How often, by which group, why, and since when the outputs at one deployment are overruled."""
    deployment = deployments.deployment_by_id(pk)
    listed = deployment.overrides.only("happened_at", "action", "reason", "label", "role", "deployment")
    context = {
        "deployment": deployment,
        "report": kept("override_rates", pk, make=lambda: oversight.override_rates(deployment)),
        "listing": read_list(request.GET, listed, OVERRIDES),
        "may_report": can(check_may_report_overrides, request.user),
    }
    return render(request, "governance/overrides.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def override_new(request: HouseRequest, pk: int) -> HttpResponse:
    deployment = deployments.deployment_by_id(pk)
    now = timezone.localtime()
    form = bind(OverrideForm, request, happened_at=now.replace(second=0), key=now.strftime("form-%Y%m%d%H%M%S.%f"))
    form.describe(deployment)
    found = attempt(form, partial(_record, deployment=deployment, by=request.user))
    if found:
        messages.success(request, "The override is recorded." if found.new else "This override was recorded before.")
        return redirect("overrides", pk=pk)
    context = {
        "deployment": deployment,
        "form": form,
        "permission": can(check_may_report_overrides, request.user),
        "stopped": stopped_at(deployment),
    }
    return render(request, "governance/override_new.html", context, status=form.status)


def _record(*, deployment: Deployment, by: User, **given: Any) -> Recorded:
    """One override from the form: what was left open is not in the group. The form counts in minutes, and the minute
    in which the deployment began belongs to it."""
    group = {name: given.pop(name) for name in ("sex", "age_band")}
    group |= {name.removeprefix("group_"): given.pop(name) for name in list(given) if name.startswith("group_")}
    minute = given.pop("happened_at")
    if minute < deployment.started_at < minute + timedelta(minutes=1):
        minute = deployment.started_at
    item = OverrideItem(
        happened_at=minute,
        group={name: value for name, value in group.items() if value},
        **given | {"key": f"{by.pk}:{given['key']}"},
    )
    return record_overrides(deployment=deployment, items=[item], by=by)
