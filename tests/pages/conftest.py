"""A furnished house, and a browser for each person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client

from core import kept
from tests.pages import scene


@pytest.fixture(autouse=True)
def own_home(settings: Any, tmp_path: Path) -> Iterator[None]:
    """A store and an upload folder of the test's own, and no chart of another test's run."""
    settings.AUSCULT_HOME = tmp_path
    settings.MEDIA_ROOT = tmp_path / "uploads"
    settings.AUSCULT_IMPORT_ROOTS = [tmp_path / "sources", tmp_path / "uploads"]
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    _forget()
    yield
    _forget()


def _forget() -> None:
    for name in ("default", "pictures"):
        caches[name].clear()


@pytest.fixture
def worked_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept from one look at a page to the next: for counting what working it out asks."""
    monkeypatch.setattr(kept, "SECONDS", 0)


@pytest.fixture
def house(db: None) -> SimpleNamespace:
    return SimpleNamespace(**scene.house())


@pytest.fixture
def sign_in(db: None) -> Callable[[str], Client]:
    """``sign_in("amir")`` gives a client that is signed in as this person."""

    def as_person(username: str) -> Client:
        client = Client()
        client.force_login(scene.person(username))
        return client

    return as_person
