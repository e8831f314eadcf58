"""What a worker does for a training: train, or take an equal training from the cache, and register the result."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from core.digests import canonical_json, folder_manifest, manifest_digest, sha256_json
from models_registry import leases
from models_registry.execution import JobProgress, cohort_folder
from models_registry.models import JobStatus, ModelVersion, TrainingJob
from models_registry.services.versions import model_store, register_version

log = logging.getLogger(__name__)

CHECKPOINT, RECORD = "checkpoint", "record.json"


@dataclass(frozen=True, kw_only=True)
class Cached:
    """A finished training: the folder of its checkpoint, the digest of that folder, and what the training led to."""

    checkpoint: Path
    digest: str
    metrics: dict[str, Any]


def run_training(job_id: int) -> None:
    """Train the reference model and register the checkpoint as a version."""
    token = leases.claim(TrainingJob.objects.filter(pk=job_id), error="")
    if token is None:
        return
    related = ("system", "cohort__cohort", "augmentation__cohort", "backbone", "requested_by")
    job = TrainingJob.objects.select_related(*related).get(pk=job_id)
    with leases.working(job, token) as staging:
        trained = _train_or_reuse(job, token, staging)
        # A worker that died after registering left this very content under this very label.
        mine = job.system.versions.filter(label=job.version_label, digest=trained.digest).first()
        version = mine or _register(job, trained)
        done = {"progress": 1.0, "result": version, "metrics": trained.metrics, "finished_at": timezone.now()}
        leases.finish(job, token, status=JobStatus.DONE, **done)


def _register(job: TrainingJob, trained: Cached) -> ModelVersion:
    # A head that moved every weight is built on no registered backbone any more; its card says what it came from.
    keeps = job.backbone if job.settings["method"] != "full" else None
    return register_version(
        system=job.system,
        label=job.version_label,
        adapter="fusion",
        folder=trained.checkpoint,
        notes=_notes(job),
        source=f"training {job.pk}",
        backbone=keeps,
        trained_on=job.cohort,
        by=job.requested_by,
    )


def _notes(job: TrainingJob) -> str:
    said = f"Trained by this platform on {job.cohort.cohort.name} ({job.cohort.digest})."
    beside = job.augmentation
    if beside is None:
        return said
    state = ", which were in quarantine when they were learnt from" if beside.quarantined else ""
    return f"{said} Augmented with synthetic patients, {beside.cohort.name} ({beside.digest}){state}."


def _train_or_reuse(job: TrainingJob, token: str, staging: Path) -> Cached:
    """The checkpoint for these settings, cohorts and backbone: from earlier trainings, else trained now."""
    from models_registry.reference.training import RECIPE, TrainingSettings, train_reference

    backbone = job.backbone.digest if job.backbone else ""
    key = {"recipe": RECIPE, "cohort": job.cohort.digest, "backbone": backbone, "settings": job.settings}
    if job.augmentation is not None:
        key["augmentation"] = job.augmentation.digest
    folder: Path = settings.AUSCULT_HOME / "cache" / "trainings" / sha256_json(key)
    if found := _cached(folder):
        return found
    result = train_reference(
        cohort_folder(job.cohort),
        settings=TrainingSettings.from_dict(job.settings),
        destination=staging / CHECKPOINT,
        backbone=_backbone_folder(job.backbone) if job.backbone else None,
        augmentation=cohort_folder(job.augmentation) if job.augmentation else None,
        progress=JobProgress(job, token),  # raises at the next step when the job was cancelled or taken over
    )
    digest, metrics = manifest_digest(folder_manifest(staging / CHECKPOINT)), result.to_dict()
    (staging / RECORD).write_bytes(canonical_json({"digest": digest, "metrics": metrics}))
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging.rename(folder)
    return Cached(checkpoint=folder / CHECKPOINT, digest=digest, metrics=metrics)


def _cached(folder: Path) -> Cached | None:
    """An earlier training, if its checkpoint is still what it was; one that is not is thrown away."""
    if not folder.is_dir():
        return None
    try:
        record = json.loads((folder / RECORD).read_bytes())
        found = Cached(checkpoint=folder / CHECKPOINT, digest=record["digest"], metrics=record["metrics"])
    except (OSError, ValueError, KeyError, TypeError):
        log.warning("The cached training %s has no record and is done again", folder.name)
    else:
        if manifest_digest(folder_manifest(found.checkpoint)) == found.digest:
            return found
        log.warning("The cached training %s was changed on disk and is done again", folder.name)
    shutil.rmtree(folder)
    return None


def _backbone_folder(backbone: ModelVersion) -> Path:
    """The backbone in the store, every file compared with what was registered."""
    return model_store().verified_folder(backbone.digest, backbone.manifest)
