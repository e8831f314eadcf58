"""What happens to a model version on its way in, step by step, without workers."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from models_registry import execution_intake
from models_registry.intake.uploads import PromisedFile
from models_registry.models import AISystem, ModelVersion, VersionIntake
from models_registry.services import intakes
from models_registry.services.versions import model_store

Status = VersionIntake.Status
LOG = "predictions.parquet"


def start(world: SimpleNamespace, **changes: Any) -> VersionIntake:
    facts = {"label": "1.0", "adapter": "recorded", "kind": "folder", "source_path": world.files.predictions}
    return intakes.start_intake(**{"system": world.system, "by": world.people.elena} | facts | changes)


def upload(world: SimpleNamespace, files: dict[str, bytes], **changes: Any) -> VersionIntake:
    """An upload whose bytes have all been sent, in three chunks a file."""
    promised = [PromisedFile(path=path, size=len(data)) for path, data in files.items()]
    row = start(world, kind="upload", source_path=None, files=promised, **changes)
    for path, data in files.items():
        step = max(1, len(data) // 3 + 1)
        for offset in range(0, len(data), step):
            send(world, row, path, offset, data[offset : offset + step])
    return intakes.finish_upload(intake=row, by=world.people.elena)


def send(world: SimpleNamespace, row: VersionIntake, path: str, offset: int, data: bytes, **changes: Any) -> Any:
    facts = {"stream": io.BytesIO(data), "length": len(data), "by": world.people.elena} | changes
    return intakes.receive_chunk(intake=row, path=path, offset=offset, **facts)


def fresh(row: VersionIntake) -> VersionIntake:
    return VersionIntake.objects.get(pk=row.pk)


def checked(row: VersionIntake) -> VersionIntake:
    execution_intake.check_intake(row.pk)
    return fresh(row)


def registered(world: SimpleNamespace, row: VersionIntake) -> ModelVersion:
    intakes.confirm_intake(intake=fresh(row), by=world.people.elena)
    execution_intake.register_intake(row.pk)
    assert fresh(row).status == Status.REGISTERED, fresh(row).error
    return ModelVersion.objects.get(pk=fresh(row).result_id)


def states(row: VersionIntake) -> dict[str, str]:
    return {check["code"]: check["state"] for check in row.checks}


def the(row: VersionIntake, code: str) -> dict[str, str]:
    return next(check for check in row.checks if check["code"] == code)


def staged() -> list[str]:
    home = model_store().root / "staging"
    return sorted(path.name for path in home.iterdir()) if home.is_dir() else []


def log_of(world: SimpleNamespace) -> bytes:
    return bytes((world.files.predictions / LOG).read_bytes())


def archive(folder: Path, world: SimpleNamespace) -> Path:
    path = folder / "model.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.add(world.files.predictions, arcname="chest")
    return path


def make_other(world: SimpleNamespace) -> AISystem:
    return AISystem.objects.create(
        name="Other model", slug="other", intended_purpose="Other.", created_by=world.people.elena
    )


def an_intake(world: SimpleNamespace, status: str, **changes: Any) -> VersionIntake:
    return VersionIntake.objects.create(
        **{
            "system": world.system,
            "label": "1.0",
            "adapter": "recorded",
            "kind": "folder",
            "source_path": str(world.files.predictions),
            "status": status,
            "created_by": world.people.elena,
        }
        | changes
    )
