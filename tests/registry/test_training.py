"""Trainings of a backbone and of heads on it: what is refused, what is registered, and what a cache is worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import AdapterError, ConflictError
from core.models import LedgerEntry
from models_registry import execution
from models_registry.cohorts import convert_cohort
from models_registry.models import (
    AISystem,
    CohortVersion,
    JobStatus,
    ModelVersion,
    Relation,
    SystemKind,
    TrainingJob,
    VersionStatus,
)
from models_registry.services.training import request_training
from models_registry.services.versions import model_store
from synthetic.simulator import SimulatorSettings, simulate_cohort
from tests.registry.scene import make_cohort, make_system

QUICK: dict[str, Any] = {
    "epochs": 1,
    "head_epochs": 1,
    "width": 16,
    "layers": 1,
    "image_layers": 1,
    "image_size": 32,
    "batch_size": 16,
    "threads": 1,
    "validation_share": 0.25,
}

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="session")
def training_patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training-patients")
    settings = SimulatorSettings(patients=60, seed=4, studies_max=2, image_size=32)
    convert_cohort(simulate_cohort(settings, folder / "c.parquet"), mapping=None, destination=folder / "shards")
    return folder / "shards"


@pytest.fixture
def cohort(people: SimpleNamespace, training_patients: Path) -> CohortVersion:
    return make_cohort(people, training_patients, "Training patients")


@pytest.fixture
def foundation(people: SimpleNamespace) -> AISystem:
    system = make_system(people, "Backbone")
    system.kind = SystemKind.BACKBONE
    system.save()
    return system


Train = Callable[..., TrainingJob]


@pytest.fixture
def train(people: SimpleNamespace, cohort: CohortVersion) -> Train:
    """Requests a training, runs it as a worker would, and gives the job as it then is."""

    def run(
        system: AISystem, label: str = "1.0", *, backbone: ModelVersion | None = None, **changes: Any
    ) -> TrainingJob:
        job = request_training(
            system=system,
            version_label=label,
            cohort=cohort,
            settings=QUICK | changes,
            backbone=backbone,
            by=people.elena,
        )
        execution.run_training(job.pk)
        job.refresh_from_db()
        assert job.status == JobStatus.DONE, job.error
        return job

    return run


@pytest.fixture
def backbone(train: Train, foundation: AISystem) -> ModelVersion:
    version = train(foundation, kind="backbone").result
    assert version is not None
    return version


def test_three_heads_on_one_backbone_are_three_systems_with_its_digest(
    train: Train, backbone: ModelVersion, people: SimpleNamespace, cohort: CohortVersion
) -> None:
    digest = backbone.manifest["backbone.safetensors"]
    assert backbone.config["labels"] == [] and backbone.backbone_digest == digest
    for place, label in enumerate(("effusion", "pneumothorax", "cardiomegaly")):
        system = make_system(people, f"Head {place}")
        version = train(system, backbone=backbone, kind="head", labels=[label]).result
        assert version is not None
        assert version.config["labels"] == [label]
        assert version.backbone_digest == digest == version.config["details"]["backbone"]["digest"]
        assert version.origins.get(relation=Relation.BACKBONE).source_version == backbone
        assert [edge.source_cohort for edge in version.origins.filter(relation=Relation.TRAINED_ON)] == [cohort]
    requested = LedgerEntry.objects.filter(act="training.requested").order_by("-index").first()
    assert requested is not None and f'"backbone":"{backbone.digest}"' in requested.body


def test_a_head_that_moved_every_weight_is_not_said_to_hold_the_backbone(
    train: Train, backbone: ModelVersion, people: SimpleNamespace
) -> None:
    version = train(make_system(people), backbone=backbone, kind="head", method="full").result
    assert version is not None
    assert version.backbone_digest not in {"", backbone.backbone_digest}
    assert not version.origins.filter(relation=Relation.BACKBONE).exists()
    assert version.origins.get(relation=Relation.FINE_TUNED).source_version == backbone


def test_another_backbone_gives_another_head(
    train: Train, backbone: ModelVersion, foundation: AISystem, people: SimpleNamespace
) -> None:
    """The cache of trainings knows the backbone."""
    other = train(foundation, "1.1", kind="backbone", seed=7).result
    first = train(make_system(people, "One"), backbone=backbone, kind="head").result
    second = train(make_system(people, "Two"), backbone=other, kind="head").result
    assert first is not None and second is not None
    assert first.backbone_digest == backbone.backbone_digest != second.backbone_digest


def test_a_cached_training_that_was_changed_on_disk_is_done_again(
    train: Train, people: SimpleNamespace, home: Path
) -> None:
    first = train(make_system(people, "One")).result
    assert first is not None
    [folder] = (home / "cache" / "trainings").iterdir()
    weights = folder / "checkpoint" / "head.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    again = train(make_system(people, "Two")).result
    assert again is not None and again.digest == first.digest
    assert weights.read_bytes() == whole
    (folder / "record.json").write_text("{")
    third = train(make_system(people, "Three")).result
    assert third is not None and third.digest == first.digest


def test_a_backbone_whose_files_were_changed_is_not_trained_on(
    backbone: ModelVersion, people: SimpleNamespace, cohort: CohortVersion
) -> None:
    card = model_store().folder_path(backbone.digest) / "README.md"
    card.chmod(0o600)
    card.write_text("changed")
    settings = QUICK | {"kind": "head"}
    job = request_training(
        system=make_system(people), version_label="1", cohort=cohort, settings=settings, backbone=backbone,
        by=people.elena,
    )  # fmt: skip
    execution.run_training(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED and "README.md" in job.error


def test_a_training_that_was_cancelled_stops_at_its_next_step(
    people: SimpleNamespace, cohort: CohortVersion, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    job = request_training(
        system=make_system(people), version_label="1", cohort=cohort, settings=QUICK | {"epochs": 50}, by=people.elena
    )
    steps = []

    def at_once(progress: execution.JobProgress, fraction: float, message: str = "") -> None:
        steps.append(message)
        if len(steps) == 5:
            TrainingJob.objects.filter(pk=job.pk).update(status=JobStatus.CANCELLED, lease_token="")
        execution.leases.renew(progress.row, progress.token, progress=fraction, message=message)

    monkeypatch.setattr(execution.JobProgress, "__call__", at_once)
    execution.run_training(job.pk)
    job.refresh_from_db()
    assert (job.status, job.result, len(steps)) == (JobStatus.CANCELLED, None, 5)
    assert not ModelVersion.objects.exists()
    assert not list((home / "scratch").iterdir())


def test_what_does_not_fit_together_is_refused(
    backbone: ModelVersion, foundation: AISystem, people: SimpleNamespace, cohort: CohortVersion
) -> None:
    system = make_system(people)

    def ask(to: AISystem, settings: dict[str, Any], given: ModelVersion | None = None) -> None:
        request_training(
            system=to, version_label="9", cohort=cohort, settings=settings, backbone=given, by=people.elena
        )

    for to, settings, given, message in (
        (system, {"kind": "backbone"}, None, "does not make a version"),
        (foundation, {}, None, "does not make a version"),
        (foundation, {"kind": "head"}, backbone, "does not make a version"),
        (system, {"kind": "head"}, None, "put on a backbone"),
        (system, {}, backbone, "put on a backbone"),
    ):
        with pytest.raises(ConflictError, match=message) as caught:
            ask(to, settings, given)
        assert caught.value.remedy
    with pytest.raises(AdapterError, match="kind"):
        ask(system, {"kind": "tail"})
    with pytest.raises(AdapterError, match="method"):
        ask(system, {"kind": "head", "method": "magic"}, backbone)
    ModelVersion.objects.filter(pk=backbone.pk).update(status=VersionStatus.RETIRED)
    backbone.refresh_from_db()
    with pytest.raises(ConflictError, match="retired"):
        ask(system, {"kind": "head"}, backbone)
    assert TrainingJob.objects.count() == 1


def test_a_head_is_no_backbone(
    train: Train, backbone: ModelVersion, people: SimpleNamespace, cohort: CohortVersion
) -> None:
    head = train(make_system(people), backbone=backbone, kind="head").result
    with pytest.raises(ConflictError, match="no backbone"):
        request_training(
            system=make_system(people, "Other"), version_label="1", cohort=cohort, settings={"kind": "head"},
            backbone=head, by=people.elena,
        )  # fmt: skip
