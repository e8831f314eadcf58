"""What was found in a study, for its line in the list; and the way from a verdict to the studies behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django import template
from django.urls import reverse
from django.utils.http import urlencode

from evaluation.models import Verdict
from evaluation.pages.explorer_words import about, look_of_kind
from evaluation.pages.report_marks import LOOKS, Look
from evaluation.studies.classes import ERROR_KINDS, class_of_metric
from evaluation.studies.selectors import StudyLine

register = template.Library()
register.filter(about)


@dataclass(frozen=True, kw_only=True)
class Told:
    """One kind with the findings that it concerns, in words."""

    look: Look
    findings: str


@register.filter
def errors(line: StudyLine) -> list[Told]:
    """What is wrong in a study, the gravest first."""
    return _told(line, lambda kind: kind in ERROR_KINDS)


@register.filter
def remarks(line: StudyLine) -> list[Told]:
    """What else is marked in it."""
    return _told(line, lambda kind: kind not in ERROR_KINDS)


def _told(line: StudyLine, wanted: Callable[[str], bool]) -> list[Told]:
    by: dict[str, list[str]] = {}
    for fault in line.faults:
        if wanted(fault.kind):
            by.setdefault(fault.kind, []).append(about(fault.finding))
    ranks = {kind: rank for rank, kind in enumerate(LOOKS)}
    return [
        Told(look=look_of_kind(kind), findings=", ".join(filter(None, findings)))
        for kind, findings in sorted(by.items(), key=lambda item: ranks.get(item[0], len(ranks)))
    ]


@register.simple_tag
def studies_behind(verdict: Verdict) -> str:
    """Address of the studies that a verdict's metric counts, in the group it speaks of; "" where it counts none."""
    metric = str(verdict.detail.get("metric", ""))
    error = class_of_metric(metric)
    if error is None:
        return ""
    groups = verdict.detail.get("groups") or []
    query = {"error": error, "metric": metric} if error else {"metric": metric}
    if verdict.attribute and groups:
        query["by"] = f"{verdict.attribute}={groups[0]}"
    return f"{reverse('studies', args=[verdict.run_id])}?{urlencode(query)}"
