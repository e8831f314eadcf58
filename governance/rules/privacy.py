"""Principles of the GDPR, grounds, rights and roles: Articles 5, 6, 9, 12 to 22, 26 to 30, 37 and 44."""

from __future__ import annotations

import re
from collections import Counter

from django.utils.translation import gettext as _

from governance.applicability import Truth
from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.checking import audits_of, cites_audit, quoted, rows, told_audits, unnamed
from governance.rules.values import days_of, is_empty, plain

SIX_MONTHS = 6 * 30.4375
LONGEST_MONTH = 31
FACTORS = 5

declare_table("GDPR-5-1-a", "purposes", "purpose", "ground", "notice")
declare_table("GDPR-5-1-b", "compatibility_test", "factor", "answer")
declare_table("GDPR-5-1-c", "field_necessity", "field", "reason")
declare_table("GDPR-5-1-e", "retention_table", "store", "period", "reason", "deletion")
declare_table("GDPR-6", "basis_per_purpose", "purpose", "phase", "ground")
declare_table("GDPR-9-2", "exception_per_purpose", "purpose", "point", "provision?")
declare_table("GDPR-15-21", "process_per_right", "right", "process", "owner", "limit")
declare_table("GDPR-26-28", "role_table", "party", "phase", "role", "contract?")
declare_table("GDPR-26-28", "sub_processors", "name", "approved_by?")
declare_table("GDPR-44", "transfers", "recipient", "country", "tool", "assessment?")


@judged_by("GDPR-5-1-a")
def lawful_fair_transparent(facts: Facts) -> Finding:
    values, audits = facts.values("GDPR-5-1-a"), audits_of(facts, "fairness_audit")
    lacking = []
    if not audits:
        lacking.append(_("a fairness audit of this version"))
    elif values and not cites_audit(values.get("fairness_statement"), audits):
        lacking.append(_("a citation of the fairness audit of this version in the fairness statement"))
    grounds = {plain(row.get("purpose")) for row in rows(facts.values("GDPR-6"), "basis_per_purpose")}
    bare = [row.get("purpose") for row in rows(values, "purposes") if plain(row.get("purpose")) not in grounds]
    if bare:
        lacking.append(_("a legal ground under Art. 6 for the purposes %(purposes)s") % {"purposes": quoted(bare)})
    return Finding(held=told_audits(audits), lacking=tuple(lacking), rests_on_audit=bool(audits))


@judged_by("GDPR-5-1-b")
def purpose_limitation(facts: Facts) -> Finding:
    values = facts.values("GDPR-5-1-b")
    if not values:
        return Finding()
    factors = {plain(row.get("factor")) for row in rows(values, "compatibility_test") if row.get("answer")}
    if len(factors) >= FACTORS:
        return Finding(waived=("research_safeguards",), held=(_("the five factors of Art. 6(4), answered"),))
    if is_empty(values.get("research_safeguards")):
        return Finding(lacking=(_("answers to the five factors of Art. 6(4), or a ground of its own with safeguards"),))
    return Finding(waived=("compatibility_test",))


@judged_by("GDPR-5-1-c")
def minimisation(facts: Facts) -> Finding:
    values = facts.values("GDPR-5-1-c")
    inputs = [str(name) for name in facts.version["config"].get("modalities", [])]
    table = rows(values, "field_necessity")
    bare = unnamed({name: (plain(name), plain(name.rpartition(".")[2])) for name in inputs}, table, "field")
    if not values or not bare:
        return Finding()
    return Finding(lacking=(_("a reason why the model needs its inputs %(inputs)s") % {"inputs": quoted(bare)},))


@judged_by("GDPR-5-1-d")
def accuracy_of_outputs(facts: Facts) -> Finding:
    rate = facts.values("GDPR-5-1-d").get("output_error_rate")
    audits = audits_of(facts, "hallucination_check", "performance_evaluation")
    lacking = [] if audits else [_("an audit of this version that measures how often its outputs are wrong")]
    if isinstance(rate, int | float) and not isinstance(rate, bool) and not 0 <= rate <= 1:
        lacking.append(_("the error rate as a share between 0 and 1"))
    return Finding(held=told_audits(audits), lacking=tuple(lacking), rests_on_audit=bool(audits))


@judged_by("GDPR-5-1-e")
def storage_limitation(facts: Facts) -> Finding:
    table = rows(facts.values("GDPR-5-1-e"), "retention_table")
    lacking, contradicted = [], []
    for row in table:
        store, days = str(row.get("store")), days_of(row.get("period"))
        if days is None:
            lacking.append(_("the period of the store “%(store)s” in days, months or years") % {"store": store})
        elif "log" in re.split(r"\W+", plain(store).replace("logs", "log")):
            if days < SIX_MONTHS:
                words = _("The logs in “%(store)s” are kept for %(period)s; the AI Act asks for six months or more.")
                contradicted.append(words % {"store": store, "period": row.get("period")})
            contradicted += _other_periods(facts, store, str(row.get("period")), days)
    return Finding(lacking=tuple(lacking), contradicted=tuple(contradicted))


def _other_periods(facts: Facts, store: str, period: str, days: float) -> list[str]:
    """Where the documents on logs state another period than the DPIA."""
    words = _("The DPIA keeps “%(store)s” for %(period)s, but %(requirement)s states %(other)s.")
    found = []
    for key in ("AIA-Art19", "AIA-Art26-6"):
        other = facts.values(key).get("retention_period")
        if days_of(other) not in (None, days):
            found.append(words % {"store": store, "period": period, "requirement": key, "other": other})
    return found


@judged_by("GDPR-5-2")
def accountability(facts: Facts) -> Finding:
    return Finding(
        held=(_("each statement with its author, its time and the person who accepted it, bound in the ledger"),)
    )


@judged_by("GDPR-6")
def legal_grounds(facts: Facts) -> Finding:
    values = facts.values("GDPR-6")
    table = rows(values, "basis_per_purpose")
    lacking, contradicted = [], []
    pairs = Counter((plain(row.get("purpose")), plain(row.get("phase"))) for row in table)
    twice = [f"{purpose}, {phase}" for (purpose, phase), count in pairs.items() if count > 1]
    if twice:
        contradicted.append(_("More than one ground is named for %(pairs)s.") % {"pairs": quoted(twice)})
    points = {point_of(row.get("ground")) for row in table}
    if "" in points:
        lacking.append(_("for each purpose and phase exactly one of the grounds (a) to (f) of Art. 6(1)"))
    phases = {"development": ("develop", "train"), "deployment": ("deploy", "use"), "monitoring": ("monitor",)}
    if table and (bare := unnamed(phases, table, "phase")):
        lacking.append(_("a ground for the phases %(phases)s") % {"phases": quoted(bare)})
    waived: tuple[str, ...] = ()
    if table and not points & {"f", ""}:
        waived = ("balancing_test",)
    elif "f" in points and facts.truth("public_deployer") is Truth.YES:
        contradicted.append(
            _("A public authority cannot rest on legitimate interests in the performance of its tasks (Art. 6(1)).")
        )
    return Finding(lacking=tuple(lacking), contradicted=tuple(contradicted), waived=waived)


def point_of(text: object) -> str:
    """The letter of a point: ``e`` of ``Art. 6(1)(e)``, ``(e)``, ``point e`` or ``e``; empty for none, or for more."""
    said = plain(text)
    letters = set(re.findall(r"\(([a-j])\)", said)) or set(re.findall(r"^(?:point |lit\. ?)?([a-j])$", said))
    return str(letters.pop()) if len(letters) == 1 else ""


@judged_by("GDPR-9-2")
def special_categories(facts: Facts) -> Finding:
    values = facts.values("GDPR-9-2")
    table = rows(values, "exception_per_purpose")
    if not table:
        return Finding()
    points = {point_of(row.get("point")) for row in table}
    lacking = []
    if "" in points:
        lacking.append(_("for each purpose one of the exceptions (a) to (j) of Art. 9(2)"))
    bare = [
        row.get("purpose") for row in table if point_of(row.get("point")) in set("ghij") and not row.get("provision")
    ]
    if bare:
        words = _("the provision of law, or the contract with a health professional, for the purposes %(purposes)s")
        lacking.append(words % {"purposes": quoted(bare)})
    waived = [] if points & {*"ghij", ""} else ["national_provision"]
    waived += [] if points & {"h", ""} else ["secrecy_bound_persons"]
    return Finding(lacking=tuple(lacking), waived=tuple(waived))


@judged_by("GDPR-13-14")
def information(facts: Facts) -> Finding:
    values = facts.values("GDPR-13-14")
    if is_empty(values.get("notice_files")):
        return Finding()
    return Finding(waived=("art14_5_exception",))


RIGHTS = {
    "access": ("access", "15"),
    "rectification": ("rectif", "correct", "16"),
    "erasure": ("eras", "delet", "17"),
    "restriction": ("restrict", "18"),
    "portability": ("portab", "20"),
    "objection": ("object", "21"),
}


@judged_by("GDPR-15-21")
def rights(facts: Facts) -> Finding:
    table = rows(facts.values("GDPR-15-21"), "process_per_right")
    if not table:
        return Finding()
    lacking, contradicted = [], []
    if bare := unnamed(RIGHTS, table, "right"):
        lacking.append(_("a process for the rights %(rights)s") % {"rights": quoted(bare)})
    for row in table:
        days = days_of(row.get("limit"))
        if days is None:
            lacking.append(_("the time limit for “%(right)s” in days or months") % {"right": row.get("right")})
        elif days > LONGEST_MONTH:
            words = _("“%(right)s” is answered within %(limit)s; Art. 12(3) allows one month.")
            contradicted.append(words % {"right": row.get("right"), "limit": row.get("limit")})
    return Finding(lacking=tuple(lacking), contradicted=tuple(contradicted))


@judged_by("GDPR-22")
def automated_decisions(facts: Facts) -> Finding:
    values = facts.values("GDPR-22")
    alone, exception = values.get("solely_automated"), values.get("exception")
    lacking, contradicted = [], []
    if values and not re.search(r"\d", str(values.get("reasoning", ""))):
        lacking.append(_("figures on how often people override the output, in the reasoning"))
    if alone is True and exception == "none":
        contradicted.append(_("A decision is made by the system alone, yet no exception of Art. 22(2) is claimed."))
    if alone is True and exception == "contract" and facts.truth("special_category") is Truth.YES:
        contradicted.append(
            _("Decisions on special categories of data rest on a contract; Art. 22(4) does not allow that.")
        )
    waived = ("exception", "human_intervention_path") if alone is False else ()
    return Finding(lacking=tuple(lacking), contradicted=tuple(contradicted), waived=waived)


@judged_by("GDPR-26-28")
def roles_and_processors(facts: Facts) -> Finding:
    values = facts.values("GDPR-26-28")
    table = rows(values, "role_table")
    processors = [row for row in table if "processor" in plain(row.get("role"))]
    if table and not processors:
        return Finding(waived=("contract_files", "sub_processors"), held=(_("roles of which none is a processor"),))
    bare = [row.get("party") for row in processors if not row.get("contract")]
    if not bare:
        return Finding()
    return Finding(lacking=(_("the contract under Art. 28(3) with %(parties)s") % {"parties": quoted(bare)},))


@judged_by("GDPR-37")
def officer(facts: Facts) -> Finding:
    values = facts.values("GDPR-37")
    if values.get("dpo_required") is not False:
        return Finding()
    contradicted: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    waived: tuple[str, ...] = ("dpo_name",)
    if facts.truth("public_deployer") is Truth.YES:
        contradicted = (_("A public authority needs a data protection officer (Art. 37(1)(a))."),)
    large = facts.answer("dpia_case_b") is True or facts.values("GDPR-35-3").get("case_b") is True
    if large and is_empty(values.get("independence_statement")):
        lacking = (_("why special categories on a large scale are no core activity (Art. 37(1)(c))"),)
    else:
        waived += ("independence_statement",)
    return Finding(lacking=lacking, contradicted=contradicted, waived=waived)


@judged_by("GDPR-44")
def transfers(facts: Facts) -> Finding:
    values = facts.values("GDPR-44")
    tool, table = values.get("tool"), rows(values, "transfers")
    if tool == "none":
        words = _("Transfers are listed, yet no tool under Chapter V is named for them.")
        return Finding(contradicted=(words,) if table else (), waived=("transfers", "assessment_file"))
    # A decision on adequacy takes the place of an assessment of one's own (Art. 45).
    return Finding(waived=("assessment_file",) if tool == "adequacy" else ())
