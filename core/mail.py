"""Sending e-mail: claimed, sent, tried again. The rows are notifications of people, and the outbox for everybody else.

A row that is due is claimed by a conditional UPDATE before it is sent, so that of two deliveries of one task one sends.
A worker that dies while it sends lets its claim run out; the mail then goes again under the same Message-ID.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import TypeVar

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from core import letters, tasks
from core.access import check_role
from core.errors import AuscultError, ConflictError, TransientError
from core.models import Notification, OutgoingMail, Posted, Role, User
from core.reach import service

log = logging.getLogger(__name__)

Mail = Posted.Mail
P = TypeVar("P", Notification, OutgoingMail)

NO_MAIL = "django.core.mail.backends.dummy.EmailBackend"
CLAIM = timedelta(minutes=10)
WAITS = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=4))
MOST_ATTEMPTS = len(WAITS) + 1
LOST_AFTER = timedelta(minutes=2)
AT_A_TIME = 50
NOT_SET_UP = "E-mail is not set up in this installation."


class Outcome(Enum):
    """What became of one delivery. ``LEFT`` was not due, or somebody else's."""

    SENT = "sent"
    LEFT = "left"
    PUT_BACK = "put back"
    FAILED = "failed"


def mail_is_on() -> bool:
    """Whether this installation sends e-mail at all; without it people are told in the app."""
    return settings.EMAIL_BACKEND != NO_MAIL


def send_to_contact(*, address: str, name: str, subject: str, text: str, key: str) -> OutgoingMail:
    """Write to somebody who has no account, in the transaction of the act that it tells of.

    Args:
        text: Plain text. Never patient-level data.
        key: Names the message: the same key is sent once.

    Returns:
        The row of the outbox. Its ``mail`` says how it stands: due, sent, failed, or none where e-mail is not set up.
        A wrong address does not stop the act: the row is ``failed`` with the reason.
    """
    mail, error = (Mail.DUE, "") if mail_is_on() else (Mail.NONE, NOT_SET_UP)
    try:
        letters.check_address(address)
    except letters.MailRefusedError as refusal:
        mail, error = Mail.FAILED, refusal.message
    return put_out(address=address, name=name, subject=subject, text=text, key=key, mail=mail, error=error)


def put_out(
    *, address: str, name: str, subject: str, text: str, key: str, html: str = "", mail: str = Mail.DUE, error: str = ""
) -> OutgoingMail:
    """Put a mail into the outbox, once per key, and have it sent when the transaction is committed."""
    row, created = OutgoingMail.objects.get_or_create(
        key=key,
        defaults={
            "address": address[:254],
            "name": " ".join(name.split())[:200],
            "subject": " ".join(subject.split())[:200],
            "text": text.replace("\x00", ""),
            "html": html,
            "mail": mail,
            "mail_error": error[:300],
        },
    )
    if created and row.mail == Mail.DUE:
        transaction.on_commit(partial(tasks.deliver_outgoing.delay, row.pk), robust=True)
    return row


def deliver_notification(pk: int) -> Outcome:
    """Send one notification, if it is due and nobody else is sending it."""
    row = _claim(Notification.objects.select_related("recipient"), pk)
    if row is None:
        return Outcome.LEFT
    person = row.recipient
    if row.read_at is not None or not (person.is_active and person.email and mail_is_on()):
        _settle(row, mail=Mail.NONE)
        return Outcome.LEFT
    return _send(row, letters.notification_letter)


def deliver_outgoing(pk: int) -> Outcome:
    """Send one mail of the outbox, if it is due and nobody else is sending it."""
    row = _claim(OutgoingMail.objects.all(), pk)
    if row is None:
        return Outcome.LEFT
    if not mail_is_on():
        _settle(row, mail=Mail.NONE, mail_error=NOT_SET_UP)
        return Outcome.LEFT
    return _send(row, letters.outgoing_letter)


def _claim(rows: QuerySet[P], pk: int) -> P | None:
    """The row, if this delivery may send it: it is due, its waiting time is over, and nobody has claimed it."""
    now = timezone.now()
    due = rows.filter(_free(now), pk=pk, mail=Mail.DUE, mail_attempts__lt=MOST_ATTEMPTS)
    claimed = due.order_by().update(mail_after=now + CLAIM, mail_attempts=F("mail_attempts") + 1)
    return rows.get(pk=pk) if claimed else None


def _free(now: datetime) -> Q:
    return Q(mail_after__isnull=True) | Q(mail_after__lte=now)


def _send(row: P, write: Callable[[P], EmailMultiAlternatives]) -> Outcome:
    try:
        letters.hand_over(write(row))
    except TransientError as error:
        if row.mail_attempts < MOST_ATTEMPTS:
            wait = WAITS[row.mail_attempts - 1]
            _settle(row, mail=Mail.DUE, mail_after=timezone.now() + wait, mail_error=error.message[:300])
            return Outcome.PUT_BACK
        _settle(row, mail=Mail.FAILED, mail_error=error.message[:300])
    except AuscultError as error:
        _settle(row, mail=Mail.FAILED, mail_error=error.message[:300])
    else:
        _settle(row, mail=Mail.SENT, mailed_at=timezone.now(), mail_error="")
        return Outcome.SENT
    return Outcome.FAILED


def _settle(row: Notification | OutgoingMail, **changes: object) -> None:
    """Write what became of a claim, unless it has run out and another delivery has taken the row since.

    What became of a digest became of every notification in it.
    """
    model = type(row)
    with transaction.atomic():
        claim = model._default_manager.filter(pk=row.pk, mail=Mail.DUE, mail_attempts=row.mail_attempts)
        settled = claim.update(**changes)
        mail = changes["mail"]
        if settled and isinstance(row, OutgoingMail) and mail != Mail.DUE:
            gone = {"mail": mail, "mailed_at": changes.get("mailed_at"), "mail_error": changes.get("mail_error", "")}
            row.notifications.filter(mail=Mail.DIGEST).update(**gone)


def resend_due() -> int:
    """Send what is due and was lost on its way to a worker, or waits for its next try. Returns how many were sent.

    The first one that the server cannot take now ends the round: it would not take the next one either, and a worker
    should not stand at a closed door.
    """
    now = timezone.now()
    _give_up_abandoned(now)
    sent = 0
    for model, deliver in ((Notification, deliver_notification), (OutgoingMail, deliver_outgoing)):
        waiting = Q(mail_after__lte=now) | Q(mail_after__isnull=True, created_at__lte=now - LOST_AFTER)
        rows = model._default_manager.filter(waiting, mail=Mail.DUE).order_by("created_at", "pk")
        for pk in list(rows.values_list("pk", flat=True)[:AT_A_TIME]):
            outcome = _deliver_whatever_happens(deliver, pk)
            if outcome is Outcome.PUT_BACK:
                return sent
            sent += outcome is Outcome.SENT
    return sent


def _deliver_whatever_happens(deliver: Callable[[int], Outcome], pk: int) -> Outcome:
    """One mail that breaks in a way nobody foresaw must not keep the others; its claim runs out by itself."""
    try:
        return deliver(pk)
    except Exception:
        log.exception("Mail %s could not be sent; it is tried again", pk)
        return Outcome.LEFT


def _give_up_abandoned(now: datetime) -> None:
    """Mails that were claimed for the last time by workers that died: they end as failed, not as due for ever."""
    reason = "The worker ended while it was sending, five times."
    for model in (Notification, OutgoingMail):
        rows = model._default_manager.filter(mail=Mail.DUE, mail_attempts__gte=MOST_ATTEMPTS, mail_after__lte=now)
        for row in rows[:AT_A_TIME]:
            _settle(row, mail=Mail.FAILED, mail_error=reason)


def check_may_see_to_mail(by: User) -> None:
    check_role(by, Role.ADMINISTRATOR, to="see to mails that could not be sent")


@service
def send_failed_again(*, by: User) -> int:
    """Try every mail that could not be sent once more from the beginning. Returns how many.

    Raises:
        DeniedError: ``by`` is no administrator.
        ConflictError: e-mail is not set up.
    """
    check_may_see_to_mail(by)
    if not mail_is_on():
        raise ConflictError(NOT_SET_UP, remedy="Set AUSCULT_EMAIL_URL, then try again.")
    again = {"mail": Mail.DUE, "mail_attempts": 0, "mail_after": timezone.now()}
    own = Notification.objects.filter(mail=Mail.FAILED, digest=None).update(**again)
    Notification.objects.filter(mail=Mail.FAILED, digest__mail=Mail.FAILED).update(mail=Mail.DIGEST, mail_error="")
    return own + OutgoingMail.objects.filter(mail=Mail.FAILED).update(**again)


@service
def leave_failed(*, by: User) -> int:
    """Give every mail up that could not be sent. People still find in the app what they were told. Returns how many.

    Raises:
        DeniedError: ``by`` is no administrator.
    """
    check_may_see_to_mail(by)
    own = Notification.objects.filter(mail=Mail.FAILED, digest=None).update(mail=Mail.NONE)
    return own + OutgoingMail.objects.filter(mail=Mail.FAILED).update(mail=Mail.NONE)
