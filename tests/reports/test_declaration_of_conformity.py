"""The declaration: points 1 to 8 of Annex V in order, and nothing that looks signed before it may be."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from governance.reports.base import Draft
from governance.reports.blocks import Block, Gap, Note, Paragraph, Table
from governance.reports.declaration_of_conformity import SIGNING, DeclarationOfConformity, Stage, stage
from governance.reports.outlined import look
from governance.reports.view import View
from governance.statuses import State
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_answers, make_statement
from tests.reports.scenes import context_of
from tests.reports.stated_scenes import DECLARATION, make_statements

REPORT = DeclarationOfConformity()
SIGNATURE = {
    "place": "Berlin",
    "date": "2026-11-20",
    "signatory": "Dora Lind",
    "on_behalf_of": "Auscult reference implementation",
    "signature": {"name": "Dora Lind", "signed_on": "2026-11-20"},
}
WORDS = {
    "AIA-AnnexV-3": {"confirmed_by": "Dora Lind"},
    "AIA-AnnexV-4": {"acts": ["Regulation (EU) 2024/1689", "Regulation (EU) 2017/745"]},
    "AIA-AnnexV-5": {"applies": True, "dpia_reference": "DPIA of 20 November 2026"},
}


def context(**replaced: Any) -> Any:
    told = {"statements": make_statements(DECLARATION | WORDS | {"AIA-AnnexV-8": SIGNATURE})} | replaced
    return context_of(make_evidence("fail"), **told)


def draft(**replaced: Any) -> Draft:
    return REPORT.draft(make_evidence("fail"), context(**replaced))


def view(*, open_items: frozenset[str] = frozenset()) -> View:
    """A view in which every requirement but the open ones is complete."""
    found = look(REPORT.key, make_evidence("fail"), context(), needs_run=False)
    items = tuple(
        replace(
            item,
            state=State.MISSING if item.requirement.id in open_items else State.COMPLETE,
            contradicted=(),
            lacking=("something",) if item.requirement.id in open_items else (),
        )
        for item in found.statuses.items
    )
    return replace(found, statuses=replace(found.statuses, items=items))


def texts(blocks: list[Block]) -> str:
    rows = []
    for block in blocks:
        if isinstance(block, Paragraph | Gap):
            rows.append(block.text)
        if isinstance(block, Note):
            rows += [block.title, block.text]
        if isinstance(block, Table):
            rows += [" | ".join(row) for row in block.rows]
    return "\n".join(rows)


def test_points_one_to_eight_stand_in_their_order() -> None:
    html = draft().html
    places = [html.index(f"Point {number}:") for number in range(1, 9)]
    assert places == sorted(places)
    assert list(draft().data["content"]["points"]) == [str(number) for number in range(1, 9)]


def test_a_draft_says_so_on_the_cover_and_on_every_page() -> None:
    document = draft()
    assert document.data["content"]["stage"] == "draft"
    cover = document.html.split("</section>")[0]
    assert "DRAFT: not to be signed" in cover
    assert "Nothing is declared by this document." in cover
    assert "@bottom-center { content: string(draft-mark)" in document.html


def test_a_draft_declares_nothing_and_has_no_line_to_sign_on() -> None:
    """Every field of points 3 to 8 is stated and accepted, but the technical documentation is open."""
    document = draft()
    for said in ("is issued under the sole responsibility", "is in conformity with", "complies with Regulation"):
        assert said not in document.html
    assert "Point 3: sole responsibility. Not stated while other binding items are open." in document.html
    chapter = document.html.split('id="chapter-6"')[1].split("Requirements of this chapter")[0]
    assert "there is no line to sign on" in chapter
    assert "Signature</th>" not in chapter


def test_the_platforms_own_signature_is_not_that_of_point_8() -> None:
    assert "It is not the signature of point 8 and declares nothing." in draft().html


def test_with_everything_complete_but_the_signature_it_is_unsigned() -> None:
    found = view(open_items=SIGNING)
    assert stage(found) is Stage.UNSIGNED
    assert "DRAFT: not signed" in texts(list(REPORT.opening(found)))
    assert "Signature: not signed." in texts(list(REPORT.material("6", found)))
    assert "Signature | " not in texts(list(REPORT.material("6", found)))


def test_only_with_everything_complete_it_declares() -> None:
    found = view()
    assert stage(found) is Stage.SIGNED
    said = texts(list(REPORT.material("3", found)))
    assert "issued under the sole responsibility of Auscult reference implementation." in said
    assert "in conformity with Regulation (EU) 2024/1689 and with: Regulation (EU) 2024/1689" in said
    assert "Signature | " in texts(list(REPORT.material("6", found)))
    assert "DRAFT" not in texts([*REPORT.opening(found), *REPORT.material("6", found)])


@pytest.mark.parametrize("key", ["AIA-AnnexIV-2-d", "AIA-AnnexV-1", "AIA-Art48", "AIA-AnnexV-7"])
def test_one_open_item_makes_it_a_draft(key: str) -> None:
    """Of the declaration as of the technical documentation (Annex V point 4 rests on all of Annex IV)."""
    assert stage(view(open_items=frozenset({key}))) is Stage.DRAFT


def test_the_copy_in_the_technical_documentation_is_not_asked_for_before_it_exists() -> None:
    assert stage(view(open_items=frozenset({"AIA-AnnexIV-8"}))) is Stage.SIGNED


def test_a_standard_without_citation_gives_no_presumption() -> None:
    """EN 18286:2026 was published in July 2026; no citation in the Official Journal was found."""
    table = draft().html.split("Point 6: standards and common specifications")[1].split("</table>")[0]
    assert re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", table)[3:] == ["EN 18286:2026", "no", "no"]


def test_a_device_has_one_declaration_for_all_acts() -> None:
    """Art. 47(3) AI Act: points of MDR Annex IV join those of Annex V."""
    chapter = draft().html.split('id="chapter-7"')[1].split("</section>")[0]
    assert "One declaration covers every Union act that asks for one (Art. 47(3))." in chapter
    assert "DE-MF-000012345" in chapter
    assert "4012345CHESTXR" in chapter


def test_no_device_no_single_declaration() -> None:
    answers = make_answers(device_law="none", mdr_class=None, annex_iii_points=["5d"], art_6_3_claimed=False)
    chapter = draft(answers=answers).html.split('id="chapter-7"')[1].split("</section>")[0]
    assert "One declaration covers every Union act" not in chapter
    assert "Single declaration with the MDR (Art. 47(3))." in chapter


def test_two_purposes_are_shown_as_a_contradiction() -> None:
    """The instructions for use state another purpose than the system is registered with."""
    rows = make_statements(DECLARATION)
    other = {"intended_purpose": "Replaces the radiologist.", "intended_users": ["all"], "patient_population": "All."}
    document = draft(statements=[*rows, make_statement(90, "AIA-Art13-3-b-i", other)])
    chapter = document.html.split('id="chapter-1"')[1].split("</section>")[0]
    assert "The intended purpose is not the same everywhere" in chapter
    assert "Replaces the radiologist." in chapter
    assert "Helps radiologists to find pleural effusion" in chapter
