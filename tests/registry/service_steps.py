"""What the tests of the registry's services share: each write as an act that one person does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.models import User
from models_registry.cohorts import open_cohort
from models_registry.models import AISystem, CohortImport, TrainingJob, VersionStatus
from models_registry.services import cohorts, training, versions
from models_registry.services.systems import create_system
from tests.registry.scene import Files, make_cohort, make_system, make_version

Status = CohortImport.Status
Act = Callable[[User], Any]


def new_system(by: User, name: str = "Chest model", **changes: str) -> AISystem:
    facts = {"provider": "Acme", "intended_purpose": "Finds effusion.", "risk_class": "IIa"} | changes
    return create_system(name=name, by=by, **facts)


def new_import(by: User, source: Path, **changes: Any) -> CohortImport:
    facts = {"name": "Held out", "description": "", "simulated": False} | changes
    return cohorts.start_import(source_path=source, by=by, **facts)


def an_import(world: SimpleNamespace, status: Status) -> CohortImport:
    return CohortImport.objects.create(
        name="Held out", source_path=str(world.files.cohort), status=status, created_by=world.people.elena
    )


def creating_a_system(world: SimpleNamespace) -> Act:
    return lambda by: new_system(by)


def registering_a_version(world: SimpleNamespace) -> Act:
    system = make_system(world.people)
    return lambda by: versions.register_version(
        system=system, label="1.0", adapter="recorded", folder=world.files.predictions, by=by
    )


def moving_a_version(world: SimpleNamespace) -> Act:
    version = make_version(world.people, world.files.predictions)
    return lambda by: versions.transition_version(version=version, to=VersionStatus.IN_AUDIT, by=by)


def starting_an_import(world: SimpleNamespace) -> Act:
    return lambda by: new_import(by, world.files.cohort)


def revising_an_import(world: SimpleNamespace) -> Act:
    row = an_import(world, Status.BLOCKED)
    return lambda by: cohorts.revise_import(cohort_import=row, mapping={"ignore": ["x"]}, by=by)


def confirming_an_import(world: SimpleNamespace) -> Act:
    row = an_import(world, Status.READY)
    return lambda by: cohorts.confirm_import(cohort_import=row, by=by)


def discarding_an_import(world: SimpleNamespace) -> Act:
    row = an_import(world, Status.READY)
    return lambda by: cohorts.discard_import(cohort_import=row, by=by)


def creating_a_cohort_version(world: SimpleNamespace) -> Act:
    return lambda by: cohorts.create_cohort_version(**content(world.files), by=by)


def requesting_training(world: SimpleNamespace) -> Act:
    system, cohort = make_system(world.people), make_cohort(world.people, world.files.shards)
    return lambda by: training.request_training(system=system, version_label="1.1", cohort=cohort, settings={}, by=by)


def cancelling_a_training(world: SimpleNamespace) -> Act:
    system, cohort = make_system(world.people), make_cohort(world.people, world.files.shards)
    facts = {"version_label": "1.1", "settings": {}, "requested_by": world.people.elena}
    job = TrainingJob.objects.create(system=system, cohort=cohort, **facts)
    return lambda by: training.cancel_training(job=job, by=by)


def content(files: Files, **changes: Any) -> dict[str, Any]:
    facts = {"name": "Held out", "description": "", "simulated": False, "source": "A", "licence": "B"}
    manifest = open_cohort(files.shards).manifest
    return facts | {"digest": manifest.digest, "manifest": manifest.to_dict()} | changes


WRITES = {
    creating_a_system: ("elena", "system.registered"),
    registering_a_version: ("elena", "version.registered"),
    moving_a_version: ("amir", "version.moved"),
    starting_an_import: ("elena amir boris", "cohort_import.started"),
    revising_an_import: ("elena amir boris", "cohort_import.revised"),
    confirming_an_import: ("elena amir boris", "cohort_import.confirmed"),
    discarding_an_import: ("elena amir boris", "cohort_import.discarded"),
    creating_a_cohort_version: ("elena", "cohort.registered"),
    requesting_training: ("elena", "training.requested"),
    cancelling_a_training: ("elena", "training.cancelled"),
}
INTERNAL = {moving_a_version, creating_a_cohort_version}  # called by other services, which check the person
every_write = pytest.mark.parametrize("prepare", WRITES, ids=lambda prepare: prepare.__name__)
