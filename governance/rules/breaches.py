"""Articles 33 and 34 of the GDPR: a breach of personal data is told to the authority, and to people at a high risk."""

from __future__ import annotations

from django.utils.translation import gettext as _

from governance.incident_routes import UNLIKELY, due_at
from governance.rules import Facts, Finding, judged_by
from governance.rules.checking import moment_of
from governance.rules.incident_register import breach_risk_of, chosen_breach, high_risk, hold_incident, unreported
from governance.rules.incidents import clock_words, late, out_of_order, stated_incident, stated_zone
from governance.rules.notes import Notes


@judged_by("GDPR-33")
def breach_to_authority(facts: Facts) -> Finding:
    """Seventy-two hours, exactly; later only with the reasons for it (Art. 33(1))."""
    notes, breach = Notes(facts, "GDPR-33"), chosen_breach(facts)
    if breach is not None:
        hold_incident(
            notes,
            breach,
            aware_at=breach.told["controller_aware_at"],
            notified_at=breach.sent("GDPR-33"),
            delay_reason="" if notes.has("delay_reason") else breach.delay_reason("GDPR-33"),
        )
    values = notes.stated
    aware, notified = stated_incident(facts).controller_aware_at, moment_of(values.get("notified_at"))
    told = unreported(notes, reported=values.get("notified_at"))
    sent = notified or moment_of(breach.sent("GDPR-33") if breach else None)
    if aware is None or breach_risk_of(breach) == UNLIKELY:
        return notes.finding()
    for words in out_of_order(facts, values, "aware_at", "notified_at"):
        notes.contradict(words)
    due = due_at(facts.catalogue.deadlines["GDPR-33"], aware, stated_zone(facts))
    if due:
        notes.hold(_("the 72 hours end at %(due)s") % {"due": clock_words(due)})
    missed = late(facts, due, sent, _("GDPR Art. 33(1)"))
    explained = notes.has("delay_reason") or bool(breach and breach.delay_reason("GDPR-33"))
    if not explained and (notified or not told):
        for words in missed:
            notes.contradict(words)
    notes.waive("delay_reason", when=sent is not None and not missed)
    return notes.finding()


@judged_by("GDPR-34")
def breach_to_people(facts: Facts) -> Finding:
    notes, known = Notes(facts, "GDPR-34"), chosen_breach(facts)
    if known is not None:
        hold_incident(notes, known, high_risk=high_risk(known))
    stated, exception = notes.stated.get("high_risk"), notes.stated.get("exception")
    high = True if high_risk(known) else stated
    if high is False:
        notes.waive("message", "exception")
    elif high is True and notes.has("message"):
        notes.waive("exception")
    elif high is True and exception in ("a", "b", "c"):
        notes.lack(_("the reason for the exception, in the text of the statement"), when=not facts.text("GDPR-34"))
        notes.waive("message")
    elif high is True and exception == "none":
        notes.contradict(_("The risk is high, yet nobody was told, without an exception (Art. 34)."))
    return notes.finding()
