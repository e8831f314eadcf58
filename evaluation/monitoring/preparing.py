"""A monitor's reference: the frame is fitted, the model runs over the reference cohort, and its sketch is kept."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core import ledger
from core.errors import AuscultError, DeniedError, TransientError
from evaluation.engine import Protocol as Rules
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.protocol_drift import Drift
from evaluation.execution.frames import fit_reference_frame
from evaluation.execution.heartbeat import Heartbeat
from evaluation.execution.judging import merged_sketch
from evaluation.models import AuditRun, Monitor, RunStatus
from evaluation.monitoring.owners import check_owner, hand_over_words
from evaluation.monitoring.scheduling import schedule_monitor
from evaluation.services.runs import UnderWayError, request_audit
from models_registry import leases
from models_registry.cohorts import open_cohort
from models_registry.services.versions import model_store

log = logging.getLogger(__name__)
Status = Monitor.Status
ENDED_BADLY = (RunStatus.FAILED, RunStatus.CANCELLED)


def prepare_monitor(monitor_id: int) -> None:
    """One step of the way to a reference. Called again after each, until the monitor is active or has failed.

    Safe to call twice: the first step is claimed by a lease, and what follows is a conditional UPDATE.

    Raises:
        TransientError: to be tried again.
    """
    monitor = (
        Monitor.objects.select_related(
            "deployment__version__system", "deployment__version__submitted_by", "protocol__approved_by",
            "reference_cohort__cohort", "owner", "reference_run",
        )
        .filter(pk=monitor_id, status=Status.PREPARING)
        .first()
    )  # fmt: skip
    if monitor is None:
        return
    if monitor.reference_run is None:
        _begin(monitor)
    elif monitor.reference_run.status == RunStatus.DONE:
        _guarded(monitor, "", partial(_activate, monitor, monitor.reference_run))
    elif monitor.reference_run.status in ENDED_BADLY:
        _fail(monitor, "", f"The audit of the reference ended as {monitor.reference_run.status}: "
                           f"{monitor.reference_run.error or 'it was cancelled'}")  # fmt: skip


def _begin(monitor: Monitor) -> None:
    """Fit the frame and order the audit of the reference."""
    token = uuid.uuid4().hex
    free = Q(lease_token="") | Q(lease_expires__lt=timezone.now())
    rows = Monitor.objects.filter(free, pk=monitor.pk, status=Status.PREPARING, reference_run=None)
    if rows.update(lease_token=token, lease_expires=_until()):
        _guarded(monitor, token, partial(_order_reference, monitor, token))


def _guarded(monitor: Monitor, token: str, step: partial[None]) -> None:
    try:
        step()
    except leases.LeaseLostError:
        log.info("the reference of monitor %s is made by another worker", monitor.pk)
    except (TransientError, UnderWayError) as error:
        # Under way: another monitor ordered the same reference at this very moment. Next time it is shared.
        Monitor.objects.filter(pk=monitor.pk, lease_token=token).update(lease_token="", lease_expires=None)
        if isinstance(error, TransientError):
            raise
        raise TransientError(error.message, remedy=error.remedy) from error
    except DeniedError as denial:
        _fail(monitor, token, f"{denial.message} {hand_over_words(monitor)} Then make the reference again.")
    except AuscultError as error:
        _fail(monitor, token, str(error))
    except Exception as error:
        _fail(monitor, token, leases.unexpected(error))
        raise


def _order_reference(monitor: Monitor, token: str) -> None:
    check_owner(monitor)
    rules, version = Rules.from_dict(monitor.protocol.body), monitor.deployment.version
    reader = open_cohort(model_store().folder_path(monitor.reference_cohort.digest))
    with Heartbeat(partial(_renew, monitor, token), every=settings.AUSCULT_LEASE_SECONDS / 3) as beat:
        frame = fit_reference_frame(version, rules, reader, {}, after_batch=lambda done: beat.alive())
    digest = model_store().put_bytes(frame.to_bytes())
    with transaction.atomic():
        run = _same(monitor, digest) or request_audit(
            version=version,
            cohort=monitor.reference_cohort,
            protocol=monitor.protocol,
            by=monitor.owner,
            frame=digest,
        )
        taken = Monitor.objects.filter(pk=monitor.pk, lease_token=token, status=Status.PREPARING).update(
            frame_digest=digest, reference_run=run, lease_token="", lease_expires=None
        )
        if not taken:
            raise leases.LeaseLostError
        if run.status == RunStatus.DONE:
            from evaluation import tasks

            tasks.prepare_monitor.delay_on_commit(monitor.pk)


def _same(monitor: Monitor, frame: str) -> AuditRun | None:
    """An audit of the same reference that is done or under way: two monitors may share one."""
    rows = AuditRun.objects.filter(
        version=monitor.deployment.version,
        cohort=monitor.reference_cohort,
        protocol=monitor.protocol,
        frame_digest=frame,
        reference_digest="",
    )
    return rows.exclude(status__in=ENDED_BADLY).order_by("-pk").first()


def _activate(monitor: Monitor, run: AuditRun) -> None:
    """Keep the reference's sketch and begin: the scheduler fires from now on."""
    sketch = merged_sketch(run).parts["drift"]
    assert isinstance(sketch, DriftSketch)
    least = (Rules.from_dict(monitor.protocol.body).drift or Drift()).minimum_reference
    if sketch.n < least:
        raise AuscultError(
            f"The reference has fewer than the {least:,} patients that the protocol asks for.",
            remedy="Choose a larger reference, or a protocol that asks for fewer.",
        )
    digest = model_store().put_bytes(sketch.to_bytes())
    with transaction.atomic():
        rows = Monitor.objects.filter(pk=monitor.pk, status=Status.PREPARING)
        if not rows.update(status=Status.ACTIVE, reference_digest=digest, reference_windows=[], error=""):
            return
        monitor.refresh_from_db()
        schedule_monitor(monitor)
        ledger.record(
            actor="system",
            act="monitor.activated",
            subject=("Monitor", monitor.pk),
            payload={"frame": monitor.frame_digest, "reference": digest, "run": run.pk},
        )


@transaction.atomic
def _fail(monitor: Monitor, token: str, error: str) -> None:
    from evaluation.services.alerts import raise_alert

    rows = Monitor.objects.filter(pk=monitor.pk, status=Status.PREPARING, lease_token=token)
    if not rows.update(status=Status.FAILED, error=error, lease_token="", lease_expires=None):
        return
    raise_alert(
        monitor=monitor,
        kind="run",
        severity="warning",
        key="reference",
        title=f"The reference of {monitor.name} could not be made",
        text=error,
    )
    ledger.record(actor="system", act="monitor.failed", subject=("Monitor", monitor.pk), payload={})


def _renew(monitor: Monitor, token: str) -> None:
    if not Monitor.objects.filter(pk=monitor.pk, lease_token=token).update(lease_expires=_until()):
        raise leases.LeaseLostError


def _until() -> datetime:
    return timezone.now() + timedelta(seconds=settings.AUSCULT_LEASE_SECONDS)
