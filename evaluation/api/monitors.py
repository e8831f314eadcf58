"""Delivering studies, asking how a monitor stands, handing it over. No answer repeats a name or value that was sent."""

from __future__ import annotations

from typing import Annotated, Any

from django.conf import settings
from django.db.models import Count
from django.http import HttpResponse
from ninja import Query, Schema
from pydantic import ConfigDict, Field

from core.api.fields import Pk, Word
from core.api.paging import Page, Paging, page_of
from core.api.problems import problem_with
from core.api.requests import Streamed, TokenRequest
from core.api.routing import HouseRouter, Scope
from core.errors import AuscultError
from core.models import User
from evaluation.api.rows import monitor_of, monitors_seen
from evaluation.engine import Protocol as Rules
from evaluation.models import Alert, Delivery, Monitor, MonitorWindow
from evaluation.services.deliveries import deliver_studies
from evaluation.services.monitors import hand_over_monitor

router = HouseRouter("Monitors")
MOST_BYTES = 64 << 20
FORMS = {
    "text/csv": ".csv",
    "application/x-ndjson": ".ndjson",
    "application/ndjson": ".ndjson",
    "application/jsonl": ".ndjson",
    "application/vnd.apache.parquet": ".parquet",
}


class FindingOut(Schema):
    """Something odd, without what was sent. ``column`` is given where the reference has it."""

    code: str
    severity: str
    message: str
    remedy: str
    column: str | None
    row: int | None
    count: int


class DeliveryOut(Schema):
    """``new`` is false where the same content had come before; ``studies`` is how many were taken. Their rows are
    deleted once no window needs them."""

    id: int
    new: bool
    status: str
    studies: int
    first_at: str | None
    last_at: str | None
    findings: list[FindingOut]
    rows_deleted_at: str | None


class WindowOut(Schema):
    """``index`` counts the windows of a monitor from 1."""

    index: int
    status: str
    opens_at: str
    closes_at: str
    studies: int | None
    patients: int | None
    alarm: bool
    log_e: float | None
    threshold: float | None


class MonitorOut(Schema):
    """How a monitor stands. Counts of a window with too few patients are left out; ``alerts`` counts those that are
    not closed, by severity. ``escalate_to`` is null where alerts escalate to the committee chairs alone."""

    id: int
    name: str
    status: str
    version: str
    site: str
    cycle: int
    owner: str
    escalate_to: str | None
    next_at: str | None
    window: WindowOut | None
    alerts: dict[str, int]


class HandOverIn(Schema):
    """Names of accounts. ``escalate_to`` left out: as it is; null: the committee chairs alone."""

    model_config = ConfigDict(extra="forbid")

    owner: Annotated[str, Field(max_length=150)] = ""
    escalate_to: Annotated[str, Field(min_length=1, max_length=150)] | None = None
    reason: Annotated[str, Field(max_length=2000)]


class MonitorFilter(Schema):
    """Which monitors."""

    status: Monitor.Status | None = None
    system: Word = ""


class MonitorRowOut(Schema):
    """A monitor in a list."""

    id: int
    name: str
    status: str
    version: str
    site: str
    cycle: int
    owner: str
    next_at: str | None


def _most() -> int:
    return int(getattr(settings, "AUSCULT_DELIVERY_BYTES", MOST_BYTES))


@router.operation("GET", "/monitors", scope=Scope.MONITORS, gives=Page[MonitorRowOut], name="monitors")
def list_monitors(request: TokenRequest, paging: Query[Paging], wanted: Query[MonitorFilter]) -> Any:
    """Monitors, newest first."""
    rows = monitors_seen(request)
    if wanted.status:
        rows = rows.filter(status=wanted.status)
    if wanted.system:
        rows = rows.filter(deployment__version__system__slug=wanted.system)
    return page_of(request, rows, paging, tell=_row)


@router.operation(
    "GET", "/monitors/{pk}", scope=Scope.MONITORS, gives=MonitorOut, name="monitor-state", refuses=("not-found",)
)
def get_monitor(request: TokenRequest, pk: Pk) -> dict[str, Any]:
    """The state of a monitor and its last window that is closed; counts only, no patients."""
    return _state(monitor_of(request, pk))


@router.operation(
    "POST", "/monitors/{pk}/hand-over", scope=Scope.MONITORS, gives=MonitorOut, name="monitor-hand-over",
    refuses=("not-found", "conflict"), example={"owner": "lea", "reason": "Elena is away until May."},
)  # fmt: skip
def post_hand_over(request: TokenRequest, pk: Pk, body: HandOverIn) -> dict[str, Any]:
    """Give a monitor to another owner, or name another person whom its alerts escalate to."""
    people: dict[str, Any] = {"owner": _person(body.owner, "owner") if body.owner else None}
    if "escalate_to" in body.model_fields_set:
        people["escalate_to"] = _person(body.escalate_to, "escalate_to") if body.escalate_to else None
    hand_over_monitor(monitor=monitor_of(request, pk), by=request.auth, reason=body.reason, **people)
    return _state(monitor_of(request, pk))


def _person(username: str, field: str) -> User:
    """The open account of this name.

    Raises:
        AuscultError: there is none; the name is not repeated.
    """
    found = User.objects.filter(username=username, is_active=True).first()
    if found is None:
        raise AuscultError(
            f"The field '{field}' names no open account.", remedy="Give the name that the person signs in with."
        )
    return found


def _row(monitor: Monitor) -> dict[str, Any]:
    return {
        "id": monitor.pk,
        "name": monitor.name,
        "status": monitor.status,
        "version": str(monitor.deployment.version),
        "site": monitor.deployment.site,
        "cycle": monitor.cycle,
        "owner": monitor.owner.username,
        "next_at": monitor.next_at.isoformat() if monitor.next_at else None,
    }


def _state(monitor: Monitor) -> dict[str, Any]:
    window = monitor.windows.exclude(status=MonitorWindow.Status.DUE).order_by("-index").first()
    open_alerts = Alert.objects.filter(monitor=monitor).exclude(status=Alert.Status.CLOSED)
    counted = open_alerts.order_by().values("severity").annotate(n=Count("pk"))
    return _row(monitor) | {
        "escalate_to": monitor.escalate_to.username if monitor.escalate_to else None,
        "window": _window(window, monitor) if window else None,
        "alerts": {row["severity"]: row["n"] for row in counted},
    }


@router.operation(
    "POST", "/monitors/{pk}/deliveries", scope=Scope.MONITORS, gives=DeliveryOut, name="deliveries",
    refuses=("not-found", "conflict"), stream=Streamed(forms=FORMS, most=_most, refused=AuscultError), whole=False,
)  # fmt: skip
def post_delivery(
    request: TokenRequest, pk: Pk, batch: Annotated[str, Query(), Field(pattern=r"^[A-Za-z0-9._-]{0,80}$")] = ""
) -> Any:
    """Deliver studies as CSV, NDJSON or Parquet in the body. All of them are taken, or none."""
    monitor = monitor_of(request, pk)
    name = f"batch {batch}" if batch else "sent by a program"
    found = deliver_studies(monitor=monitor, path=request.received.path, name=name, by=request.auth)
    body = _delivery(found.delivery, monitor, new=found.new)
    if found.delivery.status == Delivery.Status.REFUSED:
        return _refused(body)
    return body


def _window(window: MonitorWindow, monitor: Monitor) -> dict[str, Any]:
    small = window.n_patients < Rules.from_dict(monitor.protocol.body).minimum_cell
    return {
        "index": window.index,
        "status": window.status,
        "opens_at": window.opens_at.isoformat(),
        "closes_at": window.closes_at.isoformat(),
        "studies": None if small else window.n_studies,
        "patients": None if small else window.n_patients,
        "alarm": window.alarm,
        "log_e": window.log_e,
        "threshold": window.look.get("threshold"),
    }


def _delivery(row: Delivery, monitor: Monitor, *, new: bool) -> dict[str, Any]:
    from evaluation.monitoring.deliveries import expected_of
    from evaluation.monitoring.findings import Finding, without_names
    from models_registry.cohorts.arrival import REQUIRED

    known = {*expected_of(monitor).columns, *REQUIRED}
    return {
        "id": row.pk,
        "new": new,
        "status": row.status,
        "studies": row.n_studies,
        "first_at": row.first_at.isoformat() if row.first_at else None,
        "last_at": row.last_at.isoformat() if row.last_at else None,
        "findings": [without_names(Finding.from_dict(item), known).to_dict() for item in row.findings],
        "rows_deleted_at": row.purged_at.isoformat() if row.purged_at else None,
    }


def _refused(body: dict[str, Any]) -> HttpResponse:
    """A delivery that was not taken, as a problem with every finding."""
    found = [item for item in body["findings"] if item["severity"] != Alert.Severity.INFO] or body["findings"]
    return problem_with(
        "not-as-asked",
        found[0]["message"] if found else "The studies cannot be read.",
        remedy=found[0]["remedy"] if found else "",
        delivery=body,
    )
