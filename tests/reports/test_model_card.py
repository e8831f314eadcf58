"""The model card: what the provider says and what was measured stand apart, with interval, size and run."""

from __future__ import annotations

from typing import Any

from governance.reports.base import Draft
from governance.reports.model_card import ModelCard
from tests.reports.conftest import digest, make_evidence
from tests.reports.dossiers import make_dossier, make_statement
from tests.reports.scenes import context_of

CARD = {
    "licence": "Apache-2.0",
    "licence_known": True,
    "base_model": ["chest-backbone"],
    "datasets": ["simulated chest v3"],
    "intended_use": "Reading support for radiologists.",
    "missing": ["a description"],
    "results": [{"task": "image-classification", "dataset": "internal", "metric": "AUROC", "value": "0.91"}],
}
ORIGINS = [
    {"relation": "Built on", "source": "Chest backbone 1.0", "digest": digest("backbone"), "told_by": "equal weights"},
    {"relation": "Trained on", "source": "Training cohort", "digest": digest("training"), "told_by": "the card"},
]


def draft(*, card: dict[str, Any] | None = None, bom: str = "", **replaced: Any) -> Draft:
    evidence = make_evidence("fail")
    evidence["version"]["card"] = CARD if card is None else card
    evidence["version"]["origins"] = ORIGINS if card is None else []
    version = make_dossier(evidence)["version"]
    if bom:
        version["ml_bom_digest"] = bom
    return ModelCard().draft(evidence, context_of(evidence, version=version, **replaced))


def chapter(document: Draft, number: str) -> str:
    return document.html.split(f'id="chapter-{number}"')[1].split("</section>")[0]


def test_it_has_chapters_of_its_own_and_judges_nothing() -> None:
    document = draft()
    assert [section["id"] for section in document.data["sections"]] == [str(number) for number in range(1, 9)]
    assert not any(section["requirements"] for section in document.data["sections"])
    assert not any(document.data["counts"].values())
    assert document.data["ready"] is False
    cover = document.html.split("</section>")[0]
    assert "It judges no requirement of any law" in cover
    assert "This document is ready" not in cover


def test_the_providers_words_are_not_taken_for_the_registered_purpose() -> None:
    text = chapter(draft(), "1")
    assert "Helps radiologists to find pleural effusion" in text
    assert "The card that came with the model says: Reading support for radiologists." in text
    assert "words differ from the registered purpose" in text


def test_lineage_is_told_with_digests_and_how_it_is_known() -> None:
    document = draft()
    text = chapter(document, "3")
    for said in ("Chest backbone 1.0", digest("backbone"), "equal weights", "Training cohort", "Trained on"):
        assert said in text
    assert document.data["content"]["origins"] == ORIGINS


def test_measured_and_stated_figures_stand_apart() -> None:
    text = chapter(draft(), "5")
    measured, stated = text.split("Figures that the provider states; nobody measured them here")
    assert ".570 to .650" in measured
    assert "0.91" not in measured
    assert "0.91" in stated


def test_groups_have_intervals_sizes_and_the_run() -> None:
    document = draft()
    section = next(item for item in document.data["sections"] if item["id"] == "5")
    table = next(item for item in section["blocks"] if item.get("caption", "").startswith("sensitivity by sex"))
    assert table["rows"][0] == ["effusion", "F", ".610", ".570 to .650", "1,204", "611", ""]
    assert table["sources"][0]["digest"] == document.data["subject"]["evidence_digest"]


def test_limits_are_those_of_the_evidence_the_card_and_the_provider() -> None:
    text = chapter(draft(), "6")
    assert "31 studies of 12 patients have no recorded sex" in text
    assert "does not tell: a description." in text
    assert "Limitations in the provider&#x27;s words: nothing accepted is held." in text
    row = make_statement(7, "AIA-AnnexIV-3-performance", {"limitations": "Not for children."})
    assert "Not for children." in chapter(draft(statements=[row]), "6")


def test_the_bill_of_materials_is_bound_by_its_digest() -> None:
    document = draft(bom=digest("bom"))
    assert digest("bom") in chapter(document, "7")
    assert document.data["content"]["ml_bom_digest"] == digest("bom")
    assert "its digest is not held" in chapter(draft(), "7")


def test_a_model_without_a_card_has_gaps_and_no_guesses() -> None:
    document = draft(card={})
    assert "Licence: the card that came with the model names none." in chapter(document, "7")
    assert "the card that came with the model does not say" in chapter(document, "1")
    assert "neither the registration nor the card names any" in chapter(document, "3")
    assert document.data["content"]["licence"] is None


def test_the_decision_stands_at_the_end() -> None:
    assert "No committee review of this version was held" in chapter(draft(), "8")
    review = {
        "id": 2,
        "run": 4,
        "status": "rejected",
        "quorum": 2,
        "opened_by": "clara",
        "opened_at": "2026-11-22T11:00:00+00:00",
        "closed_at": "2026-11-22T12:31:00+00:00",
        "excluded": ["elena", "amir", "clara"],
        "votes": [],
    }
    text = chapter(draft(reviews=[review]), "8")
    assert "Rejected" in text
    assert "22 Nov 2026" in text
