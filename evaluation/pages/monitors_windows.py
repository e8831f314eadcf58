"""One window of a monitor: what it came to, what was odd, which streams moved, why, and what another library says."""

from __future__ import annotations

from functools import partial
from typing import Any

from csp.decorators import csp_exempt, csp_update
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from core.access import can
from core.pages.readers import HouseRequest, reads
from core.pages.session import theme_of
from evaluation import selectors_monitors as selectors
from evaluation.access import check_may_read_patients
from evaluation.engine.drift.words import effect_words, unit_words
from evaluation.models import MonitorWindow, StreamPoint
from evaluation.pages.monitors import group_options, grouped, planned, streams_of
from evaluation.pages.monitors_pictures import asked_of, seen_of, stream_plan
from evaluation.pages.monitors_words import (
    group_words,
    span_words,
    stream_words,
    verdict_of,
)
from evaluation.pages.pictures import themes_of
from evaluation.services.exemplars import open_exemplars
from models_registry.services.versions import model_store

PAGE_SIZE = 40
EVIDENTLY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts"
)
"""Another library's page: it may run its own script, in an origin of its own, and reach nothing and nobody."""
private = cache_control(private=True, no_store=True)
FILES = {
    "evidence": ("evidence_digest", "evidence"),
    "causes": ("causes_digest", "causes"),
    "evidently": ("evidently_json", "evidently"),
}
"""Name in the address -> column of the window, name of the file."""


def _window(pk: int, index: int) -> MonitorWindow:
    return selectors.get_window(selectors.get_monitor(pk), index)


@require_safe
@reads
@csp_update({"frame-src": ["'self'"]})  # type: ignore[arg-type]
def monitor_window(request: HouseRequest, pk: int, index: int) -> HttpResponse:
    """One window, in the order in which it is read: verdict, what was odd, streams, causes, how it was made."""
    monitor = selectors.get_monitor(pk)
    window = selectors.get_window(monitor, index)
    before, after = selectors.neighbours(window)
    attributes = _attributes(window)
    by = request.GET.get("by", "")
    by = by if by in attributes else ""
    rows = selectors.points_of(window, attribute=by)
    context = {
        "monitor": monitor,
        "window": window,
        "span": span_words(window, monitor.zone),
        "verdict": verdict_of(window),
        "before": before,
        "after": after,
        "alerts": window.alerts.order_by("-last_at"),
        "findings": sorted(window.findings, key=_gravity),
        "page": Paginator([_streamed(row) for row in rows], PAGE_SIZE).get_page(request.GET.get("page")),
        "by": by,
        "attributes": [(name, group_words(name, "").rstrip(": ") if name else "All studies") for name in attributes],
        "elsewhere": [_streamed(row) for row in _alarming_elsewhere(window, by)],
        "cross_check": _checks(window),
        "may_read": can(check_may_read_patients, request.user),
    }
    return render(request, "evaluation/monitor_window.html", context)


def _gravity(finding: dict[str, Any]) -> int:
    order = {"critical": 0, "error": 0, "warning": 1, "info": 2}
    return order.get(str(finding.get("severity", "warning")), 1)


def _attributes(window: MonitorWindow) -> list[str]:
    """All studies, and the attributes whose groups were watched: one query."""
    rows = window.points.order_by("pk").values_list("attribute", flat=True)
    return list(dict.fromkeys(["", *rows]))


def _alarming_elsewhere(window: MonitorWindow, by: str) -> list[StreamPoint]:
    """Streams of the alarm in other groups than those that the table shows."""
    return list(window.points.filter(alarming=True).exclude(attribute=by).order_by("pk")) if window.alarm else []


def _streamed(point: StreamPoint) -> dict[str, Any]:
    """A stream of a window as the table shows it."""
    return {
        "point": point,
        "title": stream_words(point.stream, point.detail),
        "group": group_words(point.attribute, point.group),
        "unit": unit_words(point.effect),
        "by": f"{point.attribute}={point.group}" if point.attribute else "",
        "share": abs(point.value) / point.margin if point.value is not None and point.margin else None,
    }


def _checks(window: MonitorWindow) -> list[dict[str, Any]]:
    """Evidently's verdict on each column beside our own, with its name in words."""
    kept = window.evidently.get("cross_check", []) if window.evidently else []
    return [item | {"title": stream_words(_stream_of(str(item.get("column", ""))))} for item in kept]


def _stream_of(column: str) -> str:
    """The stream of a column of the sample: ``number.age`` is ``age``; scores and labels keep their names."""
    head, _, rest = column.partition(".")
    return rest if head in {"number", "category", "group"} and rest else column


@require_safe
@reads
def monitor_stream(request: HouseRequest, pk: int) -> HttpResponse:
    """The history of one stream, over all studies and by group."""
    monitor = selectors.get_monitor(pk)
    choices = streams_of(monitor)
    asked = asked_of(request, choices)
    if not asked.stream:
        raise Http404
    seen = seen_of(request, monitor)
    shown = planned(partial(stream_plan, seen, asked))
    title = next(choice.title for choice in choices if choice.stream == asked.stream)
    points = selectors.points_of_stream(seen.windows, stream=asked.stream, attribute=asked.attribute)
    newest = [line for group in points.values() if (line := list(group.values())[-1:])]
    context = {
        "monitor": monitor,
        "asked": asked,
        "title": stream_words(asked.stream, {"title": title}),
        "shown": shown,
        "page": seen.page,
        "choices": grouped(choices),
        "groups": group_options(choices, asked),
        "effect": effect_words(newest[0][0].effect) if newest else "",
        "newest": [_streamed(line[0]) for line in newest],
        "chart_themes": themes_of(theme_of(request)),
    }
    return render(request, "evaluation/monitor_stream.html", context)


@require_safe
@reads
def window_file(request: HouseRequest, pk: int, index: int, kind: str) -> HttpResponse:
    """A document of a window as it lies in the store, byte for byte."""
    window = _window(pk, index)
    column, name = FILES.get(kind, ("", ""))
    digest = getattr(window, column) if column else ""
    if not digest:
        raise Http404
    response = HttpResponse(model_store().get_bytes(digest), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="monitor-{pk}-window-{index}-{name}.json"'
    return response


@require_safe
@reads
@xframe_options_sameorigin
@csp_exempt()
def evidently(request: HouseRequest, pk: int, index: int) -> HttpResponse:
    """Evidently's report for the frame: it runs in an origin of its own, and loads and sends nothing."""
    window = _window(pk, index)
    if not window.evidently_html:
        raise Http404
    response = HttpResponse(model_store().get_bytes(window.evidently_html), content_type="text/html; charset=utf-8")
    response["Content-Security-Policy"] = EVIDENTLY_POLICY
    response["Cache-Control"] = "private, max-age=3600"
    return response


@require_safe
@reads
@private
def window_cases(request: HouseRequest, pk: int, index: int) -> HttpResponse:
    """The studies that show the change most. Listing them is an act in the ledger."""
    window = _window(pk, index)
    cases = open_exemplars(window=window, by=request.user)
    context = {"monitor": window.monitor, "window": window, "span": span_words(window, window.monitor.zone)}
    return render(request, "evaluation/monitor_cases.html", context | {"cases": cases})
