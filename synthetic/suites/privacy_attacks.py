"""Singling out, linkability and inference, each on learnt patients and on controls that were held out.

All three are an attacker's who holds the synthetic patients. What the attacker gets right of patients that were never
learnt comes from what is true of everyone; only what goes beyond is given away by the generator. Each attack is made
once on a patient, so that attacks are independent.

Source: Giomi, Boenisch, Wehmeyer and Tasnádi, A unified framework for quantifying privacy risk in synthetic data,
PoPETs 2023(2):312; Article 29 Working Party, Opinion 05/2014 (WP216).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from synthetic.suites.figures import Figure, not_computed
from synthetic.suites.nearest import nearest
from synthetic.suites.privacy_arms import Arm, Arms
from synthetic.suites.privacy_shares import Bools, risk
from synthetic.suites.rows import ATTRIBUTE, FINDING, LABEL, READING, Rows
from synthetic.suites.values import Ints

PARTS_OF_PREDICATE = 4
"""Columns that a predicate is made of."""
TRIES = 40
"""Predicates that are tried for a synthetic patient until one singles somebody out."""
TOLERANCE = 0.05
"""A number is inferred where the guess is within so much of its range."""
METHOD = "Wilson on learnt patients and on controls, carried over"


def singling_out_figures(arms: Arms) -> list[Figure]:
    """How often what singles out one synthetic patient singles out exactly one learnt patient.

    A predicate is a conjunction over :data:`PARTS_OF_PREDICATE` columns, drawn by lot, of a synthetic patient's row:
    equal to its category, or at least (at most) its number where that lies above (below) the median.
    """
    rows = arms.synthetic.rows
    if len(rows.names) < PARTS_OF_PREDICATE:
        return [not_computed("singling_out", f"fewer than {PARTS_OF_PREDICATE} columns vary in all sets")]
    rng = arms.rng("singling out")
    found = _singling(rows, min(arms.attacks, len(rows)), rng)
    if found is None:
        return [not_computed("singling_out", "no predicate singles out one synthetic patient")]
    hits = [_count(arm.rows, rows, found) == 1 for arm in (arms.learnt, arms.held_out)]
    chance = _Predicates.draw(rows, rng.integers(0, len(rows), len(found.row)), rng, mixed=True)
    by_chance = float((_count(arms.learnt.rows, rows, chance) == 1).mean())
    return [_figure("singling_out", "", hits[0], hits[1], by_chance, arms)]


@dataclass(frozen=True, kw_only=True)
class _Predicates:
    """k predicates of w parts each.

    Attributes:
        row: int64 [k], the synthetic patient it was made of.
        column: int64 [k, w], place among the columns, numbers first.
        source: int64 [k, w], whose value each part holds: the same patient's, or others' for predicates by chance.
    """

    row: Ints
    column: Ints
    source: Ints

    @classmethod
    def draw(cls, rows: Rows, chosen: Ints, rng: np.random.Generator, *, mixed: bool = False) -> _Predicates:
        shape = (len(chosen), PARTS_OF_PREDICATE)
        column = rng.random((len(chosen), len(rows.names))).argsort(axis=1)[:, :PARTS_OF_PREDICATE]
        source = rng.integers(0, len(rows), shape) if mixed else np.repeat(chosen[:, None], shape[1], axis=1)
        return cls(row=chosen, column=column, source=source)

    def take(self, places: Ints | Bools) -> _Predicates:
        return _Predicates(row=self.row[places], column=self.column[places], source=self.source[places])

    def joined(self, other: _Predicates) -> _Predicates:
        return _Predicates(
            row=np.append(self.row, other.row),
            column=np.concatenate([self.column, other.column]),
            source=np.concatenate([self.source, other.source]),
        )


def _singling(rows: Rows, wanted: int, rng: np.random.Generator) -> _Predicates | None:
    """One predicate for each of ``wanted`` synthetic patients that fits nobody else; fewer where none was found."""
    waiting = rng.permutation(len(rows))
    found: _Predicates | None = None
    for _ in range(TRIES):
        drawn = _Predicates.draw(rows, waiting[: 2 * wanted], rng)
        single = _count(rows, rows, drawn) == 1
        new = drawn.take(single)
        found = new if found is None else found.joined(new)
        waiting = np.concatenate([waiting[2 * wanted :], drawn.row[~single]])
        if len(found.row) >= wanted or not len(waiting):
            break
    return found.take(np.arange(min(wanted, len(found.row)))) if found is not None and len(found.row) else None


def _count(rows: Rows, source: Rows, predicates: _Predicates) -> Ints:
    """How many of ``rows`` satisfy each predicate, whose values are those of ``source``: int64 [k]."""
    fits = np.ones((len(predicates.row), len(rows)), dtype=np.bool_)
    numbers = len(rows.number_names)
    own = np.where(rows.missing, np.float32(np.nan), rows.numbers).T
    values = np.where(source.missing, np.float32(np.nan), source.numbers)
    middle = np.median(source.numbers, axis=0) if numbers else np.zeros(0)
    for part in range(predicates.column.shape[1]):
        for column in range(len(rows.names)):
            using = np.flatnonzero(predicates.column[:, part] == column)
            of = predicates.source[using, part]
            if column >= numbers:
                fits[using] &= source.codes[of, column - numbers][:, None] == rows.codes[None, :, column - numbers]
                continue
            value = values[of, column]
            for chosen, compare in (
                (value > middle[column], np.greater_equal),
                (value <= middle[column], np.less_equal),
            ):
                fits[using[chosen]] &= compare(own[column][None], value[chosen, None])
            fits[using[np.isnan(value)]] &= rows.missing[None, :, column]
    counted: Ints = np.count_nonzero(fits, axis=1)
    return counted


def linkability_figures(arms: Arms) -> list[Figure]:
    """How often two parts of a patient's record, held apart, are both nearest to the same synthetic patient.

    One part holds the attributes, the other findings, readings and the course of studies.
    """
    rows = arms.synthetic.rows
    one = rows.of_kind(ATTRIBUTE, LABEL)
    two = [name for name in rows.names if name not in one]
    if min(len(one), len(two)) < 2:
        return [not_computed("linkability", "a record has not two parts of at least two columns that vary")]

    def linked(arm: Arm) -> Bools:
        places = [nearest(arm.rows.columns(part), rows.columns(part))[1] for part in (one, two)]
        same: Bools = places[0] == places[1]
        return same

    learnt, held_out = (linked(arm) for arm in _targets(arms, "linkability"))
    return [_figure("linkability", "", learnt, held_out, 1 / len(rows), arms, parts=[one, two])]


def inference_figures(arms: Arms) -> list[Figure]:
    """How often the nearest synthetic patient, by all that is known of a patient, has what is not known of the patient.

    Two secrets: what is the matter (every finding with its side, zone and size), and the readings (mean of each
    series, within 5 % of the range). A secret is inferred when all of it is right.
    """
    rows = arms.synthetic.rows
    secrets = {
        "findings": (rows.of_kind(FINDING) or rows.of_kind(LABEL), rows.of_kind(FINDING, LABEL)),
        "readings": ([name for name in rows.of_kind(READING) if name.endswith(".mean")], rows.of_kind(READING)),
    }
    targets = _targets(arms, "inference")
    found = []
    for of, (secret, hidden) in secrets.items():
        known = [name for name in rows.names if name not in hidden]
        if not secret or not known:
            reason = "the records hold none" if not secret else "nothing else is known of a patient"
            found.append(not_computed("inference", reason, of=of))
            continue
        guesses = [nearest(arm.rows.columns(known), rows.columns(known))[1] for arm in targets]
        right = [_right(arm, rows.take(guess), secret) for arm, guess in zip(targets, guesses, strict=True)]
        lot = arms.rng("inference", of).integers(0, len(rows), len(targets[0]))
        chance = float(_right(targets[0], rows.take(lot), secret).all(axis=1).mean())
        each = {name: _rates(right, place) for place, name in enumerate(secret)}
        whole: list[Bools] = [np.asarray(item.all(axis=1)) for item in right]
        found.append(_figure("inference", of, whole[0], whole[1], chance, arms, each=each))
    return found


def _right(arm: Arm, guesses: Rows, secret: list[str]) -> Bools:
    """[n, secrets] whether each part of the secret is guessed."""
    own, guessed = arm.rows.columns(secret), guesses.columns(secret)
    close = np.abs(own.numbers - guessed.numbers) <= TOLERANCE
    close = np.where(own.missing | guessed.missing, own.missing == guessed.missing, close)
    order = [(*own.number_names, *own.code_names).index(name) for name in secret]
    found: Bools = np.concatenate([close, own.codes == guessed.codes], axis=1)[:, order]
    return found


def _rates(right: list[Bools], place: int) -> dict[str, float | None]:
    rates = [float(item[:, place].mean()) for item in right]
    above = risk(right[0][:, place], right[1][:, place])
    return {"learnt": rates[0], "controls": rates[1], "risk": None if above is None else above[0]}


def _targets(arms: Arms, purpose: str) -> list[Arm]:
    """Patients that are attacked: learnt ones, and as many controls."""
    n = min(arms.attacks, len(arms.learnt))
    drawn = [arms.rng(purpose, side).permutation(len(arms.learnt))[:n] for side in ("one", "two")]
    return [arms.learnt.take(drawn[0]), arms.held_out.take(drawn[1])]


def _figure(metric: str, of: str, learnt: Bools, held_out: Bools, chance: float, arms: Arms, **more: Any) -> Figure:
    found = risk(learnt, held_out)
    if found is None:
        return not_computed(metric, "every attack on a control succeeds, so nothing can go beyond", of=of)
    return Figure(
        metric=metric, of=of, value=found[0], error=found[1], n=len(learnt), counted="attacked patients", least=-1.0,
        method=METHOD,
        detail={
            "success_on_learnt": float(learnt.mean()), "success_on_controls": float(held_out.mean()),
            "success_by_chance": chance, "attacks_wanted": arms.attacks, "too_few": len(learnt) < arms.attacks, **more,
        },
    )  # fmt: skip
