"""Article 72: the plan by which the system is watched after it is on the market."""

from __future__ import annotations

from django.utils.translation import gettext as _

from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.annex_iv import attributes_of, hold_audits
from governance.rules.annex_iv_lifecycle import SECTION_2
from governance.rules.notes import Notes, uncovered
from governance.rules.values import rows_of, texts_of

declare_table("AIA-Art72-2", "data_sources", "site", "source", "gap?")
declare_table("AIA-Art72-2-eval", "indicators", "requirement", "indicator", "interval", "last_value")
declare_table("AIA-Art72-2-eval", "alert_limits", "indicator", "limit")
declare_table("AIA-Art72-2-act", "escalation_matrix", "alert", "decision", "owner")
declare_table("AIA-Art72-4", "mapping", "indicator", "place_in_mdr_plan")


@judged_by("AIA-Art72-1")
def scope(facts: Facts) -> Finding:
    notes, label = Notes(facts, "AIA-Art72-1"), facts.version["label"]
    if notes.has("scope_versions"):
        named = [{"version": name} for name in texts_of(notes.stated["scope_versions"])]
        notes.lack_those(uncovered(named, "version", [label]), _("this version, %(names)s, among those covered"))
    return notes.finding()


@judged_by("AIA-Art72-2")
def sources(facts: Facts) -> Finding:
    notes, sites = Notes(facts, "AIA-Art72-2"), facts.dossier["sites"]
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
    closed = {review["run"] for review in facts.dossier["reviews"] if review["closed_at"]}
    unanswered = [
        str(audit["run"]) for audit in facts.audits() if audit["outcome"] == "fail" and audit["run"] not in closed
    ]
    notes.lack_those(unanswered, _("a decision about the failed audit %(names)s"))
    return notes.finding()


@judged_by("AIA-Art72-4")
def integration(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art72-4")
    rows = rows_of(facts.values("AIA-Art72-2-eval").get("indicators"))
    notes.lack(_("the indicators of the monitoring plan"), when=not rows)
    needed = [str(row.get("indicator")) for row in rows]
    notes.cover("mapping", "indicator", needed, _("the place of %(names)s in the MDR plan"))
    return notes.finding()
