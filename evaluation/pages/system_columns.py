"""What audits and monitors say of each system in the portfolio: the worst open finding, and open alerts."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Case, Count, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from core.models import User
from core.pages.columns import Cell, page_column
from core.pages.lists import Order
from evaluation.models import Alert, Outcome, RunStatus
from evaluation.selectors import judging_runs, leading_verdicts, of_no_window
from models_registry.models import AISystem

RANKS = {Outcome.FAIL: 0, Outcome.INSUFFICIENT: 1, Outcome.PASS: 2}


def _by_finding() -> tuple[Order, ...]:
    """Of the newest audit that is done: failed first, then too little evidence, then passed."""
    rank = Case(*(When(outcome=outcome, then=Value(place)) for outcome, place in RANKS.items()))
    done = judging_runs().filter(of_no_window(), version__system=OuterRef("pk"), status=RunStatus.DONE)
    return (Subquery(done.order_by("-finished_at", "-pk").annotate(rank=rank).values("rank")[:1]),)


@page_column("systems", key="finding", title="Worst finding", rank=10, order=_by_finding)
def worst_finding(user: User, systems: Sequence[AISystem]) -> dict[int, Cell]:
    """The verdict that leads the newest audit of a system."""
    found = leading_verdicts(systems)
    return {
        key: Cell(template="evaluation/_cell_finding.html", context={"verdict": verdict, "run": verdict.run})
        for key, verdict in found.items()
    }


def _open_alerts() -> QuerySet[Alert]:
    return Alert.objects.exclude(status=Alert.Status.CLOSED)


def _by_alerts() -> tuple[Order, ...]:
    way = "monitor__deployment__version__system"
    counted = _open_alerts().filter(**{way: OuterRef("pk")}).order_by().values(way).annotate(n=Count("pk")).values("n")
    return (Coalesce(Subquery(counted), 0),)


@page_column("systems", key="alerts", title="Open alerts", rank=20, order=_by_alerts, down=True)
def open_alerts(user: User, systems: Sequence[AISystem]) -> dict[int, Cell]:
    """How many alerts of a system's monitors are not closed, and how many of them are critical."""
    way = "monitor__deployment__version__system"
    rows = _open_alerts().filter(**{f"{way}__in": [system.pk for system in systems]}).order_by().values(way)
    counted = rows.annotate(n=Count("pk"), critical=Count("pk", filter=Q(severity=Alert.Severity.CRITICAL)))
    return {
        row[way]: Cell(template="evaluation/_cell_alerts.html", context={"n": row["n"], "critical": row["critical"]})
        for row in counted
    }
