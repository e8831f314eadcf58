"""German: nothing is left in English, no fact changes with the language, and the compiled file is up to date."""

from __future__ import annotations

import base64
import html
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import polib
import pytest
import yaml
from django.utils import translation

from evaluation.engine.registry import SUITES
from governance.questions import SOURCE as QUESTIONNAIRE
from governance.questions import load_chapters, load_questions
from governance.reports import terms
from governance.reports.base import REPORTS
from governance.reports.wording import spoken
from governance.requirements import SOURCE, load_requirements
from governance.rules import _COLUMNS, DEFAULT_COLUMNS, rules
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_answers
from tests.reports.marked import marked_texts
from tests.reports.scenes import assessment, context_of, earlier_version
from tests.reports.stated_scenes import make_statements
from tests.reports.test_statement_documents import SCENES

ROOT = Path(__file__).parents[2]
PO = ROOT / "locale" / "de" / "LC_MESSAGES" / "django.po"
ENGLISH: dict[str, Any] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
GERMAN: dict[str, Any] = yaml.safe_load(SOURCE.with_suffix(".de.yaml").read_text(encoding="utf-8"))
QUESTIONS: dict[str, Any] = yaml.safe_load(QUESTIONNAIRE.read_text(encoding="utf-8"))
CATALOGUE = polib.pofile(str(PO))

THE_SAME = {("AIA-AnnexVIII-A-7", "title")}
"""*Status* is a German word, too."""
ITEM_TEXTS = ("article", "title", "summary", "completeness_rule")
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w+\}|%%")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
WRONG_WORDS = re.compile(
    r"\b(AI Act|GDPR|DPIA|FRIA|AI|IFU|[Pp]rovider|[Dd]eployer)\b|Bereitsteller|Bediener|Gebrauchsanweisung|Betreiberin"
)
"""What the German texts of the acts do not say. The AI Act has *Betriebsanleitung*; only the MDR has the other word."""


def pairs() -> list[tuple[str, str, str]]:
    """(where, English, German) of every text of catalogue and questionnaire."""
    found = [
        (f"{row['id']}.{name}", row[name], GERMAN["items"][row["id"]][name])
        for row in ENGLISH["items"]
        for name in (*ITEM_TEXTS, *(["note"] if row.get("note") else []))
    ]
    found += [(row["key"], row["question"], GERMAN["triggers"][row["key"]]["question"]) for row in ENGLISH["triggers"]]
    for part, key, names in (
        ("timeline", "ref", ("what", "basis")),
        ("deadlines", "id", ("trigger", "limit", "clock_start", "mdr_device", "source")),
    ):
        found += [
            (f"{row[key]}.{name}", row[name], GERMAN[part][row[key]][name]) for row in ENGLISH[part] for name in names
        ]
    for row in ENGLISH["reports"]:
        told = GERMAN["reports"][row["key"]]
        found.append((row["key"], row["title"], told["title"]))
        found += [(f"{row['key']}/{s['id']}", s["title"], told["sections"][str(s["id"])]) for s in row["sections"]]
    for row in QUESTIONS["questions"]:
        told = GERMAN["questions"][row["key"]]
        names = ("label", "text", "source", *(["help"] if row.get("help") else []))
        found += [(f"{row['key']}.{name}", row[name], told[name]) for name in names]
        options = row.get("options", {})
        found += [(f"{row['key']}.{key}", text, told["options"][key]) for key, text in options.items()]
    return found


def messages() -> list[tuple[str, str]]:
    """(English, German) of every message; a plural form beside its own."""
    found = []
    for entry in CATALOGUE:
        found.append((entry.msgid, entry.msgstr_plural[0] if entry.msgid_plural else entry.msgstr))
        if entry.msgid_plural:
            found.append((entry.msgid_plural, entry.msgstr_plural[1]))
    return found


# ---- The catalogue and the questionnaire


def test_every_text_of_the_catalogue_has_a_german_one_and_none_is_left_over() -> None:
    ids = [row["id"] for row in ENGLISH["items"]]
    assert list(GERMAN["items"]) == ids
    for row in ENGLISH["items"]:
        names = [*ITEM_TEXTS, *(["note"] if row.get("note") else [])]
        assert sorted(GERMAN["items"][row["id"]]) == sorted(names), row["id"]
    for part, key in (("timeline", "ref"), ("deadlines", "id"), ("triggers", "key"), ("reports", "key")):
        assert sorted(GERMAN[part]) == sorted(row[key] for row in ENGLISH[part]), part
    for row in ENGLISH["reports"]:
        assert sorted(GERMAN["reports"][row["key"]]["sections"]) == sorted(str(s["id"]) for s in row["sections"])
    for scale in ("severity", "likelihood"):
        assert list(GERMAN["risk_matrix"][scale]) == [1, 2, 3, 4]
    facts = ENGLISH["catalogue"]
    assert sorted(GERMAN["facts"]) == ["disclaimer", "legal_base", "newest_check", "verification_legend"]
    assert sorted(GERMAN["facts"]["verification_legend"]) == sorted(facts["verification_legend"])
    assert all(text.strip() == text and text for _, _, text in pairs())


def test_every_field_and_column_has_a_german_label() -> None:
    fields = {field["name"] for row in ENGLISH["items"] for field in row["required_fields"]}
    rules()
    columns = {name.removesuffix("?") for names in (*_COLUMNS.values(), DEFAULT_COLUMNS) for name in names}
    assert set(GERMAN["fields"]) == fields | columns


def test_the_questionnaire_is_german_throughout() -> None:
    english, german = load_questions("en"), load_questions("de")
    assert [item.key for item in german] == [item.key for item in english]
    assert set(GERMAN["questions"]) == {item.key for item in english} | {"chapters"}
    assert list(GERMAN["questions"]["chapters"]) == list(load_chapters("en"))
    for one, other in zip(english, german, strict=True):
        assert [option.key for option in one.options] == [option.key for option in other.options]
        for name in ("kind", "chapter", "asked_if", "sets"):
            assert getattr(one, name) == getattr(other, name)
        assert other.text != one.text and other.text.endswith("?")
        assert bool(one.help) == bool(other.help) and other.help.endswith("." if one.help else "")
        classes = {"mdr_class", "ivdr_class"}
        assert one.key in classes or all(a.text != b.text for a, b in zip(one.options, other.options, strict=True))


def test_the_german_catalogue_falls_back_nowhere() -> None:
    english, german = load_requirements("en"), load_requirements("de")
    for one, other in zip(english.requirements, german.requirements, strict=True):
        assert one.id == other.id
        for name in ("title", "summary", "completeness_rule"):
            assert getattr(one, name) != getattr(other, name) or (one.id, name) in THE_SAME
        assert other.completeness_rule.endswith(".") and other.summary[-1] in ".?)"
        assert bool(one.note) == bool(other.note)


def test_only_texts_differ_between_the_languages() -> None:
    english, german = load_requirements("en"), load_requirements("de")
    texts = {"article", "title", "summary", "completeness_rule", "note", "applies_from"}
    for one, other in zip(english.requirements, german.requirements, strict=True):
        facts = {key: value for key, value in vars(one).items() if key not in texts}
        assert facts == {key: value for key, value in vars(other).items() if key not in texts}
        assert (one.applies_from.ref, one.applies_from.date, one.applies_from.alternative) == (
            other.applies_from.ref,
            other.applies_from.date,
            other.applies_from.alternative,
        )
    assert {key: row.period for key, row in english.deadlines.items()} == {
        key: row.period for key, row in german.deadlines.items()
    }
    assert (english.digest, english.version, english.as_of) == (german.digest, german.version, german.as_of)


@pytest.mark.parametrize(
    ("id", "article"),
    [
        ("AIA-Art3-1", "Art. 3 Nr. 1"),
        ("AIA-Art13-3-b-ii", "Art. 13 Abs. 3 Buchst. b Ziffer ii"),
        ("AIA-AnnexIV-2-g", "Anhang IV Nr. 2 Buchst. g"),
        ("AIA-Art9-2-ab", "Art. 9 Abs. 2 Buchst. a und b, Abs. 3"),
        ("AIA-AnnexXI-2-de", "Anhang XI Abschnitt 1 Nr. 2 Buchst. d und e"),
        ("GDPR-5-1-b", "Art. 5 Abs. 1 Buchst. b, Art. 6 Abs. 4, Art. 89"),
        ("SYN-privacy", "Erwägungsgrund 26, Art. 4 Nr. 5"),
        ("MDR-R11", "Anhang VIII Regel 11"),
        ("HIPAA-164514", "45 CFR 164.514(a)-(c), (e)"),
    ],
)
def test_articles_are_cited_the_german_way(id: str, article: str) -> None:
    """Definitions (AI Act Art. 3, GDPR Art. 4) count in numbers, other articles in paragraphs."""
    assert load_requirements("de").requirement(id).article == article


# ---- What both languages must have in common


def numbers(text: str) -> Counter[str]:
    """Every number of a text; dates and decimals by their parts, so that their form does not matter."""
    plain = re.sub(r"(?<!\d)\.(?=\d)", "0.", PLACEHOLDER.sub(" ", text))
    return Counter(part.lstrip("0") for found in NUMBER.findall(plain) for part in re.split(r"[.,]", found))


MONTHS = {
    "January": "Januar",
    "February": "Februar",
    "March": "März",
    "April": "April",
    "May": "Mai",
    "June": "Juni",
    "July": "Juli",
    "August": "August",
    "September": "September",
    "October": "Oktober",
    "November": "November",
    "December": "Dezember",
}


def in_figures(text: str) -> str:
    """Months and subparagraphs as numbers: they stand in words in one language and in figures in the other."""
    for number, names in enumerate(MONTHS.items(), start=1):
        name = "|".join(names)
        text = re.sub(rf"\b({name})(?= \d)|(?<=\d )({name})\b|(?<=\d\. )({name})\b", str(number), text)
    for number, name in enumerate(("first", "second", "third"), start=1):
        text = re.sub(rf"\b{name} (part|subparagraph)\b", f"part {number}", text)
    return text


@pytest.mark.parametrize("where", ["catalogue", "messages"])
def test_numbers_are_the_same_in_both_languages(where: str) -> None:
    """Article, paragraph, period, amount and date: each number of the English text stands in the German one."""
    texts = pairs() if where == "catalogue" else [(english, english, german) for english, german in messages()]
    wrong = [
        (name, numbers(in_figures(english)) - numbers(in_figures(german)), german)
        for name, english, german in texts
        if set(numbers(in_figures(english))) != set(numbers(in_figures(german)))
    ]
    assert not wrong, wrong[:5]


def test_words_are_those_of_the_official_texts() -> None:
    texts = [(where, german) for where, _, german in pairs()] + [(german, german) for _, german in messages()]
    bare = [(where, PLACEHOLDER.sub("", text)) for where, text in texts]
    wrong = [(where, found[0]) for where, text in bare if (found := WRONG_WORDS.search(text))]
    assert not wrong, wrong[:10]


CODE = re.compile(r"""\"[^"]*\"|pip install '[^']*'|\([^()']*'[^']*'\)""")
IN_MARKUP = re.compile(r"<code>.*?</code>|<[^>]*>")


def _without_code(english: str, german: str) -> str:
    for code in CODE.findall(english):
        german = german.replace(code, "")
    return german


def test_quotation_marks_are_german() -> None:
    """But for code that a reader is to type, which stands in the English in the same marks."""
    texts = [german for _, _, german in pairs()] + [_without_code(*pair) for pair in messages()]
    bare = [IN_MARKUP.sub("", text) for text in texts]
    wrong = [text for text in bare if '"' in text or "'" in text or text.count("„") != text.count("“")]
    assert not wrong, wrong[:10]


# ---- The messages


def test_the_compiled_file_is_that_of_the_texts() -> None:
    """``make messages`` writes both; nothing but this test needs polib, and nothing needs gettext's programs."""
    assert PO.with_suffix(".mo").read_bytes() == CATALOGUE.to_binary()


def test_every_message_has_a_german_text() -> None:
    assert not [entry.msgid for entry in CATALOGUE if entry.obsolete or "fuzzy" in entry.flags]
    assert not [english for english, german in messages() if not german.strip()]
    assert not [english for english, german in messages() if english[-1:] == "." and german[-1:] != "."]


def test_pages_ask_the_questions_as_reports_do() -> None:
    """Pages take the questionnaire's German from the messages, reports from the catalogue of requirements."""
    known = dict(messages())
    asked = {row["key"]: row for row in QUESTIONS["questions"]}
    for key, told in GERMAN["questions"].items():
        for name in ("label", "text", "help") if key in asked else ():
            assert known.get(asked[key].get(name)) == told.get(name), (key, name)
    titles = {row["key"]: known[row["title"]] for row in QUESTIONS["chapters"]}
    assert titles == GERMAN["questions"]["chapters"]


def test_placeholders_are_the_same() -> None:
    wrong = [
        english
        for english, german in messages()
        if set(PLACEHOLDER.findall(english)) != set(PLACEHOLDER.findall(german))
    ]
    assert not wrong


def test_every_marked_text_is_in_the_file() -> None:
    """Extracted here by Python's own parser and Django's, not by gettext's program."""
    known = {(entry.msgctxt, entry.msgid, entry.msgid_plural or None) for entry in CATALOGUE}
    found = marked_texts(ROOT)
    assert len(found) > 1400
    assert sorted(found - known, key=str) == [], "run make messages"
    assert sorted(known - found, key=str) == [], "run make messages"


def test_every_word_behind_a_key_is_marked() -> None:
    assert set(terms.METRICS) == {metric.title for _, suite in SUITES for metric in suite.metrics.values()}
    types = {field["type"] for row in ENGLISH["items"] for field in row["required_fields"]}
    options = {one for kind in types if "{" in kind for one in kind[kind.index("{") + 1 : -1].split("|")}
    names = {spoken(one) for one in options if not re.fullmatch(r"[A-Da-d]|[1-4]|I{1,3}[ab]?|IX", one)}
    assert names == set(terms.CHOICES)


# ---- Reports


def written(kind: str, language: str) -> Any:
    """A report of this kind on a version with an audit, an earlier version and statements."""
    evidence, report = make_evidence("fail"), REPORTS.get(kind)
    if kind in SCENES:
        scene, answers = SCENES[kind]
        told: dict[str, Any] = {"statements": make_statements(scene), "answers": make_answers(**answers)}
        documents: tuple[dict[str, Any], ...] = ()
    else:
        before, told = earlier_version(evidence)
        told["statements"], documents = assessment(), (before,)
    context = context_of(evidence, language=language, documents=documents, **told)
    return getattr(report, "draft", report.build)(evidence, context)


def read(page: str) -> str:
    """What a reader reads, markup, style and pictures left out."""
    page = re.sub(r"<style.*?</style>|<svg.*?</svg>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


@cache
def english_phrases() -> dict[str, tuple[list[str], re.Pattern[str]]]:
    """Every fixed English text of three words or more: what stands between placeholders, and all with them open."""
    own = [english for english, german in messages() if english != german]
    own += [english for _, english, german in pairs() if english != german]
    phrases = {}
    for text in own:
        parts = PLACEHOLDER.split(re.sub(r"\s+", " ", text.strip()))
        if any(len(re.findall(r"[A-Za-z]{2,}", part)) >= 3 for part in PLACEHOLDER.split(text)):
            phrases[text] = parts, re.compile(".{1,200}?".join(re.escape(part) for part in parts))
    return phrases


def english_in(text: str) -> list[str]:
    """Fixed English texts in a report. A pattern is only tried where all that stands between its placeholders is."""
    return [
        phrase
        for phrase, (parts, pattern) in english_phrases().items()
        if all(part in text for part in parts) and pattern.search(text)
    ]


def test_english_in_a_report_is_found() -> None:
    """With what stands where a placeholder was, and by none but the text that is there."""
    phrase, (parts, _) = max(english_phrases().items(), key=lambda item: len(item[1][0]))
    assert len(parts) > 1 and phrase in english_in(f"Vorher. {'17'.join(parts)} Nachher.")
    assert phrase not in english_in(" ".join(reversed(parts)))


@pytest.mark.parametrize("kind", sorted(REPORTS.keys()))
def test_a_german_report_holds_no_english_fixed_text(kind: str) -> None:
    text = read(written(kind, "de").html)
    assert not english_in(text)
    with translation.override("de"):
        assert str(REPORTS.get(kind).title) in text


def bones(value: Any) -> Any:
    """A report's data without its texts: keys, numbers, what is there and what is not."""
    if isinstance(value, dict):
        return {key: item if key in FACTS else bones(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bones(item) for item in value]
    return "text" if isinstance(value, str) else value


FACTS = {"id", "state", "digest", "evidence_digest", "result_digest", "outcome", "states", "counts", "version"}


@pytest.mark.parametrize("kind", sorted(REPORTS.keys()))
def test_a_german_report_tells_the_same_facts(kind: str) -> None:
    """Everything but the wording is the same: every requirement, state, number, source and digest."""
    english, german = written(kind, "en").data, written(kind, "de").data
    assert (english.pop("language", "en"), german.pop("language", "de")) == ("en", "de")
    assert bones(english) == bones(german)


def test_charts_are_german() -> None:
    """Heading, groups, margin and interval of the picture itself, which no reader of the page's text sees."""
    pictures = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", written("committee_one_pager", "de").html)
    words = " ".join(re.findall(r">([^<>]+)</t(?:ext|span)>", base64.b64decode(pictures[0]).decode()))
    for german in ("Weiblich", "Männlich", "Grenze ±0,10", "0,61 (0,57 bis 0,65)", "Sensitivität nach Geschlecht"):
        assert german in words
    assert not re.search(r"\b(Fails|Passes|Female|Male|margin|to|by|patients)\b", words)
    alternative = re.search(r'alt="([^"]+)"', written("committee_one_pager", "de").html)
    assert alternative and "weniger als 11 Patienten" in alternative[1] and "Female" not in alternative[1]
