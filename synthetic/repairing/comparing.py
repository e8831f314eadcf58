"""Two versions by the same protocol on the same patients: whether a gap was repaired, and what that cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import ConflictError
from evaluation.engine.decisions import decide
from evaluation.engine.grouping import factorize, group_by
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ALL, UNKNOWN, ShardTable
from evaluation.engine.sketch import audited
from evaluation.engine.suites.fairness.rates import RATES
from synthetic.repairing.paired import Change, Pairs, gap_change, rate_change
from synthetic.repairing.wishes import rates_of

LOOKED_AT = ("tpr", "fpr")
"""Rates in which harm elsewhere is looked for, of every label in every group."""
KEPT = (
    "criterion", "metric", "label", "attribute", "groups", "outcome", "primary", "value", "low", "high", "statement",
)  # fmt: skip
RANK = {"pass": 0, "insufficient": 1, "fail": 2}
Rows = npt.NDArray[np.bool_]


class Answer(StrEnum):
    """Whether the gap was repaired. What is not shown is not claimed."""

    IMPROVED = "improved"
    NOT_SHOWN = "not_shown"
    WORSE = "worse"


@dataclass(frozen=True, kw_only=True)
class Target:
    """The finding that is to be repaired.

    Attributes:
        groups: The pair that failed; one group where a rate was held against a limit.
        group: The one that patients were made for.
    """

    criterion: str
    metric: str
    label: str
    attribute: str
    groups: tuple[str, ...]
    group: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What became of a finding.

    Attributes:
        answer: Of the failed gap alone; see :func:`answer_of`.
        gap: Of the rate of the gap that is largest before; None where the gap rests on no decisions.
        levelled_down: The gap is smaller, and the group itself is not served better.
        rates: Sensitivity and false alarms of the groups of the gap; of every group where one was held against a limit.
        worse: Rates that an interval for each alone shows to be worse, anywhere.
        looked_at: How many rates were looked at for that: so many times half of alpha are expected by chance.
        verdicts: Each verdict before and after.
        fallen: Verdicts that are judged worse than before.
    """

    answer: Answer
    gap: dict[str, Any] | None
    levelled_down: bool
    rates: tuple[dict[str, Any], ...]
    worse: tuple[dict[str, Any], ...]
    looked_at: int
    verdicts: tuple[dict[str, Any], ...]
    fallen: tuple[dict[str, Any], ...]
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data, lists and words."""
        lists = {name: list(getattr(self, name)) for name in ("rates", "worse", "verdicts", "fallen")}
        return asdict(self) | lists | {"answer": self.answer.value}


def compare(
    protocol: Protocol,
    before: ShardTable,
    after: ShardTable,
    *,
    target: Target,
    verdicts: tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]],
) -> Comparison:
    """Both versions on the same patients.

    Args:
        verdicts: Of the audit before and of the one after, as ``Verdict.to_dict`` gives them.

    Raises:
        ConflictError: the tables are not of the same studies.
    """
    scene = _Scene(protocol, before, after)
    groups = scene.groups[target.attribute]
    gap = _gap(scene, target)
    rates = tuple(
        scene.rate(rate, target.label, target.attribute, group)
        for group in dict.fromkeys((*target.groups, target.group, *(groups if len(target.groups) == 1 else ())))
        for rate in dict.fromkeys((*rates_of(target.metric), *LOOKED_AT))
        if group in groups
    )
    answer = answer_of(gap)
    looked = [item for item in scene.everywhere() if item["value"] is not None]
    told = _side_by_side(*verdicts)
    return Comparison(
        answer=answer,
        gap=gap,
        levelled_down=answer is Answer.IMPROVED and _levelled_down(gap, rates, target),
        rates=rates,
        worse=tuple(item for item in looked if _is_worse(item)),
        looked_at=len(looked),
        verdicts=told,
        fallen=tuple(row for row in told if _fell(row)),
        level=1 - protocol.alpha,
    )


def answer_of(gap: Mapping[str, Any] | None) -> Answer:
    """Improved where the interval of the change lies below 0 (the gap shrank), worse above, else not shown."""
    if gap is None or gap["low"] is None:
        return Answer.NOT_SHOWN
    if gap["high"] < 0:
        return Answer.IMPROVED
    return Answer.WORSE if gap["low"] > 0 else Answer.NOT_SHOWN


class _Scene:
    """The decisions of both versions, study by study, with groups."""

    def __init__(self, protocol: Protocol, before: ShardTable, after: ShardTable) -> None:
        self.protocol, self.level = protocol, 1 - protocol.alpha
        first, second = (audited(protocol, table) for table in (before, after))
        second = _in_order(second, first)
        patients, _ = factorize(first.patient_ids)
        old, new = decide(protocol, first), decide(protocol, second)
        self.pairs = {
            one.label: Pairs(patients=patients, reference=one.reference, before=one.decision, after=two.decision)
            for one, two in zip(old, new, strict=True)
        }
        self.groups: dict[str, dict[str, Rows]] = {"": {ALL: np.ones(len(first), dtype=np.bool_)}}
        for item in group_by(protocol, first):
            self.groups[item.name] = {
                name: item.codes == code for code, name in enumerate(item.groups) if name != UNKNOWN
            }

    def change(self, rate: str, label: str, rows: Rows) -> Change:
        least = self.protocol.minimum_denominator
        return rate_change(self.pairs[label], RATES[rate], rows, level=self.level, least=least)

    def gap(self, rate: str, label: str, attribute: str, groups: tuple[str, ...]) -> Change:
        held = self.groups[attribute]
        rows = tuple(held.get(name, np.zeros(len(held[next(iter(held))]), dtype=np.bool_)) for name in groups)
        least = self.protocol.minimum_denominator
        return gap_change(self.pairs[label], RATES[rate], (rows[0], rows[1]), level=self.level, least=least)

    def rate(self, rate: str, label: str, attribute: str, group: str) -> dict[str, Any]:
        found = self.change(rate, label, self.groups[attribute][group])
        named = {"metric": rate, "title": RATES[rate].title, "label": label, "attribute": attribute, "group": group}
        return named | found.to_dict()

    def everywhere(self) -> Iterator[dict[str, Any]]:
        """Every rate that is looked at for harm, in every group and overall."""
        for label in self.pairs:
            for attribute, held in self.groups.items():
                for group in held:
                    for rate in LOOKED_AT:
                        yield self.rate(rate, label, attribute, group)


def _in_order(table: ShardTable, like: ShardTable) -> ShardTable:
    """The rows of a table in the order of another of the same studies.

    Raises:
        ConflictError: they are of other studies.
    """
    place = {study: row for row, study in enumerate(table.study_ids.tolist())}
    if len(place) != len(like) or any(study not in place for study in like.study_ids.tolist()):
        raise ConflictError(
            "The two audits are not of the same studies.", remedy="Compare audits of one cohort by one protocol."
        )
    order = np.array([place[study] for study in like.study_ids.tolist()], dtype=np.int64)
    return replace(
        table,
        patient_ids=table.patient_ids[order],
        study_ids=table.study_ids[order],
        attributes={name: values[order] for name, values in table.attributes.items()},
        labels={name: values[order] for name, values in table.labels.items()},
        scores={name: values[order] for name, values in table.scores.items()},
        decisions={name: values[order] for name, values in table.decisions.items()},
    )


def _gap(scene: _Scene, target: Target) -> dict[str, Any] | None:
    """The failed contrast under both versions: of equalised odds, in the rate in which it was largest."""
    names = {"label": target.label, "attribute": target.attribute, "groups": list(target.groups)}
    if len(target.groups) == 1:
        return _held_rate(scene, target, names)
    found = [(rate, scene.gap(rate, target.label, target.attribute, target.groups)) for rate in rates_of(target.metric)]
    if not found or len(target.groups) != 2:
        return None
    rate, change = max(found, key=lambda item: abs(item[1].before or 0.0))
    return {"metric": rate, "title": RATES[rate].title, **names, **change.to_dict()}


def _held_rate(scene: _Scene, target: Target, names: dict[str, Any]) -> dict[str, Any] | None:
    """A rate of one group: turned so that a fall is an improvement, as of a gap."""
    rows = scene.groups[target.attribute].get(target.groups[0])
    if target.metric not in RATES or rows is None:
        return None
    change = scene.change(target.metric, target.label, rows)
    if RATES[target.metric].worse < 0 and change.value is not None:
        low = None if change.high is None else -change.high
        high = None if change.low is None else -change.low
        change = replace(change, value=-change.value, low=low, high=high)
    return {"metric": target.metric, "title": RATES[target.metric].title, **names, **change.to_dict()}


def _levelled_down(gap: Mapping[str, Any] | None, rates: Sequence[Mapping[str, Any]], target: Target) -> bool:
    """Whether the rate of the gap did not get better in the group itself."""
    for item in rates:
        if gap is not None and item["metric"] == gap["metric"] and item["group"] == target.group:
            return item["value"] is None or item["value"] * RATES[item["metric"]].worse >= 0
    return False


def _is_worse(item: Mapping[str, Any]) -> bool:
    if item["low"] is None:
        return False
    return bool(item["low"] > 0 if RATES[item["metric"]].worse > 0 else item["high"] < 0)


def _side_by_side(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], ...]:
    """Each verdict before and after; None on the side where there is none."""

    def by_place(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
        return {(row["criterion"], row["label"], row["attribute"]): {name: row[name] for name in KEPT} for row in rows}

    old, new = by_place(before), by_place(after)
    return tuple(
        {"criterion": key[0], "label": key[1], "attribute": key[2], "before": old.get(key), "after": new.get(key)}
        for key in dict.fromkeys((*old, *new))
    )


def _fell(row: Mapping[str, Any]) -> bool:
    old, new = row["before"], row["after"]
    return bool(old and new and RANK[new["outcome"]] > RANK[old["outcome"]])
