"""What a run found: the part of its page, its charts, and its downloads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from csp.decorators import csp_exempt
from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from core.kept import kept
from core.pages.readers import HouseRequest, reads
from evaluation import selectors
from evaluation.models import AuditRun, Verdict
from evaluation.pages.closer import closer_context
from evaluation.pages.measurements import listing_of
from evaluation.pages.pictures import asked_theme, drawn_once, picture, table_behind
from models_registry.services.versions import model_store

if TYPE_CHECKING:
    from evaluation.charts import ChartPlan, Theme


def result_context(request: HouseRequest, run: AuditRun) -> dict[str, Any]:
    """Everything the page of a finished run shows below its head."""
    summary = selectors.verdicts_of(run)
    evidence, trouble = selectors.evidence_in_short(run)
    found = kept("measured", run.pk, run.evidence_digest, make=partial(selectors.measured_of, run))
    advice = selectors.advice_of(run, evidence)
    return {
        "summary": summary,
        "listing": listing_of(request, run, found),
        "execution": evidence.get("execution", {}),
        "notes": evidence.get("result", {}).get("notes", []),
        "advice": _by_criterion(advice or []),
        "advice_awaited": advice is None,
        "cautions": list(dict.fromkeys(item["caution"] for item in advice or [])),
        "trouble": trouble,
        **closer_context(request, run, found, summary.lead),
    }


def _by_criterion(advice: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Advice on one criterion and label together, in the order of the evidence."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in advice:
        found.setdefault((item["criterion"], item["label"]), []).append(item)
    return list(found.values())


def chart_of(run: AuditRun, verdict: Verdict, *, theme: Theme) -> str:
    """The forest plot of one verdict as SVG, drawn once for each content and theme."""
    measurements = selectors.measurements_behind(run, verdict)

    def make() -> ChartPlan:
        from evaluation.charts import plan_forest

        return plan_forest(measurements, verdict.detail)

    return drawn_once("forest", theme, [measurements, verdict.detail], make)


@require_safe
@reads
@csp_exempt()
def chart(request: HouseRequest, pk: int, position: int) -> HttpResponse:
    """The picture behind one verdict. Shown as an image, so that nothing in it can act."""
    run = selectors.get_run(pk)
    return picture(chart_of(run, selectors.get_verdict(run, position), theme=asked_theme(request)), request)


@require_safe
@reads
def chart_table(request: HouseRequest, pk: int, position: int) -> HttpResponse:
    """The numbers behind a chart, made from the same rows: a part of the page, or a page of its own."""
    from evaluation.charts import plan_forest

    run = selectors.get_run(pk)
    verdict = selectors.get_verdict(run, position)
    plan = plan_forest(selectors.measurements_behind(run, verdict), verdict.detail)
    return table_behind(request, run, plan)


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
