"""Sending e-mail: to a real server on loopback that takes, delays, refuses and drops; once each, and never wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import mail as outbox
from django.db import transaction
from django.utils import timezone

from core import letters, mail, tasks
from core.errors import ConflictError, DeniedError
from core.inbox import failed_count, failed_mails
from core.mail import Outcome, deliver_notification, deliver_outgoing, resend_due, send_to_contact
from core.models import Notification, OutgoingMail, Role, RoleGrant, Topic, User
from core.notifications import mark_read, notify
from tests.core.mail_server import MailServer, mail_server

pytestmark = pytest.mark.django_db
SCRIPT = "<script>alert('x')</script>"


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    for task in (tasks.deliver, tasks.deliver_outgoing):
        monkeypatch.setattr(task, "delay", lambda pk: None)


@pytest.fixture
def server(settings: Any) -> Iterator[MailServer]:
    with mail_server() as running:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", running.port
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.DEFAULT_FROM_EMAIL = "Auscult <auscult@hospital.example>"
        yield running


class Clock:
    """The time as the modules read it; it moves when the test says so."""

    def __init__(self) -> None:
        self.now = timezone.now()

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    ticking = Clock()
    monkeypatch.setattr(timezone, "now", ticking)
    return ticking


def told(**given: Any) -> Notification:
    anna, _ = User.objects.get_or_create(
        username="anna", defaults={"first_name": "Anna", "last_name": "Ö", "email": "anna@example.org"}
    )
    said = {
        "topic": Topic.INCIDENTS,
        "title": "A clock has run to its half",
        "key": "clock:7:half",
        "text": "Incident 3.",
        "href": "/x/",
    }
    with transaction.atomic():
        notify(to=[anna], urgency=Notification.Urgency.URGENT, **(said | given))
    return Notification.objects.latest("pk")


def wrote(**given: Any) -> OutgoingMail:
    said = {
        "address": "it@site.example",
        "name": "Site IT",
        "subject": "Stop it",
        "text": "Please stop.",
        "key": "deployment:4:suspended",
    }
    with transaction.atomic():
        return send_to_contact(**(said | given))


def test_a_notification_arrives_as_text_and_as_html(server: MailServer, settings: Any) -> None:
    settings.AUSCULT_BASE_URL = "https://auscult.example"
    row = told(text=f"Over {SCRIPT} 80 & more")
    assert deliver_notification(row.pk) is Outcome.SENT
    (message,) = server.taken
    assert message["Subject"] == "Urgent: A clock has run to its half"
    assert message["To"].addresses[0].addr_spec == "anna@example.org"
    assert message["To"].addresses[0].display_name == "Anna Ö"
    assert message["From"] == "Auscult <auscult@hospital.example>"
    assert message["Message-ID"] == f"<notification-{row.pk}@hospital.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    plain, html = (message.get_body([kind]).get_content() for kind in ("plain", "html"))
    link = f"https://auscult.example/notifications/{row.pk}/"
    assert link in plain and f'href="{link}"' in html
    assert f"Over {SCRIPT} 80 & more" in plain
    assert "<script" not in html and "&lt;script&gt;" in html and "&amp; more" in html
    row.refresh_from_db()
    assert (row.mail, row.mail_attempts, row.mail_error) == ("sent", 1, "")
    assert row.mailed_at is not None


def test_without_its_own_address_the_installation_writes_no_broken_links(server: MailServer) -> None:
    assert deliver_notification(told().pk) is Outcome.SENT
    plain, html = (server.taken[0].get_body([kind]).get_content() for kind in ("plain", "html"))
    assert "Sign in to Auscult and open Notifications" in plain and "Sign in to Auscult" in html
    assert "http" not in plain and "href" not in html


def test_a_task_that_is_delivered_twice_sends_once(server: MailServer) -> None:
    row, out = told(), wrote()
    tasks.deliver(row.pk)
    tasks.deliver(row.pk)
    tasks.deliver_outgoing(out.pk)
    tasks.deliver_outgoing(out.pk)
    assert len(server.taken) == 2
    tasks.deliver(10_000)


def test_a_delivery_in_the_middle_of_another_one_leaves_it_alone(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second worker comes while the first one is talking to the server."""
    row, within = told(), []
    usual = letters.hand_over

    def slowly(letter: Any) -> None:
        if not within:
            within.append(deliver_notification(row.pk))
        usual(letter)

    monkeypatch.setattr(letters, "hand_over", slowly)
    assert deliver_notification(row.pk) is Outcome.SENT
    assert within == [Outcome.LEFT]
    assert len(server.taken) == 1


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("CONNECT", "421 come back later"),
        ("CONNECT", "DROP"),
        ("MAIL", "451 greylisted"),
        ("MAIL", "550 we do not know this sender"),
        ("RCPT", "450 mailbox busy"),
        ("DATA", "451 no room"),
        ("END", "452 no room"),
        ("END", "DROP"),
    ],
)
def test_what_may_pass_is_tried_again_and_arrives(server: MailServer, clock: Clock, verb: str, answer: str) -> None:
    row = told()
    server.answers[verb].append(answer)
    assert deliver_notification(row.pk) is Outcome.PUT_BACK
    row.refresh_from_db()
    assert (row.mail, row.mail_attempts) == ("due", 1)
    assert row.mail_error.startswith("The mail server")
    assert deliver_notification(row.pk) is Outcome.LEFT, "its waiting time is not over"
    assert resend_due() == 0
    clock.pass_by(minutes=1)
    assert resend_due() == 1
    row.refresh_from_db()
    assert (row.mail, row.mail_attempts, row.mail_error) == ("sent", 2, "")
    assert len(server.taken) == 1


@pytest.mark.parametrize(("verb", "answer"), [("RCPT", "550 no such user"), ("END", "554 looks like spam")])
def test_what_is_refused_for_good_is_not_tried_again(server: MailServer, clock: Clock, verb: str, answer: str) -> None:
    row = told()
    server.answers[verb].append(answer)
    assert deliver_notification(row.pk) is Outcome.FAILED
    row.refresh_from_db()
    assert row.mail == "failed" and answer in row.mail_error
    clock.pass_by(days=1)
    assert resend_due() == 0 and server.taken == []


def test_five_tries_further_and_further_apart_then_it_is_given_up(server: MailServer, clock: Clock) -> None:
    row = told()
    server.answers["RCPT"].extend(["450 busy"] * 20)
    outcomes, waits = [], []
    for _ in range(5):
        outcomes.append(deliver_notification(row.pk))
        row.refresh_from_db()
        waits.append(row.mail_after - clock.now)
        clock.now = max(clock.now, row.mail_after)
    assert outcomes == [Outcome.PUT_BACK] * 4 + [Outcome.FAILED]
    assert [wait.total_seconds() / 60 for wait in waits[:4]] == [1, 10, 60, 240]
    assert (row.mail, row.mail_attempts) == ("failed", 5)
    clock.pass_by(days=1)
    assert resend_due() == 0
    assert len(server.envelopes) == 5


def test_a_worker_that_died_while_sending_lets_its_claim_run_out(
    server: MailServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = told()

    def die(letter: Any) -> None:
        raise KeyboardInterrupt

    usual = letters.hand_over
    monkeypatch.setattr(letters, "hand_over", die)
    with pytest.raises(KeyboardInterrupt):
        deliver_notification(row.pk)
    monkeypatch.setattr(letters, "hand_over", usual)
    clock.pass_by(minutes=9)
    assert resend_due() == 0
    clock.pass_by(minutes=2)
    assert resend_due() == 1
    assert len(server.taken) == 1


def test_a_mail_that_kills_every_worker_ends_as_failed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    row = told()

    def die(letter: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(letters, "hand_over", die)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            deliver_notification(row.pk)
        clock.pass_by(minutes=11)
    assert deliver_notification(row.pk) is Outcome.LEFT
    resend_due()
    row.refresh_from_db()
    assert (row.mail, row.mail_error) == ("failed", "The worker ended while it was sending, five times.")


def test_the_sweep_finds_what_was_lost_on_its_way_to_a_worker(server: MailServer, clock: Clock) -> None:
    row, out = told(), wrote()
    assert resend_due() == 0, "its message may still be on the way"
    clock.pass_by(minutes=3)
    assert resend_due() == 2
    assert resend_due() == 0
    row.refresh_from_db()
    out.refresh_from_db()
    assert (row.mail, out.mail) == ("sent", "sent")


def test_a_closed_door_is_knocked_at_once_in_a_round(server: MailServer, clock: Clock) -> None:
    for number in range(5):
        told(key=f"clock:{number}:half")
    clock.pass_by(minutes=3)
    server.answers["CONNECT"].append("421 away")
    assert resend_due() == 0
    assert Notification.objects.filter(mail_attempts__gt=0).count() == 1
    assert resend_due() == 4


def test_a_mail_that_breaks_in_a_way_nobody_foresaw_does_not_keep_the_others(
    server: MailServer, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [told(key=f"clock:{number}:half") for number in range(3)]
    usual = letters.notification_letter

    def write(row: Notification) -> Any:
        return usual(row) if row.pk != rows[0].pk else [][0]

    monkeypatch.setattr(letters, "notification_letter", write)
    clock.pass_by(minutes=3)
    assert resend_due() == 2
    assert f"Mail {rows[0].pk} could not be sent" in caplog.text


def test_no_server_at_all_is_a_fault_that_may_pass(settings: Any, server: MailServer) -> None:
    server.server_close()
    settings.EMAIL_PORT = 9
    row = told()
    assert deliver_notification(row.pk) is Outcome.PUT_BACK
    row.refresh_from_db()
    assert "cannot be used" in row.mail_error


def test_a_wrong_password_is_told_without_the_password(server: MailServer, settings: Any) -> None:
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "auscult", "hunter2-secret"
    server.answers["AUTH"].extend(["535 no"] * 3)
    row = told()
    assert deliver_notification(row.pk) is Outcome.PUT_BACK
    row.refresh_from_db()
    assert "535" in row.mail_error and "hunter2" not in row.mail_error


def test_a_header_cannot_be_smuggled_into_a_mail(server: MailServer) -> None:
    evil = "Stop\r\nBcc: evil@example.org\r\n\r\n<h1>"
    assert deliver_notification(told(title=evil, text=evil).pk) is Outcome.SENT
    assert deliver_outgoing(wrote(subject=evil, name=evil).pk) is Outcome.SENT
    anna = User.objects.get(username="anna")
    User.objects.filter(pk=anna.pk).update(first_name="Anna\r\nBcc: evil@example.org", last_name="")
    assert deliver_notification(told(key="clock:8:half").pk) is Outcome.SENT
    assert [message["Bcc"] for message in server.taken] == [None] * 3
    assert all(len(message["To"].addresses) == 1 for message in server.taken)
    assert not any("evil" in line for line in server.envelopes)
    assert server.taken[0]["Subject"] == "Urgent: Stop Bcc: evil@example.org <h1>"


@pytest.mark.parametrize(
    "address", ["x@y.example\nBcc: evil@example.org", "no address", "a@b.example, c@d.example", ""]
)
def test_a_wrong_address_fails_the_mail_and_not_the_act(server: MailServer, address: str) -> None:
    row = wrote(address=address)
    assert row.mail == "failed" and "not an e-mail address" in row.mail_error
    assert deliver_outgoing(row.pk) is Outcome.LEFT
    told()
    User.objects.update(email=address or "x")
    other = told(key="clock:9:half")
    assert deliver_notification(other.pk) is Outcome.FAILED
    assert server.taken == []


def test_what_is_not_wanted_any_more_is_not_sent(server: MailServer) -> None:
    row, other = told(), told(key="clock:8:half")
    mark_read(by=row.recipient, pks=[row.pk])
    assert deliver_notification(row.pk) is Outcome.LEFT
    User.objects.update(is_active=False)
    assert deliver_notification(other.pk) is Outcome.LEFT
    other.refresh_from_db()
    assert other.mail == "none" and server.taken == []


def test_a_contact_is_written_to_once_per_key(server: MailServer) -> None:
    first = wrote(text=f"Reason: {SCRIPT}\nStop now.")
    assert wrote(subject="In other words").pk == first.pk
    assert wrote(key="deployment:4:resumed").pk != first.pk
    assert deliver_outgoing(first.pk) is Outcome.SENT
    (message,) = server.taken
    assert message["To"] == "Site IT <it@site.example>"
    assert message["Subject"] == "Stop it"
    assert "<script" not in message.get_body(["html"]).get_content()


def test_without_a_way_to_send_the_row_says_so(settings: Any) -> None:
    settings.EMAIL_BACKEND = mail.NO_MAIL
    row = wrote()
    assert (row.mail, row.mail_error) == ("none", mail.NOT_SET_UP)
    assert deliver_outgoing(row.pk) is Outcome.LEFT


def test_mail_that_was_switched_off_meanwhile_is_left(settings: Any) -> None:
    row, out = told(), wrote()
    settings.EMAIL_BACKEND = mail.NO_MAIL
    assert (deliver_notification(row.pk), deliver_outgoing(out.pk)) == (Outcome.LEFT, Outcome.LEFT)
    assert set(Notification.objects.values_list("mail", flat=True)) == {"none"}
    assert OutgoingMail.objects.get().mail_error == mail.NOT_SET_UP


def test_an_administrator_sends_failed_mails_again_or_leaves_them(server: MailServer, clock: Clock) -> None:
    ada = User.objects.create(username="ada")
    RoleGrant.objects.create(user=ada, role=Role.ADMINISTRATOR)
    row, out = told(), wrote()
    server.answers["RCPT"].extend(["550 no"] * 2)
    assert (deliver_notification(row.pk), deliver_outgoing(out.pk)) == (Outcome.FAILED, Outcome.FAILED)
    assert failed_count() == 2
    found = {(failed.address, "550 no" in failed.reason) for failed in failed_mails(5)}
    assert found == {("it@site.example", True), ("anna@example.org", True)}
    with pytest.raises(DeniedError):
        mail.send_failed_again(by=row.recipient)
    with pytest.raises(DeniedError):
        mail.leave_failed(by=row.recipient)
    assert mail.send_failed_again(by=ada) == 2
    assert failed_count() == 0
    assert resend_due() == 2 and len(server.taken) == 2
    row = told(key="clock:8:half")
    server.answers["RCPT"].append("550 no")
    deliver_notification(row.pk)
    assert mail.leave_failed(by=ada) == 1
    assert failed_count() == 0 and resend_due() == 0


def test_nothing_is_sent_again_where_nothing_can_be_sent(settings: Any) -> None:
    ada = User.objects.create(username="ada")
    RoleGrant.objects.create(user=ada, role=Role.ADMINISTRATOR)
    settings.EMAIL_BACKEND = mail.NO_MAIL
    with pytest.raises(ConflictError):
        mail.send_failed_again(by=ada)


def test_the_trial_mail_goes_where_it_is_told() -> None:
    letters.hand_over(letters.trial_letter("it@hospital.example"))
    assert outbox.outbox[0].to == ["it@hospital.example"]
