"""Metrics and groups in a reader's words, from what the suites declare of themselves."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.translation import gettext, gettext_lazy

from core.spoken import spoken_value
from core.templatetags.figures import count, estimate, nouns, rate
from evaluation.engine.registry import Basis, MetricKind, known_metrics

register = template.Library()

WRITTEN = {
    Basis.REPORTS: gettext_lazy("whole reports"),
    Basis.PROBES: gettext_lazy("answers to questions"),
    Basis.SAMPLES: gettext_lazy("texts drawn several times"),
    Basis.PERTURBED: gettext_lazy("changed studies"),
    Basis.STREAMS: gettext_lazy("every stream of its family"),
}
"""What a criterion on texts is applied to."""


@register.filter
def metric_title(name: str | None) -> str:
    """``tpr`` as ``sensitivity``; a metric of a suite that is no longer installed by its own name."""
    info = known_metrics().get(name or "")
    return spoken_value(info.title if info else (name or "").replace("_", " "))


@register.filter
def accepts(criterion: dict[str, Any]) -> str:
    """What a criterion or a verdict's record accepts: ``within ±.10``, ``.80 to 1.20``, ``at least .80``."""
    info, margin = known_metrics().get(criterion.get("metric", "")), rate(criterion.get("margin"), 2)
    if info and info.kind is MetricKind.GAP:
        return spoken_value(f"within ±{margin}")
    if info and info.kind is MetricKind.DEVIATION:
        low, high = info.accepted(criterion.get("direction", ""), float(criterion.get("margin") or 0.0))
        return spoken_value(f"{rate(low, 2)} to {rate(high, 2)}")
    return spoken_value(f"{str(criterion.get('direction', '')).replace('_', ' ')} {margin}")


@register.filter
def judged_on(criterion: dict[str, Any], body: dict[str, Any]) -> str:
    """What a criterion is applied to: ``every label``, ``effusion``, ``any finding``, ``whole reports``."""
    info = known_metrics().get(criterion.get("metric", ""))
    if info and info.basis in WRITTEN:
        return str(WRITTEN[info.basis])
    if info and info.composite:
        return str((body.get("underdiagnosis") or {}).get("name", ""))
    labels = criterion.get("labels") or ["*"]
    return gettext("every label") if "*" in labels else ", ".join(str(name).replace("_", " ") for name in labels)


@register.filter
def counted(detail: dict[str, Any]) -> str:
    """What a verdict was judged on: ``1,204 studies``, ``5,915 findings reported by the model``."""
    n, info = detail.get("n"), known_metrics().get(detail.get("metric", ""))
    what = info.counted if info else ""
    return f"{count(n)} {spoken_value(what)}" if what else nouns(n, "study,studies")


@register.filter
def measured(item: Any) -> str:
    """The value of a measurement with its interval; a count as a count."""
    if item.value is not None and item.detail.get("method") == "count":
        return count(item.value)
    return estimate(item.value, item.low, item.high, 3)


@register.filter
def group_title(name: str | None) -> str:
    """``F & >=80`` as ``F & ≥80``."""
    return (name or "").replace(">=", "≥").replace("<=", "≤")


@register.filter
def pair_title(groups: list[str] | None) -> str:
    """The groups of a comparison: ``≥60 vs 40-59``."""
    return group_title(gettext(" vs ").join(groups or []))
