"""The pictures of a monitor's life as images with an address of their own, and the tables behind them."""

from __future__ import annotations

from csp.decorators import csp_exempt
from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from core.pages.readers import HouseRequest, reads
from evaluation import selectors_monitors as selectors
from evaluation.charts import ChartPlan
from evaluation.pages.monitors_pictures import StreamAsked, seen_of, stream_plan, table_of, track_of
from evaluation.pages.pictures import asked_theme, drawn_once, picture


def _asked(request: HouseRequest) -> StreamAsked:
    """The stream of an address. One that has no points draws nothing, so it need not be known."""
    attribute, _, group = request.GET.get("by", "").partition("=")
    stream = request.GET.get("of", "")
    if not stream:
        raise Http404
    return StreamAsked(stream=stream, attribute=attribute, group="" if group == "*" else group)


def _drawn(kind: str, plan: ChartPlan, request: HouseRequest, *content: object) -> HttpResponse:
    theme = asked_theme(request)
    return picture(drawn_once(kind, theme, [plan.title, repr(content)], lambda: plan), request)


@require_safe
@reads
@csp_exempt()
def monitor_track(request: HouseRequest, pk: int) -> HttpResponse:
    """The track of evidence."""
    seen = seen_of(request, selectors.get_monitor(pk))
    plan = track_of(seen)
    return _drawn("track", plan, request, [(row.pk, row.status, row.look) for row in seen.windows], seen.happenings)


@require_safe
@reads
def monitor_track_table(request: HouseRequest, pk: int) -> HttpResponse:
    monitor = selectors.get_monitor(pk)
    return table_of(request, monitor, track_of(seen_of(request, monitor)))


@require_safe
@reads
@csp_exempt()
def monitor_stream_chart(request: HouseRequest, pk: int) -> HttpResponse:
    """One stream over the windows."""
    seen, asked = seen_of(request, selectors.get_monitor(pk)), _asked(request)
    plan = stream_plan(seen, asked)
    return _drawn("stream", plan, request, asked, plan.table_rows, plan.table_headers, seen.states, seen.happenings)


@require_safe
@reads
def monitor_stream_table(request: HouseRequest, pk: int) -> HttpResponse:
    monitor = selectors.get_monitor(pk)
    return table_of(request, monitor, stream_plan(seen_of(request, monitor), _asked(request)))
