"""Reading orders for simulated or generated patients. Nothing here writes."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, QuerySet

from core.models import User
from models_registry.models import CohortVersion, JobStatus, ModelVersion
from synthetic.models import Generation, GeneratorTraining


def generations_under_way() -> QuerySet[Generation]:
    return Generation.objects.filter(status__in=[JobStatus.QUEUED, JobStatus.RUNNING]).select_related("requested_by")


def failed_generations(user: User) -> QuerySet[Generation]:
    """Failed orders of this person, unless the same order has succeeded since."""
    done = Generation.objects.filter(cohort_name=OuterRef("cohort_name"), status=JobStatus.DONE, pk__gt=OuterRef("pk"))
    return Generation.objects.filter(~Exists(done), requested_by=user, status=JobStatus.FAILED)


def cohort_of(version: ModelVersion) -> CohortVersion | None:
    """The registered cohort that a generator learnt from; None where it was trained elsewhere."""
    training = GeneratorTraining.objects.filter(result=version).select_related("cohort__cohort").first()
    return training.cohort if training else None
