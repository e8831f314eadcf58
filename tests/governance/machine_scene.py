"""The scene of the state machine: people with second accounts, a version, audits with evidence, perhaps a policy."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.utils import timezone

from core.digests import sha256_bytes
from core.models import Role, RoleGrant, User
from core.store import Store
from evaluation.models import AuditRun, RunStatus
from governance.models import Policy
from models_registry.models import Cohort, CohortRole, CohortVersion, ModelVersion, VersionStatus
from models_registry.services.versions import transition_version
from tests.governance.conftest import make_evidence, make_people, make_protocol, record

MORE = {
    "boris": [Role.AUDITOR],
    "cora": [Role.COMMITTEE_CHAIR],
    "elena2": [Role.COMMITTEE_MEMBER],
    "amir2": [Role.CLINICIAN_LEAD],
    "mina2": [Role.COMMITTEE_MEMBER],
}
POLICY = """
auscult_policy: 1
name: machine-v1
title: What the machine is held against
applies_to: all
review: {quorum: 2, required_roles: [clinician_lead]}
approval: required
audits:
  - id: fairness
    title: Equal detection
    protocols: [imaging-classifier-v1]
    cohort_role: [external_test]
    max_age_days: 200
    min_patients: 100
    insufficient: {accepted_by: [committee_chair, clinician_lead], at_most_days: 90}
risks: not_asked
oversight: not_asked
incidents: not_asked
"""


def make_scene() -> SimpleNamespace:
    people = make_people()
    for name, roles in MORE.items():
        user = User.objects.create(username=name, first_name=name.capitalize(), last_name="Example")
        RoleGrant.objects.bulk_create(RoleGrant(user=user, role=role) for role in roles)
        setattr(people, name, user)
    make_protocol(people)
    cohort = Cohort.objects.create(
        name="Held out", slug="held-out", role=CohortRole.EXTERNAL_TEST, created_by=people.amir
    )
    CohortVersion.objects.create(
        cohort=cohort,
        digest=sha256_bytes(b"cohort"),
        n_studies=500,
        n_patients=200,
        summary={},
        registered_by=people.amir,
    )
    return people


def put_in_force(people: SimpleNamespace, signed: Any) -> Policy:
    from governance.services.policies import approve_policy, propose_policy

    policy = propose_policy(source=POLICY, by=people.boris)
    return approve_policy(policy=policy, by=people.cora, signed=signed(people.cora))


def audit(version: ModelVersion, home: Path, *, outcome: str, by: User, people: SimpleNamespace) -> AuditRun:
    """A finished audit, as workers leave it; a void version goes into audit by it."""
    if version.status == VersionStatus.VOID:
        transition_version(version=version, to=VersionStatus.IN_AUDIT, by=by, reason="audited again")
    protocol, cohort = make_protocol(people), CohortVersion.objects.get()
    run = AuditRun.objects.create(
        version=version,
        cohort=cohort,
        protocol=protocol,
        spec_digest=sha256_bytes(b"spec"),
        attempt=AuditRun.objects.count() + 1,
        settings={"batch_size": 64},
        status=RunStatus.DONE,
        finished_at=timezone.now(),
        outcome=outcome,
        n_studies=500,
        version_submitted_by=version.submitted_by,
        protocol_approved_by=protocol.approved_by,
        requested_by=by,
    )
    spec = {"version": version.digest, "cohort": cohort.digest, "protocol": protocol.digest}
    record(by, "run.requested", run, spec)
    evidence = make_evidence(run, outcome)
    run.evidence_digest = Store(home / "store").put_json(evidence)
    run.result_digest = evidence["result_digest"]
    run.finished_at = timezone.now()
    run.save()
    found = {"outcome": outcome, "evidence": run.evidence_digest, "result": run.result_digest}
    record(None, "run.judged", run, found)
    return run
