"""Standards, ISO/IEC 42001, the European Health Data Space, and de-identification under US law."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.checking import after_today, cites_audit, date_of, empty_cells, quoted, rows, told_audits
from governance.rules.notes import AFFIRMED, says
from governance.rules.values import plain

FRESH_DAYS = 90
CLAIM = re.compile(r"\b(conform(s|ity|ant)?|compl(y|ies|iant|iance))\b.{0,80}\bai act\b", re.DOTALL)
DENIAL = re.compile(r"\b(not|no|nor|never|neither)\b")

declare_table("STD-list", "status_table", "deliverable", "status", "presumption", "citation?")
declare_table("ISO42001-614", "clause_map", "clause", "record")
declare_table("ISO42001-A6-A7", "control_map", "control", "evidence")
declare_table("ISO42001-A8-A10", "control_map", "control", "evidence")
declare_table("EHDS-61-73", "export_reviews", "export", "reviewer", "reviewed_on")


@judged_by("STD-list")
def standards(facts: Facts) -> Finding:
    values = facts.values("STD-list")
    lacking, contradicted = [], list(after_today(facts, values, "checked_on"))
    checked = date_of(values.get("checked_on"))
    if checked and (facts.as_of.date() - checked).days > FRESH_DAYS:
        words = _("a check of the standards within %(days)s days: the last was on %(day)s")
        lacking.append(words % {"days": FRESH_DAYS, "day": checked.isoformat()})
    uncited = [
        row.get("deliverable")
        for row in rows(values, "status_table")
        if says(row.get("presumption"), AFFIRMED) and not row.get("citation")
    ]
    if uncited:
        words = _("Presumption of conformity is claimed from %(names)s without a citation in the Official Journal.")
        contradicted.append(words % {"names": quoted(uncited)})
    return Finding(lacking=tuple(lacking), contradicted=tuple(contradicted))


@judged_by("ISO42001-614")
def management_system(facts: Facts) -> Finding:
    """Pointers only: a certificate of a management system shows no conformity of a product."""
    return Finding(contradicted=_claims(facts, "ISO42001-614"))


@judged_by("ISO42001-A6-A7")
def lifecycle_controls(facts: Facts) -> Finding:
    table = rows(facts.values("ISO42001-A6-A7"), "control_map")
    old = {row.get("label") for row in facts.dossier.get("versions", [])} - {facts.version["label"]}
    named = [row.get("evidence") for row in table if any(_names(row.get("evidence"), label) for label in old)]
    lacking = (_("evidence of this version in place of %(names)s") % {"names": quoted(named)},) if named else ()
    cited = [audit for audit in facts.audits() if any(cites_audit(row.get("evidence"), [audit]) for row in table)]
    return Finding(held=told_audits(cited), lacking=lacking, contradicted=_claims(facts, "ISO42001-A6-A7"))


def _names(text: object, label: str) -> bool:
    """Whether a text names a version, as ``version 1.0``."""
    return re.search(rf"\bversion\s+{re.escape(plain(label))}(?![\w.])", plain(text)) is not None


@judged_by("ISO42001-A8-A10")
def user_controls(facts: Facts) -> Finding:
    return Finding(contradicted=_claims(facts, "ISO42001-A8-A10"))


def _claims(facts: Facts, key: str) -> tuple[str, ...]:
    """Sentences that conclude from the management system to the AI Act; one that denies it is none."""
    sentences = re.split(r"(?<=[.!?])\s+", facts.text(key))
    if any(CLAIM.search(plain(one)) and not DENIAL.search(plain(one)) for one in sentences):
        return (_("The text claims conformity with the AI Act from a management system; ISO/IEC 42001 shows none."),)
    return ()


@judged_by("EHDS-53-68")
def permit(facts: Facts) -> Finding:
    values = facts.values("EHDS-53-68")
    expiry, registered = date_of(values.get("expiry")), date_of(facts.version["submitted_at"])
    if expiry is None or registered is None or registered <= expiry:
        return Finding()
    words = _("the day of the training run: the version was registered on %(day)s, after the permit ended on %(end)s")
    return Finding(lacking=(words % {"day": registered.isoformat(), "end": expiry.isoformat()},))


@judged_by("EHDS-61-73")
def user_duties(facts: Facts) -> Finding:
    values = facts.values("EHDS-61-73")
    due, lacking = date_of(values.get("publication_due")), []
    if due and due < facts.as_of.date():
        lacking.append(_("the publication of the results, due on %(day)s") % {"day": due.isoformat()})
    if empty_cells(rows(values, "export_reviews"), "reviewed_on"):
        lacking.append(_("the day on which every export was reviewed"))
    return Finding(lacking=tuple(lacking))


@judged_by("HIPAA-164514")
def de_identification(facts: Facts) -> Finding:
    """Removing the eighteen identifiers needs no report of an expert (45 CFR 164.514(b)(2))."""
    method = facts.values("HIPAA-164514").get("method")
    return Finding(waived=("expert_report",) if method == "safe_harbor" else ())
