"""The risk register as rules read it from a dossier: what counts of each entry, and of each row of the DPIA. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from governance.rules import Facts, Reference
from governance.rules.values import date_of
from governance.standing.register import VERIFIED, ControlFacts, Judged, Stated, judge_risk
from governance.standing.risk_statements import Measure


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One risk of the register with what counts of it. ``told`` is its part of the dossier."""

    told: Mapping[str, Any]
    judged: Judged

    @property
    def title(self) -> str:
        return str(self.told["title"])

    @property
    def kind(self) -> str:
        return str(self.told["kind"])

    @property
    def rated(self) -> bool:
        return self.judged.before.stated and self.judged.after.stated

    @property
    def verified(self) -> list[Mapping[str, Any]]:
        return [control for control in self.told["controls"] if control["status"] == VERIFIED]

    @property
    def accepted(self) -> bool:
        return self.told["acceptance"] is not None

    @property
    def reference(self) -> Reference:
        name = _("Risk register, entry %(number)s") % {"number": self.told["number"]}
        return Reference(kind="risk", name=name, href_id=str(self.told["id"]))


def entries_of(facts: Facts) -> tuple[Entry, ...]:
    """Every risk of the register that is not closed; none where the dossier is older than the register."""
    told = facts.dossier.get("registers", {}).get("risks", [])
    return tuple(_entry(facts, row) for row in told if row["status"] != "closed")


def _entry(facts: Facts, row: Mapping[str, Any]) -> Entry:
    judged = judge_risk(
        facts.catalogue.risk_matrix,
        before=_stated(row["ratings"]["before"]),
        after=_stated(row["ratings"]["after"]),
        controls=[ControlFacts(kind=control["kind"], status=control["status"]) for control in row["controls"]],
    )
    return Entry(told=row, judged=judged)


def _stated(rating: Mapping[str, int] | None) -> Stated | None:
    return Stated(severity=rating["severity"], likelihood=rating["likelihood"]) if rating else None


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the register says about one row of the DPIA.

    Attributes:
        before, after: Of the gravest entry of each stage; several risks of one kind are no contradiction.
        texts: Source, threat and impact of each entry, in the columns of a stated one.
        measures: Its controls that were not dropped; one is done on the day on which it was verified.
        lowered: A milder rating is stated for one of them though no control against it is verified.
    """

    before: Stated | None
    after: Stated
    after_stated: bool
    texts: tuple[Mapping[str, str], ...]
    measures: tuple[Measure, ...]
    lowered: bool
    references: tuple[Reference, ...]


def register_rows(facts: Facts) -> dict[str, Row]:
    """The register by kind of risk, worked out once for these facts."""
    if "register" not in facts.kept:
        facts.kept["register"] = _by_kind(facts)
    told: dict[str, Row] = facts.kept["register"]
    return told


def _by_kind(facts: Facts) -> dict[str, Row]:
    found: dict[str, list[Entry]] = {}
    for entry in entries_of(facts):
        found.setdefault(entry.kind, []).append(entry)
    return {kind: _row(entries) for kind, entries in found.items()}


def _row(entries: Sequence[Entry]) -> Row:
    before = max((entry.judged.before for entry in entries), key=lambda one: (one.product, not one.stated))
    after = max((entry.judged.after for entry in entries), key=lambda one: (one.product, not one.stated))
    return Row(
        before=Stated(severity=before.severity, likelihood=before.likelihood) if before.stated else None,
        after=Stated(severity=after.severity, likelihood=after.likelihood),
        after_stated=after.stated,
        texts=tuple(
            {"source": entry.told["hazard"], "threat": entry.told["cause"], "impact": entry.told["harm"]}
            for entry in entries
        ),
        measures=tuple(measure for entry in entries for measure in _measures(entry)),
        lowered=any(entry.judged.lowered_without_control for entry in entries),
        references=tuple(entry.reference for entry in entries),
    )


def _measures(entry: Entry) -> list[Measure]:
    return [
        Measure(
            text=control["text"],
            owner=control["owner"],
            due=control["due_on"],
            done_on=date_of(control["verified_at"]) if control["status"] == VERIFIED else None,
        )
        for control in entry.told["controls"]
        if control["status"] != "dropped"
    ]
