"""A ward, a generator that learnt from it with parts that learn nothing, and the patients that it makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models_registry.execution import store_cohort
from models_registry.models import CohortVersion
from synthetic import execution_generators as work
from synthetic.generators.reading import write_linked
from synthetic.models import Generation, GeneratorTraining
from synthetic.services.generators import request_generator, request_patients
from tests.registry.scene import make_system
from tests.synthetic.fake_parts import LEARNT, NAMES, WRONG, studies_of

SETTINGS = {"seed": 3, "image_size": 32, "parts": NAMES, "canaries": 0}


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WRONG, "share", 0.0)
    monkeypatch.setitem(WRONG, "stop", "")
    LEARNT.clear()


@pytest.fixture
def cohort(people: SimpleNamespace, tmp_path: Path) -> CohortVersion:
    """A registered cohort of 240 patients with two findings, images and reports."""
    path = write_linked(studies_of(240), tmp_path / "real.parquet", metadata={})
    facts = {"name": "Ward A", "description": "", "simulated": False, "source": "", "licence": ""}
    return store_cohort(source=path, mapping=None, facts=facts, by=people.elena)


@pytest.fixture
def order(people: SimpleNamespace, cohort: CohortVersion) -> Callable[..., GeneratorTraining]:
    system = make_system(people, "Ward patients")

    def request(by: str = "elena", label: str = "1.0", **changes: Any) -> GeneratorTraining:
        return request_generator(
            system=system, version_label=label, cohort=cohort, settings=SETTINGS | changes, by=getattr(people, by)
        )

    return request


@pytest.fixture
def trained(order: Callable[..., GeneratorTraining]) -> GeneratorTraining:
    return done(order())


def done(job: GeneratorTraining) -> GeneratorTraining:
    work.train_generator(job.pk)
    return GeneratorTraining.objects.get(pk=job.pk)


def patients(people: SimpleNamespace, job: GeneratorTraining, by: str = "elena", **changes: Any) -> Generation:
    facts: dict[str, Any] = {"cohort_name": "Ward A, synthetic", "wish": {"patients": 40}, "seed": 5} | changes
    return request_patients(version=job.result, by=getattr(people, by), **facts)


def made(job: Generation) -> Generation:
    work.make_patients(job.pk)
    return Generation.objects.get(pk=job.pk)
