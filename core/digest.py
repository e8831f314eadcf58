"""The daily digest: once a day, at each person's hour, what changed and what still waits for them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime
from importlib import import_module
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.translation import ngettext, pgettext

from core.letters import absolute
from core.mail import mail_is_on, put_out
from core.models import Notification, OutgoingMail, Topic, User
from core.preferences import chosen_by, wants_no_digest, zone_of
from core.spoken import spoken, spoken_lines

log = logging.getLogger(__name__)

MOST_LINES, MOST_WAITING = 50, 20
RANKS = (Notification.Urgency.URGENT, Notification.Urgency.ACTION, Notification.Urgency.INFO)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a digest. ``since`` is set for what waits, ``due`` where it has a day."""

    title: str
    text: str
    href: str
    urgency: str = ""
    since: datetime | None = None
    due: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Group:
    """The lines of one topic, the most urgent first."""

    topic: str
    lines: tuple[Line, ...]


def day_due(user: User, now: datetime) -> date | None:
    """The person's own day for which a digest is due now: their hour has come and that day has none yet.

    By the wall clock of their zone: an hour that is left out in spring has come when the clock has jumped over it, and
    one that comes twice in autumn is used once.
    """
    local = now.astimezone(zone_of(user))
    if local.hour < user.digest_hour:
        return None
    sent = user.digest_sent_on
    return local.date() if sent is None or sent < local.date() else None


def send_digests(now: datetime | None = None) -> int:
    """Send the digests whose hour has come. One that was missed is sent once. Returns how many were sent."""
    if not mail_is_on():
        return 0
    now = now or timezone.now()
    sent = 0
    people = User.objects.filter(is_active=True, merged_into=None).exclude(email="")
    for person in people.order_by("pk"):
        day = day_due(person, now)
        if day is None:
            continue
        try:
            sent += send_digest(person, day)
        except Exception:
            log.exception("The digest of %s was not written; it is tried again", person.username)
    return sent


def send_digest(person: User, day: date) -> bool:
    """Put one person's digest for a day into the outbox; False if it is there, or there is nothing to say."""
    with translation.override(person.mail_language):
        return _send(person, day)


def _send(person: User, day: date) -> bool:
    rows = list(_unsent(person))
    waiting = [] if wants_no_digest(chosen_by(person)) else _queue_of(person)
    with transaction.atomic():
        first = Q(digest_sent_on__isnull=True) | Q(digest_sent_on__lt=day)
        if not User.objects.filter(first, pk=person.pk).update(digest_sent_on=day):
            return False
        if not rows and not waiting:
            return False
        context = _context(person, rows, waiting, day)
        with timezone.override(zone_of(person)):
            text, html = (render_to_string(f"mail/digest.{kind}", context) for kind in ("txt", "html"))
        mail = put_out(
            address=person.email,
            name=str(person),
            subject=context["title"],
            text=text,
            html=html,
            key=f"digest:{person.pk}:{day}",
        )
        _unsent(person).filter(pk__in=[row.pk for row in rows]).update(digest=mail)
    return True


def _unsent(person: User) -> Any:
    """What waits for the digest. What was read in the app meanwhile is not told again."""
    return Notification.objects.filter(
        recipient=person, mail=OutgoingMail.Mail.DIGEST, digest=None, read_at__isnull=True
    ).order_by("-created_at", "-pk")


def _queue_of(person: User) -> list[Line]:
    """What waits for a person on the home page."""
    # The pages fill the queue when they are imported, and a worker has not opened any.
    import_module(settings.ROOT_URLCONF)
    from core.pages.panels import queue_for

    return [
        Line(title=spoken(item.title), text=spoken(item.why), href=absolute(item.href), since=item.since, due=item.due)
        for item in queue_for(person)
    ]


def _context(person: User, rows: list[Notification], waiting: list[Line], day: date) -> dict[str, Any]:
    counted = [
        ngettext("%(n)s notification", "%(n)s notifications", len(rows)) % {"n": len(rows)},
        ngettext("%(n)s thing waiting", "%(n)s things waiting", len(waiting)) % {"n": len(waiting)},
    ]
    told = ", ".join(words for words, number in zip(counted, (len(rows), len(waiting)), strict=True) if number)
    written = pgettext("format of a day", "j F Y")
    return {
        "title": f"Auscult, {date_format(day, written)}: {told}",
        "groups": grouped(rows),
        "more": max(0, len(rows) - MOST_LINES),
        "queue": waiting[:MOST_WAITING],
        "more_queue": max(0, len(waiting) - MOST_WAITING),
        "person": str(person),
        "hour": f"{person.digest_hour:02d}",
        "zone": zone_of(person).key,
        "preferences": absolute(reverse("notification-preferences")),
    }


def grouped(rows: list[Notification]) -> list[Group]:
    """By topic; the topic with the most urgent line first, and in each the most urgent first, then the newest.

    Of very many only the first ones are kept, the most urgent ones of all.
    """
    rank = {urgency: place for place, urgency in enumerate(RANKS)}
    ordered = sorted(rows, key=lambda row: rank[Notification.Urgency(row.urgency)])[:MOST_LINES]
    topics: dict[str, list[Notification]] = {}
    for row in ordered:
        topics.setdefault(row.topic, []).append(row)
    return [
        Group(topic=spoken(str(Topic(topic).label)), lines=tuple(_line(row) for row in lines))
        for topic, lines in topics.items()
    ]


def _line(row: Notification) -> Line:
    calm = row.urgency == Notification.Urgency.INFO
    return Line(
        title=spoken(row.title),
        text=" ".join(spoken_lines(row.text).split()),
        href=absolute(reverse("notification", args=[row.pk])),
        urgency="" if calm else spoken(str(row.get_urgency_display())),
    )
