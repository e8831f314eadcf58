"""Killed workers, cancelled runs, repeated deliveries: the result is the same to the last digit."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.stack.conftest import Installation

pytestmark = [pytest.mark.stack]

PREPARE = """
    import shutil
    from django.conf import settings
    from core.models import User
    from evaluation.models import AuditRun, CachedPredictions, Protocol
    from evaluation.services.runs import request_audit, cancel_run, resume_run
    from models_registry.models import AISystem, ModelVersion
    from models_registry.services.systems import create_system
    from models_registry.services.versions import model_store, register_version
    elena, amir = (User.objects.get(username=name) for name in ("elena", "amir"))
    first = AuditRun.objects.get(
        version__label="1.1", attempt=1, frame_digest="", version__system__slug__startswith="reference")
    system = AISystem.objects.filter(name="Kill test").first() or create_system(
        name="Kill test", provider="", intended_purpose="Tests.", risk_class="", by=elena)
    folder = settings.AUSCULT_HOME / "sources" / "kill-test"
    if not folder.exists():
        shutil.copytree(model_store().folder_path(first.version.digest), folder)
    version = system.versions.first() or register_version(
        system=system, label="1", adapter="fusion", folder=folder, by=elena)
"""
REQUEST = (
    PREPARE
    + """
    run = request_audit(version=version, cohort=first.cohort, protocol=first.protocol, by=amir, settings={"seed": SEED})
    answer = run.pk
"""
)


def request(installation: Installation, seed: int) -> int:
    return installation.python(REQUEST.replace("SEED", str(seed)))


def state(installation: Installation, run: int) -> dict:
    return installation.python(f"""
        from django.db.models import Sum
        from evaluation.models import AuditRun
        run = AuditRun.objects.get(pk={run})
        answer = {{
            "status": run.status, "result": run.result_digest, "error": run.error,
            "done": run.shards.aggregate(n=Sum("studies_done"))["n"] or 0, "n": run.n_studies,
            "attempts": list(run.shards.order_by("index").values_list("attempts", flat=True)),
            "cached": run.shards.filter(from_cache=True).count(),
        }}
    """)


def wait(
    installation: Installation, run: int, *, status: str | None = None, least: int = 0, seconds: float = 180
) -> dict:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = state(installation, run)
        assert found["status"] == status or found["status"] != "failed", found["error"]
        if (status is None or found["status"] == status) and found["done"] >= least:
            return found
    raise AssertionError(f"audit {run} did not get there: {found}")


def test_a_killed_worker_leads_to_the_same_digest(installation: Installation) -> None:
    undisturbed = wait(installation, request(installation, 21), status="done")
    assert undisturbed["cached"] == 0
    installation.python("from evaluation.models import CachedPredictions\nCachedPredictions.objects.all().delete()")
    run = request(installation, 21)
    wait(installation, run, least=1)
    os.kill(installation.worker("gpu").pid, signal.SIGKILL)
    disturbed = wait(installation, run, status="done")
    assert max(disturbed["attempts"]) >= 2, "the worker was killed between two shares; nothing was lost"
    assert disturbed["result"] == undisturbed["result"]


def test_cancel_and_resume_run_only_what_is_missing(installation: Installation) -> None:
    run = request(installation, 22)
    wait(installation, run, least=1)
    installation.python(PREPARE + f"\n    cancel_run(run=AuditRun.objects.get(pk={run}), by=amir)")
    cancelled = state(installation, run)
    assert cancelled["status"] == "cancelled" and cancelled["done"] < cancelled["n"]
    time.sleep(2)
    assert state(installation, run)["status"] == "cancelled"
    installation.python(PREPARE + f"\n    resume_run(run=AuditRun.objects.get(pk={run}), by=amir)")
    resumed = wait(installation, run, status="done")
    assert resumed["done"] == resumed["n"]


def test_a_second_audit_uses_the_cached_predictions(installation: Installation) -> None:
    wait(installation, request(installation, 23), status="done")
    second = wait(installation, request(installation, 23), status="done")
    assert second["cached"] == len(second["attempts"])


def test_tasks_delivered_twice_change_nothing(installation: Installation) -> None:
    before = installation.python("""
        from core.models import LedgerEntry
        from evaluation import execution
        from evaluation.models import AuditRun, Measurement
        run = AuditRun.objects.filter(status="done").first()
        count = lambda: [LedgerEntry.objects.count(), Measurement.objects.count()]
        answer = [count()]
        for shard in run.shards.all():
            execution.execute_shard(shard.pk)
        execution.finish_run(run.pk)
        execution.judge(run.pk)
        execution.requeue_work()
        answer.append(count())
    """)
    assert before[0] == before[1]
