"""An audit through the services and a Celery worker, beside a bare PyTorch loop over the same batches.

Both read the same shards, decode the same pictures and run the same weights with the same number of threads; the
audit also writes progress, caches predictions, reduces to sketches, merges, judges and keeps evidence. The model is
loaded and warm on both sides.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.result import Target, publish
from config.embedded.stack import ROOT, Stack

PATIENTS = 6000
REPEATS = 3
PORT = 8931


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--patients", type=int, default=PATIENTS)
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="auscult-bench-"))
    stack = Stack(home=home, port=PORT, tell=lambda text: print(text, file=sys.stderr))
    try:
        with stack:
            os.environ.update(stack.environment)
            targets, facts = measure(stack, patients=arguments.patients)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    publish(targets, as_json=arguments.json, facts=facts)


def measure(stack: Stack, *, patients: int) -> tuple[list[Target], dict[str, Any]]:
    """Alternate between the two sides, so that whatever else the machine does meets both."""
    import django

    django.setup()
    subject = _Subject(stack, patients=patients)
    subject.audit(seed=0)  # loads and warms the worker's model
    audits, loops = [], []
    for repeat in range(REPEATS):
        audits.append(subject.audit(seed=repeat + 1))
        loops.append(subject.bare_loop())
    audit, loop = statistics.median(audits), statistics.median(loops)
    facts = {
        "studies": subject.cohort.n_studies,
        "audit_studies_per_second": round(audit, 1),
        "bare_loop_studies_per_second": round(loop, 1),
        "repeats": REPEATS,
    }
    target = Target(
        name="speed of an audit through Celery, as a share of the bare loop's",
        value=audit / loop,
        unit="x",
        op=">=",
        goal=0.95,
        peer="bare PyTorch loop, same batches",
    )
    return [target], facts


class _Subject:
    """A cohort, an untrained model of the reference architecture (weights do not change the speed), a protocol."""

    def __init__(self, stack: Stack, *, patients: int) -> None:
        from config.demo.display import Display
        from config.demo.people import ensure_people
        from config.demo.waiting import Waiter
        from evaluation.engine.protocol import bundled_source
        from evaluation.services.protocols import approve_protocol, lock_protocol
        from models_registry.models import JobStatus
        from models_registry.services.systems import create_system
        from models_registry.services.training import request_training
        from synthetic.services import request_generation

        self.people = ensure_people("benchmark-only")
        self.stack = stack
        self.wait = Waiter(supervisor=stack.supervisor, display=Display(quiet=True))
        elena, clara = self.people["elena"], self.people["clara"]
        order: Any = request_generation(cohort_name="Benchmark", settings={"patients": patients, "seed": 5}, by=elena)
        self.wait.until([order], done={JobStatus.DONE}, title=lambda row: row.cohort_name)
        self.cohort = order.result
        system = create_system(name="Benchmark", provider="", intended_purpose="Speed.", risk_class="", by=elena)
        training: Any = request_training(
            system=system, version_label="1", cohort=self.cohort, settings={"epochs": 1}, by=elena
        )
        self.wait.until([training], done={JobStatus.DONE}, title=lambda _: "One epoch of training")
        self.version = training.result
        protocol = lock_protocol(source=bundled_source("reference-model-v1"), by=clara)
        self.protocol = approve_protocol(protocol=protocol, by=clara)

    def audit(self, *, seed: int) -> float:
        """Studies per second from the first claim to the last verdict. A new seed means a new inference."""
        from evaluation.services.runs import request_audit

        run: Any = request_audit(
            version=self.version,
            cohort=self.cohort,
            protocol=self.protocol,
            by=self.people["amir"],
            settings={"seed": seed},
        )
        self.wait.runs([run])
        seconds = (run.finished_at - run.started_at).total_seconds()
        return float(run.n_studies / seconds)

    def bare_loop(self) -> float:
        """Studies per second of a loop in a process of its own, after one pass to warm it up."""
        from models_registry.execution import cohort_folder
        from models_registry.services.versions import model_store

        command = [
            sys.executable,
            "-m",
            "benchmarks.inference_loop",
            str(model_store().folder_path(self.version.digest)),
            str(cohort_folder(self.cohort)),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=self.stack.environment)
        return float(done.stdout.split()[-1])


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
