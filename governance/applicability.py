"""Which requirements apply to a system, concluded from the answers of people and from nothing else.

Three values: what is not answered is unknown, and one *no* among the conditions of a requirement decides whatever
else is unknown. Every conclusion carries the answers that decided it. Pure: neither the clock nor the database is read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from governance.catalogue import Catalogue, Requirement, TimelineEntry
from governance.conditions.conclusions import RULES
from governance.conditions.reading import Conclusion, Reading
from governance.conditions.truth import Term, Truth, all_of, any_of
from governance.incident_routes import IncidentFacts, Route, incident_routes

__all__ = [
    "Applicability",
    "Conclusion",
    "IncidentFacts",
    "Route",
    "Truth",
    "applicability",
    "conclude",
    "incident_routes",
    "prohibited",
]

Answers = Mapping[str, Mapping[str, Any]]
LIMBS = ("a", "b", "ba", "bb", "c", "d", "e", "f", "g", "h")
NOW, LATER, DEPENDS = "now", "later", "depends"
BY_USE = {"T-AIA-ANNEX-I": "T-AIA-ANNEX-III", "T-AIA-HR-FUNC-I": "T-AIA-HR-FUNC-III"}
"""High-risk by Annex III, the same duties apply from the date of Annex III and not from that of products."""
MARKING, MARKING_BEFORE = "AIA-Art50-2", "T-AIA-ART50-LEG"
QUALIFICATION = "AIA-Art3-1"
"""The record of whether it is an AI system is owed before that is known."""


@dataclass(frozen=True, kw_only=True)
class Applicability:
    """Whether one requirement applies to your organisation for this system, and since when.

    Attributes:
        reason: Full sentences that name the deciding answers, or the questions that are open.
        questions: The deciding questions; of an unknown one the unanswered ones.
        in_force: ``now``, ``later``, or ``depends``: the readings of its date lie on both sides of the day.
        timeline: Entries of the timeline it may apply by; two where an answer is missing that would tell.
        dates: Every reading of the day it applies from, earliest first.
    """

    requirement: str
    applies: Truth
    reason: str
    questions: tuple[str, ...]
    in_force: str
    timeline: tuple[str, ...] = ()
    dates: tuple[dt.date, ...] = ()


def conclude(answers: Answers) -> Mapping[str, Conclusion]:
    """Every conclusion by key: each trigger and each duty bearer of the catalogue, and the steps between.

    Args:
        answers: ``{question: {"value": ..., ...}}`` as a dossier holds them; only the values are read.
    """
    reading = Reading(answers, RULES)
    return {key: reading.conclude(key) for key in RULES}


def applicability(catalogue: Catalogue, answers: Answers, *, as_of: dt.date) -> Mapping[str, Applicability]:
    """For each requirement of the catalogue whether it applies, with the reason."""
    conclusions = conclude(answers)
    reading = Reading(answers, RULES)
    found = {}
    for item in catalogue.requirements:
        term, reason = _decide(item, conclusions)
        entries = _timeline(item, catalogue, conclusions, reading)
        dates = tuple(sorted({day for entry in entries for day in _readings(entry)}))
        found[item.id] = Applicability(
            requirement=item.id,
            applies=term.truth,
            reason=reason,
            questions=term.questions,
            in_force=_in_force(dates, as_of),
            timeline=tuple(entry.ref for entry in entries),
            dates=dates,
        )
    return found


def prohibited(answers: Answers) -> tuple[str, ...]:
    """Limbs of Art. 5(1) that are answered with yes, such as ``("a", "ba")``. One blocks every report but its own.

    The limbs (ba) and (bb) count before the day from which they apply: nobody should build on what is about to be
    prohibited.
    """
    reading = Reading(answers, RULES)
    return tuple(limb for limb in LIMBS if reading.fact(f"art5_{limb}", True).truth is Truth.YES)


def _decide(item: Requirement, conclusions: Mapping[str, Conclusion]) -> tuple[Term, str]:
    """All conditions must hold, and your organisation must bear one of the duties."""
    gates = [conclusions[key] for key in (*_scope(item), *item.triggers)]
    bearers = [conclusions[role] for role in item.duty_bearer]
    borne = any_of(*(bearer.term for bearer in bearers))
    term = all_of(*(gate.term for gate in gates), borne)
    if term.truth is Truth.NO:
        refusing = [gate.reason for gate in gates if gate.truth is Truth.NO][:1]
        return term, refusing[0] if refusing else _sentences(bearers, Truth.NO)
    if term.truth is Truth.UNKNOWN:
        open_ones = [gate.reason for gate in gates if gate.truth is Truth.UNKNOWN]
        if borne.truth is Truth.UNKNOWN:
            open_ones.append(_sentences(bearers, Truth.UNKNOWN))
        return term, " ".join(dict.fromkeys(open_ones))
    told = [gate.reason for gate in gates if not _repeated(gate, gates)]
    return term, " ".join([*told, _sentences(bearers, Truth.YES)])


def _repeated(gate: Conclusion, gates: list[Conclusion]) -> bool:
    """Whether another condition of the same requirement rests on the answers of this one, and tells them."""
    return any(set(gate.questions) < set(other.questions) for other in gates)


def _sentences(bearers: list[Conclusion], truth: Truth) -> str:
    """What is said of those who bear the duty: one who does is enough, and none who does takes all of them."""
    told = [bearer.reason for bearer in bearers if bearer.truth is truth]
    return " ".join(told[:1] if truth is Truth.YES else told)


def _scope(item: Requirement) -> tuple[str, ...]:
    """What the act itself must reach before any of its duties applies. A model of its own is no AI system."""
    if item.regulation != "AI_ACT":
        return ()
    if item.id == QUALIFICATION or item.duty_bearer == ("gpai_provider",):
        return ("union_scope",)
    return ("ai_act",)


def _timeline(
    item: Requirement, catalogue: Catalogue, conclusions: Mapping[str, Conclusion], reading: Reading
) -> tuple[TimelineEntry, ...]:
    """The entries by which it may apply: its own, and another where the answers make or leave that possible."""
    own = item.applies_from
    if item.id == MARKING:
        other, moved = catalogue.timeline[MARKING_BEFORE], _placed_before(reading, own.date)
    elif "hr" in item.triggers and own.ref in BY_USE:
        other, moved = catalogue.timeline[BY_USE[own.ref]], conclusions["annex_iii"].truth
    else:
        return (own,)
    return {Truth.YES: (other,), Truth.NO: (own,), Truth.UNKNOWN: (own, other)}[moved]


def _placed_before(reading: Reading, day: dt.date) -> Truth:
    """Whether the system was on the market before a day; unknown while nobody told."""
    asked = reading.asked("first_placed_on")
    if asked.truth is Truth.NO:
        return Truth.NO
    first = reading.values.get("first_placed_on")
    if first is None or asked.truth is Truth.UNKNOWN:
        return Truth.UNKNOWN
    return Truth.YES if dt.date.fromisoformat(first) < day else Truth.NO


def _readings(entry: TimelineEntry) -> tuple[dt.date, ...]:
    return (entry.date,) if entry.alternative is None else (entry.date, entry.alternative)


def _in_force(dates: tuple[dt.date, ...], as_of: dt.date) -> str:
    if as_of >= dates[-1]:
        return NOW
    return LATER if as_of < dates[0] else DEPENDS
