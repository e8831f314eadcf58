"""Patients being made: shown with the cohorts, and on the home page of whoever ordered them when that failed."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext

from core.access import roles_of
from core.models import Role, User
from core.pages.panels import Panel, QueueItem, panel, queue_source
from models_registry.models import CohortVersion
from synthetic.selectors import failed_generations, failed_trainings, generations_under_way, order_of


@panel("cohorts")
def being_made(user: User, subject: None) -> Panel:
    orders = list(generations_under_way())
    return Panel(template="synthetic/_under_way.html", context={"orders": orders})


@panel("cohort", rank=10)
def made_by(user: User, version: CohortVersion) -> Panel | None:
    """Of a cohort that a generator made: who, and whether anything may be done with it."""
    if version.parent_id is None:
        return None
    return Panel(template="synthetic/_made_by.html", context={"version": version, "order": order_of(version)})


@queue_source
def failures(user: User) -> Iterator[QueueItem]:
    if Role.ML_ENGINEER not in roles_of(user):
        return
    for order in failed_generations(user):
        yield QueueItem(
            title=gettext("The cohort %(cohort_name)s was not made") % {"cohort_name": order.cohort_name},
            why=order.error or "The worker gave no reason.",
            href=reverse("patients-order", args=[order.pk]) if order.version_id else reverse("cohorts"),
            since=order.finished_at or order.requested_at,
            tone="fail",
            word="Failed",
        )
    for training in failed_trainings(user):
        yield QueueItem(
            title=gettext("%(name)s %(version_label)s was not trained")
            % {"name": training.system.name, "version_label": training.version_label},
            why=training.error or "The worker gave no reason.",
            href=reverse("generator-training", args=[training.pk]),
            since=training.finished_at or training.requested_at,
            tone="fail",
            word="Failed",
        )
