"""Delivered rows are deleted once no window can need them any more: patients' data are kept no longer than is needed.

What stays of a delivery is its row: name, digests of the file, counts and findings. So the same file is known when it
comes again, and is not taken a second time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from core import ledger
from evaluation.models import Delivery, Monitor, MonitorWindow
from evaluation.monitoring.collecting import FINAL
from models_registry.services.versions import model_store

MOST_AT_ONCE = 500
"""Deliveries of one sweep; the next one goes on."""
Status = MonitorWindow.Status


def purge_deliveries(now: datetime) -> int:
    """Delete the rows of deliveries that no window needs since so many days; returns of how many deliveries.

    The files go first and then the row says so: a sweep that dies in between is made good by the next one.
    """
    cutoff = now - timedelta(days=settings.AUSCULT_DELIVERY_DAYS)
    found = list(_past_need(cutoff).order_by("monitor", "pk")[:MOST_AT_ONCE])
    for delivery in found:
        _delete_content(delivery.content_digest, among=found)
    done = 0
    for monitor_id, deliveries in groupby(found, key=lambda row: row.monitor_id):
        done += _write_down(monitor_id, list(deliveries), now)
    return done


def _past_need(cutoff: datetime) -> QuerySet[Delivery]:
    """Deliveries all of whose studies lie in, or before, windows that ended before the cutoff.

    Windows end in their order, so one ended window that closes after the last study says it of all before it. A window
    counts what came too late since the one before it was collected: so one must have been collected after the delivery
    came. Of a monitor that has ended, no window needs anything.
    """
    mine = MonitorWindow.objects.filter(monitor=OuterRef("monitor"))
    ended = mine.filter(status__in=FINAL).alias(ended_at=Coalesce("judged_at", "collected_at"))
    over = ended.filter(ended_at__lte=cutoff, closes_at__gt=OuterRef("last_at"))
    seen = ended.filter(collected_at__gt=OuterRef("received_at"))
    needs = mine.exclude(status__in=FINAL).filter(opens_at__lte=OuterRef("last_at"))
    past = Exists(over) & Exists(seen) & ~Exists(needs)
    gone = Q(monitor__status=Monitor.Status.ENDED) & ~Exists(mine.filter(status=Status.COLLECTING))
    return Delivery.objects.filter(past | gone, received_at__lte=cutoff).exclude(content_digest="")


def _delete_content(digest: str, *, among: list[Delivery]) -> None:
    """Delete a file of the store, unless another delivery has the same rows."""
    rows = Delivery.objects.filter(content_digest=digest).exclude(pk__in=[row.pk for row in among])
    if not rows.exists():
        model_store().path(digest).unlink(missing_ok=True)


@transaction.atomic
def _write_down(monitor_id: int, deliveries: list[Delivery], now: datetime) -> int:
    """Say of each delivery that its rows are gone, with one entry for the monitor."""
    rows = Delivery.objects.filter(pk__in=[row.pk for row in deliveries]).exclude(content_digest="")
    numbers = sorted(rows.values_list("pk", flat=True))
    if not rows.update(content_digest="", purged_at=now):
        return 0
    ledger.record(
        actor="system",
        act="monitor.deliveries_purged",
        subject=("Monitor", monitor_id),
        payload={"deliveries": numbers, "days": settings.AUSCULT_DELIVERY_DAYS},
    )
    return len(numbers)
