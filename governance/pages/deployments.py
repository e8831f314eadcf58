"""Where versions run: the list, one deployment, a new one, and the use of a version as a whole."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from core.access import can
from core.errors import AuscultError
from core.kept import kept
from core.pages.forms import HouseForm, attempt, bind
from core.pages.lists import Choice, Column, Listing, ListPlan, read_list
from core.pages.readers import HouseRequest, reads, reads_within
from core.pages.signing import SigningForm, ask_or_skip, attempt_signed
from governance.access_deployments import (
    check_may_acknowledge,
    check_may_deploy,
    check_may_lift,
    check_may_resume,
    check_may_suspend,
)
from governance.pages.deployment_forms import (
    AcknowledgeForm,
    DeployForm,
    EndForm,
    ResumeForm,
    RollBackForm,
    SuspendForm,
    VersionForm,
    one_of,
)
from governance.policies.findings import GateOutcome
from governance.selectors import deployments as selectors
from governance.selectors.approvals import USABLE, standing_approval
from governance.selectors.oversight import override_rates
from governance.services import deployments as services
from governance.services.starting import findings_of
from models_registry.models import Deployment, ModelVersion
from models_registry.selectors import get_version
from models_registry.services.suspensions import notice_of, reason_of
from models_registry.services.versions import model_store

PAGE_SIZE = 50
FORMS: dict[str, type[HouseForm]] = {
    "suspend": SuspendForm,
    "acknowledge": AcknowledgeForm,
    "resume": ResumeForm,
    "rollback": RollBackForm,
    "end": EndForm,
}
SERVICES: dict[str, Any] = {
    "suspend": services.suspend_deployment,
    "acknowledge": services.acknowledge_suspension,
    "resume": services.resume_deployment,
    "rollback": services.roll_back,
    "end": services.end_deployment,
}
DONE = {
    "suspend": "The deployment is suspended. Tell the site now: the notice stands below.",
    "acknowledge": "The confirmation of the site is recorded.",
    "resume": "The deployment runs again.",
    "rollback": "The former deployment is ended; this one took its place.",
    "end": "The deployment is ended.",
}

DEPLOYMENTS = ListPlan(
    columns=(
        Column(title=_("Site"), key="site", order=("site", "unit")),
        Column(title=_("Version"), key="version", order=("version__system__name", "version__label")),
        Column(title=_("Status"), key="status", order=("status",)),
        Column(title=_("Share"), key="share", order=("share",), down=True, numeric=True),
        Column(title=_("Since"), key="since", order=("started_at",), down=True),
        Column(title=_("Contact"), key="contact", order=("contact_name",)),
        Column(title=_("Overruled"), numeric=True),
        Column(title=_("Open incidents"), numeric=True),
        Column(title=_("Newest audit")),
    ),
    search=("site", "unit", "contact_name", "version__system__name", "version__label"),
    searched=_("Site, contact, system or version"),
    choices=(
        Choice(
            name="status", title=_("Status"), every=_("Any status"), field="status",
            options=tuple(Deployment.Status.choices),
        ),
    ),
    size=PAGE_SIZE,
)  # fmt: skip


@require_safe
@reads_within
def deployment_list(request: HouseRequest) -> HttpResponse:
    listing: Listing[Deployment] = read_list(request.GET, selectors.list_deployments(), DEPLOYMENTS)
    context = {
        "listing": listing,
        "rows": selectors.rows_of(listing.page),
        "may_deploy": can(check_may_deploy, request.user),
        "waiting": selectors.waiting_for_site().count(),
    }
    return render(request, "governance/deployments.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def deployment_detail(request: HouseRequest, pk: int) -> HttpResponse:
    """One deployment: what it started on, how it is overruled, what happened to it, and what can be done."""
    row = selectors.deployment_by_id(pk)
    forms = {name: one_of(form, name, request) for name, form in FORMS.items()}
    sent = forms.get(request.POST.get("act", ""))
    if sent is not None:
        made = _attempt(sent, request, partial(SERVICES[request.POST["act"]], deployment=row, by=request.user))
        if made is not None:
            messages.success(request, DONE[request.POST["act"]])
            return redirect("deployment", pk=made.pk)
        row = selectors.deployment_by_id(pk)
    context = _about(row) | _permissions(row, request) | {"forms": forms, "form": sent}
    return render(request, "governance/deployment.html", context, status=sent.status if sent else 200)


def _attempt(form: HouseForm, request: HouseRequest, act: Any) -> Any:
    return attempt_signed(form, request, act) if isinstance(form, SigningForm) else attempt(form, act)


def _about(row: Deployment) -> dict[str, Any]:
    known = selectors.sites_of(row.version.system)
    return {
        "deployment": row,
        "version": row.version,
        "line": kept("deployment_line", row.pk, make=lambda: selectors.rows_of([row])[0]),
        "site_unknown": bool(known) and row.site.casefold() not in {name.casefold() for name in known},
        "reason": reason_of(row),
        "notice": notice_of(row),
        "mail": selectors.mail_of(row),
        "gate": _gate_at_start(row),
        "history": selectors.history_of(row),
        "report": kept("override_rates", row.pk, make=lambda: override_rates(row)),
        "replaced_by": row.replaced_by.select_related("version__system").first(),
        "approval": kept("approval_if_lifted", row.version_id, make=lambda: selectors.approval_if_lifted(row.version)),
    }


def _permissions(row: Deployment, request: HouseRequest) -> dict[str, Any]:
    user = request.user
    return {
        "may_deploy": can(check_may_deploy, user),
        "may_suspend": can(check_may_suspend, user),
        "may_resume": can(check_may_resume, user, row),
        "may_acknowledge": can(check_may_acknowledge, user),
    }


def _gate_at_start(row: Deployment) -> dict[str, Any]:
    """What the gates found when it began, or why that cannot be read."""
    if not row.gate_digest:
        return {"problem": "No findings were kept when it began."}
    try:
        kept: dict[str, Any] = model_store().get_json(row.gate_digest)
    except AuscultError as error:
        return {"problem": f"{error.message} {error.remedy}"}
    return kept


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def deployment_new(request: HouseRequest) -> HttpResponse:
    """First the version, then what its gates say now, then where it is to run."""
    choice = VersionForm(request.GET) if request.GET.get("version") else VersionForm()
    version = choice.cleaned_data["version"] if choice.is_bound and choice.is_valid() else None
    form = ask_or_skip(bind(DeployForm, request), request)
    if version is not None and request.method == "POST":
        made = attempt_signed(form, request, partial(services.deploy, version=version, by=request.user))
        if made is not None:
            messages.success(
                request,
                gettext("%(version)s runs at %(site)s from now on.") % {"version": made.version, "site": made.site},
            )
            return redirect("deployment", pk=made.pk)
    context = {
        "choice": choice,
        "version": version,
        "form": form,
        "permission": can(check_may_deploy, request.user),
        "nothing": not choice.fields["version"].queryset.exists(),  # type: ignore[attr-defined]
    } | (_standing(version) if version else {})
    return render(request, "governance/deployment_new.html", context, status=form.status)


def _standing(version: ModelVersion) -> dict[str, Any]:
    found = kept("findings", version.pk, make=lambda: findings_of(version))
    return {
        "approval": kept("approval", version.pk, make=lambda: standing_approval(version)),
        "findings": found,
        "passes": all(item.outcome == GateOutcome.PASS for item in found),
        "held": selectors.list_deployments(system=version.system).filter(status__in=selectors.HELD),
        "sites": selectors.sites_of(version.system),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def version_use(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    """Where one version runs, and the two acts on all of it: suspend, and lift the suspension."""
    version = get_version(slug, pk)
    forms: dict[str, HouseForm] = {
        "suspend": one_of(SuspendForm, "suspend", request),
        "lift": one_of(ResumeForm, "lift", request),
    }
    acts: dict[str, Any] = {"suspend": services.suspend_version, "lift": services.lift_suspension}
    done = {
        "suspend": "The version is suspended everywhere. Tell the sites now: each deployment has its notice.",
        "lift": "The suspension is lifted. Its deployments are resumed one by one.",
    }
    name = request.POST.get("act", "")
    sent = forms.get(name)
    if sent is not None:
        if _attempt(sent, request, partial(acts[name], version=version, by=request.user)) is not None:
            messages.success(request, done[name])
            return redirect("version-use", slug=slug, pk=pk)
        version = get_version(slug, pk)
    context = {
        "version": version,
        "rows": selectors.rows_of(selectors.list_deployments(version=version)),
        "approval": kept("approval_if_lifted", version.pk, make=lambda: selectors.approval_if_lifted(version)),
        "usable": version.status in USABLE,
        "forms": forms,
        "form": sent,
        "may_suspend": can(check_may_suspend, request.user),
        "may_lift": can(check_may_lift, request.user, version),
        "may_deploy": can(check_may_deploy, request.user),
    }
    return render(request, "governance/deployment_version.html", context, status=sent.status if sent else 200)
