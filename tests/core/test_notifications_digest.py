"""The daily digest: at each person's own hour, once for each of their days, and only with something to say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils.html import strip_tags

from core import digest, mail, tasks
from core.digest import day_due, send_digests
from core.mail import Outcome, deliver_outgoing, resend_due
from core.models import Notification, NotificationPreference, OutgoingMail, Topic, User
from core.notifications import mark_read
from core.pages import panels
from core.pages.panels import QueueItem

pytestmark = pytest.mark.django_db
VIENNA = ZoneInfo("Europe/Vienna")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quiet_house(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[list[QueueItem]]:
    """No broker, and a home queue that holds what the test puts there."""
    monkeypatch.setattr(tasks.deliver_outgoing, "delay", lambda pk: None)
    # The pages register themselves when they are first imported: not into the list that goes away with this test.
    import_module(settings.ROOT_URLCONF)
    waiting: list[QueueItem] = []
    monkeypatch.setattr(panels, "_sources", [lambda user: waiting])
    settings.TIME_ZONE = "Europe/Vienna"
    yield waiting


def person(name: str = "anna", **given: Any) -> User:
    return User.objects.create(username=name, **{"email": f"{name}@example.org", "digest_hour": 7} | given)


def row(to: User, title: str, **given: Any) -> Notification:
    said = {"topic": Topic.RISKS, "urgency": "info", "mail": "digest", "key": title} | given
    return Notification.objects.create(recipient=to, title=title, **said)


def days_sent(who: User, moments: list[datetime]) -> list[date]:
    """The days for which a digest was sent, asked at each moment, with something to say every time."""
    sent = []
    for number, moment in enumerate(moments):
        row(who, f"{who.pk}-{number}")
        if send_digests(moment):
            who.refresh_from_db()
            sent.append((moment, who.digest_sent_on))
    return sent


def every(minutes: int, start: datetime, hours: int) -> list[datetime]:
    return [start + timedelta(minutes=minutes * step) for step in range(hours * 60 // minutes)]


@pytest.mark.parametrize(
    ("day", "hour", "expected"),
    [
        # A plain day: at 7 in Vienna it is 6 in London.
        (date(2026, 11, 22), 7, "2026-11-22T06:00+00:00"),
        (date(2026, 7, 22), 7, "2026-07-22T05:00+00:00"),
        # 2026-03-29: the clock goes from 2 to 3, so that there is no 2:00; the digest comes at 3:00, which is 1:00 UTC.
        (date(2026, 3, 29), 2, "2026-03-29T01:00+00:00"),
        (date(2026, 3, 29), 7, "2026-03-29T05:00+00:00"),
        # 2026-10-25: 2:00 comes twice; the digest comes with the first one, at 0:00 UTC.
        (date(2026, 10, 25), 2, "2026-10-25T00:00+00:00"),
        (date(2026, 10, 25), 7, "2026-10-25T06:00+00:00"),
        (date(2026, 10, 25), 0, "2026-10-24T22:00+00:00"),
    ],
)
def test_once_a_day_at_the_hour_of_the_wall_clock(day: date, hour: int, expected: str) -> None:
    anna = person(digest_hour=hour, digest_sent_on=day - timedelta(days=1))
    midnight = datetime(day.year, day.month, day.day, tzinfo=VIENNA).astimezone(UTC)
    until = datetime(day.year, day.month, day.day, 23, 45, tzinfo=VIENNA).astimezone(UTC)
    moments = [moment for moment in every(15, midnight, 26) if moment <= until]
    assert days_sent(anna, moments) == [(datetime.fromisoformat(expected), day)]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Honolulu", "Asia/Kolkata", "America/St_Johns"])
def test_each_person_in_their_own_zone(zone: str) -> None:
    anna = person(time_zone=zone)
    found = days_sent(anna, every(30, datetime(2026, 11, 20, tzinfo=UTC), 96))
    local = [moment.astimezone(ZoneInfo(zone)) for moment, _ in found]
    assert len({moment.date() for moment in local}) == len(local) >= 4
    assert [moment.date() for moment in local] == [day for _, day in found]
    # But for the first, which was missed before anybody looked, each comes in its hour.
    assert {moment.hour for moment in local[1:]} == {7}


def test_missed_days_are_caught_up_once() -> None:
    anna = person(digest_sent_on=date(2026, 11, 17))
    assert len(days_sent(anna, [NOON, NOON + timedelta(minutes=1), NOON + timedelta(hours=9)])) == 1


def test_moving_west_or_a_later_hour_brings_no_second_one_on_that_day() -> None:
    anna = person(time_zone="Pacific/Kiritimati")
    assert send_digests(NOON) == 0
    row(anna, "first")
    moment = datetime(2026, 11, 22, 17, tzinfo=UTC)
    assert send_digests(moment) == 1
    User.objects.update(time_zone="Pacific/Honolulu", digest_hour=6)
    row(anna, "second")
    assert send_digests(moment + timedelta(hours=3)) == 0
    assert send_digests(moment + timedelta(days=1)) == 0
    assert send_digests(moment + timedelta(days=2)) == 1


def test_two_workers_at_once_write_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second worker read the person before the first one had written."""
    anna = person()
    row(anna, "first")
    day = day_due(anna, NOON)
    assert day is not None
    assert digest.send_digest(anna, day)
    assert not digest.send_digest(anna, day)
    assert OutgoingMail.objects.count() == 1


def test_nothing_to_say_is_no_mail_and_is_not_asked_again() -> None:
    person()
    assert send_digests(NOON) == 0
    assert not OutgoingMail.objects.exists()
    assert User.objects.get().digest_sent_on == date(2026, 11, 22)


def test_what_was_read_or_sent_or_is_for_somebody_else_is_not_in_it() -> None:
    anna, ben = person(), person("ben", digest_hour=23)
    row(anna, "read")
    mark_read(by=anna)
    row(anna, "sent", mail="sent")
    row(anna, "never", mail="none")
    row(ben, "of ben")
    row(anna, "wanted")
    assert send_digests(NOON) == 1
    text = OutgoingMail.objects.get().text
    assert "wanted" in text
    assert not any(word in text for word in ("* read", "* sent", "* never", "of ben"))


def test_by_topic_with_the_most_urgent_first(settings: Any) -> None:
    settings.AUSCULT_BASE_URL = "https://auscult.example"
    anna = person(first_name="Anna", last_name="Ö")
    row(anna, "risk, for information", topic=Topic.RISKS)
    row(anna, "review, for information", topic=Topic.REVIEWS)
    row(anna, "risk to act on", topic=Topic.RISKS, urgency="action", text="Line one\nline two")
    row(anna, "incident, urgent", topic=Topic.INCIDENTS, urgency="urgent")
    row(anna, "newer review", topic=Topic.REVIEWS)
    send_digests(NOON)
    sent = OutgoingMail.objects.get()
    assert sent.subject == "Auscult, 22 November 2026: 5 notifications"
    wanted = [
        "Incidents and their clocks",
        "Urgent: incident, urgent",
        "Risks",
        "Something waits for you: risk to act on",
        "Line one line two",
        "risk, for information",
        "Reviews and votes",
        "newer review",
        "review, for information",
        "at 07:00 (Europe/Vienna)",
    ]
    for text in (sent.text, strip_tags(sent.html)):
        places = [text.index(words) for words in wanted[:-1]]
        assert places == sorted(places)
        assert wanted[-1] in text
    link = Notification.objects.get(title="incident, urgent")
    assert f"https://auscult.example/notifications/{link.pk}/" in sent.text


def test_what_waits_on_the_home_page_is_told_too(quiet_house: list[QueueItem], settings: Any) -> None:
    settings.AUSCULT_BASE_URL = "https://auscult.example"
    item = QueueItem(title="Vote on X 1.0", why="Clara opened it.", href="/r/1/", since=NOON - timedelta(days=3))
    due = datetime(2026, 11, 24, 8, tzinfo=UTC)
    quiet_house.append(QueueItem(title="Condition of Y", why="You own it.", href="/r/2/", since=NOON, due=due))
    quiet_house.extend([item] * 23)
    anna = person()
    assert send_digests(NOON) == 1
    sent = OutgoingMail.objects.get()
    assert sent.subject == "Auscult, 22 November 2026: 24 things waiting"
    assert sent.text.count("Vote on X 1.0") == 19 and "4 more things on your home page" in sent.text
    assert "https://auscult.example/r/1/" in sent.html
    assert "Condition of Y (due 24 Nov 2026 09:00 CET)" in sent.text
    # Whoever has taken every topic off is left alone.
    NotificationPreference.objects.bulk_create(
        NotificationPreference(user=anna, topic=topic, mail="never") for topic in Topic.values
    )
    assert send_digests(NOON + timedelta(days=1)) == 0


def test_of_very_many_the_most_urgent_are_told_and_the_rest_counted() -> None:
    anna = person()
    for number in range(60):
        row(anna, f"note {number}")
    row(anna, "act on this", urgency="action", topic=Topic.LEDGER)
    Notification.objects.filter(title="act on this").update(created_at=NOON - timedelta(days=9))
    send_digests(NOON)
    sent = OutgoingMail.objects.get()
    assert sent.text.count("note ") == 49 and "act on this" in sent.text
    assert "And 11 more notifications in Auscult." in sent.text


def test_script_in_a_title_is_text() -> None:
    row(person(), "<script>alert(1)</script>", text="<img src=x>")
    send_digests(NOON)
    html = OutgoingMail.objects.get().html
    assert "<script" not in html and "<img" not in html and "&lt;script&gt;" in html


def test_the_notifications_share_the_fate_of_their_digest(mailoutbox: list[Any], monkeypatch: Any) -> None:
    anna = person()
    told = row(anna, "first")
    send_digests(NOON)
    told.refresh_from_db()
    assert (told.mail, told.digest) == ("digest", OutgoingMail.objects.get())
    assert deliver_outgoing(told.digest.pk) is Outcome.SENT
    told.refresh_from_db()
    assert told.mail == "sent" and told.mailed_at is not None
    assert mailoutbox[0].subject == "Auscult, 22 November 2026: 1 notification"
    assert mailoutbox[0].alternatives[0][1] == "text/html"

    User.objects.update(email="wrong", digest_sent_on=None)
    other = row(anna, "second")
    send_digests(NOON + timedelta(days=1))
    other.refresh_from_db()
    assert deliver_outgoing(other.digest.pk) is Outcome.FAILED
    other.refresh_from_db()
    assert other.mail == "failed" and "not an e-mail address" in other.mail_error
    monkeypatch.setattr(mail, "check_may_see_to_mail", lambda by: None)
    assert mail.send_failed_again(by=anna) == 1
    other.refresh_from_db()
    assert other.mail == "digest"
    OutgoingMail.objects.filter(pk=other.digest_id).update(address="right@example.org")
    assert resend_due() == 1
    other.refresh_from_db()
    assert other.mail == "sent"


def test_one_persons_broken_digest_does_not_keep_the_others_from_theirs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    anna, ben = person(), person("ben")
    row(anna, "of anna")
    row(ben, "of ben")

    def queue(user: User) -> list[QueueItem]:
        if user == anna:
            raise ZeroDivisionError
        return []

    monkeypatch.setattr(panels, "_sources", [queue])
    assert send_digests(NOON) == 1
    assert "digest of anna was not written" in caplog.text
    anna.refresh_from_db()
    assert anna.digest_sent_on is None, "it is tried again"


def test_closed_merged_and_unreachable_accounts_get_none(settings: Any) -> None:
    anna = person()
    for who in (
        person("closed", is_active=False),
        person("second", merged_into=anna),
        person("without", email=""),
    ):
        row(who, f"of {who}")
    assert send_digests(NOON) == 0
    row(anna, "of anna")
    settings.EMAIL_BACKEND = mail.NO_MAIL
    User.objects.update(digest_sent_on=None)
    assert send_digests(NOON) == 0
    assert User.objects.get(pk=anna.pk).digest_sent_on is None


def test_an_idle_sweep_asks_little(django_assert_num_queries: Any) -> None:
    for number in range(8):
        person(f"p{number}", digest_sent_on=date(2026, 11, 22))
    with django_assert_num_queries(1):
        assert send_digests(NOON) == 0
