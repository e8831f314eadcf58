"""Annex IV, chapters 5 to 10: risk management, changes, standards, declaration, monitoring, quality management."""

from __future__ import annotations

import datetime as dt

from django.utils.translation import gettext as _

from governance.rules import Facts, Finding, Reference, Rule, declare_table, judged_by
from governance.rules.notes import (
    AFFIRMED,
    DENIED,
    Notes,
    issued,
    placed_on,
    report_name,
    report_reference,
    says,
)
from governance.rules.register import hold_register, register_controls, register_hazards
from governance.rules.values import date_of, days_of, rows_of

RISK_ITEMS = ("AIA-Art9-1", "AIA-Art9-2-ab", "AIA-Art9-2-c", "AIA-Art9-5", "AIA-Art9-6")
SECTION_2 = ("Art. 9", "Art. 10", "Art. 11", "Art. 12", "Art. 13", "Art. 14", "Art. 15")
"""The requirements of Chapter III, Section 2, of the AI Act."""
CATEGORIES = ("health", "safety", "fundamental rights")
POINTS = {"AIA-Art17-1-ae": tuple("abcde"), "AIA-Art17-1-fi": tuple("fghi"), "AIA-Art17-1-jm": tuple("jklm")}
KEEP_YEARS = 10

declare_table("AIA-Art8-2", "integration_map", "requirement", "document", "section?")
declare_table("AIA-Art9-2-ab", "hazards", "hazard", "category", "severity", "likelihood")
declare_table("AIA-Art9-2-ab", "misuse_scenarios", "scenario", "severity", "likelihood")
declare_table("AIA-Art9-5", "control_per_risk", "risk", "control", "residual", "inform_user?")
declare_table("AIA-AnnexIV-6", "substantial_decision", "version", "substantial", "reason")
declare_table("AIA-AnnexIV-7", "standards", "standard", "oj_cited", "presumption")
declare_table("AIA-AnnexIV-7", "solution_per_requirement", "requirement", "solution")
for _id in POINTS:
    declare_table(_id, "procedure_refs", "point", "procedure", "in_force_from")


@judged_by("AIA-Art8-2")
def integration(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art8-2")
    notes.cover("integration_map", "requirement", SECTION_2, _("a place in the AI or MDR file for %(names)s"))
    return notes.finding()


@judged_by("AIA-Art9-1")
def risk_process(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art9-1")
    interval = days_of(notes.stated.get("review_interval"))
    if interval is not None:
        notes.fresh("last_review", int(interval), _("a review of the process within its own interval"))
    return notes.finding()


@judged_by("AIA-Art9-2-ab")
def hazards(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art9-2-ab")
    register_hazards(notes)
    notes.cover("hazards", "category", CATEGORIES, _("a rated hazard to %(names)s"))
    return notes.finding()


@judged_by("AIA-Art9-2-c")
def risk_review(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art9-2-c")
    statement = facts.accepted.get(notes.id)
    decided = str(statement["decided_at"]) if statement else ""
    later = [str(audit["run"]) for audit in facts.audits("drift_monitoring") if audit["finished_at"] > decided > ""]
    notes.lack_those(later, _("a review of the risk file after the monitoring of audit %(names)s"))
    return notes.finding()


@judged_by("AIA-Art9-5")
def risk_controls(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art9-5")
    stated = [str(row.get("hazard")) for row in rows_of(facts.values("AIA-Art9-2-ab").get("hazards"))]
    registered = register_controls(notes)
    known = stated or registered
    notes.lack(_("the hazards that the controls answer to (Art. 9(2))"), when=not known)
    notes.cover("control_per_risk", "risk", known, _("a control of %(names)s"))
    return notes.finding()


@judged_by("AIA-AnnexIV-5")
def risk_system(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-5")
    hold_register(notes)
    open_ones = [key for key in RISK_ITEMS if facts.state_of(key) not in ("complete", "not_applicable")]
    done = [Reference(kind="requirement", name=key, href_id=key) for key in RISK_ITEMS if key not in open_ones]
    if done:
        notes.hold(_("complete requirements of Art. 9"), *done)
    notes.lack_those(open_ones, _("completion of %(names)s"))
    return notes.finding()


@judged_by("AIA-AnnexIV-6")
def changes(facts: Facts) -> Finding:
    """Every version from the first on has a decision whether its change was substantial."""
    notes = Notes(facts, "AIA-AnnexIV-6")
    for review in facts.dossier["reviews"]:
        if review["closed_at"] and review["status"] != "withdrawn":
            source = Reference(kind="review", name=_("Review %(id)s") % review, href_id=str(review["id"]))
            notes.hold(_("the committee's decision on this version"), source)
    versions = [row["label"] for row in facts.dossier["versions"]]
    notes.cover("substantial_decision", "version", versions, _("a decision about the change in version %(names)s"))
    unclear = [
        str(row.get("version"))
        for row in notes.rows("substantial_decision")
        if not says(row.get("substantial", ""), AFFIRMED | DENIED)
    ]
    notes.lack_those(unclear, _("a plain yes or no whether these versions were substantially modified: %(names)s"))
    return notes.finding()


@judged_by("AIA-Art43-4")
def substantial_change(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art43-4")
    if notes.stated.get("substantial") is True and not facts.values("AIA-AnnexV-7").get("certificate_no"):
        notes.lack(_("a new conformity assessment: the change was substantial"))
    notes.contradict(
        _("A change within the envelope that was assessed beforehand is not substantial (Art. 43(4))."),
        when=notes.stated.get("substantial") is True and notes.stated.get("within_envelope") is True,
    )
    return notes.finding()


@judged_by("AIA-AnnexIV-7")
def standards(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-7")
    presume_uncited(notes, "standards", "standard")
    words = _("a standard or a described solution for %(names)s")
    notes.cover("solution_per_requirement", "requirement", SECTION_2, words)
    notes.fresh("oj_check_date", 90, _("a check of the Official Journal within the last 90 days"))
    return notes.finding()


def presume_uncited(notes: Notes, name: str, column: str) -> None:
    """Only a standard whose reference is published in the Official Journal gives a presumption (Art. 40(1))."""
    for row in notes.rows(name):
        notes.contradict(
            _("Conformity is presumed from %(name)s, which is not cited in the Official Journal.")
            % {"name": row.get(column, "")},
            when=says(row.get("presumption", ""), AFFIRMED) and not says(row.get("oj_cited", ""), AFFIRMED),
        )


def declaration_rule(requirement_id: str) -> Rule:
    """A rule that asks for the issued declaration of conformity of this version."""

    def rule(facts: Facts) -> Finding:
        notes = Notes(facts, requirement_id)
        report = issued(notes, "declaration_of_conformity", _("the EU declaration of conformity"))
        if report is None:
            return notes.finding()
        notes.fill("declaration", report_name(report), report_reference(report))
        return notes.finding(settled=report["ready"])

    return rule


judged_by("AIA-AnnexIV-8")(declaration_rule("AIA-AnnexIV-8"))


@judged_by("AIA-AnnexIV-9")
def monitoring_plan(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-AnnexIV-9")
    report = issued(notes, "pmm_plan", _("the post-market monitoring plan"))
    if report is not None:
        notes.fill_if_silent("pmm_plan", report_name(report), report_reference(report))
    placed = placed_on(facts)
    interval = days_of(facts.values("AIA-Art72-2-act").get("review_interval"))
    today = facts.as_of.date()
    if placed is not None and interval is not None and (today - placed).days > interval:
        since = (today - dt.timedelta(days=interval)).isoformat()
        reported = [audit for audit in facts.audits() if audit["finished_at"][:10] >= since]
        notes.lack(_("a monitoring audit within the plan's own interval"), when=not reported)
    return notes.finding()


def procedures_rule(requirement_id: str, points: tuple[str, ...]) -> Rule:
    """A rule that asks for a procedure in force for each point of Art. 17(1)."""

    def rule(facts: Facts) -> Finding:
        notes = Notes(facts, requirement_id)
        notes.cover("procedure_refs", "point", points, _("a procedure for the points %(names)s of Art. 17(1)"))
        today = facts.as_of.date()
        begun = [(row, date_of(row.get("in_force_from"))) for row in notes.rows("procedure_refs")]
        not_yet = [str(row.get("procedure")) for row, day in begun if day is None or day > today]
        notes.lack_those(not_yet, _("a day, not in the future, from which these are in force: %(names)s"))
        return notes.finding()

    return rule


for _id, _points in POINTS.items():
    judged_by(_id)(procedures_rule(_id, _points))


@judged_by("AIA-Art18")
def retention_of_documents(facts: Facts) -> Finding:
    """Art. 18(1): ten years after the system was placed on the market."""
    notes = Notes(facts, "AIA-Art18")
    until = date_of(notes.stated.get("retention_until"))
    if until is not None:
        least = _years_later(placed_on(facts) or facts.as_of.date())
        notes.contradict(
            _("Documents have to be kept until %(day)s at least: ten years after placing on the market.")
            % {"day": least.isoformat()},
            when=until < least,
        )
    return notes.finding()


def _years_later(day: dt.date) -> dt.date:
    leap = (day.month, day.day) == (2, 29)
    return day.replace(year=min(day.year + KEEP_YEARS, dt.MAXYEAR), day=28 if leap else day.day)
