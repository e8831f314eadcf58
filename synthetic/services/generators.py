"""Ordering generators of linked patients: their training, its cancelling and resuming, and patients from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.utils.text import slugify

from core import ledger
from core.access import check_role
from core.errors import ConflictError
from core.models import Role, User
from core.reach import service
from models_registry.access import check_may_train
from models_registry.models import AISystem, Cohort, CohortVersion, JobStatus, ModelVersion, SystemKind, VersionStatus
from models_registry.services.cohorts import check_usable
from models_registry.services.versions import model_store
from synthetic.models import Generation, GeneratorTraining
from synthetic.selectors import cohort_of

if TYPE_CHECKING:
    from synthetic.generators.parts import Wish

ACTIVE = (JobStatus.QUEUED, JobStatus.RUNNING)
ENDED = frozenset({VersionStatus.REJECTED, VersionStatus.VOID, VersionStatus.RETIRED})
"""States of a generator that makes no more patients."""


def check_may_order_patients(user: User) -> None:
    check_role(user, Role.ML_ENGINEER, to="order synthetic patients")


@service
def request_generator(
    *, system: AISystem, version_label: str, cohort: CohortVersion, settings: dict[str, Any], by: User
) -> GeneratorTraining:
    """Ask a worker to train a generator of linked patients, and to register it as a version of ``system``.

    Args:
        settings: Fields of ``synthetic.generators.settings.GeneratorSettings``; unknown ones are refused.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        AuscultError: a setting is unknown or has a value that it cannot have; a part is not installed; differential
            privacy is asked for without a domain, with too large a delta, or of a part that cannot hold it.
        ConflictError: the label is empty or taken; the system is a backbone; the cohort is in quarantine, too small, or
            lacks a finding.
    """
    from synthetic.generators.parts import PARTS
    from synthetic.generators.private.training import check_promise
    from synthetic.generators.settings import LEAST_PATIENTS, GeneratorSettings

    check_may_train(by)
    check_usable(cohort)
    if cohort.n_patients < LEAST_PATIENTS:
        raise ConflictError(
            f"{cohort} has {cohort.n_patients} patients; a generator learns from at least {LEAST_PATIENTS}.",
            remedy="Choose a larger cohort: from so few, what is made would be copies, or nothing like them.",
        )
    wanted = GeneratorSettings.from_dict(settings)
    for role, name in wanted.parts.items():
        PARTS.get(f"{role}:{name}")
    labels = cohort.summary.get("labels", {})
    if unknown := [name for name in wanted.findings if name not in labels]:
        raise ConflictError(
            f"{cohort} has no label '{unknown[0]}'.", remedy=f"Its labels: {', '.join(sorted(labels)) or 'none'}."
        )
    if wanted.privacy is not None:
        check_promise(wanted, cohort.n_patients)
    label = version_label.strip()
    _check_label(system, label)
    complete = wanted.to_dict()
    job = GeneratorTraining.objects.create(
        system=system, version_label=label, cohort=cohort, settings=complete, requested_by=by
    )
    ledger.record(
        actor=by.username,
        act="generator.requested",
        subject=("GeneratorTraining", job.pk),
        payload={"system": system.slug, "label": label, "cohort": cohort.digest, "settings": complete},
    )
    _send(job)
    return job


def _check_label(system: AISystem, label: str) -> None:
    if system.kind != SystemKind.SYSTEM:
        raise ConflictError(
            f"{system.name} is a backbone; a generator of patients is no version of one.",
            remedy="Register the generator as an AI system of its own.",
        )
    if not label:
        raise ConflictError("A version needs a label.", remedy="Name it, for example 1.0.0.")
    if system.versions.filter(label=label).exists():
        raise ConflictError(f"{system.name} already has a version {label}.", remedy="Choose another label.")
    if system.generator_trainings.filter(version_label=label, status__in=ACTIVE).exists():
        raise ConflictError(f"{label} is being trained already.", remedy="Wait for that training to end.")


@service
def cancel_generator(*, job: GeneratorTraining, by: User) -> GeneratorTraining:
    """Stop a training at its next step. What is finished is kept, and the training can be resumed.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        ConflictError: it is neither waiting nor running.
    """
    check_may_train(by)
    rows = GeneratorTraining.objects.filter(pk=job.pk, status__in=ACTIVE)
    if not rows.update(status=JobStatus.CANCELLED, lease_token="", lease_expires=None):
        raise ConflictError("This training is not waiting or running.", remedy="Reload the page to see its state.")
    ledger.record(actor=by.username, act="generator.cancelled", subject=("GeneratorTraining", job.pk))
    job.refresh_from_db()
    return job


@service
def resume_generator(*, job: GeneratorTraining, by: User) -> GeneratorTraining:
    """Go on with a training that was cancelled or failed: parts that are finished are not learnt again.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        ConflictError: it is under way or done, its label was taken meanwhile, or the cohort is in quarantine.
    """
    check_may_train(by)
    check_usable(job.cohort)
    _check_label(job.system, job.version_label)
    rows = GeneratorTraining.objects.filter(pk=job.pk, status__in=[JobStatus.CANCELLED, JobStatus.FAILED])
    if not rows.update(status=JobStatus.QUEUED, error="", finished_at=None):
        raise ConflictError(
            "Only a training that was cancelled or failed can be resumed.", remedy="Reload the page to see its state."
        )
    ledger.record(actor=by.username, act="generator.resumed", subject=("GeneratorTraining", job.pk))
    job.refresh_from_db()
    _send(job)
    return job


def check_order(version: ModelVersion, wish: dict[str, Any]) -> Wish:
    """The wish, read and understood by the generator itself.

    Raises:
        AuscultError: it cannot be read, or names what the generator never learnt.
    """
    from synthetic.generators.linked import check_wish
    from synthetic.generators.parts import Wish

    wanted = Wish.from_dict(wish)
    check_wish(model_store().folder_path(version.digest), wanted)
    return wanted


@service
def request_patients(
    *,
    version: ModelVersion,
    cohort_name: str,
    wish: dict[str, Any],
    seed: int,
    by: User,
    also: Sequence[dict[str, Any]] = (),
) -> Generation:
    """Ask a worker to make patients with a trained generator, and to register them as a cohort in quarantine.

    Args:
        wish: Fields of ``synthetic.generators.parts.Wish``; unknown ones are refused.
        also: Further wishes, whose patients come into the same cohort.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        AuscultError: the wish cannot be read, or names what the generator never learnt.
        ConflictError: the version is no generator, was trained elsewhere or is not used any more; the name is empty,
            or that of a cohort that is there already.
    """
    check_may_order_patients(by)
    if version.adapter != "generator":
        raise ConflictError(f"{version} is no generator of patients.", remedy="Choose a version of a generator.")
    if version.status in ENDED:
        raise ConflictError(
            f"{version} is {VersionStatus(version.status).label.lower()}: it makes no more patients.",
            remedy="Choose another version of the generator.",
        )
    if cohort_of(version) is None:
        raise ConflictError(
            f"{version} was not trained here: nobody knows whom it learnt from, so its privacy cannot be audited.",
            remedy="Train a generator here, on a registered cohort.",
        )
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise ConflictError("The seed is no number that can be one.", remedy="Give a whole number from 0.")
    name = cohort_name.strip()
    slug = slugify(name)[:80]
    if not slug:
        raise ConflictError("The cohort needs a name.", remedy="Name it, for example Synthetic chest patients 1.")
    if Cohort.objects.filter(slug=slug).exists():
        raise ConflictError(f"There is a cohort called {name} already.", remedy="Choose another name.")
    settings: dict[str, Any] = {"wish": check_order(version, wish).to_dict(), "seed": seed}
    if also:
        settings["also"] = [check_order(version, item).to_dict() for item in also]
    job = Generation.objects.create(
        generator="linked", version=version, cohort_name=name, settings=settings, requested_by=by
    )
    ledger.record(
        actor=by.username,
        act="generation.requested",
        subject=("Generation", job.pk),
        payload={"cohort": name, "generator": version.digest, "settings": settings},
    )
    from synthetic import tasks

    tasks.make_patients.delay_on_commit(job.pk)
    return job


@service
def cancel_patients(*, job: Generation, by: User) -> Generation:
    """Stop the making of patients. Nothing of them is kept.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        ConflictError: it is neither waiting nor running.
    """
    check_may_order_patients(by)
    rows = Generation.objects.filter(pk=job.pk, status__in=ACTIVE)
    if not rows.update(status=JobStatus.CANCELLED, lease_token="", lease_expires=None):
        raise ConflictError("This order is not waiting or running.", remedy="Reload the page to see its state.")
    ledger.record(actor=by.username, act="generation.cancelled", subject=("Generation", job.pk))
    job.refresh_from_db()
    return job


def _send(job: GeneratorTraining) -> None:
    from synthetic import tasks

    tasks.train_generator.delay_on_commit(job.pk)
