"""Settings from the environment, and the set-up script."""

from __future__ import annotations

import os
import runpy
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config.embedded.stack import ROOT
from core.errors import EnvironmentProblemError

Read = Callable[..., dict[str, Any]]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Read:
    """The settings as a new process would read them from this environment."""

    def run(**environment: str) -> dict[str, Any]:
        for name in list(os.environ):
            if name.startswith("AUSCULT_"):
                monkeypatch.delenv(name)
        for name, value in ({"AUSCULT_HOME": str(tmp_path / "new")} | environment).items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(ROOT / "config" / "settings.py"))

    return run


def test_production_without_a_secret_does_not_start(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "AUSCULT_ENV": "production", "AUSCULT_HOME": str(tmp_path / "new")}
    command = [sys.executable, "manage.py", "check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "AUSCULT_SECRET_KEY is not set" in done.stderr and "What to do: Set it" in done.stderr
    assert not (tmp_path / "new").exists(), "and makes no key of its own"


def test_production_is_strict(read: Read) -> None:
    found = read(AUSCULT_ENV="production", AUSCULT_SECRET_KEY="s" * 50, AUSCULT_HOSTS="auscult.example.org")
    assert found["SECRET_KEY"] == "s" * 50 and found["DEBUG"] is False
    assert found["ALLOWED_HOSTS"] == ["auscult.example.org"]
    for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT", "SESSION_COOKIE_HTTPONLY"):
        assert found[name] is True, name
    assert found["SECURE_HSTS_SECONDS"] > 0
    assert not any(
        "unsafe" in word for words in found["CONTENT_SECURITY_POLICY"]["DIRECTIVES"].values() for word in words
    )


def test_elsewhere_the_secret_is_made_once_and_private(read: Read, tmp_path: Path) -> None:
    first, again = read()["SECRET_KEY"], read()["SECRET_KEY"]
    path = tmp_path / "new" / "secret-key"
    assert first == again == path.read_text() and len(first) >= 50
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read(AUSCULT_HOME=str(tmp_path / "other"))["SECRET_KEY"] != first


def test_a_database_of_another_kind_is_refused(read: Read) -> None:
    for url in ("mysql://u@h/n", "sqlite:///x.db", "nonsense"):
        with pytest.raises(EnvironmentProblemError, match="not supported") as caught:
            read(AUSCULT_DATABASE_URL=url)
        assert "postgres://" in caught.value.remedy


def test_a_refused_database_url_shows_no_password(read: Read) -> None:
    with pytest.raises(EnvironmentProblemError) as caught:
        read(AUSCULT_DATABASE_URL="mysql://user:hunter2@host/name")
    assert "hunter2" not in str(caught.value)


def test_databases(read: Read, tmp_path: Path) -> None:
    local = read()["DATABASES"]["default"]
    assert local["NAME"] == tmp_path / "new" / "auscult.sqlite3"
    assert local["OPTIONS"]["transaction_mode"] == "IMMEDIATE" and "WAL" in local["OPTIONS"]["init_command"]
    found = read(AUSCULT_DATABASE_URL="postgres://au%40x:p%2Fw%3A@db.example.org:5433/auscult")["DATABASES"]["default"]
    assert (found["USER"], found["PASSWORD"], found["NAME"]) == ("au@x", "p/w:", "auscult")
    assert (found["HOST"], found["PORT"]) == ("db.example.org", "5433")


def test_models_run_in_a_queue_of_their_own(read: Read) -> None:
    routes = read()["CELERY_TASK_ROUTES"]
    assert {name for name, route in routes.items() if route["queue"] == "gpu"} == {
        "evaluation.tasks.run_shard",
        "evaluation.tasks.prepare_monitor",
        "models_registry.tasks.train",
        "synthetic.tasks.train_generator",
        "synthetic.tasks.make_patients",
    }


def test_every_task_that_is_named_exists(read: Read) -> None:
    from config.celery import app

    app.loader.import_default_modules()
    found = read()
    named = {*found["CELERY_TASK_ROUTES"], *(item["task"] for item in found["CELERY_BEAT_SCHEDULE"].values())}
    assert named <= set(app.tasks)
    sweeps = {f"{app}-sweep" for app in ("core", "models_registry", "evaluation", "synthetic", "governance")}
    assert sweeps <= set(found["CELERY_BEAT_SCHEDULE"])


# config/setup.sh


SETUP = ROOT / "config" / "setup.sh"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the script reads, and a machine on which it can find nothing but the simplest tools."""
    root = tmp_path / "checkout"
    (root / "config").mkdir(parents=True)
    (root / "bin").mkdir()
    shutil.copy(SETUP, root / "config")
    for name in ("constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    for name in ("bash", "cat", "cksum", "dirname", "df", "awk"):
        (root / "bin" / name).symlink_to(shutil.which(name) or name)
    return root


def set_up(root: Path, *extras: str) -> subprocess.CompletedProcess[str]:
    command = [str(root / "bin" / "bash"), str(root / "config" / "setup.sh"), *extras]
    return subprocess.run(command, env={"PATH": str(root / "bin")}, capture_output=True, text=True, timeout=20)


def mark_installed(root: Path, *extras: str) -> None:
    text = "".join((root / name).read_text() for name in ("constraints.txt", "pyproject.toml", "config/setup.sh"))
    total = subprocess.run(["cksum"], input=text, capture_output=True, text=True, check=True).stdout.strip()
    (root / ".venv").mkdir(exist_ok=True)
    (root / ".venv" / "installed").write_text(f"{' '.join(extras)} {total}")


def test_the_set_up_script_is_sound() -> None:
    subprocess.run(["bash", "-n", str(SETUP)], check=True)
    assert os.access(SETUP, os.X_OK)


@pytest.mark.parametrize(("before", "now"), [((), ()), (("test",), ("test",)), (("test",), ())])
def test_nothing_is_done_twice(checkout: Path, before: tuple[str, ...], now: tuple[str, ...]) -> None:
    mark_installed(checkout, *before)
    done = set_up(checkout, *now)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_changed_is_set_up_again(checkout: Path) -> None:
    mark_installed(checkout)
    assert set_up(checkout, "test").returncode == 1, "more was asked for"
    with (checkout / "constraints.txt").open("a") as constraints:
        constraints.write("click==8.5.0\n")
    done = set_up(checkout)
    assert done.returncode == 1
    assert "Python 3.11 or newer was not found" in done.stderr and "What to do: " in done.stderr


def test_the_set_up_of_this_checkout_is_quick_and_silent() -> None:
    installed = ROOT / ".venv" / "installed"
    total = subprocess.run(
        "cat constraints.txt pyproject.toml config/setup.sh | cksum",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.strip()
    if not installed.exists() or installed.read_text() not in {f"test {total}", f" {total}"}:
        pytest.skip("there is no .venv here that this very checkout made")
    done = subprocess.run([str(SETUP)], capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
