"""One running installation for all tests of the main job: real broker, real workers, real web server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from config.embedded.stack import ROOT, Stack

START_SECONDS = 800


@dataclass(kw_only=True)
class Installation:
    """The demo, served. ``result`` is the line of JSON that ``make demo ARGS="--json"`` prints."""

    home: Path
    port: int
    result: dict[str, Any]
    process: subprocess.Popen[str]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def password(self) -> str:
        return (self.home / "demo-password").read_text()

    @property
    def bundle(self) -> Path:
        return Path(self.result["bundle"])

    def python(self, code: str, *, seconds: float = 300) -> Any:
        """Run code in this installation, with Django ready; what it assigns to ``answer`` comes back."""
        script = (
            "import django, json\ndjango.setup()\nanswer = None\n"
            + textwrap.dedent(code)
            + "\nprint(json.dumps(answer))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def evidence(self, version: str) -> dict[str, Any]:
        """The evidence document of the first run of the version with this label."""
        return self.python(f"""
            from evaluation.models import AuditRun
            from models_registry.services.versions import model_store
            run = AuditRun.objects.filter(version__label={version!r}).order_by("pk").first()
            answer = model_store().get_json(run.evidence_digest)
        """)

    def worker(self, name: str) -> psutil.Process:
        """The process of one worker, found by its node name."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if f"{name}@auscult" in child.cmdline():
                return child
        raise AssertionError(f"no worker {name} is running")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """Run the whole main job once, as ``make demo`` does, and keep serving."""
    home, port = Path(tempfile.mkdtemp(prefix="auscult-stack-")), free_port()
    command = [sys.executable, "-m", "config.cli", "demo", "--json", "--home", str(home), "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUSCULT_")}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    with (home / "demo.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    try:
        line = process.stdout.readline() if process.stdout else ""
        timer.cancel()
        assert line.startswith("{"), "the demo ended without a result:\n" + (home / "demo.log").read_text()[-4000:]
        stack = Stack(home=home, port=port, tell=print)
        stack.environment.update({name: value for name, value in environment.items() if name not in stack.environment})
        yield Installation(
            home=home,
            port=port,
            result=json.loads(line),
            process=process,
            environment={**stack.environment, "AUSCULT_HOME": str(home), "DJANGO_SETTINGS_MODULE": "config.settings"},
        )
    finally:
        timer.cancel()
        process.send_signal(signal.SIGINT)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.stdout:
            process.stdout.close()
        shutil.rmtree(home, ignore_errors=True)
