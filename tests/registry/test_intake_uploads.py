"""Uploads of a model version: in pieces, by one person, onto a disk that may be full."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import AdapterError, ConflictError, DeniedError, EnvironmentProblemError, NotFoundError
from core.models import User
from models_registry.intake.uploads import PromisedFile
from models_registry.services import intakes
from tests.registry.intake_steps import (
    LOG,
    Status,
    checked,
    log_of,
    send,
    start,
    the,
    upload,
)
from tests.registry.scene import snapshot

# Uploads


def test_an_upload_goes_on_where_it_stopped(world: SimpleNamespace) -> None:
    data = log_of(world)
    row = start(world, kind="upload", source_path=None, files=[PromisedFile(path=LOG, size=len(data))])
    assert row.status == Status.RECEIVING
    assert send(world, row, LOG, 0, data[:100]).received == 100
    # The connection breaks after 50 of 200 bytes: those are kept.
    assert send(world, row, LOG, 100, data[100:150], length=200).received == 150
    for offset in (0, 100, 151):
        with pytest.raises(ConflictError, match=r"150 of .* have arrived") as caught:
            send(world, row, LOG, offset, b"x")
        assert caught.value.remedy == "Go on at 150."
    with pytest.raises(ConflictError, match="150 of"):
        intakes.finish_upload(intake=row, by=world.people.elena)
    with pytest.raises(ConflictError, match="reach beyond"):
        send(world, row, LOG, 150, data[150:] + b"x")
    assert send(world, row, LOG, 150, data[150:]).received == len(data)
    intakes.finish_upload(intake=row, by=world.people.elena)
    assert checked(row).status == Status.READY
    with pytest.raises(ConflictError, match="has ended"):
        send(world, row, LOG, len(data), b"")
    with pytest.raises(ConflictError, match="moved on"):
        intakes.finish_upload(intake=row, by=world.people.elena)


def test_nobody_but_who_started_an_upload_sends_to_it(world: SimpleNamespace, people: SimpleNamespace) -> None:
    row = start(world, kind="upload", source_path=None, files=[PromisedFile(path=LOG, size=10)])
    colleague = User.objects.create(username="emil")
    colleague.role_grants.create(role="ml_engineer")
    for person in (colleague, people.amir, people.nobody):
        with pytest.raises(DeniedError):
            send(world, row, LOG, 0, b"x", by=person)
        with pytest.raises(DeniedError):
            intakes.finish_upload(intake=row, by=person)
    with pytest.raises(NotFoundError, match="no such file"):
        send(world, row, "other", 0, b"x")
    assert not intakes.upload_folder(row).exists()


def test_two_requests_do_not_write_the_same_file(world: SimpleNamespace) -> None:
    row = start(world, kind="upload", source_path=None, files=[PromisedFile(path=LOG, size=10)])

    class Meanwhile(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            with pytest.raises(ConflictError, match="Another request is sending"):
                send(world, row, LOG, 0, b"evil")
            return super().read(size)

    send(world, row, LOG, 0, b"", stream=Meanwhile(b"good"), length=4)
    assert (intakes.upload_folder(row) / LOG).read_bytes() == b"good"


def test_a_full_disk_is_told_and_the_upload_goes_on(world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    row = start(world, kind="upload", source_path=None, files=[PromisedFile(path=LOG, size=10)])

    def full(*_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(intakes, "write_chunk", full)
        with pytest.raises(EnvironmentProblemError, match="disk of the store is full"):
            send(world, row, LOG, 0, b"12345")
    assert send(world, row, LOG, 0, b"12345").received == 5


@pytest.mark.parametrize(
    ("promised", "words"),
    [
        ([], "1 to 10,000 files"),
        ([("../x", 1)], "leads out"),
        ([("/x", 1)], "begins with /"),
        ([("a\\b", 1)], "backslash"),
        ([("./a", 1)], "no plain path"),
        ([("a", 1), ("A", 1)], "is there twice"),
        ([("a", 1), ("a/b", 1)], "which is a file"),
        ([("a", -1)], "cannot have"),
        ([("a", 1 << 60)], "cannot have"),
    ],
)
def test_an_upload_with_refused_names_or_sizes_is_not_begun(
    world: SimpleNamespace, promised: list[tuple[str, int]], words: str
) -> None:
    before = snapshot()
    with pytest.raises(AdapterError, match=words):
        start(
            world,
            kind="upload",
            source_path=None,
            files=[PromisedFile(path=path, size=size) for path, size in promised],
        )
    assert snapshot() == before


def test_an_upload_larger_than_the_disk_is_not_begun(world: SimpleNamespace) -> None:
    with pytest.raises(EnvironmentProblemError, match="GB free"):
        start(world, kind="upload", source_path=None, files=[PromisedFile(path="a", size=1 << 42)])


def test_a_spoilt_archive_in_an_upload_is_named_and_the_worker_lives_on(world: SimpleNamespace) -> None:
    row = checked(upload(world, {"model.zip": b"PK\x03\x04 not really"}))
    assert row.status == Status.BLOCKED and "truncated or damaged" in the(row, "files")["message"]
    row = checked(upload(world, {"model.tar.gz": b"nothing at all"}))
    assert "neither a zip nor a tar" in the(row, "files")["message"]
