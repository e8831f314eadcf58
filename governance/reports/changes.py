"""What changed since the last version: what was measured then and now, and which files and facts differ.

Told from two evidence documents, of this version's audit and of the newest audit of the version before it by the same
protocol. Where there is none, that is said; nothing is compared across protocols.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from governance.reports.blocks import Block, Gap, Heading, Paragraph, Source, Table
from governance.reports.findings import leading_verdict, metric_title, outcome_word, primary_verdicts
from governance.reports.measured import flatten
from governance.reports.view import View
from governance.reports.wording import ABSENT, count, day, inside, interval, number, spoken

SAME = ("criterion", "metric", "label", "attribute")
PARTS = {
    "config": gettext_lazy("Declared fact"),
    "origins": gettext_lazy("Made from"),
    "card": gettext_lazy("Model card"),
}
UNTOLD = ("training › seconds", "seconds")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One file or fact that is not what it was. ``before`` or ``now`` is empty where it was not there."""

    kind: str
    name: str
    before: str
    now: str


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One criterion, judged in both audits. ``difference`` is None where a value is missing."""

    verdict: dict[str, Any]
    before: dict[str, Any]

    @property
    def difference(self) -> float | None:
        now, before = self.verdict["value"], self.before["value"]
        return None if now is None or before is None else now - before


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The last version against this one.

    Attributes:
        audit: The earlier audit as in the dossier; None where there is none by the same protocol.
        lead: The verdict that matters most now, then and now; None where it was not judged then.
        same_cohort: Both audits were on one cohort; else a difference is of two cohorts as much as of two versions.
        differences: Files and facts; None where no evidence of the last version is at hand.
    """

    previous: Mapping[str, Any]
    audit: Mapping[str, Any] | None
    same_cohort: bool
    lead: Shift | None
    shifts: tuple[Shift, ...]
    differences: tuple[Difference, ...] | None


def find_changes(view: View) -> Changes | None:
    """What changed since the last version; None where there is no earlier version or no audit to compare with."""
    previous, evidence = view.dossier["previous"], view.evidence
    if previous is None or evidence is None:
        return None
    earlier = [
        (audit, body)
        for audit in view.dossier["earlier_audits"]
        if audit["version"]["digest"] == previous["digest"] and (body := view.document(audit["evidence_digest"]))
    ]
    by_protocol = [row for row in earlier if row[0]["protocol"]["digest"] == evidence["protocol"]["digest"]]
    differences = tuple(_differences(earlier[0][1], evidence)) if earlier else None
    if not by_protocol:
        return Changes(previous=previous, audit=None, same_cohort=False, lead=None, shifts=(), differences=differences)
    audit, body = by_protocol[0]
    shifts = tuple(_shifts(body, evidence))
    lead = leading_verdict(evidence)
    return Changes(
        previous=previous,
        audit=audit,
        same_cohort=body["cohort"]["digest"] == evidence["cohort"]["digest"],
        lead=next((shift for shift in shifts if shift.verdict == lead), None),
        shifts=shifts,
        differences=differences,
    )


def _shifts(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Shift]:
    known = {tuple(item[key] for key in SAME): item for item in before["result"]["verdicts"]}
    for verdict in primary_verdicts(now):
        found = known.get(tuple(verdict[key] for key in SAME))
        if found is not None:
            yield Shift(verdict=verdict, before=found)


def _differences(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Difference]:
    old, new = before["version"]["manifest"], now["version"]["manifest"]
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield Difference(kind=_("File"), name=name, before=old.get(name, ""), now=new.get(name, ""))
    for part, word in PARTS.items():
        was, now_is = (dict(flatten(body["version"].get(part) or {})) for body in (before, now))
        for name in dict.fromkeys((*was, *now_is)):
            if name and was.get(name) != now_is.get(name) and not name.endswith(UNTOLD):
                yield Difference(kind=str(word), name=name, before=was.get(name, ""), now=now_is.get(name, ""))


def change_blocks(view: View) -> Iterator[Block]:
    """What changed since the last version, as blocks of a chapter."""
    yield Heading(text=_("What changed since the last version"))
    changes = find_changes(view)
    if view.dossier["previous"] is None:
        yield Paragraph(text=_("No version of this system was registered before this one."))
        return
    if changes is None or (changes.audit is None and changes.differences is None):
        yield Gap(
            text=_("Version %(label)s was registered before this one; no audit of both can be compared.") % told(view)
        )
        return
    if changes.audit is None:
        yield Gap(text=no_same_protocol(view))
    else:
        yield _shift_table(view, changes)
    if changes.differences:
        yield Table(
            caption=_("Files and facts that are not what they were in version %(label)s") % told(view),
            headers=(_("What"), _("Name"), _("Version %(label)s") % told(view), _("This version")),
            rows=tuple((item.kind, item.name, _short(item.before), _short(item.now)) for item in changes.differences),
            sources=_sources(view, changes),
            wide=True,
        )
    elif changes.differences is not None:
        yield Paragraph(text=_("No file and no registered fact differs from version %(label)s.") % told(view))


def told(view: View) -> dict[str, str]:
    """Label and day of the last version, for sentences."""
    previous = view.dossier["previous"]
    return {"label": previous["label"], "day": day(previous["submitted_at"])}


def no_same_protocol(view: View) -> str:
    """That the last version was not audited by the protocol of this audit."""
    return _("Version %(label)s of %(day)s was not audited by this protocol, so no value can be compared.") % told(view)


def other_cohort() -> str:
    """That a difference is not of the versions alone."""
    return _("The two audits were on different cohorts: a difference is of cohorts as much as of versions.")


def lead_sentence(view: View, changes: Changes) -> str:
    """How the verdict that matters most compares with the last version, both intervals given."""
    if changes.audit is None:
        return no_same_protocol(view)
    shift = changes.lead
    if shift is None:
        return _("Version %(label)s was not judged on this criterion.") % told(view)
    before, now = shift.before, shift.verdict
    words = told(view) | {
        "before": valued(before),
        "now": valued(now),
        "was": inside(outcome_word(before["outcome"])),
        "is": inside(outcome_word(now["outcome"])),
        "run": changes.audit["run"],
    }
    if shift.difference is None:
        return _("Version %(label)s: %(before)s, %(was)s (run %(run)s). Now: %(now)s, %(is)s.") % words
    return _(
        "Version %(label)s: %(before)s, %(was)s (run %(run)s). Now: %(now)s, %(is)s. The value changed by %(by)s."
    ) % (words | {"by": signed(shift.difference)})


def valued(verdict: Mapping[str, Any]) -> str:
    """``.583 (.541 to .624)``."""
    if verdict["value"] is None:
        return _("no value")
    return f"{number(verdict['value'])} ({interval(verdict['low'], verdict['high'])})"


def signed(value: float | None) -> str:
    """A change with its sign."""
    if value is None:
        return "—"
    text = number(value)
    return text if text.startswith("−") or not value else f"+{text}"


def _shift_table(view: View, changes: Changes) -> Table:
    caption = _("Primary criteria in the audit of version %(label)s and in this one") % told(view)
    if not changes.same_cohort:
        caption = f"{caption}. {other_cohort().rstrip('.')}"
    return Table(
        caption=caption,
        headers=(
            _("Criterion"),
            _("Label"),
            _("By"),
            _("Value then"),
            _("Interval then"),
            _("Value now"),
            _("Interval now"),
            _("Change"),
            _("Verdict then"),
            _("Verdict now"),
        ),
        rows=tuple(
            (
                metric_title(shift.verdict["metric"]),
                spoken(shift.verdict["label"]),
                spoken(shift.verdict["attribute"]) or _("all studies"),
                number(shift.before["value"]),
                interval(shift.before["low"], shift.before["high"]),
                number(shift.verdict["value"]),
                interval(shift.verdict["low"], shift.verdict["high"]),
                signed(shift.difference),
                shift.before["outcome"],
                shift.verdict["outcome"],
            )
            for shift in changes.shifts
        ),
        sources=_sources(view, changes),
        numeric=(3, 4, 5, 6, 7),
        states=(8, 9),
        wide=True,
    )


def _sources(view: View, changes: Changes) -> tuple[Source, ...]:
    now = (view.audit_source(),) if view.evidence is not None else ()
    return (view.audit_source(changes.audit), *now) if changes.audit else now


def _short(text: str) -> str:
    """A digest by its beginning; any other text as it is."""
    if not text:
        return str(ABSENT)
    return f"{text[:12]}…" if len(text) == 64 and all(letter in "0123456789abcdef" for letter in text) else text


def summary(differences: tuple[Difference, ...]) -> str:
    """How many files and facts differ, and the first of them."""
    if not differences:
        return _("No file and no registered fact differs.")
    names = ", ".join(f"{item.name} ({inside(item.kind)})" for item in differences[:4])
    words = ngettext(
        "%(n)s file or fact differs: %(names)s", "%(n)s files or facts differ: %(names)s", len(differences)
    )
    return words % {"n": count(len(differences)), "names": names} + (" …" if len(differences) > 4 else ".")
