"""Articles 14 and 26(2): what lets people watch, understand, overrule and stop the system."""

from __future__ import annotations

from django.utils.translation import gettext as _

from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.annex_iv import hold_audits
from governance.rules.notes import Notes, uncovered
from governance.rules.use_register import (
    fill_text,
    hold_measures,
    hold_overrides,
    hold_sites,
    measure_reference,
    measures_of,
)
from governance.rules.values import date_of, plain, rows_of, texts_of

declare_table("AIA-Art14-1", "built_in_measures", "measure", "reason")
declare_table("AIA-Art14-1", "deployer_measures", "measure", "reason")
declare_table("AIA-Art13-3-d", "measures", "measure", "role", "moment")
declare_table("AIA-Art26-2", "overseers", "site", "overseer", "training", "may_stop")


@judged_by("AIA-Art14-1")
def autonomy(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art14-1")
    hold_measures(notes)
    notes.waive("deployer_measures", when=notes.has("built_in_measures"))
    notes.waive("built_in_measures", when=notes.has("deployer_measures"))
    return notes.finding()


@judged_by("AIA-Art14-4-a")
def understanding(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art14-4-a")
    hold_measures(notes, "a")
    return notes.finding()


@judged_by("AIA-Art14-4-b")
def automation_bias(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art14-4-b")
    fill_text(notes, "countermeasure", hold_measures(notes, "b"))
    hold_overrides(notes)
    denied = notes.stated.get("override_rate_monitoring") is False
    notes.lack(_("tracking of how often people agree with or overrule the output"), when=denied)
    return notes.finding()


@judged_by("AIA-Art14-4-c")
def interpretation(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art14-4-c")
    hold_measures(notes, "c")
    audits = facts.audits("explainability_audit")
    hold_audits(notes, audits, _("an audit of the explanations of this version"))
    return notes.finding(rests_on_audit=bool(audits))


@judged_by("AIA-Art14-4-d")
def override(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art14-4-d")
    fill_text(notes, "override_path", hold_measures(notes, "d"))
    events = rows_of(facts.values("AIA-Art12-2-a").get("event_types"))
    notes.lack(_("an event for overrides in the log schema"), when=bool(uncovered(events, "event", ("override",))))
    return notes.finding()


@judged_by("AIA-Art14-4-e")
def stopping(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art14-4-e")
    fill_text(notes, "stop_mechanism", hold_measures(notes, "e"))
    tested, registered = date_of(notes.stated.get("last_test")), date_of(facts.version["submitted_at"])
    too_old = tested is not None and registered is not None and tested < registered
    notes.lack(_("a test of stopping this version: the last one is older than the version"), when=too_old)
    return notes.finding()


@judged_by("AIA-Art13-3-d")
def measures_told(facts: Facts) -> Finding:
    notes, built = Notes(facts, "AIA-Art13-3-d"), facts.values("AIA-Art14-1")
    done = hold_measures(notes)
    if done:
        source = measure_reference(done[0])
        told = [{"measure": row["text"], "role": row["role"], "moment": row["moment"]} for row in done]
        notes.fill_if_silent("measures", told, source)
        notes.fill_if_silent("required_roles", list(dict.fromkeys(str(row["role"]) for row in done)), source)
    rows = rows_of(built.get("built_in_measures")) + rows_of(built.get("deployer_measures"))
    needed = [str(row.get("measure")) for row in rows]
    notes.cover("measures", "measure", needed, _("role and moment of %(names)s"))
    notes.lack(_("the oversight measures of the system to describe (Art. 14)"), when=not needed and not done)
    return notes.finding()


@judged_by("AIA-Art26-2")
def overseers(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art26-2")
    sites = hold_sites(notes)
    watched = [str(row["site"]).casefold() for row in hold_measures(notes) if row["by"] == "deployer"]
    if measures_of(facts) and "" not in watched:
        bare = [site for site in sites if site.casefold() not in watched]
        notes.lack_those(bare, _("a verified measure of oversight that the deployer carries out at %(names)s"))
    notes.cover("overseers", "site", facts.dossier["sites"], _("an overseer at %(names)s"))
    powerless = [str(row.get("site")) for row in notes.rows("overseers") if plain(row.get("may_stop", "")) == "no"]
    notes.lack_those(powerless, _("an overseer with the power to stop use at %(names)s"))
    return notes.finding()


@judged_by("AIA-AnnexIV-3-oversight")
def oversight_roles(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-3-oversight")
    done = hold_measures(notes)
    if done:
        roles = list(dict.fromkeys(str(row["role"]) for row in done))
        notes.fill_if_silent("roles", roles, measure_reference(done[0]))
    described = [str(row.get("role")) for row in rows_of(facts.values("AIA-Art13-3-d").get("measures"))]
    roles = texts_of(notes.stated.get("roles"))
    if described:
        known = [{"role": role} for role in described]
        notes.lack_those(uncovered(known, "role", roles), _("a measure in the instructions for use for %(names)s"))
    return notes.finding()
