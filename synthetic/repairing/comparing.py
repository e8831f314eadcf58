"""Two versions by the same protocol on the same patients: whether a gap was repaired, and what that cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from evaluation.engine.differences import fell, side_by_side
from evaluation.engine.pairing import PairedScene
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.suites.fairness.rates import RATES
from synthetic.repairing.wishes import rates_of

LOOKED_AT = ("tpr", "fpr")
"""Rates in which harm elsewhere is looked for, of every label in every group."""


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
    scene = PairedScene(protocol, before, after)
    groups = scene.groups[target.attribute]
    gap = _gap(scene, target)
    rates = tuple(
        _rate(scene, rate, target.label, target.attribute, group)
        for group in dict.fromkeys((*target.groups, target.group, *(groups if len(target.groups) == 1 else ())))
        for rate in dict.fromkeys((*rates_of(target.metric), *LOOKED_AT))
        if group in groups
    )
    answer = answer_of(gap)
    looked = [item for item in _everywhere(scene) if item["value"] is not None]
    told = side_by_side(*verdicts)
    return Comparison(
        answer=answer,
        gap=gap,
        levelled_down=answer is Answer.IMPROVED and _levelled_down(gap, rates, target),
        rates=rates,
        worse=tuple(item for item in looked if _is_worse(item)),
        looked_at=len(looked),
        verdicts=told,
        fallen=tuple(row for row in told if fell(row)),
        level=1 - protocol.alpha,
    )


def answer_of(gap: Mapping[str, Any] | None) -> Answer:
    """Improved where the interval of the change lies below 0 (the gap shrank), worse above, else not shown."""
    if gap is None or gap["low"] is None:
        return Answer.NOT_SHOWN
    if gap["high"] < 0:
        return Answer.IMPROVED
    return Answer.WORSE if gap["low"] > 0 else Answer.NOT_SHOWN


def _gap(scene: PairedScene, target: Target) -> dict[str, Any] | None:
    """The failed contrast under both versions: of equalised odds, in the rate in which it was largest."""
    names = {"label": target.label, "attribute": target.attribute, "groups": list(target.groups)}
    if len(target.groups) == 1:
        return _held_rate(scene, target, names)
    found = [(rate, scene.gap(rate, target.label, target.attribute, target.groups)) for rate in rates_of(target.metric)]
    if not found or len(target.groups) != 2:
        return None
    rate, change = max(found, key=lambda item: abs(item[1].before or 0.0))
    return {"metric": rate, "title": RATES[rate].title, **names, **change.to_dict()}


def _held_rate(scene: PairedScene, target: Target, names: dict[str, Any]) -> dict[str, Any] | None:
    """A rate of one group: turned so that a fall is an improvement, as of a gap."""
    if target.metric not in RATES or target.groups[0] not in scene.groups[target.attribute]:
        return None
    change = scene.change(target.metric, target.label, target.attribute, target.groups[0])
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


def _rate(scene: PairedScene, rate: str, label: str, attribute: str, group: str) -> dict[str, Any]:
    found = scene.change(rate, label, attribute, group)
    named = {"metric": rate, "title": RATES[rate].title, "label": label, "attribute": attribute, "group": group}
    return named | found.to_dict()


def _everywhere(scene: PairedScene) -> Iterator[dict[str, Any]]:
    """Every rate that is looked at for harm, in every group and overall."""
    for label in scene.pairs:
        for attribute, held in scene.groups.items():
            for group in held:
                for rate in LOOKED_AT:
                    yield _rate(scene, rate, label, attribute, group)
