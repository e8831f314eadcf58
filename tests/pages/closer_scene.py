"""What a run of today's engine holds beside the scene's rates: scores by group, intersections, advice, attempts."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from evaluation.models import AuditRun, Measurement
from tests.engine.measured import alone, benefits, bins, calibration, crossed, gap, measurement, nothing
from tests.pages import scene

FIELDS = ("suite", "metric", "label", "attribute", "group", "value", "low", "high", "n", "patients", "reason")


def advice(**given: Any) -> dict[str, Any]:
    """``Advice.to_dict()``: thresholds by group, which help."""
    return {
        "criterion": "tpr-gap-sex-age",
        "metric": "equal_opportunity_difference",
        "label": "effusion",
        "attribute": "sex",
        "method": "ThresholdOptimizer",
        "title": "A threshold of its own for each group",
        "before": 0.214,
        "after": 0.031,
        "reason": "",
        "n_fit": 2604,
        "n_held_out": 2606,
        "costs": {"tpr": [0.79, 0.83], "fpr": [0.112, 0.147], "selection_rate": [0.21, 0.25]},
        "detail": {"thresholds": {"F": 0.3121, "M": 0.5}},
        "caution": "It needs the group of every patient at the time of use, which the law may not allow.",
    } | given


def measurements() -> list[dict[str, Any]]:
    """Everything the closer look can show, of one label; and a measurement of another suite."""
    ages = {age: bins(shift, n=900 * (place + 1)) for place, (age, shift) in enumerate(
        [("18-39", -0.08), ("40-59", 0.0), ("60-69", 0.0), ("70-79", 0.03), (">=80", 0.14)])}  # fmt: skip
    pair = {"groups": ["F & >=80", "M & 18-39"], "value": -0.25, "low": -0.31, "high": -0.19}
    told = {"heterogeneity_p": 0.0002, "shrunken": {"F & >=80": 0.64, "F & 18-39": 0.85}}
    return [
        *calibration({"F": bins(0.12, above=0.4, hidden=(9,)), "M": bins(0.0, n=3000)}),
        *calibration(ages | {"Unknown": []}, attribute="age_band"),
        *benefits({"F": 0.05, "M": 0.2}),
        *benefits({"18-39": 0.25, "40-59": 0.22, "60-69": 0.2, "70-79": 0.12, ">=80": 0.05, "Unknown": None},
                  attribute="age_band"),
        *crossed(),
        *crossed(metric="fpr"),
        *alone(),
        gap([pair], attribute="sex & age_band", detail=told),
        nothing("undefined: fewer than two groups have enough patients to be compared", attribute="age_band",
                metric="xauc_difference", group=""),
        measurement(suite="drift", metric="psi", label="", attribute="", group="", value=0.04, detail={"bins": 3}),
    ]  # fmt: skip


def enrich(run: AuditRun, *, extra: int = 0) -> None:
    """Give a finished run of the scene what an audit measures today. ``extra``: as many further labels."""
    start = run.measurements.count()
    rows = measurements()
    for number in range(extra):
        rows += [item | {"label": f"finding_{number}"} for item in measurements()]
    Measurement.objects.bulk_create(
        Measurement(run=run, position=start + place, detail=item, **{name: item[name] for name in FIELDS})
        for place, item in enumerate(rows)
    )
    evidence = scene.store().get_json(run.evidence_digest)
    none = advice(
        method="ExponentiatedGradient",
        title="Decisions made again under the constraint",
        after=None,
        reason="the group age band >=80 has 12 studies in the half for fitting, and 30 are needed",
        detail={},
        caution="",
    )
    evidence["result"]["advice"] = [advice(), none]
    run.evidence_digest = scene.store().put_json(evidence)
    run.save()


def attempt_again(run: AuditRun) -> AuditRun:
    """A second attempt at the same audit, which broke."""
    again = AuditRun.objects.get(pk=run.pk)
    again.pk, again.attempt, again.status, again.outcome = None, run.attempt + 1, "failed", ""
    again.error, again.result_digest, again.evidence_digest = "The disk is full.", "", ""
    again.finished_at = timezone.now()
    again.save()
    return again
