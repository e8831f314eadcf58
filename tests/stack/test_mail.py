"""In a running installation a real worker sends a notification, into a folder where no server is set up."""

from __future__ import annotations

import email
import email.policy
import threading
from email.message import Message

import pytest

from tests.stack.conftest import Installation

pytestmark = pytest.mark.stack
TRIES, SECONDS = 240, 0.25


def mails(installation: Installation, subject: str) -> list[Message]:
    """Every mail with this subject that was written into the folder of the installation."""
    files = (installation.home / "mail").glob("*")
    read = (email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files)
    return [message for message in read if message["Subject"] == subject]


def test_an_urgent_notification_becomes_a_mail_with_a_link(installation: Installation) -> None:
    pk = installation.python("""
        from django.db import transaction
        from core.models import Notification, Topic, User
        from core.notifications import notify
        with transaction.atomic():
            for _ in range(2):
                notify(to=User.objects.filter(username="mina"), topic=Topic.LEDGER, title="A trial of the mail",
                       key="trial:1:mail", href="/", urgency="urgent")
        answer = Notification.objects.get(key="trial:1:mail").pk
    """)
    waiting = threading.Event()
    for _ in range(TRIES):
        if mails(installation, "Urgent: A trial of the mail"):
            break
        waiting.wait(SECONDS)
    (message,) = mails(installation, "Urgent: A trial of the mail")
    assert message["To"] == "Mina Okafor <mina@example.org>"
    assert f"{installation.address}/notifications/{pk}/" in message.get_body(["plain"]).get_content()
    state = installation.python(f"""
        from core.models import Notification
        answer = Notification.objects.get(pk={pk}).mail
    """)
    assert state == "sent"
