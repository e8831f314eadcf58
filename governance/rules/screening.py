"""Whether a DPIA is owed: Article 35(1) and (3), and the nine criteria of WP248 with their rule of thumb."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from governance.applicability import Truth
from governance.rules import Facts, Finding, Rule, declare_table, judged_by
from governance.rules.checking import answer_source, date_of, empty_cells, rows, unnamed
from governance.rules.values import is_empty

CRITERIA = range(1, 10)
ENOUGH = 2
CASES = ("case_a", "case_b", "case_c")

declare_table("GDPR-35-3", "scale_figures", "figure", "value")
declare_table("WP248-A2-desc", "checklist", "point", "reference")
declare_table("WP248-A2-nec", "checklist", "point", "reference")
RATED = ("sources", "impacts", "threats", "severity", "likelihood", "measures")
declare_table("WP248-A2-risk", "checklist", "event", *RATED)
declare_table("WP248-A2-parties", "checklist", "point", "reference")


def criterion_met(facts: Facts, number: int) -> bool | None:
    """Whether a criterion is met, by the accepted statement or else by the answer; None where neither tells."""
    stated = facts.values(f"WP248-C{number}").get("met")
    told = facts.answer(f"wp248_c{number}") if stated is None else stated
    return told if isinstance(told, bool) else None


def criterion(number: int) -> Rule:
    """The rule of one criterion: the answer gives it and, where it has a reason, settles it."""
    key, question = f"WP248-C{number}", f"wp248_c{number}"

    def rule(facts: Facts) -> Finding:
        answer = facts.dossier["answers"].get(question)
        if answer is None or not isinstance(answer["value"], bool):
            return Finding()
        filled: dict[str, Any] = {"met": answer["value"]}
        if answer["reason"] and is_empty(facts.values(key).get("reason")):
            filled["reason"] = answer["reason"]
        extra = {4: ("categories",), 5: ("persons", "records", "duration", "area")}.get(number, ())
        stated = facts.values(key)
        if number == 4 and (categories := _categories(facts)) and is_empty(stated.get("categories")):
            filled["categories"] = categories
            extra = ()
        reasoned = bool(answer["reason"]) or number == 5
        held = _("the answer of %(author)s on this criterion") % {"author": answer["author"]}
        lacking = () if reasoned or not is_empty(stated.get("reason")) else (_("a reason with the answer"),)
        return Finding(
            held=(held,),
            lacking=lacking,
            filled=filled,
            references=answer_source(facts, question),
            settled=reasoned and all(not is_empty(stated.get(name)) for name in extra),
        )

    return rule


def _categories(facts: Facts) -> list[str]:
    found = facts.answer("special_categories")
    return [str(item) for item in found] if isinstance(found, list) and found else []


for _number in CRITERIA:
    judged_by(f"WP248-C{_number}")(criterion(_number))


@judged_by("WP248-threshold")
def threshold(facts: Facts) -> Finding:
    """Counted by the platform; complete by itself where a DPIA is made, or where fewer than two criteria are met."""
    met = {number: criterion_met(facts, number) for number in CRITERIA}
    open_ones = [f"C{number}" for number, truth in met.items() if truth is None]
    if open_ones:
        return Finding(lacking=(_("answers to the criteria %(criteria)s") % {"criteria": ", ".join(open_ones)},))
    count, stated = sum(truth is True for truth in met.values()), facts.values("WP248-threshold")
    held = (_("%(count)d of nine criteria are met, counted from the answers") % {"count": count},)
    sources = tuple(source for number in CRITERIA for source in answer_source(facts, f"wp248_c{number}"))
    filled: dict[str, Any] = {"count": count}
    decision = facts.values("GDPR-35-1").get("trigger_decision")
    made = facts.truth("dpia_required") is Truth.YES and decision != "not_required"
    if count < ENOUGH or made:
        return Finding(held=held, filled=filled, references=sources, waived=("deviation_reason",), settled=True)
    lacking = []
    if is_empty(stated.get("deviation_reason")):
        lacking.append(_("a reason why no DPIA is made though two criteria or more are met"))
    if is_empty(facts.values("GDPR-35-2").get("advice_text")):
        lacking.append(_("the view of the data protection officer on making no DPIA"))
    return Finding(held=held, lacking=tuple(lacking), filled=filled, references=sources)


@judged_by("GDPR-35-3")
def compulsory_cases(facts: Facts) -> Finding:
    filled = {name: answer for name in CASES if isinstance(answer := facts.answer(f"dpia_{name}"), bool)}
    sources = tuple(source for name in filled for source in answer_source(facts, f"dpia_{name}"))
    held = (_("answers on the cases (a) to (c) of Art. 35(3)"),) if len(filled) == 3 else ()
    table = rows(facts.values("GDPR-35-3"), "scale_figures")
    figures = {"persons": ("person", "patient"), "volume": ("volume", "record", "stud"), "duration": ("duration",)}
    bare = unnamed(figures | {"area": ("area", "region", "country", "site")}, table, "figure") if table else []
    lacking = (_("figures on %(figures)s") % {"figures": ", ".join(bare)},) if bare else ()
    return Finding(held=held, lacking=lacking, filled=filled, references=sources)


@judged_by("GDPR-35-1")
def decision_and_timing(facts: Facts) -> Finding:
    values = facts.values("GDPR-35-1")
    done, start = date_of(values.get("completed_on")), date_of(values.get("processing_start"))
    lacking, contradicted = [], []
    if done and start and done >= start:
        words = _("The assessment was completed on %(done)s, not before processing started on %(start)s (Art. 35(1)).")
        contradicted.append(words % {"done": done.isoformat(), "start": start.isoformat()})
    if done and done > facts.as_of.date():
        contradicted.append(_("The day of completion, %(day)s, lies in the future.") % {"day": done.isoformat()})
    cases = facts.values("GDPR-35-3")
    compulsory = [name for name in CASES if True in (cases.get(name), facts.answer(f"dpia_{name}"))]
    if values.get("trigger_decision") == "not_required" and compulsory:
        told = ", ".join(f"({case[-1]})" for case in compulsory)
        contradicted.append(_("No DPIA is said to be required, yet Art. 35(3)%(cases)s holds.") % {"cases": told})
    if facts.answer("dpia_national_list") is True and values.get("trigger_decision") == "not_required":
        contradicted.append(_("No DPIA is said to be required, yet the list of the authority names the processing."))
    if values and not facts.text("GDPR-35-1"):
        lacking.append(_("the reason for the decision, in the text of the statement"))
    return Finding(lacking=tuple(lacking), contradicted=tuple(contradicted))


POINTS: dict[str, dict[str, tuple[str, ...]]] = {
    "WP248-A2-desc": {
        "nature, scope, context and purposes": ("nature", "context"),
        "data, recipients and retention": ("recipient", "retention"),
        "functional description": ("functional",),
        "assets": ("asset",),
        "codes of conduct": ("code",),
    },
    "WP248-A2-nec": {
        "purpose": ("purpose",),
        "ground": ("ground", "lawful"),
        "minimisation": ("minim", "adequate"),
        "retention": ("retention", "storage"),
        "information": ("information", "notice"),
        "access and portability": ("access", "portab"),
        "correction and erasure": ("correct", "rectif", "eras"),
        "objection and restriction": ("object", "restrict"),
        "processors": ("processor",),
        "transfers": ("transfer",),
        "prior consultation": ("consultation",),
    },
    "WP248-A2-parties": {
        "advice of the officer": ("officer", "dpo"),
        "views of data subjects": ("view", "data subject"),
    },
}


@judged_by("WP248-A2-desc")
def acceptable_description(facts: Facts) -> Finding:
    return _points(facts, "WP248-A2-desc")


@judged_by("WP248-A2-nec")
def acceptable_necessity(facts: Facts) -> Finding:
    return _points(facts, "WP248-A2-nec")


@judged_by("WP248-A2-parties")
def acceptable_involvement(facts: Facts) -> Finding:
    return _points(facts, "WP248-A2-parties")


def _points(facts: Facts, key: str) -> Finding:
    table = rows(facts.values(key), "checklist")
    bare = unnamed(POINTS[key], table, "point") if table else []
    return Finding(lacking=(_("the points %(points)s") % {"points": ", ".join(bare)},) if bare else ())


EVENTS = {
    "illegitimate access": ("access",),
    "unwanted modification": ("modif", "alter", "change"),
    "disappearance": ("disappear", "loss"),
}


@judged_by("WP248-A2-risk")
def acceptable_risks(facts: Facts) -> Finding:
    table = rows(facts.values("WP248-A2-risk"), "checklist")
    if not table:
        return Finding()
    lacking = []
    if bare := unnamed(EVENTS, table, "event"):
        lacking.append(_("the events %(events)s") % {"events": ", ".join(bare)})
    if gaps := empty_cells(table, *RATED):
        lacking.append(_("the columns %(columns)s in every row") % {"columns": ", ".join(gaps)})
    return Finding(lacking=tuple(lacking))
