"""How numbers, times, digests and states are written: one vocabulary for every page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext, ngettext, npgettext
from django.utils.translation import gettext_lazy as _

from core.pages.law import law_of
from core.pages.sizes import known_size
from core.prose import to_html
from core.spoken import spoken, spoken_value
from core.tones import TONES

register = template.Library()
HYPHEN_MINUS = re.compile(r"(?<![\w.)])-(?=\.?\d)")
LONG_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
MISSING = "–"


SWAPPED = str.maketrans(",.", ".,")


def _german() -> bool:
    return (get_language() or "").startswith("de")


def _local(text: str) -> str:
    """A number as the language of the page writes it: ``1,204.5`` is ``1.204,5`` in German."""
    return text.translate(SWAPPED) if _german() else text


@register.filter
def tone(state: str) -> str:
    return TONES.get(str(state), "waiting")


@register.filter
def when(moment: datetime | str | None) -> str:
    """``22 Nov 2026 14:05 UTC``, in German ``22.11.2026 14:05 UTC``. Takes ISO 8601 too, as evidence holds it."""
    if not moment:
        return MISSING
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment.replace(tzinfo=UTC)
    return f"{local:%d.%m.%Y %H:%M %Z}" if _german() else f"{local.day} {local:%b %Y %H:%M %Z}"


@register.filter
def iso(moment: datetime | str | None) -> str:
    return moment.isoformat() if isinstance(moment, datetime) else (moment or "")


@register.filter
def age(moment: datetime | None) -> str:
    """How long ago, in the one unit that matters: ``3 days``, ``2 h``, ``40 min``."""
    if not moment:
        return MISSING
    minutes = max(0, int((timezone.now() - moment).total_seconds() // 60))
    if minutes < 1:
        return gettext("less than a minute")
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 1440 else duration(60 * minutes)


@register.filter
def countdown(moment: datetime | None) -> str:
    """How long until then: ``due in 3 days``, ``due in 2 h 5 min``; ``1 day overdue`` afterwards."""
    if not moment:
        return MISSING
    seconds = (moment - timezone.now()).total_seconds()
    if seconds > 0:
        return gettext("due in %(span)s") % {"span": duration(seconds)}
    return gettext("%(span)s overdue") % {"span": duration(-seconds)}


@register.filter
def duration(seconds: float | None) -> str:
    """``2 h 5 min``, ``40 s``, ``3 days``."""
    if seconds is None:
        return MISSING
    span = timedelta(seconds=max(0, round(seconds)))
    hours, rest = divmod(span.seconds, 3600)
    minutes, left = divmod(rest, 60)
    if span.days:
        return ngettext("%(days)d day", "%(days)d days", span.days) % {"days": span.days}
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes and minutes < 10 else f"{minutes} min" if minutes else f"{left} s"


@register.filter
def rate(value: float | str | None, digits: int = 2) -> str:
    """A number as clinical papers write it: ``.91``, ``−.04``, ``1.20``, in German ``0,91``; an en dash for none."""
    if value is None or value == "":
        return MISSING
    text = f"{abs(float(value)):.{digits}f}"
    negative = float(value) < 0 and float(text) != 0
    if text.startswith("0.") and not _german():
        text = text[1:]
    return f"−{_local(text)}" if negative else _local(text)


@register.simple_tag
def estimate(value: float | None, low: float | None = None, high: float | None = None, digits: int = 2) -> str:
    """``.91 (.88 to .94)``; without an interval only the number. ``to``, since a bound may be negative."""
    if value is None or low is None or high is None:
        return rate(value, digits)
    dash = "–" if low >= 0 else gettext(" to ")
    return f"{rate(value, digits)} ({rate(low, digits)}{dash}{rate(high, digits)})"


@register.filter
def p_value(value: float | None) -> str:
    """``.034``, ``< .001``."""
    if value is None:
        return MISSING
    if value < 0.001:
        return f"< {rate(0.001, 3)}"
    return f"> {rate(0.999, 3)}" if value > 0.999 else rate(value, 3)


@register.filter
def count(value: int | str | None) -> str:
    """``1,204``."""
    return MISSING if value is None or value == "" else _local(f"{int(value):,}")


@register.filter
def percent(share: float | None) -> str:
    """A share of 1 as ``12.3 %``."""
    if share is None:
        return MISSING
    value = 100 * float(share)
    return f"{value:.0f} %" if value in (0, 100) else _local(f"{value:.1f} %")


@register.filter
def nouns(number: int | None, words: str) -> str:
    """``{{ n|nouns:"study,studies" }}`` gives ``1 study`` or ``1,204 studies``."""
    one, many = words.split(",")
    return f"{count(number)} {npgettext('count', one, many, number or 0)}"


@register.filter
def said_lines(text: str) -> str:
    """A text of several lines in the language of the page, line by line."""
    return "\n".join(map(said, text.split("\n")))


@register.filter
def said(words: Any) -> str:
    """Words that Python gives in English in the language of the page: a state, the head of a column, a sentence.

    What stands in no catalogue (a name, what a person wrote) is shown as it is, and so is finished markup.
    """
    text = "" if words is None else str(words)
    return text if isinstance(text, SafeString) else spoken(text)


@register.filter
def prose(text: str | None) -> SafeString:
    """Markdown that people wrote, as HTML that can do nothing (``core.prose``)."""
    return to_html(text or "")


@register.filter
def limbs(letters: list[str]) -> str:
    """Limbs of a paragraph, as law names them: ``(a), (f)``."""
    return ", ".join(f"({letter})" for letter in letters)


@register.filter
def short(digest: str | None) -> str:
    return (digest or "")[:12]


@register.filter
def words(name: str | None) -> str:
    """An identifier as words: ``true_positive_rate`` becomes ``true positive rate``, in the language of the page."""
    return spoken_value(str(name or "").replace("_", " "))


@register.filter
def lookup(mapping: dict[str, Any], key: str) -> Any:
    return mapping.get(key) if mapping else None


@register.filter
def file_size(size: int | str | None) -> str:
    """``4.2 MB`` (powers of ten)."""
    if size is None or size == "":
        return MISSING
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else _local(f"{value:.1f} {unit}")
        value /= 1000
    return _local(f"{value:.1f} TB")


@register.filter
def unlocalised(value: float | None) -> str:
    """A number for an attribute that a browser computes with."""
    return f"{value or 0:.6g}" if isinstance(value, float) else str(value or 0)


@register.filter
def figure(value: float | str | None) -> str:
    """A number to one digit, whole numbers without: ``2``, ``2.5``. What is no number is shown as it is."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return MISSING if value is None else str(value)
    return _local(f"{number:.0f}" if number == round(number) else f"{number:.1f}")


@register.filter
def speed(value: float | None) -> str:
    """A rate or a sum to three digits: ``0.42``, ``8.3``, ``212``, ``1,480``."""
    if value is None:
        return MISSING
    number = float(value)
    return _local(f"{number:.2f}" if number < 1 else f"{number:.1f}" if number < 100 else f"{number:,.0f}")


@register.filter
def version_status(state: str) -> str:
    """The word for a state of a version that comes without its row."""
    return str(state).replace("_", " ").capitalize()


@register.filter
def bar_width(share: float | None) -> str:
    """A share as the width of a bar, with a full stop whatever the language of the page."""
    return f"{100 * min(1.0, max(0.0, float(share or 0))):.1f}%"


@register.filter
def finding(statement: str) -> str:
    """A verdict's sentence without the word that the banner shows already: ``Fails: effusion …`` -> ``Effusion …``."""
    head, colon, rest = statement.partition(": ")
    known = head in {"Fails", "Passes", "Insufficient evidence"}
    return rest[:1].upper() + rest[1:] if colon and known else statement


@register.filter
def headline(statement: str) -> str:
    """What was found, without its numbers: the part of a verdict's sentence before the next colon."""
    return _signed(finding(statement).partition(": ")[0].rstrip("."))


@register.filter
def particulars(statement: str) -> str:
    """What follows the headline: the numbers and the reason. Empty when there is nothing more."""
    rest = finding(statement).partition(": ")[2]
    return _signed(rest[:1].upper() + rest[1:])


def _signed(text: str) -> str:
    """Negative numbers with the minus sign that ``rate`` writes too, and bounds with one sign."""
    return HYPHEN_MINUS.sub("−", text).replace(">=", "≥").replace("<=", "≤")


@register.filter
def brief(text: str | None) -> str:
    """A text with its digests shortened: all of a digest is never read, and breaks a narrow page."""
    return LONG_DIGEST.sub(r"\1…", str(text or ""))


@register.filter
def kind_words(name: str | None) -> str:
    """The name of a kind of record as words: ``ModelVersion`` becomes ``Model version``, ``AISystem`` ``AI system``."""
    parts = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z][a-z]+", name or "")
    words = [part if part.isupper() or not place else part.lower() for place, part in enumerate(parts)]
    return spoken(" ".join(words) or (name or ""))


@register.filter
def fact(value: Any) -> str:
    """One declared value as a reader writes it: lists with commas, long fractions to four digits, digests short."""
    if value is None:
        return gettext("none")
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, float):
        return _local(f"{value:.4g}")
    if isinstance(value, int):
        return _local(f"{value:,}") if abs(value) >= 10_000 else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(fact(item) for item in value)
    return brief(str(value))


@register.filter
def pairs(value: Any) -> list[tuple[str, Any]]:
    """The entries of a mapping, with those of a mapping inside it behind them; empty for anything else."""
    if not isinstance(value, dict):
        return []
    flat = [(words(name), item) for name, item in value.items() if not isinstance(item, dict)]
    for name, inner in value.items():
        if isinstance(inner, dict):
            flat += [(f"{words(name)}: {words(key)}", item) for key, item in inner.items()]
    return flat


OUTCOMES = {"pass": _("Pass"), "fail": _("Fail"), "insufficient": _("Insufficient evidence")}
POLICIES = {"pass": _("Met"), "fail": _("Failed"), "insufficient": _("Not met")}
VERBS = {"pass": _("Passes"), "fail": _("Fails"), "insufficient": _("Insufficient evidence")}


def _words(known: dict[str, Any], outcome: str) -> str:
    return str(known.get(str(outcome), outcome))


@register.filter
def outcome_word(outcome: str) -> str:
    """The word for an outcome that comes without its row."""
    return _words(OUTCOMES, outcome)


@register.filter
def policy_word(outcome: str) -> str:
    """How a version stands against a policy, by the gate's outcome."""
    return _words(POLICIES, outcome)


@register.filter
def verb(outcome: str) -> str:
    """The outcome of a run as the banner says it."""
    return str(VERBS.get(outcome, _("Not judged")))


@register.simple_tag
def room_for(address: str) -> SafeString:
    """``width`` and ``height`` of the picture at an address, where it was drawn before: the page leaves room for it."""
    size = known_size(address)
    return format_html('width="{}" height="{}"', *size) if size else SafeString()


@register.inclusion_tag("components/law.html")
def law(duty: str, version: Any = None) -> dict[str, Any]:
    """The articles of the duty that a page speaks of: ``{% law "incidents" version=incident.version %}``."""
    return law_of(duty, version)
