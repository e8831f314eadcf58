"""PostgreSQL, Redis and gunicorn of the benchmark's own, on free ports, as an installation has them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from config.embedded import redis
from config.embedded.stack import ROOT

WORKERS, THREADS = 4, 2
"""What docs/operations.md gives for two cores."""
SECONDS = 60


@contextmanager
def database(given: str) -> Iterator[str]:
    """The address of a database: the given one, or a new one of a server that goes at the end."""
    if given:
        yield given
        return
    import psycopg

    from tests.postgres import server

    with server() as address:
        name = f"auscult_bench_{uuid4().hex[:8]}"
        with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        yield f"{address}/{name}"


@contextmanager
def broker(home: Path) -> Iterator[str]:
    """The address of a Redis of its own."""
    place = redis.socket_path(home)
    process = subprocess.Popen(redis.command(place), stdin=subprocess.DEVNULL)
    try:
        _wait(lambda: redis.ping(place), process, "Redis")
        yield redis.url(place)
    finally:
        _stop(process)


@contextmanager
def web(home: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """The address of gunicorn, and the file into which it writes a line for each answer."""
    with ExitStack() as stack:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        log = home / "answers.jsonl"
        log.write_bytes(b"")
        output = stack.enter_context((home / "gunicorn.log").open("w"))
        own = {"AUSCULT_BENCH_LOG": str(log), "DJANGO_SETTINGS_MODULE": "config.settings", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "gunicorn", "benchmarks.web_wsgi", "--chdir", str(ROOT), "--bind",
                   f"127.0.0.1:{port}", "--workers", str(WORKERS), "--threads", str(THREADS),
                   "--no-control-socket"]  # fmt: skip
        process = subprocess.Popen(command, env={**os.environ, **environment, **own}, stdout=output, stderr=output)
        stack.callback(_stop, process)
        address = f"http://127.0.0.1:{port}"
        _wait(lambda: _answers(address), process, "gunicorn")
        yield address, log


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/sign-in/", timeout=10) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _wait(ready: object, process: subprocess.Popen[bytes], name: str) -> None:
    end = time.monotonic() + SECONDS
    while not ready():  # type: ignore[operator]
        if time.monotonic() > end or process.poll() is not None:
            raise SystemExit(f"{name} did not start.")
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
