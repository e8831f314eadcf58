"""Looking at single studies of an audit: a list by finding, group and error, and one study with its texts marked."""

from __future__ import annotations

from typing import Any

from csp.decorators import csp_exempt
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from core.pages.readers import HouseRequest, reads
from evaluation import selectors
from evaluation.engine.protocol import NumberRule, Protocol
from evaluation.models import AuditRun
from evaluation.pages.explorer_words import (
    about,
    error_options,
    finding_options,
    group_options,
    legend,
    metric_words,
)
from evaluation.pages.report_marks import marked_text
from evaluation.pages.series_drawing import SeriesChart, series_chart
from evaluation.pages.spoken import spoken_of
from evaluation.services.explorer import OpenedStudy, list_studies, open_study, opened_image
from evaluation.studies.index import GENERATED, REFERENCE
from evaluation.studies.selectors import StudyFilter, StudyPlace

PAGE_SIZE = 25
GROUP = "="
"""Between attribute and group in the address: ``by=sex=F``. Group names may hold it, attributes do not."""
private = cache_control(private=True, no_store=True)


def filter_of(request: HouseRequest) -> StudyFilter:
    attribute, _, group = request.GET.get("by", "").partition(GROUP)
    return StudyFilter(
        finding=request.GET.get("finding", ""),
        error=request.GET.get("error", ""),
        attribute=attribute,
        group=group,
    )


def query_of(chosen: StudyFilter) -> str:
    """The filter as it stands in an address, with nothing that is empty."""
    by = f"{chosen.attribute}{GROUP}{chosen.group}" if chosen.attribute else ""
    told = {"error": chosen.error, "finding": chosen.finding, "by": by}
    return urlencode({name: value for name, value in told.items() if value})


@require_safe
@reads
@private
def studies(request: HouseRequest, pk: int) -> HttpResponse:
    """The studies of a run that a filter chooses, those with most errors first."""
    run, chosen = selectors.get_run(pk), filter_of(request)
    found = list_studies(run=run, chosen=chosen, by=request.user)
    page = Paginator(found.places, PAGE_SIZE).get_page(request.GET.get("page"))
    choices, query = found.choices(), query_of(chosen)
    context = {
        "run": run,
        "found": found,
        "page": page,
        "lines": [found.line(place) for place in page],
        "chosen": chosen,
        "by": f"{chosen.attribute}{GROUP}{chosen.group}" if chosen.attribute else "",
        "errors": error_options(choices),
        "findings": finding_options(choices),
        "groups": group_options(choices, GROUP),
        "behind": metric_words(request.GET.get("metric", "")),
        "query": query,
        "page_query": f"{query}&" if query else "",
    }
    return render(request, "evaluation/explorer.html", context)


@require_safe
@reads
@private
def study(request: HouseRequest, pk: int, shard: int, row: int) -> HttpResponse:
    """One study. Opening it is an act in the ledger."""
    run, chosen, place = selectors.get_run(pk), filter_of(request), StudyPlace(shard=shard, row=row)
    opened, around = open_study(run=run, place=place, chosen=chosen, by=request.user)
    number, before, after = around.around(place)
    context = {
        "run": run,
        "study": opened,
        "number": number,
        "before": before,
        "after": after,
        "chosen_count": len(around.places),
        "query": query_of(chosen),
        "spoken": spoken_of(opened.texts.spoken),
        "why_not": around.why_not(place),
        "charts": _charts(run, opened),
        "image": f"{reverse('study-image', args=[pk, shard, row])}?{urlencode({'key': opened.image_key})}",
        **_reports(opened),
    }
    return render(request, "evaluation/explorer_study.html", context)


def _reports(opened: OpenedStudy) -> dict[str, Any]:
    """Both texts with their marks, and the kinds that occur in either."""
    texts = opened.texts
    sides = {
        side: marked_text(text, texts.of(side)) if (text := texts.texts[side]) else None
        for side in (GENERATED, REFERENCE)
    }
    return {
        "generated": sides[GENERATED],
        "reference": sides[REFERENCE],
        "truncated": texts.truncated,
        "legend": legend({mark.kind for mark in texts.marks}),
        "written": any(texts.texts.values()),
    }


def _charts(run: AuditRun, opened: OpenedStudy) -> list[SeriesChart]:
    """The study's series; with unit and reference range where the protocol declares them."""
    reports = Protocol.from_dict(run.protocol.body).reports
    ranges = {rule.series: rule for rule in (reports.numbers if reports else ())}
    found = []
    for name, values in opened.held.series.items():
        rule = ranges.get(name)
        given = NumberRule(analyte=name, series=name, unit="") if rule is None else rule
        found.append(series_chart(about(given.analyte), values, unit=given.unit, low=given.low, high=given.high))
    return found


@require_safe
@reads
@private
@csp_exempt()
def image(request: HouseRequest, pk: int, shard: int, row: int) -> HttpResponse:
    """The image of a study that was opened, for who opened it."""
    run, place = selectors.get_run(pk), StudyPlace(shard=shard, row=row)
    data = opened_image(run=run, place=place, key=request.GET.get("key", ""), by=request.user)
    response = HttpResponse(data, content_type="image/png")
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response
