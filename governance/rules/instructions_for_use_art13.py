"""Article 13(3): what the instructions for use have to say, and that they say the same as everything else."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

from governance.conditions.truth import Truth
from governance.rules import Facts, Finding, Rule, declare_table, judged_by
from governance.rules.annex_iv import attributes_of, hold_audits, modalities
from governance.rules.notes import AFFIRMED, Notes, audit_reference, newest_issue, registered_purpose, says, uncovered
from governance.rules.values import is_empty, plain, rows_of, texts_of

declare_table("AIA-Art13-3-b-ii", "declared_levels", "metric", "value", "audit")
declare_table("AIA-Art13-3-b-iii", "warnings", "warning", "risk")
declare_table("AIA-Art13-3-b-vi", "input_specification", "input", "limits")
declare_table("AIA-Art13-3-c", "announced_changes", "change", "when?")
declare_table("AIA-Art13-3-e", "compute_needs", "component", "need")
declare_table("AIA-Art13-3-e", "maintenance_schedule", "task", "interval")


@judged_by("AIA-Art13-3-a")
def contacts(facts: Facts) -> Finding:
    notes, declared = Notes(facts, "AIA-Art13-3-a"), facts.values("AIA-AnnexV-2")
    contact = plain(notes.stated.get("provider_contact", ""))
    for name in ("name", "address"):
        told = declared.get(name)
        notes.contradict(
            _("The contact does not hold the %(field)s of the declaration of conformity: %(told)s.")
            % {"field": facts.catalogue.field_label(name), "told": told},
            when=bool(contact) and not is_empty(told) and plain(told) not in contact,
        )
    notes.lack(_("name and address in the declaration of conformity, to compare with"), when=not declared)
    notes.waive("authorised_representative", when=facts.truth("third_country_provider") is Truth.NO)
    return notes.finding()


@judged_by("AIA-Art13-3-b-i")
def intended_purpose(facts: Facts) -> Finding:
    return registered_purpose(facts, "AIA-Art13-3-b-i", "intended_purpose")


@judged_by("AIA-Art13-3-b-ii")
def declared_performance(facts: Facts) -> Finding:
    notes, audits = Notes(facts, "AIA-Art13-3-b-ii"), facts.audits("performance_evaluation")
    hold_audits(notes, audits, _("an audit of the performance of this version"))
    notes.lack(_("an audit of the performance of this version"), when=not audits)
    known = {str(audit["run"]) for audit in audits}
    for row in notes.rows("declared_levels"):
        numbers = set(re.findall(r"\d+", str(row.get("audit", ""))))
        notes.lack(
            _("an audit of this version behind the declared %(metric)s") % {"metric": row.get("metric", "")},
            when=not numbers & known,
        )
    return notes.finding(rests_on_audit=bool(audits))


@judged_by("AIA-Art13-3-b-iii")
def warnings(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art13-3-b-iii")
    controls = rows_of(facts.values("AIA-Art9-5").get("control_per_risk"))
    needed = [str(row.get("risk")) for row in controls if says(row.get("inform_user", ""), AFFIRMED)]
    notes.lack(_("the risks that remain, with those to inform users of (Art. 9(5))"), when=not controls)
    notes.cover("warnings", "risk", needed, _("a warning of %(names)s"))
    return notes.finding()


@judged_by("AIA-Art13-3-b-iv")
def explanations(facts: Facts) -> Finding:
    notes, audits = Notes(facts, "AIA-Art13-3-b-iv"), facts.audits("explainability_audit")
    hold_audits(notes, audits, _("an audit of the explanations of this version"))
    methods = [plain(name) for name in texts_of(notes.stated.get("explanation_methods"))]
    shown = bool(methods) and methods != ["none"]
    notes.lack(_("an audit of how faithful the explanations of this version are"), when=shown and not audits)
    return notes.finding(rests_on_audit=bool(audits))


@judged_by("AIA-Art13-3-b-v")
def subgroups(facts: Facts) -> Finding:
    notes, audits = Notes(facts, "AIA-Art13-3-b-v"), facts.audits("fairness_audit")
    hold_audits(notes, audits, _("figures for groups of patients"))
    notes.lack(_("a fairness audit of this version"), when=not audits)
    audited = [{"name": name} for name in attributes_of(audits)]
    left_out = uncovered(audited, "name", texts_of(notes.stated.get("subgroups")))
    notes.waive("omission_reason", when=notes.has("subgroups") and not left_out)
    return notes.finding(rests_on_audit=bool(audits))


@judged_by("AIA-Art13-3-b-vi")
def input_limits(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art13-3-b-vi")
    notes.cover("input_specification", "input", modalities(facts), _("limits of the input %(names)s"))
    return notes.finding()


@judged_by("AIA-Art13-3-c")
def announced_changes(facts: Facts) -> Finding:
    notes, envelope = Notes(facts, "AIA-Art13-3-c"), facts.values("AIA-AnnexIV-2-f").get("change_envelope")
    told = {plain(row.get("change", "")) for row in notes.rows("announced_changes")}
    fixed = {plain(row.get("change", "")) for row in rows_of(envelope)}
    notes.contradict(
        _("The announced changes are not those of the technical documentation (Annex IV, point 2(f))."),
        when=bool(told and fixed) and told != fixed,
    )
    notes.lack(_("the changes of Annex IV, point 2(f), to compare with"), when=not fixed)
    return notes.finding()


@judged_by("AIA-Art13-3-f")
def logs(facts: Facts) -> Finding:
    notes, schema = Notes(facts, "AIA-Art13-3-f"), facts.values("AIA-Art12-1").get("log_schema_version")
    notes.lack(_("the version of the log schema (Art. 12)"), when=is_empty(schema))
    if notes.has("log_howto") and not is_empty(schema):
        named = plain(schema) in plain(notes.stated["log_howto"])
        notes.lack(_("the name of the current log schema, %(name)s") % {"name": schema}, when=not named)
    return notes.finding()


@judged_by("AIA-Art16-b")
def label(facts: Facts) -> Finding:
    notes, name = Notes(facts, "AIA-Art16-b"), facts.values("AIA-AnnexV-1").get("system_name")
    notes.lack(_("the system's name in the declaration of conformity, to compare with"), when=is_empty(name))
    notes.contradict(
        _("The label does not hold the name of the declaration of conformity: %(name)s.") % {"name": name},
        when=notes.has("label_text") and not is_empty(name) and plain(name) not in plain(notes.stated["label_text"]),
    )
    return notes.finding()


def receipt_rule(requirement_id: str) -> Rule:
    """A rule that asks for issued instructions for use of this version: what was received has to be there.

    They need not have been ready: the deployer's receipt is itself one of their requirements.
    """

    def rule(facts: Facts) -> Finding:
        notes = Notes(facts, requirement_id)
        newest_issue(notes, "instructions_for_use_art13", _("the instructions for use"))
        return notes.finding()

    return rule


for _id in ("AIA-Art26-1", "AIA-Art26-9"):
    judged_by(_id)(receipt_rule(_id))


@judged_by("AIA-Art26-4")
def local_input(facts: Facts) -> Finding:
    notes, audits = Notes(facts, "AIA-Art26-4"), facts.audits("drift_monitoring")
    if audits:
        notes.hold(_("monitoring of this version's input"), audit_reference(audits[0]))
    return notes.finding(rests_on_audit=bool(audits))


@judged_by("AIA-Art50-1")
def disclosure(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art50-1")
    notes.waive("exception_reason", when=notes.has("disclosure_text"))
    notes.waive("disclosure_text", when=notes.has("exception_reason"))
    return notes.finding()


@judged_by("AIA-Art50-2")
def marking(facts: Facts) -> Finding:
    """Art. 50(2) and 111(4): marking of generated content; older systems have until the date of the timeline."""
    notes, deadline = Notes(facts, "AIA-Art50-2"), facts.catalogue.timeline["T-AIA-ART50-LEG"].date
    notes.waive("exemption_reason", when=notes.has("marking_method") and notes.has("detection_method"))
    notes.waive("marking_method", "detection_method", when=notes.has("exemption_reason"))
    general = facts.catalogue.requirement("AIA-Art50-2").applies_from.date
    first = str(notes.stated.get("first_placing_date") or "")
    due = deadline if first and first < general.isoformat() else general
    if first:
        notes.hold(_("derived: marking is due from %(day)s") % {"day": due.isoformat()})
    return notes.finding()


@judged_by("AIA-Art50-3-4")
def notices(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art50-3-4")
    if notes.stated.get("applicable") is False:
        notes.waive("notice_text")
        notes.lack(_("the reason why no notice is due, in the statement's text"), when=not facts.text(notes.id))
    return notes.finding()
