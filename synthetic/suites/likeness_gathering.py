"""What the suites on likeness share: sets that must be apart, and figures of which one may fail and others go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from core.errors import AuscultError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.studies import LinkedStudies, Tell
from synthetic.suites.figures import AuditSets, Figure, not_computed
from synthetic.suites.likeness_estimates import LINEARISED, Estimate

LEAST_PATIENTS = 50
"""Fewer patients in a set tell nothing of how alike they are."""
MOST_VALUE = 1e6
Work = Callable[[], Iterable[Figure]]
logger = logging.getLogger(__name__)


def check_apart(sets: AuditSets) -> None:
    """That no real patient is in two sets, and that no set is too small.

    Raises:
        AuscultError: naming the two sets that share patients, or the set that is too small.
    """
    real = {"learnt": sets.learnt, "readers": sets.readers, "held_out": sets.held_out}
    for (first, one), (second, two) in combinations(real.items(), 2):
        shared = len(set(one.patient_ids.tolist()) & set(two.patient_ids.tolist()))
        if shared:
            raise AuscultError(
                f"{shared:,} patients are in '{first}' and in '{second}': the audit would flatter the generator.",
                remedy="Split by patient, so that all studies of a patient lie in one set.",
                column="patient_id",
            )
    for name, studies in {**real, "synthetic": sets.synthetic}.items():
        if (n := len(studies.patients)) < LEAST_PATIENTS:
            raise AuscultError(
                f"The set '{name}' has {n} patients; likeness can be told from {LEAST_PATIENTS}.",
                remedy="Give a larger cohort, or make more synthetic patients.",
            )


def gathered(work: Mapping[tuple[str, ...], Work], tell: Tell | None) -> tuple[Figure, ...]:
    """The figures of each piece of work; one that crashes leaves figures without value, and the others go on.

    Args:
        work: Metrics -> what computes their figures, in order.
        tell: May raise to stop the work.
    """
    found: list[Figure] = []
    for place, (metrics, compute) in enumerate(work.items()):
        if tell:
            tell(place / len(work), f"{metrics[0].replace('_', ' ')}")
        found += _tried(metrics, compute)
    if tell:
        tell(1.0, "done")
    return tuple(found)


def _tried(metrics: Sequence[str], compute: Work) -> list[Figure]:
    try:
        return list(compute())
    except AuscultError as error:
        return list(lacking(metrics, error.message.rstrip(".")))
    except Exception as error:
        logger.exception("Figures of %s crashed", ", ".join(metrics))
        return list(lacking(metrics, f"the computation broke off with {type(error).__name__}"))


def figure(
    metric: str,
    value: Estimate,
    *,
    of: str = "",
    attribute: str = "",
    group: str = "",
    null: Estimate | None = None,
    counted: str = "studies",
    least: float = 0.0,
    most: float = 1.0,
    method: str = LINEARISED,
    **detail: object,
) -> Figure:
    """A figure of an estimate, and of the same with real patients in place of synthetic ones."""
    return Figure(
        metric=metric,
        of=of,
        attribute=attribute,
        group=group,
        value=value.value,
        error=value.error,
        n=value.n,
        counted=counted,
        null=None if null is None else null.value,
        null_error=None if null is None else null.error,
        least=least,
        most=most,
        method=method,
        detail=dict(detail),
    )


def some_patients(studies: LinkedStudies, most: int, *, seed: int, purpose: str) -> LinkedStudies:
    """All studies of at most so many patients, drawn at random; all of them where there are no more."""
    names = sorted(set(studies.patient_ids.tolist()), key=str)
    if len(names) <= most:
        return studies
    chosen = generator(seed, "some patients", purpose).permutation(len(names))[:most]
    kept = {names[place] for place in chosen.tolist()}
    return studies.rows(np.array([name in kept for name in studies.patient_ids], dtype=np.bool_))


def equal_patients(first: LinkedStudies, second: LinkedStudies, *, seed: int, purpose: str) -> LinkedStudies:
    """Of the second set as many patients as the first has, where it has more."""
    return some_patients(second, len(first.patients), seed=seed, purpose=purpose)


def patient_codes(studies: LinkedStudies) -> tuple[np.ndarray, int]:
    """The patient of each study as a number, and how many patients there are."""
    names, codes = np.unique(studies.patient_ids.astype(str), return_inverse=True)
    return codes.astype(np.int64), len(names)


def lacking(metrics: Iterable[str], reason: str) -> Iterator[Figure]:
    """Figures that cannot be computed, all for one reason."""
    for name in metrics:
        yield not_computed(name, reason)
