"""What the committee may still do when a backbone changes under a version that it approved, or is about to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from core.access import can
from core.errors import ConflictError, DeniedError
from evaluation.models import AuditRun, RunStatus
from governance.access import check_may_approve, check_may_vote
from governance.models import Review, Vote
from governance.pages.panels import _may_open
from governance.services.reviews import cast_vote, open_review
from models_registry.models import AISystem, ModelVersion, SystemKind, VersionStatus
from models_registry.services.lineage import record_origins
from tests.governance.signed import signed

OLD, NEW = "a" * 64, "b" * 64
Audited = Callable[..., AuditRun]


def a_backbone(people: SimpleNamespace, label: str, weights: str) -> ModelVersion:
    system, _ = AISystem.objects.get_or_create(
        slug="backbone",
        defaults={
            "name": "Backbone",
            "kind": SystemKind.BACKBONE,
            "intended_purpose": "None.",
            "created_by": people.elena,
        },
    )
    version = ModelVersion.objects.create(
        system=system,
        label=label,
        adapter="fusion",
        digest=weights[::-1].replace("a", "c").replace("b", "d"),
        manifest={"backbone.safetensors": weights},
        backbone_digest=weights,
        submitted_by=people.elena,
    )
    record_origins(version=version, by=people.elena)
    return version


def put_on_backbone(version: ModelVersion, weights: str) -> None:
    version.backbone_digest = weights
    version.save(update_fields=["backbone_digest"])


def test_a_review_that_was_open_cannot_approve_what_rests_on_the_former(
    people: SimpleNamespace, audited: Audited
) -> None:
    run = audited()
    put_on_backbone(run.version, OLD)
    a_backbone(people, "1.0", OLD)
    review = open_review(run=run, by=people.clara)
    cast_vote(
        review=review, choice="approve", rationale="The evidence is clear.", by=people.mina, signed=signed(people.mina)
    )
    a_backbone(people, "1.1", NEW)
    with pytest.raises(DeniedError, match="cannot be approved by this review") as refused:
        cast_vote(
            review=review,
            choice="approve",
            rationale="The evidence is clear.",
            by=people.tom,
            signed=signed(people.tom),
        )
    assert OLD in str(refused.value) and NEW in str(refused.value)
    assert Vote.objects.count() == 1
    review = Review.objects.select_related("version", "run").get(pk=review.pk)
    assert can(check_may_vote, people.tom, review)
    assert "The backbone Backbone changed" in can(check_may_approve, people.tom, review).reason
    for voter in (people.tom, people.lea):
        cast_vote(
            review=review, choice="reject", rationale="It rests on a former backbone.", by=voter, signed=signed(voter)
        )
    review.refresh_from_db()
    assert review.status == Review.Status.REJECTED


def test_an_approval_falls_and_comes_back_only_by_a_new_audit_and_review(
    people: SimpleNamespace, audited: Audited, decided: Callable[..., Review]
) -> None:
    a_backbone(people, "1.0", OLD)
    review = decided()
    version, old_run = review.version, review.run
    put_on_backbone(version, OLD)
    a_backbone(people, "1.1", NEW)
    version.refresh_from_db()
    assert version.status == VersionStatus.VOID
    review.refresh_from_db()
    assert review.status == Review.Status.APPROVED, "what was decided stays on record"

    ModelVersion.objects.filter(pk=version.pk).update(status=VersionStatus.IN_AUDIT)  # an audit was requested
    old_run = AuditRun.objects.select_related("version__system").get(pk=old_run.pk)
    with pytest.raises(ConflictError, match="is older than what voided"):
        open_review(run=old_run, by=people.clara)
    assert "is older than what voided" in _may_open(people.clara, old_run).reason

    again = AuditRun.objects.get(pk=old_run.pk)
    again.pk, again.attempt, again.status = None, 2, RunStatus.DONE
    again.save()
    AuditRun.objects.filter(pk=again.pk).update(requested_at=timezone.now() + timedelta(seconds=1))
    again = AuditRun.objects.select_related("version__system").get(pk=again.pk)
    assert _may_open(people.clara, again)
    second = open_review(run=again, by=people.clara)
    for voter in (people.mina, people.tom):
        cast_vote(
            review=second,
            choice="approve",
            rationale="Known to rest on the former backbone.",
            by=voter,
            signed=signed(voter),
        )
    version.refresh_from_db()
    assert version.status == VersionStatus.APPROVED
