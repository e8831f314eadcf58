"""Policies and audits in the database for tests, and what the ledger and the inboxes say afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.models import LedgerEntry, Notification, Role, RoleGrant, User
from evaluation.models import AuditRun
from governance.models import Acceptance, Policy
from governance.services.policies import accept_insufficiency, approve_policy, propose_policy
from models_registry.services.cohort_roles import assign_cohort_role
from tests.governance.policy_scene import WAIVER, audit_body, written
from tests.governance.signed import signed

Audited = Callable[..., AuditRun]
WAIVED = audit_body(insufficient=WAIVER)


def acts(kind: str, pk: int) -> list[str]:
    rows = LedgerEntry.objects.filter(subject_kind=kind, subject_id=str(pk)).order_by("index")
    return list(rows.values_list("act", flat=True))


def payload(act: str) -> dict[str, Any]:
    entry = LedgerEntry.objects.filter(act=act).latest("index")
    return dict(json.loads(entry.body)["payload"])


def told(person: User) -> list[str]:
    return list(Notification.objects.filter(recipient=person).order_by("pk").values_list("title", flat=True))


def second_account(of: User, *roles: Role) -> User:
    """Another account of the same person."""
    other = User.objects.create(username=f"{of.username}2", merged_into=of)
    RoleGrant.objects.bulk_create(RoleGrant(user=other, role=role) for role in roles)
    return other


@pytest.fixture
def standing(people: SimpleNamespace) -> Callable[..., Policy]:
    """Makes policies in force: ``standing(WAIVED, name="strict")``."""

    def make(*audits: dict[str, Any], **given: Any) -> Policy:
        policy = propose_policy(source=written(*audits, **given), by=people.amir)
        return approve_policy(policy=policy, by=people.clara, signed=signed(people.clara))

    return make


@pytest.fixture
def judged(people: SimpleNamespace, audited: Audited) -> Callable[..., AuditRun]:
    """Makes runs on a cohort with the role of an external test."""

    def make(**given: Any) -> AuditRun:
        run = audited(**given)
        cohort = run.cohort.cohort
        if not cohort.role:
            assign_cohort_role(cohort=cohort, role="external_test", site="", by=people.amir)
        return run

    return make


def accept(run: AuditRun, policy: Policy, by: User, **given: Any) -> Acceptance:
    facts = {
        "version": run.version,
        "policy": policy,
        "item": "fairness",
        "reason": "Forty more studies are on their way; until then every output is read twice.",
        "expires_at": timezone.now() + timedelta(days=30),
        "by": by,
        "signed": signed(by),
    }
    return accept_insufficiency(**(facts | given))
