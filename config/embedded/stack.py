"""The whole of Auscult on one machine: broker, workers, beat and web server, in one folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from config.embedded import redis
from config.embedded.places import worker_places
from config.embedded.supervisor import Service, Supervisor
from core.errors import EnvironmentProblemError

ROOT = Path(__file__).resolve().parent.parent.parent
NEEDED_BYTES = 1_500_000_000


class Stack:
    """Running services for one home folder.

    Attributes:
        environment: What a process must have in its environment to belong to this stack.
        address: Of the dashboard.
    """

    def __init__(self, *, home: Path, port: int, tell: Callable[[str], None], lease_seconds: int = 30) -> None:
        self.home, self.port = home.resolve(), port
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.home / "static").mkdir(exist_ok=True)
        self.socket = redis.socket_path(self.home)
        self.environment = {
            **os.environ,
            "AUSCULT_HOME": str(self.home),
            "AUSCULT_REDIS_URL": redis.url(self.socket),
            "AUSCULT_LEASE_SECONDS": str(lease_seconds),
            "AUSCULT_SWEEP_SECONDS": "5",
            "AUSCULT_BASE_URL": os.environ.get("AUSCULT_BASE_URL") or f"http://127.0.0.1:{port}",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "HF_HUB_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
            "TOKENIZERS_PARALLELISM": "false",
            # Threads that wait must sleep: by default they spin, which slows torch tenfold when workers share cores.
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONPATH": str(ROOT),
        }
        self.supervisor = Supervisor(logs=self.home / "logs", environment=self.environment, tell=tell)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def check_machine(self) -> None:
        """Raise EnvironmentProblemError for a port in use, a full disk or a home folder that is in use already."""
        free = shutil.disk_usage(self.home).free
        if free < NEEDED_BYTES:
            raise EnvironmentProblemError(
                f"Only {free / 1e9:.1f} GB of the {NEEDED_BYTES / 1e9:.1f} GB needed are free where {self.home} is.",
                remedy="Free some space, or give another folder with --home.",
            )
        if self.socket.exists() and redis.ping(self.socket):
            raise EnvironmentProblemError(
                f"Another Auscult is running in {self.home}.",
                remedy="Stop it with Ctrl-C, or give another folder with --home.",
            )
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise EnvironmentProblemError(
                    f"Port {self.port} is in use by another program.",
                    remedy='Choose another one, for example: make demo ARGS="--port 8010".',
                ) from error

    def migrate(self) -> None:
        """Create or update the database."""
        command = [sys.executable, "-m", "django", "migrate", "--verbosity", "0"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise EnvironmentProblemError(
                f"The database in {self.home} could not be made ready: {done.stderr.strip().splitlines()[-1]}",
                remedy="Move that folder away, or give another one with --home.",
            )

    def start(self) -> None:
        """Start every service and wait until each answers."""
        self.supervisor.start(
            Service(name="redis", title="The message broker", command=redis.command(self.socket), vital=True)
        )
        self._wait_for("redis", lambda: redis.ping(self.socket))
        self.migrate()
        for service in self._workers():
            self.supervisor.start(service)
        self._wait_for("web", self._web_answers)
        self.supervisor.watch()

    def _workers(self) -> Iterator[Service]:
        celery = [sys.executable, "-m", "celery", "-A", "config", "--workdir", str(ROOT)]
        for place in worker_places(self.environment):
            yield self._worker(celery, place.name, "gpu", place.title, place.environment)
        yield self._worker(celery, "cpu", "cpu", "The worker for everything else", {})
        yield Service(
            name="beat",
            title="The scheduler",
            command=[*celery, "beat", "-l", "INFO", "--pidfile", "", "--max-interval", "5"],
        )
        yield Service(
            name="web",
            title="The web server",
            command=[
                sys.executable,
                "-m",
                "gunicorn",
                "config.wsgi",
                "--chdir",
                str(ROOT),
                "--bind",
                f"127.0.0.1:{self.port}",
                "--workers",
                "1",
                "--threads",
                "4",
                "--no-control-socket",
            ],
        )

    @staticmethod
    def _worker(celery: list[str], name: str, queue: str, title: str, environment: Mapping[str, str]) -> Service:
        """A pool of its own process: torch must not compute in a parent that forks."""
        options = ["-Q", queue, "-P", "solo", "-n", f"{name}@auscult", "-l", "INFO"]
        command = [*celery, "worker", *options, "--without-gossip", "--without-mingle"]
        return Service(name=f"worker-{name}", title=title, command=command, environment=environment)

    def _web_answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def _wait_for(self, name: str, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not ready():
            process = self.supervisor.services[name].process
            if time.monotonic() > end or (process is not None and process.poll() is not None):
                raise EnvironmentProblemError(
                    f"{self.supervisor.services[name].title} did not start:\n{self.supervisor.tail(name)}",
                    remedy=f"Read {self.supervisor.log_path(name)}.",
                )
            time.sleep(0.05)

    def __enter__(self) -> Stack:
        self.check_machine()
        try:
            self.start()
        except BaseException:
            self.supervisor.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.stop()
        self.socket.unlink(missing_ok=True)
