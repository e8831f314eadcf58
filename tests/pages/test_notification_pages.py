"""The bell, the inbox, the choices, the mails that could not be sent, and what is urgent on the home page."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from core.mail import NO_MAIL
from core.models import Notification, NotificationPreference, OutgoingMail, Topic, User
from tests.pages.scene import person

SignIn = Callable[[str], Client]
SCRIPT = "<script>alert(1)</script>"


def told(username: str, title: str = "A vote waits", **given: Any) -> Notification:
    said = {"topic": Topic.REVIEWS, "urgency": "action", "href": "/governance/", "key": f"review:1:{title}"} | given
    return Notification.objects.create(recipient=person(username), title=title, **said)


def text_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def words_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_bell_counts_what_is_unread_in_figures_and_in_words(sign_in: SignIn, db: None) -> None:
    client = sign_in("mina")
    assert text_of(client, "/systems/").count(", none unread") == 2, "in the sidebar and on the bar of a phone"
    told("mina")
    told("mina", "Urgent thing", urgency="urgent")
    told("tom", "Of somebody else")
    html = text_of(client, "/systems/")
    assert html.count('<span class="bell__count" aria-hidden="true">2</span>') == 2
    assert html.count("2 unread notifications, 1 urgent") == 2
    Notification.objects.bulk_create(
        Notification(recipient=person("mina"), topic="risks", title="n", key=str(number)) for number in range(120)
    )
    assert text_of(client, "/systems/").count(">99+</span>") == 2


def test_the_bell_is_one_question_and_none_for_fragments_and_outsiders(house: SimpleNamespace, sign_in: SignIn) -> None:
    def asked(client: Client, url: str) -> int:
        with CaptureQueriesContext(connection) as questions:
            client.get(url)
        return sum("core_notification" in found["sql"] for found in questions)

    told("amir")
    assert asked(sign_in("amir"), "/systems/") == 1
    assert asked(sign_in("amir"), reverse("audit-progress", args=[house.running.pk])) == 0
    assert asked(sign_in("rita"), "/portal/") == 0
    assert 'class="bell"' not in sign_in("rita").get("/portal/").content.decode()


def test_unread_first_then_the_newest(sign_in: SignIn, db: None) -> None:
    rows = [told("mina", f"number {place}") for place in range(4)]
    Notification.objects.filter(pk__in=[rows[1].pk, rows[3].pk]).update(read_at=timezone.now())
    told("tom", "Of somebody else")
    html = text_of(sign_in("mina"), reverse("notifications"))
    assert re.findall(r'queue__title">.*?(number \d)', html, re.S) == ["number 2", "number 0", "number 3", "number 1"]
    assert "Of somebody else" not in html
    assert html.count("Mark as read<span") == 2


def test_filters_and_pages_keep_each_other(sign_in: SignIn, db: None) -> None:
    for place in range(35):
        told("mina", f"risk {place}", topic=Topic.RISKS)
    told("mina", "vote", urgency="urgent")
    client, url = sign_in("mina"), reverse("notifications")
    html = text_of(client, f"{url}?topic=risks&urgency=action&page=2")
    assert "31 to 35 of 35" in words_of(html) and ">vote<" not in html
    assert "topic=risks&amp;urgency=action&amp;page=1" in html
    assert "vote" in text_of(client, f"{url}?urgency=urgent")
    assert "No notification matches" in text_of(client, f"{url}?topic=ledger")
    assert "risk 34" in text_of(client, f"{url}?page=nonsense")
    assert client.get(f"{url}?topic=%27%22%3E%3Cscript%3E").status_code == 200


def test_opening_one_leads_to_its_page_and_reads_it(sign_in: SignIn, db: None) -> None:
    mine, theirs = told("mina", href="/governance/?x=1"), told("tom")
    plain = told("mina", "Without a page", href="")
    client = sign_in("mina")
    assert client.get(reverse("notification", args=[mine.pk])).headers["Location"] == "/governance/?x=1"
    assert client.get(reverse("notification", args=[plain.pk])).headers["Location"] == "/notifications/"
    assert client.get(reverse("notification", args=[theirs.pk])).status_code == 404
    assert client.get(reverse("notification", args=[99999])).status_code == 404
    unread = Notification.objects.filter(read_at=None).values_list("pk", flat=True)
    assert list(unread) == [theirs.pk]


def test_marking_one_and_all_as_read(sign_in: SignIn, db: None) -> None:
    rows = [told("mina", f"number {place}") for place in range(3)]
    theirs = told("tom")
    client, url = sign_in("mina"), reverse("notifications-read")

    def unread() -> set[int]:
        return set(Notification.objects.filter(read_at=None).values_list("pk", flat=True))

    back = client.post(url, {"notification": rows[0].pk, "topic": "reviews", "urgency": "", "page": "2"})
    assert back.headers["Location"] == "/notifications/?topic=reviews&urgency=&page=2"
    assert unread() == {rows[1].pk, rows[2].pk, theirs.pk}
    for nonsense in ("", "x", "9" * 40, str(theirs.pk)):
        assert client.post(url, {"notification": nonsense}).status_code == 302
    assert len(unread()) == 3
    assert client.get(url).status_code == 405
    client.post(url, {"all": "1"})
    assert unread() == {theirs.pk}


def test_script_in_a_notification_is_text(sign_in: SignIn, db: None) -> None:
    told("mina", SCRIPT, text=f"{SCRIPT}\nsecond line", urgency="urgent")
    client = sign_in("mina")
    for url in (reverse("notifications"), "/"):
        html = text_of(client, url)
        assert SCRIPT not in html and "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_choices_are_kept_and_shown_again(sign_in: SignIn, db: None) -> None:
    User.objects.filter(pk=person("mina").pk).update(email="mina@hospital.example")
    client, url = sign_in("mina"), reverse("notification-preferences")
    html = text_of(client, url)
    assert "mina@hospital.example" in html and "What is urgent always comes by e-mail at once" in html
    assert set(re.findall(r'<select name="topic_(\w+)"', html)) == set(Topic.values)
    typed = {f"topic_{topic}": "" for topic in Topic.values} | {"digest_hour": "18", "time_zone": "Europe/Vienna"}
    response = client.post(url, typed | {"topic_risks": "never", "topic_ledger": "at_once"}, follow=True)
    assert "Your choices are kept." in response.content.decode()
    kept = dict(NotificationPreference.objects.values_list("topic", "mail"))
    assert kept == {"risks": "never", "ledger": "at_once"}
    html = response.content.decode()
    assert '<option value="never" selected>' in html and '<option value="Europe/Vienna" selected>' in html
    client.post(url, typed)
    assert not NotificationPreference.objects.exists()


@pytest.mark.parametrize(
    "wrong", [{"digest_hour": "25"}, {"time_zone": "Mars/Olympus"}, {"topic_risks": "weekly"}, {"digest_hour": ""}]
)
def test_choices_that_do_not_exist_are_refused_and_what_was_typed_stays(
    sign_in: SignIn, db: None, wrong: dict[str, str]
) -> None:
    client, url = sign_in("mina"), reverse("notification-preferences")
    response = client.post(url, {"topic_ledger": "never", "digest_hour": "7", "time_zone": ""} | wrong)
    html = response.content.decode()
    assert response.status_code == 422 and "This could not be done" in html
    assert '<option value="never" selected>' in html
    assert not NotificationPreference.objects.exists()


def test_the_page_says_where_no_mail_can_come(sign_in: SignIn, db: None, settings: Any) -> None:
    url = reverse("notification-preferences")
    assert "Your account has no e-mail address" in text_of(sign_in("mina"), url)
    settings.EMAIL_BACKEND = NO_MAIL
    assert "This installation sends no e-mail" in text_of(sign_in("mina"), url)


def test_administrators_see_to_mails_that_could_not_be_sent(sign_in: SignIn, db: None) -> None:
    row = told("mina", SCRIPT, mail="failed", mail_error="The mail server does not take this address: 550 no")
    OutgoingMail.objects.create(
        address="it@site.example", name="Site IT", subject="Stop", text="x", key="k", mail="failed", mail_error="E2"
    )
    client, url = sign_in("ada"), reverse("failed-mails")
    home = text_of(client, "/")
    assert "2 e-mails could not be sent" in home and url in home
    html = text_of(client, url)
    assert "550 no" in html and "it@site.example" in html and SCRIPT not in html
    assert "could not be sent" not in text_of(sign_in("mina"), "/")
    for name in ("mina", "clara", "rita"):
        other = sign_in(name)
        assert other.get(url).status_code == 403
        other.post(reverse("failed-mails-leave"))
        other.post(reverse("failed-mails-again"))
    row.refresh_from_db()
    assert row.mail == "failed"
    client.post(reverse("failed-mails-again"))
    row.refresh_from_db()
    assert (row.mail, row.mail_attempts) == ("due", 0)
    assert "Every e-mail was sent" in text_of(client, url)
    Notification.objects.update(mail="failed")
    assert "1 e-mail could not be sent" in text_of(client, "/")
    client.post(reverse("failed-mails-leave"))
    assert "could not be sent" not in text_of(client, "/")


def test_what_is_urgent_stands_above_everything_on_the_home_page(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("mina")
    assert "notice--fail" not in text_of(client, "/")
    rows = [told("mina", f"Stop number {place}", urgency="urgent") for place in range(5)]
    told("mina", "Not urgent")
    html = text_of(client, "/")
    assert re.findall(r"Stop number \d", html) == ["Stop number 4", "Stop number 3", "Stop number 2"]
    assert "And 2 more urgent notifications" in html and f"{reverse('notifications')}?urgency=urgent" in html
    assert html.index("Stop number 4") < html.index('class="queue"')
    client.get(reverse("notification", args=[rows[4].pk]))
    assert "Stop number 4" not in text_of(client, "/")


def test_many_notifications_ask_no_more(sign_in: SignIn, db: None) -> None:
    def asked(client: Client, url: str) -> int:
        with CaptureQueriesContext(connection) as questions:
            assert client.get(url).status_code == 200
        return len(questions)

    for name in ("mina", "ada"):
        told(name, "first", urgency="urgent", mail="failed", mail_error="no")
        client = sign_in(name)
        urls = ["/", reverse("notifications"), reverse("notification-preferences")]
        if name == "ada":
            urls.append(reverse("failed-mails"))
        before = {url: asked(client, url) for url in urls}
        for place in range(25):
            told(name, f"{name} {place}", urgency="urgent", mail="failed", mail_error="no")
        assert {url: asked(client, url) for url in urls} == before
        assert max(before.values()) <= 25
