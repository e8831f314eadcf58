"""A folder of judges as an operator supplies it, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.judges import models

SAVED = {
    "nli": models.save_nli,
    "chexbert": models.save_chexbert,
    "radgraph": models.save_radgraph,
    "green": models.save_green,
}


@pytest.fixture(scope="session")
def supplied(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("judges")
    for name, save in SAVED.items():
        save(home / name)
    return home


@pytest.fixture
def own(supplied, tmp_path, monkeypatch) -> Path:
    """A copy that a test may spoil, where AUSCULT_JUDGES points."""
    home = Path(shutil.copytree(supplied, tmp_path / "judges"))
    monkeypatch.setenv("AUSCULT_JUDGES", str(home))
    return home


@pytest.fixture
def there(supplied, monkeypatch) -> Path:
    monkeypatch.setenv("AUSCULT_JUDGES", str(supplied))
    return supplied
