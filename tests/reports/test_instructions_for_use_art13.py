"""The instructions for use: every number with interval, size and run; groups that fare worse named; one purpose."""

from __future__ import annotations

import re
from typing import Any

from governance.reports.base import Draft
from governance.reports.instructions_for_use_art13 import InstructionsForUse
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_answers
from tests.reports.scenes import context_of
from tests.reports.stated_scenes import INSTRUCTIONS, make_statements


def draft(scene: dict[str, dict[str, Any]] | None = None, *, outcome: str = "fail", **answers: Any) -> Draft:
    evidence = make_evidence(outcome)
    told = INSTRUCTIONS if scene is None else scene
    context = context_of(evidence, statements=make_statements(told), answers=make_answers(**answers))
    return InstructionsForUse().draft(evidence, context)


def chapter(document: Draft, number: str) -> str:
    return document.html.split(f'id="chapter-{number}"')[1].split("Requirements of this chapter")[0]


def blocks(document: Draft, number: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = next(item for item in document.data["sections"] if item["id"] == number)["blocks"]
    return found


def test_performance_by_group_has_value_interval_and_size() -> None:
    """The evidence: sensitivity .610 (.570 to .650) in women, .830 (.790 to .870) in men, 1,204 studies of 611."""
    document = draft()
    table = next(block for block in blocks(document, "2") if block.get("caption", "").startswith("sensitivity by sex"))
    assert table["rows"][0] == ["effusion", "F", ".610", ".570 to .650", "1,204", "611", ""]
    assert table["rows"][1][1:4] == ["M", ".830", ".790 to .870"]
    assert table["sources"][0]["digest"] == document.data["subject"]["evidence_digest"]
    assert table["sources"][0]["protocol"] == document.data["subject"]["protocol"]["digest"]


def test_a_group_without_figures_has_its_reason() -> None:
    """Art. 13(3)(b)(v): each group has figures, or why not."""
    table = next(item for item in blocks(draft(), "2") if item.get("caption", "").startswith("sensitivity by sex"))
    unknown = next(row for row in table["rows"] if row[1] == "Unknown")
    assert unknown[2:] == ["—", "—", "—", "—", "suppressed: fewer than 11 patients"]


def test_what_failed_is_a_warning_to_users() -> None:
    document = draft()
    text = chapter(document, "2").split("Circumstances that create risk")[1].split("<h3>")[0]
    assert "Effusion is missed more often in female patients than in male patients" in text
    assert "A criterion failed" in document.html.split("</section>")[0]
    assert "A criterion failed" not in draft(outcome="pass").html


def test_the_letters_stand_in_their_order() -> None:
    html = draft().html
    marks = ["(a) The system", *(f"(b)({number})" for number in ("i", "ii", "iii", "iv", "v", "vi", "vii"))]
    marks += ["(d) Measures", "(e) Computing", "(f) How deployers"]
    places = [html.index(mark, html.index('id="chapter-1"')) for mark in marks]
    assert places == sorted(places)


def test_no_audit_of_robustness_is_a_gap_in_its_place() -> None:
    text = chapter(draft(), "2").split("Accuracy, robustness and cybersecurity")[1].split("<h3>")[0]
    assert "Robustness: no finished audit of this version tested it." in text


def test_simulated_patients_are_told_beside_the_numbers() -> None:
    assert "Every number of run 4 was measured on simulated patients." in chapter(draft(), "2")


def test_one_purpose_is_printed_once_with_all_its_sources() -> None:
    document = draft()
    assert document.data["content"]["purpose_agrees"] is True
    places = [row["where"] for row in document.data["content"]["intended_purpose"]]
    assert places[:2] == ["Registered with the system", "As it was at the audit (run 4)"]
    assert "Intended purpose (AIA-Art13-3-b-i)" in places
    assert chapter(document, "2").count("Helps radiologists to find pleural effusion") == 1


def test_two_purposes_contradict() -> None:
    """Case and blanks make no other purpose; another word does."""
    same = INSTRUCTIONS["AIA-Art13-3-b-i"]
    shouted = same | {"intended_purpose": same["intended_purpose"].upper().replace(" ", "  ")}
    assert draft(INSTRUCTIONS | {"AIA-Art13-3-b-i": shouted}).data["content"]["purpose_agrees"] is True
    other = same | {"intended_purpose": same["intended_purpose"].replace("adults", "children")}
    document = draft(INSTRUCTIONS | {"AIA-Art13-3-b-i": other})
    assert document.data["content"]["purpose_agrees"] is False
    assert "The intended purpose is not the same everywhere" in chapter(document, "2")
    assert "chest X-rays of children" in chapter(document, "2")
    states = {row["id"]: row["state"] for item in document.data["sections"] for row in item["requirements"]}
    assert states["AIA-Art13-3-b-i"] == "nonconform"


def test_changes_fixed_in_advance_are_asked_for_only_where_there_are_any() -> None:
    assert "is not asked for" in chapter(draft(), "3")
    assert '<div class="gap">' in chapter(draft(predetermined_changes=True), "3")


def test_small_counts_do_not_leave() -> None:
    """The evidence tells of 12 patients without a recorded sex, and withholds groups of fewer than 11."""
    evidence = make_evidence("fail")
    row = next(item for item in evidence["result"]["measurements"] if item["group"] == "F")
    row |= {"n": 7, "patients": 5, "value": 0.4242, "low": 0.1, "high": 0.7}
    html = InstructionsForUse().draft(evidence, context_of(evidence)).html
    assert ".424" not in html
    assert re.search(r"Withheld: fewer than 11 studies or patients", html)
