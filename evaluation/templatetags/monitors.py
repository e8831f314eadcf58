"""How monitors write evidence, states and severities."""

from __future__ import annotations

import math
from typing import Any

from django import template
from django.utils.translation import gettext, npgettext

from core.spoken import spoken_value
from core.templatetags.figures import MISSING, count, nouns
from evaluation.charts import e_value
from evaluation.models import MonitorWindow
from evaluation.pages.monitors_words import group_words, stream_words
from evaluation.selectors_monitors import is_few

register = template.Library()
register.filter("is_few", is_few)
SEVERITIES = {"critical": "fail", "error": "fail", "warning": "warning", "info": "waiting"}
SEVERITY_WORDS = {"critical": "Critical", "error": "Error", "warning": "Warning", "info": "For information"}
WINDOWS = {
    "due": "waiting", "collecting": "running", "auditing": "running", "judging": "running", "empty": "warning",
    "refused": "blocked", "failed": "unfinished",
}  # fmt: skip
MESSAGES = {"due": "waiting", "sent": "done", "dead": "failed", "dropped": "dropped"}


@register.filter
def evidence(log_e: float | None) -> str:
    """Evidence of a change: ``.31``, ``180``, ``10^7``; an en dash where there is none."""
    return spoken_value(e_value(log_e)) or MISSING


@register.filter
def severity_state(severity: str) -> str:
    return SEVERITIES.get(str(severity), "warning")


@register.filter
def severity_word(severity: str) -> str:
    return SEVERITY_WORDS.get(str(severity), "Warning")


@register.filter
def message_state(status: str) -> str:
    return MESSAGES.get(str(status), "waiting")


@register.filter
def window_state(window: MonitorWindow) -> str:
    """The state of a window for its shape: an alarm, none, too few, or why it has no verdict."""
    if window.status != MonitorWindow.Status.JUDGED:
        return WINDOWS.get(window.status, "waiting")
    if window.alarm:
        return "fail"
    return "insufficient" if is_few(window) else "pass"


@register.filter
def window_word(window: MonitorWindow) -> str:
    """The word beside that shape."""
    if window.status != MonitorWindow.Status.JUDGED:
        return str(window.get_status_display())
    if window.alarm:
        return "Alarm"
    return "Too few studies" if is_few(window) else "No alarm"


CELL = 11
"""The smallest number of patients that is told, where a protocol gives none."""


@register.filter
def smallest_cell(monitor: Any) -> int:
    """Fewer patients than this are not counted out to a reader."""
    return int(monitor.protocol.body.get("minimum", {}).get("cell", CELL))


@register.filter
def studies_told(window: MonitorWindow, cell: int) -> str:
    """The number of studies of a window; of very few patients only that they are few."""
    return f"< {cell}" if 0 < window.n_patients < cell else count(window.n_studies)


@register.filter
def patients_told(window: MonitorWindow, cell: int) -> str:
    """The number of patients of a window; of very few only that they are few."""
    return f"< {cell}" if 0 < window.n_patients < cell else count(window.n_patients)


@register.filter
def stream_title(item: dict[str, Any]) -> str:
    """A stream with its group, of an entry of a look: ``Scanner maker (Sex: F)``."""
    where = f" ({group_words(item['attribute'], item['group'])})" if item.get("attribute") else ""
    return stream_words(str(item.get("stream", ""))) + where


@register.filter
def rhythm(monitor: Any) -> str:
    """When a monitor looks: ``at 0 6 * * 1``, ``every 6 hours``."""
    if monitor.crontab:
        return gettext("at %(crontab)s") % {"crontab": monitor.crontab}
    seconds = int(monitor.every_seconds or 0)
    for size, words in ((86400, "day,days"), (3600, "hour,hours"), (60, "minute,minutes"), (1, "second,seconds")):
        if seconds and seconds % size == 0:
            number, (one, many) = seconds // size, words.split(",")
            span = npgettext("count", one, many, 1) if number == 1 else nouns(number, words)
            return gettext("every %(span)s") % {"span": span}
    return gettext("never")


@register.filter
def window_length(monitor: Any) -> str:
    """``1 week``, ``500 studies``."""
    words = "study,studies" if monitor.window_unit == "count" else f"{monitor.window_unit},{monitor.window_unit}s"
    return nouns(monitor.window_size, words)


@register.filter
def alarm_odds(monitor: Any) -> str:
    """What the protocol promises about false alarms, in words."""
    rules = monitor.protocol.body.get("drift", {}).get("false_alarms", {})
    if monitor.cycle > 1:
        windows = int(rules.get("run_length", 1000))
        return spoken_value(f"since it began anew, at least {windows:,} windows on average to a false alarm")
    alpha = float(rules.get("alpha", 0.05))
    told = f"{100 * alpha:g} %"
    return spoken_value(f"at most {told} for any false alarm, however long it watches")


@register.filter
def fuller(share: float | None) -> float:
    """A number of margins as the share of a bar that is full at two margins."""
    return 0.0 if share is None or math.isnan(share) else min(1.0, share / 2)
