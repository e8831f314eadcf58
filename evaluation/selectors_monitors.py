"""Reading monitors, their windows, streams and alerts. Nothing here writes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Subquery, Value, When

from core.errors import NotFoundError
from core.models import LedgerEntry
from evaluation.models import Alert, Monitor, MonitorWindow, Protocol, StreamPoint
from evaluation.selectors import not_of_neighbours
from models_registry.models import CohortVersion, Deployment
from models_registry.selectors import unshown

FINAL = (
    MonitorWindow.Status.JUDGED,
    MonitorWindow.Status.EMPTY,
    MonitorWindow.Status.REFUSED,
    MonitorWindow.Status.FAILED,
)
UNCLOSED = (Alert.Status.OPEN, Alert.Status.ACKNOWLEDGED, Alert.Status.SNOOZED)
SILENT = (Alert.Kind.MISSED, Alert.Kind.STALE, Alert.Kind.SOURCE)
"""Alerts that say that the monitor does not see what it should."""
UNREADABLE = "source:unreadable"
"""The matter of a source that gives nothing. Other matters of the source are about one delivery, and no silence."""
ALARMS = (Alert.Kind.DRIFT, Alert.Kind.PERFORMANCE, Alert.Kind.CONCEPT, Alert.Kind.CASE_MIX)
"""Alerts that say that something has changed."""
HEAVY = ("residuals", "evidently", "causes")
"""Columns of a window that lists do not show."""
OVER_ALL = ("", "All")
MOST_MARKS = 60


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a monitor stands, in one word with its tone, and in one sentence."""

    state: str
    word: str
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class MonitorRow:
    """One line of the list.

    Attributes:
        last: The newest window that came to an end, whatever its end.
        waiting: The window that is worked on, or is due.
    """

    monitor: Monitor
    last: MonitorWindow | None
    waiting: MonitorWindow | None
    open_alerts: int
    standing: Standing


def list_monitors(*, deployment: Deployment | None = None, every: bool = True) -> QuerySet[Monitor]:
    """Monitors, those that ended last; ``every=False`` leaves those out."""
    rows = Monitor.objects.select_related("deployment__version__system", "owner", "protocol")
    rows = rows.defer(*unshown("deployment__version"), "protocol__source")
    if deployment is not None:
        rows = rows.filter(deployment=deployment)
    if not every:
        rows = rows.exclude(status=Monitor.Status.ENDED)
    over = Case(When(status=Monitor.Status.ENDED, then=Value(1)), default=Value(0))
    return rows.order_by(over, "deployment__version__system__name", "deployment__site", "name")


def rows_of(monitors: Iterable[Monitor]) -> list[MonitorRow]:
    """The lines of some monitors, in three queries however many there are; alarms first, then what is blind."""
    listed = list(monitors)
    ended = _newest(listed, MonitorWindow.objects.filter(status__in=FINAL))
    waiting = _newest(listed, MonitorWindow.objects.exclude(status__in=FINAL), oldest=True)
    alerts: dict[int, list[Alert]] = {}
    for alert in Alert.objects.filter(monitor__in=listed, status__in=UNCLOSED):
        alerts.setdefault(alert.monitor_id, []).append(alert)
    rows = [
        MonitorRow(
            monitor=item,
            last=ended.get(item.pk),
            waiting=waiting.get(item.pk),
            open_alerts=len(alerts.get(item.pk, [])),
            standing=standing_of(item, ended.get(item.pk), alerts.get(item.pk, [])),
        )
        for item in listed
    ]
    return sorted(rows, key=_urgency)


def _urgency(row: MonitorRow) -> int:
    """Alarms first, then what is blind, then what is well, then what ended."""
    if row.monitor.status == Monitor.Status.ENDED:
        return 4
    if row.standing.state == "fail":
        return 0 if row.monitor.status == Monitor.Status.ACTIVE else 1
    return 2 if row.standing.state in {"stale", "insufficient", "suspended"} else 3


def _newest(
    monitors: list[Monitor], windows: QuerySet[MonitorWindow], *, oldest: bool = False
) -> dict[int, MonitorWindow]:
    """The last of these windows of each monitor (or the first), in one query."""
    mine = windows.filter(monitor=OuterRef("pk")).order_by("index" if oldest else "-index")
    chosen = Monitor.objects.filter(pk__in=[item.pk for item in monitors])
    keys = chosen.annotate(found=Subquery(mine.values("pk")[:1])).values("found")
    return {row.monitor_id: row for row in MonitorWindow.objects.filter(pk__in=keys).defer(*HEAVY)}


def standing_of(monitor: Monitor, last: MonitorWindow | None, alerts: Iterable[Alert]) -> Standing:
    """How a monitor stands: what is broken or has alarmed before what is well."""
    own = _own_state(monitor)
    if own is not None:
        return own
    listed = list(alerts)
    alarms = sorted((row for row in listed if row.kind in ALARMS), key=lambda row: row.severity != "critical")
    silent = next((row for row in listed if row.kind in SILENT and _is_silence(row)), None)
    if alarms:
        word = "Critical alarm" if alarms[0].severity == Alert.Severity.CRITICAL else "Alarm"
        return Standing(state="fail", word=word, text=alarms[0].title)
    if silent is not None:
        return Standing(state="stale", word="Stale", text=silent.title)
    if last is None:
        return Standing(state="waiting", word="No window yet", text="The first window has not closed.")
    if last.status != MonitorWindow.Status.JUDGED:
        word = {"empty": "No studies", "refused": "Data refused"}.get(last.status, "Failed")
        return Standing(state="insufficient", word=word, text=f"Window {last.index} could not be judged.")
    if is_few(last):
        return Standing(state="insufficient", word="Too few studies", text=f"Window {last.index} was too small.")
    if last.alarm:
        text = f"The alarm of window {last.index} was closed; the next window begins anew."
        return Standing(state="pass", word="No open alarm", text=text)
    return Standing(state="pass", word="No alarm", text=f"Window {last.index} gave no reason for one.")


def _is_silence(alert: Alert) -> bool:
    return alert.kind != Alert.Kind.SOURCE or alert.key == UNREADABLE


def is_few(window: MonitorWindow) -> bool:
    """Whether a window held too few patients to be judged for a change."""
    return any(item.get("kind") == Alert.Kind.FEW for item in window.findings)


def _own_state(monitor: Monitor) -> Standing | None:
    """What follows from the monitor's own state; None for one that is active."""
    if monitor.status == Monitor.Status.ENDED:
        return Standing(state="ended", word="Ended")
    if monitor.status == Monitor.Status.FAILED:
        return Standing(state="fail", word="Not watching", text="Its reference could not be made.")
    if monitor.status == Monitor.Status.PREPARING:
        return Standing(state="running", word="Being prepared", text="Its reference is being made.")
    if monitor.status == Monitor.Status.PAUSED:
        return Standing(state="suspended", word="Paused", text="Nobody is watching until it goes on.")
    return None


def get_monitor(pk: int) -> Monitor:
    """One monitor with what its page shows.

    Raises:
        NotFoundError: there is none with this number.
    """
    related = ("deployment__version__submitted_by", "protocol", "reference_cohort__cohort", "owner", "escalate_to")
    found = (
        Monitor.objects.select_related(*related, "deployment__version__system", "created_by", "reference_run")
        .filter(pk=pk)
        .first()
    )
    if found is None:
        raise NotFoundError("There is no such monitor.", remedy="Begin at the list of monitors.")
    return found


def windows_of(monitor: Monitor) -> QuerySet[MonitorWindow]:
    """Windows, the newest first, without what lists do not show."""
    rows = MonitorWindow.objects.filter(monitor=monitor).order_by("-index").defer(*HEAVY)
    return rows.annotate(n_alerts=Count("alerts"))


def get_window(monitor: Monitor, index: int) -> MonitorWindow:
    """One window of a monitor.

    Raises:
        NotFoundError: the monitor has none with this number.
    """
    related = ("run", "cohort__cohort", "monitor__deployment__version__system", "monitor__protocol")
    found = MonitorWindow.objects.select_related(*related).filter(monitor=monitor, index=index).first()
    if found is None:
        raise NotFoundError("This monitor has no such window.", remedy="Begin at the page of the monitor.")
    return found


def neighbours(window: MonitorWindow) -> tuple[int | None, int | None]:
    """Numbers of the windows before and after."""
    rows = MonitorWindow.objects.filter(monitor_id=window.monitor_id, index__in=(window.index - 1, window.index + 1))
    known = set(rows.values_list("index", flat=True))
    return tuple(number if number in known else None for number in (window.index - 1, window.index + 1))  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class StreamChoice:
    """One stream that can be looked at, with the groups it was measured in."""

    stream: str
    family: str
    title: str
    groups: tuple[tuple[str, str], ...]


def stream_choices(window: MonitorWindow | None) -> list[StreamChoice]:
    """The streams of a window and their groups, in the order in which they were measured."""
    if window is None:
        return []
    found: dict[str, StreamChoice] = {}
    rows = window.points.order_by("pk").values_list("stream", "family", "attribute", "group", "detail")
    for stream, family, attribute, group, detail in rows:
        kept = found.get(stream)
        groups = (*kept.groups, (attribute, group)) if kept else ((attribute, group),)
        title = (detail or {}).get("title", "") if kept is None else kept.title
        found[stream] = StreamChoice(stream=stream, family=family, title=title, groups=groups)
    return list(found.values())


def points_of_stream(
    windows: Iterable[MonitorWindow], *, stream: str, attribute: str, group: str = ""
) -> dict[tuple[str, str], dict[int, StreamPoint]]:
    """Points of one stream in some windows, by (attribute, group) and window: one query."""
    rows = StreamPoint.objects.filter(window__in=[row.pk for row in windows], stream=stream, attribute=attribute)
    if group:
        rows = rows.filter(group=group)
    found: dict[tuple[str, str], dict[int, StreamPoint]] = {}
    for row in rows.order_by("pk"):
        found.setdefault((row.attribute, row.group), {})[row.window_id] = row
    return found


def points_of(window: MonitorWindow, *, attribute: str | None = None) -> list[StreamPoint]:
    """Streams of a window: those of an alarm first, then the furthest beyond their margins.

    ``attribute``: its groups alone; "" for all studies; None for all of it.
    """
    rows = window.points.all() if attribute is None else window.points.filter(attribute=attribute)
    return sorted(rows, key=lambda row: (not row.alarming, -_over(row), row.pk))


def _over(point: StreamPoint) -> float:
    """How many margins the shift is; what has none comes last."""
    return -1.0 if point.value is None or not point.margin else abs(point.value) / point.margin


@dataclass(frozen=True, kw_only=True)
class LedgerMark:
    """Something that the ledger tells of the monitor, its deployment or its version."""

    at: datetime
    text: str
    actor: str
    entry: int


MARK_ACTS = {
    "deployment.started": "deployed",
    "deployment.suspended": "suspended",
    "deployment.resumed": "runs again",
    "deployment.suspension_lifted": "suspension lifted",
    "deployment.rolled_back": "rolled back",
    "deployment.ended": "deployment ended",
    "version.voided": "approval void",
    "monitor.paused": "monitor paused",
    "monitor.resumed": "monitor goes on",
    "monitor.restarted": "monitor began anew",
    "monitor.ended": "monitor ended",
    "monitor.handed_over": "monitor handed over",
}
MOVES = {"approved": "approved", "conditional": "approved with conditions", "suspended": "suspended",
         "retired": "retired", "rejected": "rejected"}  # fmt: skip
"""States of a version that a timeline marks."""


def marks_of(monitor: Monitor, *, since: datetime, until: datetime) -> list[LedgerMark]:
    """What happened to the monitor, to deployments of its system at its site, and to its version: two queries."""
    deployment = monitor.deployment
    place = {"version__system": deployment.version.system_id, "site__iexact": deployment.site}
    here = {str(row.pk): row.version.label for row in Deployment.objects.filter(**place).select_related("version")}
    subjects = Q(subject_kind="Deployment", subject_id__in=list(here))
    subjects |= Q(subject_kind="ModelVersion", subject_id=str(deployment.version_id))
    subjects |= Q(subject_kind="Monitor", subject_id=str(monitor.pk))
    acts = Q(act__in=[*MARK_ACTS, "version.moved"])
    rows = LedgerEntry.objects.filter(subjects, acts, recorded_at__gte=since, recorded_at__lte=until)
    told = (_mark(row, here, deployment) for row in rows.order_by("-index")[:MOST_MARKS])
    return [item for item in told if item is not None][::-1]


def _mark(entry: LedgerEntry, here: dict[str, str], deployment: Deployment) -> LedgerMark | None:
    """An entry in words; None for a step of a version that no timeline shows."""
    words = MARK_ACTS.get(entry.act)
    label = here.get(entry.subject_id, "") if entry.subject_kind == "Deployment" else deployment.version.label
    if entry.act == "version.moved":
        words = MOVES.get(json.loads(entry.body)["payload"].get("to", ""))
    if words is None:
        return None
    text = words if entry.subject_kind == "Monitor" else f"version {label} {words}"
    return LedgerMark(at=entry.recorded_at, text=text, actor=entry.actor, entry=entry.index)


def newest_measured(monitor: Monitor, *, until: int | None = None) -> MonitorWindow | None:
    """The newest window with streams: one that was too small has none. ``until``: none with a higher number."""
    measured = StreamPoint.objects.filter(window=OuterRef("pk"))
    rows = monitor.windows.filter(Exists(measured)).defer(*HEAVY)
    if until is not None:
        rows = rows.filter(index__lte=until)
    return rows.order_by("-index").first()


def watchable_deployments() -> QuerySet[Deployment]:
    """Deployments that a monitor can be made of."""
    rows = Deployment.objects.exclude(status=Deployment.Status.ENDED).select_related("version__system")
    return rows.order_by("version__system__name", "site")


def watching_protocols() -> list[Protocol]:
    """Approved protocols that say what is watched."""
    rows = Protocol.objects.filter(status=Protocol.Status.APPROVED).defer("source")
    return [row for row in rows.order_by("name", "-locked_at") if row.body.get("drift") is not None]


def reference_cohorts() -> QuerySet[CohortVersion]:
    """Cohorts that windows can be compared with; those that monitors made themselves are left out."""
    rows = CohortVersion.objects.select_related("cohort").defer("summary").filter(windows=None)
    rows = not_of_neighbours(rows)
    return rows.order_by("cohort__name", "-registered_at")
