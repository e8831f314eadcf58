"""A private PostgreSQL for tests: the system's programs where it has them, else those of the package ``pgserver``.

It listens on a free port of the loopback, keeps nothing safe from power cuts, and goes with its folder at the end.
PostgreSQL refuses to run as root, so there it runs as ``postgres`` or ``nobody``.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

SECONDS = 60
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class NoPostgresError(Exception):
    """Why there is none."""


def _programs() -> list[Path]:
    """Folders with ``initdb`` and ``pg_ctl``, newest version of the system first."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    if (found := shutil.which("pg_ctl")) is not None:
        folders.append(Path(found).resolve().parent)
    spec = importlib.util.find_spec("pgserver")
    if spec is not None and spec.origin:
        folders.append(Path(spec.origin).parent / "pginstall" / "bin")
    return [
        folder for folder in dict.fromkeys(folders) if (folder / "initdb").is_file() and (folder / "pg_ctl").is_file()
    ]


def _account() -> dict[str, int]:
    """As whom to run it, as arguments of ``subprocess.run``."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid}
    raise NoPostgresError("there is no account 'postgres' or 'nobody' to run it as")


def _run(*command: object, account: dict[str, int]) -> None:
    log = tempfile.TemporaryFile()  # noqa: SIM115 - closed below; a pipe would stay open as long as the server runs
    with log:
        try:
            subprocess.run(
                [str(word) for word in command], check=True, timeout=SECONDS, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd="/", env=os.environ | {"LC_ALL": "C"}, extra_groups=[] if account else None,
                user=account.get("user"), group=account.get("group"),
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines()
            raise NoPostgresError(f"{Path(str(command[0])).name}: {said[-1] if said else error}") from error


def _start(programs: Path, folder: Path, account: dict[str, int]) -> str:
    """Make a cluster in the folder and start it; its address, without a database."""
    data = folder / "data"
    _run(programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", account=account)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings = [f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", *FAST]
    options = " ".join(f"-c {setting}" for setting in settings)
    command = ("start", "-w", "-D", data, "-l", folder / "log", "-o", options)
    _run(programs / "pg_ctl", *command, account=account)
    return f"postgresql://postgres@127.0.0.1:{port}"


@contextmanager
def server() -> Iterator[str]:
    """A server of its own, as an address without a database.

    Raises:
        NoPostgresError: neither the system's programs nor the package's start, with the reason of each.
    """
    reasons = []
    for programs in _programs():
        # Below /tmp: the path of a socket is short, and TMPDIR may be closed to the other account.
        folder = Path(tempfile.mkdtemp(prefix="auscult-pg-", dir="/tmp" if Path("/tmp").is_dir() else None))
        account: dict[str, int] = {}
        try:
            account = _account()
            if account:
                os.chown(folder, account["user"], account["group"])
            address = _start(programs, folder, account)
        except NoPostgresError as error:
            reasons.append(f"{programs}: {error}")
            shutil.rmtree(folder, ignore_errors=True)
            continue
        try:
            yield address
        finally:
            _run(programs / "pg_ctl", "stop", "-D", folder / "data", "-m", "immediate", "-w", account=account)
            shutil.rmtree(folder, ignore_errors=True)
        return
    raise NoPostgresError("; ".join(reasons) or "neither PostgreSQL nor the package pgserver is installed")


@contextmanager
def postgres_url() -> Iterator[str]:
    """The address of a new, empty database, for ``AUSCULT_DATABASE_URL``; skips the test where there is no server.

    ``AUSCULT_TEST_POSTGRES`` names a server to use instead (``postgresql://user@host:port``): the database is made
    there and dropped at the end.
    """
    import psycopg

    given = os.environ.get("AUSCULT_TEST_POSTGRES", "").rstrip("/")
    name = f"auscult_test_{uuid4().hex[:12]}"
    with ExitStack() as stack:
        try:
            address = given or stack.enter_context(server())
        except NoPostgresError as error:
            pytest.skip(f"No PostgreSQL can be started: {error}")
        with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
            try:
                yield f"{address}/{name}"
            finally:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
