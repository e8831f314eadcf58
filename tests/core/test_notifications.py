"""Telling people: who is told, once each; which mail it becomes; what no longer waits."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from core import tasks
from core.errors import ConflictError
from core.mail import NO_MAIL
from core.models import LedgerEntry, Notification, NotificationPreference, Role, RoleGrant, Topic, User
from core.notifications import mark_read, matter_of, notify, resolve
from core.preferences import set_address, set_preferences, zone_of

Urgency = Notification.Urgency
pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The notifications that were handed to a worker."""
    handed: list[int] = []
    monkeypatch.setattr(tasks.deliver, "delay", handed.append)
    return handed


def person(name: str, **given: Any) -> User:
    return User.objects.create(username=name, **{"email": f"{name}@example.org"} | given)


def tell(*to: User, **given: Any) -> int:
    said = {"topic": Topic.CONDITIONS, "title": "A condition runs out", "key": "condition:1:due-3"} | given
    with transaction.atomic():
        return notify(to=to, **said)


def oracle(urgency: str, chosen: str | None) -> str:
    """The rule as the docs tell it, written down case by case."""
    table = {
        ("urgent", None): "due",
        ("urgent", "at_once"): "due",
        ("urgent", "digest"): "due",
        ("urgent", "never"): "due",
        ("action", None): "due",
        ("action", "at_once"): "due",
        ("action", "digest"): "digest",
        ("action", "never"): "none",
        ("info", None): "digest",
        ("info", "at_once"): "due",
        ("info", "digest"): "digest",
        ("info", "never"): "none",
    }
    return table[urgency, chosen]


def test_every_choice_with_every_urgency_and_topic(sent: list[int], django_capture_on_commit_callbacks: Any) -> None:
    choices = [None, *NotificationPreference.Mail.values]
    people = {choice: person(f"p-{choice}") for choice in choices}
    without = person("without-address", email="")
    # Everybody also chose something else for every other topic: only the row of the topic itself may count.
    for topic, (choice, who) in itertools.product(Topic.values, people.items()):
        NotificationPreference.objects.filter(user=who).delete()
        others = [other for other in Topic.values if other != topic]
        wrong = "never" if choice != "never" else "at_once"
        NotificationPreference.objects.bulk_create(
            [NotificationPreference(user=who, topic=other, mail=wrong) for other in others]
            + ([NotificationPreference(user=who, topic=topic, mail=choice)] if choice else [])
        )
        for urgency in Urgency.values:
            key = f"matter:1:{topic}-{urgency}-{choice}"
            with django_capture_on_commit_callbacks(execute=True):
                assert tell(who, without, topic=topic, urgency=urgency, key=key) == 2
            row = Notification.objects.get(recipient=who, key=key)
            assert row.mail == oracle(urgency, choice), key
            assert (row.pk in sent) == (row.mail == "due"), key
            assert Notification.objects.get(recipient=without, key=key).mail == "none"
    assert len(sent) == len(Topic) * sum(
        oracle(urgency, choice) == "due" for urgency in Urgency.values for choice in choices
    )


def test_where_no_mail_is_sent_nothing_is_kept_for_later(sent: list[int], settings: Any) -> None:
    settings.EMAIL_BACKEND = NO_MAIL
    anna = person("anna")
    for urgency in Urgency.values:
        tell(anna, urgency=urgency, key=f"condition:1:{urgency}")
    assert set(Notification.objects.values_list("mail", flat=True)) == {"none"}


def test_an_event_is_told_once_and_another_one_again(sent: list[int]) -> None:
    anna, ben = person("anna"), person("ben")
    assert tell(anna) == 1
    assert tell(anna, ben, title="In other words") == 1
    assert tell(anna, ben, ben) == 0
    assert tell(anna, key="condition:1:due-1") == 1
    assert sorted(Notification.objects.values_list("recipient__username", "key")) == [
        ("anna", "condition:1:due-1"),
        ("anna", "condition:1:due-3"),
        ("ben", "condition:1:due-3"),
    ]
    assert Notification.objects.get(recipient=anna, key="condition:1:due-3").title == "A condition runs out"


def test_closed_accounts_are_not_told_and_merged_ones_reach_the_person_once(sent: list[int]) -> None:
    anna = person("anna")
    second = person("anna-2", merged_into=anna, is_active=False)
    closed = person("closed", is_active=False)
    late = person("late-2", merged_into=closed)
    assert tell(second, anna, closed, late) == 1
    assert list(Notification.objects.values_list("recipient__username", flat=True)) == ["anna"]
    assert tell(second, key="condition:1:due-1") == 1
    assert Notification.objects.filter(recipient=anna).count() == 2


def test_what_comes_in_is_made_safe_to_keep_and_to_send(sent: list[int]) -> None:
    anna = person("anna")
    tell(anna, title="Line\r\nBcc: evil@example.org\x00\u2028end " + "x" * 300, text="a\x00b\x07\nc\t ")
    row = Notification.objects.get()
    assert row.title.startswith("Line Bcc: evil@example.org end xxx") and len(row.title) == 200
    assert row.text == "ab\nc"
    for href in ("https://evil.example/", "//evil.example/", "/\\evil.example", "page/"):
        with pytest.raises(ValueError, match="address of a page"):
            tell(anna, href=href, key="other:1:x")
    for key in ("", "k" * 201):
        with pytest.raises(ValueError, match="key has 1 to 200"):
            tell(anna, key=key)


def test_nothing_is_told_when_the_act_fails(sent: list[int], django_capture_on_commit_callbacks: Any) -> None:
    anna = person("anna")
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(RuntimeError), transaction.atomic():
        notify(to=[anna], topic=Topic.RISKS, title="A risk", key="risk:1:opened", urgency=Urgency.URGENT)
        raise RuntimeError
    assert not Notification.objects.exists()
    assert sent == []


def test_an_act_stands_although_the_broker_is_away(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    def refuse(pk: int) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr(tasks.deliver, "delay", refuse)
    with django_capture_on_commit_callbacks() as callbacks:
        tell(person("anna"), urgency=Urgency.URGENT)
    assert len(callbacks) == 1
    with pytest.raises(ConnectionError):
        callbacks[0]()
    # Django runs it as robust: what it raises is logged and does not reach the act.
    with transaction.atomic():
        connection = transaction.get_connection()
        before = len(connection.run_on_commit)
        tell(person("ben"), urgency=Urgency.URGENT)
        assert [robust for _, _, robust in connection.run_on_commit[before:]] == [True]


def test_resolving_takes_the_matter_and_nothing_that_looks_like_it(sent: list[int]) -> None:
    anna, ben = person("anna"), person("ben")
    for key in ("condition:1", "condition:1:due-3", "condition:12:due-3", "condition:1_:x", "deployment:1:suspended"):
        tell(anna, ben, key=key, urgency=Urgency.ACTION)
    assert resolve("condition:1", to=ben) == 2
    assert set(_unread(ben)) == {"condition:12:due-3", "condition:1_:x", "deployment:1:suspended"}
    assert len(_unread(anna)) == 5
    assert resolve("condition:1") == 2
    assert resolve("condition:1") == 0
    assert set(_unread(anna)) == {"condition:12:due-3", "condition:1_:x", "deployment:1:suspended"}
    assert set(Notification.objects.filter(read_at__isnull=False).values_list("mail", flat=True)) == {"none"}
    assert set(Notification.objects.filter(read_at=None).values_list("mail", flat=True)) == {"due"}
    with pytest.raises(ValueError, match="empty prefix"):
        resolve("")


def test_a_matter_is_kind_and_number_between_colons(sent: list[int]) -> None:
    anna = person("anna")
    of_it = ("condition:1", "condition:1:due", "condition:1:escalated:x")
    for key in (*of_it, "condition-1:due", "condition:12:due", "condition:1b"):
        tell(anna, key=key)
    assert resolve("condition:1") == 3
    assert set(_unread(anna)) == {"condition:12:due", "condition-1:due", "condition:1b"}
    expected = {
        "condition:12:due": ("condition", 12),
        "incident-clock:7:half": ("incident-clock", 7),
        "incident:7": ("incident", 7),
        "version:9:suspended:20261122": ("version", 9),
        "incident-7": None,
        "condition:1-due": None,
        "release.requested:3": None,
        "condition:twelve": None,
        "condition:1b": None,
        "condition": None,
    }
    assert {key: matter_of(key) for key in expected} == expected


def test_resolving_finds_the_person_behind_a_merged_account(sent: list[int]) -> None:
    anna = person("anna")
    second = person("anna-2", merged_into=anna)
    tell(anna)
    assert resolve("condition:1", to=second) == 1


def _unread(who: User) -> list[str]:
    return list(Notification.objects.filter(recipient=who, read_at=None).values_list("key", flat=True))


def test_one_reads_ones_own_only(sent: list[int]) -> None:
    anna, ben = person("anna"), person("ben")
    tell(anna, ben)
    theirs = Notification.objects.get(recipient=ben)
    assert mark_read(by=anna, pks=[theirs.pk]) == 0
    assert mark_read(by=anna) == 1
    theirs.refresh_from_db()
    assert theirs.read_at is None


def test_two_workers_that_tell_the_same_at_once_tell_each_person_once(tmp_path: Path) -> None:
    environment = os.environ | {"AUSCULT_HOME": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-m", "tests.core.two_tellers"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        found = json.loads(line)
        assert found == {"told": 3, "rows": 3, "delivered": ["left", "sent"], "mails": 1}
    assert len(done.stdout.splitlines()) == 4


def test_preferences_are_kept_changed_and_taken_back() -> None:
    anna, ben = person("anna"), person("ben")
    set_preferences(by=ben, chosen={"risks": "never"}, digest_hour=6, time_zone="")
    set_preferences(by=anna, chosen={"risks": "never", "ledger": "at_once"}, digest_hour=18, time_zone="Asia/Tokyo")
    set_preferences(by=anna, chosen={"risks": "digest", "ledger": ""}, digest_hour=19, time_zone="Asia/Tokyo")
    assert list(NotificationPreference.objects.filter(user=anna).values_list("topic", "mail")) == [("risks", "digest")]
    assert list(NotificationPreference.objects.filter(user=ben).values_list("topic", "mail")) == [("risks", "never")]
    anna.refresh_from_db()
    assert (anna.digest_hour, zone_of(anna).key) == (19, "Asia/Tokyo")


@pytest.mark.parametrize(
    "wrong",
    [
        {"chosen": {"weather": "never"}},
        {"chosen": {"risks": "weekly"}},
        {"digest_hour": 24},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../../etc/passwd"},
    ],
)
def test_preferences_that_do_not_exist_are_refused(wrong: dict[str, Any]) -> None:
    anna = person("anna")
    with pytest.raises(ConflictError):
        set_preferences(by=anna, **{"chosen": {"risks": "never"}, "digest_hour": 7, "time_zone": ""} | wrong)
    assert not NotificationPreference.objects.exists()


def test_an_address_is_set_by_an_administrator_and_the_ledger_tells_its_digest_only() -> None:
    ada, anna = person("ada"), person("anna")
    RoleGrant.objects.create(user=ada, role=Role.ADMINISTRATOR)
    set_address(person=anna, address="anna@hospital.example", by=ada)
    anna.refresh_from_db()
    assert anna.email == "anna@hospital.example"
    entry = LedgerEntry.objects.get(act="account.address_set")
    assert "anna@hospital.example" not in entry.body
    with pytest.raises(ConflictError, match="not an e-mail address"):
        set_address(person=anna, address="anna@x\nBcc: b@c.example", by=ada)


def test_a_zone_that_is_gone_falls_back_to_that_of_the_installation(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Vienna"
    assert zone_of(User(time_zone="Gone/Away")).key == "Europe/Vienna"
    assert zone_of(User(time_zone="../evil")).key == "Europe/Vienna"
