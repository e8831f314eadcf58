"""What workers do to make patients."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from core.digests import sha256_json
from models_registry import leases
from models_registry.execution import JobProgress, store_cohort
from models_registry.models import JobStatus
from synthetic.models import Generation, GeneratorTraining
from synthetic.selectors import ABANDONED_DAYS


def run_generation(job_id: int) -> None:
    """Simulate patients and register them as a cohort. Safe to call twice: the job is claimed once."""
    from synthetic.simulator import SimulatorSettings, simulate_cohort

    token = leases.claim(Generation.objects.filter(pk=job_id), error="")
    if token is None:
        return
    job = Generation.objects.select_related("requested_by").get(pk=job_id)
    with leases.working(job, token) as staging:
        source = simulate_cohort(
            SimulatorSettings.from_dict(job.settings),
            staging / "cohort.parquet",
            progress=JobProgress(job, token),
        )
        version = store_cohort(
            source=source,
            mapping=None,
            facts={
                "name": job.cohort_name,
                "description": "Simulated patients. No real person is in this cohort.",
                "simulated": True,
                "source": "Auscult's patient simulator",
                "licence": "Apache-2.0",
            },
            generator_digest=sha256_json({"generator": job.generator, "settings": job.settings}),
            by=job.requested_by,
        )
        leases.finish(job, token, status=JobStatus.DONE, progress=1.0, result=version, finished_at=timezone.now())


def requeue_jobs() -> None:
    """Send again what a dead worker held or a lost message left waiting."""
    from synthetic import tasks

    leases.requeue(Generation.objects.filter(version=None), tasks.generate)
    leases.requeue(Generation.objects.exclude(version=None), tasks.make_patients)
    leases.requeue(GeneratorTraining.objects.all(), tasks.train_generator)


def forget_abandoned(now: datetime | None = None) -> int:
    """Delete what trainings had finished that nobody has gone on with for so many days; how many were deleted."""
    from synthetic.execution_generators import resume_folder

    moment = now or timezone.now()
    before = (moment - timedelta(days=ABANDONED_DAYS)).timestamp()
    home = settings.AUSCULT_HOME / "cache" / "generators"
    old = [path for path in home.glob("*") if path.is_dir() and _touched(path) < before]
    if not old:
        return 0
    rows = GeneratorTraining.objects.filter(status__in=(JobStatus.QUEUED, JobStatus.RUNNING))
    wanted = {resume_folder(job) for job in rows.select_related("cohort").defer("curves", "facts")}
    gone = [path for path in old if path not in wanted]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return len(gone)


def _touched(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
