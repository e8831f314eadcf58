"""What a mail says and how it is handed to the mail server. Nothing here reads or writes the database."""

from __future__ import annotations

import smtplib
from email.utils import formataddr, parseaddr
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.validators import validate_email
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext

from core.errors import AuscultError, TransientError
from core.models import Notification, OutgoingMail
from core.spoken import spoken, spoken_lines

MOST_REASON = 200


class MailRefusedError(AuscultError):
    """A mail that the server will never take: the address is wrong, or the message was refused."""


def absolute(path: str) -> str:
    """The full address of a page for a mail; empty where the installation does not know its own address."""
    base: str = settings.AUSCULT_BASE_URL
    return f"{base}{path}" if base and path else ""


def notification_letter(row: Notification) -> EmailMultiAlternatives:
    """The mail of one notification. Its link goes by way of the inbox, so that following it marks it as read."""
    with translation.override(row.recipient.mail_language):
        title = spoken(row.title)
        context = {
            "title": title,
            "text": spoken_lines(row.text),
            "urgency": spoken(row.get_urgency_display()),
            "topic": spoken(row.get_topic_display()),
            "href": absolute(reverse("notification", args=[row.pk])),
            "preferences": absolute(reverse("notification-preferences")),
            "person": str(row.recipient),
        }
        urgent = row.urgency == Notification.Urgency.URGENT
        return _letter(
            address=row.recipient.email,
            name=str(row.recipient),
            subject=gettext("Urgent: %(title)s") % {"title": title} if urgent else title,
            text=render_to_string("mail/notification.txt", context),
            html=render_to_string("mail/notification.html", context),
            reference=f"notification-{row.pk}",
        )


def outgoing_letter(row: OutgoingMail) -> EmailMultiAlternatives:
    """The mail of one row of the outbox: a message to a contact, or a digest that was written before."""
    context = {"title": row.subject, "text": row.text}
    return _letter(
        address=row.address,
        name=row.name,
        subject=row.subject,
        text=row.text,
        html=row.html or render_to_string("mail/message.html", context),
        reference=f"mail-{row.pk}",
    )


def trial_letter(address: str) -> EmailMultiAlternatives:
    """The mail of ``auscult mail test``."""
    return message_letter(
        address=address, subject="A test mail of Auscult", text="If you read this, Auscult can send e-mail."
    )


def message_letter(*, address: str, subject: str, text: str) -> EmailMultiAlternatives:
    """A mail that is sent at once and kept nowhere, because what it says is for the reader alone."""
    html = render_to_string("mail/message.html", {"title": subject, "text": text})
    return _letter(address=address, name="", subject=subject, text=text, html=html, reference="")


def check_address(address: str) -> None:
    """Raise MailRefusedError unless this can be an address."""
    try:
        validate_email(address)
    except ValidationError as error:
        raise MailRefusedError(
            f"{address!r} is not an e-mail address.", remedy="Correct the address, then send the mail again."
        ) from error


def _letter(*, address: str, name: str, subject: str, text: str, html: str, reference: str) -> EmailMultiAlternatives:
    check_address(address)
    headers: dict[str, Any] = {"Auto-Submitted": "auto-generated"}
    if reference:
        # The same for every try, so that a mail program shows a mail once that a dying worker sent twice.
        domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
        headers["Message-ID"] = f"<{reference}@{domain}>"
    letter = EmailMultiAlternatives(
        subject=" ".join(subject.split()),
        body=text,
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[formataddr((" ".join(name.split()), address))],
        headers=headers,
    )
    letter.attach_alternative(html, "text/html")
    return letter


def hand_over(letter: EmailMultiAlternatives) -> None:
    """Give a mail to the server.

    Raises:
        TransientError: the server cannot be reached, is busy, or does not take our sign-in: a fault that may pass or
            be mended without touching the mail.
        MailRefusedError: it refuses this mail or this address for good.
    """
    try:
        letter.send()
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        raise _refusal(code, said, "does not take this address") from error
    except smtplib.SMTPDataError as error:
        raise _refusal(error.smtp_code, error.smtp_error, "does not take this mail") from error
    except smtplib.SMTPResponseException as error:
        reason = _said(error.smtp_code, error.smtp_error)
        raise TransientError(f"The mail server would not talk to us: {reason}", remedy=SETTINGS) from error
    except OSError as error:
        reason = str(error)[:MOST_REASON] or type(error).__name__
        raise TransientError(f"The mail server cannot be used: {reason}", remedy=SETTINGS) from error


SETTINGS = "See whether the server runs and whether AUSCULT_EMAIL_URL is right; try it with: auscult mail test."


def _refusal(code: int, said: bytes | str, what: str) -> AuscultError:
    message = f"The mail server {what}: {_said(code, said)}"
    if 400 <= code < 500:
        return TransientError(message, remedy="It is tried again.")
    return MailRefusedError(message, remedy="Correct the address, then send the mail again.")


def _said(code: int, said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return f"{code} {' '.join(text.split())}"[:MOST_REASON]
