"""Devices under MDR: class, clinical evaluation, surveillance, safety reports, retention, registration."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from django.utils.translation import gettext as _

from governance.rules import Facts, Finding, judged_by
from governance.rules.checking import after_today, answer_source, date_of
from governance.rules.notes import placed_on
from governance.rules.values import is_empty, plain, same_text

CLASSES = {"I": "I", "I_nb": "I", "IIa": "IIa", "IIb": "IIb", "III": "III"}
"""Answer -> class as the requirements name it: a class I device with a notified body is of class I."""
REPORT_YEARS = {"IIa": 2, "IIb": 1, "III": 1}
"""Art. 86(1) MDR: at least every two years, or every year."""
DECLARED_CLASS = re.compile(r"^(?:.*\bclass\s+)?(III|IIb|IIa|I)\b", re.IGNORECASE)
KEPT_YEARS, KEPT_YEARS_IMPLANTABLE = 10, 15
REGISTRATION_NUMBER = re.compile(r"[A-Z]{2}-(MF|AR|IM|PR)-\d{9}")


def answered_class(facts: Facts) -> str:
    """The class that was answered, as requirements name it; empty where none was."""
    return CLASSES.get(str(facts.answer("mdr_class")), "")


def later_by_years(day: dt.date, years: int) -> dt.date:
    """The same day so many years later; 1 March after 29 February of a year that has no such day."""
    if day.year + years > dt.MAXYEAR:
        return dt.date.max
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return dt.date(day.year + years, 3, 1)


@judged_by("MDR-R11")
def software_class(facts: Facts) -> Finding:
    found = answered_class(facts)
    if not found:
        return Finding()
    declared = DECLARED_CLASS.search(facts.dossier["system"]["risk_class"])
    contradicted: tuple[str, ...] = ()
    if declared and declared[1].casefold() != found.casefold():
        words = _("The system is registered as class %(declared)s, but the answer is class %(answer)s.")
        contradicted = (words % {"declared": declared[1], "answer": found},)
    held = (_("class %(name)s, as answered") % {"name": found},)
    sources = answer_source(facts, "mdr_class")
    return Finding(held=held, contradicted=contradicted, filled={"mdr_class": found}, references=sources)


@judged_by("MDR-61")
def clinical_evaluation(facts: Facts) -> Finding:
    values = facts.values("MDR-61")
    covered, report = values.get("version_covered"), values.get("cer_reference")
    own = (facts.version["label"], facts.version["digest"])
    lacking, contradicted = [], []
    if not is_empty(covered) and not any(same_text(covered, name) for name in own):
        words = _("The clinical evaluation covers version %(covered)s, not %(own)s.")
        contradicted.append(words % {"covered": covered, "own": own[0]})
    if not is_empty(report) and not _cited(facts, str(report)):
        lacking.append(_("its citation in the fitness of metrics, Annex IV point 4"))
    return Finding(lacking=tuple(lacking), contradicted=tuple(contradicted))


def _cited(facts: Facts, report: str) -> bool:
    told = plain([facts.values("AIA-AnnexIV-4"), facts.text("AIA-AnnexIV-4")])
    return plain(report) in told


@judged_by("MDR-83-84")
def surveillance_plan(facts: Facts) -> Finding:
    plan, other = facts.values("MDR-83-84").get("pms_plan"), facts.values("AIA-Art72-4").get("mdr_pms_plan")
    if is_empty(plan):
        return Finding()
    if is_empty(other):
        return Finding(lacking=(_("the link between this plan and the AI indicators (AI Act Art. 72(4))"),))
    if not same_text(plan, other):
        words = _("The plan is “%(plan)s” here, but “%(other)s” where the AI indicators are joined with it.")
        return Finding(contradicted=(words % {"plan": plan, "other": other},))
    return Finding(held=(_("the plan that the AI indicators are joined with"),))


@judged_by("MDR-86")
def safety_report(facts: Facts) -> Finding:
    values = facts.values("MDR-86")
    filled: dict[str, Any] = {"mdr_class": found} if (found := answered_class(facts)) else {}
    last, device = date_of(values.get("last_psur")), found or str(values.get("mdr_class", ""))
    if device == "I":
        held = (_("class I: Art. 86 asks for no periodic safety update report, Art. 85 for another"),)
        return Finding(held=held, filled=filled, waived=("last_psur",), settled=True)
    contradicted = list(after_today(facts, values, "last_psur"))
    if last is None or device not in REPORT_YEARS:
        return Finding(filled=filled, contradicted=tuple(contradicted))
    due = later_by_years(last, REPORT_YEARS[device])
    held = (_("the next report is due on %(day)s, by class %(name)s") % {"day": due.isoformat(), "name": device},)
    if due < facts.as_of.date():
        words = _("The periodic safety update report was due on %(day)s (Art. 86(1) MDR, class %(name)s).")
        contradicted.append(words % {"day": due.isoformat(), "name": device})
    return Finding(held=held, filled=filled, contradicted=tuple(contradicted))


@judged_by("MDR-10-8")
def retention(facts: Facts) -> Finding:
    """The later of two ends: ten or fifteen years after the last device, and ten after the placing (AI Act Art. 18)."""
    values, answer = facts.values("MDR-10-8"), facts.answer("implantable")
    filled: dict[str, Any] = {"implantable": answer} if isinstance(answer, bool) else {}
    implantable = values.get("implantable", answer)
    last = date_of(values.get("last_device_date"))
    if last is None or not isinstance(implantable, bool):
        return Finding(filled=filled)
    end = retention_end(last_device=last, implantable=implantable, placed=placed_on(facts))
    stated = date_of(facts.values("AIA-Art18").get("retention_until"))
    contradicted: tuple[str, ...] = ()
    if stated and stated < end:
        words = _("Documents are said to be kept until %(stated)s, but have to be until %(end)s.")
        contradicted = (words % {"stated": stated.isoformat(), "end": end.isoformat()},)
    held = (_("documents are to be kept until %(day)s, the later end under MDR and AI Act") % {"day": end.isoformat()},)
    lacking = () if placed_on(facts) else (_("the day of first placing on the market, for the end under the AI Act"),)
    return Finding(held=held, lacking=lacking, contradicted=contradicted, filled=filled)


def retention_end(*, last_device: dt.date, implantable: bool, placed: dt.date | None) -> dt.date:
    """Until when documents are kept (MDR Art. 10(8), AI Act Art. 18(1))."""
    under_mdr = later_by_years(last_device, KEPT_YEARS_IMPLANTABLE if implantable else KEPT_YEARS)
    return max(under_mdr, later_by_years(placed, KEPT_YEARS)) if placed else under_mdr


@judged_by("MDR-29")
def registration(facts: Facts) -> Finding:
    values = facts.values("MDR-29")
    number, day, placed = values.get("srn"), date_of(values.get("registered_on")), placed_on(facts)
    lacking, contradicted = [], list(after_today(facts, values, "registered_on"))
    if not is_empty(number) and not REGISTRATION_NUMBER.fullmatch(str(number).strip()):
        lacking.append(_("a single registration number as EUDAMED gives it, such as DE-MF-000012345"))
    if day and placed and day > placed:
        words = _("Registered on %(day)s, after the device was placed on the market on %(placed)s.")
        contradicted.append(words % {"day": day.isoformat(), "placed": placed.isoformat()})
    return Finding(lacking=tuple(lacking), contradicted=tuple(contradicted))
