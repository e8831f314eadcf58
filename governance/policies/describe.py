"""The rules of a policy in words, and what two numbers of a policy differ in."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import yaml

from core.models import Role
from governance.policies.audits import asked_for
from governance.policies.form import AuditItem, Policy
from governance.policies.monitoring import sentence
from governance.policies.words import listed

AROUND = 3
"""Equal lines that are shown before and after what changed."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One thing that a policy asks for."""

    title: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line of a difference: ``kind`` is ``added``, ``removed``, ``same``, or ``gap`` for equal lines left out."""

    kind: str
    text: str


def describe(policy: Policy, titles: dict[str, str]) -> list[Rule]:
    """Every rule, in the order in which the gate tells it. ``titles``: those of the reports."""
    review = policy.review
    roles = listed([_role(role) for role in review.required_roles])
    rules = [
        Rule(
            title="Review",
            text=f"{review.quorum} equal votes decide."
            + (f" Among those who approve is at least one {roles}." if roles else ""),
        )
    ]
    if policy.approval:
        rules.append(Rule(title="Approval", text="The committee's approval stands."))
    rules += [Rule(title=item.title, text=_audit(item)) for item in policy.audits]
    for document in policy.documents:
        ready = ", with nothing obligatory missing" if document.ready else ""
        rules.append(
            Rule(
                title=titles.get(document.report, document.report),
                text=f"Issued for the version within {document.max_age_days} days{ready}.",
            )
        )
    if policy.risks:
        rules.append(Rule(title="Risks", text="The register has risks, and none that remains too high unaccepted."))
    if policy.oversight:
        text = "A measure to overrule the system and one to stop it are verified."
        rules.append(Rule(title="Human oversight", text=text))
    if policy.incidents:
        rules.append(Rule(title="Incidents", text="No open incident has a report that is owed and not sent."))
    if policy.monitoring is not None:
        rules.append(Rule(title="Monitoring", text=sentence(policy.monitoring)))
    return rules


def difference(old: Policy | None, new: Policy) -> list[Change]:
    """Line by line, in the canonical form: comments and the order of keys are no difference. Empty without ``old``."""
    if old is None:
        return []
    kinds = {"+ ": "added", "- ": "removed", "  ": "same"}
    lines = [line for line in difflib.ndiff(_lines(old), _lines(new)) if line[:2] in kinds]
    changed = [place for place, line in enumerate(lines) if kinds[line[:2]] != "same"]
    found: list[Change] = []
    for place, line in enumerate(lines):
        if any(abs(place - other) <= AROUND for other in changed):
            found.append(Change(kind=kinds[line[:2]], text=line[2:]))
        elif not found or found[-1].kind != "gap":
            found.append(Change(kind="gap", text="…"))
    return found


def _lines(policy: Policy) -> list[str]:
    return yaml.safe_dump(policy.to_dict(), sort_keys=False, allow_unicode=True, width=100).splitlines()


def _audit(item: AuditItem) -> str:
    asked = asked_for(item)
    parts = [f"{asked[0].upper()}{asked[1:]}, ended within {item.max_age_days} days."]
    if item.each_site:
        parts.append("At each site where the system is deployed, on patients of that site.")
    if item.simulated_allowed:
        parts.append("Simulated patients count.")
    if item.waiver is None:
        parts.append("A lack of evidence is never accepted.")
    else:
        roles = listed([_role(role) for role in item.waiver.accepted_by], "or")
        parts.append(f"A {roles} may accept a lack of evidence for {item.waiver.at_most_days} days at most.")
    return " ".join(parts)


def _role(role: str) -> str:
    return str(Role(role).label).lower()
