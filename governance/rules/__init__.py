"""What a machine can check of each requirement: one rule each, found by the requirement's identifier.

A rule reads facts and returns a finding. It never decides the state (``governance.statuses`` does), reads no database
and no file, and counts only what is really held: for this version, on this cohort. Every sentence goes through gettext,
because reports print it. A requirement without a rule is judged by its fields and the person who accepted them alone.

Adding rules takes one file in this package: it registers them with :func:`judged_by` when it is imported.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from core.errors import AuscultError
from governance.applicability import Applicability, Conclusion, Truth
from governance.requirements import Catalogue


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a judgement or a value rests on.

    Attributes:
        kind: ``audit``, ``statement``, ``version``, ``cohort``, ``answer``, ``review``, ``report``, ``requirement``,
            ``risk``, ``incident``, ``deployment``, ``measure``.
        name: In a reader's words, such as ``Audit 4``.
        href_id: What a page links by: the row's number, the question's or the requirement's key.
    """

    kind: str
    name: str
    digest: str = ""
    href_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What bears on one requirement.

    Attributes:
        held: What the platform holds, in words that it can answer for.
        lacking: What the completeness rule needs beyond what is held and stated.
        contradicted: Where what is held or stated is against the rule, or against another statement.
        filled: Required fields that the platform fills itself; a statement that says otherwise contradicts them.
        sources: What each filled field rests on; the version where nothing is said.
        waived: Required fields that may stay empty here, because another fact takes their place.
        rests_on_audit: The audits' own outcome decides: a failed one makes the requirement nonconform.
        settled: The platform itself checked the completeness rule, so that no person's acceptance is needed.
    """

    held: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    contradicted: tuple[str, ...] = ()
    filled: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Reference] = field(default_factory=dict)
    waived: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    rests_on_audit: bool = False
    settled: bool = False


def _unknown_state(requirement_id: str) -> str:
    return "unknown"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that a rule may look at.

    Attributes:
        dossier: See ``governance.dossier``.
        evidence: The evidence document of the dossier's run where a report is written, else None. States do not
            depend on it, so that a page and a report never tell different ones.
        accepted: Newest accepted statement of each requirement that is still about what it was written about.
        state_of: The state of another requirement, judged on demand; rules may not ask in a circle.
        kept: What one rule worked out of these facts and others need too, by its name.
    """

    dossier: dict[str, Any]
    evidence: dict[str, Any] | None
    catalogue: Catalogue
    conclusions: Mapping[str, Conclusion]
    applicability: Mapping[str, Applicability]
    as_of: datetime
    accepted: Mapping[str, Mapping[str, Any]]
    state_of: Callable[[str], str] = _unknown_state
    kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def values(self, requirement_id: str) -> Mapping[str, Any]:
        """Fields of the newest accepted, current statement about a requirement; empty where there is none."""
        statement = self.accepted.get(requirement_id)
        return statement["fields"] if statement else {}

    def text(self, requirement_id: str) -> str:
        """The text of the newest accepted, current statement about a requirement; empty where there is none."""
        statement = self.accepted.get(requirement_id)
        return str(statement["text"]).strip() if statement else ""

    def audits(self, kind: str = "") -> list[dict[str, Any]]:
        """Finished audits of this version on the dossier's cohort that show a kind of evidence; newest first."""
        return [
            audit for audit in self.dossier["audits"] if self.counts(audit) and (not kind or kind in audit["kinds"])
        ]

    def counts(self, audit: Mapping[str, Any]) -> bool:
        """Whether an audit of this version counts: finished, on the dossier's cohort, and not led to what is void."""
        cohort = self.dossier["cohort"]
        same = cohort is not None and audit["cohort"]["digest"] == cohort["digest"]
        return bool(audit["outcome"]) and same and not self.voided(audit)

    def voided(self, audit: Mapping[str, Any]) -> bool:
        """Whether the version's approval became void after this audit was requested."""
        void = self.dossier["version"]["void"]
        return bool(void) and audit["requested_at"] <= void["at"]

    def reports(self, kind: str) -> list[dict[str, Any]]:
        """Issued reports of one kind about this version, newest first."""
        return [report for report in self.dossier["reports"] if report["kind"] == kind]

    def answer(self, question: str) -> Any:
        """What was answered to a question; None where nothing was."""
        found = self.dossier["answers"].get(question)
        return found["value"] if found else None

    def truth(self, key: str) -> Truth:
        """Whether a trigger or a role holds; unknown where nobody answered."""
        return self.conclusions[key].truth if key in self.conclusions else Truth.UNKNOWN

    @property
    def version(self) -> dict[str, Any]:
        """The version that is judged."""
        found: dict[str, Any] = self.dossier["version"]
        return found


Rule = Callable[[Facts], Finding]
_RULES: dict[str, Rule] = {}
_COLUMNS: dict[tuple[str, str], tuple[str, ...]] = {}
DEFAULT_COLUMNS = ("item", "description")


def judged_by(*ids: str) -> Callable[[Rule], Rule]:
    """Register the rule that judges these requirements. A second rule for one raises."""

    def add(rule: Rule) -> Rule:
        for key in ids:
            if key in _RULES:
                raise AuscultError(f"Two rules judge {key}.", remedy="Take one of them away.")
            _RULES[key] = rule
        return rule

    return add


def declare_table(requirement_id: str, field_name: str, *columns: str) -> None:
    """Say which columns a field of type ``table`` has: a value is a list of rows, each a mapping of them to text.

    A column whose name ends with ``?`` may stay empty. Pages ask for these columns, and rules read them.
    """
    _COLUMNS[requirement_id, field_name] = columns


def table_columns(requirement_id: str, field_name: str) -> tuple[str, ...]:
    """The columns of a table, those that may stay empty with ``?`` at the end."""
    rules()
    return _COLUMNS.get((requirement_id, field_name), DEFAULT_COLUMNS)


@cache
def rules() -> Mapping[str, Rule]:
    """Every rule by requirement, from all files of this package."""
    for name in _modules():
        importlib.import_module(name)
    return _RULES


def _modules() -> Iterator[str]:
    return (f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__))
