"""What a cohort is to models: who may say so, and who may not any more."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from core.errors import ConflictError, DeniedError
from core.models import LedgerEntry, Role, RoleGrant, User
from evaluation.models import AuditRun, Protocol
from models_registry.models import AISystem, Cohort, CohortRole, CohortVersion, ModelVersion
from models_registry.services.cohort_roles import assign_cohort_role


@pytest.fixture
def cohort(people: SimpleNamespace) -> Cohort:
    return Cohort.objects.create(name="Held out", slug="held-out", created_by=people.elena)


def audit_on(cohort: Cohort, people: SimpleNamespace, submitter: User, status: str = "done") -> AuditRun:
    """An audit of a version by this person, judged on the cohort."""
    system = AISystem.objects.create(name="Model", slug="model", intended_purpose="x", created_by=submitter)
    version = ModelVersion.objects.create(
        system=system, label="1", adapter="x", digest="a" * 64, manifest={}, submitted_by=submitter
    )
    content = CohortVersion.objects.create(
        cohort=cohort, digest="b" * 64, n_studies=1, n_patients=1, summary={}, registered_by=people.elena
    )
    protocol = Protocol.objects.create(name="p", title="p", digest="c" * 64, source="", body={}, locked_by=people.clara)
    return AuditRun.objects.create(
        version=version, cohort=content, protocol=protocol, spec_digest="d" * 64, status=status, n_studies=1,
        version_submitted_by=submitter, protocol_approved_by=people.clara, requested_by=people.amir,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["amir", "clara", "lea"])
@pytest.mark.parametrize("role", CohortRole.values)
def test_a_role_is_assigned_and_entered(name: str, role: str, cohort: Cohort, people: SimpleNamespace) -> None:
    given = assign_cohort_role(cohort=cohort, role=role, site="  LKH   Graz ", by=getattr(people, name))
    assert (given.role, given.site) == (role, "LKH Graz")
    entry = LedgerEntry.objects.get(act="cohort_role.assigned")
    assert (entry.actor, entry.subject_kind, entry.subject_id) == (name, "Cohort", str(cohort.pk))
    assert json.loads(entry.body)["payload"] == {
        "cohort": "held-out", "role": role, "site": "LKH Graz", "before": {"role": "", "site": ""},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["elena", "mina", "dora", "rita", "ada"])
def test_who_may_not(name: str, cohort: Cohort, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="Only people with the role auditor or committee chair or clinician lead"):
        assign_cohort_role(cohort=cohort, role="tuning", site="", by=getattr(people, name))
    assert not LedgerEntry.objects.filter(act="cohort_role.assigned").exists()


@pytest.mark.parametrize(
    ("role", "site", "words"),
    [
        ("nonsense", "", "There is no cohort role 'nonsense'"),
        ("", "", "There is no cohort role ''"),
        ("local", "  ", "A cohort for local acceptance is of one site"),
        ("tuning", "x" * 201, "longer than 200 characters"),
        ("tuning", "a\0b", "holds a NUL"),
    ],
)
def test_what_makes_no_sense(role: str, site: str, words: str, cohort: Cohort, people: SimpleNamespace) -> None:
    with pytest.raises(ConflictError, match=words):
        assign_cohort_role(cohort=cohort, role=role, site=site, by=people.amir)
    cohort.refresh_from_db()
    assert cohort.role == ""


def test_the_same_again_is_told(cohort: Cohort, people: SimpleNamespace) -> None:
    assign_cohort_role(cohort=cohort, role="tuning", site="", by=people.amir)
    with pytest.raises(ConflictError, match="has this role and site already"):
        assign_cohort_role(cohort=cohort, role="tuning", site="", by=people.amir)


def test_whoever_submitted_a_version_that_is_audited_on_it_may_not_by_any_account(
    cohort: Cohort, people: SimpleNamespace
) -> None:
    RoleGrant.objects.create(user=people.lea, role=Role.ML_ENGINEER)
    other = User.objects.create(username="lea2", merged_into=people.lea)
    RoleGrant.objects.create(user=other, role=Role.AUDITOR)
    audit_on(cohort, people, people.lea, status="queued")
    for person in (people.lea, other):
        with pytest.raises(DeniedError, match="You submitted Model 1"):
            assign_cohort_role(cohort=cohort, role="external_test", site="", by=person)
    assign_cohort_role(cohort=cohort, role="external_test", site="", by=people.amir)


def test_after_an_audit_only_a_chair_changes_a_role(cohort: Cohort, people: SimpleNamespace) -> None:
    run = audit_on(cohort, people, people.elena, status="running")
    assign_cohort_role(cohort=cohort, role="internal_test", site="", by=people.amir)
    assign_cohort_role(cohort=cohort, role="external_test", site="", by=people.amir)  # none has ended yet
    AuditRun.objects.filter(pk=run.pk).update(status="done")
    for person in (people.amir, people.lea):
        with pytest.raises(DeniedError, match="change the role of a cohort on which audits have ended"):
            assign_cohort_role(cohort=cohort, role="tuning", site="", by=person)
    assert assign_cohort_role(cohort=cohort, role="tuning", site="", by=people.clara).role == "tuning"
