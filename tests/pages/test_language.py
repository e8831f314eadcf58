"""Pages in the reader's language: chosen, or as the browser asks; numbers as it writes them; nothing stored in it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import models, transaction
from django.test import Client
from django.utils import translation
from django.utils.html import format_html

from core.models import LedgerEntry, User
from core.templatetags import figures
from tests.pages import scene

GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}


def test_the_browser_asks_and_a_choice_outweighs_it(client: Client) -> None:
    assert '<html lang="en-GB"' in client.get("/sign-in/").content.decode()
    page = client.get("/sign-in/", headers=GERMAN).content.decode()
    assert '<html lang="de"' in page and "Anmelden" in page
    chosen = client.post("/language/", {"language": "en-gb", "back": "/sign-in/"}, headers=GERMAN)
    assert chosen["Location"] == "/sign-in/" and chosen.cookies["language"]["httponly"]
    assert '<html lang="en-GB"' in client.get("/sign-in/", headers=GERMAN).content.decode()
    client.post("/language/", {"language": "de", "back": "/sign-in/"})
    assert '<html lang="de"' in client.get("/sign-in/").content.decode()


def test_another_language_is_not_kept_and_no_other_host_is_gone_to(client: Client) -> None:
    answer = client.post("/language/", {"language": "fr", "back": "https://evil.example/"})
    assert answer["Location"] == "/" and "language" not in answer.cookies
    assert '<html lang="en-GB"' in client.get("/sign-in/", headers={"Accept-Language": "fr"}).content.decode()


@pytest.mark.parametrize(
    ("written", "english", "german"),
    [
        (lambda: figures.rate(0.914), ".91", "0,91"),
        (lambda: figures.rate(-0.04), "−.04", "−0,04"),
        (lambda: figures.rate(1.2), "1.20", "1,20"),
        (lambda: figures.estimate(0.91, 0.88, 0.94), ".91 (.88–.94)", "0,91 (0,88–0,94)"),
        (lambda: figures.estimate(0.01, -0.02, 0.04), ".01 (−.02 to .04)", "0,01 (−0,02 bis 0,04)"),
        (lambda: figures.p_value(0.0001), "< .001", "< 0,001"),
        (lambda: figures.count(1204), "1,204", "1.204"),
        (lambda: figures.percent(0.1234), "12.3 %", "12,3 %"),
        (lambda: figures.speed(1480.2), "1,480", "1.480"),
        (lambda: figures.figure(2.5), "2.5", "2,5"),
        (lambda: figures.file_size(4_200_000), "4.2 MB", "4,2 MB"),
        (lambda: figures.duration(3 * 86400), "3 days", "3 Tage"),
        (lambda: figures.when(datetime(2026, 11, 2, 9, 5, tzinfo=UTC)), "2 Nov 2026 09:05 UTC", "02.11.2026 09:05 UTC"),
        (lambda: figures.verb("insufficient"), "Insufficient evidence", "Unzureichende Nachweise"),
        (lambda: figures.unlocalised(0.5), "0.5", "0.5"),
        (lambda: figures.bar_width(0.5), "50.0%", "50.0%"),
    ],
)
def test_figures_are_written_as_the_language_does(written: Callable[[], str], english: str, german: str) -> None:
    with translation.override("en-gb"):
        assert written() == english
    with translation.override("de"):
        assert written() == german


def stored() -> dict[str, list[Any]]:
    """Every text that the database holds, by table, without what differs from one moment to the next."""
    from django.apps import apps

    found = {}
    for model in apps.get_models():
        kept = [
            field.name
            for field in model._meta.concrete_fields
            if isinstance(field, models.CharField | models.TextField | models.JSONField)
            and not any(
                word in field.name for word in ("hash", "digest", "root", "key", "signature", "path", "password")
            )
        ]
        if model is not LedgerEntry and kept:
            found[model.__name__] = [str(row) for row in model._default_manager.order_by("pk").values_list(*kept)]
    return found


@pytest.mark.django_db
def test_nothing_that_is_stored_depends_on_the_language_of_whoever_acts() -> None:
    """The same acts by somebody who reads German leave the same rows."""
    kept = []
    for language in ("en-gb", "de"):
        with transaction.atomic(), translation.override(language):
            scene.house()
            kept.append(stored())
            transaction.set_rollback(True)
    english, german = kept
    differ = {
        name: [(one, two) for one, two in zip(rows, german[name], strict=True) if one != two]
        for name, rows in english.items()
    }
    told = {name: rows[:2] for name, rows in differ.items() if rows}
    assert told == {}


def test_every_page_opens_in_german(house: SimpleNamespace, sign_in: Callable[[str], Client]) -> None:
    from tests.pages import addresses

    client = sign_in("clara")
    every = [*addresses.pages(house), *addresses.parts(house), *addresses.issued(house)]
    found = {url: client.get(url, headers=GERMAN).status_code for url in every}
    assert {url: code for url, code in found.items() if code != 200} == {}


def test_words_of_python_are_said_and_markup_stays_markup() -> None:
    with translation.override("de"):
        assert figures.said("Choose a cohort") == "Wählen Sie eine Kohorte"
        assert figures.said("Reference chest model 1.0") == "Reference chest model 1.0"
        assert figures.said("") == "" and figures.said(None) == ""
        kept = figures.said(format_html("<ul><li>{}</li></ul>", "<b>"))
        assert kept == "<ul><li>&lt;b&gt;</li></ul>" and hasattr(kept, "__html__")


def test_who_is_signed_in_is_written_to_in_the_language_that_they_choose(
    house: SimpleNamespace, sign_in: Callable[[str], Client]
) -> None:
    client = sign_in("clara")
    for language in ("de", "en-gb"):
        client.post("/language/", {"language": language, "back": "/"})
        assert User.objects.get(username="clara").language == language
    client.post("/language/", {"language": "fr", "back": "/"})
    assert User.objects.get(username="clara").language == "en-gb"
    assert User.objects.get(username="amir").language == ""
