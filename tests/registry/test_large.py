"""Checkpoints that are larger than memory: read once, a mebibyte at a time, and their holes stay holes.

The sparse checkpoint has 1 GB, so that the suite stays quick; ``AUSCULT_TEST_SPARSE_GB=20`` makes it larger, and
``benchmarks/registration.py`` measures one of 20 GB.
"""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.registration import write_checkpoint
from models_registry import execution_intake
from models_registry.intake.uploads import PromisedFile
from models_registry.models import VersionIntake
from models_registry.services import intakes
from models_registry.services.versions import model_store, register_version
from tests.registry.scene import make_system

LAYERS_PER_GB = 1.862
GIGABYTES = float(os.environ.get("AUSCULT_TEST_SPARSE_GB", "1"))
MOST_BYTES = 200 << 20
WEIGHTS = "model.safetensors"


def memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


@pytest.fixture
def checkpoint(home: Path) -> Path:
    return write_checkpoint(
        home / "sources" / "large", layers=round(GIGABYTES * LAYERS_PER_GB), hidden=4096, holes=True
    )


def test_a_sparse_checkpoint_is_registered_within_200_mb(people: SimpleNamespace, checkpoint: Path, home: Path) -> None:
    system = make_system(people)
    tiny = write_checkpoint(home / "sources" / "tiny", layers=1, hidden=64, holes=False)
    register_version(system=system, label="0.1", adapter="text_generation", folder=tiny, by=people.elena)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
    before = memory("VmRSS")
    row = intakes.start_intake(
        system=system, label="1.0", adapter="text_generation", kind="folder", source_path=checkpoint, by=people.elena
    )
    execution_intake.check_intake(row.pk)
    row = VersionIntake.objects.get(pk=row.pk)
    assert row.status == "ready", row.checks
    intakes.confirm_intake(intake=row, by=people.elena)
    execution_intake.register_intake(row.pk)
    assert memory("VmHWM") - before < MOST_BYTES
    version = system.versions.get(label="1.0")
    assert version.sizes[WEIGHTS] > GIGABYTES * 0.9e9
    stored = model_store().folder_path(version.digest) / WEIGHTS
    assert stored.stat().st_blocks * 512 < 10 << 20
    with checkpoint.joinpath(WEIGHTS).open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == version.manifest[WEIGHTS]
    assert version.config["details"]["parameters"] * 2 + 50_000 > version.sizes[WEIGHTS]


class Zeros:
    """A connection that brings as many zeros as one reads."""

    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def test_an_upload_is_streamed_to_the_disk(people: SimpleNamespace, home: Path) -> None:
    size, chunk = 96 << 20, 32 << 20
    row = intakes.start_intake(
        system=make_system(people),
        label="1.0",
        adapter="fusion",
        kind="upload",
        source_path=None,
        files=[PromisedFile(path=WEIGHTS, size=size)],
        by=people.elena,
    )
    tracemalloc.start()
    for offset in range(0, size, chunk):
        stream = Zeros()
        intakes.receive_chunk(intake=row, path=WEIGHTS, offset=offset, stream=stream, length=chunk, by=people.elena)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert (intakes.upload_folder(row) / WEIGHTS).stat().st_size == size
