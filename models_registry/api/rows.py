"""What a program may see of the registry: one function for each kind, through which every operation gets its objects.

What does not exist and what the person may not see answer alike: while an operation is run, only the systems that its
person may see are in sight (``core.scope``), and of others nothing is found.
"""

from __future__ import annotations

from django.db.models import QuerySet

from core.api.requests import TokenRequest
from core.errors import NotFoundError
from models_registry import selectors
from models_registry.models import AISystem, Cohort, CohortImport, CohortVersion, ModelVersion, VersionIntake


def systems_seen(request: TokenRequest) -> QuerySet[AISystem]:
    return selectors.list_systems()


def system_of(request: TokenRequest, slug: str) -> AISystem:
    """A system by its short name.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = systems_seen(request).filter(slug=slug).first()
    if found is None:
        raise NotFoundError("There is no such system.", remedy="Name it by the short name in its address.")
    return found


def versions_seen(request: TokenRequest) -> QuerySet[ModelVersion]:
    return ModelVersion.objects.select_related("system", "submitted_by", "void_cause__system")


def version_of(request: TokenRequest, pk: int) -> ModelVersion:
    """A version by its number.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = versions_seen(request).filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such version.", remedy="Take its number from the list of versions.")
    return found


def intakes_seen(request: TokenRequest) -> QuerySet[VersionIntake]:
    return VersionIntake.objects.select_related("system", "created_by", "result__system")


def intake_of(request: TokenRequest, pk: int) -> VersionIntake:
    """A version on its way in, by the number of its intake.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = intakes_seen(request).filter(pk=pk).prefetch_related("files").first()
    if found is None:
        raise NotFoundError("There is no such intake.", remedy="Begin at POST /api/v1/systems/{slug}/intakes.")
    return found


def cohorts_seen(request: TokenRequest) -> QuerySet[Cohort]:
    return selectors.list_cohorts()


def cohort_of(request: TokenRequest, slug: str) -> Cohort:
    """A cohort by its short name.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = cohorts_seen(request).filter(slug=slug).first()
    if found is None:
        raise NotFoundError("There is no such cohort.", remedy="Name it by the short name in its address.")
    return found


def cohort_versions_seen(request: TokenRequest) -> QuerySet[CohortVersion]:
    return CohortVersion.objects.select_related("cohort", "registered_by", "parent")


def cohort_version_of(request: TokenRequest, pk: int) -> CohortVersion:
    """A version of a cohort by its number.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = cohort_versions_seen(request).filter(pk=pk).first()
    if found is None:
        raise NotFoundError(
            "There is no such version of a cohort.", remedy="Take its number from the list of the cohort's versions."
        )
    return found


def imports_seen(request: TokenRequest) -> QuerySet[CohortImport]:
    return CohortImport.objects.select_related("created_by", "result__cohort")


def import_of(request: TokenRequest, pk: int) -> CohortImport:
    """A cohort on its way in, by the number of its import.

    Raises:
        NotFoundError: there is none that the person may see.
    """
    found = imports_seen(request).filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such import.", remedy="Begin at POST /api/v1/cohort-imports.")
    return found
