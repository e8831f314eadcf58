"""A new monitor: what is watched, against what, on which data, when. The next windows are shown before it is made."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods

from core.access import can
from core.errors import AuscultError
from core.pages.forms import bind
from core.pages.readers import HouseRequest, reads
from evaluation.access_monitors import check_may_make_monitor
from evaluation.models import Monitor
from evaluation.monitoring.windows import bounds, next_time
from evaluation.pages.monitors_forms import MonitorForm, attempt_at_fields
from evaluation.services.monitors import create_monitor

SHOWN_AHEAD, SHOWN_TIMES = 5, 3


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def monitor_new(request: HouseRequest) -> HttpResponse:
    form = bind(MonitorForm, request, **_begun(request))
    preview: dict[str, Any] = {}
    if request.method == "POST" and form.is_valid():
        if "preview" in request.POST:
            preview = _preview(form)
        elif (monitor := attempt_at_fields(form, partial(create_monitor, by=request.user))) is not None:
            messages.success(request, "The monitor is made. A worker now makes its reference, then it begins.")
            return redirect("monitor", pk=monitor.pk)
    context = {
        "form": form,
        "preview": preview,
        "permission": can(check_may_make_monitor, request.user),
        "lacks": _lacks(form),
    }
    return render(request, "evaluation/monitor_new.html", context, status=form.status)


def _begun(request: HouseRequest) -> dict[str, Any]:
    """What stands in the form at first: the reader's zone, and the beginning of this week."""
    zone = request.user.time_zone or settings.TIME_ZONE
    now = timezone.now().astimezone(ZoneInfo(zone))
    begun = {"zone": zone, "first_opens_at": f"{now:%Y-%m-%d}T00:00", "owner": request.user.pk}
    return begun | {name: request.GET[name] for name in ("deployment",) if name in request.GET}


def _lacks(form: MonitorForm) -> list[str]:
    """What has to be there before a monitor can be made. What can be chosen is read for it once, and then shown."""
    fields: dict[str, Any] = form.fields
    told = {
        "deployment": "No deployment runs. A chair or clinician lead deploys a version under Governance.",
        "protocol": "No approved protocol has a section on drift. An auditor locks one, and a chair approves it.",
        "reference_cohort": "There is no cohort that could be the reference. One is imported under Cohorts.",
    }
    for name in told:
        fields[name].choices = list(iter(fields[name].choices))  # Its length alone would be a query more.
    return [text for name, text in told.items() if not any(value for value, _word in fields[name].choices)]


def _preview(form: MonitorForm) -> dict[str, Any]:
    """The first windows by the clock of the zone, and from when each can be judged."""
    given = form.cleaned_data
    zone, size, unit = given["zone"], given["window_size"], given["window_unit"]
    if unit == Monitor.Unit.COUNT:
        text = gettext(
            "A window closes whenever %(size)s more studies have arrived, so there is no calendar of them."
        ) % {"size": f"{size:,}"}
        return {"zone": zone, "windows": [], "notes": [text, *_looks(form)]}
    there, now = ZoneInfo(zone), timezone.now()
    try:
        found = [
            bounds(unit=unit, size=size, first=given["first_opens_at"], zone=zone, index=index,
                   grace_hours=given["grace_hours"] or 0)
            for index in range(1, SHOWN_AHEAD + 1)
        ]  # fmt: skip
    except (OverflowError, ValueError):
        form.add_error("window_size", "No calendar holds five windows of this length. Give a shorter one.")
        return {}
    rows = [
        {
            "index": item.index,
            "opens": _told(item.opens_at, there),
            "closes": _told(item.closes_at, there),
            "due": _told(item.due_at, there),
            "past": item.due_at <= now,
        }
        for item in found
    ]
    return {"zone": zone, "windows": rows, "notes": _looks(form)}


def _looks(form: MonitorForm) -> list[str]:
    """When the schedule looks next, or why that cannot be told."""
    given = form.cleaned_data
    schedule = {name: given[name] for name in ("crontab", "every_seconds", "zone")}
    there, moment = ZoneInfo(given["zone"]), timezone.now()
    times = []
    try:
        for _ in range(SHOWN_TIMES):
            moment = next_time(Monitor(**schedule), after=moment)
            times.append(_told(moment, there))
    except AuscultError as error:
        form.add_error("crontab", f"{error.message} {error.remedy}")
        return []
    said = gettext("It looks next at %(x0)s, then at %(x1)s.") % {"x0": times[0], "x1": ", ".join(times[1:])}
    return [gettext("%(said)s A window is judged at the first look after it is due.") % {"said": said}]


def _told(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y %H:%M}"
