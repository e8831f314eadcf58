"""Two audits side by side: verdicts that changed, a picture of what is beyond chance, every difference in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from csp.decorators import csp_exempt
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from core.errors import ConflictError
from core.pages.lists import Choice, Column, Listing, ListPlan, read_list
from core.pages.readers import HouseRequest, reads_within
from core.pages.session import theme_of
from core.templatetags.figures import words
from evaluation.chart_words import for_reader
from evaluation.comparing import CANDIDATES, Comparison, comparable_runs, compare_runs, compared_runs
from evaluation.engine.differences import Difference, corrected
from evaluation.pages.pictures import asked_theme, drawn_once, picture, themes_of
from evaluation.templatetags.metrics import metric_title

if TYPE_CHECKING:
    from evaluation.charts import ChartPlan

SIDES = ("left", "right")
PAGE_SIZE = 50
CHANGES = (("yes", "Beyond chance"), ("worse", "Worse, beyond chance"), ("better", "Better, beyond chance"))


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A comparison as an address asks for it.

    Attributes:
        family: Every difference that the filter leaves, corrected together; what a filter by change takes away was
            corrected with the others.
        page: Those of one page.
    """

    listing: Listing[Difference]
    family: list[Difference]
    page: list[Difference]


@require_safe
@reads_within
def compare(request: HouseRequest) -> HttpResponse:
    """Two audits, or why they cannot be compared; without two, a choice."""
    asked = {side: request.GET.get(side, "")[:40] for side in SIDES}
    runs = comparable_runs(beside=asked["left"] or asked["right"])[:CANDIDATES]
    context: dict[str, Any] = {"asked": asked, "runs": runs, "status": 200}
    if all(asked.values()):
        context |= _compared(request, asked)
    return render(request, "evaluation/compare.html", context, status=context["status"])


def _compared(request: HouseRequest, asked: dict[str, str]) -> dict[str, Any]:
    try:
        left, right = compared_runs(asked["left"], asked["right"])
        found = compare_runs(left, right)
    except ConflictError as refusal:
        return {"refusal": refusal, "status": 409}
    shown = _shown(request, found)
    return {
        "compared": found,
        "listing": shown.listing,
        "rows": shown.page,
        "beyond": sum(item.beyond(found.alpha) for item in shown.family),
        "family": sum(item.p is not None for item in shown.family),
        "plan": _plan_of(shown.family, found),
        "picture": urlencode(asked) + (f"&{shown.listing.told}" if shown.listing.told else ""),
        "chart_themes": themes_of(theme_of(request)),
        "asked": {"left": f"run:{left.pk}", "right": f"run:{right.pk}"},
    }


def _shown(request: HouseRequest, found: Comparison) -> Shown:
    """The differences that are asked for. The correction is over all that the other filters leave."""
    families: list[list[Difference]] = []

    def changed(rows: Sequence[Difference], asked: str) -> list[Difference]:
        families.append(corrected(rows))
        beyond = [item for item in families[0] if item.beyond(found.alpha)]
        return [item for item in beyond if asked in ("yes", item.direction)]

    listing = read_list(request.GET, found.found, _plan(found.found, changed), keep=SIDES)
    family = families[0] if families else corrected(listing.rows)
    by_row = {_row(item): item for item in family}
    return Shown(listing=listing, family=family, page=[by_row[_row(item)] for item in listing.page])


def _row(item: Difference) -> tuple[str, ...]:
    return item.suite, item.metric, item.label, item.attribute, item.group


def _plan(found: Sequence[Difference], changed: Any) -> ListPlan:
    def choice(name: str, every: str, *, title: Any = words) -> Choice:
        values = sorted({getattr(item, name) for item in found} - {""})
        options = tuple((value, title(value)) for value in values)
        return Choice(name=name, title=name.capitalize(), every=every, options=options, keep=_fitting(name))

    return ListPlan(
        columns=(
            Column(title="Metric", key="metric", value=lambda row: metric_title(row.metric)),
            Column(title="Label", key="label", value=lambda row: row.label),
            Column(title="Group", key="group", value=lambda row: (row.attribute, row.group)),
            Column(title="Before", key="before", value=lambda row: row.before, numeric=True),
            Column(title="After", key="after", value=lambda row: row.after, numeric=True),
            Column(title="Difference (interval)", key="difference", value=lambda row: row.value, numeric=True),
            Column(title="p, corrected", key="p", value=lambda row: row.p, numeric=True),
            Column(title="What it says"),
        ),
        sort="p",
        text=lambda row: f"{metric_title(row.metric)} {row.label} {row.attribute} {row.group}",
        searched="Metric, label or group",
        choices=(
            choice("suite", "Every suite"),
            choice("label", "Every label"),
            choice("attribute", "Every attribute"),
            choice("metric", "Every metric", title=metric_title),
            Choice(name="changed", title="Change", every="Any", options=CHANGES, keep=changed),
        ),
        size=PAGE_SIZE,
        anchor="differences",
    )


def _fitting(name: str) -> Any:
    return lambda rows, value: [row for row in rows if getattr(row, name) == value]


def _plan_of(family: Sequence[Difference], found: Comparison) -> Any:
    from evaluation.charts import NothingToDrawError, plan_differences

    try:
        return for_reader(plan_differences(family, alpha=found.alpha))
    except NothingToDrawError:
        return None


@require_safe
@reads_within
@csp_exempt()
def compare_chart(request: HouseRequest) -> HttpResponse:
    """The picture of a comparison, as its address filters it."""
    theme = asked_theme(request)
    try:
        found = compare_runs(*compared_runs(*(request.GET.get(side, "") for side in SIDES)))
    except ConflictError as refusal:
        raise Http404(refusal) from refusal
    family = _shown(request, found).family

    def make() -> ChartPlan:
        from evaluation.charts import plan_differences

        return plan_differences(family, alpha=found.alpha)

    content = [[vars(item) for item in family], found.alpha]
    return picture(drawn_once("differences", theme, content, make), request)
