"""What the generators of one cohort have spent of its patients' privacy, together.

Each training spends anew: epsilons and deltas of generators of the same patients add up (sequential composition; Dwork
and Roth, The algorithmic foundations of differential privacy, 2014, theorem 3.16). One that was trained without
differential privacy promises nothing, whatever the others do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models_registry.models import CohortVersion, JobStatus
from synthetic.models import GeneratorTraining


@dataclass(frozen=True, kw_only=True)
class Spending:
    """Generators that learnt from any version of a cohort.

    Attributes:
        private: How many hold differential privacy; ``epsilon`` and ``delta`` are their sums.
        without: How many do not.
    """

    private: int = 0
    epsilon: float = 0.0
    delta: float = 0.0
    without: int = 0

    def told(self) -> str:
        """In words; "" where nobody has learnt from the cohort."""
        said = []
        if self.private:
            epsilons = "their epsilons add up to" if self.private > 1 else "its epsilon is"
            said.append(
                f"{_generators(self.private)} with differential privacy: {epsilons} {self.epsilon:.3g},"
                f" with a delta of {self.delta:.1g}."
            )
        if self.without:
            said.append(f"{_generators(self.without)} without: of what they tell, nothing is promised.")
        return " ".join(said)


def spending_of(cohort: CohortVersion) -> Spending:
    """What finished trainings on a cohort, in any of its versions, have spent together. One query."""
    found = GeneratorTraining.objects.filter(
        cohort__cohort_id=cohort.cohort_id, status=JobStatus.DONE, result__isnull=False
    )
    spent = [promise_of(facts) for facts in found.values_list("facts", flat=True)]
    kept = [item for item in spent if item is not None]
    return Spending(
        private=len(kept),
        epsilon=sum(epsilon for epsilon, _ in kept),
        delta=sum(delta for _, delta in kept),
        without=len(spent) - len(kept),
    )


def promise_of(facts: Mapping[str, Any]) -> tuple[float, float] | None:
    """Epsilon and delta of a training over all its parts; None where it holds no differential privacy as a whole."""
    spent = facts.get("privacy", {}).get("spent")
    return (float(spent["epsilon"]), float(spent["delta"])) if spent else None


def _generators(count: int) -> str:
    return "1 generator" if count == 1 else f"{count} generators"
