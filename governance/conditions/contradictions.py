"""Answers that cannot both be true. Each is told in a sentence; none is corrected by the platform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _

from governance.conditions.conclusions import RULES
from governance.conditions.reading import Reading
from governance.conditions.truth import Term, Truth, all_of, negate


def contradictions(answers: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Every contradiction among the answers, each a sentence that names the questions; empty where there is none."""
    reading = Reading(answers, RULES)
    found = []
    for term, sentence in _pairs(reading):
        if term.truth is Truth.YES:
            labels = "; ".join(f"{reading.questions[key].label}: {reading.shown(key)}" for key in term.questions)
            found.append(_("%(statement)s (%(answers)s).") % {"statement": sentence, "answers": labels})
    return tuple(found)


def _pairs(reading: Reading) -> Iterator[tuple[Term, str]]:
    fact = reading.fact
    yield (
        all_of(fact("emotion_recognition", True), negate(fact("annex_iii_points", "1c"))),
        _("Emotion recognition falls under point 1(c) of Annex III"),
    )
    yield (
        all_of(fact("art5_f", True), negate(fact("emotion_recognition", True))),
        _("What infers emotions of people is emotion recognition"),
    )
    yield (
        all_of(fact("wp248_c4", False), fact("special_categories", "health", "genetic", "biometric", "other")),
        _("Special categories of data are sensitive data by criterion 4 of WP248"),
    )
    yield (
        all_of(fact("dpia_case_b", True), fact("special_categories", "none"), fact("wp248_c4", False)),
        _("Special categories cannot be processed on a large scale where none are processed"),
    )
    yield (
        all_of(fact("minors", True), fact("wp248_c7", False)),
        _("Children are vulnerable people by criterion 7 of WP248"),
    )
    yield (
        all_of(reading.of("hr_6_1_mdr"), fact("placed_on_market", True), fact("notified_body", False)),
        _("A device of this class is not placed on the market without a notified body"),
    )
    yield (
        all_of(fact("in_house", True), fact("notified_body", True)),
        _("A device made and used within one health institution has no notified body"),
    )
    yield (
        all_of(fact("placed_on_market", True), fact("union_market", False)),
        _("What is on the market in the Union is within the reach of the AI Act"),
    )
