"""Utility: whether what is learnt from synthetic patients holds for real ones.

The same learner is taught on real patients (those that the generator learnt from), on synthetic ones, and on mixtures,
and tested on the same held-out real patients: so that differences are paired.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.studies import Tell
from synthetic.suites.figures import AuditSets, Figure, not_computed
from synthetic.suites.likeness_columns import schema
from synthetic.suites.likeness_estimates import Estimate, area, f1, mean_of
from synthetic.suites.likeness_gathering import Work, check_apart, figure, gathered, lacking
from synthetic.suites.utility_arms import (
    ARMS,
    LEAST_POSITIVE,
    OTHER_REAL,
    OVERSAMPLED,
    RARE,
    REAL,
    SYNTHETIC,
    Bench,
    Scores,
    Taught,
    prepared,
    taught,
)
from synthetic.suites.utility_learner import STEPS, Inputs
from synthetic.suites.utility_metrics import GATES, MEANINGS, METRICS

__all__ = ["ARMS", "GATES", "MEANINGS", "METRICS", "audit_utility"]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
LEAST_GROUP = 30
"""Patients of a group from which its difference is told."""
MOST_GROUPS = 12
METHOD = "linearised over patients, and the variance between seeds"


def audit_utility(
    sets: AuditSets,
    *,
    tell: Tell | None = None,
    seeds: int = 5,
    arms: Sequence[str] = ARMS,
    rare: Sequence[str] | None = None,
    attributes: Sequence[str] | None = None,
    steps: int = STEPS,
) -> tuple[Figure, ...]:
    """All figures of :data:`METRICS`. What cannot be computed has no value and says why; the others stand.

    Args:
        seeds: Times that each arm is taught, from other weights.
        arms: Of :data:`ARMS`. Figures of an arm that is left out are not computed.
        rare: Labels that are rare classes; those of less than a tenth of the studies where it is left out, or else the
            rarest.
        attributes: Whose groups are looked at; every attribute with at most 12 values where it is left out.
        steps: Training steps of a lesson at most.

    Raises:
        AuscultError: two of the real sets share patients, a set is too small, or an arm is unknown.
    """
    check_apart(sets)
    if unknown := set(arms) - set(ARMS):
        raise AuscultError(
            f"There is no arm '{sorted(unknown)[0]}'.", remedy=f"Name some of {', '.join(ARMS)}.", column="arms"
        )
    with fixed_threads():
        try:
            bench = prepared(sets, rare)
        except AuscultError as error:
            return tuple(lacking(METRICS, error.message.rstrip(".")))
        made = taught(bench, [arm for arm in ARMS if arm in arms], seeds=seeds, steps=steps, tell=tell)
        return gathered(_work(bench, made, attributes), None)


def _work(bench: Bench, made: dict[str, Taught], attributes: Sequence[str] | None) -> dict[tuple[str, ...], Work]:
    return {
        ("tstr_minus_trtr",): lambda: _loss(bench, made),
        ("arm_auroc", "arm_gain"): lambda: _arms(bench, made),
        ("trts",): lambda: _on_synthetic(bench, made),
        ("rare_f1_gain",): lambda: _rare_gains(bench, made),
        ("subgroup_difference",): lambda: _groups(bench, made, attributes),
    }


def _of(made: dict[str, Taught], arm: str) -> Taught:
    """What an arm was taught.

    Raises:
        AuscultError: it was left out, or broke off.
    """
    if arm not in made:
        raise AuscultError(f"the arm '{arm}' was not asked for")
    if made[arm].reason:
        raise AuscultError(made[arm].reason)
    return made[arm]


def _loss(bench: Bench, made: dict[str, Taught]) -> Iterator[Figure]:
    found = _difference(bench, _of(made, SYNTHETIC), _of(made, REAL))
    null = None
    if OTHER_REAL in made and not made[OTHER_REAL].reason:
        null = _difference(bench, made[OTHER_REAL], made[REAL])
    yield figure("tstr_minus_trtr", found, null=null, counted="studies", least=-1.0, method=METHOD,
                 seeds=len(made[REAL].test), patients_per_arm=bench.patients, labels=len(bench.labels))  # fmt: skip


def _arms(bench: Bench, made: dict[str, Taught]) -> Iterator[Figure]:
    real = made.get(REAL)
    baseline = _macro(bench.test, real.test) if real and not real.reason else None
    for arm, one in made.items():
        if one.reason:
            yield not_computed("arm_auroc", one.reason, of=arm)
            yield not_computed("arm_gain", one.reason, of=arm)
            continue
        yield figure("arm_auroc", _macro(bench.test, one.test), of=arm, null=baseline, counted="studies", method=METHOD)
        if arm != REAL and real and not real.reason:
            gain = _difference(bench, one, real)
            yield figure("arm_gain", gain, of=arm, counted="studies", least=-1.0, method=METHOD)


def _on_synthetic(bench: Bench, made: dict[str, Taught]) -> Iterator[Figure]:
    real = _of(made, REAL)
    here = _testable(bench.synthetic.labels)
    if not here.any():
        yield not_computed("trts", f"no label has {LEAST_POSITIVE} synthetic studies with and without it")
        return
    columns = np.flatnonzero(here)
    found = _macro(bench.synthetic, real.synthetic, columns=columns)
    null = _macro(bench.test, real.test, columns=columns)
    yield figure("trts", found, null=null, counted="studies", method=METHOD, labels=len(columns))


def _rare_gains(bench: Bench, made: dict[str, Taught]) -> Iterator[Figure]:
    """F1 of each rare class with synthetic studies of it, less without and less with real ones repeated.

    The threshold of each arm is the one that is best in the readers, whom no arm but the null has seen.
    """
    with_rare = _of(made, RARE)
    for other, words in ((REAL, "against real alone"), (OVERSAMPLED, "against oversampling")):
        base = _of(made, other)
        for name in bench.rare:
            place = bench.labels.index(name)
            first, second = (_f1_of(bench, one, place) for one in (with_rare, base))
            of = f"{name} {words}"
            if first is None or second is None:
                yield not_computed("rare_f1_gain", "the class is neither there nor told in the test", of=of)
                continue
            apart = _over_seeds([_paired(one, two) for one, two in zip(first, second, strict=True)])
            yield figure("rare_f1_gain", apart, of=of, counted="studies", least=-1.0, method=METHOD,
                         with_synthetic=float(np.mean([one.value for one in first])),
                         without=float(np.mean([one.value for one in second])))  # fmt: skip


def _f1_of(bench: Bench, one: Taught, place: int) -> list[Estimate] | None:
    codes, patients = _codes(bench.test)
    found = []
    for test, tuning in zip(one.test, one.tuning, strict=True):
        bar = _best_bar(tuning[:, place], bench.tuning.labels[:, place])
        truth = bench.test.labels[:, place]
        known = np.isfinite(truth)
        score = f1(test[known, place] >= bar, truth[known] == 1, codes[known], patients)
        if score is None:
            return None
        found.append(score)
    return found


def _best_bar(scores: Scores, labels: npt.NDArray[np.float32]) -> float:
    """The threshold with the highest F1."""
    known = np.isfinite(labels)
    order = np.argsort(-scores[known], kind="stable")
    hits = np.cumsum(labels[known][order] == 1)
    value = 2 * hits / (np.arange(1, len(hits) + 1) + max(1, hits[-1] if len(hits) else 1))
    return float(scores[known][order][int(np.argmax(value))])


def _groups(bench: Bench, made: dict[str, Taught], attributes: Sequence[str] | None) -> Iterator[Figure]:
    """The difference within each group. A group of fewer patients is neither judged nor named."""
    first, second = _of(made, SYNTHETIC), _of(made, REAL)
    studies = bench.sets.held_out
    known = schema((studies,))
    names = [item.name for item in known if not item.numeric and 2 <= len(item.codes) <= MOST_GROUPS]
    any_found = False
    for name in names if attributes is None else attributes:
        values = np.array([str(value) for value in studies.attributes.get(name, [])], dtype=object)
        for group in sorted(set(values.tolist()) - {"None", "nan"}):
            here = values == group
            if len(set(studies.patient_ids[here].tolist())) < LEAST_GROUP:
                continue
            columns = np.flatnonzero(_testable(bench.test.labels[here]))
            if not len(columns):
                reason = f"no label has {LEAST_POSITIVE} studies with and without it in the group"
                yield not_computed("subgroup_difference", reason, attribute=name, group=group)
                continue
            any_found = True
            apart = _difference(bench, first, second, here=here, columns=columns)
            yield figure("subgroup_difference", apart, attribute=name, group=group, counted="studies", least=-1.0,
                         method=METHOD, labels=len(columns))  # fmt: skip
    if not any_found:
        yield not_computed("subgroup_difference", f"no group has {LEAST_GROUP} patients and a label to test")


def _testable(labels: npt.NDArray[np.float32]) -> Bools:
    enough: Bools = np.minimum((labels == 1).sum(axis=0), (labels == 0).sum(axis=0)) >= LEAST_POSITIVE
    return enough


def _difference(
    bench: Bench, first: Taught, second: Taught, *, here: Bools | None = None, columns: Ints | None = None
) -> Estimate:
    """Macro AUROC of one arm less that of another, seed by seed on the same studies."""
    one, two = (_each(bench.test, arm.test, here=here, columns=columns) for arm in (first, second))
    return _over_seeds([_paired(a, b) for a, b in zip(one, two, strict=True)])


def _macro(inputs: Inputs, scores: Sequence[Scores], *, columns: Ints | None = None) -> Estimate:
    return _over_seeds(_each(inputs, scores, columns=columns))


def _each(
    inputs: Inputs, scores: Sequence[Scores], *, here: Bools | None = None, columns: Ints | None = None
) -> list[Estimate]:
    """Macro AUROC of each seed: the mean of the areas over labels."""
    codes, patients = _codes(inputs)
    used = np.ones(len(inputs), dtype=np.bool_) if here is None else here
    found = []
    for score in scores:
        areas = []
        for place in range(inputs.labels.shape[1]) if columns is None else columns.tolist():
            known = used & np.isfinite(inputs.labels[:, place])
            one = area(score[known, place], inputs.labels[known, place] == 1, codes[known], patients)
            if one is not None:
                areas.append(one)
        whole = mean_of(areas)
        found.append(Estimate(value=whole.value, parts=whole.parts, n=int(used.sum())))
    return found


def _codes(inputs: Inputs) -> tuple[Ints, int]:
    names, codes = np.unique(inputs.patients.astype(str), return_inverse=True)
    return codes.astype(np.int64), len(names)


def _paired(first: Estimate, second: Estimate) -> Estimate:
    """The difference of two estimates on the same patients."""
    parts = tuple(a - b for a, b in zip(first.parts, second.parts, strict=True))
    return Estimate(value=first.value - second.value, parts=parts, n=first.n)


def _over_seeds(items: Sequence[Estimate]) -> Estimate:
    """The mean over seeds; its error holds that of the patients, and that of the mean over seeds."""
    whole = mean_of(items)
    between = float(np.std([item.value for item in items], ddof=1)) / math.sqrt(len(items)) if len(items) > 1 else 0.0
    return Estimate(value=whole.value, parts=(*whole.parts, np.array([between])), n=items[0].n)
