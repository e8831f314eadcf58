"""Who reads German is written to in German: what they were told of, and what waits for them."""

from __future__ import annotations

from datetime import date

import pytest
from django.core.mail import EmailMultiAlternatives
from django.utils import timezone, translation

from core.digest import send_digest
from core.errors import ConflictError
from core.letters import notification_letter
from core.models import Notification, OutgoingMail, Topic, User
from core.notifications import notify
from core.preferences import choose_language, set_preferences

pytestmark = pytest.mark.django_db
TITLE = "Incident 7 of Chest model is yours"
TEXT = "Ben made you its owner. See which reports are owed, and until when."


@pytest.fixture
def greta() -> User:
    return User.objects.create_user("greta", email="greta@hospital.example", language="de", first_name="Greta")


def told(person: User, urgency: Notification.Urgency = Notification.Urgency.URGENT) -> Notification:
    notify(to=[person], topic=Topic.INCIDENTS, title=TITLE, text=TEXT, key="incident:7:owner", urgency=urgency)
    return Notification.objects.get(recipient=person)


def html_of(letter: EmailMultiAlternatives) -> str:
    return str(letter.alternatives[0][0])


def test_a_notification_is_written_in_the_language_of_its_reader(greta: User) -> None:
    row = told(greta)
    letter = notification_letter(row)
    assert letter.subject == "Dringend: Vorkommnis 7 von Chest model ist Ihres"
    for body in (str(letter.body), html_of(letter)):
        assert "Auscult sendet dies an Greta." in body and "Thema: Vorkommnisse" in body
        assert "See which" not in body and "About:" not in body and "Sign in" not in body
    assert '<html lang="de">' in html_of(letter)
    assert (row.title, row.text) == (TITLE, TEXT), "what is stored stays English"


@pytest.mark.parametrize("language", ["", "en-gb", "xx"])
def test_who_chose_nothing_reads_that_of_the_installation(greta: User, language: str) -> None:
    User.objects.filter(pk=greta.pk).update(language=language)
    greta.refresh_from_db()
    with translation.override("de"):  # whatever the worker did before
        letter = notification_letter(told(greta))
    assert letter.subject == f"Urgent: {TITLE}" and "Auscult sends this to Greta." in str(letter.body)
    assert '<html lang="en-gb">' in html_of(letter)


def test_the_digest_is_written_in_the_language_of_its_reader(greta: User) -> None:
    told(greta, Notification.Urgency.INFO)
    assert send_digest(greta, date(2026, 11, 24))
    mail = OutgoingMail.objects.get()
    assert mail.subject.startswith("Auscult, 24. November 2026: 1 Mitteilung")
    for body in (mail.text, mail.html):
        assert "Vorkommnis 7 von Chest model ist Ihres" in body and "Auscult sendet dies einmal am Tag um 07:00" in body
        assert TITLE not in body and "once a day" not in body
    assert translation.get_language() == "en-gb"


def test_the_language_of_pages_is_that_of_mails(greta: User) -> None:
    choose_language(by=greta, language="en-gb")
    greta.refresh_from_db()
    assert greta.mail_language == "en-gb"
    set_preferences(by=greta, chosen={}, digest_hour=7, time_zone="", language="de")
    greta.refresh_from_db()
    assert greta.mail_language == "de"
    for act in (
        lambda: choose_language(by=greta, language="fr"),
        lambda: set_preferences(by=greta, chosen={}, digest_hour=7, time_zone="", language="fr"),
    ):
        with pytest.raises(ConflictError, match="does not speak 'fr'"):
            act()


def test_a_digest_for_a_moment_without_anything_is_none(greta: User) -> None:
    assert not send_digest(greta, timezone.localdate())
