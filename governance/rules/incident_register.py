"""What the register of incidents shows of this version: times, clocks, reports that were sent or are missing.

One incident is what the statements are about: the one whose time of awareness is stated; else the newest that is not
closed; else the newest. What is stated of a breach is about one with a breach. Its facts fill what nobody stated and
contradict what is stated otherwise. The clocks of every incident of the version count. A box that was not ticked is
no fact: nothing is filled with *no* from the register.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from governance.conditions.conclusions import KINDS
from governance.conditions.truth import Truth
from governance.incident_routes import HEALTH, HIGH_RISK
from governance.rules import Facts, Reference
from governance.rules.checking import moment_of
from governance.rules.notes import Notes
from governance.rules.values import same_text

MINUTE = dt.timedelta(minutes=1)
"""Statements are given to the minute, the register keeps seconds."""
CLOCKS = {
    "AIA-Art73-2": ("AIA-73-2",),
    "AIA-Art73-3": ("AIA-73-3",),
    "AIA-Art73-4": ("AIA-73-4",),
    "MDR-87": ("MDR-87-3", "MDR-87-4", "MDR-87-5"),
    "GDPR-33": ("GDPR-33",),
}
"""Requirement -> the deadlines whose reports it asks for."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """One incident of the register. ``told`` is its part of the dossier."""

    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        return _("incident %(number)s of the register") % {"number": self.told["number"]}

    @property
    def open(self) -> bool:
        return bool(self.told["status"] != "closed")

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind in KINDS if kind in self.told["kinds"])

    @property
    def zone(self) -> dt.tzinfo:
        return ZoneInfo(self.told["zone"])

    @property
    def reference(self) -> Reference:
        name = _("Register of incidents, entry %(number)s") % {"number": self.told["number"]}
        return Reference(kind="incident", name=name, href_id=str(self.told["id"]))

    @property
    def vigilance(self) -> str:
        """The type under MDR Art. 87, or an empty text where no harm to health is recorded."""
        if HEALTH not in self.told["kinds"]:
            return ""
        if self.told["public_health_threat"]:
            return "public_health_threat"
        graver = self.told["death"] or self.told["unanticipated_deterioration"]
        return "death_or_deterioration" if graver else "serious"

    def at(self, name: str) -> dt.datetime | None:
        return moment_of(self.told[name])

    def clocks(self, *deadlines: str) -> list[Mapping[str, Any]]:
        return [clock for clock in self.told["clocks"] if clock["deadline"] in deadlines]

    def sent(self, *deadlines: str) -> str | None:
        """When the first of these reports was sent."""
        return min((str(clock["sent_at"]) for clock in self.clocks(*deadlines) if clock["sent_at"]), default=None)

    def delay_reason(self, deadline: str) -> str:
        return next((str(clock["delay_reason"]) for clock in self.clocks(deadline)), "")


def incidents_of(facts: Facts) -> list[Known]:
    """Incidents of this version, and those of which it is not known what version they are of."""
    told = facts.dossier.get("registers", {}).get("incidents", [])
    return [Known(told=row) for row in told if row["version"] in (None, facts.version["digest"])]


def chosen_incident(facts: Facts) -> Known | None:
    """The incident that the statements are about; None where the register has none of this version."""
    known = incidents_of(facts)
    stated = {
        "aware_at": [facts.values(key).get("aware_at") for key in ("AIA-Art73-2", "MDR-87")],
        "deployer_aware_at": [facts.values("AIA-Art26-5").get("detected_at")],
    }
    return _chosen([incident for incident in known if incident.kinds] or known, stated)


def chosen_breach(facts: Facts) -> Known | None:
    """The breach of personal data that the statements are about; None where the register has none of this version."""
    known = [incident for incident in incidents_of(facts) if incident.told["breach"]]
    return _chosen(known, {"controller_aware_at": [facts.values("GDPR-33").get("aware_at")]})


def _chosen(known: list[Known], stated: Mapping[str, list[Any]]) -> Known | None:
    for name, values in stated.items():
        for incident in known:
            if any(moment_of(value) and same_moment(value, incident.told[name]) for value in values):
                return incident
    return max(known, key=lambda incident: (incident.open, incident.told["number"]), default=None)


def same_moment(one: Any, other: Any) -> bool:
    """Whether two moments are the same to the minute, in whatever zones they are told."""
    first, second = moment_of(one), moment_of(other)
    return first is not None and second is not None and abs(first - second) < MINUTE


def earliest(*moments: dt.datetime | None) -> dt.datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


def hold_incident(notes: Notes, incident: Known, **given: Any) -> None:
    """Note an incident of the register, fill fields from it, and tell where a statement differs.

    Args:
        given: Field -> value of the register; None and an empty text say nothing. A yes counts, a no only where yes
            is stated.
    """
    notes.hold(incident.name, incident.reference)
    filled = [name for name, value in given.items() if _settle(notes, incident, name, value)]
    if filled and incident.open:
        # What is not closed may still be amended: a fact that only stands there is no final one.
        fields = ", ".join(notes.facts.catalogue.field_label(name) for name in filled)
        words = _("the end of %(incident)s, or an accepted statement: until then its facts may change (%(fields)s)")
        notes.lack(words % {"incident": incident.name, "fields": fields})


def _settle(notes: Notes, incident: Known, name: str, value: Any) -> bool:
    """Hold one fact of the register against what is stated. Whether it filled the field."""
    stated = notes.stated.get(name)
    if value in (None, "") or (value is False and stated is not True):
        return False
    if not notes.has(name):
        notes.fill(name, value, incident.reference)
        return True
    if not (same_moment(stated, value) if moment_of(value) else same_text(stated, value)):
        words = _("%(field)s is stated as “%(told)s”; %(incident)s says “%(own)s”.")
        told = {"field": notes.facts.catalogue.field_label(name), "told": _spoken(stated), "own": _spoken(value)}
        notes.contradict(words % (told | {"incident": incident.name}))
    return False


def _spoken(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    moment = moment_of(value) if isinstance(value, str) else None
    return moment.isoformat(sep=" ", timespec="minutes") if moment else str(value)


def missed_in_register(facts: Facts, requirement: str, *, reported: dt.datetime | None = None) -> Missed:
    """Reports of every incident of this version that the register shows as missing or late.

    Args:
        reported: When the chosen incident's report is stated to have been made, though the register may not know.
    """
    late: list[str] = []
    lacking: list[str] = []
    chosen = chosen_breach(facts) if requirement == "GDPR-33" else chosen_incident(facts)
    for incident in incidents_of(facts):
        own = incident.told["number"] == chosen.told["number"] if chosen else False
        for clock in incident.clocks(*CLOCKS[requirement]):
            _tell(facts, incident, clock, reported if own else None, late, lacking)
    return Missed(contradicted=tuple(late), lacking=tuple(lacking))


@dataclass(frozen=True, kw_only=True)
class Missed:
    """``contradicted``: owed and not sent, or sent too late. ``lacking``: perhaps owed, or explained and not sent."""

    contradicted: tuple[str, ...]
    lacking: tuple[str, ...]


def _tell(
    facts: Facts,
    incident: Known,
    clock: Mapping[str, Any],
    reported: dt.datetime | None,
    late: list[str],
    lacking: list[str],
) -> None:
    deadline, due, sent = facts.catalogue.deadlines[clock["deadline"]], moment_of(clock["due_at"]), clock["sent_at"]
    told = {"incident": incident.name, "source": deadline.source, "reason": clock["delay_reason"]}
    told |= {"due": _spoken(clock["due_at"]), "done": _spoken(sent)}
    explained = clock["delay_reason"] and deadline.regime == "GDPR"
    if sent is None and reported is not None:
        lacking.append(_("the entry in the register that the report of %(incident)s was sent (%(source)s)") % told)
    elif sent is None and clock["delay_reason"] and not explained:
        words = _("the report of %(incident)s by %(source)s: none was sent, for this reason: %(reason)s")
        lacking.append(words % told)
    elif due is None or explained or _second(moment_of(sent) or facts.as_of) <= due:
        return
    elif sent is not None:
        late.append(_("%(source)s: the report of %(incident)s was due by %(due)s and sent at %(done)s.") % told)
    elif clock["owed"] == Truth.YES.value:
        late.append(_("%(source)s: the report of %(incident)s was due by %(due)s, and none was sent.") % told)
    else:
        words = _("an answer that decides whether %(incident)s is reported by %(source)s: its clock ended at %(due)s")
        lacking.append(words % told)


def _second(moment: dt.datetime) -> dt.datetime:
    """A period ends with its last second, all of it."""
    return moment.replace(microsecond=0)


def unreported(notes: Notes, *, reported: Any = None) -> bool:
    """Note what the register shows as missing or late of the reports that the requirement asks for. Whether it did."""
    missed = missed_in_register(notes.facts, notes.id, reported=moment_of(reported))
    for words in missed.contradicted:
        notes.contradict(words)
    for words in missed.lacking:
        notes.lack(words)
    return bool(missed.contradicted or missed.lacking)


def answered_otherwise(dossier: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for each answer that no incident or no breach occurred, where the register has one of this version."""
    told = dossier.get("registers", {}).get("incidents", [])
    own = [row for row in told if row["version"] in (None, dossier["version"]["digest"])]
    return tuple(_clashes(dossier["answers"], own))


def _clashes(answers: Mapping[str, Mapping[str, Any]], own: Iterable[Mapping[str, Any]]) -> list[str]:
    found = []
    known = {
        "incident": [row["number"] for row in own if row["kinds"]],
        "breach": [row["number"] for row in own if row["breach"]],
    }
    words = {
        "incident": _("The questionnaire says that no incident occurred; the register has incident %(numbers)s."),
        "breach": _("The questionnaire says that no breach occurred; the register has one: incident %(numbers)s."),
    }
    for question, numbers in known.items():
        if numbers and answers.get(question, {}).get("value") is False:
            found.append(words[question] % {"numbers": ", ".join(map(str, numbers))})
    return found


def breach_risk_of(incident: Known | None) -> str:
    """The risk of a breach as the register rates it; empty where there is no breach."""
    return str(incident.told["breach_risk"]) if incident is not None and incident.told["breach"] else ""


def high_risk(incident: Known | None) -> bool:
    return breach_risk_of(incident) == HIGH_RISK
