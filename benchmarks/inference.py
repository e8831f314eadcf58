"""An audit through the services and Celery workers, beside bare PyTorch loops over the same batches.

Both sides read the same shards, decode the same pictures and run the same weights with the same number of threads.
The loop decodes in line; the audit also checks digests, writes progress, caches predictions, reduces to sketches,
merges, measures, judges and keeps evidence. Models are loaded and warm on both sides, and the sides take turns, so
that whatever else the machine does meets both.

(a) the reference model at 64 px; (b) a vision transformer of 21.7 million parameters at 224 px; (c) two workers beside
one, each with one thread; (d) a second audit by another protocol, from the cache of predictions.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.inference_subjects import Bench, Reference, VisionTransformer
from benchmarks.result import Target, publish
from config.embedded.stack import ROOT, Stack

PATIENTS, PICTURES = 6000, 260
REPEATS = 3
PORT = 8931
PARTS = ("reference", "vit", "workers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--patients", type=int, default=PATIENTS)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="Patients of the vision transformer.")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", choices=PARTS, help="Measure this part only.")
    arguments = parser.parse_args()
    if arguments.only:
        patients = arguments.pictures if arguments.only == "vit" else arguments.patients
        targets, facts = MEASURES[arguments.only](patients, arguments.repeats)
    else:
        targets, facts = _all_parts(sys.argv[1:])
    publish(targets, as_json=arguments.json, facts=facts | {"repeats": arguments.repeats})


def _all_parts(given: list[str]) -> tuple[list[Target], dict[str, Any]]:
    """Each part in a process of its own: settings and the broker's connections are for one stack."""
    targets: list[Target] = []
    facts: dict[str, Any] = {}
    for part in PARTS:
        command = [sys.executable, "-m", "benchmarks.inference", *given, "--json", "--only", part]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        body = json.loads(done.stdout.splitlines()[-1])
        targets += [Target(**{name: item[name] for name in Target.__annotations__}) for item in body["targets"]]
        facts |= body["facts"]
    return targets, facts


@contextmanager
def running(**environment: str) -> Iterator[Bench]:
    """A stack in a folder of its own; the environment is its services'."""
    home = Path(tempfile.mkdtemp(prefix="auscult-bench-"))
    os.environ.update(environment)
    try:
        with Stack(home=home, port=PORT, tell=lambda text: print(text, file=sys.stderr)) as stack:
            os.environ.update(stack.environment)
            import django

            django.setup()
            yield Bench(stack)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def measure_reference(patients: int, repeats: int) -> tuple[list[Target], dict[str, Any]]:
    """Speed beside the bare loop, and a second audit from the cache."""
    with running() as bench:
        subject = Reference(bench, patients=patients)
        audits, loops = _turns(bench, subject, repeats)
        steps, processor = bench.steps, _rounded(bench.processor)
        second = [bench.audit(subject, cached=True) for _ in range(repeats)]
        name = "the reference model at 64 px"
        return [_share_of_loop(name, audits, loops), _from_cache(name, audits, second)], {
            "reference": _facts(subject, audit=audits, bare_loop=loops, cached=second)
            | {"seconds_of_the_last_audit": steps, "seconds_of_the_last_cached": bench.steps}
            | {"processor_seconds": processor}
        }


def measure_vit(patients: int, repeats: int) -> tuple[list[Target], dict[str, Any]]:
    """The same for a model that computes far longer for each study."""
    with running() as bench:
        subject = VisionTransformer(bench, patients=patients)
        audits, loops = _turns(bench, subject, repeats)
        steps, processor = bench.steps, _rounded(bench.processor)
        second = [bench.audit(subject, cached=True) for _ in range(repeats)]
        name = "a vision transformer at 224 px"
        return [_share_of_loop(name, audits, loops), _from_cache(name, audits, second)], {
            "vit": _facts(subject, audit=audits, bare_loop=loops, cached=second)
            | {"seconds_of_the_last_audit": steps, "seconds_of_the_last_cached": bench.steps}
            | {"processor_seconds": processor}
        }


def measure_workers(patients: int, repeats: int) -> tuple[list[Target], dict[str, Any]]:
    """Two workers with one thread each, and the same stack with one of them told to take no work."""
    from config.celery import app

    with running(AUSCULT_GPU_WORKERS="2", AUSCULT_THREADS="1") as bench:
        subject = Reference(bench, patients=patients)
        times: dict[str, list[float]] = {"one": [], "two": []}
        processor: dict[str, float] = {}
        resting = ["gpu2@auscult"]
        for turn in range(2 * repeats + 2):
            which = "one" if turn % 2 else "two"
            order: Callable[..., Any] = app.control.cancel_consumer if which == "one" else app.control.add_consumer
            order("gpu", destination=resting, reply=True, timeout=5)
            seconds = bench.audit(subject)
            assert bench.workers == (1 if which == "one" else 2), f"{bench.workers} workers took part"
            if turn >= 2:  # the first of each loads the model and warms it
                times[which].append(seconds)
                processor[which] = bench.processor["audit"]
        target = Target(
            name="two workers with one thread each, as a multiple of one",
            value=statistics.median(times["one"]) / statistics.median(times["two"]),
            unit="x", op=">=", goal=1.8, peer="one worker with one thread",
        )  # fmt: skip
        return [target], {"workers": _facts(subject, **times) | {"processor_seconds": _rounded(processor)}}


def _turns(bench: Any, subject: Any, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of audits and of bare loops, which take turns."""
    bench.audit(subject)  # loads and warms the worker's model
    audits, loops = [], []
    for _ in range(repeats):
        audits.append(bench.audit(subject))
        loops.append(bench.bare_loop(subject))
    return audits, loops


def _share_of_loop(what: str, audits: list[float], loops: list[float]) -> Target:
    return Target(
        name=f"speed of an audit through Celery, as a share of the bare loop's: {what}",
        value=statistics.median(loops) / statistics.median(audits),
        unit="x", op=">=", goal=0.95, peer="bare PyTorch loop, same batches",
    )  # fmt: skip


def _from_cache(what: str, audits: list[float], second: list[float]) -> Target:
    return Target(
        name=f"a second audit by another protocol, from the cache: {what}",
        value=statistics.median(audits) / statistics.median(second),
        unit="x", op=">=", goal=20, peer="the first audit",
    )  # fmt: skip


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in seconds.items()}


def _facts(subject: Any, **seconds: list[float]) -> dict[str, Any]:
    """Number of studies, and studies per second of each side in the order in which they were measured."""
    studies = subject.cohort.n_studies
    speeds = {name: [round(studies / value, 1) for value in values] for name, values in seconds.items()}
    return {"studies": studies, "studies_per_second": speeds}


MEASURES: dict[str, Callable[[int, int], tuple[list[Target], dict[str, Any]]]] = {
    "reference": measure_reference,
    "vit": measure_vit,
    "workers": measure_workers,
}

if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
