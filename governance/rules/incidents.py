"""The serious-incident report: which regime, which clock, what was done in which order.

Routes and deadlines come from ``governance.incident_routes``; here they are held against the times that were stated.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from django.utils.translation import gettext as _

from governance.applicability import IncidentFacts, Route, Truth, incident_routes
from governance.conditions.conclusions import KINDS
from governance.incident_routes import HIGH_RISK, INFRASTRUCTURE, RIGHTS, RISK, due_at
from governance.member_states import zone_of
from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.checking import answer_source, empty_cells, moment_of, rows
from governance.rules.values import is_empty, plain, same_text

AI_ACT = ("AIA-73-2", "AIA-73-3", "AIA-73-4")
VIGILANCE = {"serious": "MDR-87-3", "death_or_deterioration": "MDR-87-5", "public_health_threat": "MDR-87-4"}
DIGEST = re.compile(r"(sha256:)?[0-9a-f]{64}")

declare_table("AIA-Art20", "informed_parties", "party", "informed_on", "record")


def stated_incident(facts: Facts) -> IncidentFacts:
    """One incident as accepted statements and answers tell it."""
    answered = facts.answer("incident_kinds")
    kinds = {kind for kind in answered if kind in KINDS} if isinstance(answered, list) else set()
    if (category := facts.values("AIA-Art73-10").get("incident_category")) in KINDS:
        kinds.add(category)
    if facts.values("AIA-Art73-3").get("infrastructure") is True:
        kinds.add(INFRASTRUCTURE)
    vigilance = facts.values("MDR-87")
    aware = [moment_of(facts.values(key).get("aware_at")) for key in ("AIA-Art73-2", "MDR-87")]
    return IncidentFacts(
        kinds=tuple(kind for kind in KINDS if kind in kinds),
        # The provider of a device is its manufacturer: of two times that are stated, the earlier one counts.
        aware_at=min((moment for moment in aware if moment is not None), default=None),
        deployer_aware_at=moment_of(facts.values("AIA-Art26-5").get("detected_at")),
        controller_aware_at=moment_of(facts.values("GDPR-33").get("aware_at")),
        death=facts.values("AIA-Art73-4").get("death") is True,
        unanticipated_deterioration=vigilance.get("type") == "death_or_deterioration",
        public_health_threat=vigilance.get("type") == "public_health_threat",
        widespread=facts.values("AIA-Art73-3").get("widespread") is True,
        breach=facts.truth("breach") is Truth.YES,
        breach_risk=HIGH_RISK if facts.values("GDPR-34").get("high_risk") is True else RISK,
        zone=stated_zone(facts),
    )


def stated_zone(facts: Facts) -> dt.tzinfo | None:
    """Where the days of the clocks begin and end: in the Member State of the authority. None where it is not stated."""
    return zone_of(str(facts.values("AIA-Art73-10").get("member_state") or ""))


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
    values, routes = facts.values("AIA-Art73-10"), stated_routes(facts)
    kinds = stated_incident(facts).kinds
    held = tuple(route.reason for route in routes.values())
    filled: dict[str, Any] = {"incident_category": kinds[0]} if len(kinds) == 1 else {}
    contradicted = []
    if RIGHTS in kinds and not any(name in routes for name in AI_ACT):
        contradicted.append(_("Rights were infringed, yet the answers lead to no report under the AI Act."))
    if facts.truth("annex_i_device") is Truth.YES and "ai office" in plain(values.get("authority", "")):
        contradicted.append(_("The report goes to a national authority, not to the AI Office (Art. 75(1))."))
    sources = answer_source(facts, "incident_kinds")
    return Finding(held=held, contradicted=tuple(contradicted), filled=filled, references=sources)


@judged_by("AIA-Art3-49")
def what_happened(facts: Facts) -> Finding:
    values, own = facts.values("AIA-Art3-49"), facts.version
    told, site, persons = values.get("model_version"), values.get("site"), values.get("affected_persons")
    contradicted = []
    if not is_empty(told) and not any(same_text(told, name) for name in (own["label"], own["digest"])):
        words = _("The incident is of version %(told)s, and this report of version %(own)s.")
        contradicted.append(words % {"told": told, "own": own["label"]})
    sites = facts.dossier["sites"]
    if sites and not is_empty(site) and not any(same_text(site, name) for name in sites):
        contradicted.append(_("“%(site)s” is none of the sites that were answered.") % {"site": site})
    if isinstance(persons, int) and persons < 0:
        contradicted.append(_("The number of affected persons is below zero."))
    return Finding(contradicted=tuple(contradicted))


@judged_by("AIA-Art73-2")
def general_clock(facts: Facts) -> Finding:
    """Fifteen days from the earlier awareness; where a shorter clock runs, that one."""
    values = facts.values("AIA-Art73-2")
    return _ai_act_clock(facts, values, AI_ACT, order=("aware_at", "link_established_at", "reported_at"))


@judged_by("AIA-Art73-3")
def urgent_clock(facts: Facts) -> Finding:
    values = facts.values("AIA-Art73-3")
    kinds = facts.answer("incident_kinds")
    own: dict[str, Any] = {}
    if isinstance(kinds, list):
        own["infrastructure"] = INFRASTRUCTURE in kinds
    if values.get("widespread") is False and values.get("infrastructure", own.get("infrastructure")) is False:
        return Finding(held=(_("no ground for the clock of two days"),), filled=own, waived=("reported_at",))
    return _ai_act_clock(facts, values, ("AIA-73-3",), filled=own)


@judged_by("AIA-Art73-4")
def death_clock(facts: Facts) -> Finding:
    values = facts.values("AIA-Art73-4")
    if values.get("death") is False:
        return Finding(held=(_("no death"),), waived=("suspected_at", "reported_at"))
    routes = stated_routes(facts)
    if "AIA-73-4" in routes or "MDR-87-5" not in routes:
        return _ai_act_clock(facts, values, ("AIA-73-4",), order=("suspected_at", "reported_at"))
    vigilance = facts.values("MDR-87").get("reported_at")
    filled = {"reported_at": vigilance} if is_empty(values.get("reported_at")) and vigilance else {}
    return Finding(held=(routes["MDR-87-5"].reason,), filled=filled)


def _ai_act_clock(
    facts: Facts,
    values: Mapping[str, Any],
    names: tuple[str, ...],
    *,
    order: tuple[str, ...] = (),
    filled: Mapping[str, Any] | None = None,
) -> Finding:
    """The most urgent of these deadlines, held against the report that was made to the authority."""
    routes = [route for name, route in stated_routes(facts).items() if name in names]
    own = dict(filled or {})
    reported = values.get("reported_at")
    if is_empty(reported) and (elsewhere := facts.values("AIA-Art73-2").get("reported_at")):
        reported = own["reported_at"] = elsewhere
    held = [route.reason for route in routes]
    contradicted = list(out_of_order(facts, values, *order))
    dues = [route.due_at for route in routes if route.due_at is not None]
    if dues:
        held.append(_("the clock ends at %(due)s") % {"due": clock_words(min(dues))})
        contradicted += late(facts, min(dues), moment_of(reported), _("AI Act Art. 73"))
    return Finding(held=tuple(held), contradicted=tuple(contradicted), filled=own)


@judged_by("AIA-Art73-5")
def initial_and_complete(facts: Facts) -> Finding:
    values = facts.values("AIA-Art73-5")
    first, complete = moment_of(values.get("initial_sent_at")), values.get("complete_sent_at")
    dues = [route.due_at for name, route in stated_routes(facts).items() if name in AI_ACT and route.due_at]
    contradicted = list(out_of_order(facts, values, "initial_sent_at", "complete_sent_at"))
    contradicted += late(facts, min(dues, default=None), first, _("AI Act Art. 73"))
    open_items = values.get("missing_items")
    if isinstance(open_items, list) and open_items and is_empty(complete):
        words = _("the complete report, in which %(items)s are closed") % {"items": ", ".join(map(str, open_items))}
        return Finding(lacking=(words,), contradicted=tuple(contradicted))
    # A first report that lacks nothing is the complete one.
    waived = () if is_empty(complete) and not first else ("missing_items",)
    return Finding(contradicted=tuple(contradicted), waived=waived)


@judged_by("AIA-Art73-6")
def investigation(facts: Facts) -> Finding:
    values = facts.values("AIA-Art73-6")
    snapshot, lacking = values.get("evidence_snapshot_hash"), []
    contradicted: tuple[str, ...] = ()
    if not is_empty(snapshot) and not DIGEST.fullmatch(plain(snapshot)):
        lacking.append(_("the SHA-256 of the frozen snapshot of model, configuration and logs"))
    if values.get("authority_informed_before_change") is False:
        contradicted = (_("The system was changed before the authority was informed (Art. 73(6))."),)
    return Finding(lacking=tuple(lacking), contradicted=contradicted)


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
    times = dict(facts.values("AIA-Art26-5")) | {"reported_at": facts.values("AIA-Art73-2").get("reported_at")}
    return Finding(contradicted=out_of_order(facts, times, "detected_at", "provider_informed_at", "reported_at"))


@judged_by("GDPR-33")
def breach_to_authority(facts: Facts) -> Finding:
    """Seventy-two hours, exactly; later only with the reasons for it (Art. 33(1))."""
    values = facts.values("GDPR-33")
    aware, notified = moment_of(values.get("aware_at")), moment_of(values.get("notified_at"))
    if aware is None:
        return Finding()
    due = due_at(facts.catalogue.deadlines["GDPR-33"], aware, stated_zone(facts))
    contradicted = list(out_of_order(facts, values, "aware_at", "notified_at"))
    held = (_("the 72 hours end at %(due)s") % {"due": clock_words(due)},) if due else ()
    missed = late(facts, due, notified, _("GDPR Art. 33(1)"))
    if is_empty(values.get("delay_reason")):
        contradicted += missed
    in_time = notified is not None and not missed
    return Finding(held=held, contradicted=tuple(contradicted), waived=("delay_reason",) if in_time else ())


@judged_by("GDPR-34")
def breach_to_people(facts: Facts) -> Finding:
    values = facts.values("GDPR-34")
    high, exception = values.get("high_risk"), values.get("exception")
    if high is False:
        return Finding(waived=("message", "exception"))
    if high is not True:
        return Finding()
    if not is_empty(values.get("message")):
        return Finding(waived=("exception",))
    if exception in ("a", "b", "c"):
        lacking = () if facts.text("GDPR-34") else (_("the reason for the exception, in the text of the statement"),)
        return Finding(lacking=lacking, waived=("message",))
    if exception == "none":
        return Finding(contradicted=(_("The risk is high, yet nobody was told, without an exception (Art. 34)."),))
    return Finding()


@judged_by("MDR-87")
def vigilance_clock(facts: Facts) -> Finding:
    """Fifteen, ten or two days from the manufacturer's awareness, by the type of the incident."""
    values = facts.values("MDR-87")
    name, aware = VIGILANCE.get(str(values.get("type"))), stated_incident(facts).aware_at
    if name is None or aware is None:
        return Finding()
    deadline = facts.catalogue.deadlines[name]
    due = due_at(deadline, aware, stated_zone(facts))
    contradicted = list(out_of_order(facts, values, "aware_at", "reported_at"))
    own, other = moment_of(values.get("aware_at")), moment_of(facts.values("AIA-Art73-2").get("aware_at"))
    if own and other and own != other:
        words = _("Awareness is stated at %(own)s here, but at %(other)s under the AI Act; the earlier time counts.")
        contradicted.append(words % {"own": clock_words(own), "other": clock_words(other)})
    contradicted += late(facts, due, moment_of(values.get("reported_at")), deadline.source)
    if facts.values("AIA-Art73-4").get("death") is True and values.get("type") == "serious":
        contradicted.append(_("A death is stated: the clock is that of Art. 87(5), ten days, not that of Art. 87(3)."))
    held = (_("the clock ends at %(due)s") % {"due": clock_words(due)},) if due else ()
    return Finding(held=held, contradicted=tuple(contradicted))
