"""Does a monitor alarm in at most alpha of quiet years, does it find what was planted, and how soon?

On a simulated hospital (``drift_scene``: numbers, categories, mask, embedding, scores and labels, by sex and site),
through the same sketches, residuals, look and shifts as a monitor:

1. quiet years of 52 windows: share with any alarm, with its Wilson interval; for e-processes, alpha-spending and the
   run length after a restart; and, as an upper bound, with every margin at 0;
2. planted drifts: kind x size x patients a window; a change from the seventh window on, at most 20 windows. Power,
   median delay in windows, and how often the strongest stream of the alarm is one that the drift moves (hit@1). A
   change of unit is found by its notice, or by an alarm;
3. on quiet years of the same numbers: Evidently's preset, and alibi-detect and NannyML (``--peers``, see
   ``make bench-peers``), each by its defaults, in fewer years.

Shifts against margins are worked out only in windows where the e-value without margins would alarm: streams over their
margin are part of it, so elsewhere no alarm is possible.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.drift_peers import evidently_alarms, peers_alarms, quiet_frames, share_of_years
from benchmarks.drift_scene import QUIET, STREAMS_OF, Drifts, frame_of, protocol_of, sketch_of, studies
from benchmarks.result import Target, publish
from evaluation.engine.drift.lifetime import families_of, look, look_at, tracks_of, weights_of
from evaluation.engine.drift.records import Look, NoticeKind, Residual
from evaluation.engine.drift.residuals import residuals_of
from evaluation.engine.drift.shifts import shifts_of
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.protocol_drift import FalseAlarms
from evaluation.engine.statistics.intervals import wilson, z_of
from evaluation.engine.statistics.seeds import generator

ALPHA, WINDOWS, BEFORE, AFTER = 0.05, 52, 6, 20
SETTINGS = ((200, 2000, 1.0), (50, 200, 0.2), (1000, 400, 0.1))
"""Patients a window, patients of the reference, share of the runs."""
KINDS = ("prevalence", "noise", "unit", "scanner", "missing", "subgroup", "concept")
SIZES = (0.1, 0.3, 1.0)
PATIENTS = (100, 300)
METHODS = ("e_process", "alpha_spending", "run_length")
RULES = FalseAlarms(alpha=ALPHA)
PROTOCOL = protocol_of(false_alarms=RULES.to_dict())


class Year(NamedTuple):
    """What one quiet year gave: method -> whether it ever alarmed; ``no margin`` with margins at 0."""

    alarmed: dict[str, bool]


class Found(NamedTuple):
    """What one monitor found of a planted drift: windows until an alarm or a notice, 0 for none."""

    delay: int
    early: bool
    hit: bool


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=1000, help="quiet years at 200 patients a week")
    parser.add_argument("--grid-runs", type=int, default=20, help="monitors in each cell of the grid; 0: no grid")
    parser.add_argument("--peer-runs", type=int, default=10, help="quiet years for the other libraries; 0: none")
    parser.add_argument("--peers", type=Path, help="Python of the peers' own virtual environment")
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    parser.add_argument("--quick", action="store_true", help="a few windows: shows that it runs, measures nothing")
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked.runs, asked.grid_runs, asked.peer_runs = 2, 1, 1
    facts: dict[str, Any] = {"quiet years": {}, "planted drifts": [], "other libraries": {}}
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), initializer=_one_thread) as pool:
        for setting, found in _quiet(pool, asked.runs, 3 if asked.quick else WINDOWS):
            facts["quiet years"][setting] = found
            _keep(asked.markdown, facts)
        for cell in _grid(pool, asked.grid_runs, quick=asked.quick) if asked.grid_runs else ():
            facts["planted drifts"].append(cell)
            _keep(asked.markdown, facts)
    if asked.peer_runs:
        facts["other libraries"] = _others(asked.peer_runs, 2 if asked.quick else WINDOWS, asked.peers)
        _keep(asked.markdown, facts)
    publish(list(_targets(*facts.values())), as_json=asked.json, facts=facts)


def _keep(file: Path | None, facts: dict[str, Any]) -> None:
    """The tables so far: a run takes most of an hour."""
    if file:
        file.write_text(_markdown(facts))


def _one_thread() -> None:
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _quiet(pool: ProcessPoolExecutor, runs: int, windows: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for n, reference, share in SETTINGS:
        many = max(1, round(runs * share))
        years = list(pool.map(partial(_year, n, reference, windows), range(many), chunksize=max(1, many // 40)))
        found: dict[str, Any] = {"years": many}
        for method in (*METHODS, "no margin"):
            hits = sum(year.alarmed[method] for year in years)
            low, high = wilson(hits / many, many, z_of(ALPHA))
            found[method] = {"alarmed": hits, "share": hits / many, "low": round(low, 4), "high": round(high, 4)}
        yield f"{n} patients a window, reference of {reference:,}", found


def _year(n: int, reference: int, windows: int, run: int) -> Year:
    """One quiet year by every method."""
    alarmed = dict.fromkeys((*METHODS, "no margin"), False)
    rng = generator(run, "null", str(n), str(reference))
    for window, first, history in _windows(rng, n, reference, [QUIET] * windows):
        tracks, weights = tracks_of(history), weights_of(families_of(history))
        looks = {name: look_at(RULES, name, tracks, weights, [], judged=len(history)) for name in METHODS}
        alarmed["no margin"] |= looks["e_process"].log_e >= looks["e_process"].threshold
        near = [name for name, found in looks.items() if found.log_e >= found.threshold and not alarmed[name]]
        if near:
            shifts, _ = shifts_of(PROTOCOL, window, first)
            for name in near:
                alarmed[name] = look_at(RULES, name, tracks, weights, shifts, judged=len(history)).alarm
    return Year(alarmed)


def _windows(
    rng: np.random.Generator, n: int, reference: int, drifts: list[Drifts]
) -> Iterator[tuple[DriftSketch, DriftSketch, list[tuple[Residual, ...]]]]:
    """Each window with the reference and the history up to it, as a monitor would have them."""
    table = studies(rng, reference)
    frame = frame_of(PROTOCOL, table)
    first = base = sketch_of(PROTOCOL, table, frame)
    history: list[tuple[Residual, ...]] = []
    for drift in drifts:
        window = sketch_of(PROTOCOL, studies(rng, n, drift), frame)
        history.append(residuals_of(PROTOCOL, window, base))
        base = base.merge(window)
        yield window, first, history


def _grid(pool: ProcessPoolExecutor, runs: int, *, quick: bool) -> Iterator[dict[str, Any]]:
    cells = list(product(KINDS, SIZES, PATIENTS))
    for kind, size, n in cells[5::14] if quick else cells:
        found = list(pool.map(partial(_planted, kind, size, n), range(runs)))
        alarms = [item for item in found if item.delay]
        delays = [item.delay for item in alarms if not item.early]
        yield {
            "kind": kind,
            "size": size,
            "patients": n,
            "monitors": runs,
            "power": sum(not item.early for item in alarms) / runs,
            "delay": float(np.median(delays)) if delays else None,
            "hit@1": float(np.mean([item.hit for item in alarms if not item.early])) if delays else None,
            "too early": sum(item.early for item in found),
        }


def _planted(kind: str, size: float, n: int, run: int) -> Found:
    """One monitor with a drift from the seventh window on, until it alarms."""
    rng = generator(run, "planted", kind, str(size), str(n))
    planted = replace(QUIET, **{kind: size})
    windows = _windows(rng, n, 2000, [*[QUIET] * BEFORE, *[planted] * AFTER])
    for place, (window, first, history) in enumerate(windows):
        found = look(PROTOCOL, history, [], cycle=1)
        early, delay = place < BEFORE, place - BEFORE + 1
        if found.log_e < found.threshold and not (kind == "unit" and not early):
            continue
        shifts, notices = shifts_of(PROTOCOL, window, first)
        if any(item.kind is NoticeKind.UNIT and item.stream == "crp" for item in notices):
            return Found(delay, early, hit=True)
        found = look(PROTOCOL, history, shifts, cycle=1)
        if found.alarm:
            return Found(max(1, delay), early, _hit(kind, found))
    return Found(0, early=False, hit=False)


def _hit(kind: str, found: Look) -> bool:
    stream, attribute, group = found.alarming[0]
    inside = kind != "subgroup" or (attribute, group) == ("site", "B")
    return stream in STREAMS_OF[kind] and inside


def _others(runs: int, windows: int, python: Path | None) -> dict[str, Any]:
    """The other libraries on quiet years, 200 patients a window and a reference of 2,000."""
    n, reference, _ = SETTINGS[0]
    alarms: dict[str, list[list[int]]] = {}
    for run in range(runs):
        before, after = quiet_frames(run, windows, n, reference)
        for name, found in evidently_alarms(before, after).items():
            alarms.setdefault(f"Evidently, {name}", []).append(found)
    if python is not None:
        told = peers_alarms(python, runs, windows, n, reference)
        alarms |= {name: found for name, found in told.items() if name != "versions"}
    told_of = {}
    for name, years in alarms.items():
        share, per_year = share_of_years(years)
        told_of[name] = {"years": runs, "any alarm": share, "alarms a year": per_year}
    return told_of


def _targets(quiet: dict[str, Any], grid: list[dict[str, Any]], others: dict[str, Any]) -> Iterator[Target]:
    peer = "; ".join(f"{name}: {found['any alarm']:.2f}" for name, found in others.items())
    for setting, found in quiet.items():
        for method in METHODS:
            name = f"quiet years with an alarm, {method}, {setting}"
            goal = ALPHA if method != "run_length" else round(WINDOWS / 1000, 3)
            yield Target(name=name, value=found[method]["share"], unit="", op="<=", goal=goal, peer=peer)
    for kind in KINDS:
        mine = [cell for cell in grid if cell["kind"] == kind and cell["size"] == max(SIZES)]
        if mine:
            power = float(np.mean([cell["power"] for cell in mine]))
            yield Target(name=f"power, {kind}, largest size", value=power, unit="", op=">=", goal=0.95, peer="nothing")
    told = [cell["hit@1"] for cell in grid if cell["hit@1"] is not None and cell["power"] >= 0.5]
    if told:
        hits = float(np.mean(told))
        yield Target(name="hit@1 where power is over .5", value=hits, unit="", op=">=", goal=0.8, peer="nothing")


def _markdown(facts: dict[str, Any]) -> str:
    lines = ["| Quiet years | Years | " + " | ".join((*METHODS, "no margin")) + " |", "|---" * 6 + "|"]
    for setting, found in facts["quiet years"].items():
        shares = [
            f"{v['share']:.3f} ({v['low']:.3f} to {v['high']:.3f})" for v in found.values() if isinstance(v, dict)
        ]
        lines.append(f"| {setting} | {found['years']:,} | " + " | ".join(shares) + " |")
    lines += ["", "| Drift | Size | Patients | Power | Delay | hit@1 |", "|---|---|---|---|---|---|"]
    for cell in facts["planted drifts"]:
        told = [json.dumps(cell[name]) for name in ("power", "delay", "hit@1")]
        lines.append(f"| {cell['kind']} | {cell['size']} | {cell['patients']} | " + " | ".join(told) + " |")
    lines += ["", "| Library | Quiet years | Any alarm | Alarms a year |", "|---|---|---|---|"]
    for name, found in facts["other libraries"].items():
        lines.append(f"| {name} | {found['years']} | {found['any alarm']:.2f} | {found['alarms a year']:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
