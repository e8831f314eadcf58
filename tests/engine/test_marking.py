"""Marks of a pair of reports: from claims written by hand, so that no reader of texts stands between."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ProtocolError
from evaluation.engine.protocol import NumberRule
from evaluation.engine.text.marking import COLUMNS, MarkKind, PairContext, ReportRules, mark_pair
from evaluation.engine.text.ontology import ontology
from evaluation.engine.text.records import (
    Assertion,
    Citation,
    Claim,
    Comparison,
    Quantity,
    ReadText,
    Severity,
    Side,
)
from tests.engine.report_builders import report_protocol

WORDS = ontology()
RULES = ReportRules(findings=frozenset(WORDS.findings), vocabulary=WORDS)
NO_PRIOR = PairContext(prior=False)
PRESENT, UNCERTAIN, ABSENT = Assertion.PRESENT, Assertion.UNCERTAIN, Assertion.ABSENT


def read(*claims: tuple, **more: object) -> ReadText:
    """A text whose n-th mention stands at characters 10 n: (finding, assertion, side, severity)."""
    made = [
        Claim(
            start=10 * place, end=10 * place + 5, sentence=place, finding=finding, assertion=assertion,
            side=rest[0] if rest else None, severity=rest[1] if len(rest) > 1 else None,
        )
        for place, (finding, assertion, *rest) in enumerate(claims)
    ]  # fmt: skip
    facts = {"given": True, "supported": True, "abstains": False, "words": 5}
    return ReadText(**{**facts, "claims": tuple(made), **more})


def kinds(marks: tuple) -> list[tuple[str, str]]:
    return [(mark.kind.value, mark.finding) for mark in marks]


def test_supported_invented_omitted_and_agreed() -> None:
    pair = mark_pair(
        read(("effusion", PRESENT), ("cardiomegaly", PRESENT), ("pneumothorax", ABSENT)),
        read(("effusion", PRESENT), ("nodule", PRESENT), ("pneumothorax", ABSENT), ("mass", UNCERTAIN)),
        context=NO_PRIOR, rules=RULES,
    )  # fmt: skip
    assert kinds(pair.generated) == [
        ("supported", "effusion"), ("unsupported", "nodule"), ("agreed_absent", "pneumothorax"), ("uncertain", "mass"),
    ]  # fmt: skip
    assert kinds(pair.reference) == [
        ("supported", "effusion"), ("omitted", "cardiomegaly"), ("agreed_absent", "pneumothorax"),
    ]  # fmt: skip
    counts = pair.tally
    assert (counts["generated"], counts["supported"], counts["unsupported"], counts["inventing"]) == (2, 1, 1, 1)
    assert (counts["reference"], counts["found"], counts["ill"]) == (2, 1, 1) and "missed" not in counts


@pytest.mark.parametrize(("expert", "model"), [(ABSENT, PRESENT), (PRESENT, ABSENT)])
def test_a_negation_turned_round_is_marked_and_counted_on_both_sides(expert: Assertion, model: Assertion) -> None:
    pair = mark_pair(read(("effusion", expert)), read(("effusion", model)), context=NO_PRIOR, rules=RULES)
    assert kinds(pair.generated) == [("contradicted", "effusion")]
    assert (pair.tally["settled"], pair.tally["flipped"]) == (1, 1)
    assert pair.tally.get("unsupported", 0) == (model is PRESENT)
    if expert is PRESENT:
        assert kinds(pair.reference) == [("omitted", "effusion")] and "denies" in pair.reference[0].note


def test_who_denies_the_general_denies_the_special() -> None:
    pair = mark_pair(read(("opacity", ABSENT)), read(("consolidation", PRESENT)), context=NO_PRIOR, rules=RULES)
    assert kinds(pair.generated) == [("contradicted", "consolidation")]
    other = mark_pair(read(("consolidation", PRESENT)), read(("opacity", ABSENT)), context=NO_PRIOR, rules=RULES)
    assert kinds(other.generated) == [("contradicted", "opacity")] and other.tally["flipped"] == 1
    general = mark_pair(read(("consolidation", ABSENT)), read(("opacity", PRESENT)), context=NO_PRIOR, rules=RULES)
    assert kinds(general.generated) == [("unsupported", "opacity")] and "settled" not in general.tally


def test_a_possible_finding_is_no_positive_one_strictly_and_is_one_leniently() -> None:
    pair = mark_pair(read(("pneumonia", UNCERTAIN)), read(("pneumonia", PRESENT)), context=NO_PRIOR, rules=RULES)
    assert kinds(pair.generated) == [("unsupported", "pneumonia")] and "may be there" in pair.generated[0].note
    assert (pair.tally["unsupported"], pair.tally.get("unsupported_lenient", 0)) == (1, 0)
    assert (pair.tally["found_lenient"], pair.tally["reference_lenient"]) == (1, 1)
    doubt = mark_pair(read(("pneumonia", ABSENT)), read(("pneumonia", UNCERTAIN)), context=NO_PRIOR, rules=RULES)
    assert (doubt.tally.get("unsupported", 0), doubt.tally["unsupported_lenient"]) == (0, 1)


def test_a_swapped_side_changes_the_side_alone() -> None:
    expert = read(("effusion", PRESENT, Side.LEFT, Severity.MILD), ("nodule", PRESENT, Side.RIGHT))
    right = mark_pair(expert, expert, context=NO_PRIOR, rules=RULES)
    swapped = read(("effusion", PRESENT, Side.RIGHT, Severity.MILD), ("nodule", PRESENT, Side.RIGHT))
    wrong = mark_pair(expert, swapped, context=NO_PRIOR, rules=RULES)
    assert {name for name in COLUMNS if right.tally.get(name) != wrong.tally.get(name)} == {"wrong_side"}
    assert kinds(wrong.generated) == [("wrong_side", "effusion"), ("supported", "nodule")]
    assert "on the left" in wrong.generated[0].note and (wrong.tally["sided"], wrong.tally["wrong_side"]) == (2, 1)


@pytest.mark.parametrize(
    ("expert", "model", "wrong"),
    [
        (Side.BOTH, Side.LEFT, 1), (Side.LEFT, Side.BOTH, 1), (Side.BOTH, Side.BOTH, 0), (None, Side.LEFT, 0),
        (Side.LEFT, None, 0),
    ],
)  # fmt: skip
def test_one_side_of_both_is_another_side_and_silence_is_none(expert: Side, model: Side, wrong: int) -> None:
    pair = mark_pair(
        read(("effusion", PRESENT, expert)), read(("effusion", PRESENT, model)), context=NO_PRIOR, rules=RULES
    )
    assert pair.tally.get("wrong_side", 0) == wrong == int(("wrong_side", "effusion") in kinds(pair.generated))
    assert pair.tally.get("sided", 0) == int(expert is not None and model is not None)


def test_left_and_right_in_two_mentions_are_both() -> None:
    two = read(("effusion", PRESENT, Side.LEFT), ("effusion", PRESENT, Side.RIGHT))
    pair = mark_pair(read(("effusion", PRESENT, Side.BOTH)), two, context=NO_PRIOR, rules=RULES)
    assert "wrong_side" not in pair.tally and kinds(pair.generated) == [("supported", "effusion")] * 2
    assert (pair.tally["generated"], pair.tally["supported"]) == (1, 1)


def test_another_severity_is_its_own_error_and_two_marks_may_share_a_span() -> None:
    pair = mark_pair(
        read(("effusion", PRESENT, Side.LEFT, Severity.SEVERE)),
        read(("effusion", PRESENT, Side.RIGHT, Severity.MILD)), context=NO_PRIOR, rules=RULES,
    )  # fmt: skip
    assert sorted(kinds(pair.generated)) == [("wrong_severity", "effusion"), ("wrong_side", "effusion")]
    assert len({(mark.start, mark.end) for mark in pair.generated}) == 1
    assert (pair.tally["graded"], pair.tally["wrong_severity"], pair.tally["supported"]) == (1, 1, 1)


def test_grave_findings_weigh_more() -> None:
    grave = max(WORDS.gravity, key=WORDS.gravity.__getitem__)
    light = min(WORDS.gravity, key=WORDS.gravity.__getitem__)
    assert WORDS.gravity[grave] > WORDS.gravity[light]
    pair = mark_pair(read((grave, PRESENT)), read((light, PRESENT)), context=NO_PRIOR, rules=RULES)
    counts = pair.tally
    assert counts["gravity_omitted"] == counts["gravity_expected"] == WORDS.gravity[grave]
    assert counts["gravity_invented"] == counts["gravity_asserted"] == WORDS.gravity[light]


def test_a_truncated_report_omits_nothing_and_can_still_invent() -> None:
    cut = PairContext(prior=False, truncated=True)
    pair = mark_pair(read(("effusion", PRESENT)), read(("nodule", PRESENT)), context=cut, rules=RULES)
    assert pair.flags == ("truncated",)
    assert not {"reference", "found", "missed", "ill", "gravity_expected", "reference_lenient"} & set(pair.tally)
    assert (pair.tally["generated_cut"], pair.tally["unsupported_cut"], pair.tally["inventing_cut"]) == (1, 1, 1)
    assert pair.tally["truncated"] == pair.tally["pairs"] == 1


def test_what_cannot_be_compared_counts_once_and_is_flagged() -> None:
    blank = ReadText(given=False, supported=True, abstains=True, words=0)
    foreign = ReadText(given=True, supported=False, abstains=False, words=40)
    said = read(("effusion", PRESENT))
    assert mark_pair(blank, said, context=NO_PRIOR, rules=RULES).tally == {"unpaired": 1}
    assert mark_pair(blank, said, context=NO_PRIOR, rules=RULES).flags == ("no_reference",)
    for pair in ((foreign, said), (said, foreign)):
        made = mark_pair(*pair, context=NO_PRIOR, rules=RULES)
        assert made.tally == {"foreign": 1} and made.flags == ("unsupported_language",) and made.generated == ()
    silent = mark_pair(said, blank, context=NO_PRIOR, rules=RULES)
    assert silent.flags == ("abstained",) and silent.tally["abstained"] == 1 and "unprimed" not in silent.tally


def test_a_comparison_is_wrong_only_where_no_earlier_study_was_given() -> None:
    text = read(("effusion", PRESENT), comparisons=(Comparison(start=3, end=9, sentence=0),))
    for prior, marked in ((False, True), (True, False), (None, False)):
        pair = mark_pair(text, text, context=PairContext(prior=prior), rules=RULES)
        assert (("no_prior", "") in kinds(pair.generated)) is marked
        assert (pair.tally.get("unprimed", 0), pair.tally.get("comparing", 0)) == (int(prior is False), int(marked))


@pytest.mark.parametrize(
    ("given", "lacks", "cites"),
    [
        ({"image": True, "series.crp": False}, 1, 1),
        ({"image": True, "series.crp": False, "series.wbc": True}, 0, 0),
        ({"image": True}, 0, 0),
        ({"labs": False, "image": True}, 1, 1),
        ({"series.heart_rate": False}, 1, 0),
        ({"text.indication": False}, 1, 0),
        ({}, 0, 0),
    ],
)
def test_what_rests_on_a_modality_that_is_lacking(given: dict, lacks: int, cites: int) -> None:
    text = read(("effusion", PRESENT), citations=(Citation(start=20, end=30, sentence=1, modality="labs"),))
    pair = mark_pair(text, text, context=PairContext(prior=True, given=given), rules=RULES)
    assert (pair.tally.get("lacking", 0), pair.tally.get("citing", 0)) == (lacks, cites)
    assert (("absent_modality", "") in kinds(pair.generated)) == bool(cites)


def quantity(value: float, unit: str | None = "mg/L", **more: object) -> Quantity:
    facts = {"start": 0, "end": 9, "sentence": 0, "analyte": "crp", "value": value, "decimals": 0, "unit": unit}
    return Quantity(**{**facts, **more})


@pytest.mark.parametrize(
    ("item", "kind", "column"),
    [
        (quantity(45), "supported", None),
        (quantity(60), "wrong_value", "number_value"),
        (quantity(45, "mg/dL"), "wrong_unit", "number_unit"),
        (quantity(45, flag="normal"), "wrong_flag", "number_flag"),
        (quantity(45, hours=20.0), "wrong_time", "number_time"),
    ],
)
def test_numbers_are_held_against_the_patients_series(item: Quantity, kind: str, column: str | None) -> None:
    rules = ReportRules(
        findings=RULES.findings, vocabulary=WORDS,
        numbers={"crp": NumberRule(analyte="crp", series="crp", unit="mg/L", high=5.0)},
    )  # fmt: skip
    context = PairContext(prior=True, series={"crp": np.array([[6.0, 45.0], [12.0, 80.0]])})
    pair = mark_pair(read(), read(quantities=(item,)), context=context, rules=rules)
    assert kinds(pair.generated) == [(kind, "crp")] and pair.tally["numbers"] == 1
    assert {name for name in pair.tally if name.startswith("number_")} == ({column} if column else set())
    nothing = PairContext(prior=True, series={"crp": None})
    made_up = mark_pair(read(), read(quantities=(item,)), context=nothing, rules=rules)
    assert kinds(made_up.generated) == [("fabricated_number", "crp")] and made_up.tally["number_fabricated"] == 1
    assert "numbers" not in mark_pair(read(), read(quantities=(item,)), context=NO_PRIOR, rules=rules).tally


CLAIM = st.tuples(
    st.sampled_from(["effusion", "opacity", "consolidation", "pneumonia", "nodule", "cardiomegaly"]),
    st.sampled_from([PRESENT, UNCERTAIN, ABSENT]), st.sampled_from([None, *Side]), st.sampled_from([None, *Severity]),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(CLAIM, max_size=7), st.lists(CLAIM, max_size=7))
def test_every_number_is_the_number_of_findings_that_are_marked(expert: list, model: list) -> None:
    pair = mark_pair(read(*expert), read(*model), context=NO_PRIOR, rules=RULES)

    def marked(marks: tuple, *wanted: MarkKind) -> set[str]:
        return {mark.finding for mark in marks if mark.kind in wanted}

    said = {name for name, assertion, *_ in model if assertion is PRESENT}
    right = marked(pair.generated, MarkKind.SUPPORTED, MarkKind.WRONG_SIDE, MarkKind.WRONG_SEVERITY)
    wrong = marked(pair.generated, MarkKind.UNSUPPORTED, MarkKind.CONTRADICTED) & said
    counts = Counter(pair.tally)
    assert (len(right), len(wrong)) == (counts["supported"], counts["unsupported"]) and right | wrong == said
    assert len(marked(pair.reference, MarkKind.OMITTED)) == counts["reference"] - counts["found"]
    assert len(marked(pair.generated, MarkKind.CONTRADICTED)) == counts["flipped"] <= counts["settled"]
    assert len(marked(pair.generated, MarkKind.WRONG_SIDE)) == counts["wrong_side"] <= counts["sided"]
    assert len(marked(pair.generated, MarkKind.WRONG_SEVERITY)) == counts["wrong_severity"] <= counts["graded"]
    assert counts["inventing"] == bool(wrong)


def test_only_the_named_findings_are_marked_and_a_protocol_without_reports_has_no_rules() -> None:
    few = ReportRules.of(report_protocol(reports={"findings": ["cardiomegaly"]}))
    pair = mark_pair(read(("effusion", PRESENT)), read(("nodule", PRESENT)), context=NO_PRIOR, rules=few)
    assert pair.generated == pair.reference == () and "generated" not in pair.tally
    with pytest.raises(ProtocolError, match="compares no reports"):
        ReportRules.of(report_protocol(reports=None, labels=[{"name": "x"}]))
