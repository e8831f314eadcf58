"""The vocabulary of reports: sound as it comes, extended by a protocol, refused where it is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
import yaml

from core.errors import AuscultError
from evaluation.engine.text.claims import findings_of, known_findings
from evaluation.engine.text.ontology import (
    ATTRIBUTES,
    compile_ontology,
    extend_ontology,
    ontology,
    vocabulary_of,
)
from evaluation.engine.text.phrases import Kind, expand
from evaluation.engine.text.reading import read_text
from evaluation.engine.text.records import Assertion, Change, Section, Severity, Side

NIH = (
    "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
    "consolidation", "edema", "emphysema", "fibrosis", "pleural_thickening", "hernia",
)  # fmt: skip
CHEXPERT = ("mediastinal_widening", "opacity", "fracture", "support_device")


def bundled() -> dict[str, Any]:
    body: dict[str, Any] = yaml.safe_load(
        (resources.files("evaluation.engine.text") / "ontology.yaml").read_text("utf-8")
    )
    return body


def test_the_ontology_is_sound() -> None:
    words = ontology()
    assert {*NIH, *CHEXPERT} <= set(words.findings) and words.findings == known_findings()
    assert words.ancestors["pneumonia"] == {"opacity"} and not words.ancestors["opacity"]
    assert words.ancestors["nodule"] == {"nodular_opacity", "opacity"}
    assert "support_device" not in words.pathologies and "effusion" in words.pathologies
    named = {name for action in words.actions.values() for name in action.names} | {n for s in words.signs for n in s}
    assert named == set(words.findings)


def test_every_finding_has_a_gravity_and_the_gravest_are_those_that_cannot_wait() -> None:
    gravity = ontology().gravity
    assert set(gravity) == set(known_findings()) and set(gravity.values()) == {1, 2, 3}
    assert {gravity[name] for name in ("pneumothorax", "free_air", "misplaced_device", "pneumomediastinum")} == {3}
    assert gravity["granuloma"] == gravity["scar"] == 1


def test_every_word_that_says_more_has_a_value_that_the_records_know() -> None:
    allowed = {
        "side": {item.value for item in Side},
        "severity": {str(item.value) for item in Severity},
        "change": {item.value for item in Change},
        "comparison": {"prior"},
    }
    words = ontology()
    for pairs in words.attributes.values():
        for kind, value in pairs:
            assert kind in ATTRIBUTES and value in {"none", *allowed.get(kind, {value})}
    assert set(words.headings.values()) == {"findings", "impression", "skipped"}
    assert {Section(value) for value in words.headings.values() if value != "skipped"}


def test_a_list_that_is_written_short_stands_for_all_its_texts() -> None:
    assert list(expand("clear of|from (the) {kind}", {"kind": ["a b", "c"]})) == [
        "clear of the a b", "clear of the c", "clear of a b", "clear of c",
        "clear from the a b", "clear from the c", "clear from a b", "clear from c",
    ]  # fmt: skip


def test_a_protocol_adds_findings_and_words() -> None:
    words = vocabulary_of(
        {
            "findings": {
                "scoliosis": {"title": "scoliosis", "phrases": ["scoliosis", "curvature of (the) spine"], "gravity": 1},
                "effusion": {"phrases": ["water on the lung"]},
            },
            "attributes": {"citation": {"echo": ["echocardiogram"]}},
        }
    )
    assert findings_of("No scoliosis.", words) == {"scoliosis": Assertion.ABSENT} and not findings_of("No scoliosis.")
    assert findings_of("Curvature of spine.", words)["scoliosis"] is Assertion.PRESENT
    assert findings_of("No water on the lung.", words) == {"effusion": Assertion.ABSENT}
    assert [item.modality for item in read_text("The echocardiogram is normal.", words).citations] == ["echo"]
    assert words.digest != ontology().digest and words.gravity["scoliosis"] == 1
    assert vocabulary_of({}) is ontology()


def test_a_vocabulary_is_compiled_once_for_its_content() -> None:
    def addition() -> dict[str, Any]:
        return {"findings": {"goitre": {"title": "goitre", "phrases": ["goitre", "goiter"]}}}

    assert vocabulary_of(addition()) is vocabulary_of(addition())
    assert "goitre" not in ontology().findings and "goitre" not in bundled()["findings"]


def wrong() -> Iterator[tuple[dict[str, Any], str]]:
    yield {"foo": 1}, "foo"
    yield {"cues": {"absent": {"behind": ["gone"]}}}, "behind"
    yield {"findings": {"goitre": {"title": "goitre"}}}, "goitre"
    yield {"findings": {"goitre": {"title": "goitre", "phrases": ["goitre"], "gravty": 3}}}, "gravty"
    yield {"findings": {"effusion": {"phrases": "water"}}}, "findings.effusion.phrases"
    yield {"findings": {"effusion": {"gravity": 5}}}, "gravity"
    yield {"findings": {"effusion": {"parents": ["fluid"]}}}, "fluid"
    yield {"findings": {"goitre": {"title": "goitre", "phrases": ["{foo} goitre"]}}}, "foo"
    yield {"findings": {"goitre": {"title": "goitre", "phrases": ["(goitre)"]}}}, "goitre"
    yield {"ignored": ["pneumothorax"]}, "pneumothorax"
    yield {"signs": [{"subjects": ["thyroid"]}]}, "signs"
    yield {"statements": [{"findings": ["fluid"], "phrases": ["dry"], "negated": False}]}, "fluid"


@pytest.mark.parametrize(("additions", "named"), list(wrong()))
def test_a_wrong_vocabulary_is_refused_by_name_with_a_remedy(additions: dict[str, Any], named: str) -> None:
    with pytest.raises(AuscultError, match=named) as caught:
        vocabulary_of(additions)
    assert caught.value.remedy


def test_an_extension_leaves_the_body_as_it_was() -> None:
    body = bundled()
    extended = extend_ontology(body, {"ignored": ["artefact of motion"]})
    assert body == bundled() and extended["ignored"] == [*body["ignored"], "artefact of motion"]
    assert compile_ontology(extended).actions["artefact of motion"].kind is Kind.IGNORED
