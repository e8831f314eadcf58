"""Do the intervals cover, do equal groups pass for equal, and is a bias of known size found?

On simulated patients with several studies each, through the same sketch, bootstrap and judgement as an audit:

1. coverage of the 95 % intervals of sensitivity, of the false positive rate and of the difference in sensitivity
   between two groups that truly differ by .10, over sizes, rates and studies per patient; beside a bootstrap of rows;
2. how often a protocol of several labels, groups and criteria fails although all groups are equal, at margin 0;
3. how often two groups fail, 200 patients with the finding in each: equal groups and a gap of .10 against margin 0
   (false failures and power), a gap of .10 and of .20 against margin .10 (false failures at the margin, and power);
   for this engine, for a bootstrap of rows and for fairlearn's ``MetricFrame(n_boot=...)``;
4. what is covered when one group is sicker: its own (marginal) rate, not what it would be at equal severity.

Patients differ: each has a rate of its own, from a beta distribution around the group's, so that the studies of one
patient agree more often than those of two (intraclass correlation ICC).
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.result import Target, publish
from evaluation.engine import Outcome, Protocol
from evaluation.engine.judging import CriterionTest, Region, judge
from evaluation.engine.sketches.counts import Cells
from evaluation.engine.sketches.segments import distinct
from evaluation.engine.statistics.intervals import wilson, z_of
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.suites.fairness.groups import LabelGroups
from evaluation.engine.suites.fairness.rates import GAPS
from evaluation.engine.suites.fairness.wording import wording_of

Ints = npt.NDArray[np.int64]
ALPHA, ICC, DRAWS = 0.05, 0.3, 1000
SIZES, RATES, STUDIES = (30, 60, 200, 1000), (0.5, 0.8, 0.95), ("1", "1-5", "4")
GAP, FPR = 0.1, 0.1
SCENES = {
    "equal groups, margin 0": (0.0, 0.0),
    "gap .10, margin 0": (0.1, 0.0),
    "gap .10, margin .10": (0.1, 0.1),
    "gap .20, margin .10": (0.2, 0.1),
}
BEST = 0.8
"""Sensitivity of the group that is better off, in the scenes."""
PEER_DRAWS = 100
MARGINS = ("equal_opportunity_difference", "fpr_difference", "demographic_parity_difference")


@dataclass(frozen=True, kw_only=True)
class Group:
    """How the patients of one group are made: ``size`` with the finding and as many without.

    Attributes:
        studies: ``1``, ``4``, or ``1-5``: any number from one to five, equally often.
        severe: Share of severe cases; of those ``tpr + .2`` of the studies are found, of the others ``tpr - .1``.
    """

    size: int
    studies: str
    tpr: float
    fpr: float = FPR
    severe: float | None = None

    def draw(self, rng: np.random.Generator) -> Ints:
        """Studies of each patient by cell, int64 [2 size, 4]."""
        truth = np.full(self.size, self.tpr)
        if self.severe is not None:
            truth = truth + np.where(rng.random(self.size) < self.severe, 0.2, -0.1)
        made = np.zeros((2 * self.size, 4), dtype=np.int64)
        made[: self.size, [0, 2]] = self._studies(truth, rng)
        made[self.size :, [1, 3]] = self._studies(np.full(self.size, self.fpr), rng)
        return made

    def _studies(self, mean: npt.NDArray[np.float64], rng: np.random.Generator) -> Ints:
        spread = 1 / ICC - 1
        low, high = {"1": (1, 1), "4": (4, 4), "1-5": (1, 5)}[self.studies]
        number = rng.integers(low, high + 1, self.size)
        positive = rng.binomial(number, rng.beta(mean * spread, (1 - mean) * spread))
        return np.stack([positive, number - positive], axis=1).astype(np.int64)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--replicates", type=int, default=500, help="simulated audits of each setting")
    parser.add_argument("--quick", action="store_true", help="few settings: shows that it runs, measures little")
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    targets, facts = measure(asked.replicates, quick=asked.quick)
    publish(targets, as_json=asked.json, facts=facts | {"seconds": round(time.monotonic() - started)})


def measure(replicates: int, *, quick: bool = False) -> tuple[list[Target], dict[str, Any]]:
    """Run every simulation, in two processes unless ``quick``."""
    grid = list(product((30,), (0.8,), ("1-5",)) if quick else product(SIZES, RATES, STUDIES))
    peers = {scene: min(replicates, 500 if margin else 60) for scene, (_, margin) in SCENES.items()}
    draws = 3 if quick else PEER_DRAWS
    scenes = list(product(SCENES, ("1-5",) if quick else ("1", "1-5")))
    jobs: list[tuple[str, Callable[[int, int], Counter[str]], int]] = [
        *((f"fairlearn|{scene}", partial(peer_power, scene, draws), count) for scene, count in peers.items()),
        *((_name(*setting), partial(coverage, *setting), replicates) for setting in grid),
        *((f"equal|{studies}", partial(equal_groups, studies, quick), replicates) for studies in ("1", "1-5")),
        *((f"power|{scene}|{studies}", partial(power, scene, studies), 4 * replicates) for scene, studies in scenes),
        ("severity", severity, replicates),
    ]
    found = _run(jobs, parallel=not quick)
    parts = (_told_coverage(found, grid), _told_equal(found), _told_power(found, scenes), _told_severity(found))
    facts: dict[str, Any] = {"replicates": replicates, "fairlearn_replicates": peers, "fairlearn_draws": draws}
    facts["replicates of the shares that fail"] = 4 * replicates
    for _, told in parts:
        facts |= told
    return [target for targets, _ in parts for target in targets], facts


def _run(
    jobs: Sequence[tuple[str, Callable[[int, int], Counter[str]], int]], *, parallel: bool
) -> dict[str, Counter[str]]:
    """Every job in pieces of at most 50 replicates. Each replicate has its own seed, so pieces do not matter."""
    pieces = [
        (name, work, start, stop)
        for name, work, count in jobs
        for start, stop in pairwise([*range(0, count, 50), count])
    ]
    found: dict[str, Counter[str]] = {name: Counter() for name, _, _ in jobs}
    if not parallel:
        for name, work, start, stop in pieces:
            found[name] += work(start, stop)
        return found
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of the processes that start now
    with ProcessPoolExecutor(2) as pool:
        waiting = [(name, pool.submit(work, start, stop)) for name, work, start, stop in pieces]
        for name, future in waiting:
            found[name] += future.result()
    return found


def _name(size: int, rate: float, studies: str) -> str:
    return f"{size}|{rate}|{studies}"


def coverage(size: int, rate: float, studies: str, start: int, stop: int) -> Counter[str]:
    """How often intervals hold the truth. The second group's sensitivity is lower by GAP."""
    found: Counter[str] = Counter()
    for number in range(start, stop):
        rng = generator(number, "coverage", _name(size, rate, studies))
        groups = [Group(size=size, studies=studies, tpr=rate), Group(size=size, studies=studies, tpr=rate - GAP)]
        part = _judged([group.draw(rng) for group in groups], number)
        for group, name in zip(groups, part.groups, strict=True):
            found["tpr trials"] += 1
            found["tpr"] += _holds(part.interval("tpr", name)[0], group.tpr)
            found["fpr"] += _holds(part.interval("fpr", name)[0], group.fpr)
            found["tpr, rows drawn"] += _holds(_row_bootstrap(part, [name], rng), group.tpr)
        pair = part.pair_contrasts(["tpr"])[0]
        found["trials"] += 1
        found["difference"] += pair.low <= (GAP if pair.groups[0] == part.groups[0] else -GAP) <= pair.high
        found["difference, rows drawn"] += _holds(_row_bootstrap(part, part.groups, rng), GAP)
    return found


def equal_groups(studies: str, quick: bool, start: int, stop: int) -> Counter[str]:
    """How often a protocol fails on equal groups: any criterion, any label, any pair of groups, margin 0."""
    labels, size = (1, 2) if quick else (4, 6)
    protocol = _protocol(margin=0.0, metrics=MARGINS, labels=labels)
    found: Counter[str] = Counter()
    for number in range(start, stop):
        rng = generator(number, "equal", studies)
        group = Group(size=60, studies=studies, tpr=BEST)
        parts = [_judged([group.draw(rng) for _ in range(size)], number, label) for label in protocol.label_names]
        tests = [_test(protocol, part, metric) for part in parts for metric in MARGINS]
        found["trials"] += 1
        found["fails"] += any(item.outcome is Outcome.FAIL for item in judge(tests, alpha=ALPHA))
    return found


def power(scene: str, studies: str, start: int, stop: int) -> Counter[str]:
    """How often the two groups fail, by this engine and by a bootstrap of rows."""
    gap, margin = SCENES[scene]
    protocol = _protocol(margin=margin)
    found: Counter[str] = Counter()
    for number in range(start, stop):
        rng = generator(number, "power", scene, studies)
        part = _judged(_scene(gap, studies, rng), number)
        verdict = judge([_test(protocol, part, MARGINS[0])], alpha=ALPHA)[0]
        low, high = _row_bootstrap(part, part.groups, rng)
        found["trials"] += 1
        found["auscult"] += verdict.outcome is Outcome.FAIL
        found["rows drawn"] += low > margin or high < -margin
    return found


def peer_power(scene: str, draws: int, start: int, stop: int) -> Counter[str]:
    """The same by fairlearn: fails where the 95 % interval of its largest difference lies above the margin.

    Its difference has no sign, so that against margin 0 it can hardly do anything but fail. Among the studies with the
    finding, the selection rate is the sensitivity.
    """
    from fairlearn import metrics

    gap, margin = SCENES[scene]
    found: Counter[str] = Counter()
    for number in range(start, stop):
        rng = generator(number, "power", scene, "1-5")
        positive = np.stack([made[:, [0, 2]].sum(axis=0) for made in _scene(gap, "1-5", rng)])
        decided = np.repeat(np.tile([1, 0], 2), positive.ravel())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = metrics.MetricFrame(
                metrics=metrics.selection_rate, y_true=np.ones_like(decided), y_pred=decided,
                sensitive_features=np.repeat([0, 1], positive.sum(axis=1)), n_boot=draws,
                ci_quantiles=[ALPHA / 2, 1 - ALPHA / 2], random_state=number,
            )  # fmt: skip
            low = float(frame.difference_ci()[0])
        found["trials"] += 1
        found["fairlearn"] += low > margin
    return found


def _scene(gap: float, studies: str, rng: np.random.Generator) -> list[Ints]:
    return [Group(size=200, studies=studies, tpr=tpr).draw(rng) for tpr in (BEST, BEST - gap)]


def severity(start: int, stop: int) -> Counter[str]:
    """At equal severity both groups are treated alike; the second has twice as many severe cases."""
    found: Counter[str] = Counter()
    for number in range(start, stop):
        rng = generator(number, "severity")
        groups = [Group(size=200, studies="1-5", tpr=0.7, severe=share) for share in (0.3, 0.6)]
        truths = [0.7 - 0.1 + 0.3 * share for share in (0.3, 0.6)]
        part = _judged([group.draw(rng) for group in groups], number)
        for name, truth in zip(part.groups, truths, strict=True):
            found["group trials"] += 1
            found["rate"] += _holds(part.interval("tpr", name)[0], truth)
        pair = part.pair_contrasts(["tpr"])[0]
        gap = truths[0] - truths[1]
        found["trials"] += 1
        found["marginal"] += pair.low <= (gap if pair.groups[0] == part.groups[0] else -gap) <= pair.high
        found["equal severity"] += pair.low <= 0 <= pair.high
        alike = [Group(size=200, studies="1-5", tpr=0.7, severe=1.0).draw(rng) for _ in range(2)]
        pair = _judged(alike, number).pair_contrasts(["tpr"])[0]
        found["within severe"] += pair.low <= 0 <= pair.high
    return found


def _judged(drawn: Sequence[Ints], number: int, label: str = "l0") -> LabelGroups:
    """The rates of these groups, from a sketch as it would have come from rows."""
    size = len(drawn)
    wide = np.zeros((sum(map(len, drawn)), size, 4), dtype=np.int64)
    owner = np.repeat(np.arange(size), [len(part) for part in drawn])
    wide[np.arange(len(wide)), owner] = np.concatenate(drawn)
    vectors, counts = distinct(wide.reshape(len(wide), 4 * size), np.ones(len(wide), dtype=np.int64))
    names = tuple(f"g{place}" for place in range(size))
    cells = Cells(groups=names, vectors=vectors, counts=counts, silent=np.zeros((size, 2), dtype=np.int64))
    return LabelGroups(_protocol(seed=number), label, "group", cells)


def _protocol(*, margin: float = 0.1, metrics: Sequence[str] = MARGINS[:1], labels: int = 1, seed: int = 0) -> Protocol:
    return Protocol.from_dict(
        {
            "auscult_protocol": 1,
            "name": "validity",
            "title": "Validity",
            "labels": [{"name": f"l{place}"} for place in range(labels)],
            "attributes": [{"name": "group"}],
            "criteria": [
                {"id": name.replace("_", "-"), "metric": name, "attribute": "group", "direction": "at_most",
                 "margin": margin}
                for name in metrics
            ],
            "alpha": ALPHA,
            "bootstrap": {"replicates": DRAWS},
            "seed": seed,
        }
    )  # fmt: skip


def _test(protocol: Protocol, part: LabelGroups, metric: str) -> CriterionTest:
    criterion = next(item for item in protocol.criteria if item.metric == metric)
    return CriterionTest(
        criterion=criterion,
        label=part.label,
        attribute=part.attribute,
        region=Region(low=-criterion.margin, high=criterion.margin),
        contrasts=part.pair_contrasts(GAPS[metric]),
        shortfalls=part.shortfalls(GAPS[metric]),
        wording=wording_of(protocol, criterion, part.label, part.attribute),
    )


def _row_bootstrap(part: LabelGroups, names: Sequence[str], rng: np.random.Generator) -> tuple[float, float]:
    """Percentile interval of sensitivity, or of the first less the second, when studies of a group are drawn singly."""
    rates = [part.rate("tpr", name) for name in names]
    drawn = [rng.binomial(rate.n, rate.value or 0.0, DRAWS) / rate.n for rate in rates]
    low, high = np.quantile(drawn[0] - drawn[1] if len(drawn) > 1 else drawn[0], [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


def _holds(interval: tuple[float, float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def _told_coverage(
    found: dict[str, Counter[str]], grid: Sequence[tuple[int, float, str]]
) -> tuple[list[Target], dict[str, Any]]:
    """Mean coverage over the grid, and every setting; ``outside`` are those beyond simulation error."""
    keys = [_name(*setting) for setting in grid]
    kinds = {"tpr": "tpr trials", "fpr": "tpr trials", "tpr, rows drawn": "tpr trials", "difference": "trials",
             "difference, rows drawn": "trials"}  # fmt: skip
    table = {kind: {key: found[key][kind] / found[key][of] for key in keys} for kind, of in kinds.items()}
    outside = {
        kind: {
            key: round(share, 3)
            for key, share in table[kind].items()
            if not wilson(share, found[key][kinds[kind]], z_of(0.05))[0] <= 0.96
            or not wilson(share, found[key][kinds[kind]], z_of(0.05))[1] >= 0.94
        }
        for kind in ("tpr", "fpr", "difference")
    }
    targets = [
        Target(name=f"mean coverage of 95 % intervals, {kind}", value=float(np.mean(list(table[kind].values()))),
               unit="", op=op, goal=goal, peer=f"a bootstrap of rows: {_peer(table, kind)}")
        for kind in ("tpr", "fpr", "difference")
        for op, goal in ((">=", 0.94), ("<=", 0.96))
    ]  # fmt: skip
    facts: dict[str, Any] = {
        f"coverage of {kind}, {size} patients with the finding a group": {
            f"rate {rate}, {studies} studies": round(row[_name(size, rate, studies)], 3)
            for other, rate, studies in grid
            if other == size
        }
        for kind, row in table.items()
        for size in dict.fromkeys(setting[0] for setting in grid)
    }
    return targets, facts | {"coverage outside 94 to 96 beyond simulation error": outside}


def _peer(table: dict[str, dict[str, float]], kind: str) -> str:
    row = table.get(f"{kind}, rows drawn")
    return f"{np.mean(list(row.values())):.3f}" if row else "not measured"


def _told_equal(found: dict[str, Counter[str]]) -> tuple[list[Target], dict[str, Any]]:
    shares = {studies: found[f"equal|{studies}"] for studies in ("1", "1-5")}
    targets = [
        Target(name=f"protocols that fail on equal groups, margin 0, {studies} studies a patient",
               value=item["fails"] / item["trials"], unit="", op="<=", goal=ALPHA, peer="alpha")
        for studies, item in shares.items()
    ]  # fmt: skip
    told = {
        studies: [round(end, 3) for end in wilson(item["fails"] / item["trials"], item["trials"], z_of(0.05))]
        for studies, item in shares.items()
    }
    return targets, {"false_fail_95_interval": told}


def _told_power(
    found: dict[str, Counter[str]], scenes: Sequence[tuple[str, str]]
) -> tuple[list[Target], dict[str, Any]]:
    """Power is told; false failures are held against alpha, less what chance may add in so few replicates."""
    facts, targets = {}, []
    for scene, studies in scenes:
        ours, theirs = found[f"power|{scene}|{studies}"], found[f"fairlearn|{scene}"]
        shares = {name: ours[name] / ours["trials"] for name in ("auscult", "rows drawn")}
        if studies == "1-5":
            shares["fairlearn"] = theirs["fairlearn"] / theirs["trials"]
        facts[f"share that fails: {scene}, {studies} studies"] = {name: round(x, 3) for name, x in shares.items()}
        if scene.startswith(("equal", "gap .10, margin .10")):
            targets.append(
                Target(name=f"false failures less simulation error: {scene}, {studies} studies",
                       value=wilson(shares["auscult"], ours["trials"], z_of(0.05))[0], unit="", op="<=", goal=ALPHA,
                       peer=", ".join(f"{name} {x:.3f}" for name, x in shares.items()))
            )  # fmt: skip
    return targets, facts


def _told_severity(found: dict[str, Counter[str]]) -> tuple[list[Target], dict[str, Any]]:
    item = found["severity"]
    facts = {
        "coverage of the groups' own rates": item["rate"] / item["group trials"],
        "coverage of the difference of these, -.09": item["marginal"] / item["trials"],
        "coverage of 0, the difference at equal severity, by that interval": item["equal severity"] / item["trials"],
        "coverage of 0 among severe cases alone": item["within severe"] / item["trials"],
    }
    return [], {"one group is sicker": {name: round(value, 3) for name, value in facts.items()}}


if __name__ == "__main__":
    main()
