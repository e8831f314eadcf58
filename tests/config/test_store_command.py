"""``auscult store push``: what lay in the folder before there was a bucket is brought there, and nothing that was
changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import config.cli
from config.cli import auscult
from core.object_storage import SharedStore
from core.store import Store
from tests.core.test_object_storage import PLACE, a_folder, names, s3

__all__ = ["s3"]


@pytest.fixture
def home(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(config.cli, "open_installation", lambda: None)
    settings.AUSCULT_HOME = tmp_path
    return tmp_path / "store"


def run(status: int) -> Any:
    done = CliRunner().invoke(auscult, ["store", "push", "--json"])
    assert done.exit_code == status, done.output + str(done.exception)
    return json.loads(done.stdout)


def test_everything_is_brought_once(home: Path, s3: Any, settings: Any, tmp_path: Path) -> None:
    before = Store(home)
    digests = [before.put_bytes(b"one"), before.put_bytes(b"two")]
    folder, manifest = before.put_folder(a_folder(tmp_path / "model"))
    settings.AUSCULT_BUCKET = PLACE
    told = {"objects": 2, "folders": 1, "bucket": PLACE.name, "changed": []}
    assert run(0) == told | {"sent": 3}
    assert run(0) == told | {"sent": 0}
    other = SharedStore(tmp_path / "elsewhere", PLACE)
    assert [other.get_bytes(digest) for digest in digests] == [b"one", b"two"]
    assert other.verified_folder(folder, manifest).is_dir()


def test_what_was_changed_on_disk_is_named_and_not_sent(home: Path, s3: Any, settings: Any, tmp_path: Path) -> None:
    before = Store(home)
    good, bad = before.put_bytes(b"one"), before.put_bytes(b"two")
    folder, _ = before.put_folder(a_folder(tmp_path / "model"))
    before.path(bad).write_bytes(b"tow")
    (before.folder_path(folder) / "config.json").write_text("{} ")
    settings.AUSCULT_BUCKET = PLACE
    assert sorted(run(1)["changed"]) == sorted([bad, folder])
    assert names(s3) == [f"house/objects/{good[:2]}/{good}"]


def test_without_a_bucket_it_says_what_to_set(home: Path) -> None:
    done = CliRunner().invoke(auscult, ["store", "push"])
    assert done.exit_code == 3 and "AUSCULT_S3_URL is not set." in done.stderr
