"""Policies and facts for tests: the least that a gate can be asked about, to be changed in one thing each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from governance.policies.evaluate import evaluate
from governance.policies.facts import (
    AcceptanceFact,
    ApprovalFact,
    IncidentFacts,
    PolicyFacts,
    ReportFact,
    RiskFacts,
    RunFact,
)
from governance.policies.findings import GateFindings, ItemFinding, State
from governance.policies.form import AuditItem, Policy

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DIGEST, OTHER = "d" * 64, "e" * 64
SUBMITTER, RUNNER, CHAIR = 1, 2, 3
WAIVER = {"accepted_by": ["committee_chair"], "at_most_days": 90}


def ago(**given: float) -> datetime:
    return NOW - timedelta(**given)


def audit_body(**given: Any) -> dict[str, Any]:
    return {
        "id": "fairness",
        "title": "Fair to women and men",
        "protocols": ["imaging-classifier-v1"],
        "cohort_role": "external_test",
        "max_age_days": 365,
        "min_patients": 200,
    } | given


def policy_body(*audits: dict[str, Any], **given: Any) -> dict[str, Any]:
    """A policy that asks for one audit and nothing else."""
    return {
        "name": "chest-use",
        "title": "Before a chest X-ray reader is used",
        "applies_to": "all",
        "approval": "not_required",
        "audits": list(audits) or [audit_body()],
        "risks": "not_asked",
        "oversight": "not_asked",
        "incidents": "not_asked",
    } | given


def policy(*audits: dict[str, Any], **given: Any) -> Policy:
    return Policy.from_dict(policy_body(*audits, **given))


def written(*audits: dict[str, Any], **given: Any) -> str:
    """The same as YAML."""
    return yaml.safe_dump(policy_body(*audits, **given), sort_keys=False)


def only_audit(**given: Any) -> AuditItem:
    return policy(audit_body(**given)).audits[0]


def run(pk: int = 1, **given: Any) -> RunFact:
    """An audit that counts for :func:`audit_body`."""
    facts: dict[str, Any] = {
        "pk": pk,
        "protocol": "imaging-classifier-v1",
        "approved": True,
        "cohort": 1,
        "cohort_name": "Another hospital",
        "role": "external_test",
        "site": "",
        "simulated": False,
        "patients": 200,
        "outcome": "pass",
        "about": DIGEST,
        "requested_at": ago(days=11),
        "finished_at": ago(days=10),
        "evidence_digest": f"{pk:064x}",
        "runner": RUNNER,
    }
    return RunFact(**(facts | given))


def acceptance(of: RunFact, **given: Any) -> AcceptanceFact:
    facts: dict[str, Any] = {
        "pk": 1,
        "policy_digest": policy(audit_body(insufficient=WAIVER)).digest,
        "item": "fairness",
        "version_digest": DIGEST,
        "evidence_digest": of.evidence_digest,
        "person": CHAIR,
        "name": "Clara Weiss",
        "accepted_at": ago(days=1),
        "expires_at": NOW + timedelta(days=30),
        "revoked": False,
    }
    return AcceptanceFact(**(facts | given))


def facts(*runs: RunFact, **given: Any) -> PolicyFacts:
    known: dict[str, Any] = {
        "system": "chest-model",
        "version": "1.0",
        "digest": DIGEST,
        "void_at": None,
        "submitter": SUBMITTER,
        "runs": runs,
    }
    return PolicyFacts(**(known | given))


def everything(**given: Any) -> PolicyFacts:
    """Facts under which a policy that asks for everything passes."""
    known: dict[str, Any] = {
        "approval": ApprovalFact(state=State.MET, reason="", decided_at=ago(days=5)),
        "reports": (ReportFact(kind="annex_iv", ready=True, as_of=ago(days=5), issued_at=ago(days=5), pk=1),),
        "risks": RiskFacts(recorded=2, rated_too_high=(), not_rated=()),
        "measures": (("d", "verified"), ("e", "verified")),
        "incidents": IncidentFacts(owed=(), unknown=()),
    }
    return facts(run(), **(known | given))


def asks_everything(**given: Any) -> Policy:
    whole = {
        "approval": "required",
        "documents": [{"report": "annex_iv", "max_age_days": 365}],
        "risks": "acceptable",
        "oversight": "required",
        "incidents": "none_open",
    }
    return policy(**(whole | given))


def found(rules: Policy, known: PolicyFacts, *, now: datetime = NOW, **given: Any) -> GateFindings:
    return evaluate(rules, known, now=now, **given)


def item(rules: Policy, known: PolicyFacts, name: str = "fairness", **given: Any) -> ItemFinding:
    return next(row for row in found(rules, known, **given).items if row.item == name)
