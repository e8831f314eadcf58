"""What a policy asks of the monitoring of versions in use, and what it has done about a critical alarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from core.models import Role
from governance.policies.findings import ItemFinding, State
from governance.policies.reading import Reader
from governance.policies.words import day, listed, moment

MONITORING = "monitoring"
TITLE = "It is watched where it runs"
WHO = (Role.AUDITOR.value,)
DEFAULT_SILENCE = 31
GRACE = timedelta(days=7)
"""Within which a deployment that has begun is given its monitor, which takes a deployment to be made of."""


class Reaction(StrEnum):
    """What is done about a critical alarm, beyond telling people of it."""

    TELL = "tell"
    INCIDENT = "incident"
    SUSPEND = "suspend"
    BOTH = "both"

    @property
    def suspends(self) -> bool:
        return self in (Reaction.SUSPEND, Reaction.BOTH)

    @property
    def opens_incident(self) -> bool:
        return self in (Reaction.INCIDENT, Reaction.BOTH)


@dataclass(frozen=True, kw_only=True)
class MonitoringRules:
    """The section ``monitoring`` of a policy.

    Attributes:
        required: Whether each running deployment needs an active monitor.
        max_silence_days: The end of the last judged window, or the start of the deployment, is at most as old.
        critical_breach: What follows on a critical alarm by itself.
    """

    required: bool = True
    max_silence_days: int = DEFAULT_SILENCE
    critical_breach: Reaction = Reaction.TELL

    def to_dict(self) -> dict[str, Any]:
        return {
            "required": self.required,
            "max_silence_days": self.max_silence_days,
            "critical_breach": str(self.critical_breach),
        }


@dataclass(frozen=True, kw_only=True)
class WatchFact:
    """One running deployment of the version, and how it is watched.

    Attributes:
        place: Where it runs.
        monitors: How many active monitors it has.
        watched_until: Until when it is known to be watched: the end of the newest judged window of one of them, or when
            it was judged where that was earlier. Windows of long ago that are judged today tell of long ago.
    """

    place: str
    started_at: datetime
    monitors: int
    watched_until: datetime | None


def read_monitoring(value: Any, reader: Reader) -> MonitoringRules | None:
    """The section as it is written; None where it is left out."""
    if value is None:
        return None
    known = ("required", "max_silence_days", "critical_breach")
    body: Mapping[str, Any] = reader.mapping(value, (MONITORING,), required=(), optional=known)
    breach = body.get("critical_breach", Reaction.TELL.value)
    days = body.get("max_silence_days", DEFAULT_SILENCE)
    return MonitoringRules(
        required=reader.truth(body.get("required", True), (MONITORING, "required")),
        max_silence_days=reader.number(days, (MONITORING, "max_silence_days"), least=1, most=3650),
        critical_breach=Reaction(
            reader.choice(breach, (MONITORING, "critical_breach"), [item.value for item in Reaction])
        ),
    )


def judge_monitoring(rules: MonitoringRules, watched: Sequence[WatchFact], *, now: datetime) -> ItemFinding | None:
    """How the running deployments are watched; None where nothing is asked or the version runs nowhere."""
    if not rules.required or not watched:
        return None
    ends = {fact: _until(fact, rules) for fact in watched}
    late = [fact for fact in watched if now > ends[fact]]
    if bare := [fact.place for fact in late if not fact.monitors]:
        return _finding(
            State.MISSING,
            f"No active monitor watches it at {listed(bare)}.",
            remedy="Make a monitor of the deployment, resume the one that is paused, or mend the one that failed.",
        )
    if late:
        told = [f"{fact.place}: {_last(fact)}" for fact in late]
        return _finding(
            State.STALE,
            f"No window of the last {rules.max_silence_days} days is judged. {'; '.join(told)}.",
            remedy="See on the monitor's page why its windows are empty, refused, late or still being caught up.",
            heard=min(_heard(fact) for fact in late),
            until=min(ends[fact] for fact in late),
        )
    first = min(watched, key=lambda fact: ends[fact])
    return _finding(
        State.MET,
        f"{'Each' if all(fact.monitors for fact in watched) else 'Not each'} of its {len(watched)} running "
        f"deployments is watched. First due: {first.place}, {_last(first)}. That counts until {moment(ends[first])}.",
        heard=first.watched_until,
        until=ends[first],
    )


def sentence(rules: MonitoringRules) -> str:
    """The section in words."""
    asked = (
        f"Each running deployment has an active monitor with a judged window that ended within "
        f"{rules.max_silence_days} days."
        if rules.required
        else "No monitor is asked for."
    )
    reaction = {
        Reaction.TELL: "A critical alarm is told, and people decide.",
        Reaction.INCIDENT: "A critical alarm opens an incident.",
        Reaction.SUSPEND: "A critical alarm suspends the deployment.",
        Reaction.BOTH: "A critical alarm suspends the deployment and opens an incident.",
    }[rules.critical_breach]
    return f"{asked} {reaction}"


def _heard(fact: WatchFact) -> datetime:
    """The last sign of its monitoring; before the first, its start."""
    return max(fact.watched_until, fact.started_at) if fact.watched_until else fact.started_at


def _until(fact: WatchFact, rules: MonitoringRules) -> datetime:
    """Until when it counts: what is watched until it was silent too long, what is not until its monitor is due."""
    span = timedelta(days=rules.max_silence_days)
    return _heard(fact) + span if fact.monitors else fact.started_at + min(span, GRACE)


def _last(fact: WatchFact) -> str:
    if not fact.monitors:
        return f"no active monitor yet, in use since {day(fact.started_at)}"
    if fact.watched_until is None:
        return f"no window judged yet, in use since {day(fact.started_at)}"
    return f"watched until {day(fact.watched_until)}"


def _finding(
    state: State, statement: str, *, remedy: str = "", heard: datetime | None = None, until: datetime | None = None
) -> ItemFinding:
    return ItemFinding(
        item=MONITORING,
        kind=MONITORING,
        title=TITLE,
        state=state,
        statement=statement,
        remedy=remedy,
        who=WHO if remedy else (),
        evidence_at=heard,
        expires_at=until,
    )
