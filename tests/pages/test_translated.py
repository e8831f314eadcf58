"""Every page is complete in English and German: no word stands in one language only, and the catalogue is whole."""

from __future__ import annotations

import re
from pathlib import Path

import polib
import pytest

from tests.pages.untranslated import in_python, in_template, untranslated

ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "locale" / "de" / "LC_MESSAGES" / "django.po"
PLACES = re.compile(r"%\((\w+)\)[sd]|%[sd]|{(\w*)}")
OTHERWISE = ("templates/reports/", "templates/mail/")
"""Reports bring a language of their own, whatever the page's; mails repeat notifications, which are kept in English."""
NOT_YET: tuple[str, ...] = (
    "core/pages/", "evaluation/pages/", "governance/pages/", "models_registry/pages/", "synthetic/pages/",
)  # fmt: skip
"""Beginnings of the names of files that are still to be done."""


def test_no_page_shows_words_in_one_language_only() -> None:
    found = {name: words for name, words in untranslated(ROOT).items() if not name.startswith(OTHERWISE)}
    assert {name: words for name, words in found.items() if not name.startswith(NOT_YET)} == {}
    done = [begins for begins in NOT_YET if not any(name.startswith(begins) for name in found)]
    assert done == [], "take these from NOT_YET"


def test_the_german_catalogue_is_whole_and_keeps_every_placeholder() -> None:
    texts = polib.pofile(str(CATALOGUE))
    lacking = [item.msgid for item in texts if not item.translated() or "fuzzy" in item.flags]
    assert lacking == [], "run: python -m config.messages"
    for item in texts:
        for told in [item.msgstr, *item.msgstr_plural.values()]:
            if told:
                wanted = {sorted(PLACES.findall(text))[i] for text in (item.msgid, item.msgid_plural) if text
                          for i in range(len(PLACES.findall(text)))}  # fmt: skip
                assert set(PLACES.findall(told)) <= wanted, item.msgid
                if not item.msgid_plural:
                    assert sorted(PLACES.findall(told)) == sorted(PLACES.findall(item.msgid)), item.msgid


def test_every_noun_that_is_counted_has_a_german_one() -> None:
    pairs = {(item.msgid, item.msgid_plural) for item in polib.pofile(str(CATALOGUE)) if item.msgid_plural}
    for path in (ROOT / "templates").rglob("*.html"):
        for told in re.findall(r'nouns:"([^"]*)"', path.read_text()):
            assert tuple(told.split(",")) in pairs, f"{path.name}: put {told} into core/noun_pairs.py"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p>Nothing yet.</p>", ["Nothing yet."]),
        ('<p>{% translate "Nothing yet." %}</p>', []),
        ("<p>{% blocktranslate trimmed %}Nothing <b>yet</b>.{% endblocktranslate %}</p>", []),
        ('<button aria-label="Close">x</button>', ["Close"]),
        ('<button aria-label="{% translate "Close" %}">{{ name }}</button>', []),
        ('{% include "a.html" with title="Nobody is here" tone="info" %}', ["Nobody is here"]),
        ('{% include "a.html" with title=_("Nobody is here") tone="info" %}', []),
        ('{{ x|default:"none" }} {{ y|default:_("none") }}', ["none"]),
        ("{# Needs: room #}<code>auscult demo</code> <svg><title>Mark</title></svg>", []),
        ("{% block title %}People{% endblock %}", ["People"]),
        ("<th>n</th><td>{{ a }} to {{ b }}</td>", ["0 to 0"]),
    ],
)
def test_a_planted_word_is_found_in_a_template(source: str, words: list[str]) -> None:
    assert in_template(source) == words


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('forms.CharField(label="Reason")', ["Reason"]),
        ('forms.CharField(label=_("Reason"))', []),
        ('messages.success(request, f"{name} is closed.")', [" is closed."]),
        ('messages.success(request, _("%(name)s is closed.") % {"name": name})', []),
        ('Column(title="Person", key="name")', ["Person"]),
    ],
)
def test_a_planted_word_is_found_in_python(source: str, words: list[str]) -> None:
    assert in_python(source) == words
