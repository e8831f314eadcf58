"""Sentences made in English are recognised by their words and said in German with the same values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import translation
from django.utils.translation.trans_real import translation as catalogue_of

from config.page_sentences import page_sentences
from core.spoken import _patterns, pieces_of, spoken
from core.templatetags.figures import said

ROOT = Path(__file__).resolve().parents[2]
VALUE = re.compile(r"Wx\w+?y")
SENTENCES = sorted(page_sentences(ROOT))


@pytest.fixture(autouse=True)
def in_german() -> Iterator[None]:
    with translation.override("de"):
        yield


def filled(sentence: str) -> str:
    return "".join(words + ("" if name is None else f"Wx{name}y") for words, name in pieces_of(sentence))


def test_every_sentence_of_the_code_is_recognised_with_its_values() -> None:
    """Values that are no words of the house: each stands in the German sentence as it was given."""
    catalogue = catalogue_of("de")._catalog
    wrong = {}
    for sentence in SENTENCES:
        german, found = str(catalogue.get(sentence) or ""), spoken(filled(sentence))
        # Another sentence may fit better where a value of this one begins a sentence: no value may be lost then.
        lost = set(VALUE.findall(filled(sentence))) - set(VALUE.findall(found))
        if not german or found == filled(sentence) != filled(german) or lost:
            wrong[sentence] = found
    assert wrong == {} and len(SENTENCES) > 2500


def test_most_are_said_by_their_own_german() -> None:
    catalogue = catalogue_of("de")._catalog
    own = sum(spoken(filled(one)) == filled(str(catalogue[one])) for one in SENTENCES)
    assert own / len(SENTENCES) > 0.97


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("There is no audit 17.", "Es gibt kein Audit 17."),
        ("There is no token 17. List them with: auscult token list.", None),
        ("The account ada is closed.", "Das Konto ada ist geschlossen."),
        ("What Dr Huber wrote about it, in her own words.", "What Dr Huber wrote about it, in her own words."),
        ("", ""),
    ],
)
def test_values_stay_and_what_people_wrote_stays(english: str, german: str | None) -> None:
    found = spoken(english)
    if german is None:
        assert "17" in found and "auscult token list" in found and "There is" not in found
    else:
        assert found == german


def test_english_pages_show_what_was_made() -> None:
    with translation.override("en-gb"):
        assert all(spoken(filled(one)) == filled(one) for one in SENTENCES)


def test_numbers_within_are_written_as_german_writes_them_and_versions_are_not() -> None:
    from core.spoken import NUMBER, _number

    def written(text: str) -> str:
        return NUMBER.sub(lambda found: _number(found[0]), text)

    assert written(".91 (.88–.94)") == "0,91 (0,88–0,94)"
    assert written("−.04 to .12, 1,204 patients") == "−0,04 to 0,12, 1.204 patients"
    assert written("Chest model 1.0, 10.2.1 and 12,345.5") == "Chest model 1.0, 10.2.1 and 12.345,5"


def test_what_is_long_or_odd_takes_no_time_and_raises_nothing() -> None:
    assert spoken("a" * 100_000) == "a" * 100_000
    for odd in ("{0}", "{9} {0}", "%(x)s", "\\1 \\g<0>", "There is no monitor {0}.", "x. " * 900, "<b>&amp;</b>"):
        assert isinstance(said(odd), str)
    assert len(_patterns("de")) > 1000


@pytest.mark.parametrize(
    ("english", "german"),
    [
        (
            "Only people with the role auditor or committee chair may request an audit.",
            "Nur wer die Rolle Auditor oder Ausschussvorsitz hat, darf das tun (ein Audit anfordern).",
        ),
        ("Use one of: auditor, x-17.", "Verwenden Sie eines von: auditor, x-17."),
        ("The value is kept; whatever a long and unknown remark behind it may say.", None),
        ("This is missing: .91 of 1,204 patients with a very long tale that nobody translated at all.", None),
    ],
)
def test_lists_of_words_and_what_fits_by_chance(english: str, german: str | None) -> None:
    assert spoken(english) == (german or english)


VERDICTS = [
    (
        "Fails: effusion is missed more often in female patients, age band ≥60 than in male patients: sensitivity .44 "
        "vs .60, difference -.16 (95% interval -.22 to -.06), 238 studies with the finding of 170 patients, "
        "margin .10.",
        "Besteht nicht: effusion wird öfter übersehen bei Patientinnen, Altersgruppe ≥60 als bei Patienten: "
        "Sensitivität 0,44 gegen 0,60, Differenz −0,16 (95%-Intervall −0,22 bis −0,06), 238 Untersuchungen mit dem "
        "Befund von 170 Patienten, Grenze 0,10.",
    ),
    (
        "Fails: the false positive rate of x is .30: 95% interval .27 to .33, 1,204 studies without the finding of 900 "
        "patients, margin .10.",
        "Besteht nicht: Falsch-positiv-Rate von x ist 0,30: 95%-Intervall 0,27 bis 0,33, 1.204 Untersuchungen ohne den "
        "Befund von 900 Patienten, Grenze 0,10.",
    ),
    (
        "Insufficient evidence: the sensitivity of consolidation across sex and age cannot be judged in every group: "
        "group M & ≥80 has 22 studies with the finding, 30 are needed.",
        "Unzureichende Nachweise: Sensitivität von consolidation über Geschlecht und Alter kann nicht in jeder Gruppe "
        "beurteilt werden: die Gruppe M & ≥80 hat 22 Untersuchungen mit dem Befund, nötig sind 30.",
    ),
]


@pytest.mark.parametrize(("english", "german"), VERDICTS)
def test_verdicts_are_said_clause_by_clause(english: str, german: str) -> None:
    """As the engine writes them (``tests/engine/test_verdicts.py``)."""
    assert spoken(english) == german


@pytest.mark.parametrize("english", [english for english, _ in VERDICTS[:2]])
def test_a_clause_that_is_not_known_leaves_all_of_it_in_english(english: str) -> None:
    unknown = english.replace("studies", "gizmos that nobody knows of")
    assert spoken(unknown) == unknown
