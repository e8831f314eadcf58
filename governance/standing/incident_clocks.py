"""The clocks of an incident: from when each runs, where it stands, when it is escalated, and what is left of it.

A period ends with its last second, so what happens within that second is in time. Pure: the clock of the machine is
not read; whoever asks gives the moment.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from governance.catalogue import Catalogue, Deadline
from governance.conditions.conclusions import RULES
from governance.conditions.reading import Reading
from governance.conditions.truth import Truth
from governance.incident_routes import HEALTH, UNLIKELY, IncidentFacts
from governance.member_states import ZONES

HALF, DAY, HOURS, OVER = "half", "day", "hours", "over"
STEPS = {
    HALF: "half of the time has gone",
    DAY: "24 hours are left",
    HOURS: "6 hours are left",
    OVER: "it has run out",
}
"""Steps of escalation, in the order in which they come."""
SHORT = dt.timedelta(days=2)
"""Clocks up to this length, and those of 72 hours, are escalated six hours before their end as well."""
NEEDS_REASON = frozenset({"GDPR-33"})
"""Deadlines for which the rule itself wants the reasons of a delay (GDPR Art. 33(1))."""


class Standing(StrEnum):
    """Where a clock stands."""

    RUNNING = "running"
    RUN_OUT = "run_out"
    NOT_STARTED = "not_started"
    AT_ONCE = "at_once"
    MET = "met"
    MET_LATE = "met_late"
    EXPLAINED = "explained"
    SUPERSEDED = "superseded"


WORDS = {
    Standing.RUNNING: "Running",
    Standing.RUN_OUT: "Run out",
    Standing.NOT_STARTED: "Not started",
    Standing.AT_ONCE: "Without undue delay",
    Standing.MET: "Sent in time",
    Standing.MET_LATE: "Sent late",
    Standing.EXPLAINED: "Not sent, explained",
    Standing.SUPERSEDED: "Not owed any more",
}
SETTLED = frozenset({Standing.MET, Standing.MET_LATE, Standing.EXPLAINED, Standing.SUPERSEDED})


@dataclass(frozen=True, kw_only=True)
class ClockFacts:
    """One clock as it is kept.

    Attributes:
        timed: Whether its limit is a number of days or hours; *without undue delay* is none.
    """

    deadline: str
    started_at: dt.datetime | None
    due_at: dt.datetime | None
    met_at: dt.datetime | None = None
    delay_reason: str = ""
    superseded: bool = False
    timed: bool = True


def to_second(moment: dt.datetime) -> dt.datetime:
    """The second that a moment lies in: a period of days ends with its last second, all of it."""
    return moment.replace(microsecond=0)


def is_late(due_at: dt.datetime | None, at: dt.datetime) -> bool:
    """Whether a moment lies behind the last second of a period. Never, where the period has no end."""
    return due_at is not None and to_second(at) > due_at


def standing(clock: ClockFacts, now: dt.datetime) -> Standing:
    """Where a clock stands at a moment. A report that was sent stays sent, whatever came after it."""
    if clock.superseded:
        return Standing.SUPERSEDED
    if clock.met_at is not None:
        return Standing.MET_LATE if is_late(clock.due_at, clock.met_at) else Standing.MET
    if clock.delay_reason:
        return Standing.EXPLAINED
    if not clock.timed:
        return Standing.AT_ONCE
    if clock.due_at is None:
        return Standing.NOT_STARTED
    return Standing.RUN_OUT if is_late(clock.due_at, now) else Standing.RUNNING


def lacks_reason(clock: ClockFacts) -> bool:
    """Whether a report was sent late that has to say why, and does not: later facts can make an early report late."""
    late = clock.met_at is not None and is_late(clock.due_at, clock.met_at)
    return late and clock.deadline in NEEDS_REASON and not clock.delay_reason


def awareness(regime: str, facts: IncidentFacts) -> dt.datetime | None:
    """From when the clocks of a regime run: those of the AI Act from the earlier of provider and deployer (Art. 73(2)).

    Vigilance runs from the awareness of the manufacturer, the GDPR from that of the controller.
    """
    if regime == "GDPR":
        return facts.controller_aware_at
    if regime == "AI Act":
        return min((at for at in (facts.aware_at, facts.deployer_aware_at) if at is not None), default=None)
    return facts.aware_at


def is_short(deadline: Deadline) -> bool:
    """Whether a deadline is of 72 hours or of two days at most."""
    period = deadline.period
    return period is not None and (period.unit == "hour" or dt.timedelta(days=period.length) <= SHORT)


def step_moments(*, started_at: dt.datetime, due_at: dt.datetime, short: bool) -> dict[str, dt.datetime]:
    """When each step of escalation is due. ``over`` is the second after the last one."""
    start, end = started_at.astimezone(dt.UTC), due_at.astimezone(dt.UTC)
    moments = {HALF: start + (end - start) / 2, DAY: end - dt.timedelta(hours=24)}
    if short:
        moments[HOURS] = end - dt.timedelta(hours=6)
    return moments | {OVER: end + dt.timedelta(seconds=1)}


def steps_reached(moments: Mapping[str, dt.datetime], taken: Iterable[str], now: dt.datetime) -> tuple[str, ...]:
    """Steps whose moment has come and that were not taken yet, in the order in which they came."""
    done = set(taken)
    due = sorted((moment, step) for step, moment in moments.items() if step not in done and moment <= now)
    return tuple(step for _moment, step in due)


def span_words(seconds: float) -> str:
    """A span in its two largest units: ``3 days 4 h``, ``5 h 12 min``, ``12 min``, ``less than a minute``."""
    minutes = int(abs(seconds)) // 60
    days, hours, left = minutes // 1440, minutes % 1440 // 60, minutes % 60
    if days:
        return f"{days} day{'' if days == 1 else 's'}" + (f" {hours} h" if hours else "")
    if hours:
        return f"{hours} h" + (f" {left} min" if left else "")
    return f"{left} min" if left else "less than a minute"


def left_words(due_at: dt.datetime, now: dt.datetime) -> str:
    """What is left of a clock, in words: ``3 days 4 h left``, ``ran out 2 h 5 min ago``."""
    span = (due_at.astimezone(dt.UTC) - to_second(now).astimezone(dt.UTC)).total_seconds()
    return f"ran out {span_words(span)} ago" if span < 0 else f"{span_words(span)} left"


def moment_words(moment: dt.datetime | None, zone: str) -> str:
    """A moment in a zone: ``22 Nov 2026 23:59:59 CET (Europe/Vienna)``, ``22 Nov 2026 14:05 UTC``; a dash for none."""
    if moment is None:
        return "–"
    there = moment.astimezone(ZoneInfo(zone))
    time = f"{there:%H:%M:%S}" if there.second else f"{there:%H:%M}"
    name = there.tzname() or ""
    return f"{there.day} {there:%b %Y} {time} {name}" + ("" if name == zone else f" ({zone})")


def member_state_of(zone: str) -> str:
    """The Member State of a zone of the platform's list; empty for any other zone."""
    return next((name for name, own in ZONES.values() if own == zone), "")


@dataclass(frozen=True, kw_only=True)
class NotOwed:
    """That a regime wants no report of this incident, and why, with the answers that decide it."""

    regime: str
    reason: str
    questions: tuple[str, ...] = ()


def not_owed(
    answers: Mapping[str, Mapping[str, Any]], facts: IncidentFacts, regimes: Iterable[str]
) -> tuple[NotOwed, ...]:
    """Why regimes that have no clock want no report.

    Args:
        regimes: Those that have a clock, and are left out.
    """
    have, reading = set(regimes), Reading(answers, RULES)
    found = []
    if "AI Act" not in have:
        found.append(_ai_act(reading, facts))
    if not have & {"MDR", "IVDR"}:
        found.append(_vigilance(reading, facts))
    if "GDPR" not in have:
        found.append(_privacy(reading, facts))
    return tuple(found)


def _ai_act(reading: Reading, facts: IncidentFacts) -> NotOwed:
    if not facts.kinds:
        return NotOwed(regime="AI Act", reason="The incident led to none of the harms of Art. 3(49), as recorded.")
    for key in ("hr", "provider"):
        drawn = reading.conclude(key)
        if drawn.truth is Truth.NO:
            return NotOwed(regime="AI Act", reason=drawn.reason, questions=drawn.questions)
    drawn = reading.conclude("annex_i_device")
    told = f"{drawn.reason} Of a device only an infringement of fundamental rights is reported here (Art. 73(10))."
    return NotOwed(regime="AI Act", reason=told, questions=drawn.questions)


def _vigilance(reading: Reading, facts: IncidentFacts) -> NotOwed:
    regime = "MDR and IVDR"
    if HEALTH not in facts.kinds:
        return NotOwed(regime=regime, reason="No harm to health is recorded, and vigilance reports no other harm.")
    for key in ("annex_i_device", "manufacturer"):
        drawn = reading.conclude(key)
        if drawn.truth is Truth.NO:
            return NotOwed(regime=regime, reason=drawn.reason, questions=drawn.questions)
    return NotOwed(regime=regime, reason="The answers lead to no report under the law on devices.")


def _privacy(reading: Reading, facts: IncidentFacts) -> NotOwed:
    if not facts.breach:
        return NotOwed(regime="GDPR", reason="No breach of personal data is recorded.")
    if facts.breach_risk == UNLIKELY:
        told = "The breach is recorded as unlikely to be a risk to people (Art. 33(1)). It is documented all the same."
        return NotOwed(regime="GDPR", reason=told)
    for key in ("personal_data", "controller"):
        drawn = reading.conclude(key)
        if drawn.truth is Truth.NO:
            return NotOwed(regime="GDPR", reason=drawn.reason, questions=drawn.questions)
    return NotOwed(regime="GDPR", reason="The answers lead to no notice under the GDPR.")


def timed(catalogue: Catalogue, deadline: str) -> bool:
    """Whether a deadline is a number of days or hours."""
    found = catalogue.deadlines.get(deadline)
    return found is not None and found.period is not None
