"""Answers that cannot both be true are told; answers that can are left alone."""

from __future__ import annotations

from typing import Any

import pytest

from governance.conditions.contradictions import contradictions
from tests.governance.example_answers import device, triage_device

CASES: dict[str, dict[str, Any]] = {
    "point 1(c)": {"emotion_recognition": True},
    "is emotion recognition": {"art5_f": True},
    "criterion 4": {"wp248_c4": False},
    "on a large scale": {"special_categories": ["none"], "wp248_c4": False},
    "criterion 7": {"minors": True, "wp248_c7": False},
    "without a notified body": {"placed_on_market": True, "first_placed_on": "2026-09-01", "notified_body": False},
    "has no notified body": {"in_house": True},
    "is on the market": {"placed_on_market": True, "first_placed_on": "2026-09-01", "union_market": False},
}


@pytest.mark.parametrize("words", CASES)
def test_a_contradiction_is_told_with_its_answers(words: str) -> None:
    (told,) = contradictions(device(**CASES[words]))
    assert words in told
    assert told.endswith(").")


def test_whole_examples_have_none_and_missing_answers_neither() -> None:
    assert contradictions(device()) == ()
    assert contradictions(triage_device(emotion_recognition=True, annex_iii_points=["1c", "5d"])) == ()
    assert contradictions({}) == ()
    assert contradictions(device(emotion_recognition=True, annex_iii_points=None)) == ()
