"""Training the reference model on a registered cohort."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from core import ledger
from core.errors import ConflictError
from core.models import User
from models_registry.access import check_may_train
from models_registry.models import AISystem, CohortVersion, TrainingJob


@transaction.atomic
def request_training(
    *, system: AISystem, version_label: str, cohort: CohortVersion, settings: dict[str, Any], by: User
) -> TrainingJob:
    """Ask a worker to train the reference model and to register the result as a version of ``system``.

    Args:
        settings: Fields of ``models_registry.reference.training.TrainingSettings``; unknown ones are refused.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        ConflictError: the label is empty, taken, or being trained already.
    """
    from models_registry.reference.training import TrainingSettings

    check_may_train(by)
    complete = TrainingSettings.from_dict(settings).to_dict()
    version_label = version_label.strip()
    if not version_label:
        raise ConflictError("A version needs a label.", remedy="Name it, for example 2.1.0.")
    if system.versions.filter(label=version_label).exists():
        raise ConflictError(f"{system.name} already has a version {version_label}.", remedy="Choose another label.")
    if system.trainings.filter(version_label=version_label, status__in=["queued", "running"]).exists():
        raise ConflictError(f"{version_label} is being trained already.", remedy="Wait for that training to end.")
    job = TrainingJob.objects.create(
        system=system, version_label=version_label, cohort=cohort, settings=complete, requested_by=by
    )
    ledger.record(
        actor=by.username,
        act="training.requested",
        subject=("TrainingJob", job.pk),
        payload={
            "system": system.slug,
            "label": version_label,
            "cohort": cohort.digest,
            "settings": complete,
        },
    )
    from models_registry import tasks

    tasks.train.delay_on_commit(job.pk)
    return job
