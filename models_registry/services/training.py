"""Training the reference model on a registered cohort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from core import ledger
from core.errors import ConflictError
from core.models import User
from core.reach import service
from models_registry.access import check_may_train
from models_registry.models import (
    AISystem,
    CohortVersion,
    JobStatus,
    ModelVersion,
    SystemKind,
    TrainingJob,
    VersionStatus,
)
from models_registry.services.cohorts import check_learnable_beside, check_usable

if TYPE_CHECKING:
    from models_registry.reference.training import TrainingSettings

ENDED = frozenset({VersionStatus.REJECTED, VersionStatus.VOID, VersionStatus.RETIRED})
"""States of a backbone on which no head is put any more."""


@service
def request_training(
    *,
    system: AISystem,
    version_label: str,
    cohort: CohortVersion,
    settings: dict[str, Any],
    backbone: ModelVersion | None = None,
    augmentation: CohortVersion | None = None,
    by: User,
) -> TrainingJob:
    """Ask a worker to train the reference model and to register the result as a version of ``system``.

    Args:
        settings: Fields of ``models_registry.reference.training.TrainingSettings``; unknown ones are refused. Their
            ``kind`` says whether a backbone is pretrained (``backbone``), a head is put on one (``head``), or both in
            one go (``joint``, the default).
        backbone: The version that a head is put on; given for a head, and for nothing else.
        augmentation: Synthetic patients that are learnt from beside ``cohort``, which alone is validated on. In
            quarantine only beside the cohort that their generator learnt from.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        AdapterError: a setting is unknown or has a value that it cannot have.
        ConflictError: the cohort is in quarantine, or the augmentation may not stand beside it; the label is empty,
            taken, or being trained already; the system is of the wrong kind; the backbone is missing, not wanted, or no
            backbone of this platform.
    """
    from models_registry.reference.training import TrainingSettings

    check_may_train(by)
    check_usable(cohort)
    if augmentation is not None:
        check_learnable_beside(augmentation, cohort)
    wanted = TrainingSettings.from_dict(settings)
    version_label = version_label.strip()
    check_label(system, version_label)
    _check_kind(system, wanted)
    _check_backbone(wanted, backbone)
    complete = wanted.to_dict()
    job = TrainingJob.objects.create(
        system=system,
        version_label=version_label,
        cohort=cohort,
        augmentation=augmentation,
        backbone=backbone,
        settings=complete,
        requested_by=by,
    )
    _record_requested(job)
    from models_registry import tasks

    tasks.train.delay_on_commit(job.pk)
    return job


@service
def cancel_training(*, job: TrainingJob, by: User) -> TrainingJob:
    """Stop a training at its next step; nothing of it is registered.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        ConflictError: it is neither waiting nor running.
    """
    check_may_train(by)
    rows = TrainingJob.objects.filter(pk=job.pk, status__in=(JobStatus.QUEUED, JobStatus.RUNNING))
    stopped = {"lease_token": "", "lease_expires": None, "finished_at": timezone.now()}
    if not rows.update(status=JobStatus.CANCELLED, **stopped):
        raise ConflictError("This training is not waiting or running.", remedy="Reload the page to see its state.")
    ledger.record(actor=by.username, act="training.cancelled", subject=("TrainingJob", job.pk))
    job.refresh_from_db()
    return job


def _record_requested(job: TrainingJob) -> None:
    beside = job.augmentation
    payload = {
        "system": job.system.slug,
        "label": job.version_label,
        "cohort": job.cohort.digest,
        "backbone": job.backbone.digest if job.backbone else "",
        "settings": job.settings,
    }
    if beside is not None:
        payload |= {"augmentation": beside.digest, "augmentation_quarantined": beside.quarantined}
    ledger.record(
        actor=job.requested_by.username, act="training.requested", subject=("TrainingJob", job.pk), payload=payload
    )


def check_label(system: AISystem, label: str) -> None:
    """Raise unless a version of a system can be called so.

    Raises:
        ConflictError: the label is empty, taken, or being trained already.
    """
    if not label:
        raise ConflictError("A version needs a label.", remedy="Name it, for example 2.1.0.")
    if system.versions.filter(label=label).exists():
        raise ConflictError(f"{system.name} already has a version {label}.", remedy="Choose another label.")
    if system.trainings.filter(version_label=label, status__in=["queued", "running"]).exists():
        raise ConflictError(f"{label} is being trained already.", remedy="Wait for that training to end.")


def _check_kind(system: AISystem, wanted: TrainingSettings) -> None:
    """Backbones are versions of backbone systems, and of nothing else."""
    if (wanted.kind == "backbone") != (system.kind == SystemKind.BACKBONE):
        raise ConflictError(
            f"{system.name} is registered as {SystemKind(system.kind).label.lower()};"
            f" a training of the kind {wanted.kind} does not make a version of one.",
            remedy="Train a backbone for a system of the kind backbone, and a head or a joint model for an AI system.",
        )


def _check_backbone(wanted: TrainingSettings, backbone: ModelVersion | None) -> None:
    if (wanted.kind == "head") != (backbone is not None):
        raise ConflictError(
            "A head is put on a backbone, and no other training is.",
            remedy="Choose a backbone for a training of the kind head, and none for another kind.",
        )
    if backbone is None:
        return
    if backbone.adapter != "fusion" or backbone.config.get("labels"):
        raise ConflictError(
            f"{backbone} is no backbone that this platform can put a head on.",
            remedy="Choose a version of the reference backbone, without labels of its own.",
        )
    if backbone.status in ENDED:
        raise ConflictError(
            f"{backbone} is {VersionStatus(backbone.status).label.lower()}: nothing is built on it any more.",
            remedy="Choose another version of the backbone.",
        )
