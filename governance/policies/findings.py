"""What the gate finds: how a version stands against each item of a policy, and in all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How one item stands. Lack of evidence is never a pass; an accepted lack is said to be one."""

    MET = "met"
    ACCEPTED = "accepted"
    STALE = "stale"
    MISSING = "missing"
    INSUFFICIENT = "insufficient"
    FAILED = "failed"


GOOD = frozenset({State.MET, State.ACCEPTED})


class GateOutcome(StrEnum):
    """The verdict of the gate; ``EXIT`` gives what a pipeline sees."""

    PASS = "pass"
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


EXIT = {GateOutcome.PASS: 0, GateOutcome.FAIL: 1, GateOutcome.INSUFFICIENT: 2}


@dataclass(frozen=True, kw_only=True)
class ItemFinding:
    """One item of a policy for one version.

    Attributes:
        item: Its identifier in the policy: ``approval``, or that of an audit, a document and so on.
        kind: ``approval``, ``audit``, ``document``, ``risks``, ``oversight``, ``incidents``, ``monitoring``.
        statement: What was found, in full sentences with its facts and dates.
        remedy: What would mend it; empty where it is met.
        who: Values of :class:`core.models.Role` of those who can mend it.
        run, evidence_digest, evidence_at: The evidence that decides it, where there is any.
        expires_at: When it stops being met by itself: the evidence becomes stale, or the acceptance ends.
        acceptable: Whether the policy lets a named person accept this lack of evidence (``INSUFFICIENT`` only).
    """

    item: str
    kind: str
    title: str
    state: State
    statement: str
    remedy: str = ""
    who: tuple[str, ...] = ()
    run: int | None = None
    evidence_digest: str = ""
    evidence_at: datetime | None = None
    expires_at: datetime | None = None
    acceptable: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "item": self.item,
            "kind": self.kind,
            "title": self.title,
            "state": str(self.state),
            "statement": self.statement,
            "remedy": self.remedy,
            "who": list(self.who),
            "run": self.run,
            "evidence_digest": self.evidence_digest,
            "evidence_at": _moment(self.evidence_at),
            "expires_at": _moment(self.expires_at),
            "acceptable": self.acceptable,
        }


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


@dataclass(frozen=True, kw_only=True)
class GateFindings:
    """How a version stands against one policy at one moment."""

    policy: str
    number: int
    policy_digest: str
    system: str
    version: str
    version_digest: str
    as_of: datetime
    items: tuple[ItemFinding, ...]

    @property
    def outcome(self) -> GateOutcome:
        """Fail where one item failed, else insufficient where one is not met, else pass. No item is no evidence."""
        states = {item.state for item in self.items}
        if State.FAILED in states:
            return GateOutcome.FAIL
        if not states or states - GOOD:
            return GateOutcome.INSUFFICIENT
        return GateOutcome.PASS

    @property
    def open_items(self) -> tuple[ItemFinding, ...]:
        return tuple(item for item in self.items if item.state not in GOOD)

    @property
    def accepted_items(self) -> tuple[ItemFinding, ...]:
        """What has too little evidence, and passes only because a named person accepts that."""
        return tuple(item for item in self.items if item.state == State.ACCEPTED)

    @property
    def expires_at(self) -> datetime | None:
        """The first moment at which an item that is met stops being so."""
        return min((item.expires_at for item in self.items if item.expires_at and item.state in GOOD), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: what ``auscult gate --json`` prints, and what is kept with a deployment."""
        return {
            "schema": "auscult/gate/1",
            "policy": {"name": self.policy, "number": self.number, "digest": self.policy_digest},
            "system": self.system,
            "version": {"label": self.version, "digest": self.version_digest},
            "as_of": self.as_of.isoformat(),
            "outcome": str(self.outcome),
            "expires_at": _moment(self.expires_at),
            "items": [item.to_dict() for item in self.items],
        }
