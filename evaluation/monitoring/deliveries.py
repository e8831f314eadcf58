"""Data that arrived for a monitor: checked, brought into the reference's form, kept in the store, counted."""

from __future__ import annotations

import logging
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from traceback import extract_tb
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from core import ledger
from core.errors import CohortError
from core.models import User
from evaluation.engine import Protocol as Rules
from evaluation.models import Alert, Delivery, Monitor
from evaluation.monitoring.findings import Finding, Kind, Severity, joined, of_arrival, told_number, without_names
from evaluation.monitoring.sources.base import SOURCES, Arrived, Job, OnItsWayError, file_state
from models_registry import leases
from models_registry.cohorts.arrival import REQUIRED, Arrival, Expected, receive
from models_registry.cohorts.conversion import read_manifest
from models_registry.execution import cohort_folder
from models_registry.services.versions import model_store

log = logging.getLogger(__name__)

CLOCK_AHEAD = timedelta(hours=1)
"""By how much the clock of whoever sends may be ahead of ours before a study lies in the future."""
UNCHANGED_SECONDS = 30
UNFORESEEN = (ValueError, TypeError, ArithmeticError, NotImplementedError, zlib.error)
"""What a file with something strange in it can make a reader raise. Such a file is refused: tried again it would fail
again, and hold up every window. The words of these may quote a value, so they are told to nobody."""


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """What reading a source brought. ``wait``: why it is not complete; None when it is."""

    new: int
    wait: OnItsWayError | None = None


def expected_of(monitor: Monitor) -> Expected:
    """Columns and kinds of the monitor's reference. Read once for each process: a stored cohort never changes."""
    return _expected(cohort_folder(monitor.reference_cohort))


@lru_cache(maxsize=32)
def _expected(folder: Path) -> Expected:
    return Expected.of(read_manifest(folder))


def pull(
    monitor: Monitor,
    *,
    opens_at: datetime,
    closes_at: datetime,
    progress: dict[str, Any] | None = None,
    alive: Callable[[], None] = lambda: None,
) -> Pulled:
    """Take whatever is new at the source. Does input and output: never inside a transaction.

    Raises:
        AuscultError: the source cannot be read now. What was taken before that stays taken.
    """
    source = SOURCES.get(monitor.source_kind)
    rows = Delivery.objects.filter(monitor=monitor)
    before = rows.count()
    with scratch() as folder:
        job = Job(
            settings=monitor.source,
            opens_at=opens_at,
            closes_at=closes_at,
            zone=monitor.zone,
            scratch=folder,
            columns=expected_of(monitor).columns,
            progress=progress or {},
            known=frozenset(rows.values_list("source_digest", flat=True)),
            taken_at={row["name"]: row["at"] for row in rows.values("name").annotate(at=Max("received_at"))},
            alive=alive,
        )
        wait = None
        try:
            for arrived in source.pull(job):
                take(monitor, arrived, alive=alive)
        except OnItsWayError as waiting:
            wait = waiting
    return Pulled(new=rows.count() - before, wait=wait)


def take(
    monitor: Monitor, arrived: Arrived, *, by: User | None = None, alive: Callable[[], None] = lambda: None
) -> Delivery:
    """Check one file, keep its studies, and enter that it came. The same content again is the same delivery.

    Args:
        by: Who sent it; None where the platform fetched it.

    Raises:
        OnItsWayError: somebody wrote to the file meanwhile.
    """
    known = Delivery.objects.filter(monitor=monitor, source_digest=arrived.digest).first()
    if known is not None:
        return known
    with scratch() as folder:
        target = folder / "studies.parquet"
        arrival, findings = _received(monitor, arrived, target, alive)
        if arrived.state is not None and file_state(arrived.path) != arrived.state:
            raise OnItsWayError(
                "A file in the drop folder was written to while it was read.",
                seconds=UNCHANGED_SECONDS,
                dispensable=True,
            )
        content = model_store().put_file(target) if arrival and arrival.n_studies else ""
    return _kept(monitor, arrived, arrival, findings, content, by)


def _received(
    monitor: Monitor, arrived: Arrived, target: Path, alive: Callable[[], None]
) -> tuple[Arrival | None, list[Finding]]:
    latest = (timezone.now() + CLOCK_AHEAD).astimezone(UTC).replace(tzinfo=None)
    try:
        if arrived.fault is not None:
            raise arrived.fault
        arrival = receive(
            arrived.path,
            mapping=arrived.mapping,
            expected=expected_of(monitor),
            zone=monitor.zone,
            latest=latest,
            target=target,
            progress=lambda share, told: alive(),
        )
    except CohortError as error:
        unread = Finding(
            kind=Kind.SOURCE, severity=Severity.WARNING, code="unreadable-file", message=error.message,
            remedy=error.remedy, row=error.row,
        )  # fmt: skip
        return None, [*arrived.findings, unread]
    except UNFORESEEN as error:
        place = extract_tb(error.__traceback__)[-1]
        log.error("monitor %s: a file made the reader fail: %s in %s, line %s", monitor.pk, type(error).__name__,
                  place.filename, place.lineno)  # fmt: skip
        unread = Finding(
            kind=Kind.SOURCE, severity=Severity.WARNING, code="unreadable-file",
            message="The file cannot be read, for a reason that nobody foresaw.",
            remedy="Export it again, in another form if that does not help; the worker's log says where it failed.",
        )  # fmt: skip
        return None, [*arrived.findings, unread]
    found = of_arrival(arrival, monitor.zone, least=_least(monitor))
    return (None if arrival.errors else arrival), [*arrived.findings, *found]


@transaction.atomic
def _kept(
    monitor: Monitor,
    arrived: Arrived,
    arrival: Arrival | None,
    findings: list[Finding],
    content: str,
    by: User | None,
) -> Delivery:
    refused = arrival is None
    worst = next((f for f in findings if f.severity != Severity.INFO), None)
    row, new = Delivery.objects.get_or_create(
        monitor=monitor,
        source_digest=arrived.digest,
        defaults={
            "name": arrived.name[:300],
            "content_digest": content,
            "n_studies": 0 if arrival is None else arrival.n_studies,
            "first_at": None if arrival is None else _aware(arrival.first),
            "last_at": None if arrival is None else _aware(arrival.last),
            "status": Delivery.Status.REFUSED if refused else Delivery.Status.HELD,
            "findings": [finding.to_dict() for finding in findings],
            "error": f"{worst.message} What to do: {worst.remedy}" if refused and worst else "",
        },
    )
    if not new:  # another process took the same file at this very moment
        return row
    if refused:
        tell(monitor, [finding for finding in findings if finding.severity != Severity.INFO], delivery=row)
    ledger.record(
        actor=by.username if by else "system",
        act="monitor.delivery_refused" if refused else "monitor.delivered",
        subject=("Monitor", monitor.pk),
        payload={"delivery": row.pk, "source_digest": row.source_digest, "n_studies": row.n_studies},
    )
    return row


def tell(monitor: Monitor, findings: list[Finding], *, window: Any = None, delivery: Delivery | None = None) -> None:
    """Raise the alert of each finding, in the caller's transaction. The same matter again counts up."""
    from evaluation.services.alerts import raise_alert

    known = {*expected_of(monitor).columns, *REQUIRED} if findings else set()
    least = _least(monitor)
    # All rows first: from the first entry on, the ledger's head is held, and nothing else may be waited for.
    open_ones = Alert.objects.select_for_update(of=("self",), no_key=True).filter(monitor=monitor)
    list(open_ones.exclude(status=Alert.Status.CLOSED).order_by("pk").values_list("pk"))
    for finding in joined(without_names(finding, known) for finding in findings):
        raise_alert(
            monitor=monitor,
            kind=finding.kind,
            severity=finding.severity,
            key=finding.key[:160],
            title=finding.message[:200],
            text=_words(finding, delivery, least),
            detail=finding.to_dict()
            | {"count": None if finding.of_patients and finding.count < least else finding.count}
            | ({"delivery": delivery.pk} if delivery else {}),
            window=window,
        )


def _least(monitor: Monitor) -> int:
    """The smallest number of studies that is told."""
    return Rules.from_dict(monitor.protocol.body).minimum_cell


def _words(finding: Finding, delivery: Delivery | None, least: int) -> str:
    where = [f"delivery {delivery.pk}"] if delivery else []
    where += [f"column {finding.column}"] if finding.column else []
    where += [f"row {finding.row:,}"] if finding.row else []
    if counted := finding.counted:
        number = told_number(finding.count, least if finding.of_patients else 0)
        where += [f"{'in ' if finding.row else ''}{number} {counted}"]
    place = ", ".join(where)
    return " ".join(part for part in (f"{place[0].upper()}{place[1:]}." if place else "", finding.remedy) if part)


def _aware(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


@contextmanager
def scratch() -> Iterator[Path]:
    """A private folder that is gone afterwards."""
    folder = leases.scratch_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
