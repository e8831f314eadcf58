"""Speed and memory of the count sketch, the patient-cluster bootstrap and the intervals of all threshold metrics.

Four comparisons, each of both sides in one run:

1. fairlearn's ``MetricFrame(n_boot=..., ci_quantiles=...)``, 12 groups, 4 metrics: seconds per bootstrap replicate,
   and whether both give the same point values;
2. a large cohort in a process of its own: sketch, draw and every rate and gap with its interval; peak memory;
3. ten times the rows against once: sketch and draw;
4. patients whose studies fall in several groups, which makes many distinct vectors: against a plain multinomial draw.

Making the data is not timed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import Target, publish
from evaluation.engine import Protocol, ShardTable
from evaluation.engine.sketches.counts import OVERALL, Cells, CountsSketch
from evaluation.engine.statistics.bootstrap import Floats, resample_totals
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.suites.fairness.groups import LabelGroups
from evaluation.engine.suites.fairness.measure import measure_gaps, measure_groups

ROOT = Path(__file__).resolve().parent.parent
METRICS = ("selection_rate", "tpr", "fpr", "accuracy")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the cohorts are and how often each side is measured; the least time counts."""

    rows: int = 1_000_000
    labels: int = 14
    groups: int = 8
    replicates: int = 2000
    peer_rows: int = 100_000
    peer_groups: int = 12
    peer_replicates: int = 6
    hard_rows: int = 1_600_000
    hard_labels: int = 2
    hard_replicates: int = 1000
    repeats: int = 3


QUICK = Sizes(
    rows=4_000, labels=2, groups=3, replicates=200, peer_rows=1_500, peer_groups=3, peer_replicates=2,
    hard_rows=3_000, hard_labels=1, hard_replicates=200, repeats=1,
)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    parser.add_argument("--large-only", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    sizes = QUICK if asked.quick else Sizes()
    if asked.large_only:
        print(json.dumps(_large(sizes)))
        return
    targets, facts = measure(sizes, quick=asked.quick)
    publish(targets, as_json=asked.json, facts=facts)


def measure(sizes: Sizes, *, quick: bool) -> tuple[list[Target], dict[str, Any]]:
    targets: list[Target] = []
    facts: dict[str, Any] = {}
    for part in (partial(_large_apart, quick=quick), _beside_fairlearn, _ten_times, _hard):
        found, told = part(sizes)
        targets += found
        facts |= told
    return targets, facts


def _large_apart(sizes: Sizes, *, quick: bool) -> tuple[list[Target], dict[str, Any]]:
    """The large cohort in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.fairness", "--large-only", *(["--quick"] if quick else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    facts = json.loads(done.stdout)
    what = f"{sizes.rows:,} rows, {sizes.labels} labels, {sizes.groups} groups, {sizes.replicates} replicates"
    return [
        Target(name=f"sketch, draw and all threshold metrics: {what}", value=facts["large_seconds"], unit="s", op="<=",
               goal=5.0, peer="nothing"),
        Target(name="peak memory of that process, data included", value=facts["large_peak_gib"], unit="GiB", op="<=",
               goal=1.5, peer="nothing"),
    ], facts  # fmt: skip


def _large(sizes: Sizes) -> dict[str, Any]:
    """Sketch the rows, then every rate, gap and ratio with its interval, for each label and grouping."""
    protocol = _protocol(sizes.labels, sizes.replicates)
    table = _table(rows=sizes.rows, labels=sizes.labels, groups=sizes.groups, most=None)
    _judge(_protocol(1, 200), CountsSketch.from_table(_protocol(1, 200), _table(rows=500, labels=1, groups=2)))
    sketching, judging = [], []
    for _ in range(sizes.repeats):
        seconds, sketch = _timed(lambda: CountsSketch.from_table(protocol, table))
        sketching.append(seconds)
        seconds, told = _timed(partial(_judge, protocol, sketch))
        judging.append(seconds)
    return {
        "large_rows": sizes.rows,
        "large_patients": int(sketch.tallies[OVERALL].sizes[0, 1]),
        "large_measurements": told,
        "large_distinct_vectors": sum(len(cells.counts) for cells in sketch.cells.values()),
        "large_sketch_seconds": round(min(sketching), 3),
        "large_judge_seconds": round(min(judging), 3),
        "large_seconds": min(one + two for one, two in zip(sketching, judging, strict=True)),
        "large_peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
    }


def _judge(protocol: Protocol, sketch: CountsSketch) -> int:
    """Every measurement of every label and grouping, with their intervals; how many there are."""
    told = 0
    for (label, by), cells in sketch.cells.items():
        part = LabelGroups(protocol, label, by, cells)
        told += len(list(measure_groups(part, composite=False)))
        told += len(list(measure_gaps(part, composite=False))) if by != OVERALL else 0
    return told


def _beside_fairlearn(sizes: Sizes) -> tuple[list[Target], dict[str, Any]]:
    """Four metrics in twelve groups with their intervals, by both; ours counts the sketch of the rows too."""
    protocol = _protocol(1, sizes.replicates)
    table = _table(rows=sizes.peer_rows, labels=1, groups=sizes.peer_groups)
    ours, theirs = [], []
    for _ in range(sizes.repeats):
        seconds, part = _timed(lambda: _four_metrics(protocol, table))
        ours.append(seconds / sizes.replicates)
        once, frame = _timed(lambda: _metric_frame(table, None))
        several, frame = _timed(lambda: _metric_frame(table, sizes.peer_replicates))
        theirs.append((several - once) / sizes.peer_replicates)
    apart = [
        abs(float(frame.by_group.loc[group, metric]) - (part.rate(metric, group).value or 0.0))
        for metric in METRICS
        for group in part.groups
    ]
    peer = f"fairlearn MetricFrame, {sizes.peer_replicates} replicates"
    return [
        Target(name=f"speed per replicate, {sizes.peer_rows:,} rows, {sizes.peer_groups} groups, 4 metrics",
               value=min(theirs) / min(ours), unit="x", op=">=", goal=1000.0, peer=peer),
        Target(name="largest difference of a point value, in units of 1e-15", value=max(apart) * 1e15, unit="",
               op="<=", goal=1.0, peer=peer),
    ], {
        "peer_seconds_per_replicate": round(min(theirs), 4),
        "our_seconds_per_replicate": round(min(ours), 7),
        "our_replicates": sizes.replicates,
    }  # fmt: skip


def _four_metrics(protocol: Protocol, table: ShardTable) -> LabelGroups:
    part = LabelGroups(protocol, "l0", "group", CountsSketch.from_table(protocol, table).cells["l0", "group"])
    for metric in METRICS:
        for group in part.groups:
            part.interval(metric, group)
    return part


def _metric_frame(table: ShardTable, replicates: int | None) -> Any:
    from fairlearn import metrics
    from sklearn.metrics import accuracy_score  # type: ignore[import-untyped,unused-ignore]

    functions = {
        "selection_rate": metrics.selection_rate,
        "tpr": partial(metrics.true_positive_rate, pos_label=1),
        "fpr": partial(metrics.false_positive_rate, pos_label=1),
        "accuracy": accuracy_score,
    }
    drawn = {} if replicates is None else {"n_boot": replicates, "ci_quantiles": [0.025, 0.975], "random_state": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return metrics.MetricFrame(
            metrics=functions, y_true=table.labels["l0"], y_pred=table.decisions["l0"],
            sensitive_features=table.attributes["group"], **drawn,
        )  # fmt: skip


def _ten_times(sizes: Sizes) -> tuple[list[Target], dict[str, Any]]:
    """What ten times the rows cost: the sketch follows the rows, the draw does not."""
    closed, closed_facts = _growth(sizes, most=3)
    _, open_facts = _growth(sizes, most=None)
    peer = f"{sizes.rows // 10:,} rows"
    return [
        Target(name="sketch of ten times the rows", value=closed[0], unit="x", op="<=", goal=11.0, peer=peer),
        Target(name="draw of ten times the rows", value=closed[1], unit="x", op="<=", goal=1.2, peer=peer),
    ], {
        "ten_times_up_to_3_studies_a_patient": closed_facts,
        "ten_times_any_number_of_studies_a_patient": open_facts,
    }  # fmt: skip


def _growth(sizes: Sizes, *, most: int | None) -> tuple[tuple[float, float], dict[str, Any]]:
    """How many times as long sketch and draw take. The draw follows the distinct vectors, which are told too."""
    protocol = _protocol(sizes.labels, sizes.replicates)
    made = partial(_table, labels=sizes.labels, groups=sizes.groups, most=most)
    tables = [made(rows=rows) for rows in (sizes.rows // 10, sizes.rows)]
    sketches = [CountsSketch.from_table(protocol, table) for table in tables]
    sketched: list[list[float]] = [[], []]
    drawn: list[list[float]] = [[], []]
    for _ in range(2 * sizes.repeats):
        for place in (0, 1):
            sketched[place].append(_timed(partial(CountsSketch.from_table, protocol, tables[place]))[0])
            drawn[place].append(_timed(partial(_draw_all, sketches[place], sizes.replicates, resample_totals))[0])
    seconds = [[min(item) for item in side] for side in (sketched, drawn)]
    ratios = (seconds[0][1] / seconds[0][0], seconds[1][1] / seconds[1][0])
    return ratios, {
        "sketch_seconds": [round(item, 4) for item in seconds[0]],
        "draw_seconds": [round(item, 4) for item in seconds[1]],
        "distinct_vectors": [sum(len(cells.counts) for cells in sketch.cells.values()) for sketch in sketches],
        "ratios": [round(item, 2) for item in ratios],
    }


def _hard(sizes: Sizes) -> tuple[list[Target], dict[str, Any]]:
    """Groups that vary between the studies of a patient: tens of thousands of distinct vectors."""
    protocol = _protocol(sizes.hard_labels, sizes.hard_replicates)
    table = _table(
        rows=sizes.hard_rows, labels=sizes.hard_labels, groups=sizes.groups, patients=sizes.hard_rows * 3 // 8,
        most=None, within=True,
    )  # fmt: skip
    sketch = CountsSketch.from_table(protocol, table)
    cells = sketch.cells["l0", "group"]
    ours, plain, judging = [], [], []
    for _ in range(sizes.repeats):
        ours.append(_timed(partial(_draw, cells, sizes.hard_replicates, resample_totals))[0])
        plain.append(_timed(partial(_draw, cells, sizes.hard_replicates, plain_draw))[0])
        judging.append(_timed(partial(_judge, protocol, sketch))[0])
    target = Target(
        name=f"speed of a draw over {len(cells.counts):,} distinct vectors, patients in several groups",
        value=min(plain) / min(ours), unit="x", op=">=", goal=2.0, peer="one multinomial over all vectors",
    )  # fmt: skip
    return [target], {
        "hard_draw_seconds": round(min(ours), 3),
        "hard_plain_draw_seconds": round(min(plain), 3),
        "hard_judge_seconds_per_label": round(min(judging) / sizes.hard_labels, 3),
    }


def plain_draw(vectors: Any, counts: Any, *, groups: int, replicates: int, rng: np.random.Generator) -> Floats:
    """What the draw would be without classes of equal vectors: one multinomial over all of them, in chunks."""
    patients, step = int(counts.sum()), max(1, 4_000_000 // len(counts))
    columns = vectors.astype(np.float64)
    parts = [
        rng.multinomial(patients, counts / patients, size=min(step, replicates - start)) @ columns
        for start in range(0, replicates, step)
    ]
    return np.concatenate(parts).reshape(replicates, groups, 4)


def _draw(cells: Cells, replicates: int, how: Callable[..., Floats]) -> Floats:
    groups = len(cells.groups)
    return how(cells.vectors, cells.counts, groups=groups, replicates=replicates, rng=generator(1, "benchmark"))


def _draw_all(sketch: CountsSketch, replicates: int, how: Callable[..., Floats]) -> None:
    for cells in sketch.cells.values():
        _draw(cells, replicates, how)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def _protocol(labels: int, replicates: int) -> Protocol:
    criterion = {"id": "gap", "metric": "equal_opportunity_difference", "attribute": "group", "direction": "at_most",
                 "margin": 0.1}  # fmt: skip
    return Protocol.from_dict(
        {
            "auscult_protocol": 1,
            "name": "benchmark",
            "title": "Benchmark",
            "labels": [{"name": f"l{place}"} for place in range(labels)],
            "attributes": [{"name": "group"}],
            "criteria": [criterion],
            "bootstrap": {"replicates": replicates},
        }
    )


def _table(
    *, rows: int, labels: int, groups: int, patients: int | None = None, most: int | None = 3, within: bool = False
) -> ShardTable:
    """Studies of patients who are alike within themselves, in one group unless ``within``.

    Args:
        patients: Three for five studies unless told otherwise.
        most: Studies that a patient has at most; None: there is no such bound, a few have many.
    """
    rng, patients = np.random.default_rng(0), patients or max(1, rows * 3 // 5)
    if most is None:
        more = rng.integers(0, patients, rows - patients)
    else:
        more = rng.choice((most - 1) * patients, rows - patients, replace=False) % patients
    owner = np.sort(np.concatenate([np.arange(patients), more]))
    codes = rng.integers(0, groups, rows) if within else rng.integers(0, groups, patients)[owner]
    names = np.array([f"g{code:02}" for code in range(groups)], dtype=object)
    truths, decisions = {}, {}
    for place in range(labels):
        share = 0.05 + 0.02 * place
        present = rng.random(rows) < rng.beta(4 * share, 4 * (1 - share), patients)[owner]
        truths[f"l{place}"] = present.astype(np.int8)
        decisions[f"l{place}"] = (rng.random(rows) < np.where(present, 0.8, 0.1)).astype(np.int8)
    return ShardTable(
        patient_ids=np.array([f"p{patient:07}" for patient in range(patients)], dtype=object)[owner],
        study_ids=np.arange(rows).astype(object),
        attributes={"group": names[codes]},
        labels=truths,
        decisions=decisions,
    )


if __name__ == "__main__":
    main()
