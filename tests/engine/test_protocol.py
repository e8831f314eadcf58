"""The strict reader of protocols."""

from __future__ import annotations

import pytest

from core.errors import ProtocolError
from evaluation.engine import Protocol, bundled_names, load_protocol
from evaluation.engine.protocol import bundled_source
from tests.engine.builders import body, protocol

TEXT = """\
auscult_protocol: 1
name: t-v1
title: T
labels:
  - name: x
attributes:
  - name: sex
criteria:
  - id: a
    metric: tpr
    attribute: sex
    direction: at_least
    margin: 0.6
"""


def refusal(text: str) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        Protocol.from_yaml(text, source="p.yaml")
    assert caught.value.remedy
    assert caught.value.file == "p.yaml"
    return caught.value


def test_defaults_are_part_of_the_canonical_form_and_of_the_digest() -> None:
    short = Protocol.from_yaml(TEXT)
    long = Protocol.from_yaml(TEXT + "alpha: 0.05\nminimum: {cell: 11, rate_denominator: 30}\nseed: 0\n")
    assert short.digest == long.digest
    assert short.to_dict()["criteria"][0]["labels"] == ["*"]
    assert short.digest != Protocol.from_yaml(TEXT.replace("0.6", "0.61")).digest


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_protocols_survive_a_round_trip(name: str) -> None:
    read = load_protocol(name)
    again = Protocol.from_dict(read.to_dict())
    assert again == read
    assert again.digest == read.digest
    assert read.intended_use
    assert bundled_source(name).startswith("#")


def test_an_unknown_key_is_refused_with_its_line_and_the_known_keys() -> None:
    error = refusal(TEXT.replace("margin: 0.6", "margin: 0.6\n    margn: 1"))
    assert "Line 14, criteria[0].margn: unknown key 'margn'." in error.message
    assert "margin" in error.message.partition("Known here:")[2]


def test_all_problems_are_told_at_once() -> None:
    error = refusal(TEXT.replace("metric: tpr", "metric: sensitivty").replace("attribute: sex", "attribute: race"))
    assert "there is no metric 'sensitivty'. Known: " in error.message
    assert "equal_opportunity_difference" in error.message
    assert "'race' is not a declared attribute" in error.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("margin: 0.6", "margin: 1.5"), "Line 13, criteria[0].margin: 1.5 is greater than the maximum of 1."),
        (("name: t-v1", "title: again"), "Line 3: the key 'title' appears a second time."),
        (("name: t-v1", "name: &n t-v1\nintended_use: *n"), "Anchors and aliases"),
        (("labels:", "labels: ["), "this is not valid YAML"),
        (("auscult_protocol: 1", "auscult_protocol: 2"), "auscult_protocol: 1 was expected."),
        (("title: T\n", ""), "missing: title."),
        (("metric: tpr", "metric: prevalence"), "cannot be a criterion"),
        (("metric: tpr", "metric: equal_opportunity_difference"), "is a gap: it is judged 'at_most'"),
        (("metric: tpr", "metric: underdiagnosis_rate"), "needs the section 'underdiagnosis'"),
        (("- name: sex", "- name: sex\n    bands: [40, 0]"), "edges must rise"),
        (("- name: sex", "- name: sex\n    plausible: [1, 0]"), "the range must rise"),
        (("- name: x", "- name: x\n  - name: x"), "'x' is used 2 times"),
        (("margin: 0.6", "margin: .nan"), "criteria[0].margin"),
        (
            ("- name: sex", f"- name: sex\n  - name: {'a' * 80}\nintersections: [[sex, {'a' * 80}], [sex, nope]]"),
            "'nope'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(change: tuple[str, str], said: str) -> None:
    assert said in refusal(TEXT.replace(*change)).message


def test_duplicate_criterion_ids_are_refused() -> None:
    twice = body()["criteria"] * 2
    with pytest.raises(ProtocolError, match="'sex-tpr' is used 2 times"):
        protocol(criteria=twice)


def test_text_that_is_no_mapping_is_refused() -> None:
    assert "a protocol is a mapping" in refusal("- 1\n").message
    assert "a protocol is a mapping" in refusal("").message


def test_bands_name_their_groups() -> None:
    read = protocol(
        attributes=[{"name": "sex"}, {"name": "age", "bands": [0, 40, 60]}, {"name": "bmi", "bands": [18.5, 25, 30]}]
    )
    assert read.attribute("age").groups == ("<40", "40-59", ">=60")
    assert read.attribute("bmi").groups == ("18.5 to <25", "25-29", ">=30")
    assert read.attribute_columns == ("sex", "age", "bmi")


def test_an_unknown_bundled_name_lists_the_known_ones() -> None:
    with pytest.raises(ProtocolError) as caught:
        load_protocol("nope")
    assert "nih-labels-v1" in caught.value.remedy
