"""Restarting the test of a monitor when an alarm is closed, with the same reference or with what came since."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from core import ledger
from core.errors import RELOAD, ConflictError
from core.models import User
from core.reach import service
from evaluation.engine import Protocol as Rules
from evaluation.engine.drift.earlier import without_numbers
from evaluation.engine.drift.records import NoticeKind
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.models import Alert, Monitor, MonitorWindow
from evaluation.monitoring.telling import noticed
from models_registry.services.versions import model_store

ALARM = "drift:"
"""How the key of an alarm of the lifetime test begins; the number of its cycle follows."""


@dataclass(frozen=True, kw_only=True)
class NewReference:
    """What later windows are compared with, where a change is accepted.

    Attributes:
        cycle: Of the monitor when the sketches were merged.
        digest: The merged sketch in the store.
        windows: Primary keys of the windows that it is made of, in their order.
    """

    cycle: int
    digest: str
    windows: tuple[int, ...]


def restarts(alert: Alert) -> bool:
    """Whether closing it begins the test anew: it is the alarm of the cycle under way, of a monitor that goes on."""
    monitor = alert.monitor
    return alert.key == f"{ALARM}{monitor.cycle}" and monitor.status != Monitor.Status.ENDED


def accepted_reference(alert: Alert, resolution: str) -> NewReference | None:
    """What later windows are compared with once this alert is closed so; None where the reference stays.

    Raises:
        ConflictError: as :func:`reference_since`.
    """
    if resolution != Alert.Resolution.NEW_NORMAL or not restarts(alert):
        return None
    return reference_since(monitor=alert.monitor, window=alert.window)


def reference_since(*, monitor: Monitor, window: MonitorWindow | None) -> NewReference:
    """The judged windows of this cycle since the alarm's change began, as one sketch.

    Reads and writes the store: never inside a transaction.

    Args:
        window: That of the alarm; None for all windows of the cycle.

    Raises:
        ConflictError: they have too few patients to be a reference.
    """
    cycle = Monitor.objects.values_list("cycle", flat=True).get(pk=monitor.pk)
    found = _judged_since(monitor, cycle, window)
    sketches = _in_one_unit(found)
    section = Rules.from_dict(monitor.protocol.body).drift
    least = section.minimum_reference if section else 0
    if not sketches or (merged := reduce(DriftSketch.merge, sketches)).n < least:
        raise ConflictError(
            f"The windows since the change have fewer than the {least:,} patients that a reference needs.",
            remedy="Wait for another window, or close the alarm in another way.",
        )
    digest = model_store().put_bytes(merged.to_bytes())
    return NewReference(cycle=cycle, digest=digest, windows=tuple(row.pk for row in found))


@service
def restart_cycle(
    *, monitor: Monitor, resolution: str, window: MonitorWindow | None, reference: NewReference | None, by: User
) -> Monitor:
    """Begin the test anew when an alarm was closed; the act of closing it calls this.

    From then on false alarms are rare by their run length. With a new reference, later windows are compared with the
    judged windows since the change began; else with the same reference as before.

    Args:
        window: That of the alarm.
        reference: Of :func:`reference_since`, where the change is accepted.

    Raises:
        ConflictError: the monitor was restarted, or a window was judged, since the new reference was made.
        ValueError: a change is accepted without a new reference, or the other way round: a mistake of the caller.
    """
    if (resolution == Alert.Resolution.NEW_NORMAL) != (reference is not None):
        raise ValueError("a new reference goes with a change that is accepted, and with nothing else")
    row = Monitor.objects.select_for_update(of=("self",), no_key=True).get(pk=monitor.pk)
    facts: dict[str, object] = {"cycle": row.cycle + 1}
    if reference is not None:
        now = tuple(item.pk for item in _judged_since(row, row.cycle, window))
        if (reference.cycle, reference.windows) != (row.cycle, now):
            raise ConflictError(
                "A window was judged meanwhile, or the test began anew.", remedy=f"{RELOAD} Then close the alarm again."
            )
        facts |= {"reference_digest": reference.digest, "reference_windows": list(reference.windows)}
    Monitor.objects.filter(pk=row.pk).update(**facts)
    row.refresh_from_db()
    payload = {
        "cycle": row.cycle,
        "resolution": str(resolution),
        "reference": row.reference_digest,
        "windows": list(row.reference_windows),
    }
    ledger.record(actor=by.username, act="monitor.restarted", subject=("Monitor", row.pk), payload=payload)
    return row


def _judged_since(monitor: Monitor, cycle: int, window: MonitorWindow | None) -> list[MonitorWindow]:
    """The windows that a new reference is made of."""
    rows = monitor.windows.filter(cycle=cycle, status=MonitorWindow.Status.JUDGED).exclude(sketch_digest="")
    onset = window.look.get("onset") if window else None
    return list((rows if onset is None else rows.filter(index__gte=onset)).order_by("index"))


def _in_one_unit(rows: list[MonitorWindow]) -> list[DriftSketch]:
    """Sketches of windows; where a stream came in another unit in some of them, without its numbers in those."""
    odd = [{item["stream"] for item in noticed(row, NoticeKind.UNIT)} for row in rows]
    # What came in another unit in every one of them comes in it from now on.
    always = set.intersection(*odd) if odd else set()
    store = model_store()
    return [
        without_numbers(DriftSketch.from_bytes(store.get_bytes(row.sketch_digest)), names - always)
        for row, names in zip(rows, odd, strict=True)
    ]
