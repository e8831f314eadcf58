"""What people and workers wait for, each against the bound that it is built to hold.

python -m benchmarks.waiting [--json]

- charts: seconds of each kind of chart once the library is loaded: planning it, and drawing it.
- pages: seconds of a run's page with thousands of measurements, a version's requirements and one of them, asked of the
  application itself, without a network.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.result import Target, publish

REPEATS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="auscult-bench-"))
    os.environ |= {"AUSCULT_HOME": str(home), "DJANGO_SETTINGS_MODULE": "config.settings"}
    try:
        run = judged_run(home)
        targets = [*charts(run), *pages(run)]
    finally:
        shutil.rmtree(home, ignore_errors=True)
    publish(targets, as_json=arguments.json, facts={"repeats": REPEATS})


def judged_run(home: Path) -> Any:
    """A finished run with the measurements and verdicts of a real audit by the engine; its evidence is in the store."""
    from benchmarks.reports import prepare

    version = prepare(20_000)
    from benchmarks.report_subjects import long_evidence
    from evaluation.execution.judging import store_rows
    from models_registry.services.versions import model_store

    run = version.runs.filter(status="done").latest("pk")
    evidence = long_evidence(version, run.cohort, home)
    run.measurements.all().delete()
    run.verdicts.all().delete()
    store_rows(run, evidence["result"])
    digest = model_store().put_json(evidence)
    version.runs.filter(pk=run.pk).update(evidence_digest=digest, outcome=evidence["result"]["outcome"])
    return version.runs.get(pk=run.pk)


def charts(run: Any) -> list[Target]:
    """Planning and drawing one chart of each kind that an audit of 15 labels gives."""
    from evaluation.charts import ChartPlan, plan_calibration, plan_forest, plan_heatmap, plan_tradeoff

    rows = [row.detail for row in run.measurements.all()]
    verdict = run.verdicts.first().detail
    about = {"label": verdict["label"], "attribute": verdict["attribute"]}
    plans: dict[str, Callable[[], ChartPlan]] = {
        "forest": lambda: plan_forest(rows, verdict),
        "calibration": lambda: plan_calibration(rows, **about),
        "trade-off": lambda: plan_tradeoff(rows, **about),
        "heat map": lambda: plan_heatmap(rows, label=verdict["label"], attribute="sex & age_band"),
    }
    found = []
    for kind, plan in plans.items():
        plan().draw("print")
        name = f"one chart, {kind}: planned"
        found.append(Target(name=name, value=middle(plan), unit="s", op="<=", goal=0.05, peer="none"))
        drawn = middle(partial(plan().draw, "print"))
        found.append(Target(name=f"one chart, {kind}: drawn", value=drawn, unit="s", op="<=", goal=0.1, peer="none"))
    return found


def pages(run: Any) -> list[Target]:
    """Pages of an audited version, for the person who registered it."""
    from django.test import Client

    from core.models import Role, RoleGrant

    version, person = run.version, run.version.submitted_by
    RoleGrant.objects.create(user=person, role=Role.ML_ENGINEER)
    client = Client()
    client.force_login(person)
    home = f"/systems/{version.system.slug}/versions/{version.pk}"
    found = []
    for what, address in (
        (f"a run with {run.measurements.count():,} measurements", f"/audits/{run.pk}/"),
        ("every requirement of a version", f"{home}/requirements/"),
        ("one requirement", f"{home}/requirements/AIA-Art19/"),
    ):
        answer = client.get(address, HTTP_HOST="localhost")
        if answer.status_code != 200:
            raise SystemExit(f"{address} answered {answer.status_code}")
        seconds = middle(partial(client.get, address, HTTP_HOST="localhost"))
        found.append(Target(name=f"the page of {what}", value=seconds, unit="s", op="<=", goal=0.2, peer="none"))
    return found


def middle(work: Callable[..., Any]) -> float:
    """The median seconds, the first time left out."""
    work()
    seconds = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
