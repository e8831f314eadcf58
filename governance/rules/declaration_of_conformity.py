"""Articles 43(3), 47 and 48 and Annex V: what may be declared, of what, by whom, and on which grounds."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from governance.conditions.truth import Truth
from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.annex_iv_lifecycle import presume_uncited
from governance.rules.notes import Notes, issued, placed_on, report_name, report_reference, uncovered, version_reference
from governance.rules.values import date_of, is_empty, plain, texts_of

ACTS = ("2024/1689", "2017/745")
"""The AI Act and the MDR, by number."""
NOT_ASKED = frozenset({"AIA-AnnexIV-8"})
"""The copy of the declaration itself: it cannot be a condition of signing it."""

declare_table("AIA-AnnexV-6", "references", "standard", "oj_cited", "presumption")


@judged_by("AIA-Art22")
def mandate(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art22")
    signed, placed = date_of(notes.stated.get("mandate_date")), placed_on(facts)
    notes.contradict(
        _("The mandate was signed after the system was placed on the market."),
        when=signed is not None and placed is not None and signed > placed,
    )
    return notes.finding()


@judged_by("AIA-Art43-3")
def route(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art43-3")
    denied = notes.stated.get("nb_data_access_granted") is False
    notes.lack(_("access of the notified body to the data sets"), when=denied)
    return notes.finding()


@judged_by("AIA-Art47-1")
def machine_readable(facts: Facts) -> Finding:
    notes, label = Notes(facts, "AIA-Art47-1"), facts.version["label"]
    notes.hold(_("the declaration as JSON, checked against its published schema and kept inside the signed PDF"))
    notes.waive("machine_readable_file")
    if notes.has("valid_for_versions"):
        told = [{"version": name} for name in texts_of(notes.stated["valid_for_versions"])]
        notes.lack_those(uncovered(told, "version", [label]), _("this version, %(names)s, among those declared"))
    return notes.finding()


@judged_by("AIA-Art47-3")
def single_declaration(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art47-3")
    told = " ".join(texts_of(notes.stated.get("union_acts")))
    if told:
        notes.lack_those([act for act in ACTS if act not in told], _("Regulation (EU) %(names)s among the acts"))
    registered = facts.values("MDR-29").get("basic_udi_di")
    notes.lack(_("the Basic UDI-DI of the EUDAMED entry, to compare with"), when=is_empty(registered))
    return notes.finding()


@judged_by("AIA-AnnexV-1")
def identification(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexV-1")
    notes.hold(_("the name and the version, as registered"), version_reference(facts))
    notes.fill("system_name", facts.dossier["system"]["name"])
    notes.fill("version", facts.version["label"])
    return notes.finding()


@judged_by("AIA-AnnexV-2")
def provider(facts: Facts) -> Finding:
    notes, name = Notes(facts, "AIA-AnnexV-2"), facts.dossier["system"]["provider"]
    if name:
        notes.hold(_("the provider's name, as registered"))
    notes.fill("name", name)
    notes.lack(_("the contact of the instructions for use, to compare with"), when=not facts.values("AIA-Art13-3-a"))
    return notes.finding()


@judged_by("AIA-AnnexV-3")
def responsibility(facts: Facts) -> Finding:
    notes, signatory = Notes(facts, "AIA-AnnexV-3"), facts.values("AIA-AnnexV-8").get("signatory")
    notes.contradict(
        _("The statement is confirmed by somebody else than the signatory, %(name)s.") % {"name": signatory},
        when=notes.has("confirmed_by")
        and not is_empty(signatory)
        and plain(notes.stated["confirmed_by"]) != plain(signatory),
    )
    return notes.finding()


@judged_by("AIA-AnnexV-4")
def conformity(facts: Facts) -> Finding:
    """Conformity may be declared only when every binding requirement of the technical documentation is met."""
    notes = Notes(facts, "AIA-AnnexV-4")
    needed = [item.id for item in facts.catalogue.for_report("annex_iv") if item.status == "binding"]
    open_ones = [key for key in needed if key not in NOT_ASKED and not _settled(facts, key)]
    if open_ones:
        words = _("%(count)s requirements of the technical documentation, among them %(names)s")
        notes.lack(words % {"count": len(open_ones), "names": ", ".join(open_ones[:5])})
    else:
        notes.hold(_("every binding requirement of the technical documentation"))
    told = " ".join(texts_of(notes.stated.get("acts")))
    notes.lack(_("Regulation (EU) 2024/1689 among the acts"), when=bool(told) and ACTS[0] not in told)
    return notes.finding()


def _settled(facts: Facts, key: str) -> bool:
    return facts.state_of(key) in ("complete", "not_applicable")


@judged_by("AIA-AnnexV-5")
def data_protection(facts: Facts) -> Finding:
    notes, applies = Notes(facts, "AIA-AnnexV-5"), facts.truth("personal_data") is Truth.YES
    notes.contradict(
        _("Personal data are processed, so the statement on data protection applies."),
        when=notes.stated.get("applies") is False and applies,
    )
    if applies:
        notes.fill("applies", True)
        report = issued(notes, "dpia", _("the data protection impact assessment"))
        if report is not None:
            notes.fill_if_silent("dpia_reference", report_name(report), report_reference(report))
    return notes.finding()


@judged_by("AIA-AnnexV-6")
def standards(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexV-6")
    presume_uncited(notes, "references", "standard")
    return notes.finding()


@judged_by("AIA-AnnexV-8")
def signature(facts: Facts) -> Finding:
    notes, stated = Notes(facts, "AIA-AnnexV-8"), facts.values("AIA-AnnexV-8")
    signed: dict[str, Any] = stated.get("signature") or {}
    day, placed = date_of(stated.get("date")), placed_on(facts)
    notes.contradict(
        _("The declaration is dated after the system was placed on the market."),
        when=day is not None and placed is not None and day > placed,
    )
    notes.contradict(
        _("The signature is of another day than the declaration."),
        when=bool(signed) and day is not None and date_of(signed.get("signed_on")) != day,
    )
    notes.contradict(
        _("The signature is of somebody else than the signatory."),
        when=bool(signed) and notes.has("signatory") and plain(signed.get("name")) != plain(stated["signatory"]),
    )
    return notes.finding()


@judged_by("AIA-Art48")
def marking(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art48")
    notes.waive("nb_number", when=facts.truth("nb_involved") is Truth.NO)
    return notes.finding()
