"""Two workers and a slow model behind a local server: leases, progress, cancellation, and who did what."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from config.embedded.stack import Stack
from tests.adapters.models_g3 import ChatServer, chat_server, save_endpoint, well
from tests.stack.conftest import Installation, free_port

pytestmark = [pytest.mark.stack]

LEASE_SECONDS = 4
NOT_OURS: Any = None
"""The stack runs inside the test: there is no process to signal."""
STUDIES_PER_SHARD = 12
PREPARE = f"""
    from pathlib import Path
    from types import SimpleNamespace
    from config.demo.people import ensure_people
    from evaluation.engine.protocol import bundled_source
    from evaluation.models import AuditRun, Shard, Worker
    from evaluation.services.protocols import approve_protocol, lock_protocol
    from evaluation.services.runs import cancel_run, request_audit
    from models_registry.cohorts import conversion, convert_cohort
    from models_registry.services.systems import create_system
    from models_registry.services.versions import register_version
    from synthetic.simulator import SimulatorSettings, simulate_cohort
    from tests.registry.scene import make_cohort
    from django.conf import settings
    home = settings.AUSCULT_HOME
    people = SimpleNamespace(**ensure_people("workers-only"))
    conversion.STUDIES_PER_SHARD_WITH_IMAGES = {STUDIES_PER_SHARD}
    file = simulate_cohort(SimulatorSettings(patients=24, seed=3), home / "cohort.parquet")
    convert_cohort(file, mapping=None, destination=home / "shards")
    cohort = make_cohort(people, home / "shards")
    system = create_system(name="Slow", provider="", intended_purpose="Tests.", risk_class="", by=people.elena)
    version = register_version(
        system=system, label="1", adapter="endpoint", folder=home / "sources" / "slow", by=people.elena)
    source = bundled_source("report-generator-v1")
    protocol = approve_protocol(protocol=lock_protocol(source=source, by=people.clara), by=people.clara)
    answer = {{"cohort": cohort.pk, "version": version.pk, "protocol": protocol.pk, "studies": cohort.n_studies}}
"""
REQUEST = """
    from core.models import User
    from evaluation.models import AuditRun, Protocol
    from evaluation.services.runs import request_audit
    from models_registry.models import CohortVersion, ModelVersion
    run = request_audit(
        version=ModelVersion.objects.get(), cohort=CohortVersion.objects.get(), protocol=Protocol.objects.get(),
        by=User.objects.get(username="amir"), settings={"seed": SEED})
    answer = run.pk
"""
STATE = """
    from django.utils import timezone
    from evaluation.execution.workers import is_stale
    from evaluation.models import AuditRun, Worker
    run = AuditRun.objects.get(pk=RUN)
    answer = {
        "status": run.status, "error": run.error, "digest": run.evidence_digest,
        "shares": [[s.status, s.attempts, s.studies_done, s.worker] for s in run.shards.order_by("index")],
        "workers": {w.name: {"doing": w.doing, "device": w.device, "threads": w.threads, "loaded": w.loaded,
                             "stale": is_stale(w, now=timezone.now())} for w in Worker.objects.all()},
    }
"""


@dataclass(kw_only=True)
class Scene:
    installation: Installation
    stack: Stack
    server: ChatServer
    studies: int

    def request(self, seed: int) -> int:
        return int(self.installation.python(REQUEST.replace("SEED", str(seed))))

    def state(self, run: int) -> dict[str, Any]:
        found: dict[str, Any] = self.installation.python(STATE.replace("RUN", str(run)))
        return found

    def until(self, run: int, met: Callable[[dict[str, Any]], Any], seconds: float = 120) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while not met(found := self.state(run)):
            assert found["status"] != "failed", found["error"]
            assert time.monotonic() < end, f"it did not happen in time: {found}"
        return found


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    home, port = Path(tempfile.mkdtemp(prefix="auscult-workers-")), free_port()
    with pytest.MonkeyPatch.context() as patch, chat_server() as server:
        for name in [name for name in os.environ if name.startswith("AUSCULT_")]:
            patch.delenv(name)
        patch.setenv("AUSCULT_GPU_WORKERS", "2")
        patch.setenv("AUSCULT_THREADS", "1")
        patch.setenv("AUSCULT_ENDPOINT_HOSTS", server.host)
        (home / "sources" / "slow").mkdir(parents=True)
        save_endpoint(home / "sources" / "slow", server.host, concurrency=2, timeout_seconds=60)
        try:
            with Stack(home=home, port=port, tell=print, lease_seconds=LEASE_SECONDS) as stack:
                installation = Installation(
                    home=home, port=port, result={}, process=NOT_OURS, environment=stack.environment
                )
                facts = installation.python(PREPARE)
                yield Scene(installation=installation, stack=stack, server=server, studies=facts["studies"])
        finally:
            shutil.rmtree(home, ignore_errors=True)


def slowly(seconds: float) -> Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]:
    def behave(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        time.sleep(seconds)
        well(handler, body)

    return behave


def test_a_batch_that_is_longer_than_its_lease_is_not_taken_away(scene: Scene) -> None:
    """Both workers work at the same time; the first requests take three leases."""
    scene.server.clear()
    scene.server.then[:] = [slowly(3 * LEASE_SECONDS)] * 4
    run = scene.request(1)
    busy = scene.until(run, lambda found: sum(status == "running" for status, *_ in found["shares"]) == 2)
    doing = {name: worker["doing"] for name, worker in busy["workers"].items()}
    assert doing["gpu@auscult"].startswith(f"Audit {run} of Slow 1: share ") and doing["cpu@auscult"] == ""
    assert doing["gpu2@auscult"].startswith(f"Audit {run} of Slow 1: share ")
    done = scene.until(run, lambda found: found["status"] == "done")
    assert {attempts for _, attempts, *_ in done["shares"]} == {1}, "no share was run twice"
    assert len(scene.server.bodies) <= scene.studies, "no study was asked about twice"
    assert len({worker for *_, worker in done["shares"]}) == 2
    assert not any(worker["stale"] for worker in done["workers"].values())
    gpu = done["workers"]["gpu@auscult"]
    assert (gpu["doing"], gpu["device"], gpu["threads"]) == ("", "cpu", 1)
    assert [item["system"] for item in gpu["loaded"]] == ["Slow"]

    evidence = scene.installation.python(f"""
        from models_registry.services.versions import model_store
        answer = model_store().get_json({done["digest"]!r})
    """)
    usage = evidence["execution"]["hardware"]["endpoint"]
    assert usage["answered_by"] == ["tiny"] and usage["usage"]["requests"] == len(scene.server.bodies)
    assert usage["usage"]["completion_tokens"] == 3 * len(scene.server.bodies)
    assert evidence["execution"]["device"] == "unknown: answered by an endpoint"
    predicted = evidence["software"]["predicted"]
    assert len(predicted) == 1, "both workers have the same packages and flags"
    assert predicted[0]["determinism"]["deterministic_algorithms"] and predicted[0]["determinism"]["threads"] == 1
    assert predicted[0]["determinism"]["omp_num_threads"] == "1"


def test_a_cancelled_audit_stops_between_two_batches(scene: Scene) -> None:
    scene.server.clear()
    scene.server.then[:] = [slowly(1.0)] * 1000
    run = scene.request(2)
    scene.until(run, lambda found: any(done for _, _, done, _ in found["shares"]))
    scene.installation.python(f"""
        from core.models import User
        from evaluation.models import AuditRun
        from evaluation.services.runs import cancel_run
        cancel_run(run=AuditRun.objects.get(pk={run}), by=User.objects.get(username="amir"))
    """)
    cancelled = scene.until(run, lambda found: not any(worker["doing"] for worker in found["workers"].values()))
    assert cancelled["status"] == "cancelled"
    assert {status for status, *_ in cancelled["shares"]} <= {"cancelled", "done"}
    asked = len(scene.server.bodies)
    assert asked < scene.studies
    time.sleep(2)
    assert len(scene.server.bodies) == asked, "nobody went on asking"
    scene.server.then.clear()


def test_a_worker_that_was_killed_is_taken_for_gone(scene: Scene) -> None:
    scene.server.clear()
    process = scene.stack.supervisor.services["worker-gpu2"].process
    assert process is not None
    scene.stack.supervisor.services["worker-gpu2"].restarts = 99  # it is not started again
    process.kill()
    run = scene.request(3)
    gone = scene.until(run, lambda found: found["workers"]["gpu2@auscult"]["stale"])
    assert not gone["workers"]["gpu@auscult"]["stale"]
    assert scene.until(run, lambda found: found["status"] == "done")["error"] == ""
