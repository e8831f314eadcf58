"""Is what was planted what is measured? Hallucinations of a known rate in simulated reports, through a whole audit.

Simulated experts' reports are copied as a model's, and at a rate of 0, 2, 5 or 10 % something is put into them that is
not so: a nodule that is not there (of each report), the other side (of each finding with a side), a comparison with a
study that was not given (of each report). Each patient has a rate of its own, from a beta distribution around the
planted one, so that errors of one patient are alike. Every run reads its texts, makes sketches, measures and judges as
an audit does. Told are:

1. how often the 95 % interval of each rate holds the planted one;
2. how often the verdict is wrong, for a margin of .05: a failure although the rate is at most .05, a pass although it
   is above; and how often it is not reached.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.result import Target, publish
from evaluation.engine import Outcome, Protocol, ShardTable
from evaluation.engine.assessment import assess
from evaluation.engine.sketch import sketch_shard
from evaluation.engine.statistics.seeds import generator

RATES = (0.0, 0.02, 0.05, 0.10)
MARGIN, PATIENTS, POOL, ICC = 0.05, 150, 3000, 0.3
INVENTED, COMPARED = " There is a nodule in the right upper lobe.", " Unchanged since the prior study."
OTHER = {"left": "right", "right": "left"}
METRICS = ("chair_s", "chair_i", "laterality_error", "prior_hallucination")
COVERED = 0.94


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=1000, help="simulated audits of each rate")
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    targets, facts = measure(asked.runs)
    publish(targets, as_json=asked.json, facts=facts | {"seconds": round(time.monotonic() - started)})


def measure(runs: int) -> tuple[list[Target], dict[str, Any]]:
    """Every run of every rate, in two processes where there are many."""
    pieces = [(rate, *ends) for rate in RATES for ends in pairwise([*range(0, runs, 50), runs])]
    found: dict[float, Counter[str]] = {rate: Counter() for rate in RATES}
    if runs < 50:
        for rate, start, stop in pieces:
            found[rate] += planted(rate, start, stop)
    else:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of the processes that start now
        with ProcessPoolExecutor(2) as pool:
            for (rate, *_), part in zip(pieces, pool.map(planted, *zip(*pieces, strict=True)), strict=True):
                found[rate] += part
    return _told(found, runs)


def _told(found: dict[float, Counter[str]], runs: int) -> tuple[list[Target], dict[str, Any]]:
    targets: list[Target] = []
    facts: dict[str, Any] = {"runs of each rate": runs, "patients of a run": PATIENTS, "margin": MARGIN}
    for rate, counts in found.items():
        for metric in METRICS:
            targets.append(
                Target(
                    name=f"{metric}, planted {rate:.0%}: interval holds it", value=counts[metric] / runs,
                    unit="of runs", op=">=", goal=COVERED, peer="95 % that the interval claims",
                )
            )  # fmt: skip
        for metric in ("chair_s", "prior_hallucination", "laterality_error"):
            wrong = "passes" if rate > MARGIN else "fails"
            targets.append(
                Target(
                    name=f"{metric}, planted {rate:.0%}: {wrong} wrongly at margin {MARGIN}",
                    value=counts[f"{metric} {wrong}"] / runs, unit="of runs", op="<=", goal=MARGIN,
                    peer="5 % that a verdict may be wrong",
                )
            )  # fmt: skip
            told = {name: counts[f"{metric} {name}"] / runs for name in ("passes", "fails", "lacks evidence")}
            facts[f"{metric}, planted {rate:.0%}"] = told
    return targets, facts


def planted(rate: float, start: int, stop: int) -> Counter[str]:
    """Runs ``start`` up to ``stop`` of one rate: what the intervals held, and the verdicts."""
    found: Counter[str] = Counter()
    for number in range(start, stop):
        rng = generator(number, "planted", f"{rate}")
        assessed = assess(_protocol(), sketch_shard(_protocol(), _table(rate, rng)), cross_check=False)
        rows = {row.metric: row for row in assessed.measurements if not row.attribute}
        for metric in METRICS:
            row, truth = rows[metric], _truth(metric, rate)
            found[metric] += row.low is not None and row.high is not None and row.low <= truth <= row.high
        for verdict in assessed.verdicts:
            word = {Outcome.PASS: "passes", Outcome.FAIL: "fails", Outcome.INSUFFICIENT: "lacks evidence"}
            found[f"{verdict.metric} {word[verdict.outcome]}"] += 1
    return found


def _truth(metric: str, rate: float) -> float:
    """What was planted, in the terms of a metric: of asserted findings, the invented ones."""
    return rate / (rate + _pool()[1]) if metric == "chair_i" else rate


@cache
def _pool() -> tuple[list[list[str]], float]:
    """Experts' reports of each simulated patient, without comparisons; findings that a report asserts on average."""
    from evaluation.engine.text.claims import findings_of, positives_of
    from synthetic.simulator.patients import draw_studies
    from synthetic.simulator.settings import SimulatorSettings
    from synthetic.simulator.texts import write_references

    studies = draw_studies(SimulatorSettings(patients=POOL, seed=7), np.random.default_rng(7))
    reports: list[list[str]] = [[] for _ in range(POOL)]
    asserted = []
    for patient, text in zip(studies.patient.tolist(), write_references(studies), strict=True):
        plain = " ".join(part for part in re.split(r"(?<=\.) ", text) if "prior study" not in part)
        reports[patient].append(plain)
        asserted.append(len(positives_of(findings_of(plain))))
    return reports, float(np.mean(asserted))


def _table(rate: float, rng: np.random.Generator) -> ShardTable:
    """Reports of some patients of the pool with errors planted."""
    reports, _ = _pool()
    names: list[str] = []
    pairs: list[tuple[str, str]] = []
    for place, patient in enumerate(rng.integers(0, POOL, PATIENTS).tolist()):
        own = rng.beta(rate * (1 / ICC - 1), (1 - rate) * (1 / ICC - 1), 3) if rate else np.zeros(3)
        for expert in reports[patient]:
            names.append(f"p{place:04d}")
            pairs.append((expert, _worsened(expert, own.tolist(), rng)))
    made = np.array(pairs, dtype=object)
    return ShardTable(
        patient_ids=np.array(names, dtype=object),
        study_ids=np.array([f"s{row:05d}" for row in range(len(names))], dtype=object),
        attributes={},
        labels={},
        texts={"reference": made[:, 0], "generated": made[:, 1]},
    )


def _worsened(text: str, rates: list[float], rng: np.random.Generator) -> str:
    sentences = re.split(r"(?<=\.) ", text)
    for place, sentence in enumerate(sentences):
        if re.search(r"\b(left|right)\b", sentence) and rng.random() < rates[1]:
            sentences[place] = re.sub(r"\b(left|right)\b", lambda side: OTHER[side[0]], sentence)
    invented = INVENTED if rng.random() < rates[0] else ""
    return " ".join(sentences) + invented + (COMPARED if rng.random() < rates[2] else "")


@cache
def _protocol() -> Protocol:
    criteria = [
        {"id": metric, "metric": metric, "direction": "at_most", "margin": MARGIN}
        for metric in ("chair_s", "prior_hallucination", "laterality_error")
    ]
    return Protocol.from_dict({
        "auscult_protocol": 1, "name": "planted", "title": "Planted hallucinations", "suites": ["hallucination"],
        "labels": [], "reports": {"findings": ["*"]}, "criteria": criteria,
    })  # fmt: skip


if __name__ == "__main__":
    main()
