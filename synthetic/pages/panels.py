"""Patients being made: shown with the cohorts, and on the home page of whoever ordered them when that failed."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse

from core.models import User
from core.pages.panels import Panel, QueueItem, panel, queue_source
from synthetic.selectors import failed_generations, generations_under_way


@panel("cohorts")
def being_made(user: User, subject: None) -> Panel | None:
    orders = list(generations_under_way())
    return Panel(template="synthetic/_under_way.html", context={"orders": orders}) if orders else None


@queue_source
def failures(user: User) -> Iterator[QueueItem]:
    for order in failed_generations(user):
        yield QueueItem(
            title=f"The cohort {order.cohort_name} was not made",
            why=order.error or "The worker gave no reason.",
            href=reverse("cohorts"),
            since=order.finished_at or order.requested_at,
            tone="fail",
            word="Failed",
        )
