"""Articles 12, 19, 21 and 26(6): what is logged, for how long, and who gets it."""

from __future__ import annotations

from django.utils.translation import gettext as _

from governance.conditions.truth import Truth
from governance.rules import Facts, Finding, declare_table, judged_by
from governance.rules.notes import Notes
from governance.rules.values import is_empty, months_of, plain, rows_of

EVENTS = ("version", "input quality", "output", "error", "override", "configuration change")
LEAST_MONTHS = 6
"""Art. 19(1) and 26(6)."""

declare_table("AIA-Art12-2-a", "event_types", "event", "fields")
declare_table("AIA-Art12-2-bc", "consumer_map", "consumer", "field")
declare_table("AIA-Art26-6", "control_split", "stream", "party", "period", "law?")


@judged_by("AIA-Art12-2-a")
def events(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art12-2-a")
    notes.cover("event_types", "event", EVENTS, _("events for %(names)s"))
    return notes.finding()


@judged_by("AIA-Art12-2-bc")
def consumers(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art12-2-bc")
    indicators = [str(row.get("indicator")) for row in rows_of(facts.values("AIA-Art72-2-eval").get("indicators"))]
    notes.cover("consumer_map", "consumer", indicators, _("the log field that %(names)s reads"))
    notes.lack(_("the indicators of the monitoring plan"), when=not indicators)
    return notes.finding()


@judged_by("AIA-Art12-3")
def biometric_logs(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art12-3")
    notes.waive("reason", when=notes.stated.get("applicable") is True)
    return notes.finding()


@judged_by("AIA-Art19")
def retention_by_provider(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art19")
    period = notes.stated.get("retention_period")
    _check_period(notes, period)
    told = [
        row
        for row in rows_of(facts.values("GDPR-5-1-e").get("retention_table"))
        if "log" in plain(row.get("store", "")).replace("-", " ").split()
        or plain(row.get("store", "")).startswith("log")
    ]
    for row in told:
        other = row.get("period", "")
        notes.contradict(
            _("The DPIA keeps logs for %(other)s, this statement for %(period)s.") % {"other": other, "period": period},
            when=not is_empty(period) and not _same_period(other, period),
        )
    if facts.truth("personal_data") is not Truth.NO and not told:
        notes.lack(_("the same period in the DPIA's table of retention (GDPR Art. 5(1)(e))"))
    return notes.finding()


def _same_period(one: object, other: object) -> bool:
    left, right = months_of(one), months_of(other)
    return plain(one) == plain(other) if left is None or right is None else abs(left - right) < 1e-6


def _check_period(notes: Notes, period: object) -> None:
    months = months_of(period)
    notes.contradict(
        _("Logs are kept for %(period)s; the least is six months.") % {"period": period},
        when=months is not None and months < LEAST_MONTHS,
    )


@judged_by("AIA-Art26-6")
def retention_by_deployer(facts: Facts) -> Finding:
    notes = Notes(facts, "AIA-Art26-6")
    _check_period(notes, notes.stated.get("retention_period"))
    for row in notes.rows("control_split"):
        if is_empty(row.get("law")):
            _check_period(notes, row.get("period"))
    streams = [plain(row.get("stream", "")) for row in notes.rows("control_split")]
    twice = sorted({name for name in streams if streams.count(name) > 1})
    for name in twice:
        notes.contradict(_("The log stream %(name)s has more than one controlling party.") % {"name": name})
    return notes.finding()
