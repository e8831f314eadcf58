"""A model that learnt from the ward, an audit of it that fails, and a generator of the same ward's patients."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evaluation.models import AuditRun
from evaluation.services.runs import request_audit
from models_registry import execution
from models_registry.execution import store_cohort
from models_registry.models import CohortVersion, TrainingJob
from models_registry.services.training import request_training
from synthetic import execution_generators, execution_repairs
from synthetic.generators.reading import write_linked
from synthetic.models import GeneratorTraining, Repair
from synthetic.services.repairs import request_repair
from tests.evaluation.steps import finish
from tests.registry.scene import make_protocol, make_system
from tests.synthetic.fake_parts import studies_of

RULES = """
auscult_protocol: 1
name: sensitive
title: Hardly anything is missed, in women and in men
labels: [{name: effusion}]
attributes: [{name: sex, values: [F, M]}]
criteria:
  - {id: sex-tpr, title: Nearly all is found, metric: tpr, attribute: sex, direction: at_least, margin: 0.99}
  - {id: sex-gap, title: Equal sensitivity, metric: equal_opportunity_difference, attribute: sex,
     direction: at_most, margin: 0.9}
minimum: {cell: 5, rate_denominator: 20}
bootstrap: {replicates: 200}
"""
QUICK: dict[str, Any] = {
    "epochs": 1, "head_epochs": 1, "width": 16, "layers": 1, "image_layers": 1, "image_size": 32, "batch_size": 16,
    "threads": 1, "validation_share": 0.25, "labels": ["effusion"],
}  # fmt: skip
Order = Callable[..., Repair]


@pytest.fixture(scope="session")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was trained once is not trained again in every test."""
    return tmp_path_factory.mktemp("trainings")


@pytest.fixture
def warm(home: Path, trainings: Path) -> Any:
    cache = home / "cache" / "trainings"
    shutil.copytree(trainings, cache)
    yield
    shutil.copytree(cache, trainings, dirs_exist_ok=True)


@pytest.fixture
def learnt(people: SimpleNamespace, cohort: CohortVersion, warm: None) -> TrainingJob:
    """The model's own training, done."""
    return train_quickly(people, cohort)


def train_quickly(people: SimpleNamespace, cohort: CohortVersion, name: str = "Effusion model") -> TrainingJob:
    job = request_training(
        system=make_system(people, name), version_label="1.0", cohort=cohort, settings=QUICK, by=people.elena
    )
    execution.run_training(job.pk)
    return TrainingJob.objects.get(pk=job.pk)


@pytest.fixture
def others(people: SimpleNamespace, tmp_path: Path) -> CohortVersion:
    """Patients whom neither the model nor the generator learnt from."""
    studies = studies_of(260, seed=9)
    studies = replace(studies, patient_ids=studies.patient_ids.copy())
    studies.patient_ids[:] = [f"OTHER-{name}" for name in studies.patient_ids]
    path = write_linked(studies, tmp_path / "others.parquet", metadata={})
    facts = {"name": "Ward B", "description": "", "simulated": False, "source": "", "licence": ""}
    return store_cohort(source=path, mapping=None, facts=facts, by=people.elena)


@pytest.fixture
def failed(people: SimpleNamespace, learnt: TrainingJob, others: CohortVersion) -> AuditRun:
    """A finished audit: too much is missed in both groups."""
    assert learnt.result is not None
    rules = make_protocol(people, RULES)
    return finish(request_audit(version=learnt.result, cohort=others, protocol=rules, by=people.amir))


def group_of(run: AuditRun) -> str:
    """The group whose sensitivity decided."""
    return str(run.verdicts.get(criterion="sex-tpr").detail["groups"][0])


@pytest.fixture
def repair(people: SimpleNamespace, failed: AuditRun, trained: GeneratorTraining) -> Order:
    def request(by: str = "elena", **changes: Any) -> Repair:
        facts: dict[str, Any] = {
            "run": failed, "label": "effusion", "attribute": "sex", "group": group_of(failed),
            "generator": trained.result, "patients": 40, "version_label": "1.1",
        }  # fmt: skip
        return request_repair(**facts | changes, by=getattr(people, by))

    return request


def advance(job: Repair) -> Repair:
    """What the beat does, twice: every message may come twice."""
    for _ in range(2):
        execution_repairs.advance_repair(job.pk)
    return Repair.objects.get(pk=job.pk)


def make(job: Repair) -> Repair:
    """The patients are made."""
    assert job.generation is not None
    for _ in range(2):
        execution_generators.make_patients(job.generation.pk)
    return advance(job)


def train(job: Repair) -> Repair:
    """The model is trained again."""
    assert job.training is not None
    for _ in range(2):
        execution.run_training(job.training.pk)
    return advance(job)
