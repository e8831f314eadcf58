"""Alerts: the list with its filters, and one of them with what can be done about it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from core.access import can, holders_of
from core.models import INSIDERS, User
from core.pages.forms import HouseForm
from core.pages.lists import Choice, Column, Listing, ListPlan, Text, read_list
from core.pages.readers import HouseRequest, reads, reads_within
from evaluation import selectors_alerts
from evaluation import selectors_monitors as selectors
from evaluation.access_alerts import check_may_handle_alert, check_may_settle_alert
from evaluation.engine.drift.words import unit_words
from evaluation.models import Alert
from evaluation.pages.monitors_forms import PersonChoice, attempt_at_fields, one_of
from evaluation.pages.monitors_words import group_words, span_words, stream_words
from evaluation.services import alerts as services

PAGE_SIZE = 40
STATES: tuple[tuple[str, Text], ...] = (("unclosed", _("Not closed")), *Alert.Status.choices, ("all", _("All")))
ALERTS = ListPlan(
    columns=(
        Column(title=_("Alert"), key="title", order=("title",)),
        Column(title=_("Severity"), key="severity", order=(selectors_alerts.GRAVITY,)),
        Column(title=_("State"), key="state", order=(selectors_alerts.PROGRESS,)),
        Column(title=_("Monitor"), key="monitor-name", order=("monitor__name", "monitor__deployment__site")),
        Column(title=_("Times"), key="times", order=("times",), down=True, numeric=True),
        Column(title=_("Last raised"), key="last", order=("last_at",), down=True),
        Column(title=_("Who"), key="who", order=("assigned_to__last_name", "assigned_to__username")),
    ),
    search=("title", "monitor__name", "monitor__deployment__site", "monitor__deployment__version__system__name"),
    searched=_("Words, monitor, site or system"),
    size=PAGE_SIZE,
)
SNOOZES = (
    ("4", "4 hours"),
    ("24", "1 day"),
    ("72", "3 days"),
    ("168", "1 week"),
    ("720", "30 days"),
    ("2160", "90 days"),
)
DONE = {
    "acknowledge": "You have acknowledged the alert: it is not escalated any more.",
    "assign": "The alert has its person, who is told.",
    "snooze": "The alert rests until then. If the matter is raised meanwhile, it counts up and stays at rest.",
    "close": "The alert is closed.",
}


class EmptyForm(HouseForm):
    """An act without fields."""

    def __init__(self, *args: Any, alert: Alert, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class AssignForm(HouseForm):
    to = PersonChoice(
        queryset=None,
        label="Who sees to it",
        empty_label="Choose a person",
        error_messages={"required": "Choose who sees to it."},
    )

    def __init__(self, *args: Any, alert: Alert, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["to"]
        field.queryset = holders_of(*INSIDERS).order_by("first_name", "username")


class SnoozeForm(HouseForm):
    hours = forms.ChoiceField(label="For how long", choices=SNOOZES, initial="24")
    reason = forms.CharField(
        label="Reason",
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=2000,
        help_text="Why it can wait. Kept with your name.",
        error_messages={"required": "Say why it can wait."},
    )

    def __init__(self, *args: Any, alert: Alert, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        most = 24 * services.LONGEST_REST[Alert.Severity(alert.severity)]
        field: Any = self.fields["hours"]
        field.choices = [(hours, words) for hours, words in SNOOZES if int(hours) <= most]

    def clean(self) -> dict[str, Any]:
        given = dict(super().clean() or self.cleaned_data)
        hours = given.pop("hours", None)
        return given | {"until": timezone.now() + dt.timedelta(hours=int(hours))} if hours else given


class CloseForm(HouseForm):
    resolution = forms.ChoiceField(
        label="What it came to",
        widget=forms.RadioSelect,
        error_messages={"required": "Choose what it came to."},
    )
    closing = forms.CharField(
        label="What was found and done",
        widget=forms.Textarea(attrs={"rows": 4}),
        max_length=4000,
        help_text="Kept for ever with your name. Name no patient.",
        error_messages={"required": "Say what was found and done."},
    )

    def __init__(self, *args: Any, alert: Alert, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["resolution"]
        offered = services.BY_HAND if services.is_alarm(alert) else services.BY_HAND[:2]
        field.choices = [(choice.value, choice.label) for choice in offered]


FORMS: dict[str, type[HouseForm]] = {
    "acknowledge": EmptyForm,
    "assign": AssignForm,
    "snooze": SnoozeForm,
    "close": CloseForm,
}
SERVICES: dict[str, Any] = {
    "acknowledge": services.acknowledge_alert,
    "assign": services.assign_alert,
    "snooze": services.snooze_alert,
    "close": services.close_alert,
}


@require_safe
@reads_within
def alert_list(request: HouseRequest) -> HttpResponse:
    """What needs somebody, the gravest on top; the table asks for itself again every minute."""
    every = selectors_alerts.list_alerts(selectors_alerts.AlertFilter(state="all"), person=request.user)
    listing: Listing[Alert] = read_list(request.GET, every, _plan(request.user))
    context = {"listing": listing, "some": bool(listing.page.object_list) or Alert.objects.exists()}
    return render(request, "evaluation/alerts.html", context)


def _plan(person: User) -> ListPlan:
    """What the list can be asked, with the monitors that there are."""
    monitors = tuple((str(item.pk), f"{item.name}, {item.deployment.site}") for item in selectors.list_monitors())
    return replace(ALERTS, choices=(
        Choice(name="state", title=_("State"), options=STATES, usual="unclosed", keep=selectors_alerts.in_state),
        Choice(name="severity", title=_("Severity"), every=_("Any"), options=tuple(Alert.Severity.choices),
               field="severity"),
        Choice(name="kind", title=_("About"), every=_("Anything"), options=tuple(Alert.Kind.choices), field="kind"),
        Choice(name="monitor", title=_("Monitor"), every=_("Every monitor"), options=monitors, field="monitor"),
        Choice(name="mine", title=_("Whose"), every=_("Everybody's"), options=(("1", _("Mine")),),
               keep=lambda rows, _value: rows.filter(selectors_alerts.held_by(person))),
    ))  # fmt: skip


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def alert_detail(request: HouseRequest, pk: int) -> HttpResponse:
    """One alert: what it says, who deals with it, what can be done. A POST does one of the acts."""
    alert = selectors_alerts.get_alert(pk)
    made = {name: one_of(form, name, request, alert=alert) for name, form in FORMS.items()}
    act = request.POST.get("act", "")
    sent = made.get(act)
    if sent is not None:
        if attempt_at_fields(sent, partial(SERVICES[act], alert=alert, by=request.user)) is not None:
            messages.success(request, DONE[act])
            return redirect("alert", pk=pk)
        alert = selectors_alerts.get_alert(pk)
    context = _about(request, alert) | {"forms": made, "form": sent}
    return render(request, "evaluation/alert.html", context, status=sent.status if sent else 200)


def _about(request: HouseRequest, alert: Alert) -> dict[str, Any]:
    monitor, window = alert.monitor, alert.window
    due = services.waits_since(alert) + dt.timedelta(hours=monitor.escalate_after_hours)
    return {
        "alert": alert,
        "monitor": monitor,
        "span": span_words(window, monitor.zone) if window else "",
        "streams": _streams(alert),
        "facts": _facts(alert),
        "causes": (window.causes or [])[:3] if window and window.alarm else [],
        # Information is not escalated.
        "escalates_at": due if due > timezone.now() and alert.severity != Alert.Severity.INFO else None,
        "restarts": services.is_alarm(alert),
        "history": alert.events.select_related("by").order_by("-pk"),
        "sent": alert.deliveries.select_related("webhook").order_by("-pk")[:10],
        "may_handle": can(check_may_handle_alert, request.user, alert),
        "may_settle": can(check_may_settle_alert, request.user, alert),
    }


def _facts(alert: Alert) -> dict[str, Any]:
    """Single facts of what was found. Those of an alarm stand in its words and its table."""
    if services.is_alarm(alert):
        return {}
    return {name: value for name, value in alert.detail.items() if value and not isinstance(value, dict | list)}


def _streams(alert: Alert) -> list[dict[str, Any]]:
    """The streams of the alarm with their numbers, in one query; none where no window is behind it."""
    if alert.window is None or not alert.window.alarm:
        return []
    rows = alert.window.points.filter(alarming=True).order_by("-log_e", "pk")[:8]
    return [
        {
            "point": row,
            "title": stream_words(row.stream, row.detail),
            "group": group_words(row.attribute, row.group),
            "unit": unit_words(row.effect),
        }
        for row in rows
    ]
