"""Who is told that a monitor is theirs from now on."""

from __future__ import annotations

from collections.abc import Iterable

from django.urls import reverse
from django.utils import timezone

from core.access import same_person
from core.models import Topic, User
from core.notifications import Urgency, notify
from evaluation.models import Monitor


def tell_handed_over(monitor: Monitor, *, before: Iterable[User], by: User) -> int:
    """Tell the persons whom the monitor names now and did not name before; returns how many are told."""
    known = [*before, by]
    roles = {"It is yours now: its audits are requested in your name.": monitor.owner,
             "Its alerts escalate to you from now on.": monitor.escalate_to}  # fmt: skip
    told = 0
    for words, person in roles.items():
        if person is None or any(same_person(person, other) for other in known):
            continue
        told += notify(
            to=[person],
            topic=Topic.MONITORS,
            title=f"{by} handed the monitor {monitor.name} over",
            text=f"{words}\nIt is the monitor {monitor.name} of {monitor.deployment}.",
            href=reverse("monitor", args=[monitor.pk]),
            key=f"monitor:{monitor.pk}:handed-over-{timezone.now():%Y%m%d%H%M%S%f}",
            urgency=Urgency.ACTION,
        )
    return told
