"""What is done with an incident: amended, given an owner, reported, explained, closed. Each on a page of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from core.access import Permission, can
from core.models import User
from core.pages.forms import HouseForm, bind, perform
from core.pages.readers import HouseRequest, reads
from governance.access_incidents import check_may_assign, check_may_explain, check_may_keep
from governance.models import Incident
from governance.pages.incident_forms import (
    AmendForm,
    AssignForm,
    CloseForm,
    ReasonForm,
    ReportedForm,
    attempt_fields,
    bind_made,
    initial_of,
    typed,
)
from governance.selectors.incidents import clock_line, get_clock, get_incident, zone_of_reader
from governance.services.incidents import (
    IncidentReport,
    amend_facts,
    assign,
    close_incident,
    draft_report,
    explain_clock,
    investigate,
    mark_reported,
    reopen_incident,
    report_of,
)

forms_page = require_http_methods(["GET", "HEAD", "POST"])


def _act_page(
    request: HouseRequest,
    incident: Incident,
    form: HouseForm,
    act: Callable[..., Any],
    *,
    permission: Permission,
    heading: str,
    done: str,
    **more: Any,
) -> HttpResponse:
    """A form about an incident: acted on and left, or shown with what was refused."""
    if attempt_fields(form, act) is not None:
        messages.success(request, done)
        return redirect("incident", pk=incident.pk)
    context = {"incident": incident, "form": form, "permission": permission, "heading": heading, "label": heading}
    return render(request, "governance/incident_act.html", context | more, status=form.status)


@forms_page
@reads
def incident_amend(request: HouseRequest, pk: int) -> HttpResponse:
    incident = get_incident(pk)
    make = partial(AmendForm, system=incident.system, zone=incident.zone)
    form = bind_made(make, request, **initial_of(report_of(incident)))
    return _act_page(
        request,
        incident,
        form,
        partial(_amend, incident=incident, by=request.user),
        permission=can(check_may_keep, request.user, incident),
        heading="Amend the facts",
        done="The facts are amended, and the clocks are counted anew.",
        lead="Clocks are counted anew by what you change. Those that were counted before stay in the history.",
        grouped=True,
    )


def _amend(*, incident: Incident, by: User, reason: str, **given: Any) -> Incident:
    return amend_facts(incident=incident, report=IncidentReport(system=incident.system, **given), reason=reason, by=by)


@forms_page
@reads
def clock_reported(request: HouseRequest, pk: int, clock_pk: int) -> HttpResponse:
    clock = get_clock(pk, clock_pk)
    zone, now = clock.incident.zone, timezone.now()
    form = bind_made(partial(ReportedForm, zone=zone), request, at=typed(now, zone))
    line = clock_line(clock, zone=zone, reader=zone_of_reader(request.user), now=now)
    return _act_page(
        request,
        clock.incident,
        form,
        partial(mark_reported, clock=clock, by=request.user),
        permission=can(check_may_keep, request.user, clock.incident),
        heading="Mark the report as sent",
        done="The report is marked as sent.",
        line=line,
        lead="Auscult sends nothing to authorities. Say here what you sent by their portal or form.",
    )


@forms_page
@reads
def clock_explained(request: HouseRequest, pk: int, clock_pk: int) -> HttpResponse:
    clock = get_clock(pk, clock_pk)
    line = clock_line(clock, zone=clock.incident.zone, reader=zone_of_reader(request.user), now=timezone.now())
    sent = clock.met_at is not None
    return _act_page(
        request,
        clock.incident,
        bind(ReasonForm, request),
        partial(explain_clock, clock=clock, by=request.user),
        permission=can(check_may_explain, request.user),
        heading="State why it was late" if sent else "Explain why no report is sent",
        done="The reason is kept.",
        line=line,
        lead="It is kept with your name in the history, and an authority may ask for it.",
    )


@forms_page
@reads
def incident_assign(request: HouseRequest, pk: int) -> HttpResponse:
    incident = get_incident(pk)
    return _act_page(
        request,
        incident,
        bind(AssignForm, request, owner=incident.owner_id),
        partial(assign, incident=incident, by=request.user),
        permission=can(check_may_assign, request.user),
        heading="Name the owner",
        done="The incident has its owner.",
    )


@forms_page
@reads
def incident_close(request: HouseRequest, pk: int) -> HttpResponse:
    incident = get_incident(pk)
    begun = {"root_cause": incident.root_cause, "correction": incident.correction}
    return _act_page(
        request,
        incident,
        bind(CloseForm, request, **begun),
        partial(close_incident, incident=incident, by=request.user),
        permission=can(check_may_keep, request.user, incident),
        heading="Close the incident",
        done="The incident is closed.",
        lead="It can be closed when every report was sent, or somebody said why none is.",
    )


@forms_page
@reads
def incident_reopen(request: HouseRequest, pk: int) -> HttpResponse:
    incident = get_incident(pk)
    return _act_page(
        request,
        incident,
        bind(ReasonForm, request),
        partial(reopen_incident, incident=incident, by=request.user),
        permission=can(check_may_keep, request.user, incident),
        heading="Reopen the incident",
        done="The incident is open again.",
    )


@require_POST
@reads
def incident_investigate(request: HouseRequest, pk: int) -> HttpResponse:
    act = partial(investigate, incident=get_incident(pk), by=request.user)
    return perform(request, act, done="The investigation is on record.", back=reverse("incident", args=[pk]))


@require_POST
@reads
def incident_draft(request: HouseRequest, pk: int) -> HttpResponse:
    act = partial(draft_report, incident=get_incident(pk), by=request.user)
    done = "The report is drafted. Somebody else accepts each draft; the history tells what was left alone."
    return perform(request, act, done=done, back=f"{reverse('incident', args=[pk])}#report")
