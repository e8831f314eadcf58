"""A generator with differential privacy from its order to its audit and the facts of a release."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from core.errors import AuscultError
from evaluation.models import RunStatus
from evaluation.services.runs import request_audit
from governance.release_facts import _privacy
from models_registry.models import CohortVersion, JobStatus
from models_registry.services.versions import model_store
from synthetic.auditing import sets_of
from synthetic.generators.linked import load_generator
from synthetic.models import GeneratorTraining
from tests.evaluation.steps import finish
from tests.registry.scene import make_protocol
from tests.synthetic.generator_scene import calm, cohort, done, made, order, patients
from tests.synthetic.test_audits import RULES, control

__all__ = ["calm", "cohort", "control", "order"]
PARTS = {"tables": "private", "image": "private"}
PRIVACY = {
    "epsilon": 10, "delta": 1e-4,
    "domain": {"findings": ["effusion", "pneumothorax"], "attributes": {"sex": ["F", "M"]}, "image": True, "visits": 2},
}  # fmt: skip


def test_it_is_ordered_trained_makes_patients_and_is_audited(
    order: Callable[..., GeneratorTraining], cohort: CohortVersion, control: CohortVersion, people: SimpleNamespace
) -> None:
    job = done(order(privacy=PRIVACY, parts=PARTS, effort=0.02))
    assert (job.status, job.error) == (JobStatus.DONE, "") and job.result is not None and not job.curves
    assert job.settings["privacy"]["domain"]["attributes"]["sex"]["values"] == ["F", "M"]
    spent = job.facts["privacy"]["spent"]
    assert 9 < spent["epsilon"] <= 10 and set(job.facts["parts"]) == {"tables", "image"}
    told = _privacy(job.facts)
    assert told is not None and told.epsilon == spent["epsilon"] and told.delta == 1e-4
    assert set(told.stages) == {"image", "tables"}
    result = made(patients(people, job, wish={"patients": 150})).result
    assert result is not None and result.quarantined and result.n_patients == 150
    facts = {"version": job.result, "cohort": result, "protocol": make_protocol(people, RULES), "by": people.amir}
    finished = finish(request_audit(**facts, settings={"control": control.digest}))
    assert (finished.status, finished.error) == (RunStatus.DONE, "")
    rows = {(row.metric, row.label): row for row in finished.measurements.all()}
    assert rows["weights_auc", "image"].n and rows["copies", "images"].value is not None
    generator = load_generator(model_store().verified_folder(job.result.digest, job.result.manifest))
    sets = sets_of(request_audit(**facts), generator, tell=lambda share, message: None)
    assert 0.7 < len(sets.learnt.patients) / cohort.n_patients < 0.95
    others = {*sets.readers.patients, *sets.held_out.patients}
    assert len(others) + len(sets.learnt.patients) == cohort.n_patients and not others & set(sets.learnt.patients)


def test_privacy_that_cannot_be_is_not_ordered(order: Callable[..., GeneratorTraining]) -> None:
    with pytest.raises(AuscultError, match=r"privacy\.epsilon"):
        order(privacy=PRIVACY | {"epsilon": 0})
    with pytest.raises(AuscultError, match=r"domain\.image"):
        order(privacy=PRIVACY | {"domain": {"findings": ["effusion"], "image": "yes"}})
    assert not GeneratorTraining.objects.exists()


def test_without_a_domain_the_order_and_the_training_say_what_is_missing(
    order: Callable[..., GeneratorTraining],
) -> None:
    """An order is refused; a training that somebody ordered otherwise fails with the same words."""
    asked = {"epsilon": 5, "delta": 1e-4, "domain": None}
    with pytest.raises(AuscultError, match="needs a domain"):
        order(privacy=asked, parts=PARTS)
    assert not GeneratorTraining.objects.exists()
    job = order()
    GeneratorTraining.objects.update(settings=job.settings | {"privacy": asked, "parts": PARTS})
    job = done(job)
    assert job.status == JobStatus.FAILED and "needs a domain" in job.error and job.result is None
