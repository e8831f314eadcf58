"""Why a window differs, and Evidently's report on it: worked out after the judging, which rests on neither."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from django.db import transaction

from core import ledger
from core.errors import AuscultError
from core.store import Store
from evaluation.engine import Protocol as Rules
from evaluation.engine.drift.causes import Search, find_causes
from evaluation.engine.drift.frame import DriftFrame
from evaluation.engine.drift.records import Cause, Family, StreamShift
from evaluation.engine.drift.sample import DriftSample, merge_samples
from evaluation.engine.drift.shares import shapley_of_performance
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.protocol_drift import Drift
from evaluation.engine.records import ALL
from evaluation.execution.watching import window_sample
from evaluation.models import MonitorWindow, StreamPoint
from evaluation.monitoring.evidently import EvidentlyReport, evidently_report
from models_registry.services.versions import model_store

log = logging.getLogger(__name__)
SCHEMA = "auscult/causes/1"


def explain_window(window_id: int) -> None:
    """Find causes and attach Evidently's report. Delivered twice, it writes the same once.

    The samples are those that the shares of the window's and of the reference's run kept. The reference is the one that
    the window was judged by, also where the monitor was restarted meanwhile.
    """
    window = (
        MonitorWindow.objects.select_related("monitor__protocol", "monitor__reference_run", "run")
        .filter(pk=window_id, status=MonitorWindow.Status.JUDGED, causes_digest="")
        .first()
    )
    if window is None or window.run is None or window.monitor.reference_run is None:
        return
    rules, store = Rules.from_dict(window.monitor.protocol.body), model_store()
    if rules.drift is None:
        return
    judged = store.get_json(window.evidence_digest)
    reference = _reference_sample(window, rules, judged["reference_windows"])
    found = window_sample(window.run, rules)
    frame = DriftFrame.from_bytes(store.get_bytes(window.monitor.frame_digest))
    shifts = _shifts(window)
    alarming = [item["stream"] for item in window.look.get("alarming", [])]
    search = find_causes(rules, reference, found, shifts, specs=frame.specs, alarming=alarming)
    shared = _of_performance(rules, window, judged["reference"], shifts, store)
    search = replace(search, causes=(*search.causes, *shared))
    report, note = _evidently(reference, found, minimum_cell=rules.minimum_cell)
    _write(window, store, found, search, report, note)


def _of_performance(
    rules: Rules, window: MonitorWindow, reference: str, shifts: list[StreamShift], store: Store
) -> tuple[Cause, ...]:
    """What a change of performance comes from, for each label whose performance moved beyond its margin."""
    moved = [
        shift.stream.partition(".")[2]
        for shift in shifts
        if shift.family is Family.PERFORMANCE and shift.group in ("", ALL)
        if shift.value is not None and abs(shift.value) >= shift.margin
    ]
    if not moved:
        return ()
    now, before = (DriftSketch.from_bytes(store.get_bytes(item)) for item in (window.sketch_digest, reference))
    labels = [name for name in dict.fromkeys(moved) if name in rules.label_names]
    return tuple(cause for label in labels for cause in shapley_of_performance(rules, now, before, label))


def _reference_sample(window: MonitorWindow, rules: Rules, held_against: list[int]) -> DriftSample:
    """Of the windows that were the reference when this one was judged; else of the reference cohort."""
    rows = MonitorWindow.objects.filter(monitor_id=window.monitor_id, index__in=held_against).select_related("run")
    runs = [row.run for row in rows.order_by("index")] or [window.monitor.reference_run]
    samples = [window_sample(run, rules) for run in runs if run is not None]
    return merge_samples(samples, size=(rules.drift or Drift()).sample)


def _shifts(window: MonitorWindow) -> list[StreamShift]:
    return [
        StreamShift(
            stream=point.stream,
            family=Family(point.family),
            attribute=point.attribute,
            group=point.group,
            effect=point.effect,
            value=point.value,
            low=point.low,
            high=point.high,
            margin=point.margin or 0.0,
            p_value=point.p_value,
            n=point.n or 0,
            n_reference=0,
            reason=point.reason,
        )
        for point in StreamPoint.objects.filter(window=window)
    ]


def _evidently(reference: DriftSample, found: DriftSample, *, minimum_cell: int) -> tuple[EvidentlyReport | None, str]:
    """The report, or why there is none. What another library cannot do stops nothing of ours."""
    try:
        return evidently_report(reference, found, minimum_cell=minimum_cell), ""
    except AuscultError as error:
        return None, error.message
    except Exception as error:  # noqa: BLE001 - whatever another library raises
        log.warning("Evidently could not report on a window: %s", type(error).__name__)
        return None, f"Evidently stopped with {type(error).__name__}; the log of the worker has the rest."


def _write(
    window: MonitorWindow,
    store: Store,
    sample: DriftSample,
    search: Search,
    report: EvidentlyReport | None,
    note: str,
) -> None:
    exemplars = ""
    if search.exemplars:
        named = [{"study_id": study, "probability": round(value, 4)} for study, value in search.exemplars]
        exemplars = store.put_json({"schema": SCHEMA, "exemplars": named})
    causes = [item.to_dict() for item in search.causes]
    body = {
        "schema": SCHEMA,
        "window": window.evidence_digest,
        "causes": causes,
        "auroc": search.auroc,
        "notes": list(search.notes),
        "exemplars": exemplars,
    }
    facts: dict[str, Any] = {
        "causes": causes,
        "causes_digest": store.put_json(body),
        "sample_digest": store.put_bytes(sample.to_bytes()),
        "evidently": _told(report, note),
        "evidently_html": store.put_bytes(report.html) if report else "",
        "evidently_json": store.put_bytes(report.json) if report else "",
    }
    with transaction.atomic():
        if MonitorWindow.objects.filter(pk=window.pk, causes_digest="").update(**facts):
            digests = {name: facts[name] for name in ("causes_digest", "evidently_html", "evidently_json")}
            ledger.record(actor="system", act="window.explained", subject=("MonitorWindow", window.pk), payload=digests)


def _told(report: EvidentlyReport | None, note: str) -> dict[str, Any]:
    """What a page shows of Evidently's report."""
    if report is None:
        return {"note": note}
    checked = [{"theirs" if name == "value" else name: value for name, value in item.items()} for item in report.checks]
    share = report.verdict["drifted"] / report.verdict["columns"]
    return report.verdict | {"share": share, "cross_check": checked, "note": ""}
