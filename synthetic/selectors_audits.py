"""What an audit of synthetic patients found, as its page shows it: attacks in plain words, shapes, a map of pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.engine.words import plain
from evaluation.models import AuditRun, Measurement

SHAPE, PAIR = "column_shape", "pair_trend"
BETWEEN = " and "
STEPS = (0.98, 0.95, 0.90, 0.80)
"""Likeness from which a cell of the map is of the first, second, ... shade; below the last it is the worst."""
MOST_COLUMNS = 24
"""Columns of the map; of more, those of the least likely pairs."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One attack: ``figures`` are what it found, each with its null; ``outcome`` is empty where it was not judged."""

    title: str
    plainly: str
    criterion: str
    risk: str
    allowed: str
    outcome: str
    figures: list[Measurement]


def is_linked(run: AuditRun) -> bool:
    """Whether an audit is one of synthetic patients."""
    return run.protocol.body.get("linked") is not None


def figures_of(run: AuditRun) -> list[Measurement]:
    """The measurements of an audit, in their order. One query."""
    return list(Measurement.objects.filter(run=run).order_by("position"))


def attacks_of(run: AuditRun, figures: Iterable[Measurement]) -> list[Attack]:
    """Every attack that was tried or is judged, in the order in which they are explained."""
    from synthetic.suites.privacy_meanings import MEANINGS, METRICS

    found: dict[str, list[Measurement]] = {}
    for item in figures:
        if item.metric in MEANINGS:
            found.setdefault(item.metric, []).append(item)
    rules = {item["metric"]: item for item in run.protocol.body.get("criteria", [])}
    outcomes = {item.criterion: item.outcome for item in run.verdicts.all()}
    return [
        Attack(
            title=METRICS[metric].title,
            plainly=meaning.plainly,
            criterion=meaning.criterion,
            risk=meaning.risk,
            allowed=_allowed(rules.get(metric)),
            outcome=outcomes.get(str(rules.get(metric, {}).get("id", "")), ""),
            figures=found.get(metric, []),
        )
        for metric, meaning in MEANINGS.items()
        if metric in found or metric in rules
    ]


def _allowed(rule: Mapping[str, Any] | None) -> str:
    if rule is None:
        return ""
    return f"at {'most' if rule['direction'] == 'at_most' else 'least'} {rule['margin']:g}"


def shapes_of(figures: Iterable[Measurement]) -> list[Measurement]:
    """Likeness of each column, the least first; those that cannot be computed last."""
    rows = [item for item in figures if item.metric == SHAPE]
    return sorted(rows, key=lambda item: (item.value is None, item.value or 0.0))


def pairs_of(figures: Iterable[Measurement]) -> dict[str, Any]:
    """The map of pairs: names, and a row of cells (words, shade) for each; empty without pairs."""
    values: dict[frozenset[str], float] = {}
    least: dict[str, float] = {}
    for item in figures:
        one, joined, two = item.label.partition(BETWEEN)
        if item.metric != PAIR or item.value is None or not joined:
            continue
        values[frozenset((one, two))] = item.value
        for name in (one, two):
            least[name] = min(least.get(name, 1.0), item.value)
    kept = sorted(least, key=lambda name: least[name])[:MOST_COLUMNS]
    names = [name for name in least if name in kept]
    rows = [{"name": plain(one), "cells": [_cell(values.get(frozenset((one, two)))) for two in names]} for one in names]
    return {"names": [plain(name) for name in names], "rows": rows, "left": len(least) - len(names)} if rows else {}


def _cell(value: float | None) -> dict[str, Any]:
    if value is None:
        return {"value": None, "shade": ""}
    return {"value": value, "shade": next((str(at) for at, step in enumerate(STEPS) if value >= step), str(len(STEPS)))}
