"""What workers do with generators: train them, and make patients with them."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from core.digests import folder_manifest, manifest_digest, sha256_json
from evaluation.execution.heartbeat import Heartbeat
from models_registry import leases
from models_registry.cohorts import open_cohort
from models_registry.execution import JobProgress, store_cohort
from models_registry.models import CohortVersion, JobStatus, ModelVersion
from models_registry.services.versions import model_store, register_version
from synthetic.generators.settings import GeneratorSettings
from synthetic.generators.studies import LinkedStudies, Tell
from synthetic.models import Generation, GeneratorTraining
from synthetic.selectors import cohort_of

READING = 0.05
"""Share of a training that reading the cohort takes, about."""
MOST_POINTS = 400
"""Points that are kept of one curve; of more, every second is dropped."""
TELL_SECONDS = 2.0


def train_generator(job_id: int) -> None:
    """Train a generator and register it as a version. Safe to call twice: the job is claimed once."""
    token = leases.claim(GeneratorTraining.objects.filter(pk=job_id), error="", started_at=timezone.now())
    if token is None:
        return
    job = GeneratorTraining.objects.select_related("system", "cohort__cohort", "requested_by").get(pk=job_id)
    with leases.working(job, token) as staging:
        folder = staging / "generator"
        with beating(job, token):
            facts = _trained(job, token, folder)
        digest = manifest_digest(folder_manifest(folder))
        # A worker that died after registering left this very content under this very label.
        version = job.system.versions.filter(label=job.version_label, digest=digest).first() or register_version(
            system=job.system,
            label=job.version_label,
            adapter="generator",
            folder=folder,
            notes=f"Trained by this platform on {job.cohort.cohort.name} ({job.cohort.digest}).",
            source=f"generator training {job.pk}",
            trained_on=job.cohort,
            by=job.requested_by,
        )
        done = {"progress": 1.0, "result": version, "facts": facts, "finished_at": timezone.now(), "message": ""}
        if leases.finish(job, token, status=JobStatus.DONE, **done):
            shutil.rmtree(resume_folder(job), ignore_errors=True)


def beating(job: Any, token: str) -> Heartbeat:
    """Keeps a job's lease alive while one step of it takes long."""
    return Heartbeat(partial(leases.renew, job, token), every=settings.AUSCULT_LEASE_SECONDS / 3)


def resume_folder(job: GeneratorTraining) -> Path:
    """Where the finished parts of a training lie until it is done: named by what decides them."""
    from synthetic.generators.linked import RECIPE

    key = {"recipe": RECIPE, "cohort": job.cohort.digest, "settings": job.settings}
    home: Path = settings.AUSCULT_HOME
    return home / "cache" / "generators" / sha256_json(key)


def _trained(job: GeneratorTraining, token: str, folder: Path) -> dict[str, Any]:
    from synthetic.generators.linked import train_generator as train

    wanted = GeneratorSettings.from_dict(job.settings)
    progress = JobProgress(job, token)
    curves = Curves(job, token)
    studies = read_cohort(job.cohort, wanted, tell=lambda share, message: progress(READING * share, message))
    generator = train(
        studies,
        folder,
        wanted,
        tell=lambda share, message: progress(READING + (1 - READING) * share, message),
        log=curves.add,
        resume=resume_folder(job),
    )
    curves.write()
    told = ("patients", "studies", "parts", "left_out", "facts", "privacy")
    return {name: generator.body[name] for name in told if name in generator.body}


def read_cohort(cohort: CohortVersion, wanted: GeneratorSettings, *, tell: Tell | None = None) -> LinkedStudies:
    """The studies of a registered cohort, every shard compared with its digest."""
    from synthetic.generators.reading import read_linked

    reader = open_cohort(model_store().folder_path(cohort.digest))
    return read_linked(reader, image_size=wanted.image_size, findings=wanted.findings, tell=tell)


class Curves:
    """Training curves as a page shows them: written every few seconds, thinned out as they become long."""

    def __init__(self, job: GeneratorTraining, token: str) -> None:
        self.job, self.token, self.last = job, token, time.monotonic()
        self.points: dict[str, list[list[float]]] = {name: list(points) for name, points in job.curves.items()}

    def add(self, curve: str, step: int, value: float) -> None:
        """One point. A training that goes on where it stopped repeats none: steps that are known are replaced."""
        points = self.points.setdefault(curve, [])
        while points and points[-1][0] >= step:
            points.pop()
        points.append([step, round(value, 6)])
        if len(points) > MOST_POINTS:
            self.points[curve] = points[::2]
        if time.monotonic() - self.last >= TELL_SECONDS:
            self.write()

    def write(self) -> None:
        self.last = time.monotonic()
        leases.renew(self.job, self.token, curves=self.points)


def make_patients(job_id: int) -> None:
    """Make patients with a generator and register them as a cohort in quarantine. Safe to call twice."""
    token = leases.claim(Generation.objects.filter(pk=job_id), error="")
    if token is None:
        return
    job = Generation.objects.select_related("version__system", "requested_by").get(pk=job_id)
    assert job.version is not None
    with leases.working(job, token) as staging:
        with beating(job, token):
            cohort = _made(job, job.version, token, staging)
        leases.finish(
            job, token, status=JobStatus.DONE, progress=1.0, result=cohort, facts=job.facts, message="",
            finished_at=timezone.now(),
        )  # fmt: skip


def _made(job: Generation, version: ModelVersion, token: str, staging: Path) -> CohortVersion:
    from synthetic.generators.linked import joined, load_generator
    from synthetic.generators.parts import Wish
    from synthetic.generators.reading import write_linked

    generator = load_generator(model_store().verified_folder(version.digest, version.manifest))
    seed, progress = int(job.settings["seed"]), JobProgress(job, token)
    wishes = [Wish.from_dict(body) for body in (job.settings["wish"], *job.settings.get("also", ()))]
    made = joined([generator.sample(wish, seed=seed, tell=progress) for wish in wishes])
    job.facts = {
        "studies": len(made.studies),
        "acceptance": [item.to_dict() for item in made.acceptance],
        "flagged": {name: int(values.sum()) for name, values in made.flags.items()},
    }
    path = write_linked(
        made.studies,
        staging / "cohort.parquet",
        metadata={"auscult.generator": version.digest, "auscult.seed": str(seed)},
    )
    return store_cohort(
        source=path,
        mapping=None,
        facts={
            "name": job.cohort_name,
            "description": f"Synthetic patients that {version} made. None of them exists; what of real patients shows"
            " in them, the audit of their privacy tells.",
            "simulated": True,
            "source": f"Generator {version}",
            "licence": "",
        },
        generator_digest=version.digest,
        parent=cohort_of(version),
        quarantined=True,
        by=job.requested_by,
    )
