"""The arms of the suite on utility: what the same learner is taught on, and the scores that it then gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.studies import LinkedStudies, Tell
from synthetic.suites.figures import AuditSets
from synthetic.suites.likeness_gathering import some_patients
from synthetic.suites.utility_learner import InputMaker, Inputs, Learner, full_steps

Scores = npt.NDArray[np.float64]
REAL, SYNTHETIC, OTHER_REAL = "real", "synthetic", "other real"
TWICE, THRICE = "synthetic 2x", "synthetic 3x"
RARE, OVERSAMPLED, PRETRAINED = "real and rare synthetic", "real and oversampled", "synthetic, then real"
ARMS = (REAL, SYNTHETIC, TWICE, THRICE, RARE, OVERSAMPLED, PRETRAINED, OTHER_REAL)
RARE_BELOW = 0.10
RARE_TIMES = 3
"""So many times the real studies of a rare class are added to them."""
LEAST_POSITIVE = 10
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all arms share.

    Attributes:
        labels: Those with enough real studies of either kind to learn from and to test on.
        rare: Those of them that few studies have.
        patients: Of an arm of single size.
    """

    labels: tuple[str, ...]
    rare: tuple[str, ...]
    patients: int
    real: Inputs
    synthetic: Inputs
    other: Inputs
    test: Inputs
    tuning: Inputs
    sets: AuditSets


@dataclass(kw_only=True)
class Taught:
    """Scores of one arm, by seed.

    Attributes:
        test, tuning, synthetic: One array [studies, labels] per seed.
        reason: Why the arm could not be taught; empty where it was.
    """

    test: list[Scores] = field(default_factory=list)
    tuning: list[Scores] = field(default_factory=list)
    synthetic: list[Scores] = field(default_factory=list)
    reason: str = ""


def prepared(sets: AuditSets, rare: Sequence[str] | None) -> Bench:
    """Inputs of every set.

    Raises:
        AuscultError: no label has enough studies of either kind.
    """
    common = [name for name in sets.learnt.labels if all(name in one.labels for one in (sets.synthetic, sets.held_out))]
    labels = tuple(name for name in common if all(_both(one, name) for one in (sets.learnt, sets.held_out)))
    if not labels:
        raise AuscultError(
            f"No label has {LEAST_POSITIVE} studies with and without it in both real sets.",
            remedy="Give a larger cohort, or one with labels.",
        )
    images = all(one.images is not None for one in (sets.learnt, sets.readers, sets.held_out, sets.synthetic))
    maker = InputMaker(sets.readers, labels, images=images)
    patients = min(len(sets.learnt.patients), len(sets.synthetic.patients))
    shares = {name: float((sets.learnt.labels[name] == 1).mean()) for name in labels}
    few = rare if rare is not None else [name for name in labels if shares[name] < RARE_BELOW]
    chosen = tuple(name for name in few if name in labels) or (min(shares, key=lambda name: shares[name]),)
    real = some_patients(sets.learnt, patients, seed=sets.seed, purpose="real arm")
    other = some_patients(sets.readers, patients, seed=sets.seed, purpose="other real arm")
    return Bench(
        labels=labels, rare=chosen, patients=patients, real=maker(real), synthetic=maker(sets.synthetic),
        other=maker(other), test=maker(sets.held_out), tuning=maker(sets.readers), sets=sets,
    )  # fmt: skip


def _both(studies: LinkedStudies, name: str) -> bool:
    values = studies.labels[name]
    return min(int((values == 1).sum()), int((values == 0).sum())) >= LEAST_POSITIVE


def taught(bench: Bench, arms: Sequence[str], *, seeds: int, steps: int, tell: Tell | None) -> dict[str, Taught]:
    """Every arm with every seed. One that breaks off says why, and the others go on.

    Args:
        tell: May raise to stop the work.
    """
    found: dict[str, Taught] = {}
    for place, arm in enumerate(arms):
        found[arm] = Taught()
        for turn in range(seeds):
            if tell:
                tell((place * seeds + turn) / (len(arms) * seeds), f"{arm}, seed {turn + 1} of {seeds}")
            if not found[arm].reason:
                _teach(bench, arm, turn, steps, found[arm])
    return found


def _teach(bench: Bench, arm: str, turn: int, steps: int, into: Taught) -> None:
    try:
        rng = generator(bench.sets.seed, "arm", arm, str(turn))
        lessons = LESSONS[arm](bench, rng)
        # All arms of a turn begin from the same weights.
        learner = Learner(bench.real, seed=int(generator(bench.sets.seed, "turn", str(turn)).integers(2**31)))
        for lesson in lessons:
            learner.learn(lesson, steps=full_steps(len(bench.real), steps))
        into.test.append(learner.scores(bench.test))
        if arm in (REAL, RARE, OVERSAMPLED):
            into.tuning.append(learner.scores(bench.tuning))
        if arm == REAL:
            into.synthetic.append(learner.scores(bench.synthetic))
    except AuscultError as error:
        into.reason = error.message.rstrip(".")
    except Exception as error:
        logger.exception("The arm '%s' broke off", arm)
        into.reason = f"teaching on '{arm}' broke off with {type(error).__name__}"


def _synthetic(bench: Bench, rng: np.random.Generator, times: int) -> Inputs:
    """Synthetic studies of so many times the patients of the real arm."""
    names = np.unique(bench.synthetic.patients.astype(str))
    wanted = times * bench.patients
    if len(names) < wanted:
        raise AuscultError(
            f"{wanted:,} synthetic patients are needed, {times} times the {bench.patients:,} real ones, and there are"
            f" {len(names):,}.",
            remedy="Make more synthetic patients.",
        )
    chosen = names[rng.permutation(len(names))[:wanted]]
    return bench.synthetic.rows(np.isin(bench.synthetic.patients.astype(str), chosen))


def _is_rare(bench: Bench, inputs: Inputs) -> npt.NDArray[np.int64]:
    columns = [bench.labels.index(name) for name in bench.rare]
    return np.flatnonzero((inputs.labels[:, columns] == 1).any(axis=1))


def _with_rare(bench: Bench, rng: np.random.Generator) -> list[Inputs]:
    there = _is_rare(bench, bench.synthetic)
    if not len(there):
        raise AuscultError("No synthetic study has a rare class.", remedy="Ask the generator for some.")
    added = rng.permutation(there)[: _added(bench)]
    return [Inputs.joined([bench.real, bench.synthetic.rows(added)])]


def _oversampled(bench: Bench, rng: np.random.Generator) -> list[Inputs]:
    own = _is_rare(bench, bench.real)
    added = own[rng.integers(0, len(own), _added(bench))]
    return [Inputs.joined([bench.real, bench.real.rows(added)])]


def _added(bench: Bench) -> int:
    """Studies that both arms add: as many as there are synthetic ones, at most RARE_TIMES the real ones."""
    return min(len(_is_rare(bench, bench.synthetic)), RARE_TIMES * len(_is_rare(bench, bench.real)))


LESSONS: dict[str, Callable[[Bench, np.random.Generator], list[Inputs]]] = {
    REAL: lambda bench, rng: [bench.real],
    SYNTHETIC: lambda bench, rng: [_synthetic(bench, rng, 1)],
    TWICE: lambda bench, rng: [_synthetic(bench, rng, 2)],
    THRICE: lambda bench, rng: [_synthetic(bench, rng, 3)],
    RARE: _with_rare,
    OVERSAMPLED: _oversampled,
    PRETRAINED: lambda bench, rng: [_synthetic(bench, rng, 1), bench.real],
    OTHER_REAL: lambda bench, rng: [bench.other],
}
"""Arm -> what is learnt from, lesson by lesson."""
