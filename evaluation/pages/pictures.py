"""Charts as pictures with an address of their own, and the tables behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from core.digests import sha256_json
from core.pages.readers import HouseRequest
from core.pages.sizes import remember_size
from evaluation.chart_words import for_reader, language
from evaluation.models import AuditRun

if TYPE_CHECKING:
    from evaluation.charts import ChartPlan, Theme

THEMES: dict[str, Theme] = {"light": "light", "dark": "dark", "print": "print"}
CHART_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
DRAWN = 3
"""Part of the key of every stored picture: raised when charts are drawn differently, so that none stays as it was."""


def themes_of(choice: str) -> tuple[str, ...]:
    """The themes a chart is offered in: both, where the reader leaves the choice to their system."""
    return ("light", "dark") if choice == "auto" else (choice,)


def asked_theme(request: HouseRequest) -> Theme:
    """The theme that an address asks for.

    Raises:
        Http404: there is no such theme.
    """
    theme = THEMES.get(request.GET.get("theme", "light"))
    if theme is None:
        raise Http404
    return theme


def drawn_once(kind: str, theme: Theme, content: Any, make: Callable[[], ChartPlan]) -> str:
    """The SVG of a chart in the language of the page, drawn once for each content."""
    cache, key = caches["pictures"], f"chart:{DRAWN}:{kind}:{theme}:{language()}:{sha256_json(content)}"
    svg: str | None = cache.get(key)
    if svg is None:
        svg = for_reader(make()).draw(theme).svg
        cache.set(key, svg, timeout=None)
    return svg


def picture(svg: str, request: HttpRequest) -> HttpResponse:
    """A chart as an image that may not act, whoever opens its address. Pages know its size from now on."""
    remember_size(request.get_full_path(), svg)
    response = HttpResponse(svg, content_type="image/svg+xml")
    response["Content-Security-Policy"] = CHART_POLICY
    response["Cache-Control"] = "private, max-age=3600"
    return response


def table_behind(request: HouseRequest, run: AuditRun, plan: ChartPlan) -> HttpResponse:
    """The numbers behind a chart: a part of the page, or a page of its own."""
    part = bool(request.headers.get("HX-Request"))
    template = "evaluation/_chart_table.html" if part else "evaluation/chart_table.html"
    return render(request, template, {"run": run, "chart": for_reader(plan)})
