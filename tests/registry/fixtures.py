"""What the tests of the registry, of audits and of simulated patients share."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.app.task import Task

from core import ledger
from tests.registry.scene import Files, make_people, write_files

__all__ = ["broken_ledger", "files", "home", "people", "sent"]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    with pytest.MonkeyPatch.context() as monkeypatch:  # undone at once: other tests count shards too
        return write_files(tmp_path_factory.mktemp("files"), monkeypatch)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings: Any, files: Files) -> Path:
    """A folder of the test's own, from which services may read, as from the files made once."""
    settings.AUSCULT_HOME = tmp_path / "home"
    settings.MEDIA_ROOT = settings.AUSCULT_HOME / "uploads"
    settings.AUSCULT_IMPORT_ROOTS = [tmp_path, files.cohort.parent]
    settings.MEDIA_ROOT.mkdir(parents=True)
    return Path(settings.AUSCULT_HOME)


@pytest.fixture
def people(db: None) -> SimpleNamespace:
    return make_people()


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Messages that went out: (task, identifier). None reaches a broker."""
    messages: list[tuple[str, int]] = []

    def keep(self: Task, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, **options: Any) -> None:
        messages.append((self.name, *args))

    monkeypatch.setattr(Task, "apply_async", keep)
    return messages


@pytest.fixture
def broken_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that refuses every entry."""

    def refuse(**_: Any) -> None:
        raise RuntimeError("the ledger is broken")

    monkeypatch.setattr(ledger, "record", refuse)
