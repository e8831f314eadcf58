"""Where a version comes from, and which approvals fall when what they rest on changes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction

from core.digests import manifest_digest, sha256_bytes
from core.errors import ConflictError
from core.models import LedgerEntry
from models_registry.models import (
    AISystem,
    Cohort,
    CohortVersion,
    ModelVersion,
    Origin,
    Relation,
    SystemKind,
    VersionStatus,
)
from models_registry.services import voiding
from models_registry.services.lineage import (
    record_origins,
    versions_with_file,
    void_for_changed_file,
    void_for_withdrawn_backbone,
)
from tests.registry.scene import acts, snapshot

OLD, NEW = sha256_bytes(b"weights of 1.0"), sha256_bytes(b"weights of 1.1")


def a_system(people: SimpleNamespace, name: str, *, kind: str = SystemKind.SYSTEM) -> AISystem:
    slug = name.lower().replace(" ", "-")
    found = AISystem.objects.filter(slug=slug).first()
    return found or AISystem.objects.create(
        name=name, slug=slug, kind=kind, intended_purpose="Helps.", created_by=people.elena
    )


def a_version(system: AISystem, label: str, files: dict[str, str], **changes: Any) -> ModelVersion:
    return ModelVersion.objects.create(
        **{
            "system": system,
            "label": label,
            "adapter": "fusion",
            "manifest": files,
            "digest": manifest_digest(files | {"label": sha256_bytes(f"{system.slug}{label}".encode())}),
            "submitted_by": system.created_by,
        }
        | changes
    )


def a_backbone(people: SimpleNamespace, label: str, weights: str, **changes: Any) -> ModelVersion:
    system = a_system(people, "Chest backbone", kind=SystemKind.BACKBONE)
    return a_version(system, label, {"backbone.safetensors": weights}, backbone_digest=weights, **changes)


def a_head(people: SimpleNamespace, name: str, weights: str, **changes: Any) -> ModelVersion:
    head = sha256_bytes(f"head of {name}".encode())
    files = {"backbone.safetensors": weights, "head.safetensors": head}
    return a_version(a_system(people, name), changes.pop("label", "1.0"), files, backbone_digest=weights, **changes)


def a_cohort(people: SimpleNamespace) -> CohortVersion:
    cohort = Cohort.objects.create(name="Training", slug="training", created_by=people.elena)
    return CohortVersion.objects.create(
        cohort=cohort,
        digest=sha256_bytes(b"cohort"),
        n_studies=9,
        n_patients=5,
        summary={},
        registered_by=people.elena,
    )


@pytest.fixture
def three_heads(people: SimpleNamespace) -> SimpleNamespace:
    """One backbone, and three approved systems on it, registered as services do."""
    backbone = a_backbone(people, "1.0", OLD)
    record_origins(version=backbone, by=people.elena)
    heads = []
    for name in ("Findings", "Deterioration", "Rare diseases"):
        head = a_head(people, name, OLD)
        record_origins(version=head, by=people.elena)
        ModelVersion.objects.filter(pk=head.pk).update(status=VersionStatus.APPROVED)
        heads.append(head)
    return SimpleNamespace(people=people, backbone=backbone, heads=heads)


def statuses(versions: list[ModelVersion]) -> list[str]:
    return [ModelVersion.objects.get(pk=version.pk).status for version in versions]


def edges_of(version: ModelVersion) -> list[tuple[str, str, str]]:
    rows = version.origins.order_by("pk")
    return [
        (row.relation, str(row.source_version or row.source_cohort or row.source_name), row.told_by) for row in rows
    ]


def test_a_head_is_joined_to_its_backbone_by_equal_weights_and_to_its_cohort(people: SimpleNamespace) -> None:
    backbone, cohort = a_backbone(people, "1.0", OLD), a_cohort(people)
    head = a_head(people, "Findings", OLD, card={"base_model": [backbone.digest, "someone/vit-base"], "datasets": []})
    record_origins(version=head, trained_on=cohort, by=people.elena)
    assert edges_of(head) == [
        ("backbone", "Chest backbone 1.0", "equal weights"),
        ("trained_on", str(cohort), "its training"),
        ("fine_tuned", "someone/vit-base", "its card"),
    ]
    assert Origin.objects.get(relation=Relation.BACKBONE).digest == OLD
    (entry,) = LedgerEntry.objects.all()
    assert (entry.act, entry.actor, entry.subject_id) == ("version.origins_recorded", "elena", str(head.pk))
    assert OLD in entry.body and cohort.digest in entry.body


def test_what_tells_of_nothing_writes_nothing(people: SimpleNamespace) -> None:
    version = a_version(a_system(people, "Findings"), "1.0", {"model.safetensors": OLD})
    record_origins(version=version, by=people.elena)
    assert not Origin.objects.exists() and acts() == []


def test_a_chosen_backbone_is_an_edge_of_its_own_and_must_be_one(people: SimpleNamespace) -> None:
    backbone, plain = a_backbone(people, "1.0", OLD), a_version(a_system(people, "Plain"), "1.0", {})
    program = a_version(a_system(people, "Program"), "1.0", {"model.pt2": NEW})
    record_origins(version=program, backbone=backbone, by=people.elena)
    assert edges_of(program) == [("backbone", "Chest backbone 1.0", "the person who registered it")]
    for version, chosen in ((program, plain), (backbone, backbone)):
        with pytest.raises(ConflictError, match="is no backbone of other systems"):
            record_origins(version=version, backbone=chosen, by=people.elena)
    other = a_head(people, "Findings", NEW)
    before = snapshot()
    with pytest.raises(ConflictError, match="holds another backbone") as refused:
        record_origins(version=other, backbone=backbone, by=people.elena)
    assert OLD in str(refused.value) and NEW in str(refused.value)
    assert snapshot() == before


def test_choosing_the_backbone_that_is_found_anyway_is_one_edge(people: SimpleNamespace) -> None:
    backbone = a_backbone(people, "1.0", OLD)
    head = a_head(people, "Findings", OLD)
    record_origins(version=head, backbone=backbone, by=people.elena)
    assert edges_of(head) == [("backbone", "Chest backbone 1.0", "equal weights")]


def test_equal_weights_are_seen_across_systems_but_not_between_heads_of_one_backbone(people: SimpleNamespace) -> None:
    a_backbone(people, "1.0", OLD)
    first, second = a_head(people, "Findings", OLD), a_head(people, "Deterioration", OLD)
    copy = a_version(a_system(people, "Copy"), "9", {"w/model.safetensors": first.manifest["head.safetensors"]})
    for version in (first, second, copy):
        record_origins(version=version, by=people.elena)
    assert edges_of(second) == [("backbone", "Chest backbone 1.0", "equal weights")]
    assert edges_of(copy) == [("same_weights", "Findings 1.0", "equal weights")]
    assert set(versions_with_file([OLD, "0" * 64])) == {OLD}
    assert versions_with_file([]) == {}


def test_equal_files_that_hold_no_weights_tell_nothing(people: SimpleNamespace) -> None:
    shared = {"config.json": sha256_bytes(b"{}")}
    a_version(a_system(people, "One"), "1.0", shared | {"model.safetensors": OLD})
    version = a_version(a_system(people, "Two"), "1.0", shared | {"model.safetensors": NEW})
    record_origins(version=version, by=people.elena)
    assert not Origin.objects.exists()


def test_a_card_names_registered_versions_and_cohorts_by_digest_or_by_name(people: SimpleNamespace) -> None:
    cohort = a_cohort(people)
    a_version(a_system(people, "Base model"), "2.0", {"model.safetensors": OLD})
    card = {"base_model": "base-model/2.0", "datasets": [f"sha256:{cohort.digest}", "MIMIC-CXR", 7, "  "]}
    version = a_version(a_system(people, "Two"), "1.0", {"model.safetensors": NEW}, card=card)
    record_origins(version=version, by=people.elena)
    assert edges_of(version) == [
        ("fine_tuned", "Base model 2.0", "its card"),
        ("trained_on", str(cohort), "its card"),
        ("trained_on", "MIMIC-CXR", "its card"),
    ]


def test_a_card_cannot_flood_the_lineage(people: SimpleNamespace) -> None:
    card = {"base_model": [f"m{number}" for number in range(500)] + ["x" * 5000], "datasets": {"a": 1}}
    version = a_version(a_system(people, "Two"), "1.0", {"model.safetensors": NEW}, card=card)
    record_origins(version=version, by=people.elena)
    assert version.origins.count() == 20


def test_a_backbone_without_a_digest_gets_that_of_its_weights(people: SimpleNamespace) -> None:
    system = a_system(people, "Other backbone", kind=SystemKind.BACKBONE)
    one = a_version(system, "1", {"config.json": NEW, "model.safetensors": OLD})
    record_origins(version=one, by=people.elena)
    two = a_version(system, "2", {"a.safetensors": OLD, "b.safetensors": NEW})
    record_origins(version=two, by=people.elena)
    one.refresh_from_db(), two.refresh_from_db()
    assert one.backbone_digest == OLD
    assert two.backbone_digest == manifest_digest({"a.safetensors": OLD, "b.safetensors": NEW})


def test_heads_that_were_there_before_their_backbone_are_joined_to_it(people: SimpleNamespace) -> None:
    head = a_head(people, "Findings", OLD)
    record_origins(version=head, by=people.elena)
    assert edges_of(head) == []
    record_origins(version=a_backbone(people, "1.0", OLD), by=people.elena)
    assert edges_of(head) == [("backbone", "Chest backbone 1.0", "equal weights")]


def test_another_backbone_voids_all_three_approvals_and_says_why(three_heads: SimpleNamespace) -> None:
    people = three_heads.people
    changed = a_backbone(people, "1.1", NEW)
    record_origins(version=changed, by=people.elena)
    assert statuses(three_heads.heads) == ["void"] * 3
    for head in three_heads.heads:
        head.refresh_from_db()
        assert head.void_cause == changed and head.void_at is not None
        assert OLD in head.void_reason and NEW in head.void_reason and "1.1" in head.void_reason
    entries = LedgerEntry.objects.filter(act="version.voided").order_by("index")
    assert [entry.subject_id for entry in entries] == [str(head.pk) for head in three_heads.heads]
    assert all(entry.actor == "elena" and '"to":"void"' in entry.body for entry in entries)


def test_the_same_weights_under_another_label_void_nothing(three_heads: SimpleNamespace) -> None:
    record_origins(version=a_backbone(three_heads.people, "1.0-doc", OLD), by=three_heads.people.elena)
    assert statuses(three_heads.heads) == ["approved"] * 3
    record_origins(version=a_backbone(three_heads.people, "1.1", NEW), by=three_heads.people.elena)
    assert statuses(three_heads.heads) == ["void"] * 3


def test_only_what_rests_on_this_backbone_falls(three_heads: SimpleNamespace) -> None:
    people = three_heads.people
    apart = a_version(a_system(people, "Apart"), "1", {"model.safetensors": NEW}, status=VersionStatus.APPROVED)
    told = a_version(a_system(people, "Program"), "1", {"model.pt2": sha256_bytes(b"p")})
    record_origins(version=told, backbone=three_heads.backbone, by=people.elena)
    ModelVersion.objects.filter(pk=told.pk).update(status=VersionStatus.APPROVED)
    already = a_head(people, "Ready for it", NEW, status=VersionStatus.APPROVED)
    record_origins(version=a_backbone(people, "1.1", NEW), by=people.elena)
    assert statuses([apart, told, already]) == ["approved", "void", "approved"]


def test_what_is_not_approved_keeps_its_state_and_a_review_is_marked(three_heads: SimpleNamespace) -> None:
    states = (VersionStatus.SUBMITTED, VersionStatus.IN_AUDIT, VersionStatus.IN_REVIEW)
    for head, state in zip(three_heads.heads, states, strict=True):
        ModelVersion.objects.filter(pk=head.pk).update(status=state)
    record_origins(version=a_backbone(three_heads.people, "1.1", NEW), by=three_heads.people.elena)
    assert statuses(three_heads.heads) == list(states)
    marked = [ModelVersion.objects.get(pk=head.pk).void_at is not None for head in three_heads.heads]
    assert marked == [False, False, True]
    assert acts().count("version.review_barred") == 1 and "version.voided" not in acts()


@pytest.mark.parametrize("status", [VersionStatus.RETIRED, VersionStatus.REJECTED])
def test_a_withdrawn_backbone_voids_unless_its_weights_still_stand(
    three_heads: SimpleNamespace, status: VersionStatus
) -> None:
    people, backbone = three_heads.people, three_heads.backbone
    assert void_for_withdrawn_backbone(version=backbone, by=people.clara) == []
    twin = a_backbone(people, "1.0-doc", OLD)
    backbone.status = status
    backbone.save()
    assert void_for_withdrawn_backbone(version=backbone, by=people.clara) == []
    twin.status = VersionStatus.RETIRED
    twin.save()
    assert void_for_withdrawn_backbone(version=backbone, by=None) == three_heads.heads
    assert statuses(three_heads.heads) == ["void"] * 3
    three_heads.heads[0].refresh_from_db()
    assert str(backbone.get_status_display()).lower() in three_heads.heads[0].void_reason
    assert LedgerEntry.objects.filter(act="version.voided", actor="system").count() == 3


def test_a_system_that_is_no_backbone_takes_nobody_along(three_heads: SimpleNamespace) -> None:
    head = three_heads.heads[0]
    head.status = VersionStatus.RETIRED
    assert void_for_withdrawn_backbone(version=head, by=None) == []


def test_a_changed_file_voids_everyone_who_shares_it_once(three_heads: SimpleNamespace) -> None:
    told = a_version(a_system(three_heads.people, "Program"), "1", {"model.pt2": sha256_bytes(b"p")})
    record_origins(version=told, backbone=three_heads.backbone, by=three_heads.people.elena)
    ModelVersion.objects.filter(pk=told.pk).update(status=VersionStatus.APPROVED)
    found = void_for_changed_file(digest=OLD, reason="backbone.safetensors was changed.", version=three_heads.heads[1])
    assert {version.pk for version in found} == {head.pk for head in [*three_heads.heads, told]}
    three_heads.heads[2].refresh_from_db()
    head = three_heads.heads[2]
    assert "backbone.safetensors was changed." in head.void_reason and OLD in head.void_reason
    assert head.void_cause is None
    before = len(acts())
    assert void_for_changed_file(digest=OLD, reason="Again.") == []
    assert len(acts()) == before
    assert void_for_changed_file(digest="0" * 64, reason="Nobody has it.") == []


def test_a_changed_configuration_is_nobody_elses(people: SimpleNamespace) -> None:
    config = {"config.json": sha256_bytes(b"{}")}
    one, two = (
        a_version(a_system(people, name), "1", config | {"model.safetensors": weights}, status=VersionStatus.APPROVED)
        for name, weights in (("One", OLD), ("Two", NEW))
    )
    found = void_for_changed_file(digest=config["config.json"], reason="config.json was changed.", version=one)
    assert (found, statuses([one, two])) == ([one], ["void", "approved"])


def test_a_backbone_on_a_backbone_takes_its_own_heads_along(people: SimpleNamespace) -> None:
    base = a_backbone(people, "1.0", OLD)
    middle_system = a_system(people, "Tuned backbone", kind=SystemKind.BACKBONE)
    tuned = sha256_bytes(b"tuned")
    middle = a_version(middle_system, "1", {"backbone.safetensors": tuned}, backbone_digest=tuned)
    record_origins(version=middle, backbone=base, by=people.elena)
    head = a_head(people, "Findings", tuned, status=VersionStatus.APPROVED)
    record_origins(version=a_backbone(people, "1.1", NEW), by=people.elena)
    assert statuses([head]) == ["void"]


def test_everything_or_nothing(three_heads: SimpleNamespace, broken_ledger: None) -> None:
    before = snapshot()
    with pytest.raises(RuntimeError, match="the ledger is broken"), transaction.atomic():
        record_origins(version=a_backbone(three_heads.people, "1.1", NEW), by=three_heads.people.elena)
    assert snapshot() == before


def test_a_version_that_moved_meanwhile_is_left_alone(three_heads: SimpleNamespace) -> None:
    """It was read, then somebody retired it: the conditional UPDATE finds nothing, and nothing is recorded."""
    stale = ModelVersion.objects.get(pk=three_heads.heads[0].pk)
    ModelVersion.objects.filter(pk=stale.pk).update(status=VersionStatus.RETIRED)
    cause = voiding.Cause(reason="x", version=None, by=None, facts={})
    assert voiding._fall(stale, cause) is False
    assert "version.voided" not in acts()
