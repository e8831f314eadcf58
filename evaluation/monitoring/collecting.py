"""A window's studies become a cohort version and an audit is ordered; or a record says why not."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core import ledger
from core.errors import AuscultError, CohortError, DeniedError, EnvironmentProblemError, ProtocolError
from evaluation.models import AuditRun, Monitor, MonitorWindow
from evaluation.monitoring.deliveries import Pulled, expected_of, pull, scratch, tell
from evaluation.monitoring.findings import Finding, Kind, Severity
from evaluation.monitoring.gathering import Window, gather, keep_keys
from evaluation.monitoring.owners import check_owner, hand_over_words, settle_waiting, tell_waiting
from evaluation.monitoring.schema import unusable
from evaluation.monitoring.sources.base import OnItsWayError
from evaluation.selectors_monitors import UNREADABLE
from models_registry.execution import store_cohort
from models_registry.leases import LeaseLostError
from models_registry.models import CohortRole, CohortVersion

log = logging.getLogger(__name__)
Status = MonitorWindow.Status
FINAL = (Status.JUDGED, Status.EMPTY, Status.REFUSED, Status.FAILED)
MOST_ATTEMPTS = 12
FIRST_PAUSE, LONGEST_PAUSE = 60, 3_600
MOST_WAITS = 5
"""Times that a window waits for what it could also do without, such as a file that is still being written."""
LONGEST_WAIT = timedelta(hours=24)


def collect_window(window_id: int) -> None:
    """Read what is new at the source and turn the studies of one window into an audit.

    Windows are worked on in their order: while an earlier one is open, nothing is done. Called twice, or by two
    workers at once, it does its work once. Every way it can end is written to the window's row.
    """
    token = _claim(window_id)
    if token is None:
        return
    rows = MonitorWindow.objects.select_related(
        "monitor__deployment__version__system", "monitor__deployment__version__submitted_by",
        "monitor__protocol__approved_by", "monitor__reference_cohort__cohort", "monitor__owner",
    )  # fmt: skip
    window = rows.get(pk=window_id)
    try:
        _collect(window, token)
    except LeaseLostError:
        log.info("window %s was taken over", window_id)
    except DeniedError as denial:
        _wait_for_owner(window, token, denial)
    except AuscultError as error:
        _put_off_or_fail(window, token, error)
    except Exception:
        _release(window, token, error="Something failed that nobody foresaw; the worker's log has it.")
        raise


def _claim(window_id: int) -> str | None:
    """Take the window if it is due, its monitor is active, and every window before it has ended."""
    now, token = timezone.now(), uuid.uuid4().hex
    window = MonitorWindow.objects.filter(pk=window_id, due_at__lte=now).first()
    if window is None:
        return None
    if MonitorWindow.objects.filter(monitor_id=window.monitor_id, index__lt=window.index).exclude(
        status__in=FINAL
    ).exists():  # fmt: skip
        return None
    free = Q(status=Status.DUE) | Q(status=Status.COLLECTING, lease_expires__lt=now)
    taken = MonitorWindow.objects.filter(free, pk=window_id, monitor__status=Monitor.Status.ACTIVE)
    return token if taken.update(status=Status.COLLECTING, lease_token=token, lease_expires=_until()) else None


def _until() -> datetime:
    return timezone.now() + timedelta(seconds=settings.AUSCULT_LEASE_SECONDS)


def _keeper(window: MonitorWindow, token: str) -> Callable[[], None]:
    """Renews the lease, at most every few seconds.

    Raises:
        LeaseLostError: another worker has the window.
    """
    last = [timezone.now()]

    def alive() -> None:
        if (timezone.now() - last[0]).total_seconds() >= settings.AUSCULT_LEASE_SECONDS / 10:
            last[0] = timezone.now()
            if not _ours(window, token).update(lease_expires=_until()):
                raise LeaseLostError

    return alive


def _ours(window: MonitorWindow, token: str) -> Any:
    return MonitorWindow.objects.filter(pk=window.pk, lease_token=token, status=Status.COLLECTING)


def _collect(window: MonitorWindow, token: str) -> None:
    alive = _keeper(window, token)
    check_owner(window.monitor)
    # What the source needs to go on with; how often and how long it was waited for stays with us.
    pulled = pull(
        window.monitor,
        opens_at=window.opens_at,
        closes_at=window.closes_at,
        progress=window.progress.get("source", {}),
        alive=alive,
    )
    if pulled.wait is not None and not _enough(window, pulled.wait):
        _wait(window, token, pulled.wait)
        return
    began = timezone.now()  # what comes from now on is news to the next window
    with scratch() as folder:
        target = folder / "window.parquet"
        held = gather(window, target, columns=expected_of(window.monitor).columns, alive=alive)
        held = replace(held, findings=(*held.findings, *_unsettled(pulled)))
        if not held.n_studies or (bad := unusable(window.monitor, held.findings)):
            _end_without_studies(window, token, held, began, bad if held.n_studies else [])
            return
        cohort = _registered(window, target, alive)
    _order(window, token, held, cohort, began)


def _enough(window: MonitorWindow, wait: OnItsWayError) -> bool:
    return wait.dispensable and window.progress.get("waits", 0) >= MOST_WAITS


def _unsettled(pulled: Pulled) -> list[Finding]:
    if pulled.wait is None:
        return []
    return [
        Finding(
            kind=Kind.SOURCE, severity=Severity.WARNING, code="file-unsettled", message=pulled.wait.told,
            remedy=pulled.wait.remedy,
        )
    ]  # fmt: skip


def _wait(window: MonitorWindow, token: str, wait: OnItsWayError) -> None:
    """Give the window back, to be taken up again when the source is further."""
    first = datetime.fromisoformat(window.progress.get("waiting_since", timezone.now().isoformat()))
    if timezone.now() - first > LONGEST_WAIT:
        raise AuscultError(f"{wait.told} That is so for more than a day.", remedy="See what the source is doing.")
    progress = {
        "source": wait.progress, "waits": window.progress.get("waits", 0) + 1, "waiting_since": first.isoformat(),
    }  # fmt: skip
    with transaction.atomic():
        if _ours(window, token).update(**_free(), progress=progress, error=wait.told):
            _again(window, wait.seconds)


def _wait_for_owner(window: MonitorWindow, token: str, denial: DeniedError) -> None:
    """Give the window back until somebody owns the monitor who may request audits: it is not tried less often, and
    never given up. The hand-over sends it again, and so does the sweep, because the role may be given back."""
    with transaction.atomic():
        if _ours(window, token).update(**_free(), error=f"{denial.message} {hand_over_words(window.monitor)}"):
            tell_waiting(window, denial)


def _registered(window: MonitorWindow, target: Path, alive: Callable[[], None]) -> CohortVersion:
    """The window's studies as a version of the monitor's own cohort."""
    monitor = window.monitor
    facts = {
        "name": f"Windows of monitor {monitor.pk}: {monitor.name}",
        "description": f"Studies after deployment: {monitor.deployment.version} at {monitor.deployment.site}.",
        "simulated": monitor.reference_cohort.cohort.simulated,
        "source": f"{monitor.get_source_kind_display()} of monitor {monitor.pk}",
        "licence": monitor.reference_cohort.cohort.licence,
    }
    return store_cohort(
        source=target, mapping=None, facts=facts, by=monitor.owner, progress=lambda share, told: alive()
    )


def _order(window: MonitorWindow, token: str, held: Window, cohort: CohortVersion, began: datetime) -> None:
    """Order the audit and write everything down, in one transaction."""
    seen = keep_keys(held.keys)
    try:
        with transaction.atomic():
            _give_role(window.monitor, cohort)
            run = _request(window.monitor, cohort)
            facts = {"run": run, "cohort": cohort, "n_studies": cohort.n_studies, "n_patients": cohort.n_patients,
                     "seen_digest": seen}  # fmt: skip
            _finish(window, token, Status.AUDITING, held.findings, began, **facts)
    except DeniedError:
        raise
    except (ProtocolError, CohortError) as error:
        _end(window, token, Status.REFUSED, held, began, error)
    except AuscultError as error:
        _end(window, token, Status.FAILED, held, began, error)


def _request(monitor: Monitor, cohort: CohortVersion) -> AuditRun:
    from evaluation.services.runs import request_audit

    return request_audit(
        version=monitor.deployment.version,
        cohort=cohort,
        protocol=monitor.protocol,
        by=monitor.owner,
        frame=monitor.frame_digest,
        reference=monitor.reference_digest,
    )


def _give_role(monitor: Monitor, cohort: CohortVersion) -> None:
    """The first window's cohort is said to be of after the deployment, by whoever owns the monitor."""
    from models_registry.services.cohort_roles import assign_cohort_role

    if not cohort.cohort.role:
        assign_cohort_role(
            cohort=cohort.cohort, role=CohortRole.POST_DEPLOYMENT, site=monitor.deployment.site, by=monitor.owner
        )


def _end_without_studies(window: MonitorWindow, token: str, held: Window, began: datetime, bad: list[Finding]) -> None:
    if bad:
        named = ", ".join(f"'{finding.column}'" for finding in bad)
        error = CohortError(
            f"The protocol cuts by {named}, which came with another kind of values.",
            remedy="Have the export mended; later windows are not held up.",
        )
        _end(window, token, Status.REFUSED, held, began, error)
    elif held.refused:
        refused = CohortError(
            f"Everything that came was refused: {held.refused} {'delivery' if held.refused == 1 else 'deliveries'}.",
            remedy="Mend them as their alerts say. What is sent again now is late for this window.",
        )
        _end(window, token, Status.REFUSED, held, began, refused)
    else:
        empty = Finding(
            kind=Kind.EMPTY, severity=Severity.WARNING, code="window-empty",
            message=f"Window {window.index} has no studies.",
            remedy="See whether the source is still being fed. The monitor goes on with the next window.",
        )  # fmt: skip
        findings = (*(f for f in held.findings if f.code != "no-rows"), empty)
        with transaction.atomic():
            _finish(window, token, Status.EMPTY, findings, began)
            _next(window)


def _end(window: MonitorWindow, token: str, status: str, held: Window, began: datetime, error: AuscultError) -> None:
    """Close a window that cannot be audited, raise the alert, and let the next one come."""
    kind = Kind.SCHEMA if status == Status.REFUSED else Kind.RUN
    told = Finding(
        kind=kind, severity=Severity.WARNING, code=f"window-{status}", message=error.message.splitlines()[0],
        remedy=error.remedy, column=error.column,
    )  # fmt: skip
    with transaction.atomic():
        _finish(window, token, status, (*held.findings, told), began, error=str(error))
        _next(window)


def _finish(
    window: MonitorWindow, token: str, status: str, findings: tuple[Finding, ...], began: datetime, **changes: Any
) -> None:
    """The one write that ends the collecting, with its alerts and its entry; inside the caller's transaction.

    Raises:
        LeaseLostError: another worker has the window; nothing of the transaction stays.
    """
    from evaluation.services.alerts import settle_alert

    facts = _free() | {"error": "", "progress": {}, "collected_at": began} | changes
    told = [finding.to_dict() for finding in findings]
    if not _ours(window, token).update(**facts | {"status": status, "findings": told}):
        raise LeaseLostError
    window.refresh_from_db()
    tell(window.monitor, [finding for finding in findings if not finding.told], window=window)
    if status in {Status.AUDITING, Status.EMPTY}:
        settle_alert(monitor=window.monitor, key=UNREADABLE)
    settle_waiting(window)
    ledger.record(
        actor="system",
        act="window.collected" if status == Status.AUDITING else f"window.{status}",
        subject=("MonitorWindow", window.pk),
        payload={
            "monitor": window.monitor_id,
            "index": window.index,
            "n_studies": window.n_studies,
            "cohort": window.cohort.digest if window.cohort else "",
            "run": window.run_id,
            "findings": sorted({f"{finding.kind}:{finding.code}" for finding in findings}),
        },
    )


def _put_off_or_fail(window: MonitorWindow, token: str, error: AuscultError) -> None:
    """A source that cannot be read now is tried again, more and more seldom; after many times the window is closed."""
    last = window.attempts + 1 >= MOST_ATTEMPTS
    told = Finding(
        kind=Kind.SOURCE, severity=Severity.WARNING, code="unreadable", message=error.message, remedy=error.remedy
    )
    if isinstance(error, EnvironmentProblemError):
        log.error("window %s: %s", window.pk, error.message)
    with transaction.atomic():
        if last:
            _finish(window, token, Status.FAILED, (told,), timezone.now(), error=str(error))
            _next(window)
        elif _ours(window, token).update(**_free(), attempts=window.attempts + 1, error=str(error), progress={}):
            tell(window.monitor, [told], window=window)
            _again(window, min(LONGEST_PAUSE, FIRST_PAUSE * 2**window.attempts))


def _release(window: MonitorWindow, token: str, *, error: str) -> None:
    """Give the window back after a fault in the programme: the sweep sends it again, up to the same number of times."""
    last = window.attempts + 1 >= MOST_ATTEMPTS
    with transaction.atomic():
        if last:
            told = Finding(kind=Kind.RUN, severity=Severity.WARNING, code="collecting-failed", message=error,
                           remedy="Report it with the log of the worker.")  # fmt: skip
            _finish(window, token, Status.FAILED, (told,), timezone.now(), error=error)
            _next(window)
        elif _ours(window, token).update(**_free(), attempts=window.attempts + 1, error=error):
            _again(window, min(LONGEST_PAUSE, FIRST_PAUSE * 2**window.attempts))


def _free() -> dict[str, Any]:
    return {"status": Status.DUE, "lease_token": "", "lease_expires": None}


def _again(window: MonitorWindow, seconds: int) -> None:
    from evaluation import tasks

    tasks.collect_window.apply_async_on_commit((window.pk,), countdown=seconds)


def _next(window: MonitorWindow) -> None:
    """Send the window after this one, if it is due."""
    from evaluation import tasks

    following = MonitorWindow.objects.filter(
        monitor_id=window.monitor_id, index__gt=window.index, status=Status.DUE, due_at__lte=timezone.now()
    ).order_by("index").first()  # fmt: skip
    if following is not None:
        tasks.collect_window.delay_on_commit(following.pk)


def look_at_source(monitor: Monitor, *, opens_at: datetime, closes_at: datetime) -> int:
    """Take what is new before windows by count are made; returns how many deliveries came. A fault is an alert."""
    try:
        return pull(monitor, opens_at=opens_at, closes_at=closes_at).new
    except AuscultError as error:
        told = Finding(
            kind=Kind.SOURCE, severity=Severity.WARNING, code="unreadable", message=error.message, remedy=error.remedy
        )
        with transaction.atomic():
            tell(monitor, [told])
        return 0
