"""An approval that is void leads back to an audit, and to nothing else."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.utils import timezone

from core.errors import ConflictError
from evaluation.models import AuditRun
from evaluation.selectors import auditable_versions
from models_registry.models import ModelVersion, VersionStatus
from models_registry.services.versions import TRANSITIONS, transition_version
from tests.registry.scene import acts

Order = Callable[..., AuditRun]


@pytest.fixture
def void(order: Order) -> ModelVersion:
    """The version of an order, approved at some time and void now."""
    version = order().version
    AuditRun.objects.all().delete()
    ModelVersion.objects.filter(pk=version.pk).update(
        status=VersionStatus.VOID, void_reason="Its backbone changed.", void_at=timezone.now()
    )
    version.refresh_from_db()
    return version


def test_an_audit_of_a_void_version_begins_it_anew(void: ModelVersion, order: Order, people: SimpleNamespace) -> None:
    assert list(auditable_versions()) == [void]
    run = order()
    void.refresh_from_db()
    assert (void.status, run.version) == (VersionStatus.IN_AUDIT, void)
    assert void.void_reason == "Its backbone changed.", "why it fell stays on record"
    assert acts()[-2:] == ["version.moved", "run.requested"]


@pytest.mark.parametrize("to", [VersionStatus.APPROVED, VersionStatus.IN_REVIEW, VersionStatus.SUBMITTED])
def test_there_is_no_other_way_back(void: ModelVersion, people: SimpleNamespace, to: VersionStatus) -> None:
    with pytest.raises(ConflictError, match="approval void and cannot become"):
        transition_version(version=void, to=to, by=people.clara)
    assert TRANSITIONS[VersionStatus.VOID] == {VersionStatus.IN_AUDIT, VersionStatus.RETIRED}


def test_retiring_or_rejecting_a_backbone_voids_through_the_transition(people: SimpleNamespace, order: Order) -> None:
    head = order().version
    AuditRun.objects.all().delete()
    backbone = ModelVersion.objects.create(
        system=head.system.__class__.objects.create(
            name="Backbone", slug="backbone", kind="backbone", intended_purpose="x", created_by=people.elena
        ),
        label="1.0",
        adapter="fusion",
        digest="b" * 64,
        manifest={"backbone.safetensors": "a" * 64},
        backbone_digest="a" * 64,
        submitted_by=people.elena,
    )
    ModelVersion.objects.filter(pk=head.pk).update(status=VersionStatus.APPROVED, backbone_digest="a" * 64)
    transition_version(version=backbone, to=VersionStatus.RETIRED, by=people.ada, reason="replaced")
    head.refresh_from_db()
    assert (head.status, head.void_cause) == (VersionStatus.VOID, backbone)
    assert acts()[-2:] == ["version.moved", "version.voided"]
