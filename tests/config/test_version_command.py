"""``auscult version``: checks without a database, registers in a shell without a worker, writes the ML-BOM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

import config.cli as cli
from models_registry.models import ModelVersion, VersionIntake
from models_registry.services.versions import model_store
from tests.config.test_cli import Ended, auscult
from tests.registry.scene import Files, acts, make_system, make_version, snapshot

__all__ = ["auscult"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def world(people: SimpleNamespace, files: Files, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setattr(cli, "open_installation", lambda: connection.ensure_connection())
    monkeypatch.setenv("AUSCULT_USER", "elena")
    return SimpleNamespace(people=people, files=files, system=make_system(people))


def register(auscult: Callable[..., Ended], path: Path, *more: object) -> Ended:
    return auscult(
        "version", "register", path, "--adapter", "recorded", "--system", "chest-model", "--label", "1.0", *more
    )


def packed(world: SimpleNamespace, folder: Path) -> Path:
    path = folder / "model.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.write(world.files.predictions / "predictions.parquet", "model/predictions.parquet")
    return path


def test_a_folder_and_an_archive_are_registered_after_they_were_shown(
    world: SimpleNamespace, auscult: Callable[..., Ended], tmp_path: Path, settings: Any
) -> None:
    settings.AUSCULT_IMPORT_ROOTS = []  # for pages; the operator's shell may read anything
    ended = register(auscult, world.files.predictions, "--yes")
    assert ended.code == 0, ended
    assert "ok: The adapter reads the model" in ended.output and "warning: Licence." in ended.output
    version = ModelVersion.objects.get()
    assert f"Digest {version.digest}" in ended.output
    assert acts() == ["version_intake.started", "version_intake.confirmed", "version.registered"]
    model_store().verified_folder(version.digest, version.manifest)
    assert "already has a version 1.0" in register(auscult, packed(world, tmp_path), "--yes").errors
    again = register(auscult, packed(world, tmp_path), "--yes", "--json", "--label", "1.1")
    assert again.code == 3
    body = json.loads(again.output)
    assert body["registered"] is False and "already registered as 1.0" in body["checks"][-1]["message"]


def test_nothing_is_registered_unless_it_is_confirmed(
    world: SimpleNamespace, auscult: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = register(auscult, packed(world, tmp_path), "--json")
    assert ended.code == 1 and "--yes" in ended.errors
    assert json.loads(ended.output)["registered"] is False
    assert not ModelVersion.objects.exists() and VersionIntake.objects.get().status == "discarded"


def test_what_has_errors_ends_with_3_and_names_them(
    world: SimpleNamespace, auscult: Callable[..., Ended], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.pt").write_bytes(b"\x80\x04pickle")
    ended = register(auscult, folder, "--yes")
    assert ended.code == 3 and "pickle" in ended.output and "safetensors.torch.save_file" in ended.output
    assert not ModelVersion.objects.exists()
    before = snapshot()
    for arguments, words in (
        (("--system", "nowhere"), "There is no system 'nowhere'"),
        (("--backbone", "chest-model:9"), "has no version '9'"),
        (("--backbone", "chest-model"), "no version of a backbone"),
        (("--as", "ghost"), "no user called 'ghost'"),
        (("--as", "amir"), "Only people with the role ML engineer"),
    ):
        ended = register(auscult, folder, *arguments)
        assert ended.code == 3 and words in ended.errors
    assert snapshot() == before


def test_checking_needs_no_database(auscult: Callable[..., Ended], files: Files, tmp_path: Path) -> None:
    ended = auscult("version", "check", files.predictions, "--adapter", "recorded", "--json")
    body = json.loads(ended.output)
    assert ended.code == 0 and body["usable"] is True and len(body["digest"]) == 64
    archive = packed(SimpleNamespace(files=files), tmp_path)
    again = json.loads(auscult("version", "check", archive, "--adapter", "recorded", "--json").output)
    assert again["digest"] == body["digest"]
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04")
    ended = auscult("version", "check", tmp_path / "bad.zip", "--adapter", "recorded")
    assert ended.code == 3 and "ERROR: Files are received" in ended.output and "truncated" in ended.output


def test_the_bom_is_written(world: SimpleNamespace, auscult: Callable[..., Ended], tmp_path: Path) -> None:
    make_version(world.people, world.files.predictions, system=world.system)
    printed = auscult("version", "bom", "chest-model", "1.0")
    assert json.loads(printed.output)["bomFormat"] == "CycloneDX"
    assert auscult("version", "bom", "chest-model", "1.0", "--out", tmp_path / "bom.json").code == 0
    assert (tmp_path / "bom.json").read_text() == printed.output
    told = json.loads(auscult("version", "bom", "chest-model", "1.0", "--out", tmp_path / "more.json", "--json").output)
    assert told == {"file": str(tmp_path / "more.json"), "bytes": (tmp_path / "bom.json").stat().st_size}
    assert auscult("version", "bom", "chest-model", "1.0", "--out", tmp_path / "bom.json").code == 3
    assert "It has: 1.0" in auscult("version", "bom", "chest-model", "2.0").errors


def test_in_a_fresh_shell_without_worker_or_broker(files: Files, tmp_path: Path) -> None:
    """A real process: a new installation, a person, a system, and a version registered in it."""
    home = tmp_path / "home"
    environment = os.environ | {"AUSCULT_HOME": str(home), "AUSCULT_REDIS_URL": "redis://127.0.0.1:1/0"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    setup = (
        "from config.cli import open_installation; open_installation()\n"
        "from core.models import User; from models_registry.services.systems import create_system\n"
        "elena = User.objects.create(username='elena'); elena.role_grants.create(role='ml_engineer')\n"
        "create_system(name='Chest', provider='', intended_purpose='x', risk_class='', by=elena)\n"
    )

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-c", setup)
    shell = ("-m", "config.cli", "version", "register", str(files.predictions), "--adapter", "recorded")
    said = run(*shell, "--system", "chest", "--label", "1.0", "--as", "elena", "--yes")
    assert "Registered Chest 1.0: 1 file," in said
    assert (home / "store" / "folders").is_dir()
