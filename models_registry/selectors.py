"""Reading systems, versions, cohorts and imports. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet, Subquery

from core.errors import NotFoundError
from core.models import User
from models_registry.lineage_selectors import later_backbones
from models_registry.models import (
    AISystem,
    Cohort,
    CohortImport,
    CohortVersion,
    Deployment,
    JobStatus,
    ModelVersion,
    Origin,
    Relation,
    SystemKind,
    TrainingJob,
    VersionIntake,
    VersionStatus,
)

USABLE = (VersionStatus.APPROVED, VersionStatus.CONDITIONAL, VersionStatus.DEPLOYED)

OPEN_INTAKES = tuple(
    state
    for state in VersionIntake.Status
    if state not in {VersionIntake.Status.REGISTERED, VersionIntake.Status.DISCARDED}
)

OPEN_IMPORTS = (
    CohortImport.Status.QUEUED,
    CohortImport.Status.INSPECTING,
    CohortImport.Status.READY,
    CohortImport.Status.BLOCKED,
    CohortImport.Status.REGISTERING,
    CohortImport.Status.FAILED,
)


def unshown(*paths: str) -> tuple[str, ...]:
    """What no list shows of the version at the end of each path: long JSON, to ``defer``."""
    return tuple(f"{path}__{name}" for path in paths for name in ("manifest", "sizes", "config", "card"))


def list_systems() -> QuerySet[AISystem]:
    """Every system with ``n_versions`` and ``n_approved``, and the key, label and status of its latest version and of
    the latest that may be used."""
    versions = ModelVersion.objects.filter(system=OuterRef("pk")).order_by("-submitted_at", "-pk")
    usable = versions.filter(status__in=USABLE)
    named = {"pk": "pk", "label": "label", "status": "status"}
    return AISystem.objects.annotate(
        n_versions=Count("versions"),
        n_approved=Count("versions", filter=Q(versions__status=VersionStatus.APPROVED)),
        **{f"latest_{name}": Subquery(versions.values(key)[:1]) for name, key in named.items()},
        **{f"usable_{name}": Subquery(usable.values(key)[:1]) for name, key in named.items()},
    )


def deployments_in_use(systems: Iterable[int]) -> dict[int, list[Deployment]]:
    """What runs of each system, by its key; suspended ones are among it, ended ones are not. One query."""
    rows = Deployment.objects.filter(version__system__in=list(systems)).exclude(status=Deployment.Status.ENDED)
    found: dict[int, list[Deployment]] = {}
    for row in rows.select_related("version").only("site", "unit", "status", "version__system", "version__label"):
        found.setdefault(row.version.system_id, []).append(row)
    return found


def get_system(slug: str) -> AISystem:
    """A system with its versions, and the intakes and trainings that are not done, read at once."""
    versions = ModelVersion.objects.select_related("submitted_by").order_by("-submitted_at", "-pk")
    trainings = TrainingJob.objects.exclude(status=JobStatus.DONE).select_related("requested_by", "cohort__cohort")
    found = (
        AISystem.objects.filter(slug=slug)
        .select_related("created_by")
        .prefetch_related(
            Prefetch("versions", versions), Prefetch("trainings", trainings), Prefetch("intakes", open_intakes())
        )
        .first()
    )
    if found is None:
        raise NotFoundError("There is no such system.", remedy="Begin at the list of systems.")
    return found


def get_version(slug: str, pk: int) -> ModelVersion:
    rows = ModelVersion.objects.select_related("system", "submitted_by", "void_cause__system")
    found = rows.filter(system__slug=slug, pk=pk).annotate(has_newer_backbone=Exists(_outdated())).first()
    if found is None:
        raise NotFoundError("There is no such version of this system.", remedy="Begin at the list of systems.")
    return found


def _outdated() -> QuerySet[Origin]:
    """Within a query on versions: that one is built on a backbone of which there is a later version."""
    built_on = Origin.objects.filter(version=OuterRef("pk"), relation=Relation.BACKBONE)
    return built_on.filter(Exists(later_backbones()))


def list_backbones() -> QuerySet[ModelVersion]:
    """Versions of backbones that something new may be built on, newest first."""
    withdrawn = (VersionStatus.RETIRED, VersionStatus.REJECTED)
    rows = ModelVersion.objects.filter(system__kind=SystemKind.BACKBONE).exclude(status__in=withdrawn)
    return rows.select_related("system").defer("manifest", "config", "card").order_by("system__name", "-pk")


def open_intakes() -> QuerySet[VersionIntake]:
    """Versions on their way in that are neither registered nor discarded, newest first."""
    rows = VersionIntake.objects.filter(status__in=OPEN_INTAKES).select_related("system", "created_by")
    return rows.defer("findings", "checks")


def get_intake(slug: str, pk: int) -> VersionIntake:
    rows = VersionIntake.objects.select_related("system", "created_by", "backbone__system", "result__system")
    found = rows.filter(system__slug=slug, pk=pk).prefetch_related("files").first()
    if found is None:
        raise NotFoundError("There is no such version on its way in.", remedy="Begin at the list of systems.")
    return found


def intakes_awaiting(user: User) -> QuerySet[VersionIntake]:
    """Those that this person began and that wait for them: for files, a decision, or something to be mended."""
    intake = VersionIntake.Status
    waiting = (intake.RECEIVING, intake.READY, intake.BLOCKED, intake.FAILED)
    return open_intakes().filter(created_by=user, status__in=waiting)


def void_versions() -> QuerySet[ModelVersion]:
    """Versions whose approval fell and that nobody has audited again or retired, the latest first."""
    rows = ModelVersion.objects.filter(status=VersionStatus.VOID).select_related("system", "void_cause__system")
    return rows.defer("manifest", "config", "card").order_by("-void_at", "-pk")


def list_cohorts() -> QuerySet[Cohort]:
    """Every cohort with ``n_versions`` and the size of its latest version."""
    latest = CohortVersion.objects.filter(cohort=OuterRef("pk")).order_by("-registered_at", "-pk")
    return Cohort.objects.annotate(
        n_versions=Count("versions"),
        n_studies=Subquery(latest.values("n_studies")[:1]),
        n_patients=Subquery(latest.values("n_patients")[:1]),
        registered_at=Subquery(latest.values("registered_at")[:1]),
    )


def get_cohort_version(slug: str, pk: int | None = None) -> CohortVersion:
    """One version of a cohort: the latest when ``pk`` is not given."""
    rows = CohortVersion.objects.filter(cohort__slug=slug).select_related("cohort", "registered_by", "parent__cohort")
    found = (rows.filter(pk=pk) if pk else rows.order_by("-registered_at", "-pk")).first()
    if found is None:
        raise NotFoundError("There is no such cohort.", remedy="Begin at the list of cohorts.")
    return found


def open_imports() -> QuerySet[CohortImport]:
    """Imports that are neither registered nor discarded."""
    return CohortImport.objects.filter(status__in=OPEN_IMPORTS).select_related("created_by").defer("inspection")


def get_import(pk: int) -> CohortImport:
    rows = CohortImport.objects.select_related("created_by", "result__cohort")
    found = rows.filter(pk=pk).first()
    if found is None:
        raise NotFoundError("There is no such import.", remedy="Begin at the list of cohorts.")
    return found


def imports_awaiting(user: User) -> QuerySet[CohortImport]:
    """Imports of this person that wait for their decision."""
    waiting = (CohortImport.Status.READY, CohortImport.Status.BLOCKED, CohortImport.Status.FAILED)
    return open_imports().filter(created_by=user, status__in=waiting)


def failed_trainings(user: User) -> QuerySet[TrainingJob]:
    """Failed trainings of this person, unless the version came to be after all."""
    made = ModelVersion.objects.filter(system=OuterRef("system"), label=OuterRef("version_label"))
    failed = TrainingJob.objects.filter(requested_by=user, status=JobStatus.FAILED)
    return failed.filter(~Exists(made)).select_related("system")
