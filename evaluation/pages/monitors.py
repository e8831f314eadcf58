"""Monitors: the list that answers who is watched and how it stands, and the life of one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.access import can
from core.kept import kept
from core.models import User
from core.pages.forms import HouseForm, perform
from core.pages.lists import Choice, Column, Listing, ListPlan, read_list
from core.pages.readers import HouseRequest, reads, reads_within
from evaluation import selectors_alerts
from evaluation import selectors_monitors as selectors
from evaluation.access_monitors import check_may_make_monitor, check_may_steer_monitor
from evaluation.chart_words import for_reader
from evaluation.charts import NothingToDrawError
from evaluation.models import Monitor, MonitorWindow
from evaluation.pages.monitors_forms import HandOverForm, PauseForm, attempt_at_fields, one_of
from evaluation.pages.monitors_pictures import Seen, StreamAsked, asked_of, seen_of, stream_plan, track_of
from evaluation.pages.monitors_words import FAMILIES, group_words, leading_of, span_words, stream_words
from evaluation.pages.pictures import themes_of
from evaluation.services import monitors as services

PAGE_SIZE = 50
ALERTS_SHOWN = 10
BLIND = ("stale", "insufficient", "suspended", "fail")
"""Standings of a monitor that does not see what it should."""
DELIVERIES_SHOWN = 8
"""How many deliveries the page of a monitor shows."""
FORM_ACTS: dict[str, Callable[..., Any]] = {
    "pause": services.pause_monitor,
    "hand_over": services.hand_over_monitor,
    "end": services.end_monitor,
}
"""What the forms of its page do."""


MONITORS = ListPlan(
    columns=(
        Column(title="Deployment", key="deployment", order=("deployment__version__system__name", "deployment__site")),
        Column(title="Standing"),
        Column(title="Last window"),
        Column(title="Evidence", numeric=True),
        Column(title="Open alerts", numeric=True),
        Column(title="Looks next", key="next", order=("next_at",)),
        Column(title="Owner", key="owner", order=("owner__last_name", "owner__username")),
    ),
    search=("name", "deployment__site", "deployment__version__system__name", "deployment__version__label"),
    searched="Name, site, system or version",
    choices=(
        Choice(
            name="status", title="State", every="In any state", field="status",
            options=tuple((str(state.value), str(state.label)) for state in Monitor.Status),
        ),
    ),
    size=PAGE_SIZE,
)  # fmt: skip


@require_safe
@reads_within
def monitor_list(request: HouseRequest) -> HttpResponse:
    """Who is watched, how each stands, when it looks next. The table asks for itself again every minute."""
    listing: Listing[Monitor] = read_list(request.GET, selectors.list_monitors(), MONITORS)
    rows = selectors.rows_of(listing.page)
    if listing.sort:  # as it was asked for; else alarms first
        places = {monitor.pk: place for place, monitor in enumerate(listing.page)}
        rows = sorted(rows, key=lambda row: places[row.monitor.pk])
    context = {
        "listing": listing,
        "rows": [(row, span_words(row.last, row.monitor.zone) if row.last else "") for row in rows],
        "alarming": sum(_alarms(row) for row in rows),
        "blind": sum(row.standing.state in BLIND and not _alarms(row) for row in rows),
        "watched": sum(row.monitor.status == "active" for row in rows),
        "may_make": can(check_may_make_monitor, request.user),
    }
    return render(request, "evaluation/monitors.html", context)


def _alarms(row: selectors.MonitorRow) -> bool:
    return row.standing.state == "fail" and row.monitor.status == Monitor.Status.ACTIVE


@require_http_methods(["GET", "HEAD", "POST"])
@reads
def monitor_detail(request: HouseRequest, pk: int) -> HttpResponse:
    """One monitor: verdict, evidence over its life, one stream, its windows. A POST pauses, hands over or ends it."""
    monitor = selectors.get_monitor(pk)
    forms: dict[str, HouseForm] = {name: one_of(PauseForm, name, request) for name in ("pause", "end")}
    forms["hand_over"] = one_of(HandOverForm, "hand_over", request, monitor=monitor)
    sent = forms.get(act := request.POST.get("act", ""))
    if sent is not None:
        if attempt_at_fields(sent, partial(FORM_ACTS[act], monitor=monitor, by=request.user)):
            return redirect("monitor", pk=pk)
        monitor = selectors.get_monitor(pk)
    context = monitor_context(request, monitor) | {"forms": forms, "form": sent}
    return render(request, "evaluation/monitor.html", context, status=sent.status if sent else 200)


def monitor_context(request: HouseRequest, monitor: Monitor) -> dict[str, Any]:
    """Everything that the page of a monitor shows."""
    chosen = selectors_alerts.AlertFilter(monitor=str(monitor.pk))
    alerts = list(selectors_alerts.list_alerts(chosen, person=request.user))
    seen = seen_of(request, monitor)
    ended = [row for row in reversed(seen.windows) if row.status in selectors.FINAL]
    judged = [row for row in ended if row.status == MonitorWindow.Status.JUDGED]
    choices = streams_of(monitor, seen.windows)
    asked = asked_of(request, choices, first=_first_stream(judged))
    return {
        "monitor": monitor,
        "standing": selectors.standing_of(monitor, ended[0] if ended else None, alerts),
        "alerts": alerts[:ALERTS_SHOWN],
        "last": judged[0] if judged else None,
        "page": seen.page,
        "windows": [(row, span_words(row, monitor.zone), leading_of(row)) for row in reversed(seen.windows)],
        "marks": seen.marks,
        "deliveries": monitor.deliveries.order_by("-received_at")[:DELIVERIES_SHOWN],
        "choices": grouped(choices),
        "asked": asked,
        "groups": group_options(choices, asked),
        "pictures": _pictures(seen, asked),
        "chart_themes": themes_of(_theme(request)),
        "minimum": monitor.protocol.body.get("drift", {}).get("minimum_window", 50),
        "may_steer": can(check_may_steer_monitor, request.user, monitor),
    }


def streams_of(monitor: Monitor, windows: Sequence[MonitorWindow] | None = None) -> list[selectors.StreamChoice]:
    """What can be looked at: the streams of the newest window that has any, or of the newest of some windows."""
    if windows is not None and not windows:
        return []
    until = windows[-1].index if windows else None

    def newest() -> list[selectors.StreamChoice]:
        return selectors.stream_choices(selectors.newest_measured(monitor, until=until))

    return kept("streams", monitor.pk, until, make=newest)


def _theme(request: HouseRequest) -> str:
    from core.pages.session import theme_of

    return theme_of(request)


def _first_stream(judged: list[MonitorWindow]) -> str:
    """The stream that led the newest alarm of the windows shown; "" where there was none."""
    looks = (row.look or {} for row in judged if row.alarm)
    return next((item["stream"] for look in looks for item in look.get("alarming", [])), "")


def grouped(choices: list[selectors.StreamChoice]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Streams as options, below their families."""
    found: dict[str, list[tuple[str, str]]] = {}
    for choice in choices:
        words = stream_words(choice.stream, {"title": choice.title})
        found.setdefault(FAMILIES.get(choice.family, choice.family), []).append((choice.stream, words))
    return list(found.items())


def group_options(choices: list[selectors.StreamChoice], asked: StreamAsked) -> list[tuple[str, str]]:
    """What a stream can be looked at by: all studies, every group of an attribute side by side, one group."""
    groups = next((choice.groups for choice in choices if choice.stream == asked.stream), ())
    options = [("", "All studies")]
    for attribute in dict.fromkeys(name for name, _group in groups if name):
        options.append((f"{attribute}=*", f"{group_words(attribute, 'side by side')}"))
        options += [(f"{name}={group}", group_words(name, group)) for name, group in groups if name == attribute]
    return options


def _pictures(seen: Seen, asked: StreamAsked) -> list[dict[str, Any]]:
    """The two pictures with their addresses, or why there is none."""
    pk, page = seen.monitor.pk, seen.page.number
    track = {"heading": "Evidence over its life", "source": f"{reverse('monitor-track', args=[pk])}?page={page}",
             "table": f"{reverse('monitor-track-table', args=[pk])}?page={page}"}  # fmt: skip
    stream = {"heading": "One stream, window by window",
              "source": f"{reverse('monitor-stream-chart', args=[pk])}?page={page}&{asked.query}",
              "table": f"{reverse('monitor-stream-table', args=[pk])}?page={page}&{asked.query}"}  # fmt: skip
    return [track | planned(partial(track_of, seen)), stream | planned(partial(stream_plan, seen, asked))]


def planned(plan: Callable[[], Any]) -> dict[str, Any]:
    """A plan, or why nothing can be drawn."""
    try:
        return {"plan": for_reader(plan())}
    except NothingToDrawError as error:
        return {"plan": None, "why_not": error.message, "remedy": error.remedy}


def _act(request: HouseRequest, pk: int, act: Callable[..., Any], done: str) -> HttpResponse:
    user: User = request.user
    monitor = selectors.get_monitor(pk)
    return perform(request, partial(act, monitor=monitor, by=user), done=done, back=reverse("monitor", args=[pk]))


ACTS: dict[str, tuple[str, str]] = {
    "resume": ("resume_monitor", "The monitor goes on. Windows that closed meanwhile are judged now, each once."),
    "retry": ("retry_preparation", "The reference is made again."),
    "run": ("run_now", "The monitor looks now. Windows that are due are judged, in order."),
}


@require_POST
@reads
def monitor_act(request: HouseRequest, pk: int, act: str) -> HttpResponse:
    """Go on, make the reference again, or look now."""
    if act not in ACTS:
        raise Http404
    name, done = ACTS[act]
    return _act(request, pk, getattr(services, name), done)
