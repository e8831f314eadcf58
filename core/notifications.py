"""Telling people: what waits for them, what changed, what runs out. In the app always, by e-mail as each one chose.

**Keys.** The key of a notification names the event it tells of: ``<kind>:<pk>:<step>``, such as ``condition:12:due-3``,
``incident-clock:7:half`` or ``deployment:4:suspended``. The same key tells a person once.
``<kind>:<pk>`` is the *matter*: when it no longer waits, :func:`resolve` marks every notification of it as read; while
it does, some kinds are escalated if nobody reads them (``governance.execution_escalation``, which keeps the third part
``escalated`` for itself).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import partial

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from core import tasks
from core.mail import mail_is_on
from core.models import Notification, NotificationPreference, Topic, User

Urgency = Notification.Urgency
Mail = Notification.Mail
MOST_TITLE, MOST_HREF, MOST_KEY = 200, 300, 200
KEY = re.compile(r"(?P<kind>[a-z]+(?:-[a-z]+)*):(?P<pk>[0-9]{1,18})(?::|\Z)")


def notify(
    *,
    to: Iterable[User],
    topic: Topic,
    title: str,
    key: str,
    text: str = "",
    href: str = "",
    urgency: Urgency = Urgency.INFO,
) -> int:
    """Tell some people of one event, in the transaction of the act that it tells of.

    Args:
        to: Closed accounts are left out; of merged accounts the one that stands for the person is told.
        title: One line; what is longer than 200 characters is cut.
        key: Names the event: the same key tells a person once. See the module.
        text: Never patient-level data: it goes out by e-mail.
        href: Address of the page, beginning with ``/``; empty where there is none.

    Returns:
        How many are told, and were not told before.

    Raises:
        ValueError: the address leads off the site, or the key is empty or too long: a mistake of the caller.
    """
    if not key or len(key) > MOST_KEY:
        raise ValueError(f"a notification's key has 1 to {MOST_KEY} characters, not {len(key)}")
    if href and (not href.startswith("/") or href.startswith("//") or "\\" in href or len(href) > MOST_HREF):
        raise ValueError(f"{href!r} is not an address of a page of the house")
    people = _standing_for(to)
    told = set(Notification.objects.filter(key=key, recipient__in=people).values_list("recipient_id", flat=True))
    chosen = dict(NotificationPreference.objects.filter(user__in=people, topic=topic).values_list("user_id", "mail"))
    rows = [
        Notification(
            recipient=user,
            topic=topic,
            urgency=urgency,
            title=one_line(title)[:MOST_TITLE],
            text=without_controls(text).strip(),
            href=href,
            key=key,
            mail=mail_for(user, urgency, chosen.get(user.pk)),
        )
        for user in people.values()
        if user.pk not in told
    ]
    return _keep(rows, key=key) if rows else 0


def _standing_for(to: Iterable[User]) -> dict[int, User]:
    """Each person once, by the account that stands for them, while it is open."""
    given = list(to)
    merged = User.objects.in_bulk({user.merged_into_id for user in given if user.merged_into_id is not None})
    standing = (merged.get(user.merged_into_id, user) if user.merged_into_id else user for user in given)
    return {user.pk: user for user in standing if user.is_active}


def _keep(rows: list[Notification], *, key: str) -> int:
    """Insert what nobody else has inserted meanwhile, and have its mail sent once the act is committed."""
    Notification.objects.bulk_create(rows, ignore_conflicts=True)
    # Rows that another worker inserted under the same key at the same time carry another moment than ours.
    ours = {(row.recipient_id, row.created_at) for row in rows}
    kept = Notification.objects.filter(key=key, recipient__in={row.recipient_id for row in rows})
    found = [row for row in kept if (row.recipient_id, row.created_at) in ours]
    for row in found:
        if row.mail == Mail.DUE:
            # Robust: the act stands although the broker is away. The sweep finds what was not handed over.
            transaction.on_commit(partial(tasks.deliver.delay, row.pk), robust=True)
    return len(found)


def mail_for(user: User, urgency: str, chosen: str | None) -> str:
    """Urgent: at once. Else what the person chose; else at once what waits for them, and the rest in the digest."""
    choices = NotificationPreference.Mail
    if not user.email or not mail_is_on():
        return Mail.NONE
    if urgency == Urgency.URGENT or chosen == choices.AT_ONCE:
        return Mail.DUE
    if chosen == choices.NEVER:
        return Mail.NONE
    if chosen is None and urgency == Urgency.ACTION:
        return Mail.DUE
    return Mail.DIGEST


def matter_of(key: str) -> tuple[str, int] | None:
    """Kind and number of what a key is about; None for a key that names no number."""
    found = KEY.match(key)
    return (found["kind"], int(found["pk"])) if found else None


def of_matter(prefix: str) -> Q:
    """Notifications whose key is this prefix, or has further parts: ``condition:1`` does not find ``condition:12``."""
    return Q(key=prefix) | Q(key__startswith=f"{prefix}:")


def resolve(key_prefix: str, *, to: User | None = None) -> int:
    """Mark as read what no longer waits, in the transaction of the act that ended the waiting.

    What was to be sent by e-mail and has not gone yet is not sent any more.

    Args:
        key_prefix: ``<kind>:<pk>``, with or without further parts.
        to: Only this person's; None: everybody's.

    Returns:
        How many were unread.
    """
    if not key_prefix:
        raise ValueError("an empty prefix would mark everything as read")
    rows = Notification.objects.filter(of_matter(key_prefix))
    if to is not None:
        rows = rows.filter(recipient_id=to.identity_id)
    return _read(rows)


def mark_read(*, by: User, pks: Iterable[int] | None = None) -> int:
    """Mark a person's own notifications as read: some, or all. Returns how many were unread.

    It is no act of governance, so the ledger does not tell of it.
    """
    rows = Notification.objects.filter(recipient=by)
    return _read(rows if pks is None else rows.filter(pk__in=list(pks)))


def _read(rows: QuerySet[Notification]) -> int:
    unread = rows.filter(read_at__isnull=True)
    # In one statement each, and the mail first: the second statement's condition is what the first one looks for.
    unread.filter(mail__in=[Mail.DUE, Mail.DIGEST], digest__isnull=True).update(mail=Mail.NONE)
    return unread.update(read_at=timezone.now())


def without_controls(text: str) -> str:
    """The text without control characters but line breaks and tabs: neither databases nor mails take all of them."""
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) != "Cc")


def one_line(text: str) -> str:
    """The text on one line: a subject with a line break could smuggle a header into a mail."""
    spaced = (" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
    return " ".join("".join(spaced).split())
