"""Linked synthetic patients: time, memory, likeness, use and privacy, beside SDV alone on the same tables.

python -m benchmarks.synthetic [--quick] [--json] [--keep FOLDER]

1. A generator is trained on simulated patients (at settings where nobody is perfect), with all parts; it makes as many.
2. Both are audited by the bundled protocol, against patients of a second simulated cohort that nothing was learnt from.
3. Privacy again with memorisers planted: a share of the patients that were made are replaced by copies of learnt ones;
   planted canaries are written into reports that were made.
4. SDV alone on the same tables: the time structure that HMA and PAR keep of the same series, and what they take.

Each stage runs in a process of its own, so that its peak of memory is its own. ``--keep`` goes on with what an earlier
run has finished there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import Target, publish
from benchmarks.synthetic_peers import series_by_sdv, tables_by_sdv
from benchmarks.synthetic_sets import Sizes, audit_sets, judged, patients_of, planted, simulate, spoken

ROOT = Path(__file__).resolve().parent.parent
QUICK = Sizes(patients=260, controls=240, effort=0.03, attacks=100, repeats=1, image_size=32, peers=40)
SHARES = (1.0, 0.3, 0.1)
AUDITED = ("fidelity", "crossmodal", "privacy")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    parser.add_argument("--keep", metavar="FOLDER", help="keep what is made there, and go on with what is there")
    parser.add_argument("--stage", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    sizes = QUICK if asked.quick else Sizes()
    if asked.stage:
        name, folder = asked.stage
        print(json.dumps(STAGES[name](sizes, Path(folder))))
        return
    if asked.keep:
        found = measure(Path(asked.keep), quick=asked.quick)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), quick=asked.quick)
    publish(targets_of(found, sizes), as_json=asked.json, facts={"sizes": asdict(sizes), **found})


def measure(folder: Path, *, quick: bool) -> dict[str, Any]:
    """What each stage found, by its name."""
    return {name: _apart(name, folder, quick=quick) for name in STAGES}


def _apart(stage: str, folder: Path, *, quick: bool) -> dict[str, Any]:
    """Run a stage in a process of its own, unless it was finished here before."""
    kept = folder / f"{stage}.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.synthetic", "--stage", stage, str(folder)]
    done = subprocess.run(
        [*command, *(["--quick"] if quick else [])], cwd=ROOT, env=os.environ | {"PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"The stage '{stage}' failed.")
    found = dict(json.loads(done.stdout.splitlines()[-1]))
    kept.write_text(json.dumps(found))
    return found


def _timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What work gives, its seconds, and the processor's."""
    started, used = time.perf_counter(), time.process_time()
    made = work()
    return made, {
        "seconds": round(time.perf_counter() - started, 2),
        "processor_seconds": round(time.process_time() - used, 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
    }


def data(sizes: Sizes, folder: Path) -> dict[str, Any]:
    for name, seed, patients in (
        ("real", 11, sizes.patients), ("control", 12, sizes.controls), ("redraw", 13, sizes.patients),
    ):  # fmt: skip
        simulate(folder / name, patients=patients, seed=seed, image_size=sizes.image_size)
    return {"settings": "HEADROOM, sizes told"}


def train(sizes: Sizes, folder: Path) -> dict[str, Any]:
    from synthetic.generators.linked import train_generator

    studies, settings = patients_of(folder / "real", sizes), sizes.settings()
    ends: dict[str, float] = {}
    started = time.perf_counter()

    def tell(share: float, message: str) -> None:
        role, _, rest = message.partition(": ")
        if rest.startswith(("done", "left out")):
            ends[role] = round(time.perf_counter() - started, 2)

    work = folder / "work"
    made, cost = _timed(
        lambda: train_generator(studies, folder / "generator", settings, tell=tell, resume=work)
    )  # fmt: skip
    parts = {
        role: round(end - before, 2) for (role, end), before in zip(ends.items(), [0, *ends.values()], strict=False)
    }
    return {
        **cost,
        "parts": parts,
        "left_out": made.body["left_out"],
        "digest": made.digest,
        "facts": made.body["facts"],
    }


def sample(sizes: Sizes, folder: Path) -> dict[str, Any]:
    from synthetic.generators.linked import load_generator
    from synthetic.generators.parts import Wish
    from synthetic.generators.reading import write_linked

    generator = load_generator(folder / "generator")
    made, cost = _timed(lambda: generator.sample(Wish(patients=sizes.patients), seed=5))
    write_linked(made.studies, folder / "made.parquet", metadata={})
    images = sum(item.n for item in made.acceptance)
    return {
        **cost,
        "patients_a_minute": round(60 * sizes.patients / cost["seconds"]),
        "accepted_at_first": round(sum(item.first for item in made.acceptance) / max(1, images), 4),
        "accepted": round(sum(item.accepted for item in made.acceptance) / max(1, images), 4),
        "flagged": {name: round(float(values.mean()), 4) for name, values in made.flags.items()},
    }


def audit(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """The whole protocol on what the generator made."""
    sets = audit_sets(folder, sizes, synthetic="made")
    found, cost = _timed(lambda: judged(folder, sets, sizes, suites=AUDITED))
    return {**cost, **found}


def utility(sizes: Sizes, folder: Path) -> dict[str, Any]:
    sets = audit_sets(folder, sizes, synthetic="made")
    found, cost = _timed(lambda: judged(folder, sets, sizes, suites=("utility",)))
    return {**cost, **found}


def multiples(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """What a learner gains from two and three times as many synthetic patients as it has real ones."""
    from synthetic.generators.linked import load_generator
    from synthetic.generators.parts import Wish
    from synthetic.generators.reading import write_linked
    from synthetic.suites.utility import audit_utility
    from synthetic.suites.utility_arms import REAL, SYNTHETIC, THRICE, TWICE

    sets = audit_sets(folder, sizes, synthetic="real")
    wanted = 3 * len(sets.learnt.patients)
    write_linked(load_generator(folder / "generator").sample(Wish(patients=wanted), seed=6).studies,
                 folder / "more.parquet", metadata={})  # fmt: skip
    more = audit_sets(folder, sizes, synthetic="more")
    figures, cost = _timed(lambda: audit_utility(more, seeds=sizes.repeats, arms=(REAL, SYNTHETIC, TWICE, THRICE)))
    arms = {item.of: item for item in figures if item.metric == "arm_gain" and item.value is not None}
    told = {name: {"gain": item.value, "error": item.error} for name, item in arms.items()}
    return {**cost, "synthetic_patients": wanted, "arms": told}


def honest(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Patients of the same simulator who were never learnt from: nothing of anybody is in them."""
    sets = audit_sets(folder, sizes, synthetic="redraw")
    found, cost = _timed(lambda: judged(folder, sets, sizes, suites=AUDITED, weights=False))
    return {**cost, **found}


def memorisers(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Privacy with copies of learnt patients among those who were made, and with planted canaries in their reports."""
    sets = audit_sets(folder, sizes, synthetic="made")
    found = {
        f"copies {share:g}": judged(folder, planted(sets, share), sizes, suites=("privacy",), weights=False)
        for share in SHARES
    }
    return found | {"canaries": judged(folder, spoken(folder, sets), sizes, suites=("privacy",))}


def sdv_tables(sizes: Sizes, folder: Path) -> dict[str, Any]:
    return tables_by_sdv(patients_of(folder / "real", sizes))


def sdv_series(sizes: Sizes, folder: Path) -> dict[str, Any]:
    return series_by_sdv(patients_of(folder / "real", sizes), patients=sizes.peers)


STAGES: Mapping[str, Callable[[Sizes, Path], dict[str, Any]]] = {
    "data": data, "train": train, "sample": sample, "audit": audit, "honest": honest, "memorisers": memorisers,
    "sdv_tables": sdv_tables, "sdv_series": sdv_series, "utility": utility,
    "multiples": multiples,
}  # fmt: skip


def targets_of(found: Mapping[str, Any], sizes: Sizes) -> list[Target]:
    values = {**found["audit"]["values"], **found["utility"]["values"]}
    sdv = "SDV alone"
    told = found["sdv_series"]["lag1_difference"]
    beside = f"HMA {told['HMA']:.2f}, PAR {told['PAR']:.2f} off"
    peaks = [found[name]["peak_gib"] for name in ("train", "sample", "audit", "utility")]
    learners = f"learners {found['utility']['seconds'] / 60:.1f} min"
    made = [name for name, outcome in found["audit"]["privacy_outcomes"].items() if outcome == "fail"]
    honest = [name for name, outcome in found["honest"]["outcomes"].items() if outcome == "fail"]
    caught = [name for name, item in found["memorisers"].items() if item["privacy"] == "fail"]
    rows: list[tuple[str, float | None, str, str, float, str]] = [
        ("training", found["train"]["seconds"] / 60, "min", "<=", 12, f"{sdv}: {found['sdv_tables']['seconds']} s"),
        ("sampling", found["sample"]["patients_a_minute"], "patients/min", ">=", 2000, sdv),
        ("audit without learners", found["audit"]["seconds"] / 60, "min", "<=", 4, learners),
        ("memory", max(peaks), "GiB", "<=", 4, sdv),
        ("lag-1, worst series", _worst(values, "series_lag1"), "", "<=", 0.05, beside),
        ("finding agreement, least", _least(values, "finding_agreement"), "of real", ">=", 0.95, "real images"),
        ("side agreement, least", _least(values, "side_agreement"), "of real", ">=", 0.90, "real images"),
        ("zone agreement, least", _least(values, "zone_agreement"), "of real", ">=", 0.80, "real images"),
        ("TSTR - TRTR", _least(values, "tstr_minus_trtr"), "macro AUROC", ">=", -0.05, "real patients"),
        ("privacy gates that the generator fails", float(len(made)), "", "<=", 0, "planted memorisers"),
        ("gates that a redraw fails", float(len(honest)), "", "<=", 0, "the simulator itself"),
        ("planted defects that fail", float(len(caught)), f"of {len(found['memorisers'])}", ">=", 4, "gates"),
    ]
    return [
        Target(name=name, value=float("nan") if value is None else value, unit=unit, op=op, goal=goal, peer=peer)
        for name, value, unit, op, goal, peer in rows
    ]


def _of(values: Mapping[str, Any], metric: str) -> list[float]:
    return [value for key, value in values.items() if key.partition("|")[0] == metric and value is not None]


def _least(values: Mapping[str, Any], metric: str) -> float | None:
    return min(_of(values, metric), default=None)


def _worst(values: Mapping[str, Any], metric: str) -> float | None:
    return max((float(np.abs(value)) for value in _of(values, metric)), default=None)


if __name__ == "__main__":
    main()
