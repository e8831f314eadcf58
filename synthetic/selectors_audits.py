"""What an audit of synthetic patients found, as its page shows it: attacks in plain words, shapes, a map of pairs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.engine.words import plain
from evaluation.models import AuditRun, Measurement

SHAPE, PAIR, TABLES = "column_shape", "pair_trend", "intertable_trend"
BETWEEN = " and "
STEPS = (0.98, 0.95, 0.90, 0.80)
"""Likeness from which a cell of the map is of the first, second, ... shade; below the last it is the worst."""
MOST_COLUMNS = 24
"""Columns of the map; of more, those of the least alike pairs."""


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


def margins_of(run: AuditRun) -> dict[str, float]:
    """Metric -> margin of the protocol's criterion on it."""
    return {str(item["metric"]): float(item["margin"]) for item in run.protocol.body.get("criteria", [])}


def pairs_of(figures: Sequence[Measurement]) -> dict[str, Any]:
    """The map of pairs, within a table and between two; empty without pairs.

    Returns:
        ``names``, a row of cells (value, shade) for each of them, how many columns are ``left`` out, and the pairs as a
        list, the least alike first.
    """
    items = [item for item in figures if item.metric in (PAIR, TABLES)]
    known = {item.label for item in figures if item.metric == SHAPE}
    values: dict[frozenset[str], float] = {}
    least: dict[str, float] = {}
    for item in items:
        both = _both(item.label, known)
        if item.value is None or both is None:
            continue
        values[frozenset(both)] = item.value
        for name in both:
            least[name] = min(least.get(name, 1.0), item.value)
    kept = sorted(least, key=lambda name: least[name])[:MOST_COLUMNS]
    names = [name for name in least if name in kept]
    if not names:
        return {}
    rows = [{"name": plain(one), "cells": [_cell(one, two, values) for two in names]} for one in names]
    told = sorted((item for item in items if item.value is not None), key=lambda item: item.value or 0.0)
    return {"names": [plain(name) for name in names], "rows": rows, "left": len(least) - len(names), "list": told}


def _both(label: str, known: Collection[str]) -> tuple[str, str] | None:
    """The two columns of a pair: where its label can be read in several ways, two that are known."""
    cuts = [hit.start() for hit in re.finditer(f"(?={BETWEEN})", label)]
    ways = [(label[:cut], label[cut + len(BETWEEN) :]) for cut in cuts]
    return next((way for way in ways if way[0] in known and way[1] in known), ways[0] if ways else None)


def _cell(one: str, two: str, values: Mapping[frozenset[str], float]) -> dict[str, Any]:
    value = values.get(frozenset((one, two)))
    if value is None or one == two:
        return {"value": None, "shade": "own" if one == two else ""}
    return {"value": value, "shade": next((str(at) for at, step in enumerate(STEPS) if value >= step), str(len(STEPS)))}
