"""What all outlined reports have in common: states, sources, drafts, languages, hostile text, refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from core.errors import AuscultError
from governance.reports.annex_iv import AnnexIV
from governance.reports.base import Draft, schema_of
from governance.reports.dpia import Dpia
from governance.reports.fria import Fria
from governance.requirements import load_requirements
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_answers, make_statement
from tests.reports.golden import check_golden
from tests.reports.pdf import read_pdf
from tests.reports.scenes import assessment, context_of, earlier_version

KINDS = {kind.key: kind for kind in (AnnexIV(), Dpia(), Fria())}
SCRIPT = "<script>alert('x')</script><img src=http://evil.example/p.png>"


def draft(kind: str, language: str = "en", **replaced: Any) -> Draft:
    evidence = make_evidence("fail")
    return KINDS[kind].draft(evidence, context_of(evidence, language=language, **replaced))


def walked(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from walked(item)


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_data_are_valid_and_as_they_were(kind: str, language: str) -> None:
    evidence = make_evidence("fail")
    before, told = earlier_version(evidence)
    context = context_of(evidence, language=language, documents=(before,), statements=assessment(), **told)
    data = KINDS[kind].draft(evidence, context).data
    schema = schema_of(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(data, schema, format_checker=jsonschema.FormatChecker())
    check_golden(kind, language, data)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_without_an_audit_its_place_says_that_it_is_missing(kind: str) -> None:
    evidence = make_evidence("fail")
    replaced = {"audits": [], "cohort": None, "run": None}
    document = KINDS[kind].draft(None, context_of(evidence, **replaced))
    jsonschema.validate(document.data, schema_of(kind), format_checker=jsonschema.FormatChecker())
    gaps = [item["text"] for item in walked(document.data) if item.get("block") == "gap"]
    assert any("audit" in text for text in gaps)
    assert "−.220" not in document.html
    assert document.data["subject"]["evidence_digest"] is None


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_cover_counts_what_the_chapters_hold(kind: str) -> None:
    document = draft(kind)
    rows = [row for section in document.data["sections"] for row in section["requirements"]]
    states = [row["state"] for row in rows if row["status"] == "binding"]
    assert document.data["counts"] == {key: states.count(key) for key in document.data["counts"]}
    assert [row["id"] for row in rows] == [item.id for item in load_requirements().for_report(kind)]
    cover = document.html.split('<table class="counts">')[1].split("</table>")[0]
    assert [int(text) for text in re.findall(r"<b>(\d+)</b>", cover)] == list(document.data["counts"].values())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_source_leads_to_its_digest(kind: str) -> None:
    """From a number to its run, from the run to protocol and evidence: every link has an end."""
    document = draft(kind)
    named = {int(text) for text in re.findall(r'href="#source-(\d+)"', document.html)}
    listed = {int(text) for text in re.findall(r'id="source-(\d+)"', document.html)}
    assert named and named == listed == {row["number"] for row in document.data["sources"]}
    audits = [row for row in document.data["sources"] if row["kind"] == "audit"]
    assert [(row["digest"], row["protocol"]) for row in audits] == [
        (document.data["subject"]["evidence_digest"], document.data["subject"]["protocol"]["digest"])
    ]
    for row in document.data["sources"]:
        assert row["digest"] == "" or f"{row['digest']}" in document.html


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_table_of_verdicts_names_its_source(kind: str) -> None:
    tables = [item for item in walked(draft(kind).data) if item.get("block") == "table" and item["states"]]
    assert all(
        item["sources"]
        for item in tables
        if "fail" in {row[column] for row in item["rows"] for column in item["states"]}
    )


def test_a_document_is_ready_only_when_nothing_binding_is_open() -> None:
    document = draft("annex_iv")
    assert document.data["ready"] is False
    assert document.data["not_ready_because"]
    assert "This document is not ready." in document.html


def test_a_prohibited_practice_keeps_every_document_from_being_ready() -> None:
    document = draft("fria", answers=make_answers(art5_c=True))
    assert document.data["ready"] is False
    assert any("Article 5" in line for line in document.data["not_ready_because"])


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"generated": True}, "Proposed by a program for dora"),
        ({}, "Written by dora"),
    ],
)
def test_an_accepted_text_says_who_wrote_it(replaced: dict[str, Any], said: str) -> None:
    stated = make_statement(1, "GDPR-30", {"ropa_entry": "ROPA-7"}, text="Entered in the record.", **replaced)
    document = draft("dpia", statements=[stated])
    text = document.html.split("Entered in the record.")[1].split("</div>")[0]
    assert said in text and "counts for nothing" not in text
    row = next(item for item in walked(document.data) if item.get("id") == "GDPR-30")
    assert row["state"] != "missing" and row["statement"]["generated"] is stated["generated"]


@pytest.mark.parametrize(
    ("generated", "said"), [(False, "There is a draft by dora"), (True, "There is a draft that a program proposed")]
)
def test_a_draft_is_named_and_not_printed(generated: bool, said: str) -> None:
    replaced = {"status": "draft", "decided_by": None, "decided_at": None, "generated": generated}
    stated = make_statement(1, "GDPR-30", {"ropa_entry": "ROPA-7"}, text="Entered in the record.", **replaced)
    document = draft("dpia", statements=[stated])
    assert said in document.html and "counts for nothing" in document.html
    for told in ("Entered in the record.", "ROPA-7"):
        assert told not in document.html and told not in json.dumps(document.data)
    row = next(item for item in walked(document.data) if item.get("id") == "GDPR-30")
    assert row["state"] == "missing" and row["statement"]["generated"] is generated


def test_a_statement_about_another_version_is_stale_and_says_so() -> None:
    evidence = make_evidence("fail")
    binding = {
        "version": "0" * 64,
        "cohort": None,
        "sites": ["Ward A", "Ward B"],
        "timeline": ["T-GDPR", "2018-05-25", None],
    }
    stated = make_statement(1, "GDPR-30", {"ropa_entry": "ROPA-7"}, binding=binding)
    document = Dpia().draft(evidence, context_of(evidence, statements=[stated]))
    row = next(item for item in walked(document.data) if item.get("id") == "GDPR-30")
    assert row["state"] == "stale" and row["stale"]
    assert "No longer current:" in document.html.split(">GDPR-30<")[1].split('id="requirement-')[0]


def test_script_in_a_statement_an_answer_and_a_vote_stays_text() -> None:
    """Every place that people write into, in the page, the PDF, the DOCX and the JSON."""
    evidence = make_evidence("fail", system={"intended_purpose": SCRIPT, "name": f"Name {SCRIPT}"})
    answers = make_answers()
    answers["mdr_class"]["reason"] = SCRIPT
    stated = make_statement(1, "GDPR-30", {"ropa_entry": SCRIPT}, text=SCRIPT, author=f"d{SCRIPT}")
    document = Dpia().build(evidence, context_of(evidence, answers=answers, statements=[stated]))
    assert "<script" not in document.html
    assert document.html.count("&lt;script&gt;") >= 6
    assert not re.search(r"<img src=(?!\"data:image/svg)", document.html)
    assert read_pdf(document.pdf).attachments["dpia.json"] == document.data
    row = next(item for item in walked(document.data) if item.get("id") == "GDPR-30")
    assert row["statement"]["text"] == SCRIPT
    assert document.docx is not None and b"<script" not in document.docx


def test_german_numbers_dates_and_language() -> None:
    evidence = make_evidence("fail")
    document = AnnexIV().build(evidence, context_of(evidence, language="de"))
    assert document.html.startswith('<!doctype html>\n<html lang="de">')
    assert read_pdf(document.pdf).language == "de"
    assert "22.11.2026 14:05 UTC" in document.html and "22 Nov 2026" not in document.html
    assert "−0,220" in document.html and "−.220" not in document.html
    assert "5.210" in document.html
    assert "02.08.2028" in document.html


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(AuscultError, match="'fr'"):
        draft("fria", "fr")


def test_evidence_of_another_version_is_refused() -> None:
    with pytest.raises(AuscultError, match="another version"):
        AnnexIV().draft(make_evidence("pass"), context_of(make_evidence("fail")))


def test_both_readings_of_an_uncertain_date_are_printed() -> None:
    """Articles 43, 47, 48, 72 and 73 for devices: 2 August 2028, or by the letter 2 August 2026."""
    html = draft("annex_iv").html
    assert "2 Aug 2028, by another reading 2 Aug 2026" in html
    assert "02.08.2028" in draft("annex_iv", "de").html


def test_the_cover_says_how_the_file_is_signed_and_by_which_rules() -> None:
    evidence = make_evidence("fail")
    context = context_of(evidence, certificate="Signed with a certificate made for trying out.")
    html = Fria().draft(evidence, context).html
    cover = html.split("</section>")[0]
    assert "Signed with a certificate made for trying out." in cover
    catalogue = load_requirements()
    assert catalogue.digest in cover and catalogue.version in cover
    assert "None on this file." in draft("fria").html.split("</section>")[0]


def test_a_void_version_is_said_on_the_cover() -> None:
    evidence = make_evidence("fail")
    context = context_of(evidence)
    dossier = dict(context.dossier)
    dossier["version"] = dossier["version"] | {"void": {"at": "2026-11-22T13:00:00+00:00", "reason": "A file changed."}}
    html = Fria().draft(evidence, type(context)(**(context.__dict__ | {"dossier": dossier}))).html
    assert "A file changed." in html.split("</section>")[0]


@pytest.mark.parametrize("kind", ["dpia", "fria"])
def test_the_pdf_is_a_tagged_archive_file_with_its_data_inside(kind: str) -> None:
    """ISO 19005-3, level A: language, tags, title, the data as associated file."""
    evidence = make_evidence("fail")
    document = KINDS[kind].build(evidence, context_of(evidence))
    pdf = read_pdf(document.pdf)
    assert (pdf.part, pdf.conformance, pdf.tagged, pdf.language, pdf.output_intents) == ("3", "A", True, "en", 1)
    assert pdf.title == document.title
    assert pdf.created == "2026-11-22T14:05:00+00:00"
    assert pdf.attachments == {f"{kind}.json": document.data}
    assert pdf.relationships == {f"{kind}.json": "/Data"}
    assert pdf.tags["/H1"] == 1 and pdf.tags["/H2"] >= 10 and pdf.tags["/TH"] > 50
    assert document.docx is not None and document.docx.startswith(b"PK")
    assert KINDS[kind].build(evidence, context_of(evidence)).pdf == document.pdf


def test_an_accepted_text_stays_where_a_newer_draft_waits() -> None:
    accepted = make_statement(1, "GDPR-30", {"ropa_entry": "ROPA-7"}, text="Entered in the record.")
    waiting = {"status": "draft", "decided_by": None, "decided_at": None}
    newer = make_statement(2, "GDPR-30", {"ropa_entry": "ROPA-8"}, text="Entered anew.", **waiting) | {"revision": 2}
    html = draft("dpia", statements=[accepted, newer]).html
    assert "Entered in the record." in html and "ROPA-7" in html
    assert "Entered anew." not in html and "ROPA-8" not in html
