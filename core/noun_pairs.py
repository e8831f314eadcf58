"""The nouns that pages count, with their plurals: what ``core.templatetags.figures.nouns`` may be asked for."""

from __future__ import annotations


def npgettext_lazy(_context: str, one: str, many: str, _number: str) -> tuple[str, str]:
    """A noun and its plural, under a name by which texts are found for the catalogue."""
    return one, many


PAIRS = (
    npgettext_lazy("count", "older audit", "older audits", "number"),
    npgettext_lazy("count", "alert is open", "alerts are open", "number"),
    npgettext_lazy("count", "alert", "alerts", "number"),
    npgettext_lazy("count", "approval", "approvals", "number"),
    npgettext_lazy("count", "bundle", "bundles", "number"),
    npgettext_lazy("count", "chosen study", "chosen studies", "number"),
    npgettext_lazy("count", "clock", "clocks", "number"),
    npgettext_lazy("count", "column", "columns", "number"),
    npgettext_lazy("count", "condition is", "conditions are", "number"),
    npgettext_lazy("count", "condition", "conditions", "number"),
    npgettext_lazy("count", "critical", "critical", "number"),
    npgettext_lazy("count", "deadline has", "deadlines have", "number"),
    npgettext_lazy("count", "deployment", "deployments", "number"),
    npgettext_lazy("count", "difference", "differences", "number"),
    npgettext_lazy("count", "earlier answer", "earlier answers", "number"),
    npgettext_lazy("count", "earlier window", "earlier windows", "number"),
    npgettext_lazy("count", "entry was", "entries were", "number"),
    npgettext_lazy("count", "entry", "entries", "number"),
    npgettext_lazy("count", "error", "errors", "number"),
    npgettext_lazy("count", "exploratory verdict", "exploratory verdicts", "number"),
    npgettext_lazy("count", "file", "files", "number"),
    npgettext_lazy("count", "finding", "findings", "number"),
    npgettext_lazy("count", "further column", "further columns", "number"),
    npgettext_lazy("count", "hash leads", "hashes lead", "number"),
    npgettext_lazy("count", "incident is not closed", "incidents are not closed", "number"),
    npgettext_lazy("count", "incident", "incidents", "number"),
    npgettext_lazy("count", "is better", "are better", "number"),
    npgettext_lazy("count", "item is", "items are", "number"),
    npgettext_lazy("count", "measurement is", "measurements are", "number"),
    npgettext_lazy(
        "count", "measurement of the approved version has", "measurements of the approved version have", "number"
    ),
    npgettext_lazy("count", "measurement", "measurements", "number"),
    npgettext_lazy("count", "message", "messages", "number"),
    npgettext_lazy("count", "model", "models", "number"),
    npgettext_lazy("count", "monitor has", "monitors have", "number"),
    npgettext_lazy("count", "monitor is", "monitors are", "number"),
    npgettext_lazy("count", "monitor", "monitors", "number"),
    npgettext_lazy("count", "more file", "more files", "number"),
    npgettext_lazy("count", "more notification", "more notifications", "number"),
    npgettext_lazy("count", "more thing", "more things", "number"),
    npgettext_lazy("count", "more urgent notification", "more urgent notifications", "number"),
    npgettext_lazy("count", "notification is", "notifications are", "number"),
    npgettext_lazy("count", "open alert", "open alerts", "number"),
    npgettext_lazy("count", "patient", "patients", "number"),
    npgettext_lazy("count", "remark", "remarks", "number"),
    npgettext_lazy("count", "report", "reports", "number"),
    npgettext_lazy("count", "requirement", "requirements", "number"),
    npgettext_lazy("count", "risk is", "risks are", "number"),
    npgettext_lazy("count", "risk", "risks", "number"),
    npgettext_lazy("count", "row", "rows", "number"),
    npgettext_lazy("count", "share", "shares", "number"),
    npgettext_lazy("count", "signed head", "signed heads", "number"),
    npgettext_lazy("count", "study has", "studies have", "number"),
    npgettext_lazy("count", "study", "studies", "number"),
    npgettext_lazy("count", "hour", "hours", "number"),
    npgettext_lazy("count", "minute", "minutes", "number"),
    npgettext_lazy("count", "month", "months", "number"),
    npgettext_lazy("count", "second", "seconds", "number"),
    npgettext_lazy("count", "week", "weeks", "number"),
    npgettext_lazy("count", "day", "days", "number"),
    npgettext_lazy("count", "window", "windows", "number"),
    npgettext_lazy("count", "thing waits", "things wait", "number"),
    npgettext_lazy("count", "thread", "threads", "number"),
    npgettext_lazy("count", "time", "times", "number"),
    npgettext_lazy("count", "unread notification", "unread notifications", "number"),
    npgettext_lazy("count", "verdict is worse", "verdicts are worse", "number"),
    npgettext_lazy("count", "verdict is", "verdicts are", "number"),
    npgettext_lazy("count", "version is", "versions are", "number"),
    npgettext_lazy("count", "version", "versions", "number"),
    npgettext_lazy("count", "vote releases it", "votes release it", "number"),
    npgettext_lazy("count", "warning", "warnings", "number"),
)
"""Marked here for the catalogue: gettext does not look into the arguments of a filter."""
NOUNS = {word: pair for pair in PAIRS for word in pair}
"""Each noun, in either number -> both."""
