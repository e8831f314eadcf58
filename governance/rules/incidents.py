"""The serious-incident report: which regime, which clock, what was done in which order.

Routes and deadlines come from ``governance.incident_routes``; here they are held against the times that were stated.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from django.utils.translation import gettext as _

from governance.applicability import IncidentFacts, Route, Truth, incident_routes
from governance.conditions.conclusions import KINDS
from governance.incident_routes import HIGH_RISK, INFRASTRUCTURE, RIGHTS, RISK, due_at
from governance.member_states import zone_of
from governance.rules import Facts, Finding, Reference, declare_table, judged_by
from governance.rules.checking import answer_source, empty_cells, moment_of, rows
from governance.rules.incident_register import (
    CLOCKS,
    breach_risk_of,
    chosen_breach,
    chosen_incident,
    earliest,
    hold_incident,
    unreported,
)
from governance.rules.notes import Notes
from governance.rules.use_register import hold_suspension
from governance.rules.values import is_empty, plain, same_text

AI_ACT = ("AIA-73-2", "AIA-73-3", "AIA-73-4")
VIGILANCE = {"serious": "MDR-87-3", "death_or_deterioration": "MDR-87-5", "public_health_threat": "MDR-87-4"}
DIGEST = re.compile(r"(sha256:)?[0-9a-f]{64}")

declare_table("AIA-Art20", "informed_parties", "party", "informed_on", "record")


def stated_incident(facts: Facts) -> IncidentFacts:
    """One incident as accepted statements, answers and the register tell it: of two times the earlier one counts."""
    known, breach = chosen_incident(facts), chosen_breach(facts)
    answered = facts.answer("incident_kinds")
    kinds = {kind for kind in answered if kind in KINDS} if isinstance(answered, list) else set()
    if (category := facts.values("AIA-Art73-10").get("incident_category")) in KINDS:
        kinds.add(category)
    if facts.values("AIA-Art73-3").get("infrastructure") is True:
        kinds.add(INFRASTRUCTURE)
    kinds |= set(known.kinds) if known else set()
    vigilance = {facts.values("MDR-87").get("type"), known.vigilance if known else None}
    stated_risk = HIGH_RISK if facts.values("GDPR-34").get("high_risk") is True else None
    return IncidentFacts(
        kinds=tuple(kind for kind in KINDS if kind in kinds),
        # The provider of a device is its manufacturer.
        aware_at=_known_at(facts, "aware_at", ("AIA-Art73-2", "aware_at"), ("MDR-87", "aware_at")),
        deployer_aware_at=_known_at(facts, "deployer_aware_at", ("AIA-Art26-5", "detected_at")),
        controller_aware_at=_known_at(facts, "controller_aware_at", ("GDPR-33", "aware_at")),
        death=facts.values("AIA-Art73-4").get("death") is True or bool(known and known.told["death"]),
        unanticipated_deterioration="death_or_deterioration" in vigilance,
        public_health_threat="public_health_threat" in vigilance,
        widespread=facts.values("AIA-Art73-3").get("widespread") is True or bool(known and known.told["widespread"]),
        breach=facts.truth("breach") is Truth.YES or breach is not None,
        breach_risk=stated_risk or breach_risk_of(breach) or RISK,
        zone=stated_zone(facts),
    )


def _known_at(facts: Facts, name: str, *places: tuple[str, str]) -> dt.datetime | None:
    """The earliest time of awareness that is stated in these fields or stands in the register."""
    known = chosen_breach(facts) if name == "controller_aware_at" else chosen_incident(facts)
    stated = [moment_of(facts.values(key).get(field)) for key, field in places]
    return earliest(*stated, known.at(name) if known else None)


def stated_zone(facts: Facts) -> dt.tzinfo | None:
    """Where the days of the clocks begin and end: in the Member State of the authority, else where the incident was.

    None where neither is known.
    """
    zone, known = zone_of(str(facts.values("AIA-Art73-10").get("member_state") or "")), chosen_incident(facts)
    return zone or (known.zone if known else None)


def stated_routes(facts: Facts) -> dict[str, Route]:
    """Where that incident is to be reported, by the deadline's identifier."""
    routes = incident_routes(facts.dossier["answers"], stated_incident(facts), facts.catalogue)
    return {route.deadline: route for route in routes}


def clock_words(due: dt.datetime) -> str:
    """A deadline as reports print it."""
    return due.isoformat(sep=" ", timespec="minutes")


def late(facts: Facts, due: dt.datetime | None, done: dt.datetime | None, source: str) -> tuple[str, ...]:
    """A sentence where a deadline was missed: by what was sent too late, or by nothing that was sent yet."""
    if due is None or (done is not None and done <= due) or (done is None and facts.as_of <= due):
        return ()
    if done is None:
        return (_("%(source)s: the report was due by %(due)s, and none is stated.") % _told(source, due),)
    words = _("%(source)s: the report was due by %(due)s and made at %(done)s.")
    return (words % (_told(source, due) | {"done": clock_words(done)}),)


def _told(source: str, due: dt.datetime) -> dict[str, str]:
    return {"source": source, "due": clock_words(due)}


def out_of_order(facts: Facts, values: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    """A sentence for each stated moment that lies before the one that is named ahead of it."""
    known = [(name, moment) for name in names if (moment := moment_of(values.get(name))) is not None]
    found = []
    for (first, early), (second, following) in pairwise(known):
        if following < early:
            told = {"second": facts.catalogue.field_label(second), "first": facts.catalogue.field_label(first)}
            found.append(_("“%(second)s” lies before “%(first)s”.") % told)
    return tuple(found)


@judged_by("AIA-Art73-10")
def regime(facts: Facts) -> Finding:
    notes, routes = Notes(facts, "AIA-Art73-10"), stated_routes(facts)
    kinds = stated_incident(facts).kinds
    if len(kinds) == 1:
        notes.fill("incident_category", kinds[0])
    if (known := chosen_incident(facts)) is not None:
        hold_incident(notes, known)
    for route in routes.values():
        notes.hold(route.reason)
    if RIGHTS in kinds and not any(name in routes for name in AI_ACT):
        notes.contradict(_("Rights were infringed, yet the answers lead to no report under the AI Act."))
    if facts.truth("annex_i_device") is Truth.YES and "ai office" in plain(notes.stated.get("authority", "")):
        notes.contradict(_("The report goes to a national authority, not to the AI Office (Art. 75(1))."))
    return _sourced(notes, *answer_source(facts, "incident_kinds"))


def _sourced(notes: Notes, *references: Reference) -> Finding:
    finding = notes.finding()
    return replace(finding, references=(*references, *finding.references))


@judged_by("AIA-Art3-49")
def what_happened(facts: Facts) -> Finding:
    notes, own = Notes(facts, "AIA-Art3-49"), facts.version
    values, known = notes.stated, chosen_incident(facts)
    if known is not None:
        named = own["label"] if known.told["version"] == own["digest"] else None
        # A digest names the same version as its label.
        named = None if same_text(values.get("model_version"), own["digest"]) else named
        hold_incident(
            notes, known, model_version=named, site=known.told["site"], affected_persons=known.told["affected_persons"]
        )
    told, site, persons = values.get("model_version"), values.get("site"), values.get("affected_persons")
    if not is_empty(told) and not any(same_text(told, name) for name in (own["label"], own["digest"])):
        words = _("The incident is of version %(told)s, and this report of version %(own)s.")
        notes.contradict(words % {"told": told, "own": own["label"]})
    sites = facts.dossier["sites"]
    if sites and not is_empty(site) and not any(same_text(site, name) for name in sites):
        notes.contradict(_("“%(site)s” is none of the sites that were answered.") % {"site": site})
    if isinstance(persons, int) and persons < 0:
        notes.contradict(_("The number of affected persons is below zero."))
    return notes.finding()


@judged_by("AIA-Art73-2")
def general_clock(facts: Facts) -> Finding:
    """Fifteen days from the earlier awareness; where a shorter clock runs, that one."""
    notes, known = Notes(facts, "AIA-Art73-2"), chosen_incident(facts)
    if known is not None:
        hold_incident(notes, known, aware_at=known.told["aware_at"], reported_at=known.sent(*AI_ACT))
    return _ai_act_clock(notes, AI_ACT, order=("aware_at", "link_established_at", "reported_at"))


@judged_by("AIA-Art73-3")
def urgent_clock(facts: Facts) -> Finding:
    notes, known = Notes(facts, "AIA-Art73-3"), chosen_incident(facts)
    kinds, told = facts.answer("incident_kinds"), known.kinds if known else ()
    infrastructure = INFRASTRUCTURE in {*kinds, *told} if isinstance(kinds, list) else INFRASTRUCTURE in told or None
    notes.fill("infrastructure", infrastructure)
    if known is not None:
        hold_incident(notes, known, widespread=known.told["widespread"], reported_at=known.sent("AIA-73-3"))
    ground = notes.stated.get("infrastructure", infrastructure)
    if notes.stated.get("widespread") is False and ground is False and not known_widespread(facts):
        notes.hold(_("no ground for the clock of two days"))
        notes.waive("reported_at")
        unreported(notes)
        return notes.finding()
    return _ai_act_clock(notes, ("AIA-73-3",))


def known_widespread(facts: Facts) -> bool:
    known = chosen_incident(facts)
    return known is not None and bool(known.told["widespread"])


@judged_by("AIA-Art73-4")
def death_clock(facts: Facts) -> Finding:
    notes, known = Notes(facts, "AIA-Art73-4"), chosen_incident(facts)
    values, died = notes.stated, known is not None and bool(known.told["death"])
    if known is not None:
        sent = known.sent("AIA-73-4", "MDR-87-5") if died else ""
        hold_incident(notes, known, death=known.told["death"], reported_at=sent)
    if values.get("death") is False and not died:
        notes.hold(_("no death"))
        notes.waive("suspected_at", "reported_at")
        unreported(notes)
        return notes.finding()
    routes = stated_routes(facts)
    if "AIA-73-4" in routes or "MDR-87-5" not in routes:
        return _ai_act_clock(notes, ("AIA-73-4",), order=("suspected_at", "reported_at"))
    notes.hold(routes["MDR-87-5"].reason)
    notes.fill_if_silent("reported_at", facts.values("MDR-87").get("reported_at"))
    unreported(notes)
    return notes.finding()


def _ai_act_clock(notes: Notes, names: tuple[str, ...], *, order: tuple[str, ...] = ()) -> Finding:
    """The most urgent of these deadlines, held against the report that was made to the authority."""
    facts, known = notes.facts, chosen_incident(notes.facts)
    routes = [route for name, route in stated_routes(facts).items() if name in names]
    reported = notes.stated.get("reported_at")
    if is_empty(reported) and (elsewhere := facts.values("AIA-Art73-2").get("reported_at")):
        reported = elsewhere
        notes.fill("reported_at", elsewhere)
    for route in routes:
        notes.hold(route.reason)
    for words in out_of_order(facts, notes.stated, *order):
        notes.contradict(words)
    told = unreported(notes, reported=reported)
    dues = [route.due_at for route in routes if route.due_at is not None]
    if dues:
        notes.hold(_("the clock ends at %(due)s") % {"due": clock_words(min(dues))})
        sent = reported or (known.sent(*names) if known else None)
        # What the register shows as missing was told above, with the number of the incident.
        if sent or not told:
            for words in late(facts, min(dues), moment_of(sent), _("AI Act Art. 73")):
                notes.contradict(words)
    return notes.finding()


@judged_by("AIA-Art73-5")
def initial_and_complete(facts: Facts) -> Finding:
    values = facts.values("AIA-Art73-5")
    first, complete = moment_of(values.get("initial_sent_at")), values.get("complete_sent_at")
    dues = [route.due_at for name, route in stated_routes(facts).items() if name in AI_ACT and route.due_at]
    contradicted = list(out_of_order(facts, values, "initial_sent_at", "complete_sent_at"))
    known = chosen_incident(facts)
    sent = first or moment_of(known.sent(*AI_ACT) if known else None)
    contradicted += late(facts, min(dues, default=None), sent, _("AI Act Art. 73"))
    open_items = values.get("missing_items")
    if isinstance(open_items, list) and open_items and is_empty(complete):
        words = _("the complete report, in which %(items)s are closed") % {"items": ", ".join(map(str, open_items))}
        return Finding(lacking=(words,), contradicted=tuple(contradicted))
    # A first report that lacks nothing is the complete one.
    waived = () if is_empty(complete) and not first else ("missing_items",)
    return Finding(contradicted=tuple(contradicted), waived=waived)


@judged_by("AIA-Art73-6")
def investigation(facts: Facts) -> Finding:
    notes, known = Notes(facts, "AIA-Art73-6"), chosen_incident(facts)
    snapshot = notes.stated.get("evidence_snapshot_hash")
    if known is not None:
        hold_incident(notes, known)
        if not known.open:
            notes.fill_if_silent("root_cause", known.told["root_cause"], known.reference)
    notes.lack(
        _("the SHA-256 of the frozen snapshot of model, configuration and logs"),
        when=not is_empty(snapshot) and not DIGEST.fullmatch(plain(snapshot)),
    )
    notes.contradict(
        _("The system was changed before the authority was informed (Art. 73(6))."),
        when=notes.stated.get("authority_informed_before_change") is False,
    )
    return notes.finding()


@judged_by("AIA-Art75-route")
def supervisor(facts: Facts) -> Finding:
    """Products under Annex I stay with national authorities, whoever made the model."""
    device = facts.truth("annex_i_device")
    if device is Truth.UNKNOWN:
        return Finding()
    filled: dict[str, Any] = {"annex_i_product": True} if device is Truth.YES else {}
    held = (_("a product under Annex I: the recipient is a national authority"),) if device is Truth.YES else ()
    return Finding(held=held, filled=filled, references=answer_source(facts, "device_law"))


@judged_by("AIA-Art20")
def corrective_action(facts: Facts) -> Finding:
    table = rows(facts.values("AIA-Art20"), "informed_parties")
    gaps = empty_cells(table, "informed_on", "record")
    return Finding(lacking=(_("day and record for every party that was informed"),) if gaps else ())


@judged_by("AIA-Art26-5")
def deployer_informs(facts: Facts) -> Finding:
    notes, known = Notes(facts, "AIA-Art26-5"), chosen_incident(facts)
    if known is not None:
        hold_incident(notes, known, detected_at=known.told["deployer_aware_at"])
        hold_suspension(notes, known)
    times = dict(notes.stated) | {"reported_at": facts.values("AIA-Art73-2").get("reported_at")}
    for words in out_of_order(facts, times, "detected_at", "provider_informed_at", "reported_at"):
        notes.contradict(words)
    return notes.finding()


@judged_by("MDR-87")
def vigilance_clock(facts: Facts) -> Finding:
    """Fifteen, ten or two days from the manufacturer's awareness, by the type of the incident."""
    notes, known = Notes(facts, "MDR-87"), chosen_incident(facts)
    told, values = stated_incident(facts), notes.stated
    harmed = known if known is not None and known.vigilance else None
    if harmed is not None:
        hold_incident(
            notes,
            harmed,
            aware_at=harmed.told["aware_at"],
            type=harmed.vigilance,
            reported_at=harmed.sent(*CLOCKS["MDR-87"]),
        )
    missing = unreported(notes, reported=values.get("reported_at"))
    name = VIGILANCE.get(str(values.get("type") or (harmed.vigilance if harmed else "")))
    if name is None or told.aware_at is None:
        return notes.finding()
    deadline = facts.catalogue.deadlines[name]
    due = due_at(deadline, told.aware_at, stated_zone(facts))
    for words in out_of_order(facts, values, "aware_at", "reported_at"):
        notes.contradict(words)
    own, other = moment_of(values.get("aware_at")), moment_of(facts.values("AIA-Art73-2").get("aware_at"))
    if own and other and own != other:
        words = _("Awareness is stated at %(own)s here, but at %(other)s under the AI Act; the earlier time counts.")
        notes.contradict(words % {"own": clock_words(own), "other": clock_words(other)})
    sent = moment_of(values.get("reported_at") or (harmed.sent(*CLOCKS["MDR-87"]) if harmed else None))
    if sent or not missing:
        for words in late(facts, due, sent, deadline.source):
            notes.contradict(words)
    if facts.values("AIA-Art73-4").get("death") is True and values.get("type") == "serious":
        notes.contradict(_("A death is stated: the clock is that of Art. 87(5), ten days, not that of Art. 87(3)."))
    if due:
        notes.hold(_("the clock ends at %(due)s") % {"due": clock_words(due)})
    return notes.finding()
