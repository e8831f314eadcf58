"""Copying while hashing: every byte once, holes stay holes, memory stays small, changes are noticed."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import random
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import copying
from core.copying import copy_file, copy_folder, extents
from core.digests import CHUNK_BYTES, Tally, folder_manifest, sha256_file
from core.errors import ConflictError

MIB = 1 << 20


def tally() -> Tally:
    return Tally(total=0)


def random_file(path: Path, size: int) -> Path:
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def knows_holes(folder: Path) -> bool:
    """Whether this file system keeps holes at all."""
    path = folder / "probe"
    with path.open("wb") as file:
        file.truncate(8 * MIB)
    return path.stat().st_blocks * 512 < MIB


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 7 * CHUNK_BYTES + 13])
def test_a_copy_has_the_bytes_and_the_digest_of_the_original(tmp_path: Path, size: int) -> None:
    source, count = random_file(tmp_path / "source", size), tally()
    digest = copy_file(source, tmp_path / "copy", count)
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert digest == hashlib.sha256(source.read_bytes()).hexdigest()
    assert count.done == size


@given(pieces=st.lists(st.tuples(st.booleans(), st.integers(1, 5 * MIB)), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_holes_stay_holes_and_hash_as_zeros(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[bool, int]]
) -> None:
    folder = tmp_path_factory.mktemp("sparse")
    source = folder / "source"
    with source.open("wb") as file:
        for hole, size in pieces:
            if hole:
                file.seek(size, os.SEEK_CUR)
            else:
                file.write(random.Random(size).randbytes(size))
        file.truncate(sum(size for _, size in pieces))
    digest = copy_file(source, folder / "copy", tally())
    assert digest == hashlib.sha256(source.read_bytes()).hexdigest() == sha256_file(folder / "copy")
    assert (folder / "copy").stat().st_size == source.stat().st_size
    if knows_holes(folder) and source.stat().st_size > CHUNK_BYTES:  # smaller ones are written in one go
        assert (folder / "copy").stat().st_blocks <= source.stat().st_blocks + 16


def test_extents_cover_a_file_in_order(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.seek(4 * MIB)
        file.write(b"x" * MIB)
        file.truncate(9 * MIB)
    with path.open("rb") as file:
        found = list(extents(file.fileno(), 9 * MIB))
    assert (found[0].start, found[-1].end) == (0, 9 * MIB)
    assert all(before.end == after.start for before, after in itertools.pairwise(found))
    if knows_holes(tmp_path):
        assert [extent.hole for extent in found] == [True, False, True]


def test_a_large_sparse_file_takes_little_memory_and_little_disk(tmp_path: Path) -> None:
    if not knows_holes(tmp_path):
        pytest.skip("this file system keeps no holes")
    source = tmp_path / "source"
    size = 1 << 30
    with source.open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    copy_file(source, tmp_path / "copy", tally())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB
    assert (tmp_path / "copy").stat().st_size == size and (tmp_path / "copy").stat().st_blocks * 512 < MIB


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    source = random_file(tmp_path / "source", 48 * MIB)
    tracemalloc.start()
    copy_file(source, tmp_path / "copy", tally())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB


@pytest.mark.parametrize("size", [100, 9 * MIB])
def test_a_file_that_changes_meanwhile_is_named(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = random_file(tmp_path / "weights", size)

    class Meddling(Tally):
        def add(self, count: int) -> None:
            super().add(count)
            os.truncate(source, size // 2)

    if size > CHUNK_BYTES:
        with pytest.raises(ConflictError, match="changed while it was being read") as caught:
            copy_file(source, tmp_path / "copy", Meddling(total=size))
        assert caught.value.file == "weights"
    with (
        source.open("rb", buffering=0) as reader,
        copying._Target(tmp_path / "c") as writer,
        pytest.raises(ConflictError),
    ):
        copying._copy_small(source, reader, writer, size + 1, tally())


def test_a_file_system_that_wants_everything_in_its_cache_gets_it_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refuses(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return opened(path, flags, mode)

    source = random_file(tmp_path / "source", 5 * MIB + 7)
    monkeypatch.setattr(os, "open", refuses)
    digest = copy_file(source, tmp_path / "copy", tally())
    assert sha256_file(tmp_path / "copy") == digest == sha256_file(source)


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, place: whole(handle, data[: max(1, len(data) // 2)], place))
    source = random_file(tmp_path / "source", 3 * MIB + 7)
    digest = copy_file(source, tmp_path / "copy", tally())
    assert sha256_file(tmp_path / "copy") == digest == sha256_file(source)


def test_a_file_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    random_file(tmp_path / "secret", 10)
    (tmp_path / "weights").symlink_to(tmp_path / "secret")
    with pytest.raises(ConflictError, match="changed"):
        copy_file(tmp_path / "weights", tmp_path / "copy", tally())
    assert not (tmp_path / "copy").exists()


def test_a_folder_is_copied_by_several_threads_into_the_same_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    for number in range(9):
        random_file(source / ("deep/er" if number % 2 else "") / f"file{number}", number * MIB // 2)
    told: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        threads.add(threading.current_thread())

    manifest = copy_folder(source, tmp_path / "copy", progress=progress)
    assert manifest == folder_manifest(source) == folder_manifest(tmp_path / "copy")
    assert told[-1] == (18 * MIB, 18 * MIB) and threads == {threading.main_thread()}


def test_what_progress_raises_ends_the_work(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        with (source / f"file{number}").open("wb") as file:
            file.truncate(4 << 30)

    class GivenUp(Exception):
        pass

    def progress(done: int, total: int) -> None:
        raise GivenUp

    before = threading.active_count()
    with pytest.raises(GivenUp):
        copy_folder(source, tmp_path / "copy", progress=progress)
    assert threading.active_count() == before
