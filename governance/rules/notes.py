"""What a rule writes down while it reads: held, lacking, contradicted; and the checks that many rules share.

A check on a stated field says nothing where the field is empty: that it is empty is told once, by the judgement.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from governance.rules import Facts, Finding, Reference
from governance.rules.values import date_of, is_empty, moment_of, plain, rows_of

AFFIRMED = frozenset({"yes", "true", "ja", "1"})
DENIED = frozenset({"no", "false", "nein", "0"})


class Notes:
    """The notes about one requirement, and the finding they make."""

    def __init__(self, facts: Facts, requirement_id: str) -> None:
        self.facts = facts
        self.id = requirement_id
        self.stated: Mapping[str, Any] = facts.values(requirement_id)
        self._held: list[str] = []
        self._lacking: list[str] = []
        self._contradicted: list[str] = []
        self._filled: dict[str, Any] = {}
        self._sources: dict[str, Reference] = {}
        self._waived: list[str] = []
        self._references: list[Reference] = []

    def has(self, name: str) -> bool:
        """Whether a field was stated."""
        return not is_empty(self.stated.get(name))

    def rows(self, name: str) -> list[Mapping[str, Any]]:
        """The rows of a stated table."""
        return rows_of(self.stated.get(name))

    def hold(self, words: str, *references: Reference) -> None:
        """Note what is held, and what that rests on."""
        self._held.append(words)
        self._references.extend(references)

    def lack(self, words: str, *, when: bool = True) -> None:
        """Note what is lacking."""
        if when:
            self._lacking.append(words)

    def contradict(self, words: str, *, when: bool = True) -> None:
        """Note what is against the requirement."""
        if when:
            self._contradicted.append(words)

    def fill(self, name: str, value: Any, source: Reference | None = None) -> None:
        """Fill a field from what the platform knows; nothing where it knows nothing."""
        if not is_empty(value):
            self._filled[name] = value
            if source is not None:
                self._sources[name] = source

    def fill_if_silent(self, name: str, value: Any, source: Reference | None = None) -> None:
        """Fill a field that nobody stated; a person may state it otherwise."""
        if not self.has(name):
            self.fill(name, value, source)

    def waive(self, *names: str, when: bool = True) -> None:
        """Let fields stay empty, because another fact takes their place."""
        if when:
            self._waived.extend(names)

    def cover(self, name: str, column: str, needed: Iterable[str], words: str) -> None:
        """Every needed thing has a row of a stated table, or is lacking: ``words`` with ``%(names)s``."""
        if self.has(name):
            self.lack_those(uncovered(self.rows(name), column, needed), words)

    def lack_those(self, names: Iterable[Any], words: str) -> None:
        """Note that each of some things is lacking; nothing where there are none."""
        if told := list(dict.fromkeys(map(str, names))):
            self._lacking.append(words % {"names": ", ".join(told)})

    def fresh(self, name: str, days: int, words: str) -> None:
        """A stated day lies at most so many days before the dossier's."""
        day = date_of(self.stated.get(name))
        if day is not None and (self.facts.as_of.date() - day).days > days:
            self._lacking.append(words)

    def finding(self, *, rests_on_audit: bool = False, settled: bool = False) -> Finding:
        """What the notes come to."""
        return Finding(
            held=tuple(self._held),
            lacking=tuple(self._lacking),
            contradicted=tuple(self._contradicted),
            filled=self._filled,
            sources=self._sources,
            waived=tuple(self._waived),
            references=tuple(self._references),
            rests_on_audit=rests_on_audit,
            settled=settled,
        )


def uncovered(rows: Iterable[Mapping[str, Any]], column: str, needed: Iterable[str]) -> list[str]:
    """What of the needed has no row: a row is about a thing when its cell says just that, or begins with it."""
    cells = [_key(row.get(column, "")) for row in rows]
    return [name for name in needed if not any(_begins(cell, _key(name)) for cell in cells)]


def _key(value: Any) -> str:
    return plain(value).replace("_", " ").replace("-", " ")


def _begins(cell: str, name: str) -> bool:
    return cell.startswith(name) and not cell[len(name) : len(name) + 1].isalnum()


def says(cell: Any, words: frozenset[str]) -> bool:
    """Whether a cell of a table is one of some words; ``True`` and ``False`` count as yes and no."""
    return plain(cell) in words


def audit_reference(audit: Mapping[str, Any]) -> Reference:
    """A finished audit, as what something rests on."""
    name = _("Audit %(run)s, %(protocol)s") % {"run": audit["run"], "protocol": audit["protocol"]["name"]}
    return Reference(kind="audit", name=name, digest=audit["evidence_digest"], href_id=str(audit["run"]))


def version_reference(facts: Facts) -> Reference:
    """The version that is judged, as what something rests on."""
    name = _("Version %(label)s") % {"label": facts.version["label"]}
    return Reference(kind="version", name=name, digest=facts.version["digest"])


def answer_reference(question: str) -> Reference:
    """An answer, as what something rests on."""
    return Reference(kind="answer", name=_("Answer to the question “%(key)s”") % {"key": question}, href_id=question)


def report_reference(report: Mapping[str, Any]) -> Reference:
    """An issued report, as what something rests on."""
    name = _("Report %(kind)s of %(day)s") % {"kind": report["kind"], "day": report["as_of"][:10]}
    return Reference(kind="report", name=name, digest=report["pdf_digest"], href_id=str(report["id"]))


def registered_purpose(facts: Facts, key: str, field: str) -> Finding:
    """A requirement that repeats the intended purpose: the registered one fills its field."""
    notes, purpose = Notes(facts, key), facts.dossier["system"]["intended_purpose"]
    if purpose:
        notes.hold(_("the intended purpose, as registered"))
    notes.fill(field, purpose)
    return notes.finding()


def issued(notes: Notes, kind: str, words: str) -> dict[str, Any] | None:
    """The newest issued report of a kind, with ``ready`` true where it was complete and nothing changed since.

    What is lacking is noted. None where none was issued.

    Args:
        words: What the report is called, within a sentence.
    """
    chosen = newest_issue(notes, kind, words)
    if chosen is None:
        return None
    outdated = _changed_since(notes.facts, chosen)
    notes.lack(
        _("a complete issue: the last one was not ready (%(report)s)") % {"report": words}, when=not chosen["ready"]
    )
    notes.lack(_("a new issue: what it says was changed since (%(report)s)") % {"report": words}, when=outdated)
    return chosen | {"ready": chosen["ready"] and not outdated}


def newest_issue(notes: Notes, kind: str, words: str) -> dict[str, Any] | None:
    """The newest issued report of a kind, ready or not; None, and noted, where there is none."""
    chosen = next(iter(notes.facts.reports(kind)), None)
    if chosen is None:
        notes.lack(_("issued for this version: %(report)s") % {"report": words})
        return None
    told = {"report": words, "day": chosen["as_of"][:10]}
    notes.hold(_("%(report)s, issued for this version on %(day)s") % told, report_reference(chosen))
    return chosen


def _changed_since(facts: Facts, report: Mapping[str, Any]) -> bool:
    """Whether a statement that the report tells was accepted, or a question answered, after it was asked for."""
    at = moment_of(report["as_of"])
    own = {item.id for item in facts.catalogue.for_report(report["kind"])}
    accepted = [row["decided_at"] for key, row in facts.accepted.items() if key in own]
    answered = [row["at"] for row in facts.dossier["answers"].values()]
    later = [moment_of(text) for text in (*accepted, *answered)]
    return at is not None and any(moment is not None and moment > at for moment in later)


def report_name(report: Mapping[str, Any]) -> str:
    """An issued report as a document is named in a field: kind, day, first digits of its digest."""
    return f"{report['kind']}, {report['as_of'][:10]}, {report['pdf_digest'][:12]}"


def placed_on(facts: Facts) -> dt.date | None:
    """The day on which the system was first placed on the market, as stated or answered."""
    stated = date_of(facts.values("AIA-Art111-2").get("first_placing_date"))
    return stated or date_of(facts.answer("first_placed_on"))
