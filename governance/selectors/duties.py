"""What is due next for each system: windows of monitors, and conditions of approvals. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.expressions import BaseExpression
from django.db.models.functions import Coalesce, Least
from django.urls import reverse

from evaluation.models import Monitor, MonitorWindow
from governance.models import Condition
from governance.selectors.approvals import WAITING
from models_registry.models import AISystem


@dataclass(frozen=True, kw_only=True)
class Duty:
    """Something with a day."""

    at: datetime
    what: str
    href: str


def next_duties(systems: Iterable[AISystem]) -> dict[int, Duty]:
    """The soonest of each system, by its key; systems of which nothing is due are left out. Two queries."""
    keys = [system.pk for system in systems]
    found: dict[int, Duty] = {}
    for key, duty in (*_windows(keys), *_conditions(keys)):
        if key not in found or duty.at < found[key].at:
            found[key] = duty
    return found


def _windows(keys: list[int]) -> Iterator[tuple[int, Duty]]:
    rows = _watching().filter(deployment__version__system__in=keys)
    rows = rows.select_related("deployment__version").only("name", "next_at", "deployment__version__system")
    for row in rows:
        moment = row.at or row.next_at  # type: ignore[attr-defined]
        if moment is not None:
            duty = Duty(at=moment, what=f"window of {row.name}", href=reverse("monitor", args=[row.pk]))
            yield row.deployment.version.system_id, duty


def _watching() -> QuerySet[Monitor]:
    """Active monitors with ``at``: when their earliest window that waits for its data is due."""
    waits = Q(windows__status=MonitorWindow.Status.DUE)
    return Monitor.objects.filter(status=Monitor.Status.ACTIVE).annotate(at=Min("windows__due_at", filter=waits))


def _conditions(keys: list[int]) -> Iterator[tuple[int, Duty]]:
    rows = Condition.objects.filter(review__version__system__in=keys, status__in=WAITING)
    told = rows.order_by("due_at").values_list("review__version__system", "pk", "review", "due_at")
    for system, pk, review, at in told:
        href = f"{reverse('review', args=[review])}#condition-{pk}"
        yield system, Duty(at=at, what="condition of the approval", href=href)


def soonest_window() -> BaseExpression:
    """What a list of systems is sorted by: the moment of :func:`next_duties`."""
    watching = Monitor.objects.filter(deployment__version__system=OuterRef("pk"), status=Monitor.Status.ACTIVE)
    of_monitor = MonitorWindow.objects.filter(monitor=OuterRef("pk"), status=MonitorWindow.Status.DUE)
    first = Subquery(of_monitor.order_by("due_at").values("due_at")[:1])
    window = Subquery(watching.annotate(at=Coalesce(first, "next_at")).order_by("at").values("at")[:1])
    waiting = Condition.objects.filter(review__version__system=OuterRef("pk"), status__in=WAITING)
    condition = Subquery(waiting.order_by("due_at").values("due_at")[:1])
    # LEAST of a null is null on SQLite and the other side on PostgreSQL: so each side falls back on the other.
    return Least(Coalesce(window, condition), Coalesce(condition, window))
