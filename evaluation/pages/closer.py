"""A closer look at a run's groups: calibration, the price of other thresholds, and intersections, by choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from csp.decorators import csp_exempt
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext, gettext_noop
from django.views.decorators.http import require_safe

from core.pages.readers import HouseRequest, reads
from core.pages.session import theme_of
from core.templatetags.figures import words
from evaluation import selectors
from evaluation.chart_words import for_reader
from evaluation.engine.protocol import JOIN
from evaluation.models import AuditRun, Verdict
from evaluation.pages.pictures import asked_theme, drawn_once, picture, table_behind, themes_of
from evaluation.selectors import Measured

if TYPE_CHECKING:
    from evaluation.charts import ChartPlan

SUITES = frozenset({"fairness", "hallucination"})
"""Suites that measure by group."""
KINDS = {
    "calibration": gettext_noop("Calibration by group"),
    "tradeoff": gettext_noop("What another threshold would bring"),
    "heatmap": gettext_noop("Where groups cross"),
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the reader looks at, and what there is to choose from. ``written``: texts are measured, not scores."""

    label: str
    attribute: str
    rate: str
    labels: tuple[str, ...]
    attributes: tuple[str, ...]
    rates: tuple[str, ...]
    intersections: tuple[str, ...]
    written: bool = False

    def query(self, attribute: str) -> str:
        return urlencode({"of": self.label, "by": attribute, "rate": self.rate})


@dataclass(frozen=True, kw_only=True)
class View:
    """One picture of the closer look: its plan with its addresses, or why there is none."""

    kind: str
    heading: str
    plan: ChartPlan | None
    source: str = ""
    table: str = ""
    why_not: str = ""
    remedy: str = ""


def closer_context(
    request: HouseRequest, run: AuditRun, found: Sequence[Measured], lead: Verdict | None
) -> dict[str, Any]:
    """What the closer look shows, in one query beside those that gave ``found``. Nothing is drawn here."""
    choice = _choice(request, found, lead)
    views = list(_views(run, choice, _behind(run, choice), _why_no_scores(found, choice))) if choice else []
    return {"closer": choice, "views": views, "chart_themes": themes_of(theme_of(request))}


def _choice(request: HouseRequest, found: Sequence[Measured], lead: Verdict | None) -> Choice | None:
    """The reader's choice, else what decided the outcome; None for a run that compared no groups."""
    from evaluation.charts.metrics import is_rate, is_written, rates_of

    grouped = [item for item in found if item.suite in SUITES and item.attribute]
    labels = tuple(dict.fromkeys(item.label for item in grouped))
    if not labels:
        return None
    label = _one_of(labels, request.GET.get("of"), lead.label if lead else None)
    mine = [item for item in grouped if item.label == label]
    attributes = tuple(dict.fromkeys(item.attribute for item in mine))
    crossed = tuple(name for name in attributes if JOIN in name)
    rates = tuple(dict.fromkeys(item.metric for item in mine if item.attribute in crossed and is_rate(item.metric)))
    scored = [item.attribute for item in mine if item.metric == "ece"]
    deciding = lead.attribute if lead else ""
    behind = rates_of(str(lead.detail.get("metric", ""))) if lead else ()
    by_default = deciding if deciding in scored or not scored else scored[0]
    return Choice(
        label=label,
        attribute=_one_of(attributes, request.GET.get("by"), by_default),
        rate=_one_of(rates, request.GET.get("rate"), *behind, "tpr", "underdiagnosis_rate"),
        labels=labels,
        attributes=attributes,
        rates=rates,
        intersections=crossed,
        written=any(is_written(item.metric) for item in mine),
    )


def _one_of(offered: Sequence[str], *wanted: str | None) -> str:
    """The first wanted value that is offered, else the first one offered."""
    return next((value for value in wanted if value in offered), offered[0] if offered else "") or ""


def _behind(run: AuditRun, choice: Choice) -> list[dict[str, Any]]:
    """The measurements behind every picture of a choice: its attribute, the intersections and what these cross."""
    from evaluation.charts.metrics import gaps_of

    parts = (part for name in choice.intersections for part in name.split(JOIN))
    return selectors.measurements_for(
        run,
        label=choice.label,
        attributes=(choice.attribute, *choice.intersections, *parts, ""),
        metrics=("ece", "net_benefit", choice.rate, *gaps_of(choice.rate)),
    )


def _plan(kind: str, measurements: Sequence[dict[str, Any]], choice: Choice, attribute: str) -> ChartPlan:
    from evaluation.charts import plan_calibration, plan_heatmap, plan_tradeoff

    if kind == "heatmap":
        return plan_heatmap(measurements, label=choice.label, attribute=attribute, metric=choice.rate)
    plan = plan_calibration if kind == "calibration" else plan_tradeoff
    return plan(measurements, label=choice.label, attribute=attribute)


def _why_no_scores(found: Sequence[Measured], choice: Choice) -> str:
    """Why this choice has no scores where others have; empty where none has any, and the chart says why."""
    scored = {(item.label, item.attribute) for item in found if item.metric == "ece"}
    if not scored or (choice.label, choice.attribute) in scored:
        return ""
    if choice.label in {label for label, _ in scored}:
        return gettext("Scores were not measured by %(attribute)s. Choose another attribute.") % {
            "attribute": words(choice.attribute)
        }
    return gettext("The model gives no score of %(label)s itself. Choose another label.") % {
        "label": words(choice.label)
    }


def _views(run: AuditRun, choice: Choice, measurements: Sequence[dict[str, Any]], no_scores: str) -> Iterator[View]:
    from evaluation.charts import NothingToDrawError
    from evaluation.charts.drawing import by_words

    scores = [] if choice.written else ["calibration", "tradeoff"]  # what is written has no scores
    wanted = [(kind, choice.attribute) for kind in scores]
    wanted += [("heatmap", name) for name in choice.intersections]
    for kind, attribute in wanted:
        heading = f"{KINDS[kind]}: {by_words(attribute)}"
        try:
            plan = _plan(kind, measurements, choice, attribute)
        except NothingToDrawError as reason:
            why, remedy = reason.message, reason.remedy
            if no_scores and kind != "heatmap":
                why, remedy = no_scores, ""
            yield View(kind=kind, heading=heading, plan=None, why_not=why, remedy=remedy)
            continue
        query = choice.query(attribute)
        yield View(
            kind=kind,
            heading=heading,
            plan=for_reader(plan),
            source=f"{reverse('audit-closer-chart', args=[run.pk, kind])}?{query}",
            table=f"{reverse('audit-closer-table', args=[run.pk, kind])}?{query}",
        )
    if not choice.intersections:
        yield View(
            kind="heatmap",
            heading=KINDS["heatmap"],
            plan=None,
            why_not="The protocol declares no intersection of attributes, so no crossed groups were measured.",
            remedy="Lock a protocol with 'intersections', such as [sex, age_band], and audit by it.",
        )


def _asked(request: HouseRequest, pk: int, kind: str) -> tuple[AuditRun, ChartPlan, list[dict[str, Any]]]:
    """The run, the planned chart, and the measurements behind it.

    Raises:
        Http404: there is no such kind of chart.
        NothingToDrawError: the audit holds none of this label and attribute.
    """
    if kind not in KINDS:
        raise Http404
    run = selectors.get_run(pk)
    attribute = request.GET.get("by", "")
    choice = Choice(
        label=request.GET.get("of", ""),
        attribute=attribute,
        rate=request.GET.get("rate", ""),
        labels=(),
        attributes=(),
        rates=(),
        intersections=(attribute,) if kind == "heatmap" else (),
    )
    measurements = _behind(run, choice)
    return run, _plan(kind, measurements, choice, attribute), measurements


@require_safe
@reads
def closer(request: HouseRequest, pk: int) -> HttpResponse:
    """The closer look by the reader's choice: a part of the run's page, or a page of its own."""
    run = selectors.get_run(pk)
    context = closer_context(request, run, selectors.measured_of(run), selectors.verdicts_of(run).lead)
    template = "evaluation/_closer.html" if request.headers.get("HX-Request") else "evaluation/closer.html"
    return render(request, template, context | {"run": run})


@require_safe
@reads
@csp_exempt()
def closer_chart(request: HouseRequest, pk: int, kind: str) -> HttpResponse:
    """One picture of the closer look. Shown as an image, so that nothing in it can act."""
    theme = asked_theme(request)
    _, plan, measurements = _asked(request, pk, kind)
    content = [measurements, plan.title, request.GET.get("by", ""), request.GET.get("rate", "")]
    return picture(drawn_once(kind, theme, content, lambda: plan), request)


@require_safe
@reads
def closer_table(request: HouseRequest, pk: int, kind: str) -> HttpResponse:
    """The numbers behind one picture of the closer look."""
    run, plan, _ = _asked(request, pk, kind)
    return table_behind(request, run, plan)
