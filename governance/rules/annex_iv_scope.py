"""Annex IV, chapter 0: what the system is, what class it is of, who is who, and from when it is bound."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from django.utils.translation import gettext as _

from governance.conditions.truth import Truth
from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.notes import AFFIRMED, DENIED, Notes, answer_reference, placed_on, says, uncovered
from governance.rules.use_register import hold_sites
from governance.rules.values import date_of, plain

LIMBS = tuple("abcdefgh")
POINTS = ("1a", "1b", "1c", "2", "3", "4", "5a", "5b", "5c", "5d", "6", "7", "8")
OLDEST_CHECK = 90
"""Days after which a check of the law has to be made again."""

declare_table("AIA-Art5-1", "answers_a_to_h", "limb", "answer", "reasoning")
declare_table("AIA-AnnexIII", "matches", "point", "answer", "reasoning")
declare_table("AIA-Art25-1", "role_by_actor", "actor", "role", "reason")


@judged_by("AIA-Art3-1")
def qualification(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art3-1")
    notes.contradict(
        _("The questions are answered so that the product is no AI system."), when=facts.answer("ai_system") is False
    )
    return notes.finding()


@judged_by("AIA-Art4")
def literacy(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art4")
    notes.fresh("last_session", 366, _("a training session within the last twelve months"))
    return notes.finding()


@judged_by("AIA-Art5-1")
def prohibited_practices(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art5-1")
    answered = [(limb, facts.answer(f"art5_{limb}")) for limb in LIMBS]
    if all(isinstance(value, bool) for _limb, value in answered):
        notes.hold(_("an answer to each of the eight limbs"), *(answer_reference(f"art5_{limb}") for limb in LIMBS))
        rows = [_limb_row(facts, limb, value) for limb, value in answered]
        if all(row["reasoning"] for row in rows):
            notes.fill_if_silent("answers_a_to_h", rows, answer_reference("art5_a"))
    for limb, value in answered:
        notes.contradict(_limb_words(limb), when=value is True)
    notes.cover("answers_a_to_h", "limb", LIMBS, _("an answer to the limbs %(names)s"))
    for row in notes.rows("answers_a_to_h"):
        notes.contradict(_limb_words(str(row.get("limb", ""))), when=says(row.get("answer", ""), AFFIRMED))
        notes.lack(
            _("a plain yes or no for limb %(limb)s") % {"limb": row.get("limb", "")},
            when=not says(row.get("answer", ""), AFFIRMED | DENIED),
        )
    return notes.finding()


def _limb_row(facts: Facts, limb: str, value: Any) -> dict[str, str]:
    reason = facts.dossier["answers"][f"art5_{limb}"]["reason"]
    return {"limb": limb, "answer": "yes" if value else "no", "reasoning": reason}


def _limb_words(limb: str) -> str:
    return _("Limb (%(limb)s) of Art. 5(1) is answered with yes: the practice is prohibited.") % {"limb": limb}


@judged_by("AIA-Art5-new")
def new_prohibitions(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art5-new")
    for limb in ("ba", "bb"):
        notes.contradict(_limb_words(limb), when=facts.answer(f"art5_{limb}") is True)
    return notes.finding()


@judged_by("AIA-Art6-1")
def device_class(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art6-1")
    answered = facts.answer("mdr_class")
    if answered:
        notes.hold(_("the class that the questions were answered with"), answer_reference("mdr_class"))
        notes.fill("mdr_class", "I" if answered == "I_nb" else answered, answer_reference("mdr_class"))
        notes.fill("notified_body_required", answered != "I", answer_reference("mdr_class"))
    declared = re.search(r"\bclass\s+(III|II[ab]|I)\b", facts.dossier["system"]["risk_class"])
    stated = notes.stated.get("mdr_class") or (answered and answered.removesuffix("_nb"))
    if declared and stated:
        told = {"declared": declared[1], "stated": stated}
        notes.contradict(
            _("The system is registered as class %(declared)s, but class %(stated)s is stated.") % told,
            when=declared[1] != stated,
        )
    needed = notes.stated.get("notified_body_required")
    if needed is not None and notes.has("mdr_class"):
        notes.contradict(
            _("A device of class %(name)s needs a notified body, but that is denied.") % {"name": stated},
            when=needed is False and stated in ("IIa", "IIb", "III"),
        )
    if needed is not None and facts.truth("hr_6_1_mdr") is not Truth.UNKNOWN and facts.answer("annex_i_section") == "A":
        notes.contradict(
            _("The need for a notified body does not agree with the class that follows from the answers."),
            when=needed is not (facts.truth("hr_6_1_mdr") is Truth.YES) and facts.answer("ai_system") is True,
        )
    return notes.finding()


@judged_by("AIA-AnnexI-AB")
def annex_i_section(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexI-AB")
    if section := facts.answer("annex_i_section"):
        notes.hold(_("the section that the questions were answered with"), answer_reference("annex_i_section"))
        notes.fill("annex_i_section", section, answer_reference("annex_i_section"))
    notes.fresh("legal_status_checked_on", OLDEST_CHECK, _("a check of the legal status within the last 90 days"))
    return notes.finding()


@judged_by("AIA-Art2-13")
def delegated_acts(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art2-13")
    none_found = plain(notes.stated.get("delegated_act_reference", "")).startswith(("none", "no act", "kein"))
    notes.waive("limited_articles", when=none_found)
    notes.fresh("checked_on", OLDEST_CHECK, _("a search for delegated acts within the last 90 days"))
    return notes.finding()


@judged_by("AIA-AnnexIII")
def annex_iii(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIII")
    chosen = facts.answer("annex_iii_points")
    if isinstance(chosen, list) and chosen:
        source = answer_reference("annex_iii_points")
        notes.hold(_("an answer about every point of Annex III"), source)
        reason = facts.dossier["answers"]["annex_iii_points"]["reason"]
        rows = [{"point": point, "answer": "yes" if point in chosen else "no", "reasoning": reason} for point in POINTS]
        if reason:
            notes.fill_if_silent("matches", rows, source)
        told = {_point(row.get("point")) for row in notes.rows("matches") if says(row.get("answer", ""), AFFIRMED)}
        differing = told ^ (set(chosen) - {"none"}) if notes.has("matches") else set()
        names = {"points": ", ".join(sorted(differing))}
        notes.contradict(
            _("The table and the answers differ on the points %(points)s of Annex III.") % names, when=bool(differing)
        )
    if notes.has("matches"):
        rows_told = [{"point": _point(row.get("point"))} for row in notes.rows("matches")]
        notes.lack_those(uncovered(rows_told, "point", POINTS), _("an answer to the points %(names)s of Annex III"))
    return notes.finding()


def _point(value: Any) -> str:
    """``5(d)``, ``5 d`` and ``5d`` are one point."""
    return re.sub(r"[^0-9a-z]", "", plain(value))


@judged_by("AIA-Art6-3")
def exemption(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art6-3")
    source = answer_reference("art_6_3_condition")
    condition = facts.answer("art_6_3_condition")
    notes.fill("condition", condition if condition in tuple("abcd") else None, source)
    if isinstance(profiled := facts.answer("profiling"), bool):
        notes.fill("profiling", profiled, answer_reference("profiling"))
    notes.contradict(
        _("A system that profiles people is always high-risk (Art. 6(3), last subparagraph)."),
        when=True in (notes.stated.get("profiling"), profiled),
    )
    signed, placed = date_of((notes.stated.get("signed_by") or {}).get("signed_on")), placed_on(facts)
    if signed and placed:
        notes.contradict(_("It was signed after the system was placed on the market."), when=signed > placed)
    return notes.finding()


@judged_by("AIA-Art25-1")
def roles(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art25-1")
    changes = facts.answer("art_25_changes")
    if isinstance(changes, list) and changes:
        notes.hold(_("answers about branding, changes and purpose"), answer_reference("art_25_changes"))
        for name in ("rebranded", "substantial_modification", "purpose_changed"):
            notes.fill(name, name in changes, answer_reference("art_25_changes"))
    actors = Counter(plain(row.get("actor", "")) for row in notes.rows("role_by_actor"))
    for actor, count in actors.items():
        notes.contradict(_("%(actor)s has more than one role.") % {"actor": actor}, when=count > 1)
    return notes.finding()


@judged_by("AIA-Art111-2")
def older_systems(facts: Facts) -> Finding:
    """Whether a system that was placed before the date is bound (Art. 111(2)), derived from the timeline."""
    notes = Notes(facts, "AIA-Art111-2")
    if first := facts.answer("first_placed_on"):
        notes.fill("first_placing_date", first, answer_reference("first_placed_on"))
    if isinstance(public := facts.answer("public_authority"), bool):
        notes.fill("public_authority_use", public, answer_reference("public_authority"))
    applies = facts.catalogue.requirement("AIA-Art111-2").applies_from.date
    placed, changed = placed_on(facts), notes.stated.get("significant_design_change")
    if placed is None and facts.answer("placed_on_market") is False:
        notes.waive("first_placing_date")
        words = _("derived: not placed on the market yet; in scope when it is placed from %(day)s on")
        notes.hold(words % {"day": applies.isoformat()}, answer_reference("placed_on_market"))
    if placed is None or changed is None:
        return notes.finding()
    public = notes.stated.get("public_authority_use", public)
    backstop = facts.catalogue.timeline["T-AIA-PUB-LEG"].date
    if placed >= applies or changed:
        notes.hold(_("derived: in scope, placed on or after %(day)s or changed since") % {"day": applies.isoformat()})
    elif public:
        notes.hold(_("derived: in scope from %(day)s, because authorities use it") % {"day": backstop.isoformat()})
    else:
        words = _("derived: not in scope, placed before %(day)s and not significantly changed since")
        notes.hold(words % {"day": applies.isoformat()})
    return notes.finding()


@judged_by("AIA-AnnexIV-1-d")
def supply(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-1-d")
    hold_sites(notes)
    return notes.finding()
