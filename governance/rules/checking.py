"""What rules ask of stated values again and again, in one place. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from governance.rules import Facts, Reference
from governance.rules.values import date_of as any_date_of
from governance.rules.values import is_empty, plain, rows_of
from governance.rules.values import moment_of as any_moment_of

YEARS = range(1900, 2200)
"""Years in which periods of the law can be added to a day; a day outside them tells nothing."""


def date_of(value: Any) -> dt.date | None:
    """A stated day, or None where it is none with which to reckon."""
    day = any_date_of(value)
    return day if day is not None and day.year in YEARS else None


def moment_of(value: Any) -> dt.datetime | None:
    """A stated point in time, or None where it is none with which to reckon."""
    moment = any_moment_of(value)
    return moment if moment is not None and moment.year in YEARS else None


def quoted(words: Iterable[Any]) -> str:
    """Words in quotation marks, with commas between them."""
    return ", ".join(f"“{word}”" for word in words)


def empty_cells(rows: Sequence[Mapping[str, Any]], *columns: str) -> list[str]:
    """Which of these columns have an empty cell in some row."""
    return [name for name in columns if any(is_empty(row.get(name)) for row in rows)]


def unnamed(wanted: Mapping[str, Sequence[str]], rows: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    """Keys of ``wanted`` that no row names in a column: none of their stems begins a word there."""
    told = [plain(row.get(column, "")) for row in rows]
    return [key for key, stems in wanted.items() if not any(_begins_word(stem, told) for stem in stems)]


def _begins_word(stem: str, texts: Sequence[str]) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(stem)}", text) for text in texts)


def cites_audit(text: Any, audits: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a text names one of these audits: ``audit 4``, or eight characters or more of its evidence's digest."""
    said = plain(text)
    numbers = {int(number) for number in re.findall(r"\baudits?\s+(?:no\.?\s*|nr\.?\s*|#)?(\d{1,9})\b", said)}
    digests = re.findall(r"\b[0-9a-f]{8,64}\b", said)
    return any(
        audit["run"] in numbers or any(str(audit["evidence_digest"]).startswith(digest) for digest in digests)
        for audit in audits
    )


def audits_of(facts: Facts, *kinds: str) -> list[dict[str, Any]]:
    """Finished audits of this version that show any of these kinds of evidence, newest first, each once."""
    found: dict[int, dict[str, Any]] = {}
    for kind in kinds:
        for audit in facts.audits(kind):
            found.setdefault(audit["run"], audit)
    return sorted(found.values(), key=lambda audit: -audit["run"])


def told_audits(audits: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What these audits amount to, for ``held``; nothing where there are none."""
    words = _("audit %(run)s of this version by the protocol %(protocol)s")
    return tuple(words % {"run": audit["run"], "protocol": audit["protocol"]["name"]} for audit in audits)


def answer_source(facts: Facts, question: str) -> tuple[Reference, ...]:
    """The answer to a question, as what something rests on."""
    answer = facts.dossier["answers"].get(question)
    if answer is None:
        return ()
    told = {"question": question, "author": answer["author"]}
    return (Reference(kind="answer", name=_("Answer to %(question)s by %(author)s") % told, href_id=question),)


def after_today(facts: Facts, values: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    """A sentence for each of these days that is stated as past and lies ahead."""
    today, found = facts.as_of.date(), []
    for name in names:
        day = date_of(values.get(name))
        if day is not None and day > today:
            label = facts.catalogue.field_label(name)
            found.append(_("%(field)s lies in the future: %(day)s.") % {"field": label, "day": day.isoformat()})
    return tuple(found)


def rows(values: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The rows of a stated table; none where it has no value."""
    return rows_of(values.get(name))
