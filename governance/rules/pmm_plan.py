"""Article 72: the plan by which the system is watched after it is on the market."""

from __future__ import annotations

from django.utils.translation import gettext as _

from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.annex_iv import attributes_of, hold_audits
from governance.rules.annex_iv_lifecycle import SECTION_2
from governance.rules.incident_register import incidents_of
from governance.rules.notes import Notes, uncovered
from governance.rules.use_register import hold_sites
from governance.rules.values import rows_of, texts_of
from governance.standing.places import HELD

declare_table("AIA-Art72-2", "data_sources", "site", "source", "gap?")
declare_table("AIA-Art72-2-eval", "indicators", "requirement", "indicator", "interval", "last_value")
declare_table("AIA-Art72-2-eval", "alert_limits", "indicator", "limit")
declare_table("AIA-Art72-2-act", "escalation_matrix", "alert", "decision", "owner")
declare_table("AIA-Art72-4", "mapping", "indicator", "place_in_mdr_plan")


@judged_by("AIA-Art72-1")
def scope(facts: Facts) -> Finding:
    notes, label = Notes(facts, "AIA-Art72-1"), facts.version["label"]
    hold_sites(notes)
    if notes.has("scope_versions"):
        named = [{"version": name} for name in texts_of(notes.stated["scope_versions"])]
        notes.lack_those(uncovered(named, "version", [label]), _("this version, %(names)s, among those covered"))
        deployed = facts.dossier.get("registers", {}).get("deployments", [])
        others = [str(row["version"]["label"]) for row in deployed if row["status"] in HELD]
        others = [name for name in others if name != label]
        notes.lack_those(uncovered(named, "version", others), _("the deployed version %(names)s among those covered"))
    return notes.finding()


@judged_by("AIA-Art72-2")
def sources(facts: Facts) -> Finding:
    notes, sites = Notes(facts, "AIA-Art72-2"), facts.dossier["sites"]
    hold_sites(notes)
    notes.lack(_("the sites where the system is used"), when=not sites)
    notes.cover("data_sources", "site", sites, _("data, or a documented gap, from %(names)s"))
    return notes.finding()


@judged_by("AIA-Art72-2-eval")
def indicators(facts: Facts) -> Finding:
    notes, audits = Notes(facts, "AIA-Art72-2-eval"), facts.audits("fairness_audit")
    hold_audits(notes, audits, _("values of the audit of this version, to start from"))
    notes.cover("indicators", "requirement", SECTION_2, _("an indicator for %(names)s"))
    named = [str(row.get("indicator")) for row in notes.rows("indicators")]
    notes.cover("alert_limits", "indicator", named, _("a limit for %(names)s"))
    told = [{"name": name} for name in texts_of(notes.stated.get("subgroup_indicators"))]
    if told:
        notes.lack_those(uncovered(told, "name", attributes_of(audits)), _("an indicator for groups by %(names)s"))
    return notes.finding(rests_on_audit=bool(audits))


@judged_by("AIA-Art72-2-act")
def action(facts: Facts) -> Finding:
    """A failed audit of this version is an alert: it needs a decision, which a closed review is."""
    notes = Notes(facts, "AIA-Art72-2-act")
    decided = (row for row in facts.dossier["reviews"] if row["closed_at"] and row["status"] != "withdrawn")
    closed = {review["run"] for review in decided}
    unanswered = [
        str(audit["run"]) for audit in facts.audits() if audit["outcome"] == "fail" and audit["run"] not in closed
    ]
    notes.lack_those(unanswered, _("a decision about the failed audit %(names)s"))
    known = incidents_of(facts)
    if known:
        still = [str(incident.told["number"]) for incident in known if incident.open]
        words = _("the register of incidents: %(n)s of this version, of which %(open)s are not closed")
        notes.hold(words % {"n": len(known), "open": len(still)}, *(incident.reference for incident in known))
        notes.lack_those(still, _("the end of incident %(names)s, with its cause and its correction"))
    return notes.finding()


@judged_by("AIA-Art72-4")
def integration(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art72-4")
    rows = rows_of(facts.values("AIA-Art72-2-eval").get("indicators"))
    notes.lack(_("the indicators of the monitoring plan"), when=not rows)
    needed = [str(row.get("indicator")) for row in rows]
    notes.cover("mapping", "indicator", needed, _("the place of %(names)s in the MDR plan"))
    return notes.finding()
