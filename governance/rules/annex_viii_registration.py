"""Article 49 and Annex VIII: whether the EU database has to be told, and what."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

from governance.conditions.truth import Truth
from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.annex_iv_lifecycle import declaration_rule
from governance.rules.notes import (
    Notes,
    answer_reference,
    issued,
    registered_purpose,
    report_name,
    report_reference,
    version_reference,
)
from governance.rules.use_register import deployment_reference, deployments_of, held_deployments, hold_sites
from governance.rules.values import date_of, is_empty, plain

NATIONAL = frozenset({"2"})
"""Points of Annex III whose systems are registered nationally (Art. 49(5))."""

declare_table("AIA-AnnexVIII-B", "contacts", "party", "contact")


@judged_by("AIA-Art49-1")
def owed(facts: Facts) -> Finding:
    """Art. 49(1), (2) and (5): computed from the answers about Annex III; nobody has to accept it."""
    notes, answer = Notes(facts, "AIA-Art49-1"), facts.answer("annex_iii_points")
    truth, filtered = facts.truth("annex_iii"), facts.truth("annex_iii_filtered")
    if truth is Truth.UNKNOWN or (truth is Truth.NO and filtered is Truth.UNKNOWN):
        notes.lack(_("an answer whether the use falls under Annex III"))
        return notes.finding()
    source = answer_reference("annex_iii_points")
    points = sorted(set(answer or []) - {"none"})
    registered = truth is Truth.YES or filtered is Truth.YES
    place = "national" if points and set(points) <= NATIONAL else "eu_database"
    conclusion = place if registered else "not_owed"
    notes.hold(_conclusion_words(conclusion), source)
    notes.fill("conclusion", conclusion, source)
    told = set(re.findall(r"[0-9][a-z]?", plain(notes.stated.get("annex_iii_point", "")).replace("(", "")))
    notes.fill_if_silent("annex_iii_point", ", ".join(points) or "none", source)
    notes.contradict(
        _("The point of Annex III is not the one that the questions were answered with."),
        when=notes.has("annex_iii_point") and told != set(points),
    )
    return notes.finding(settled=True)


def _conclusion_words(conclusion: str) -> str:
    return {
        "not_owed": _("derived: no registration is owed, because the use is in no point of Annex III"),
        "national": _("derived: registration at national level (Annex III, point 2)"),
        "eu_database": _("derived: registration in the EU database is owed"),
    }[conclusion]


@judged_by("AIA-AnnexVIII-A-1")
def provider(facts: Facts) -> Finding:
    notes, declared = Notes(facts, "AIA-AnnexVIII-A-1"), facts.values("AIA-AnnexV-2")
    contact = plain(notes.stated.get("provider_contact", ""))
    for name in ("name", "address"):
        told = declared.get(name)
        notes.contradict(
            _("The contact does not hold the %(field)s of the declaration of conformity: %(told)s.")
            % {"field": facts.catalogue.field_label(name), "told": told},
            when=bool(contact) and not is_empty(told) and plain(told) not in contact,
        )
    return notes.finding()


@judged_by("AIA-AnnexVIII-A-2")
def submitter(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexVIII-A-2")
    notes.waive("submitter_contact", when=notes.stated.get("acts_for_provider") is False)
    return notes.finding()


@judged_by("AIA-AnnexVIII-A-3")
def representative(facts: Facts) -> Finding:
    notes, outside = Notes(facts, "AIA-AnnexVIII-A-3"), facts.truth("third_country_provider")
    notes.contradict(
        _("The provider is established outside the Union, so a representative has to be named."),
        when=notes.stated.get("applicable") is False and outside is Truth.YES,
    )
    notes.waive("representative_contact", when=notes.stated.get("applicable") is False)
    return notes.finding()


@judged_by("AIA-AnnexVIII-A-4")
def names(facts: Facts) -> Finding:
    notes, system = Notes(facts, "AIA-AnnexVIII-A-4"), facts.dossier["system"]
    notes.hold(_("the name and the reference, as registered"), version_reference(facts))
    notes.fill("trade_name", system["name"])
    notes.fill("reference", system["slug"])
    return notes.finding()


@judged_by("AIA-AnnexVIII-A-5")
def purpose(facts: Facts) -> Finding:
    return registered_purpose(facts, "AIA-AnnexVIII-A-5", "purpose")


@judged_by("AIA-AnnexVIII-A-7")
def market_status(facts: Facts) -> Finding:
    notes, placed = Notes(facts, "AIA-AnnexVIII-A-7"), facts.answer("placed_on_market")
    notes.contradict(
        _("The system is said to be on the market or in service, but the questions are answered otherwise."),
        when=placed is False and notes.stated.get("status") in ("on_market", "in_service"),
    )
    hold_sites(notes)
    known, held, status = deployments_of(facts), held_deployments(facts), notes.stated.get("status")
    if held:
        notes.fill_if_silent("status", "in_service", deployment_reference(held[0]))
    notes.contradict(
        _("The system is said to be withdrawn or recalled, but this version is deployed."),
        when=bool(held) and status in ("withdrawn", "recalled"),
    )
    notes.contradict(
        _("The system is said to be in service, but every deployment of this version has ended."),
        when=bool(known) and not held and status == "in_service",
    )
    return notes.finding()


@judged_by("AIA-AnnexVIII-A-8")
def certificate(facts: Facts) -> Finding:
    notes, expiry = Notes(facts, "AIA-AnnexVIII-A-8"), date_of(facts.values("AIA-AnnexVIII-A-8").get("expiry"))
    notes.contradict(_("The certificate has expired."), when=expiry is not None and expiry < facts.as_of.date())
    without = facts.truth("nb_involved") is Truth.NO
    notes.waive("certificate_type", "certificate_no", "expiry", "nb", when=without)
    return notes.finding()


@judged_by("AIA-AnnexVIII-A-9")
def certificate_file(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexVIII-A-9")
    notes.waive("certificate_file", when=facts.truth("nb_involved") is Truth.NO)
    return notes.finding()


judged_by("AIA-AnnexVIII-A-11")(declaration_rule("AIA-AnnexVIII-A-11"))


@judged_by("AIA-AnnexVIII-A-12")
def instructions(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexVIII-A-12")
    report = issued(notes, "instructions_for_use_art13", _("the instructions for use"))
    if report is None:
        return notes.finding()
    notes.fill("ifu", report_name(report), report_reference(report))
    return notes.finding(settled=report["ready"])


@judged_by("AIA-AnnexVIII-A-13")
def address(facts: Facts) -> Finding:
    """Annex VIII, Section A, point 13 is optional: to leave it empty is to answer it."""
    notes = Notes(facts, "AIA-AnnexVIII-A-13")
    notes.hold(_("nothing more is asked: an address may be given"))
    notes.waive("url")
    return notes.finding(settled=True)


@judged_by("AIA-AnnexVIII-B")
def filtered(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexVIII-B")
    notes.fill("trade_name", facts.dossier["system"]["name"])
    notes.fill("purpose", facts.dossier["system"]["intended_purpose"])
    condition = facts.answer("art_6_3_condition")
    if condition in tuple("abcd"):
        notes.fill("condition", condition, answer_reference("art_6_3_condition"))
        notes.hold(_("name, purpose and condition, as registered and answered"))
    return notes.finding()


@judged_by("AIA-AnnexVIII-C")
def deployer(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexVIII-C")
    notes.waive("fria_summary", when=facts.truth("fria_deployer") is Truth.NO)
    notes.waive("dpia_summary", when=facts.truth("dpia_required") is Truth.NO)
    return notes.finding()
