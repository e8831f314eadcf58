"""What answers come to: a list written by hand, other languages, markup, any text at all, long ones in linear time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.engine.asking import Asking, Utterances
from evaluation.engine.probing import Answer, parse_answer, read_answers
from evaluation.engine.probing.answers import STAND_IN
from evaluation.engine.probing.said import HEAD, TAIL, plain
from evaluation.engine.probing.wording import phrase_of, wording
from evaluation.engine.text.ontology import ontology, vocabulary_of
from tests.engine.probing_answers import CHOICES, CUT, PREMISES, QUESTIONS
from tests.engine.probing_answers_later import HELD_OUT

OPTIONS = "effusion|pneumothorax|cardiomegaly"
KINDS = ("present", "random", "popular", "adversarial", "wrong_image", "false_premise", "none_of_above")


@pytest.mark.parametrize("text, finding, expected", [*QUESTIONS, *HELD_OUT])
def test_answers_to_a_yes_or_no_question(text: str | None, finding: str, expected: str) -> None:
    assert parse_answer(text, kind="random", finding=finding) == expected
    assert parse_answer(text, kind="present", finding=finding) == expected, "the kind of a question changes nothing"


@pytest.mark.parametrize("text, finding, expected", PREMISES)
def test_answers_to_a_false_premise(text: str | None, finding: str, expected: str) -> None:
    assert parse_answer(text, kind="false_premise", finding=finding) == expected


@pytest.mark.parametrize("text, expected", CHOICES)
def test_answers_to_a_choice(text: str | None, expected: str) -> None:
    found = parse_answer(text, kind="none_of_above", finding=OPTIONS)
    assert found == expected
    assert found.choice == (expected if len(expected) == 1 else "")
    assert parse_answer(text, kind="none_of_above", finding="", options=OPTIONS.split("|")) == found


@pytest.mark.parametrize("text, finding, expected", CUT)
def test_answers_that_end_at_the_limit_of_tokens(text: str | None, finding: str, expected: str) -> None:
    assert parse_answer(text, kind="random", finding=finding, truncated=True) == expected


def test_line_20_a_refusal_is_neither_no_nor_right() -> None:
    for text in ("I cannot tell.", "I'm sorry, I can't help with that.", "Unclear.", "", None):
        for kind in KINDS:
            finding = OPTIONS if kind == "none_of_above" else "effusion"
            found = parse_answer(text, kind=kind, finding=finding)
            assert found is Answer.REFUSED
            assert found not in {"yes", "no", "reject", "A", "B", "C", "D"}
            assert not found.settled


@pytest.mark.parametrize("finding", sorted({*ontology().findings, *wording().names} - wording().never))
def test_an_answer_in_the_words_of_the_question_is_read(finding: str) -> None:
    """Whatever is asked about, the plainest sentences about it are understood, in the noun of the question."""
    words = phrase_of(finding)
    verb = words.words()["is"]
    for text, expected in (
        (f"There {verb} {words.indefinite}.", "yes"),
        (f"There {verb} no {words.noun}.", "no"),
        (f"No {words.noun} seen.", "no"),
        (f"Possible {words.noun}.", "refused"),
        (f"The image shows {words.indefinite}.", "yes"),
        (f"The image does not show {words.indefinite}.", "no"),
        (f"I cannot see {words.indefinite}.", "no"),
        (f"I cannot tell whether there {verb} {words.indefinite}.", "refused"),
        (f"{words.noun.capitalize()}: no", "no"),
        (f"{words.noun.capitalize()}: yes", "yes"),
    ):
        assert parse_answer(text, kind="random", finding=finding) == expected, text


def test_what_implies_a_finding_affirms_it_and_no_more() -> None:
    assert parse_answer("There is a consolidation.", kind="random", finding="opacity") == "yes"
    assert parse_answer("There is no consolidation.", kind="random", finding="opacity") == "unparseable"
    assert parse_answer("There is an opacity.", kind="random", finding="consolidation") == "unparseable"
    assert parse_answer("There is no opacity.", kind="random", finding="consolidation") == "no"


def test_a_finding_of_the_protocols_own_vocabulary_is_read_by_it() -> None:
    added = vocabulary_of({"findings": {"kyphosis": {"title": "kyphosis", "phrases": ["kyphosis", "hunchback"]}}})
    told = "The patient is a hunchback."
    assert parse_answer(told, kind="random", finding="kyphosis", vocabulary=added) == "yes"
    assert parse_answer(told, kind="random", finding="kyphosis") == "unparseable"


def test_what_stands_in_for_an_unknown_finding_is_not_taken_for_it() -> None:
    assert STAND_IN in ontology().findings
    assert not any(STAND_IN in general for general in ontology().ancestors.values())
    assert parse_answer(f"There is a {STAND_IN}.", kind="random", finding="scoliosis") == "unparseable"


def test_html_is_only_text_and_nothing_of_it_is_an_answer() -> None:
    assert parse_answer("<img alt='yes'>No", kind="random", finding="effusion") == "no"
    assert parse_answer("<b onclick='no()'>Yes</b>", kind="random", finding="effusion") == "yes"
    assert plain("<p>There is\n\n<b>no</b>&nbsp;effusion.</p>") == "there is\nno effusion."


def test_both_ends_of_a_long_answer_are_read() -> None:
    filling = "The picture is nice. " * HEAD
    assert parse_answer(f"Yes. {filling}", kind="random", finding="effusion") == "yes"
    assert parse_answer(f"{filling} So the answer is no.", kind="random", finding="effusion") == "no"
    assert parse_answer(f"Yes. {filling} So the answer is no.", kind="random", finding="effusion") == "unparseable"
    assert parse_answer(filling, kind="random", finding="effusion") == "unparseable"


@pytest.mark.parametrize(
    "piece",
    ["no ", "<", "a", "yes, ", "\n", "no effusion. ", "' ", "&lt;", "(", "cannot be ", "answer: ", "it is not ",
     "well, ", "yes/no ", "A) ", "\\boxed{", "the answer is ", "I do not see ", "\N{COMBINING ACUTE ACCENT}"],
)  # fmt: skip
def test_of_a_megabyte_no_more_than_both_ends_is_worked_on(piece: str) -> None:
    megabyte = piece * (1_000_000 // len(piece))
    assert plain(megabyte) == plain(f"{megabyte[:HEAD]}\n{megabyte[-TAIL:]}")
    for kind in ("random", "false_premise", "none_of_above"):
        assert parse_answer(megabyte, kind=kind, finding=OPTIONS if kind == "none_of_above" else "effusion") in Answer


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=400),
        st.lists(
            st.sampled_from(
                ["yes", "no", "not", "effusion", "there is", "I cannot", "tell", "see", ".", ",", "?", "\n", "A)", "B",
                 "none", "of the above", "<b>", "answer:", "whether", "may", "*", "(", ")", "{", "\\", "it is", "but"]
            ),
            max_size=40,
        ).map(" ".join),
    ),
    kind=st.sampled_from(KINDS),
    finding=st.sampled_from(["effusion", "sarcoidosis", "no such thing", "", "(", "a\\b"]),
    truncated=st.booleans(),
)  # fmt: skip
def test_any_text_comes_to_some_answer(text: str, kind: str, finding: str, truncated: bool) -> None:
    asked = OPTIONS if kind == "none_of_above" else finding
    found = parse_answer(text, kind=kind, finding=asked, truncated=truncated)
    assert isinstance(found, Answer)
    if kind == "none_of_above":
        assert found in {"A", "B", "C", "D"} or not found.settled
    elif kind == "false_premise":
        assert found in {"yes", "reject"} or not found.settled
    else:
        assert found in {"yes", "no"} or not found.settled
    assert truncated or found is not Answer.TRUNCATED
    if truncated and not text.strip():
        assert found is Answer.TRUNCATED
    assert parse_answer(text, kind=kind, finding=asked, truncated=truncated) is found


def test_answers_of_a_plan_are_read_row_by_row() -> None:
    asked = Asking.of(
        [
            {"study": 0, "kind": "random", "finding": "effusion"},
            {"study": 0, "kind": "report"},
            {"study": 1, "kind": "none_of_above", "finding": OPTIONS},
            {"study": 1, "kind": "false_premise", "finding": "effusion"},
            {"study": 1, "kind": "present", "finding": "effusion"},
        ]
    )
    texts = np.array(["No.", "No effusion.", "D", "There is none.", None], dtype=object)
    found = read_answers(Utterances(asked=asked, text=texts, truncated=np.array([False] * 4 + [True])))
    assert found.tolist() == [Answer.NO, None, Answer.D, Answer.REJECT, Answer.TRUNCATED]
