"""Risks to people, measures, advice, views, consultation: Articles 25, 32, 35(2) to (11) and 36, CNIL, EDPB.

The rows of risks themselves are in ``governance.standing.risk_rows``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from governance.applicability import Truth
from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.checking import (
    after_today,
    audits_of,
    cites_audit,
    date_of,
    moment_of,
    quoted,
    rows,
    told_audits,
    unnamed,
)
from governance.rules.values import is_empty, plain
from governance.standing.risk_rows import blocking, risk_rows
from governance.standing.risk_statements import whole

LONGEST_CONSULTATION = dt.timedelta(weeks=8 + 6)
"""Art. 36(2): eight weeks, and six more where the authority extends; the longer time is awaited."""

declare_table("GDPR-25", "design_measures", "principle", "measure")
declare_table("GDPR-25", "default_settings", "setting", "value")
declare_table("GDPR-32", "measures", "threat", "measure", "owner", "tested_on")
declare_table("GDPR-35-7-a", "operations", "stage", "description")
declare_table("GDPR-35-7-a", "assets", "asset", "description")
declare_table("GDPR-35-7-a", "recipients", "recipient", "purpose")
declare_table("GDPR-35-7-b", "alternatives", "alternative", "why_not")
declare_table("GDPR-35-7-c", "risk_entries", "risk", "source", "threat", "impact", "severity", "likelihood")
declare_table("GDPR-35-7-d", "measures_per_risk", "risk", "measure", "owner", "due", "status")
declare_table("GDPR-35-7-d", "residual_ratings", "risk", "severity", "likelihood")
declare_table("GDPR-35-7-d", "implementation_dates", "risk", "measure", "done_on")
declare_table("CNIL-access", "impacts", "impact", "whom?")
declare_table("CNIL-change", "impacts", "impact", "whom?")
declare_table("CNIL-loss", "impacts", "impact", "whom?")
declare_table("CNIL-validate", "actions", "action", "owner", "due")
declare_table("EDPB-28-2024", "attack_tests", "attack", "audit", "result")
declare_table("SYN-privacy", "nearest_neighbour_test", "test", "audit", "result")

PRINCIPLES = {
    "lawfulness, fairness and transparency": ("lawful", "fair", "transpar"),
    "purpose limitation": ("purpose",),
    "data minimisation": ("minimi",),
    "accuracy": ("accura",),
    "storage limitation": ("storage", "retention"),
    "integrity and confidentiality": ("integrity", "confiden", "security"),
}


@judged_by("GDPR-25")
def by_design(facts: Facts) -> Finding:
    table = rows(facts.values("GDPR-25"), "design_measures")
    bare = unnamed(PRINCIPLES, table, "principle") if table else []
    return Finding(lacking=(_("a measure for %(principles)s") % {"principles": quoted(bare)},) if bare else ())


@judged_by("GDPR-32")
def security(facts: Facts) -> Finding:
    values = facts.values("GDPR-32")
    table = rows(values, "measures")
    if not table:
        return Finding()
    threats = [threat for key in ("CNIL-access", "CNIL-change", "CNIL-loss") for threat in _threats(facts, key)]
    covered = {plain(row.get("threat")) for row in table}
    lacking = []
    if bare := [threat for threat in dict.fromkeys(threats) if plain(threat) not in covered]:
        lacking.append(_("a measure against the threats %(threats)s") % {"threats": quoted(bare)})
    if untested := [row.get("threat") for row in table if date_of(row.get("tested_on")) is None]:
        lacking.append(_("the day of the test of the measures against %(threats)s") % {"threats": quoted(untested)})
    contradicted = after_today(facts, values, "last_test")
    return Finding(lacking=tuple(lacking), contradicted=contradicted)


def _threats(facts: Facts, key: str) -> list[str]:
    stated = facts.values(key).get("threats")
    return [str(item) for item in stated] if isinstance(stated, list) else []


def approval_day(facts: Facts) -> dt.date | None:
    """The day on which the controller signed the assessment; None where nobody has."""
    signature = facts.values("CNIL-validate").get("signed_by")
    return date_of(signature.get("signed_on")) if isinstance(signature, Mapping) else None


@judged_by("GDPR-35-2")
def advice(facts: Facts) -> Finding:
    values, approved = facts.values("GDPR-35-2"), approval_day(facts)
    given = date_of(values.get("advice_date"))
    contradicted = list(after_today(facts, values, "advice_date"))
    if given and approved and given > approved:
        words = _("The officer advised on %(advice)s, after the assessment was approved on %(approval)s.")
        contradicted.append(words % {"advice": given.isoformat(), "approval": approved.isoformat()})
    return Finding(contradicted=tuple(contradicted))


STAGES = {
    "collection": ("collect", "acqui", "import"),
    "storage": ("stor", "archiv"),
    "use": ("use", "train", "infer", "process", "analys"),
    "deletion": ("delet", "eras", "destr"),
}


@judged_by("GDPR-35-7-a")
def description(facts: Facts) -> Finding:
    table = rows(facts.values("GDPR-35-7-a"), "operations")
    bare = unnamed(STAGES, table, "stage") if table else []
    return Finding(lacking=(_("the stages %(stages)s of the data flow") % {"stages": quoted(bare)},) if bare else ())


@judged_by("GDPR-35-7-b")
def necessity(facts: Facts) -> Finding:
    values, audits = facts.values("GDPR-35-7-b"), audits_of(facts, "performance_evaluation")
    lacking = []
    if not audits:
        lacking.append(_("an audit of this version that shows the benefit"))
    elif values and not cites_audit(values.get("benefit_evidence"), audits):
        lacking.append(_("a citation of the audit of this version that shows the benefit"))
    return Finding(held=told_audits(audits), lacking=tuple(lacking), rests_on_audit=bool(audits))


@judged_by("GDPR-35-7-c")
def risks(facts: Facts) -> Finding:
    """Every row rated before measures and described; what audits measured stands beside it."""
    lacking: list[str] = []
    contradicted: list[str] = []
    table = risk_rows(facts)
    for row in table:
        absent = [name for name in ("sources", "threats", "impacts") if not getattr(row, name)]
        if absent:
            told = {"risk": row.title, "parts": ", ".join(_part(name) for name in absent)}
            lacking.append(_("for “%(risk)s”: %(parts)s") % told)
        lacking += row.inherent_gaps
        contradicted += row.clashes
    measured = tuple(reference for row in table for reference in (item.reference for item in row.measured))
    held = tuple(dict.fromkeys(item.sentence for row in table for item in row.measured))
    return Finding(
        held=held,
        lacking=tuple(dict.fromkeys(lacking)),
        contradicted=tuple(dict.fromkeys(contradicted)),
        references=tuple(dict.fromkeys(measured)),
        rests_on_audit=bool(measured),
    )


def _part(name: str) -> str:
    return {"sources": _("sources"), "threats": _("threats"), "impacts": _("impacts")}[name]


@judged_by("GDPR-35-7-d")
def measures(facts: Facts) -> Finding:
    table, contradicted = risk_rows(facts), []
    lacking = [gap for row in table for gap in row.residual_gaps]
    for row in table:
        if row.lowered:
            words = _("“%(risk)s” is rated lower after measures, yet no measure against it is done.")
            contradicted.append(words % {"risk": row.title})
    high = blocking(table)
    if high and facts.values("GDPR-35-7-d") and facts.truth("high_residual_risk") is Truth.NO:
        words = _("It was answered that no high risk remains, yet %(risks)s are rated high after measures.")
        contradicted.append(words % {"risks": quoted(row.title for row in high)})
    return Finding(lacking=tuple(dict.fromkeys(lacking)), contradicted=tuple(contradicted))


@judged_by("GDPR-35-9")
def views(facts: Facts) -> Finding:
    values = facts.values("GDPR-35-9")
    why_not, asked = values.get("not_consulted_reason"), values.get("consulted_groups")
    if not is_empty(asked):
        dated = re.search(r"\b20\d\d\b", f"{values.get('views', '')} {values.get('method', '')}")
        lacking = () if dated else (_("the date on which the views were given"),)
        return Finding(lacking=lacking, waived=("not_consulted_reason",))
    return Finding(waived=() if is_empty(why_not) else ("consulted_groups", "method", "views"))


@judged_by("GDPR-35-11")
def review_on_change(facts: Facts) -> Finding:
    """The approval is newer than the last event that the platform knows of, and the next review lies ahead."""
    values, approved, today = facts.values("GDPR-35-11"), approval_day(facts), facts.as_of.date()
    lacking, contradicted = [], []
    following = date_of(values.get("next_review"))
    if following and following <= today:
        contradicted.append(_("The next review was due on %(day)s.") % {"day": following.isoformat()})
    day, event = max(_events(facts))
    if approved is None:
        lacking.append(_("a signed approval of the assessment"))
    elif approved < day:
        told = {"approval": approved.isoformat(), "event": event, "day": day.isoformat()}
        contradicted.append(_("The assessment was approved on %(approval)s, before %(event)s on %(day)s.") % told)
    return Finding(
        held=(_("the last event that asks for a review: %(event)s, %(day)s") % {"event": event, "day": day},),
        lacking=tuple(lacking),
        contradicted=tuple(contradicted),
    )


def _events(facts: Facts) -> list[tuple[dt.date, str]]:
    """What asks for a review, with its day: the version, audits that failed, a breach."""
    registered = date_of(facts.version["submitted_at"]) or facts.as_of.date()
    found = [(registered, _("this version was registered"))]
    for audit in facts.audits():
        day = date_of(audit["finished_at"])
        if audit["outcome"] == "fail" and day:
            found.append((day, _("audit %(run)s failed") % {"run": audit["run"]}))
    if breach := moment_of(facts.values("GDPR-33").get("aware_at")):
        found.append((breach.date(), _("a breach became known")))
    return found


@judged_by("GDPR-36")
def prior_consultation(facts: Facts) -> Finding:
    """While a risk stays high, no use before the authority has replied or its time has lapsed."""
    values, high = facts.values("GDPR-36"), blocking(risk_rows(facts))
    sent, today = date_of(values.get("submitted_on")), facts.as_of.date()
    lapse = sent + LONGEST_CONSULTATION if sent else None
    replied, lapsed = not is_empty(values.get("authority_reply")), bool(lapse and lapse <= today)
    filled: dict[str, Any] = {}
    lacking, contradicted = [], list(after_today(facts, values, "submitted_on"))
    if lapsed and not replied and lapse:
        words = _("No reply; the time of Art. 36(2), extended to fourteen weeks, lapsed on %(day)s.")
        filled["authority_reply"] = words % {"day": lapse.isoformat()}
    if high and not replied and not lapsed:
        when = lapse.isoformat() if lapse else _("a day fourteen weeks after the submission")
        lacking.append(_("a reply of the authority, or the lapse of its time on %(day)s") % {"day": when})
        if is_empty(values.get("go_live_blocked")):
            filled["go_live_blocked"] = True
        elif values["go_live_blocked"] is not True:
            contradicted.append(_("The use is not blocked, yet high risks remain and the authority has not replied."))
        start = date_of(facts.values("GDPR-35-1").get("processing_start"))
        if start and start <= today:
            words = _("Processing is said to have started on %(day)s, though the authority has not replied.")
            contradicted.append(words % {"day": start.isoformat()})
    held = (_("risks that stay high: %(risks)s") % {"risks": quoted(row.title for row in high)},) if high else ()
    return Finding(held=held, lacking=tuple(lacking), contradicted=tuple(contradicted), filled=filled)


@judged_by("CNIL-access")
def access_risk(facts: Facts) -> Finding:
    return _feared(facts, "CNIL-access", "synthetic_privacy_audit")


@judged_by("CNIL-change")
def change_risk(facts: Facts) -> Finding:
    return _feared(facts, "CNIL-change", "hallucination_check", "robustness_audit")


@judged_by("CNIL-loss")
def loss_risk(facts: Facts) -> Finding:
    return _feared(facts, "CNIL-loss", "robustness_audit")


def _feared(facts: Facts, key: str, *kinds: str) -> Finding:
    """One feared event: a written reason for both ratings; audits that bear on it are named, and decide nothing."""
    bare = key in facts.accepted and not facts.text(key)
    lacking = (_("a written reason for both ratings"),) if bare else ()
    return Finding(held=told_audits(audits_of(facts, *kinds)), lacking=lacking)


@judged_by("CNIL-scale")
def scales(facts: Facts) -> Finding:
    lacking, contradicted = [], []
    stated = [
        *rows(facts.values("GDPR-35-7-c"), "risk_entries"),
        *rows(facts.values("GDPR-35-7-d"), "residual_ratings"),
    ]
    for entry in stated:
        wrong = [
            str(entry[axis]) for axis in ("severity", "likelihood") if entry.get(axis) and whole(entry[axis]) is None
        ]
        if wrong:
            words = _("“%(risk)s” is rated %(ratings)s; the scales are whole numbers from 1 to 4.")
            contradicted.append(words % {"risk": entry.get("risk"), "ratings": quoted(wrong)})
    table = risk_rows(facts)
    for row in table:
        if not (row.inherent.stated and row.residual.stated):
            lacking.append(_("ratings before and after measures of “%(risk)s”") % {"risk": row.title})
        if row.lowered:
            words = _("The rating of “%(risk)s” falls without a finished measure.")
            contradicted.append(words % {"risk": row.title})
    return Finding(lacking=tuple(lacking), contradicted=tuple(contradicted))


@judged_by("CNIL-validate")
def validation(facts: Facts) -> Finding:
    values, high = facts.values("CNIL-validate"), blocking(risk_rows(facts))
    signature = values.get("signed_by")
    contradicted = list(after_today(facts, signature, "signed_on")) if isinstance(signature, Mapping) else []
    if values.get("decision") == "approve" and high:
        words = _("The assessment is approved, yet %(risks)s stay high after measures (Art. 36(1)).")
        contradicted.append(words % {"risks": quoted(row.title for row in high)})
    return Finding(contradicted=tuple(contradicted))


ATTACKS = {"extraction": ("extract", "memori"), "membership inference": ("member",)}
NEAREST = {"membership": ("member",), "attribute inference": ("attribute",), "nearest record": ("near",)}


@judged_by("EDPB-28-2024")
def anonymous_model(facts: Facts) -> Finding:
    """A model is called anonymous only on attacks against this version that it withstood."""
    values = facts.values("EDPB-28-2024")
    claim = values.get("anonymity_claim")
    if claim is False:
        return Finding(held=(_("the model, treated as personal data"),), waived=("attack_tests",))
    if claim is not True:
        return Finding()
    return _attacked(
        facts,
        unnamed(ATTACKS, rows(values, "attack_tests"), "attack"),
        _("The model is called anonymous, yet %(absent)s; it is to be treated as personal data."),
    )


@judged_by("SYN-privacy")
def anonymous_data(facts: Facts) -> Finding:
    """Synthetic data are called anonymous only on attacks against this very dataset that they withstood."""
    values = facts.values("SYN-privacy")
    if values.get("status") != "anonymous":
        return Finding(held=told_audits(audits_of(facts, "synthetic_privacy_audit")))
    tests = rows(values, "nearest_neighbour_test")
    bare = unnamed(NEAREST, tests, "test")
    if isinstance(values.get("membership_inference"), int | float):
        bare = [name for name in bare if name != "membership"]
    return _attacked(facts, bare, _("The data are called anonymous, yet %(absent)s."))


def _attacked(facts: Facts, bare: list[str], words: str) -> Finding:
    """What speaks against a claim of anonymity: attacks that were not run here, did not pass, or are not told."""
    audits = audits_of(facts, "synthetic_privacy_audit")
    absent = []
    if not audits:
        absent.append(_("no privacy attack on this version and dataset is held"))
    elif any(audit["outcome"] != "pass" for audit in audits):
        absent.append(_("not every privacy attack on it passed"))
    if bare:
        absent.append(_("no result is stated for %(tests)s") % {"tests": ", ".join(bare)})
    told = words % {"absent": _(" and ").join(absent)}
    return Finding(held=told_audits(audits), contradicted=(told,) if absent else (), rests_on_audit=bool(audits))
