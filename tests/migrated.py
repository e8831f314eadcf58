"""A database with all migrations applied, made once: to apply them takes nine seconds, to copy what they made none.

``var/tests`` keeps it, under a digest of all that it depends on. The running installation of ``tests/stack`` applies
the migrations themselves, as do the tests on PostgreSQL.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "var" / "tests"
LIBRARIES = ("django", "django-celery-beat")


def fill(target: sqlite3.Connection) -> None:
    """Make an empty SQLite database a migrated one."""
    with closing(sqlite3.connect(migrated())) as source:
        source.backup(target)


def migrate() -> None:
    """Apply all migrations to the database of the settings; to a new SQLite file by a copy of one that has them."""
    from django.core.management import call_command
    from django.db import connection

    if connection.vendor != "sqlite":
        call_command("migrate", verbosity=0)
        return
    with closing(sqlite3.connect(connection.settings_dict["NAME"])) as target:
        fill(target)


def migrated() -> Path:
    """The file; the first process that asks makes it, others wait."""
    KEPT.mkdir(parents=True, exist_ok=True)
    file = KEPT / f"migrated-{_digest()}.sqlite3"
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.is_file():
            for old in KEPT.glob("migrated-*.sqlite3"):
                old.unlink()
            _make(file)
    return file


def _make(file: Path) -> None:
    with TemporaryDirectory() as home:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AUSCULT_")}
        environment |= {
            "AUSCULT_HOME": home,
            "AUSCULT_REDIS_URL": "memory://",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        made = file.with_suffix(".new")
        with (
            closing(sqlite3.connect(Path(home) / "auscult.sqlite3")) as source,
            closing(sqlite3.connect(made)) as target,
        ):
            source.backup(target)
        made.replace(file)


def _digest() -> str:
    """Of every migration, of the triggers that they install, and of the libraries that have migrations of their own."""
    found = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in LIBRARIES).encode())
    for file in sorted([*ROOT.glob("*/migrations/*.py"), ROOT / "core" / "triggers.py"]):
        found.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]
