"""What a run found: the part of its page, its charts, and its downloads."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from csp.decorators import csp_exempt
from django.core.cache import cache
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from core.digests import sha256_json
from core.pages.readers import HouseRequest, reads
from core.pages.session import theme_of
from evaluation import selectors
from evaluation.models import AuditRun, Measurement, Verdict
from models_registry.services.versions import model_store

if TYPE_CHECKING:
    from evaluation.charts import Chart, Theme

PAGE_SIZE = 50
THEMES: dict[str, Theme] = {"light": "light", "dark": "dark", "print": "print"}
COLUMNS = (
    "suite", "metric", "label", "attribute", "group", "value", "low", "high", "level", "n", "patients", "reason",
    "method", "seed", "metric_version",
)  # fmt: skip
CHART_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def result_context(request: HouseRequest, run: AuditRun) -> dict[str, Any]:
    """Everything the page of a finished run shows below its head."""
    summary = selectors.verdicts_of(run)
    chosen = _filter_of(request)
    query = {name: value for name, value in vars(chosen).items() if value}
    rows = chosen.apply(run.measurements.order_by("position"))
    evidence, trouble = selectors.evidence_of(run)
    return {
        "summary": summary,
        "page": Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
        "chosen": chosen,
        "choices": selectors.measurement_choices(run),
        "query": urlencode(query),
        "page_query": urlencode(query) + "&" if query else "",
        "chart_themes": themes_of(theme_of(request)),
        "execution": evidence.get("execution", {}),
        "notes": evidence.get("result", {}).get("notes", []),
        "trouble": trouble,
    }


def themes_of(choice: str) -> tuple[str, ...]:
    """The themes a chart is offered in: both, where the reader leaves the choice to their system."""
    return ("light", "dark") if choice == "auto" else (choice,)


def _filter_of(request: HouseRequest) -> selectors.MeasurementFilter:
    return selectors.MeasurementFilter(
        metric=request.GET.get("metric", ""),
        label=request.GET.get("label", ""),
        attribute=request.GET.get("attribute", ""),
    )


def chart_of(run: AuditRun, verdict: Verdict, *, theme: Theme) -> Chart:
    """The forest chart of one verdict, drawn once for each content and theme."""
    from evaluation.charts import forest_chart

    measurements = selectors.measurements_behind(run, verdict)
    key = f"chart:{theme}:{sha256_json([measurements, verdict.detail])}"
    chart = cache.get(key)
    if chart is None:
        chart = forest_chart(measurements, verdict.detail, theme=theme)
        cache.set(key, chart, timeout=None)
    return chart


@require_safe
@reads
@csp_exempt()
def chart(request: HouseRequest, pk: int, position: int) -> HttpResponse:
    """The picture behind one verdict. Shown as an image, so that nothing in it can act."""
    run = selectors.get_run(pk)
    theme = THEMES.get(request.GET.get("theme", "light"))
    if theme is None:
        raise Http404
    drawn = chart_of(run, selectors.get_verdict(run, position), theme=theme)
    response = HttpResponse(drawn.svg, content_type="image/svg+xml")
    response["Content-Security-Policy"] = CHART_POLICY
    response["Cache-Control"] = "private, max-age=3600"
    return response


@require_safe
@reads
def chart_table(request: HouseRequest, pk: int, position: int) -> HttpResponse:
    """The numbers behind a chart, made from the same rows: a part of the page, or a page of its own."""
    run = selectors.get_run(pk)
    drawn = chart_of(run, selectors.get_verdict(run, position), theme="light")
    part = bool(request.headers.get("HX-Request"))
    template = "evaluation/_chart_table.html" if part else "evaluation/chart_table.html"
    return render(request, template, {"run": run, "chart": drawn})


class _Echo:
    """A file that hands back what is written to it, so that rows stream."""

    def write(self, value: str) -> str:
        return value


def _cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return str(value)


def _csv_rows(rows: Iterator[Measurement]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for row in rows:
        yield writer.writerow([_cell(value) for value in selectors.cells_of(row, COLUMNS)])


@require_safe
@reads
def measurements_csv(request: HouseRequest, pk: int) -> StreamingHttpResponse:
    """The measurements that the filter leaves, as the page shows them, without a limit."""
    run = selectors.get_run(pk)
    rows = _filter_of(request).apply(run.measurements.order_by("position")).iterator(chunk_size=500)
    response = StreamingHttpResponse(_csv_rows(rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="audit-{pk}-measurements.csv"'
    return response


@require_safe
@reads
def evidence_json(request: HouseRequest, pk: int) -> HttpResponse:
    """The evidence document as it lies in the store, byte for byte."""
    run = selectors.get_run(pk)
    if not run.evidence_digest:
        raise Http404
    response = HttpResponse(model_store().get_bytes(run.evidence_digest), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="audit-{pk}-evidence.json"'
    return response
