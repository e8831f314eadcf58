"""Drafts wait to be submitted by whoever registered them; a version is retired for good, and not while it runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from core.errors import ConflictError, DeniedError
from core.models import LedgerEntry, Role, RoleGrant, User
from models_registry.models import AISystem, Deployment, ModelVersion, SystemKind, VersionStatus
from models_registry.services.versions import Content, create_version, retire_version, submit_version
from tests.governance.clock import BEGIN
from tests.governance.conftest import make_people, make_version


@pytest.fixture
def people(db: None) -> SimpleNamespace:
    return make_people()


def registered(people: SimpleNamespace, *, draft: bool, kind: str = SystemKind.SYSTEM) -> ModelVersion:
    system = AISystem.objects.create(
        name=f"Reader {kind}", slug=f"reader-{kind}", kind=kind, intended_purpose="Reads.", created_by=people.elena
    )
    content = Content(
        digest="a" * 64, manifest={"m.safetensors": "b" * 64}, sizes={}, config={}, card={}, backbone_digest=""
    )
    facts = {"system": system, "label": "1.0", "adapter": "fusion", "notes": "", "source": "a folder"}
    return create_version(**facts, content=content, draft=draft, by=people.elena)


def test_a_draft_is_submitted_by_whoever_registered_it(people: SimpleNamespace) -> None:
    version = registered(people, draft=True)
    assert version.status == VersionStatus.DRAFT
    RoleGrant.objects.create(user=people.amir, role=Role.ML_ENGINEER)
    with pytest.raises(DeniedError, match="Only Elena Example may submit"):
        submit_version(version=version, by=people.amir)
    assert submit_version(version=version, by=people.elena).status == VersionStatus.SUBMITTED
    with pytest.raises(ConflictError, match="cannot become submitted"):
        submit_version(version=version, by=people.elena)
    acts = LedgerEntry.objects.filter(subject_kind="ModelVersion").order_by("index").values_list("act", flat=True)
    assert list(acts) == ["version.registered", "version.moved"]


def test_a_second_account_of_who_registered_it_is_the_same_person(people: SimpleNamespace) -> None:
    version = registered(people, draft=True)
    other = User.objects.create(username="eva")
    RoleGrant.objects.create(user=other, role=Role.ML_ENGINEER)
    User.objects.filter(pk=people.elena.pk).update(merged_into=other)
    assert submit_version(version=version, by=other).status == VersionStatus.SUBMITTED


def test_what_is_registered_without_a_word_is_submitted(people: SimpleNamespace) -> None:
    assert registered(people, draft=False).status == VersionStatus.SUBMITTED


def test_a_backbone_has_no_drafts(people: SimpleNamespace) -> None:
    with pytest.raises(ConflictError, match="no drafts"):
        registered(people, draft=True, kind=SystemKind.BACKBONE)


@pytest.mark.parametrize("name", ["elena", "amir", "mina", "ada"])
def test_only_a_chair_retires(name: str, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="may retire a version"):
        retire_version(version=make_version(people, "1.0"), reason="Old.", by=getattr(people, name))


@pytest.mark.parametrize("status", ["draft", "submitted", "approved", "conditional", "suspended", "void", "rejected"])
def test_a_version_is_retired_from_every_state_but_a_review(status: str, people: SimpleNamespace) -> None:
    version = make_version(people, "1.0")
    ModelVersion.objects.filter(pk=version.pk).update(status=status)
    assert retire_version(version=version, reason="Replaced.", by=people.clara).status == VersionStatus.RETIRED
    with pytest.raises(ConflictError, match="cannot become retired"):
        retire_version(version=version, reason="Again.", by=people.clara)


def test_what_is_under_review_or_deployed_is_not_retired(people: SimpleNamespace) -> None:
    version = make_version(people, "1.0")
    ModelVersion.objects.filter(pk=version.pk).update(status=VersionStatus.IN_REVIEW)
    with pytest.raises(ConflictError, match="cannot become retired"):
        retire_version(version=version, reason="Old.", by=people.clara)
    ModelVersion.objects.filter(pk=version.pk).update(status=VersionStatus.DEPLOYED)
    place = Deployment.objects.create(
        version=version, site="Ward 1", contact_name="Ida", contact_email="ida@example.org",
        started_at=BEGIN, started_by=people.clara,
    )  # fmt: skip
    with pytest.raises(ConflictError, match="deployed at Ward 1"):
        retire_version(version=version, reason="Old.", by=people.clara)
    Deployment.objects.filter(pk=place.pk).update(status=Deployment.Status.ENDED, ended_at=BEGIN)
    assert retire_version(version=version, reason="Old.", by=people.clara).status == VersionStatus.RETIRED


@pytest.mark.parametrize("reason", ["", " ", "x" * 2001, "a\0b"])
def test_retiring_needs_a_reason(reason: str, people: SimpleNamespace) -> None:
    with pytest.raises(ConflictError, match="needs a reason"):
        retire_version(version=make_version(people, "1.0"), reason=reason, by=people.clara)
