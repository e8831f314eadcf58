"""Do the intervals of ranking, calibration and utility cover? On simulated patients with several studies each.

Patients differ in severity, and in how the model scores them, so the studies of one patient are alike. The truth of
each statistic is that of 300,000 simulated patients. Printed are, for three sizes of the cohort, the coverage of the
95 % intervals of every statistic in one group, and of the differences of AUROC and of the cross-group AUROC between two
equal groups, which are 0; beside AUROC, DeLong's interval as if all studies were of different patients.
"""

from __future__ import annotations

import argparse
import math
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from benchmarks.result import Target, publish
from evaluation.engine import Protocol, ShardTable
from evaluation.engine.sketches.scores import ScoresSketch
from evaluation.engine.statistics.auroc import delong, logit_interval
from evaluation.engine.statistics.intervals import z_of
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.suites.fairness.score_metrics import NET_BENEFIT, SCORED, XAUC
from evaluation.engine.suites.fairness.scored import ScoredGroups

SIZES, ALPHA, MANY = (150, 500, 2000), 0.05, 300_000
METRICS = (*SCORED, NET_BENEFIT)
GAPS = {"auroc": "AUROC difference", XAUC: "cross-group AUROC difference"}
ROWS = "auroc, studies as if of different patients"
PROTOCOL = Protocol.from_dict(
    {
        "auscult_protocol": 1,
        "name": "validity-v1",
        "title": "Validity of score intervals",
        "labels": [{"name": "finding", "threshold": {"value": 0.3, "source": "fixed"}}],
        "attributes": [{"name": "group"}],
        "criteria": [{"id": "a", "metric": "auroc", "attribute": "group", "direction": "at_least", "margin": 0.5}],
        "minimum": {"rate_denominator": 10, "calibration_events": 20},
    }
)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--replicates", type=int, default=6000)
    parser.add_argument("--quick", action="store_true", help="a few replicates: shows that it runs, measures nothing")
    asked = parser.parse_args(arguments)
    replicates = 8 if asked.quick else asked.replicates
    whole = _groups(_simulated(generator(0, "truth"), 3000 if asked.quick else MANY))
    truth = {metric: whole.statistic(metric, "A").value or 0.0 for metric in METRICS}
    facts: dict[str, Any] = {"replicates": replicates, "truth": {name: round(v, 4) for name, v in truth.items()}}
    coverage: dict[str, list[float]] = {}
    workers = min(2, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers) as pool:
        for size in SIZES:
            parts = pool.map(partial(_covered, truth, size), np.array_split(np.arange(replicates), 2 * workers))
            hits = sum(parts, Counter())
            shares = {name: hits[name] / max(1, hits[f"tried {name}"]) for name in (*METRICS, *GAPS.values(), ROWS)}
            facts[f"coverage, {size} patients"] = {name: round(share, 3) for name, share in shares.items()}
            for name, share in shares.items():
                coverage.setdefault(name, []).append(share)
    publish(list(_targets(coverage)), as_json=asked.json, facts=facts)


def _targets(coverage: dict[str, list[float]]) -> list[Target]:
    rows = float(np.mean(coverage.pop(ROWS)))
    found = []
    for name, shares in coverage.items():
        peer = f"DeLong on rows: {rows:.3f}" if name == "auroc" else "nothing"
        for op, goal in ((">=", 0.94), ("<=", 0.96)):
            value = float(np.mean(shares))
            found.append(Target(name=f"mean coverage, {name}", value=value, unit="", op=op, goal=goal, peer=peer))
    return found


def _simulated(rng: np.random.Generator, patients: int) -> ShardTable:
    owner = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    severity, habit = rng.normal(size=(2, patients))
    truth = rng.random(len(owner)) < 1 / (1 + np.exp(1 - 1.5 * severity[owner]))
    linear = -1 + 1.2 * truth + 0.8 * habit[owner] + 0.6 * rng.normal(size=len(owner))
    return ShardTable(
        patient_ids=owner.astype(str).astype(object),
        study_ids=np.arange(len(owner)).astype(str).astype(object),
        attributes={"group": rng.choice(np.array(["A", "B"], dtype=object), patients)[owner]},
        labels={"finding": truth.astype(np.int8)},
        scores={"finding": 1 / (1 + np.exp(-linear))},
    )


def _groups(table: ShardTable) -> ScoredGroups:
    cells = ScoresSketch.from_table(PROTOCOL, table).cells["finding", "group"]
    return ScoredGroups(PROTOCOL, "finding", "group", cells)


def _covered(truth: dict[str, float], size: int, seeds: np.ndarray) -> Counter[str]:
    hits: Counter[str] = Counter()
    for seed in seeds:
        table = _simulated(generator(int(seed), "scores", str(size)), size)
        groups = _groups(table)
        for metric, value in truth.items():
            if groups.statistic(metric, "A").value is not None:
                hits += _counted(metric, groups.interval(metric, "A")[0](z_of(ALPHA)), value)
        for metric, name in GAPS.items():
            for item in groups.pair_contrasts(metric):
                hits += _counted(name, (item.low, item.high), 0.0)
        mine = table.attributes["group"] == "A"
        naive = delong(table.scores["finding"][mine], table.labels["finding"][mine])
        limits = logit_interval(naive.value or 0.0, naive.variance or 0.0, z_of(ALPHA))
        if limits is not None:
            hits += _counted(ROWS, limits, truth["auroc"])
    return hits


def _counted(name: str, limits: tuple[float, float], value: float) -> Counter[str]:
    inside = math.isfinite(limits[0]) and limits[0] <= value <= limits[1]
    return Counter({name: int(inside), f"tried {name}": 1})


if __name__ == "__main__":
    main()
