"""The store: content by digest, whole or not there, and never believed without a look."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from core.digests import (
    canonical_json,
    compare_manifests,
    finite_or_none,
    folder_manifest,
    manifest_digest,
    sha256_file,
    sha256_json,
)
from core.errors import AuscultError, DigestMismatchError, EnvironmentProblemError, NotFoundError
from core.store import Store, check_manifest

DATA = b"some evidence"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "tokens").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokens" / "vocabulary.txt").write_text("a\nb\n")
    return folder


def left_behind(store: Store) -> list[Path]:
    return list((store.root / "staging").iterdir())


def test_bytes_come_back_by_their_digest(store: Store) -> None:
    assert store.put_bytes(DATA) == store.put_bytes(DATA) == DIGEST
    assert store.get_bytes(DIGEST) == DATA
    assert store.path(DIGEST).stat().st_mode & 0o777 == 0o600
    assert left_behind(store) == []


def test_a_file_and_a_json_value_have_the_digest_of_their_bytes(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    assert store.put_file(tmp_path / "file") == DIGEST == sha256_file(tmp_path / "file")
    digest = store.put_json({"b": 1, "a": [0.1, None, "é"]})
    assert store.get_bytes(digest) == '{"a":[0.1,null,"é"],"b":1}'.encode()
    assert store.get_json(digest) == {"a": [0.1, None, "é"], "b": 1}


def test_what_is_not_there_is_named(store: Store) -> None:
    assert not store.has(DIGEST)
    with pytest.raises(NotFoundError, match=DIGEST[:16]):
        store.get_bytes(DIGEST)
    with pytest.raises(NotFoundError, match="no folder"):
        store.verified_folder(DIGEST, {})


def test_bytes_changed_on_disk_are_found(store: Store) -> None:
    store.put_bytes(DATA)
    store.path(DIGEST).write_bytes(DATA.upper())
    with pytest.raises(DigestMismatchError, match="changed on disk"):
        store.get_bytes(DIGEST)


def test_a_failed_write_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(EnvironmentProblemError, match="is full"):
        store.put_bytes(DATA)
    assert not store.has(DIGEST)


def test_another_fault_of_the_disk_is_not_called_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(PermissionError):
        store.put_bytes(DATA)


def test_a_folder_comes_back_after_every_file_was_compared(store: Store, model: Path) -> None:
    digest, manifest = store.put_folder(model)
    expected = {
        "model.safetensors": hashlib.sha256(b"weights").hexdigest(),
        "tokens/vocabulary.txt": hashlib.sha256(b"a\nb\n").hexdigest(),
    }
    assert manifest == expected == folder_manifest(model)
    text = json.dumps(expected, sort_keys=True, separators=(",", ":"))
    assert digest == hashlib.sha256(text.encode()).hexdigest() == manifest_digest(expected)
    assert (store.verified_folder(digest, manifest) / "model.safetensors").read_bytes() == b"weights"
    assert store.put_folder(model) == (digest, manifest)
    assert left_behind(store) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"Weights"), "model.safetensors was changed"),
        (lambda folder: (folder / "tokens" / "vocabulary.txt").unlink(), "tokens/vocabulary.txt is missing"),
        (lambda folder: (folder / "code.py").write_text("x"), "code.py was added"),
    ],
)
def test_a_folder_changed_on_disk_is_found_and_the_file_named(
    change: object, message: str, store: Store, model: Path
) -> None:
    digest, manifest = store.put_folder(model)
    change(store.folder_path(digest))
    with pytest.raises(DigestMismatchError, match=message):
        store.verified_folder(digest, manifest)


def test_a_folder_cannot_be_renamed_into_another(model: Path) -> None:
    manifest = folder_manifest(model)
    (model / "model.safetensors").rename(model / "weights.safetensors")
    with pytest.raises(DigestMismatchError, match=r"model\.safetensors is missing"):
        check_manifest(model, manifest)


@pytest.mark.parametrize("move", [False, True])
def test_a_folder_that_is_moved_in_is_the_same_as_a_copy(store: Store, model: Path, move: bool) -> None:
    (model / "tokens" / "vocabulary.txt").chmod(0o644)
    expected = folder_manifest(model)
    number = (model / "model.safetensors").stat().st_ino
    digest, manifest = store.put_folder(model, move=move)
    stored = store.folder_path(digest)
    assert manifest == expected == folder_manifest(stored)
    assert model.exists() is not move
    assert ((stored / "model.safetensors").stat().st_ino == number) is move
    assert (stored / "tokens" / "vocabulary.txt").stat().st_mode & 0o777 == 0o600
    assert (stored / "tokens").stat().st_mode & 0o777 == 0o700
    assert left_behind(store) == []


def test_the_same_content_moved_in_twice_is_kept_once(store: Store, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "again")
    assert store.put_folder(model, move=True) == store.put_folder(tmp_path / "again", move=True)
    assert not (tmp_path / "again").exists()


def test_a_move_across_disks_is_a_copy(store: Store, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = store.staging_folder().parent
    stat = Path.stat

    def elsewhere(path: Path, **options: bool) -> object:
        found = stat(path, **options)
        return os.stat_result([*found[:2], 99, *found[3:10]]) if path == staging else found

    expected = folder_manifest(model)
    monkeypatch.setattr(Path, "stat", elsewhere)
    digest, manifest = store.put_folder(model, move=True)
    assert manifest == expected == folder_manifest(store.folder_path(digest)) and not model.exists()


def test_links_pipes_and_devices_do_not_come_in(store: Store, model: Path) -> None:
    (model / "link").symlink_to("/etc/hostname")
    with pytest.raises(AuscultError, match="link to another place") as caught:
        store.put_folder(model)
    assert caught.value.file == "link"
    (model / "link").unlink()
    os.mkfifo(model / "pipe")
    with pytest.raises(AuscultError, match="neither a file nor a folder"):
        store.put_folder(model)
    assert not (store.root / "folders").exists()


def test_a_disk_without_room_is_told_before_anything_is_copied(
    store: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(EnvironmentProblemError, match=r"0\.0 GB free"):
        store.put_folder(model)
    assert left_behind(store) == []


def test_a_folder_that_fails_half_way_leaves_nothing(
    store: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("core.copying.copy_file", gone)
    with pytest.raises(PermissionError):
        store.put_folder(model)
    assert left_behind(store) == [] and not (store.root / "folders").exists()


def test_two_manifests_tell_what_changed(model: Path) -> None:
    before = folder_manifest(model)
    (model / "model.safetensors").write_bytes(b"Weights")
    (model / "tokens" / "vocabulary.txt").rename(model / "tokens" / "words.txt")
    change = compare_manifests(before, folder_manifest(model))
    assert change.changed == ("model.safetensors",)
    assert (change.removed, change.added) == (("tokens/vocabulary.txt",), ("tokens/words.txt",))
    assert change and not compare_manifests(before, before)


def test_a_link_out_of_the_folder_is_not_followed(model: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("patients")
    before = folder_manifest(model)
    (model / "link").symlink_to(tmp_path / "secret")
    assert folder_manifest(model) == before


def test_canonical_json_has_one_form() -> None:
    assert canonical_json({"b": 1, "a": {"d": 1.0, "c": "ü"}}) == '{"a":{"c":"ü","d":1.0},"b":1}'.encode()
    assert sha256_json({"x": 1, "y": 2}) == sha256_json({"y": 2, "x": 1})
    for value in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(ValueError, match="Out of range float"):
            canonical_json([value])
        assert finite_or_none(value) is None
    assert (finite_or_none(None), finite_or_none(0)) == (None, 0.0)


def test_reading_canonical_json_gives_the_same_bytes_again() -> None:
    """A verifier that reads and writes a number must come to the same digest."""
    data = canonical_json([0.1, 1e-7, 1e22, 123456789.123456789, -0.0, 5e-324, 2**70])
    assert canonical_json(json.loads(data)) == data
