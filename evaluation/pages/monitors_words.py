"""Streams, shifts and windows in a reader's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.translation import gettext

from evaluation.charts import e_value
from evaluation.engine.words import plain, signs
from evaluation.models import MonitorWindow
from evaluation.selectors_monitors import is_few

OF_LABEL = {
    "score": "Scores of {}",
    "label": "Share of studies with {}",
    "estimated": "Estimated performance on {}",
    "performance": "Performance on {}",
    "concept": "{} at equal score",
}
ENDS = {
    "median": "median of the study",
    "count": "values of the study",
    "rate": "values for each hour",
    "length": "words",
    "oov": "share of words that the reference does not know",
    "findings": "findings said to be there",
    "absent": "findings said to be absent",
    "sections": "headings",
    "embedding": "embedding",
    "thumbnail": "likeness of 8 x 8 squares",
    "blur": "variance of the Laplacian",
    "size": "side of a square of as many pixels",
    "aspect": "width over height",
}
"""What a stream is of its source; the title of its specification says the same where a row has it."""
WHOLE = {"mask": "Which modalities are there", "case_mix": "Case mix: who comes"}
FAMILIES = {
    "numeric": "Numbers",
    "series": "Values over time",
    "categorical": "Categories",
    "mask": "Modalities present",
    "text": "Texts",
    "image": "Images",
    "prediction": "What the model says",
    "label": "Findings that are there",
    "concordance": "Image and text together",
    "estimated": "Estimated performance, without labels",
    "performance": "Performance, with labels",
    "concept": "Findings at equal score",
    "case_mix": "Case mix",
}
"""Family -> its heading."""


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def stream_words(name: str, detail: Mapping[str, Any] | None = None) -> str:
    """A stream as its title in the protocol's frame says, or as its name says: ``CRP, median of the study``."""
    if detail and detail.get("title") and detail["title"] != name:
        return capital(str(detail["title"]))
    if name in WHOLE:
        return WHOLE[name]
    head, _, end = name.partition(":")
    kind, _, rest = head.partition(".")
    if kind in OF_LABEL and rest:
        return capital(OF_LABEL[kind].format(plain(rest)))
    if kind == "concordance":
        pair = plain(end).replace("text.", "").replace("-", " and ").replace("~", " and ")
        return gettext("Agreement of %(text)s") % {"text": pair or "image and text"}
    told = plain(rest or head)
    named = told.upper() if kind == "series" and len(told) <= 4 else capital(told)
    return f"{named}, {ENDS.get(end, plain(end))}" if end else named


def has_two_sides(effect: str) -> bool:
    """Whether a shift has a sign of which both directions count."""
    return effect.endswith("_change")


def group_words(attribute: str, group: str) -> str:
    """``All studies``; ``Sex: F``."""
    return f"{capital(plain(attribute))}: {signs(group)}" if attribute else "All studies"


def span_words(window: MonitorWindow, zone: str) -> str:
    """A window's span by its zone: ``2 to 9 Mar 2026``; with the time of day where it is shorter than a day."""
    there = ZoneInfo(zone)
    start, end = window.opens_at.astimezone(there), window.closes_at.astimezone(there)
    if (end - start).total_seconds() < 86_000 or (start.hour, start.minute) != (end.hour, end.minute):
        first = f"{start.day} {date_format(start, 'M Y H:i')}"
        return (
            gettext("%(first)s to %(end)s") % {"first": first, "end": f"{end:%H:%M}"}
            if start.date() == end.date()
            else gettext("%(first)s to %(day)s %(end)s")
            % {"first": first, "day": end.day, "end": date_format(end, "M Y H:i")}
        )
    head = (
        f"{start.day}"
        if (start.month, start.year) == (end.month, end.year)
        else f"{start.day} {date_format(start, 'M')}"
    )
    head += f" {start.year}" if start.year != end.year else ""
    return gettext("%(head)s to %(day)s %(end)s") % {"head": head, "day": end.day, "end": date_format(end, "M Y")}


@dataclass(frozen=True, kw_only=True)
class WindowVerdict:
    """What a window came to: a state for the shape, the word, and the finding in one sentence."""

    state: str
    word: str
    statement: str
    next_step: str = ""


WAITING = {
    "due": ("Due", "Its data have not been read yet."),
    "collecting": ("Data are being read", "The studies of this window are being read from their source."),
    "auditing": ("Being audited", "A worker runs the model on the studies of this window."),
    "judging": ("Being judged", "The studies are done; their streams are compared with those before."),
}


def leading_of(window: MonitorWindow) -> str:
    """The stream that leads an alarm, in words; with its group where it is one of a group alone."""
    first = next(iter((window.look or {}).get("alarming", [])), None)
    if first is None:
        return ""
    where = f" ({group_words(first['attribute'], first['group'])})" if first["attribute"] else ""
    return stream_words(first["stream"]) + where


def verdict_of(window: MonitorWindow) -> WindowVerdict:
    """The verdict on a window, in words."""
    if window.status in WAITING:
        word, text = WAITING[window.status]
        state = "waiting" if window.status == MonitorWindow.Status.DUE else "running"
        return WindowVerdict(state=state, word=word, statement=text)
    if window.status == MonitorWindow.Status.EMPTY:
        text = "No study of this window arrived, so there was nothing to judge."
        step = "Ask whoever sends the data whether the system stood still, or the sending did."
        return WindowVerdict(state="insufficient", word="No studies", statement=text, next_step=step)
    if window.status == MonitorWindow.Status.REFUSED:
        text = window.error or "The data of this window cannot be used as they are."
        step = "The monitor goes on with the next window. What is below says what to mend at the source."
        return WindowVerdict(state="fail", word="Data refused", statement=text, next_step=step)
    if window.status == MonitorWindow.Status.FAILED:
        text = window.error or "It came to no verdict."
        step = "The monitor goes on with the next window. The alert about it says what can be done."
        return WindowVerdict(state="insufficient", word="Not judged", statement=text, next_step=step)
    return _judged(window)


def _judged(window: MonitorWindow) -> WindowVerdict:
    look = window.look or {}
    decisive, limit = look.get("log_e_over_margin"), look.get("threshold")
    if window.alarm:
        text = gettext("Changed: %(together)s.") % {"together": leading_of(window) or "several streams together"}
        if look.get("onset") is not None and look["onset"] != window.index:
            text += gettext(" The change most likely began in window %(onset)s.") % {"onset": look["onset"]}
        step = "Look at the causes below, then deal with the alert: closing it lets the monitor begin anew."
        return WindowVerdict(state="fail", word="Alarm", statement=text, next_step=step)
    if is_few(window):
        text = "It holds too few patients to be judged for a change."
        return WindowVerdict(state="insufficient", word="Insufficient evidence", statement=text)
    if limit is not None and (window.log_e or 0.0) >= limit:
        text = "A change is certain, but no stream that changed is beyond its margin."
        return WindowVerdict(state="pass", word="No alarm", statement=text)
    text = (
        gettext("Evidence of a change is %(decisive)s; an alarm is due at %(limit)s.")
        % {"decisive": e_value(decisive), "limit": e_value(limit)}
        if limit
        else ""
    )
    return WindowVerdict(state="pass", word="No alarm", statement=text or "Nothing speaks for a change.")
