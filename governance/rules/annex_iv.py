"""Annex IV, chapters 1 and 3: what the version is, how it performs, for whom, and on which input.

What an audit shows is told by the dossier: which protocol, on which cohort, what was judged. Counted are finished
audits of this version alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext as _

from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.notes import (
    Notes,
    audit_reference,
    issued,
    placed_on,
    report_name,
    report_reference,
    uncovered,
    version_reference,
)
from governance.rules.values import plain, rows_of, texts_of

declare_table("AIA-AnnexIV-1-b", "external_systems", "system", "interface")
declare_table("AIA-AnnexIV-1-e", "minimum_hardware", "component", "minimum")
declare_table("AIA-AnnexIV-1-e", "validated_hardware", "component", "validated_on?")
declare_table("AIA-AnnexIV-3-risks", "unintended_outcomes", "outcome", "risk")
declare_table("AIA-AnnexIV-3-input", "input_schema", "input", "format", "range?", "rejected")
declare_table("AIA-AnnexIV-4", "metric_justification", "metric", "justification", "weakness")


def details_of(facts: Facts) -> dict[str, Any]:
    """What the adapter declared about the weights when the version was registered."""
    found = facts.version["config"].get("details")
    return found if isinstance(found, dict) else {}


def runs_weights(facts: Facts) -> bool:
    """Whether the version is run by the platform, and not read from a log of its predictions."""
    return bool(facts.version["config"].get("runs_weights"))


def attributes_of(audits: Iterable[dict[str, Any]]) -> list[str]:
    """The attributes by which audits compared groups."""
    return sorted({name for audit in audits for name in audit["attributes"]})


def hold_audits(notes: Notes, audits: list[dict[str, Any]], words: str) -> None:
    """Note the audits that show something, if there are any."""
    if audits:
        notes.hold(words, *(audit_reference(audit) for audit in audits))


@judged_by("AIA-AnnexIV-1-a")
def purpose_and_version(facts: Facts) -> Finding:
    notes, system = Notes(facts, "AIA-AnnexIV-1-a"), facts.dossier["system"]
    notes.hold(_("the version's digest and label"), version_reference(facts))
    notes.fill("version", facts.version["label"])
    previous = facts.dossier["previous"]
    notes.fill("parent_version", previous["label"] if previous else "none")
    if facts.version["origins"]:
        notes.hold(_("what the version was made from, as it was registered"))
    for name, words in (
        ("intended_purpose", _("the intended purpose, as registered")),
        ("provider", _("the provider's name, as registered")),
    ):
        if system[name]:
            notes.hold(words)
    notes.fill("intended_purpose", system["intended_purpose"])
    notes.fill("provider_name", system["provider"])
    told = facts.values("AIA-Art13-3-b-i").get("intended_purpose")
    notes.lack(_("instructions for use to compare the purpose with"), when=not told)
    return notes.finding()


@judged_by("AIA-AnnexIV-1-c")
def software_versions(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-1-c")
    if not runs_weights(facts):
        notes.lack(_("a bill of materials of the build: only a log of its predictions is registered"))
        return notes.finding()
    notes.hold(_("a bill of materials of the version, bound to its digest"), version_reference(facts))
    hold_audits(notes, facts.audits()[:1], _("versions of the software that the audit ran the model with"))
    return notes.finding()


@judged_by("AIA-AnnexIV-1-e")
def hardware(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-1-e")
    audits = [audit for audit in facts.audits() if audit["hardware"]] if runs_weights(facts) else []
    hold_audits(notes, audits, _("the hardware that the audits ran on"))
    used = [audit["hardware"] for audit in audits]
    notes.cover("validated_hardware", "component", used, _("in the list of validated hardware: %(names)s"))
    return notes.finding()


@judged_by("AIA-AnnexIV-1-f")
def photographs(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-1-f")
    if notes.stated.get("applicable") is False:
        notes.waive("images")
        notes.lack(_("the reason why images do not apply, in the statement's text"), when=not facts.text(notes.id))
    return notes.finding()


@judged_by("AIA-AnnexIV-1-h")
def instructions(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-1-h")
    report = issued(notes, "instructions_for_use_art13", _("the instructions for use"))
    if report is None:
        return notes.finding()
    languages = sorted({row["language"] for row in facts.reports(report["kind"]) if row["ready"]})
    notes.fill_if_silent("ifu_document", report_name(report), report_reference(report))
    notes.fill_if_silent("language_list", languages, report_reference(report))
    missing = [name for name in texts_of(notes.stated.get("language_list")) if plain(name) not in languages]
    notes.contradict(
        _("The instructions for use are not issued in %(names)s.") % {"names": ", ".join(missing)}, when=bool(missing)
    )
    return notes.finding(settled=report["ready"])


@judged_by("AIA-AnnexIV-3-performance")
def performance(facts: Facts) -> Finding:
    notes, audits = Notes(facts, "AIA-AnnexIV-3-performance"), facts.audits("performance_evaluation")
    audited = attributes_of(audits)
    names = ", ".join(name.replace("_", " ") for name in audited) or _("no attribute")
    hold_audits(notes, audits, _("performance with intervals, by %(attributes)s") % {"attributes": names})
    notes.lack(_("an audit of the performance of this version"), when=not audits)
    told = texts_of(notes.stated.get("subgroup_list"))
    left_out = uncovered([{"name": name} for name in audited], "name", told)
    notes.lack_those(left_out, _("performance in the groups by %(names)s, or the reason why there is none"))
    return notes.finding(rests_on_audit=bool(audits))


@judged_by("AIA-AnnexIV-3-risks")
def unintended_outcomes(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-3-risks")
    hazards = {plain(row.get("hazard", "")) for row in rows_of(facts.values("AIA-Art9-2-ab").get("hazards"))}
    told = [str(row.get("risk", "")) for row in notes.rows("unintended_outcomes")]
    unlinked = [risk for risk in told if plain(risk) not in hazards]
    notes.lack_those(unlinked, _("an entry of the risk register about %(names)s"))
    return notes.finding()


@judged_by("AIA-AnnexIV-3-input")
def input_data(facts: Facts) -> Finding:
    notes, names = Notes(facts, "AIA-AnnexIV-3-input"), modalities(facts)
    if names:
        notes.hold(_("the inputs that the model reads, as it was registered"), version_reference(facts))
    notes.cover("input_schema", "input", names, _("format, range and rejection of %(names)s"))
    return notes.finding()


def modalities(facts: Facts) -> list[str]:
    """The names of the inputs that the version reads."""
    found = facts.version["config"].get("modalities") or []
    return [str(item.get("name", "") if isinstance(item, dict) else item) for item in found]


@judged_by("AIA-AnnexIV-4")
def metric_fitness(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-4")
    metrics = sorted({item["metric"] for audit in facts.audits() for item in audit["criteria"]})
    notes.cover("metric_justification", "metric", metrics, _("why these metrics fit: %(names)s"))
    return notes.finding()


@judged_by("AIA-Art11-1")
def current_file(facts: Facts) -> Finding:
    """Art. 11(1): the file is of this version, and no younger than its release."""
    notes, version = Notes(facts, "AIA-Art11-1"), facts.version
    notes.hold(_("the documentation, bound to the version's digest and dated"), version_reference(facts))
    if version["void"]:
        told = {"reason": version["void"]["reason"]}
        notes.contradict(_("The approval of this version is void: %(reason)s") % told)
    placed = placed_on(facts)
    dates = [facts.as_of.date().isoformat(), *(report["as_of"][:10] for report in facts.reports("annex_iv"))]
    late = placed is not None and facts.dossier["previous"] is None and min(dates) > placed.isoformat()
    notes.lack(_("a file dated on or before the day of placing on the market"), when=late)
    return notes.finding()
