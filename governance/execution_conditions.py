"""What becomes of conditions by itself: warnings before their day, suspension after it, an end with their approval."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from core import ledger
from core.access import people_with
from core.models import Notification, Role, Topic
from core.notifications import Urgency, notify, resolve
from governance.models import Condition, Review
from governance.services.review_notices import address_of, person_of
from governance.services.review_rows import about, locked_review
from governance.standing.condition_states import ALIVE, UNMET
from models_registry.models import VersionStatus

log = logging.getLogger(__name__)
WARN_DAYS = (1, 3, 14)
SUSPENDABLE = (VersionStatus.CONDITIONAL, VersionStatus.DEPLOYED)


def lapse_conditions() -> int:
    """End conditions whose approval has ended, let those lapse whose day has passed, and warn of those that are near.

    What is said to be met and not confirmed lapses too. Each is done in a transaction of its own, and one that fails
    does not stop the others.

    Returns:
        How many conditions ended, lapsed or were warned of.
    """
    now = timezone.now()
    unmet = Condition.objects.filter(status__in=UNMET)
    void = Q(review__version__void_at__gte=F("review__closed_at"))
    stands = Q(review__version__void_at=None) | Q(review__version__void_at__lt=F("review__closed_at"))
    counting = unmet.filter(stands, review__version__status__in=ALIVE)
    done = sum(_each(unmet.filter(void | ~Q(review__version__status__in=ALIVE)), _end))
    done += sum(_each(counting.filter(due_at__lte=now), _lapse))
    near = counting.filter(due_at__gt=now, due_at__lte=now + timedelta(days=max(WARN_DAYS)))
    return done + _warn(near, now)


def _each(rows: QuerySet[Condition], act: Callable[[int, int], bool]) -> list[bool]:
    found = []
    for pk, review in list(rows.order_by("due_at", "pk").values_list("pk", "review")):
        try:
            with transaction.atomic():
                found.append(act(pk, review))
        except Exception:
            log.exception("Condition %s could not be followed; it is tried again", pk)
    return found


def _end(pk: int, review_pk: int) -> bool:
    review = locked_review(review_pk)
    if not Condition.objects.filter(pk=pk, status__in=UNMET).update(status=Condition.Status.ENDED):
        return False
    _record(pk, review, "condition.ended", version_status=str(review.version.status))
    resolve(f"condition:{pk}")
    return True


def _lapse(pk: int, review_pk: int) -> bool:
    """The day has passed: the condition lapses, and with it the version may not be used."""
    review, now = locked_review(review_pk), timezone.now()
    rows = Condition.objects.filter(pk=pk, status__in=UNMET, due_at__lte=now)
    if not rows.update(status=Condition.Status.LAPSED, lapsed_at=now):
        return False
    condition = Condition.objects.select_related("owner__merged_into").get(pk=pk)
    reason = f"A condition of its approval was not met by {condition.due_at:%d %b %Y %H:%M %Z}: {condition.text}"
    _record(pk, review, "condition.lapsed", due_at=condition.due_at.isoformat(), owner=condition.owner.username)
    if review.version.status in SUSPENDABLE:
        from governance.services.deployments import suspend_version

        suspend_version(version=review.version, reason=reason, by=None)
    resolve(f"condition:{pk}")
    notify(
        to=[person_of(condition.owner), *people_with(Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, on=condition)],
        topic=Topic.CONDITIONS,
        urgency=Urgency.URGENT,
        title=f"{review.version} may not be used: a condition ran out",
        text=reason,
        href=address_of(review),
        key=f"condition:{pk}:lapsed",
    )
    return True


def _warn(rows: QuerySet[Condition], now: datetime) -> int:
    """Tell the owner 14, 3 and 1 days before, and the chairs from 3 days on; each once, also if this runs often."""
    conditions = list(rows.select_related("owner__merged_into", "review__version__system"))
    if not conditions:
        return 0
    keys = {condition.pk: _key(condition, now) for condition in conditions}
    told = set(Notification.objects.filter(key__in=keys.values()).values_list("key", flat=True))
    waiting = [condition for condition in conditions if keys[condition.pk] not in told]
    chairs = people_with(Role.COMMITTEE_CHAIR) if waiting else []
    for condition in waiting:
        days = _days_left(condition, now)
        claimed = condition.status == Condition.Status.CLAIMED
        lacks = "Nobody has confirmed yet that it is met." if claimed else "Its owner has not said yet that it is met."
        with transaction.atomic():
            notify(
                to=[person_of(condition.owner), *(chairs if days <= 3 else [])],
                topic=Topic.CONDITIONS,
                urgency=Urgency.ACTION,
                title=f"A condition of {condition.review.version} runs out within {days} day{'s' if days > 1 else ''}",
                text=f"{condition.text} {lacks} On {condition.due_at:%d %b %Y %H:%M %Z} the version is suspended.",
                href=address_of(condition.review),
                key=keys[condition.pk],
            )
    return len(waiting)


def _days_left(condition: Condition, now: datetime) -> int:
    """The narrowest of the warnings that its day is within."""
    return next(days for days in WARN_DAYS if condition.due_at - now <= timedelta(days=days))


def _key(condition: Condition, now: datetime) -> str:
    return f"condition:{condition.pk}:due-{_days_left(condition, now)}:{condition.owner_id}"


def _record(pk: int, review: Review, act: str, **facts: Any) -> None:
    payload = about(review) | {"condition": pk} | facts
    ledger.record(actor="system", act=act, subject=("Condition", pk), payload=payload)
