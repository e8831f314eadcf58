"""Reading what a person was told, and which mails could not be sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, Count, IntegerField, Q, QuerySet, When

from core.models import Notification, OutgoingMail, Posted, User

URGENT = Notification.Urgency.URGENT


@dataclass(frozen=True, kw_only=True)
class Unread:
    """How much a person has not read."""

    total: int
    urgent: int


@dataclass(frozen=True, kw_only=True)
class FailedMail:
    """One mail that could not be sent: to whom, what, and why."""

    to: str
    address: str
    subject: str
    reason: str
    since: datetime


def unread_of(user: User) -> Unread:
    """Both numbers in one question."""
    counts = Notification.objects.filter(recipient=user, read_at__isnull=True).aggregate(
        total=Count("pk"), urgent=Count("pk", filter=Q(urgency=URGENT))
    )
    return Unread(total=counts["total"], urgent=counts["urgent"])


def unread_urgent(user: User) -> QuerySet[Notification]:
    """The newest first."""
    return Notification.objects.filter(recipient=user, read_at__isnull=True, urgency=URGENT)


def inbox(user: User, *, topic: str = "", urgency: str = "") -> QuerySet[Notification]:
    """What a person was told: what is unread first, and the newest first in both."""
    rows = Notification.objects.filter(recipient=user)
    if topic:
        rows = rows.filter(topic=topic)
    if urgency:
        rows = rows.filter(urgency=urgency)
    read = Case(When(read_at__isnull=True, then=0), default=1, output_field=IntegerField())
    return rows.order_by(read, "-created_at", "-pk")


def _failed_notifications() -> QuerySet[Notification]:
    """Those with a mail of their own: what a digest could not carry is told with the digest."""
    return Notification.objects.filter(mail=Posted.Mail.FAILED, digest=None)


def _failed_outgoing() -> QuerySet[OutgoingMail]:
    return OutgoingMail.objects.filter(mail=Posted.Mail.FAILED)


def failed_count() -> int:
    """How many mails wait for an administrator to send them again or to leave them."""
    return _failed_notifications().count() + _failed_outgoing().count()


def failed_since() -> datetime | None:
    """When the oldest of them was written."""
    firsts = (rows.order_by("created_at").first() for rows in (_failed_notifications(), _failed_outgoing()))
    return min((row.created_at for row in firsts if row is not None), default=None)


def failed_mails(most: int) -> list[FailedMail]:
    """The newest of them, at most so many."""
    own = [
        FailedMail(
            to=str(row.recipient),
            address=row.recipient.email,
            subject=row.title,
            reason=row.mail_error,
            since=row.created_at,
        )
        for row in _failed_notifications().select_related("recipient")[:most]
    ]
    outbox = [
        FailedMail(to=row.name, address=row.address, subject=row.subject, reason=row.mail_error, since=row.created_at)
        for row in _failed_outgoing()[:most]
    ]
    return sorted([*own, *outbox], key=lambda mail: mail.since, reverse=True)[:most]
