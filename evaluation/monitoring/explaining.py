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
from evaluation.engine.records import ALL
from evaluation.models import AuditRun, MonitorWindow, StreamPoint
from evaluation.monitoring.evidently import EvidentlyReport, evidently_report
from models_registry.services.versions import model_store

log = logging.getLogger(__name__)
SCHEMA = "auscult/causes/1"


def explain_window(window_id: int) -> None:
    """Find causes and attach Evidently's report. Delivered twice, it writes the same once.

    The samples are those that the shares of the window's and of the reference's run kept.
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
    reference = _reference_sample(window, store, size=rules.drift.sample)
    found = sample_of(window.run, store, size=rules.drift.sample)
    frame = DriftFrame.from_bytes(store.get_bytes(window.monitor.frame_digest))
    shifts = _shifts(window)
    alarming = [item["stream"] for item in window.look.get("alarming", [])]
    search = find_causes(rules, reference, found, shifts, specs=frame.specs, alarming=alarming)
    search = replace(search, causes=(*search.causes, *_of_performance(rules, window, shifts, store)))
    report, note = _evidently(reference, found, minimum_cell=rules.minimum_cell)
    _write(window, store, found, search, report, note)


def _of_performance(rules: Rules, window: MonitorWindow, shifts: list[StreamShift], store: Store) -> tuple[Cause, ...]:
    """What a change of performance comes from, for each label whose performance moved beyond its margin."""
    digest = window.run.reference_digest if window.run else ""
    moved = [
        shift.stream.partition(".")[2]
        for shift in shifts
        if shift.family is Family.PERFORMANCE and shift.group in ("", ALL)
        if shift.value is not None and abs(shift.value) >= shift.margin
    ]
    if not (moved and digest and window.sketch_digest):
        return ()
    now, before = (DriftSketch.from_bytes(store.get_bytes(item)) for item in (window.sketch_digest, digest))
    labels = [name for name in dict.fromkeys(moved) if name in rules.label_names]
    return tuple(cause for label in labels for cause in shapley_of_performance(rules, now, before, label))


def _reference_sample(window: MonitorWindow, store: Store, *, size: int) -> DriftSample:
    """Of the windows that are the reference since a change was accepted; else of the reference cohort."""
    monitor = window.monitor
    earlier = AuditRun.objects.filter(window__in=monitor.reference_windows, window__index__lt=window.index)
    runs: list[AuditRun | None] = [*earlier.order_by("window__index")] or [monitor.reference_run]
    return merge_samples([sample_of(run, store, size=size) for run in runs if run is not None], size=size)


def sample_of(run: AuditRun, store: Store, *, size: int) -> DriftSample:
    """The sample of a run: those of its shares, merged."""
    digests = run.shards.exclude(sample_digest="").order_by("index").values_list("sample_digest", flat=True)
    return merge_samples([DriftSample.from_bytes(store.get_bytes(digest)) for digest in digests], size=size)


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
