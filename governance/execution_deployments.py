"""What is looked after by itself in deployments: sites that did not confirm, and how clinicians use the outputs."""

from __future__ import annotations

from datetime import timedelta

from django.core.cache import cache
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from core import ledger
from core.access import people_with
from core.models import LedgerEntry, Role, Topic
from core.notifications import Urgency, notify
from governance.selectors.deployments import waiting_for_site
from governance.selectors.oversight import WINDOW, override_rates
from governance.services.deployments import locked
from models_registry.models import Deployment
from models_registry.services.suspensions import reason_of

CONFIRM_WITHIN = timedelta(hours=24)
ESCALATED = "escalation.raised"
LOOK_EVERY = 3600
"""Seconds between two looks at the rates: they change by the day, and a look costs some queries for each deployment."""
LOOKED = "override-marks-looked-at"


def escalate_unconfirmed() -> int:
    """Tell those who answer for it, once, of each site that has not confirmed for a day that it stopped."""
    late = waiting_for_site().filter(suspended_at__lte=timezone.now() - CONFIRM_WITHIN)
    return sum(_escalate(pk) for pk in late.values_list("pk", flat=True))


@transaction.atomic
def _escalate(pk: int) -> bool:
    """Locked and looked at again, so that of two sweeps one tells."""
    row = locked(Deployment.objects.get(pk=pk))[1]
    told = LedgerEntry.objects.filter(
        act=ESCALATED, subject_kind="Deployment", subject_id=str(pk), recorded_at__gte=row.suspended_at
    )
    if row.status != Deployment.Status.SUSPENDED or row.acknowledged_at is not None or told.exists():
        return False
    notify(
        to=people_with(Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, Role.DPO, Role.AUDITOR, on=row),
        topic=Topic.DEPLOYMENTS,
        urgency=Urgency.URGENT,
        title=f"{row.site} has not confirmed for a day that {row.version} is stopped",
        text=f"Call {row.contact_name} now, and record who confirmed it. It was suspended because: {reason_of(row)}",
        href=reverse("deployment", args=[pk]),
        key=f"unconfirmed:{pk}:{row.suspended_at:%Y%m%d%H%M%S%f}",
    )
    ledger.record(
        actor="system",
        act=ESCALATED,
        subject=("Deployment", pk),
        payload={"version": row.version.digest, "hours": CONFIRM_WITHIN.total_seconds() / 3600},
    )
    return True


def tell_of_marks() -> int:
    """Tell of each deployment whose overrides are a signal, once a month for each kind of signal."""
    if not cache.add(LOOKED, True, LOOK_EVERY):
        return 0
    now = timezone.now()
    running = Deployment.objects.filter(
        status=Deployment.Status.RUNNING, output_counts__day__gte=(now - WINDOW).date()
    ).distinct()
    told = 0
    for row in running.select_related("version__system").order_by("pk"):
        mark = override_rates(row, now=now).mark
        if mark is None:
            continue
        with transaction.atomic():
            number = notify(
                to=people_with(Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, Role.AUDITOR, on=row),
                topic=Topic.OVERSIGHT,
                urgency=Urgency.ACTION,
                title=f"{mark.title}: {row.version} at {row.site}",
                text=mark.text,
                href=reverse("overrides", args=[row.pk]),
                key=f"override-mark:{row.pk}:{mark.kind}:{now:%Y-%m}",
            )
        told += bool(number)
    return told
