"""In which state each requirement is, as far as one evidence document shows it.

States: ``complete``, ``partial``, ``missing``, ``nonconform``, ``not_judged``. What a requirement's rule
needs and the platform does not hold is named; nothing is complete because a similar thing is there. Evidence
counts because it is bound to the version's and the cohort's digest: it is of one run of one version on one cohort.

- *nonconform*: the requirement rests on the fairness audit, and the audit failed.
- *missing*: nothing held bears on it.
- *not judged*: it applies only under a condition that nobody has answered yet, or it is no binding duty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from governance.reports.base import ReportContext
from governance.requirements import Catalogue, Requirement


class State(StrEnum):
    COMPLETE = "complete"
    PARTIAL = "partial"
    MISSING = "missing"
    NONCONFORM = "nonconform"
    NOT_JUDGED = "not_judged"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What bears on one requirement.

    Attributes:
        held: What the platform holds, in words that the evidence carries.
        lacking: What the completeness rule or a required field needs beyond that.
        rests_on_audit: The audit's own outcome decides: a failed one makes the requirement nonconform.
    """

    held: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    rests_on_audit: bool = False


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """State of one requirement with what led to it. ``reason`` is set where it was not judged."""

    requirement: Requirement
    state: State
    held: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    reason: str = ""


Rule = Callable[[dict[str, Any], ReportContext], Finding]
RULES: dict[str, Rule] = {}
ASSUMED = frozenset({"always", "hr"})
"""``hr`` is assumed: nobody owes this documentation for a system that is not high-risk. The cover says so."""


def judged_by(*ids: str) -> Callable[[Rule], Rule]:
    """Register the rule that judges these requirements."""

    def add(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(ids, rule))
        return rule

    return add


def judge(
    requirements: Sequence[Requirement],
    catalogue: Catalogue,
    evidence: dict[str, Any],
    context: ReportContext,
) -> tuple[Judgement, ...]:
    """Judge requirements, in their order, by one evidence document."""
    known = ASSUMED | ({"trains_on_data"} if runs_weights(evidence) else frozenset())
    return tuple(_judge(item, catalogue, known, evidence, context) for item in requirements)


def count_states(judgements: Sequence[Judgement]) -> dict[str, int]:
    """How many requirements are in each state; every state is there, also with 0."""
    return {state.value: sum(item.state is state for item in judgements) for state in State}


def runs_weights(evidence: dict[str, Any]) -> bool:
    """Whether the audited version was run, and not read from a log of its predictions."""
    return bool(evidence["version"]["config"].get("runs_weights"))


def unbound_weights(evidence: dict[str, Any]) -> str:
    """What is to be told of weights that run elsewhere, bound by no digest; empty where they are bound or not run."""
    return str(evidence["version"]["config"].get("details", {}).get("weights", ""))


def _judge(
    item: Requirement,
    catalogue: Catalogue,
    known: frozenset[str],
    evidence: dict[str, Any],
    context: ReportContext,
) -> Judgement:
    if item.status != "binding":
        reason = f"It is {item.status} and decides nothing about readiness."
        return Judgement(requirement=item, state=State.NOT_JUDGED, reason=reason)
    if unanswered := [key for key in item.triggers if key not in known]:
        questions = " ".join(catalogue.triggers[key] for key in unanswered)
        reason = f"It applies only under a condition that has not been answered: {questions}"
        return Judgement(requirement=item, state=State.NOT_JUDGED, reason=reason)
    finding = RULES[item.id](evidence, context) if item.id in RULES else Finding()
    if not finding.held:
        return Judgement(requirement=item, state=State.MISSING, lacking=finding.lacking)
    lacking = finding.lacking
    if finding.rests_on_audit:
        lacking += tuple(_audit_gaps(evidence))
        if evidence["result"]["outcome"] == "fail":
            return Judgement(requirement=item, state=State.NONCONFORM, held=finding.held, lacking=lacking)
    state = State.PARTIAL if lacking else State.COMPLETE
    return Judgement(requirement=item, state=state, held=finding.held, lacking=lacking)


def _audit_gaps(evidence: dict[str, Any]) -> Iterator[str]:
    """What keeps an audit from completing anything, whatever the requirement."""
    if evidence["result"]["outcome"] == "insufficient":
        yield "enough studies to judge every primary criterion"
    if evidence["cohort"]["simulated"]:
        yield "an audit on real patients: this cohort is simulated"
    if not runs_weights(evidence):
        yield "a run of the system itself: only its recorded predictions were judged"
