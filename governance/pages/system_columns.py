"""What decisions say of each system in the portfolio: open incidents, and what is due next."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from core.models import User
from core.pages.columns import Cell, page_column
from core.pages.lists import Order
from governance.models import Incident
from governance.selectors.duties import next_duties, soonest_window
from models_registry.models import AISystem


def _open_incidents() -> QuerySet[Incident]:
    return Incident.objects.exclude(status=Incident.Status.CLOSED)


def _by_incidents() -> tuple[Order, ...]:
    counted = _open_incidents().filter(system=OuterRef("pk")).order_by().values("system").annotate(n=Count("pk"))
    return (Coalesce(Subquery(counted.values("n")), 0),)


@page_column("systems", key="incidents", title="Open incidents", rank=30, order=_by_incidents, down=True)
def open_incidents(user: User, systems: Sequence[AISystem]) -> dict[int, Cell]:
    """How many incidents of a system are not closed."""
    slugs = {system.pk: system.slug for system in systems}
    counted = _open_incidents().filter(system__in=slugs).order_by().values("system").annotate(n=Count("pk"))
    return {
        row["system"]: Cell(
            template="governance/_cell_incidents.html", context={"n": row["n"], "slug": slugs[row["system"]]}
        )
        for row in counted
    }


@page_column("systems", key="due", title="Due next", rank=40, order=lambda: (soonest_window(),))
def due_next(user: User, systems: Sequence[AISystem]) -> dict[int, Cell]:
    """What is due soonest: a window of a monitor, or a condition of an approval."""
    now = timezone.now()
    return {
        key: Cell(template="governance/_cell_due.html", context={"duty": duty, "late": duty.at < now})
        for key, duty in next_duties(systems).items()
    }
