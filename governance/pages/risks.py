"""The risk register: every risk with the matrix before and after, one risk with all its acts, and a new one."""

from __future__ import annotations

from functools import partial

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_safe

from core.access import can
from core.models import User
from core.pages.forms import attempt
from core.pages.readers import HouseRequest, reads, reads_within
from governance.access_risks import check_may_record_risk
from governance.models import Incident, Risk
from governance.pages.risk_filters import matrices, read_register
from governance.pages.risk_forms import RiskForm
from governance.pages.risk_room import Room
from governance.selectors import risks as selectors
from governance.selectors.incidents import get_incident
from governance.services.risks import record_risk
from models_registry.models import AISystem


@require_safe
@reads_within
def risk_list(request: HouseRequest) -> HttpResponse:
    register = read_register(request.GET)
    context = {
        "register": register,
        "listing": register.listing,
        "matrices": matrices(register),
        "nothing": not register.total and not Risk.objects.exists(),
        "may_record": can(check_may_record_risk, request.user),
    }
    return render(request, "governance/risks.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def risk_new(request: HouseRequest) -> HttpResponse:
    number = request.GET.get("incident", "")
    incident = get_incident(int(number)) if number.isdecimal() and len(number) < 18 else None
    form = RiskForm(request.POST or None, initial=_begun(incident) or {"system": request.GET.get("system")})
    form.name_people(selectors.people_to_name(), none="Nobody yet")
    risk = attempt(form, partial(_record, form=form, incident=incident, by=request.user))
    if risk:
        messages.success(
            request,
            gettext("Risk %(number)s is in the register. Until it is rated it counts as 4 by 4.")
            % {"number": risk.number},
        )
        return redirect("risk", pk=risk.pk)
    permission = can(check_may_record_risk, request.user)
    nothing = not AISystem.objects.exists()
    context = {"form": form, "permission": permission, "nothing": nothing, "incident": incident}
    return render(request, "governance/risk_new.html", context, status=form.status)


def _begun(incident: Incident | None) -> dict[str, str]:
    """What an incident tells of the risk that it showed. Whoever records the risk says it in its own words."""
    if incident is None:
        return {}
    told = {"title": incident.title, "cause": incident.root_cause, "harm": incident.description}
    return told | {"system": incident.system.slug}


def _record(
    *, form: RiskForm, incident: Incident | None, by: User, system: AISystem, owner: User | None, **_parts: str
) -> Risk:
    return record_risk(system=system, report=form.report(), owner=owner, incident=incident, by=by)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def risk_detail(request: HouseRequest, pk: int) -> HttpResponse:
    """One risk, and every act on it: the button that was pressed names the act, such as ``rate`` or ``verify-7``."""
    room = Room(selectors.risk_by_id(pk), request)
    form = None
    if request.method == "POST":
        form, done = room.act(request.POST.get("act", ""))
        if done:
            messages.success(request, done)
            return redirect("risk", pk=pk)
    status = form.status if form else 200
    return render(request, "governance/risk.html", room.context(form), status=status)
