"""What the generators of one cohort have spent together."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from models_registry.models import CohortVersion, JobStatus
from synthetic.models import GeneratorTraining
from synthetic.selectors_spending import Spending, spending_of
from tests.registry.fixtures import files, home, people, sent
from tests.synthetic.generator_scene import calm, cohort, done, order, trained

__all__ = ["calm", "cohort", "files", "home", "order", "people", "sent", "trained"]


def spend(job: GeneratorTraining, epsilon: float, delta: float) -> None:
    job.facts = job.facts | {"privacy": {"spent": {"epsilon": epsilon, "delta": delta}}}
    job.save(update_fields=["facts"])


def test_epsilons_of_one_cohort_add_up_and_one_without_is_named(
    order: Callable[..., GeneratorTraining],
    cohort: CohortVersion,
    people: SimpleNamespace,
    django_assert_num_queries: Any,
) -> None:
    assert spending_of(cohort) == Spending() and Spending().told() == ""
    spend(done(order(label="1.0")), 3.0, 1e-6)
    assert (
        spending_of(cohort).told() == "1 generator with differential privacy: its epsilon is 3, with a delta of 1e-06."
    )
    spend(done(order(label="1.1", seed=4)), 0.5, 2e-6)
    plain = done(order(label="1.2", seed=5))
    with django_assert_num_queries(1):
        found = spending_of(cohort)
    assert (found.private, found.without) == (2, 1)
    assert found.epsilon == pytest.approx(3.5) and found.delta == pytest.approx(3e-6)
    assert "add up to 3.5" in found.told() and "1 generator without" in found.told()
    # What never came to be a generator is not counted, nor is what learnt from somebody else.
    GeneratorTraining.objects.filter(pk=plain.pk).update(status=JobStatus.FAILED)
    assert spending_of(cohort).without == 0
    newer = CohortVersion.objects.get(pk=cohort.pk)
    newer.pk, newer.digest = None, "0" * 64
    newer.save()
    assert spending_of(newer) == spending_of(cohort), "another version of the cohort holds the same patients"
