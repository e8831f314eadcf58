"""What a judgement is: the state of one requirement, with its fields and what they rest on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from governance.applicability import Applicability
from governance.requirements import Requirement
from governance.rules import Reference


class State(StrEnum):
    COMPLETE = "complete"
    PARTIAL = "partial"
    MISSING = "missing"
    NONCONFORM = "nonconform"
    STALE = "stale"
    NOT_APPLICABLE = "not_applicable"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class FieldValue:
    """A required field with its valid value and what that rests on; both None where it has none that counts."""

    name: str
    type: str
    label: str
    value: Any = None
    reference: Reference | None = None


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The state of one requirement with what led to it.

    Attributes:
        held, lacking, contradicted, stale: Sentences or parts of them, for people.
        reason: Why it is not applicable, or which questions are open.
        statement: The newest draft or accepted statement of this version, as in the dossier.
        accepted: The accepted statement that counts, as in the dossier; a newer draft may stand beside it.
        owner: Who can mend it: the author of the statement, else a role.
    """

    requirement: Requirement
    applicability: Applicability
    state: State
    held: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    contradicted: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    reason: str = ""
    fields: tuple[FieldValue, ...] = ()
    references: tuple[Reference, ...] = ()
    statement: dict[str, Any] | None = None
    accepted: dict[str, Any] | None = None
    owner: str = ""

    def value(self, name: str) -> Any:
        """The valid value of a field; None where it has none."""
        return next((item.value for item in self.fields if item.name == name), None)
