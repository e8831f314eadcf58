"""Article 27: whether an assessment of fundamental rights is owed, and what it says about people and their rights."""

from __future__ import annotations

from django.utils.translation import gettext as _

from governance.conditions.truth import Truth
from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.annex_iv import hold_audits
from governance.rules.notes import Notes, answer_reference, issued, uncovered
from governance.rules.use_register import deployment_reference, first_use
from governance.rules.values import date_of, plain, rows_of

declare_table("AIA-Art27-1-c", "groups", "group", "results", "gap?")
declare_table("AIA-Art27-1-d", "harms", "group", "harm", "rating")
declare_table("AIA-Art27-1-e", "roles", "measure", "role")
declare_table("AIA-Art27-4", "cross_references", "fria_section", "dpia_section")


@judged_by("AIA-Art27-1-scope")
def owed(facts: Facts) -> Finding:
    """Art. 27(1): computed from who deploys the system and from the point of Annex III."""
    notes, conclusion = Notes(facts, "AIA-Art27-1-scope"), facts.conclusions.get("fria_deployer")
    if conclusion is None or conclusion.truth is Truth.UNKNOWN:
        notes.lack(_("the answers from which it follows whether an assessment is owed"))
        return notes.finding()
    source = answer_reference("deployer_kind")
    due = conclusion.truth is Truth.YES
    notes.hold(_("derived: an assessment is owed") if due else _("derived: no assessment is owed"), source)
    kind, points = facts.answer("deployer_kind"), facts.answer("annex_iii_points")
    notes.fill("deployer_type", kind, source)
    if isinstance(points, list):
        told = ", ".join(sorted(set(points) - {"none"})) or "none"
        notes.fill_if_silent("annex_iii_point", told, answer_reference("annex_iii_points"))
    notes.fill_if_silent("conclusion", "owed" if due else "not_owed", source)
    notes.fill_if_silent("reasoning", conclusion.reason, source)
    stated = notes.stated.get("conclusion")
    notes.contradict(
        _("It follows from the answers that an assessment is owed."), when=due and stated in ("not_owed", "voluntary")
    )
    notes.contradict(
        _("It follows from the answers that no assessment is owed; one that is made is voluntary."),
        when=not due and stated == "owed",
    )
    return notes.finding(settled=True)


@judged_by("AIA-Art27-1-b")
def period(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art27-1-b")
    start, end = date_of(notes.stated.get("start")), date_of(notes.stated.get("end"))
    wrong = start is not None and end is not None and end < start
    notes.contradict(_("The period of use ends before it starts."), when=wrong)
    first = first_use(facts)
    if first is not None:
        day = date_of(first["started_at"])
        notes.hold(_("in use since %(day)s") % {"day": day}, deployment_reference(first))
        notes.fill_if_silent("start", day.isoformat() if day else "", deployment_reference(first))
        words = _("The period of use is said to start on %(told)s, but this version is in use since %(day)s.")
        early = start is not None and day is not None and day < start
        notes.contradict(words % {"told": start, "day": day}, when=early)
    return notes.finding()


@judged_by("AIA-Art27-1-c")
def groups(facts: Facts) -> Finding:
    notes, audits = Notes(facts, "AIA-Art27-1-c"), facts.audits("fairness_audit")
    hold_audits(notes, audits, _("results for groups of patients"))
    return notes.finding(rests_on_audit=bool(audits))


@judged_by("AIA-Art27-1-d")
def harms(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art27-1-d")
    known = [str(row.get("group")) for row in rows_of(facts.values("AIA-Art27-1-c").get("groups"))]
    notes.lack(_("the groups that are affected (Art. 27(1)(c))"), when=not known)
    notes.cover("harms", "group", known, _("a rated harm, or a reasoned “none”, for %(names)s"))
    return notes.finding()


@judged_by("AIA-Art27-1-e")
def oversight(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art27-1-e")
    told = [str(row.get("measure")) for row in rows_of(facts.values("AIA-Art13-3-d").get("measures"))]
    notes.lack(_("the oversight measures of the instructions for use"), when=not told)
    notes.cover("roles", "measure", told, _("how %(names)s is done here"))
    return notes.finding()


@judged_by("AIA-Art27-2-3")
def notification(facts: Facts) -> Finding:
    return _told_before_use(facts, "AIA-Art27-2-3", "notified_on", _("The authority was notified after the first use."))


def _told_before_use(facts: Facts, key: str, field: str, words: str) -> Finding:
    """Somebody is told before the use begins; ``words`` where a stated day is later."""
    notes = Notes(facts, key)
    first, told = first_use(facts), date_of(notes.stated.get(field))
    days = [date_of(facts.values("AIA-Art27-1-b").get("start")), date_of(first["started_at"]) if first else None]
    start = min((day for day in days if day is not None), default=None)
    notes.contradict(words, when=start is not None and told is not None and told > start)
    return notes.finding()


@judged_by("AIA-Art27-4")
def with_dpia(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art27-4")
    issued(notes, "dpia", _("the data protection impact assessment"))
    sections = {section.id: section.title for section in facts.catalogue.outline("dpia").sections}
    known = [{"section": key} for key in sections] + [{"section": title} for title in sections.values()]
    cited = [str(row.get("dpia_section")) for row in notes.rows("cross_references")]
    notes.lack_those(
        uncovered(known, "section", cited), _("sections of the data protection impact assessment called %(names)s")
    )
    return notes.finding()


@judged_by("AIA-Art26-7")
def workers(facts: Facts) -> Finding:
    return _told_before_use(facts, "AIA-Art26-7", "informed_on", _("The staff was informed after the first use."))


@judged_by("AIA-Art86")
def explanation(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art86")
    vague = plain(notes.stated.get("explanation_template", "")) in ("none", "no")
    notes.lack(_("a template of the explanation that people may ask for"), when=vague)
    return notes.finding()
