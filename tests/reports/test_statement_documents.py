"""What all documents have in common that are made of statements: schema, gaps, escaping, authors, sources."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest

from governance.reports.base import REPORTS, Draft, schema_of
from governance.statuses import State
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_answers
from tests.reports.golden import check_golden
from tests.reports.pdf import read_pdf
from tests.reports.scenes import context_of
from tests.reports.stated_scenes import (
    DECLARATION,
    HARM,
    INCIDENT,
    INSTRUCTIONS,
    LOGS,
    PLAN,
    REGISTRATION,
    TRIAGE,
    make_statements,
)

SCENES: dict[str, tuple[dict[str, dict[str, Any]], dict[str, Any]]] = {
    "pmm_plan": (PLAN, {}),
    "declaration_of_conformity": (DECLARATION, {}),
    "annex_viii_registration": (REGISTRATION, TRIAGE),
    "serious_incident": (INCIDENT, HARM),
    "instructions_for_use_art13": (INSTRUCTIONS, {}),
    "logs_art12": (LOGS, {}),
    "model_card": (INSTRUCTIONS, {}),
}
OUTLINED = sorted(SCENES.keys() - {"model_card"})
EDITABLE = OUTLINED[:]
EDITABLE.remove("annex_viii_registration")
SCRIPT = "<script>alert('x')</script><img src=http://evil.example/p.png>"


def draft(kind: str, *, bare: bool = False, language: str = "en", **replaced: Any) -> Draft:
    """A draft in its scene; ``bare``: nobody stated anything."""
    evidence, (scene, answers) = make_evidence("fail"), SCENES[kind]
    told = {"statements": [] if bare else make_statements(scene), "answers": make_answers(**answers)} | replaced
    return REPORTS.get(kind).draft(evidence, context_of(evidence, language=language, **told))


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("kind", sorted(SCENES))
def test_the_data_are_valid_and_as_they_were(kind: str, language: str) -> None:
    data = draft(kind, language=language).data
    schema = schema_of(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(data, schema, format_checker=jsonschema.FormatChecker())
    check_golden(kind, language, data)


@pytest.mark.parametrize("kind", sorted(SCENES))
def test_without_audit_and_statements_it_is_written_with_its_gaps(kind: str) -> None:
    replaced = {"audits": [], "cohort": None, "run": None, "statements": [], "answers": {}, "sites": []}
    document = REPORTS.get(kind).draft(None, context_of(make_evidence("fail"), **replaced))
    jsonschema.validate(document.data, schema_of(kind), format_checker=jsonschema.FormatChecker())
    assert "Missing" in document.html
    assert "−.220" not in document.html
    if kind in OUTLINED:
        assert document.data["ready"] is False


@pytest.mark.parametrize("kind", OUTLINED)
def test_a_chapter_in_which_nothing_is_held_says_so_in_its_place(kind: str) -> None:
    document = draft(kind, bare=True)
    checked = 0
    for section in document.data["sections"]:
        states = {row["state"] for row in section["requirements"] if row["status"] == "binding"}
        if states == {State.MISSING.value}:
            chapter = document.html.split(f'id="chapter-{section["id"]}"')[1].split('<section class="chapter')[0]
            assert "Nothing is held that shows a binding requirement of this chapter." in chapter
            checked += 1
    assert checked or kind == "annex_viii_registration"


@pytest.mark.parametrize("kind", sorted(SCENES))
def test_a_script_in_a_statement_is_text(kind: str) -> None:
    scene, answers = SCENES[kind]
    poisoned = {key: {name: _poison(value) for name, value in fields.items()} for key, fields in scene.items()}
    rows = make_statements(poisoned, text=SCRIPT)
    evidence = make_evidence("fail")
    context = context_of(evidence, statements=rows, answers=make_answers(**answers))
    html = REPORTS.get(kind).draft(evidence, context).html
    assert "<script" not in html
    assert "evil.example/p.png&gt;" in html or kind == "model_card"
    assert "<img src=http" not in html


def _poison(value: Any) -> Any:
    if isinstance(value, list):
        return [_poison(item) for item in value]
    if isinstance(value, dict):
        return {key: _poison(item) for key, item in value.items()}
    return f"{value} {SCRIPT}" if isinstance(value, str) else value


@pytest.mark.parametrize("kind", OUTLINED)
def test_a_statement_carries_its_author_and_its_time(kind: str) -> None:
    scene, _answers = SCENES[kind]
    rows = make_statements(scene, author="nora", written_at="2026-11-19T07:03:00+00:00", text="As agreed.")
    html = draft(kind, statements=rows).html
    assert "nora, 19 Nov 2026 07:03 UTC" in html
    assert "lea, 21 Nov 2026 16:30 UTC" in html


@pytest.mark.parametrize("kind", OUTLINED)
def test_a_draft_counts_for_nothing(kind: str) -> None:
    scene, _answers = SCENES[kind]
    rows = make_statements(scene, status="draft", decided_by=None, decided_at=None, generated=True)
    drafted, bare = draft(kind, statements=rows).data, draft(kind, bare=True).data
    assert drafted["counts"] == bare["counts"]
    assert drafted["content"] == bare["content"]


@pytest.mark.parametrize("kind", sorted(SCENES))
def test_every_table_of_numbers_names_the_run_it_is_from(kind: str) -> None:
    for section in draft(kind).data["sections"]:
        for block in section["blocks"]:
            if block["block"] == "table" and any("interval" in header.lower() for header in block["headers"]):
                assert [source["kind"] for source in block["sources"]] in (["audit"], ["statement"])


@pytest.mark.parametrize("kind", sorted(SCENES))
def test_the_pdf_is_an_archive_with_its_data_inside(kind: str) -> None:
    evidence, (scene, answers) = make_evidence("fail"), SCENES[kind]
    context = context_of(evidence, statements=make_statements(scene), answers=make_answers(**answers))
    report = REPORTS.get(kind)
    document = report.build(evidence, context)
    facts = read_pdf(document.pdf)
    assert (facts.part, facts.conformance, facts.tagged, facts.language) == ("3", "A", True, "en")
    assert facts.attachments == {f"{kind}.json": document.data}
    assert (document.docx is not None) == (kind in EDITABLE) == report.editable
    assert document.pdf == report.build(evidence, context).pdf


def test_the_word_for_missing_stands_beside_its_form() -> None:
    html = draft("logs_art12", bare=True).html
    form = html.split("Handing over on a reasoned request")[1].split("</table>")[0]
    assert len(re.findall("Missing: nothing accepted is held.", form)) == 3
