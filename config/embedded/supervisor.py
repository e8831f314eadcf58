"""Starts processes, watches them, starts them again when they die, and stops every one of them at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

RESTARTS = 5
GRACE_SECONDS = 8.0
MEASURE_SECONDS = 2.0


@dataclass(kw_only=True)
class Service:
    """One process to keep running. ``vital``: without it the rest is of no use, and a restart has no sense.

    ``environment`` is what it has beside what all services have.
    """

    name: str
    title: str
    command: list[str]
    vital: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0


def _die_with_parent() -> None:
    """In the child: ask Linux for SIGTERM should the supervisor itself be killed."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").prctl(1, signal.SIGTERM)


class Supervisor:
    """Context of running services.

    Args:
        logs: Folder for one log file per service.
        environment: The services' environment.
        tell: Called with a sentence for the person at the terminal when a service dies or comes back.
    """

    def __init__(self, *, logs: Path, environment: Mapping[str, str], tell: Callable[[str], None]) -> None:
        self.logs, self.environment, self.tell = logs, dict(environment), tell
        self.services: dict[str, Service] = {}
        self.failed: Service | None = None
        self.peak_bytes = 0
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, service: Service) -> None:
        """Start a service and keep it."""
        self.services[service.name] = service
        self._spawn(service)

    def watch(self) -> None:
        """Begin to watch what was started."""
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._watcher.start()

    def log_path(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def tail(self, name: str, lines: int = 12) -> str:
        """The last lines of a service's log."""
        path = self.log_path(name)
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def stop(self) -> None:
        """Stop everything, last started first; what does not stop in time is killed."""
        self._stopping.set()
        if self._watcher:
            self._watcher.join(timeout=5)
        for service in reversed(self.services.values()):
            _stop(service.process)

    def _spawn(self, service: Service) -> None:
        with self.log_path(service.name).open("ab") as log:
            service.process = subprocess.Popen(
                service.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**self.environment, **service.environment},
                start_new_session=True,  # Ctrl-C in the terminal reaches the supervisor only
                preexec_fn=_die_with_parent if os.uname().sysname == "Linux" else None,
            )

    def _watch(self) -> None:
        measured = 0.0
        while not self._stopping.wait(0.5):
            if time.monotonic() - measured >= MEASURE_SECONDS:
                measured = time.monotonic()
                self.peak_bytes = max(self.peak_bytes, memory_bytes())
            for service in list(self.services.values()):
                if service.process is not None and service.process.poll() is not None:
                    self._revive(service)

    def _revive(self, service: Service) -> None:
        if self._stopping.is_set() or service.process is None:
            return
        how = _ending(service.process.returncode)
        service.process = None
        if service.vital or service.restarts >= RESTARTS:
            self.failed = service
            self.tell(f"{service.title} {how} and cannot go on. See {self.log_path(service.name)}")
            return
        service.restarts += 1
        self.tell(f"{service.title} {how}. It is started again; work goes on from the last finished share.")
        time.sleep(min(service.restarts, 3) * 0.5)
        self._spawn(service)


def memory_bytes() -> int:
    """Memory of this process and all its descendants; shared pages are counted once where the system tells."""
    total = 0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            try:
                total += process.memory_full_info().pss
            except (AttributeError, psutil.AccessDenied):
                total += process.memory_info().rss
    return total


def _ending(code: int) -> str:
    return f"was ended by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"


def _stop(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.terminate()
        process.wait(GRACE_SECONDS)
    # What did not stop, and what a service started and left behind: all of it is in the service's process group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(GRACE_SECONDS)
