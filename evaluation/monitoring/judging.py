"""The last step of a window: what moved, what the lifetime test says of it, and who must be told. Once, in order."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import Q
from django.utils import timezone

from core import ledger
from core.errors import AuscultError, TransientError
from evaluation.engine import Protocol as Rules
from evaluation.engine.drift.earlier import Scope, lasting, without_estimates, without_numbers
from evaluation.engine.drift.lifetime import look as look_at
from evaluation.engine.drift.records import Look, Notice, NoticeKind, Residual, Shape, StreamShift
from evaluation.engine.drift.residuals import few, residuals_of
from evaluation.engine.drift.shifts import shifts_of
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.records import ALL
from evaluation.engine.sketch import DRIFT
from evaluation.execution.judging import merged_sketch
from evaluation.models import Monitor, MonitorWindow, RunStatus, StreamPoint
from evaluation.monitoring.collecting import FINAL
from evaluation.monitoring.firing import send_next
from evaluation.monitoring.telling import findings_of, noticed, points_of, tell_judged
from models_registry import leases
from models_registry.services.versions import model_store

log = logging.getLogger(__name__)
Status = MonitorWindow.Status
SCHEMA = "auscult/window/1"
ENDED_BADLY = (RunStatus.FAILED, RunStatus.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What was found of one window, before any of it is written.

    Attributes:
        cycle, reference: Of the monitor when it was worked out; a judgement of another cycle is not written.
        reference_windows: Numbers of the windows that the reference is made of; none where it is the reference cohort.
        onset: Number of the window in which the change most likely began; None without an alarm.
    """

    cycle: int
    reference: str
    reference_windows: tuple[int, ...]
    rules: Rules
    sketch: DriftSketch
    baseline: DriftSketch
    shifts: tuple[StreamShift, ...]
    notices: tuple[Notice, ...]
    residuals: tuple[Residual, ...]
    look: Look
    onset: int | None


def judge_window(window_id: int) -> None:
    """Judge a window whose audit is done, or close it where the audit failed. Delivered twice, it judges once.

    A worker that is killed in the middle leaves a lease that runs out; the sweep sends the window again, and what is
    found is a function of what the store holds, so that the second worker writes what the first would have.

    Raises:
        TransientError: to be tried again.
    """
    window = _opened(window_id)
    if window is None or window.run is None or _before(window).exclude(status__in=FINAL).exists():
        return
    if window.run.status in ENDED_BADLY:
        _fail(window, "", f"Its audit ended as {window.run.status}: {window.run.error or 'it was cancelled.'}")
        return
    token = _claim(window) if window.run.status == RunStatus.DONE else None
    if token is None:
        return
    try:
        _write(window, token, _judged(window))
    except leases.LeaseLostError:
        log.info("window %s is judged by another worker, or again", window_id)
    except (TransientError, OperationalError):
        # A store or a database that does not answer now: whoever comes next, at the latest from the sweep, takes over.
        _ours(window, token).update(lease_token="", lease_expires=timezone.now())
        raise
    except AuscultError as error:
        _fail(window, token, str(error))
    except Exception as error:
        _fail(window, token, leases.unexpected(error))
        raise


def _opened(window_id: int) -> MonitorWindow | None:
    about = ("monitor__protocol", "monitor__deployment__version__system", "monitor__owner", "run")
    rows = MonitorWindow.objects.select_related(*about).filter(pk=window_id)
    return rows.filter(status__in=[Status.AUDITING, Status.JUDGING]).first()


def _before(window: MonitorWindow) -> Any:
    return MonitorWindow.objects.filter(monitor_id=window.monitor_id, index__lt=window.index)


def _claim(window: MonitorWindow) -> str | None:
    """Take the window, or take it over from a worker that was silent for too long; None where it is another's."""
    now, token = timezone.now(), uuid.uuid4().hex
    free = Q(status=Status.AUDITING) | Q(status=Status.JUDGING, lease_expires__lt=now)
    taken = MonitorWindow.objects.filter(free, pk=window.pk).update(
        status=Status.JUDGING, lease_token=token, lease_expires=_until(now)
    )
    return token if taken else None


def _until(now: datetime) -> datetime:
    """Judging takes seconds; as with the judging of an audit, five leases are given."""
    return now + timedelta(seconds=settings.AUSCULT_LEASE_SECONDS * 5)


def _ours(window: MonitorWindow, token: str) -> Any:
    return MonitorWindow.objects.filter(pk=window.pk, lease_token=token, status=Status.JUDGING)


def _judged(window: MonitorWindow) -> Judgement:
    """Everything that is found of a window; reads the store and writes nothing.

    Shifts are held against the reference; the scores of the lifetime test against the reference merged with every
    window judged before in this cycle.
    """
    monitor, store = Monitor.objects.get(pk=window.monitor_id), model_store()
    assert window.run is not None
    rules = Rules.from_dict(window.monitor.protocol.body)
    sketch = merged_sketch(window.run).parts[DRIFT]
    assert isinstance(sketch, DriftSketch)
    earlier = list(_before(window).filter(cycle=monitor.cycle, status=Status.JUDGED).order_by("index"))
    reference = DriftSketch.from_bytes(store.get_bytes(monitor.reference_digest))
    baseline = _with_last(earlier[-1]) if earlier else reference
    shifts, notices = shifts_of(rules, sketch, reference)
    notices = lasting(notices, shifts, looks=len(earlier) + 1)
    shifts = without_estimates(shifts, _contradicted(earlier))
    thin = few(rules, sketch, baseline)
    residuals = residuals_of(rules, sketch, baseline, notices=notices)
    history = [[Residual.from_dict(item) for item in row.residuals] for row in earlier]
    found = look_at(rules, [*history, residuals], shifts, cycle=monitor.cycle)
    numbers = [*(row.index for row in earlier), window.index]
    return Judgement(
        cycle=monitor.cycle,
        reference=monitor.reference_digest,
        reference_windows=_indices(monitor),
        rules=rules,
        sketch=sketch,
        baseline=baseline,
        shifts=shifts,
        notices=(*notices, *([thin] if thin else [])),
        residuals=residuals,
        look=found,
        onset=None if found.onset is None else numbers[found.onset - 1],
    )


def _indices(monitor: Monitor) -> tuple[int, ...]:
    if not monitor.reference_windows:
        return ()
    rows = MonitorWindow.objects.filter(pk__in=monitor.reference_windows).order_by("index")
    return tuple(rows.values_list("index", flat=True))


def _with_last(last: MonitorWindow) -> DriftSketch:
    """The pool of the last window with that window in it, but for numbers that came in another unit."""
    pool, own = (DriftSketch.from_bytes(model_store().get_bytes(d)) for d in (last.baseline_digest, last.sketch_digest))
    return pool.merge(without_numbers(own, {item["stream"] for item in noticed(last, NoticeKind.UNIT)}))


def _contradicted(earlier: list[MonitorWindow]) -> dict[Scope, int]:
    """Where labels have contradicted estimates for good in this cycle, and in which window first."""
    found: dict[Scope, int] = {}
    for row in earlier:
        for item in noticed(row, NoticeKind.CONCEPT):
            where = item["detail"]
            if not where["lasting"]:
                continue
            scope = (item["stream"].partition(".")[2], where.get("attribute", ""), where.get("group", ALL))
            found.setdefault(scope, row.index)
    return found


def _write(window: MonitorWindow, token: str, found: Judgement) -> None:
    """The documents first: what the store holds without a window does no harm. Then one transaction."""
    store = model_store()
    facts: dict[str, Any] = {
        "cycle": found.cycle,
        "sketch_digest": store.put_bytes(found.sketch.to_bytes()),
        "baseline_digest": store.put_bytes(found.baseline.to_bytes()),
        "residuals": [item.to_dict() for item in found.residuals],
        "look": found.look.to_dict() | {"onset": found.onset},
        "log_e": found.look.log_e,
        "alarm": found.look.alarm,
        "findings": [*window.findings, *findings_of(found.notices)],
    }
    facts["evidence_digest"] = store.put_json(_evidence(window, found, facts))
    _settle(window, token, found, facts)


@transaction.atomic
def _settle(window: MonitorWindow, token: str, found: Judgement, facts: dict[str, Any]) -> None:
    """Everything that makes a window judged. Where the monitor was restarted meanwhile it is sent to be judged again.

    Raises:
        LeaseLostError: another worker has it; then nothing is written.
    """
    from evaluation import tasks

    monitor = Monitor.objects.select_for_update(of=("self",), no_key=True).get(pk=window.monitor_id)
    if (monitor.cycle, monitor.reference_digest) != (found.cycle, found.reference):
        # Restarted while this was worked out: it is judged again, by what holds now.
        if _ours(window, token).update(status=Status.AUDITING, lease_token="", lease_expires=None):
            tasks.judge_window.delay_on_commit(window.pk)
        return
    ended: dict[str, Any] = {"judged_at": timezone.now(), "lease_token": "", "lease_expires": None, "error": ""}
    if not _ours(window, token).update(status=Status.JUDGED, **facts, **ended):
        raise leases.LeaseLostError
    window.refresh_from_db()
    StreamPoint.objects.bulk_create(points_of(window, found.rules, found.sketch, found.shifts, found.look))
    tell_judged(window, found.rules, found.shifts, found.notices, found.look)
    ledger.record(
        actor="system",
        act="window.judged",
        subject=("MonitorWindow", window.pk),
        payload={
            "monitor": window.monitor_id,
            "index": window.index,
            "cycle": found.cycle,
            "alarm": found.look.alarm,
            "log_e": round(found.look.log_e, 6),
            "evidence": window.evidence_digest,
            "run": window.run_id,
        },
    )
    send_next(window.monitor_id)
    tasks.explain_window.delay_on_commit(window.pk)


def _evidence(window: MonitorWindow, found: Judgement, facts: dict[str, Any]) -> dict[str, Any]:
    """The document of a window: what it was held against, what moved, and what is promised. Without a clock's time."""
    assert window.run is not None
    monitor = window.monitor
    return {
        "schema": SCHEMA,
        "monitor": {"id": monitor.pk, "name": monitor.name, "cycle": found.cycle, "zone": monitor.zone},
        "window": {
            "index": window.index,
            "opens_at": window.opens_at.isoformat(),
            "closes_at": window.closes_at.isoformat(),
        },
        "protocol": monitor.protocol.digest,
        "model": monitor.deployment.version.digest,
        "run": {
            "spec": window.run.spec_digest,
            "result": window.run.result_digest,
            "evidence": window.run.evidence_digest,
        },
        "frame": monitor.frame_digest,
        "reference": found.reference,
        "reference_windows": list(found.reference_windows),
        "sketch": facts["sketch_digest"],
        "baseline": facts["baseline_digest"],
        "patients": found.sketch.n if found.sketch.n >= found.rules.minimum_cell else None,
        "shifts": [_shown(item, found.rules).to_dict() for item in found.shifts],
        "notices": [item.to_dict() for item in found.notices],
        "residuals": [_uncounted(item, found) for item in found.residuals],
        "look": facts["look"],
        "findings": facts["findings"],
    }


def _uncounted(item: Residual, found: Judgement) -> dict[str, Any]:
    """What is kept of a stream, without the number of a small group's patients, and without the names of categories:
    a rare one may be of one patient. The sketch has both."""
    body = item.to_dict()
    named = {spec.name for spec in found.sketch.specs if spec.shape is not Shape.CATEGORY}
    if item.stream not in named:
        body["components"] = [f"category {place}" for place in range(1, len(item.components) + 1)]
    return body | {name: None for name in ("n", "baseline") if 0 < body[name] < found.rules.minimum_cell}


def _shown(shift: StreamShift, rules: Rules) -> StreamShift:
    """A shift whose group is too small to be counted in the open: its n is left at 0, and it says so."""
    n, n_reference = (0 if 0 < number < rules.minimum_cell else number for number in (shift.n, shift.n_reference))
    if (n, n_reference) == (shift.n, shift.n_reference):
        return shift
    return replace(shift, n=n, n_reference=n_reference, detail=shift.detail | {"suppressed": True})


@transaction.atomic
def _fail(window: MonitorWindow, token: str, error: str) -> None:
    """Close a window that cannot be judged, with its alert and its entry; the next one comes."""
    from evaluation.services.alerts import raise_alert

    rows = MonitorWindow.objects.filter(pk=window.pk, status__in=[Status.AUDITING, Status.JUDGING])
    if token:
        rows = rows.filter(lease_token=token)
    if not rows.update(status=Status.FAILED, error=error, lease_token="", lease_expires=None):
        return
    raise_alert(
        monitor=window.monitor,
        kind="run",
        severity="warning",
        key=f"run:{window.index}",
        title=f"Window {window.index} of {window.monitor.name} could not be judged",
        text=error,
        window=window,
    )
    payload = {"monitor": window.monitor_id, "index": window.index, "run": window.run_id}
    ledger.record(actor="system", act="window.failed", subject=("MonitorWindow", window.pk), payload=payload)
    send_next(window.monitor_id)
