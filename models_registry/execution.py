"""What workers do for the registry: read cohorts and register them; trainings are in ``execution_training``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet

from core.digests import sha256_file
from core.errors import AuscultError, CohortError
from core.store import Store
from models_registry import leases
from models_registry.cohorts import Mapping, convert_cohort, inspect_cohort
from models_registry.models import CohortImport, CohortVersion, JobStatus, TrainingJob
from models_registry.services.cohorts import create_cohort_version, remove_upload
from models_registry.services.versions import model_store

if TYPE_CHECKING:
    from models_registry.cohorts.inspection import Progress

Status = CohortImport.Status
RENEW_SECONDS = 1.0


def inspect_import(import_id: int) -> None:
    """Read the file to its end and keep what was found. Reading twice gives the same, so redelivery is harmless."""
    rows = CohortImport.objects.filter(pk=import_id, status__in=[Status.QUEUED, Status.INSPECTING])
    if not rows.update(status=Status.INSPECTING):
        return
    row = CohortImport.objects.get(pk=import_id)
    with failing(rows):
        source = Path(row.source_path)
        inspection = inspect_cohort(source, mapping=_mapping(row))
        rows.update(
            status=Status.BLOCKED if inspection.errors else Status.READY,
            inspection=inspection.to_dict() | {"source_sha256": sha256_file(source)},
            error="",
        )


def register_import(import_id: int) -> None:
    """Convert the file into shards, keep them in the store, and register the cohort version."""
    rows = CohortImport.objects.filter(pk=import_id, status=Status.REGISTERING)
    row = rows.select_related("created_by").first()
    if row is None:
        return
    facts = {name: getattr(row, name) for name in ("name", "description", "simulated", "source", "licence")}
    with failing(rows):
        version = store_cohort(
            source=Path(row.source_path),
            mapping=_mapping(row),
            facts=facts,
            source_sha256=row.inspection["source_sha256"],
            by=row.created_by,
        )
        # The first rows were for the eyes of whoever confirmed; they are not kept beside the registered cohort.
        kept = {name: value for name, value in row.inspection.items() if name != "preview"}
        rows.update(status=Status.REGISTERED, result=version, inspection=kept)
        remove_upload(Path(row.source_path))


@contextmanager
def failing(rows: QuerySet[Any]) -> Iterator[None]:
    """Marks a row as failed, with words for the person who waits, when its work raises."""
    try:
        yield
    except AuscultError as error:
        rows.update(status=JobStatus.FAILED, error=str(error))
    except Exception as error:
        rows.update(
            status=JobStatus.FAILED,
            error=leases.unexpected(error),
        )
        raise


def _mapping(row: CohortImport) -> Mapping | None:
    return Mapping.from_dict(row.mapping) if row.mapping else None


def store_cohort(
    *,
    source: Path,
    mapping: Mapping | None,
    facts: dict[str, Any],
    by: Any,
    source_sha256: str | None = None,
    generator_digest: str = "",
    parent: CohortVersion | None = None,
    quarantined: bool = False,
    progress: Progress | None = None,
) -> CohortVersion:
    """Convert, store and register in one go. Content that nobody refers to stays behind when the last step fails.

    Args:
        source_sha256: What the file was when it was shown; None where nobody was shown anything.

    Raises:
        CohortError: the file has errors, or changed since it was shown.
    """
    staging = leases.scratch_folder()
    try:
        manifest = convert_cohort(source, mapping=mapping, destination=staging / "cohort", progress=progress)
        if source_sha256 not in {None, manifest.source_digest}:
            raise CohortError(
                "The file was changed after it was read and shown.", remedy="Have it read again.", file=source.name
            )
        digest, _ = model_store().put_folder(staging / "cohort")
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return create_cohort_version(
        **facts,
        digest=digest,
        manifest=manifest.to_dict(),
        generator_digest=generator_digest,
        parent=parent,
        quarantined=quarantined,
        by=by,
    )


def cohort_folder(version: CohortVersion, store: Store | None = None) -> Path:
    """The folder of a cohort version's shards in the store."""
    return (store or model_store()).folder_path(version.digest)


class JobProgress:
    """Writes a job's progress at most once a second and keeps its lease alive meanwhile."""

    def __init__(self, row: Any, token: str) -> None:
        self.row, self.token, self.last = row, token, 0.0

    def __call__(self, fraction: float, message: str = "") -> None:
        now = time.monotonic()
        if now - self.last >= RENEW_SECONDS:
            self.last = now
            leases.renew(self.row, self.token, progress=min(1.0, fraction), message=message[:300])


def run_training(job_id: int) -> None:
    """Train the reference model and register the checkpoint as a version."""
    from models_registry import execution_training

    execution_training.run_training(job_id)


def requeue_jobs() -> None:
    """Send again what a dead worker held or a lost message left waiting."""
    from models_registry import tasks

    leases.requeue(TrainingJob.objects.all(), tasks.train)
    imports = CohortImport.objects.all()
    leases.resend_stale(imports.filter(status__in=[Status.QUEUED, Status.INSPECTING]), tasks.inspect_cohort)
    leases.resend_stale(imports.filter(status=Status.REGISTERING), tasks.register_cohort)
