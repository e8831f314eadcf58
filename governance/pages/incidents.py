"""Incidents: the list with its countdowns, a new one, and one of them with its clocks and its history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from core.access import can, roles_of
from core.models import INSIDERS, Role, User
from core.pages.forms import attempt, bind
from core.pages.lists import Choice, Column, Listing, ListPlan, read_list
from core.pages.panels import Panel, QueueItem, panel, queue_source
from core.pages.readers import HouseRequest, reads, reads_within
from governance.access import check_may_state
from governance.access_incidents import (
    KEEPERS,
    check_may_assign,
    check_may_explain,
    check_may_keep,
    check_may_report,
)
from governance.access_risks import check_may_record_risk
from governance.models import Incident
from governance.pages.incident_forms import IncidentForm, NoteForm, attempt_fields, bind_made, known_zone, typed
from governance.questions import question
from governance.requirements import load_requirements
from governance.selectors import incidents as selectors
from governance.selectors.incidents import ClockLine, IncidentDetail, zone_of_reader
from governance.selectors.risks import risk_of_incident
from governance.services.incident_intake import MOMENTS
from governance.services.incidents import IncidentReport, add_note, record_incident
from governance.standing.incident_clocks import moment_words
from models_registry.models import AISystem

PAGE_SIZE = 25
HISTORY_SIZE = 30
ON_PANEL = 5
STATES = (("unclosed", _("Not closed")), ("open", _("Open")), ("investigating", _("Under investigation")),
          ("closed", _("Closed")), ("all", _("All")))  # fmt: skip
INCIDENTS = ListPlan(
    columns=(
        Column(title=_("Incident"), key="number", order=("number",), down=True),
        Column(title=_("System"), key="system", order=("system__name", "version__label")),
        Column(title=_("State"), key="state", order=("status",)),
        Column(title=_("Next report")),
        Column(title=_("Time left"), key="left", order=("next_due",)),
        Column(title=_("Due")),
        Column(title=_("Owner"), key="owner", order=("owner__last_name", "owner__username")),
    ),
    search=("number", "title", "description", "site"),
    searched=_("Words or number"),
    size=PAGE_SIZE,
)


@require_safe
@reads_within
def incident_list(request: HouseRequest) -> HttpResponse:
    """What is overdue on top; the table asks for itself again every minute."""
    listing: Listing[Incident] = read_list(request.GET, selectors.list_incidents(state="all"), _plan())
    context = {
        "listing": listing,
        "lines": selectors.incident_lines(listing.page, user=request.user),
        "some": bool(listing.page.object_list) or Incident.objects.exists(),
        "may_report": can(check_may_report, request.user),
    }
    return render(request, "governance/incidents.html", context)


def _plan() -> ListPlan:
    state = Choice(name="state", title=_("State"), options=STATES, usual="unclosed", keep=selectors.in_state)
    systems = tuple(AISystem.objects.order_by("name").values_list("slug", "name"))
    system = Choice(name="system", title=_("System"), every=_("Every system"), options=systems, field="system__slug")
    return replace(INCIDENTS, choices=(state, system))


@require_http_methods(["GET", "HEAD", "POST"])
@reads_within
def incident_new(request: HouseRequest) -> HttpResponse:
    """First the system, where there are several; then the facts."""
    systems = list(AISystem.objects.order_by("name"))
    wanted = request.GET.get("system", "")
    system = next((row for row in systems if row.slug == wanted), systems[0] if len(systems) == 1 else None)
    permission = can(check_may_report, request.user)
    if system is None:
        return render(request, "governance/incident_system.html", {"systems": systems, "permission": permission})
    zone = known_zone(zone_of_reader(request.user))
    given = {name: request.GET[name] for name in ("version", "deployment", "site") if name in request.GET}
    begun = {"zone": zone, "aware_at": typed(timezone.now(), zone)[:16] if zone else "", "breach_risk": "risk"} | given
    form = bind_made(partial(IncidentForm, system=system, zone=zone), request, **begun)
    incident = attempt_fields(form, partial(_record, system=system, by=request.user))
    if incident:
        messages.success(
            request,
            gettext("Incident %(number)s is recorded. Its clocks run from now on.") % {"number": incident.number},
        )
        return redirect("incident", pk=incident.pk)
    context = {"form": form, "system": system, "permission": permission, "several": len(systems) > 1}
    return render(request, "governance/incident_new.html", context, status=form.status)


def _record(*, system: AISystem, by: User, **given: Any) -> Incident:
    return record_incident(report=IncidentReport(system=system, **given), by=by)


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def incident_page(request: HouseRequest, pk: int) -> HttpResponse:
    """One incident. A POST is a note."""
    incident, form = selectors.get_incident(pk), bind(NoteForm, request)
    if attempt(form, partial(add_note, incident=incident, by=request.user)):
        messages.success(request, "The note is kept.")
        return redirect(f"{reverse('incident', args=[pk])}#history")
    page = Paginator(selectors.history(incident), HISTORY_SIZE).get_page(request.GET.get("page"))
    context = _clocks_context(request, incident) | {
        "form": form,
        "page": page,
        "times": _times(incident, zone_of_reader(request.user)),
        "requirements": load_requirements().for_report("serious_incident"),
        "kinds": [question("incident_kinds").option_text(kind) for kind in incident.kinds],
        "risk": risk_of_incident(incident),
        "risk_href": f"{reverse('risk-new')}?incident={incident.pk}",
        "may_record_risk": can(check_may_record_risk, request.user),
        "may_note": can(check_may_report, request.user),
        "may_assign": can(check_may_assign, request.user),
        "may_draft": can(check_may_state, request.user),
    }
    return render(request, "governance/incident.html", context, status=form.status)


@require_safe
@reads
def incident_clocks(request: HouseRequest, pk: int) -> HttpResponse:
    """The clocks alone, as the page asks for them again every minute."""
    return render(request, "governance/_incident_clocks.html", _clocks_context(request, selectors.get_incident(pk)))


def _clocks_context(request: HouseRequest, incident: Incident) -> dict[str, Any]:
    detail: IncidentDetail = selectors.incident_detail(incident, user=request.user)
    return {
        "incident": incident,
        "detail": detail,
        "reader_zone": zone_of_reader(request.user),
        "may_keep": can(check_may_keep, request.user, incident),
        "may_explain": can(check_may_explain, request.user),
    }


def _times(incident: Incident, reader: str) -> list[dict[str, str]]:
    """The times of an incident in its zone, and in the reader's where that is another one."""
    return [
        {
            "what": words[:1].upper() + words[1:],
            "there": moment_words(at, incident.zone),
            "here": moment_words(at, reader) if reader != incident.zone else "",
        }
        for name, words in MOMENTS.items()
        if (at := getattr(incident, name)) is not None
    ]


@panel("system", rank=30)
def system_incidents(user: User, system: AISystem) -> Panel:
    """Incidents of a system that are not closed, and the way to report one."""
    rows = list(selectors.open_incidents(system)[: ON_PANEL + 1])
    context = {
        "system": system,
        "lines": selectors.incident_lines(rows[:ON_PANEL], user=user),
        "more": len(rows) > ON_PANEL,
        "may_report": can(check_may_report, user),
    }
    links = (("system-incidents", "Incidents"),)
    return Panel(template="governance/_system_incidents.html", context=context, links=links)


@queue_source
def clocks_and_owners(user: User) -> Iterator[QueueItem]:
    """Clocks of incidents that a person owns, or that their role answers for; for chairs what nobody owns."""
    roles = roles_of(user)
    if not roles & set(INSIDERS):
        return
    for line in selectors.running_clocks(user=user):
        if _concerns(user, line, roles):
            yield _clock_item(line)
    if Role.COMMITTEE_CHAIR in roles:
        for row in selectors.unowned_incidents():
            yield QueueItem(
                title=gettext("Name the owner of incident %(number)s of %(name)s")
                % {"number": row.number, "name": row.system.name},
                why="Nobody sees to its reports yet.",
                href=reverse("incident", args=[row.pk]),
                since=row.recorded_at,
                tone="insufficient",
                word="No owner",
            )


def _concerns(user: User, line: ClockLine, roles: frozenset[str]) -> bool:
    owner = line.clock.incident.owner
    if owner is not None and owner.identity_id == user.identity_id:
        return True
    if Role.DPO in roles and line.clock.regime == "GDPR":
        return True
    return bool(roles & {role for role in KEEPERS if role != Role.DPO})


def _clock_item(line: ClockLine) -> QueueItem:
    incident = line.clock.incident
    until = (
        gettext("%(left)s, until %(due_there)s.") % {"left": line.left, "due_there": line.due_there}
        if line.left
        else f"{line.todo}"
    )
    perhaps = " It may be owed: an answer is missing." if line.unknown else ""
    return QueueItem(
        title=gettext("Report incident %(number)s of %(name)s under %(regime)s")
        % {"number": incident.number, "name": incident.system.name, "regime": line.clock.regime},
        why=f"{until[:1].upper()}{until[1:]}{perhaps}",
        href=reverse("incident", args=[incident.pk]),
        since=line.clock.started_at or incident.recorded_at,
        tone="fail" if line.overdue else "insufficient",
        word=line.word,
        due=line.clock.due_at,
    )
