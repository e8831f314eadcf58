"""Model versions that come in by the door with two steps: received and checked, then registered when confirmed."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.conf import settings

from core.errors import ConflictError
from models_registry import execution_intake
from models_registry.cards import ml_bom
from models_registry.models import AISystem, ModelVersion, SystemKind, VersionIntake
from models_registry.services import intakes, versions
from models_registry.services.versions import model_store
from tests.registry.intake_steps import (
    LOG,
    Status,
    archive,
    checked,
    log_of,
    make_other,
    registered,
    staged,
    start,
    states,
    the,
    upload,
)
from tests.registry.scene import acts, copy_into_home, make_version

# The way in, by every kind


def test_a_folder_is_checked_shown_and_registered_when_confirmed(world: SimpleNamespace) -> None:
    row = checked(start(world, notes=" from the vendor "))
    assert row.status == Status.READY, row.checks
    assert set(states(row).values()) == {"ok", "warning"} and states(row)["identity"] == "ok"
    assert not ModelVersion.objects.exists()
    version = registered(world, row)
    stored = model_store().verified_folder(version.digest, version.manifest)
    assert (stored / LOG).read_bytes() == log_of(world)
    assert version.sizes == {LOG: (stored / LOG).stat().st_size}
    assert (version.notes, version.source) == ("from the vendor", str(world.files.predictions))
    assert version.card["missing"] == ["the licence", "the intended use", "a description"]
    assert acts() == ["version_intake.started", "version_intake.confirmed", "version.registered"]
    assert staged() == [] and log_of(world)


def test_every_kind_gives_the_same_version(world: SimpleNamespace, home: Path, tmp_path: Path) -> None:
    digests = set()
    for number, row in enumerate(
        (
            start(world),
            start(world, kind="archive", source_path=archive(tmp_path, world)),
            upload(world, {LOG: log_of(world)}),
            upload(world, {f"chest/{LOG}": log_of(world), "chest/.DS_Store": b"litter"}),
            upload(world, {"chest.tar.gz": archive(tmp_path, world).read_bytes()}),
        )
    ):
        row = checked(row)
        assert row.status == Status.READY, (number, row.checks)
        digests.add(row.findings["digest"])
    assert digests == {make_version(world.people, world.files.predictions, system=world.system).digest}


def test_a_run_of_mlflow_brings_its_model_and_its_figures(
    world: SimpleNamespace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "true")
    from mlflow import MlflowClient

    tracking = home / "sources" / "mlruns"
    client = MlflowClient(tracking_uri=tracking.as_uri())
    run = client.create_run(client.create_experiment("chest")).info.run_id
    client.log_metric(run, "auroc", 0.875)
    client.log_artifacts(run, str(world.files.predictions), "model")
    row = checked(start(world, kind="mlflow", source_path=tracking, mlflow_run=run))
    assert row.status == Status.READY, row.checks
    version = registered(world, row)
    assert version.manifest == make_version(world.people, world.files.predictions, system=make_other(world)).manifest
    assert version.card["run"]["metrics"] == {"auroc": "0.875"}
    assert version.source == f"MLflow run {run} in {tracking}"
    shown = ml_bom(version)["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert shown == [{"type": "auroc", "value": "0.875", "slice": "MLflow run"}]
    row = checked(start(world, label="2", kind="mlflow", source_path=tracking, mlflow_run="0" * 32))
    assert row.status == Status.BLOCKED and "cannot read the run" in the(row, "files")["message"]


def test_an_upload_is_moved_into_the_store_not_copied(world: SimpleNamespace) -> None:
    row = upload(world, {LOG: log_of(world)})
    number = (intakes.upload_folder(row) / LOG).stat().st_ino
    version = registered(world, checked(row))
    stored = model_store().folder_path(version.digest) / LOG
    assert stored.stat().st_ino == number and stored.stat().st_mode & 0o777 == 0o600
    assert staged() == [] and version.source == "Upload by elena"
    assert acts()[1] == "version_intake.received"


# Checks in words


def pickled(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": 1}))


def with_a_huge_configuration(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(300 << 20)


def with_code(folder: Path) -> None:
    (folder / "modeling.py").write_text("import os")


def linked(folder: Path) -> None:
    (folder / "weights").symlink_to("/etc/hostname")


def truncated(folder: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [100], "data_offsets": [0, 400]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(300))


def of_another_kind(folder: Path) -> None:
    (folder / LOG).unlink()
    (folder / "config.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (linked, "files", "link to another place"),
        (with_a_huge_configuration, "files", "no configuration or vocabulary is so large"),
        (pickled, "safe", "pickle"),
        (with_code, "safe", "code, which is never run"),
        (truncated, "weights", "header promises"),
        (of_another_kind, "declaration", "must hold one of"),
    ],
)
def test_what_cannot_be_registered_is_named_with_its_remedy(
    world: SimpleNamespace, spoil: Callable[[Path], None], code: str, words: str
) -> None:
    folder = copy_into_home(world.files.predictions, "spoilt")
    spoil(folder)
    row = checked(start(world, source_path=folder))
    assert row.status == Status.BLOCKED
    found = the(row, code)
    assert found["state"] == "error" and words in found["message"] and found["remedy"]
    later = [check for check in row.checks if check["state"] == "waiting"]
    assert all("earlier check failed" in check["message"] for check in later) and later
    assert "content" in {check["code"] for check in later}  # nothing was copied in vain
    with pytest.raises(ConflictError, match="has errors"):
        intakes.confirm_intake(intake=row, by=world.people.elena)
    assert not ModelVersion.objects.exists() and staged() == []


def test_a_card_that_cannot_be_read_is_a_warning_that_stays_with_the_version(world: SimpleNamespace) -> None:
    folder = copy_into_home(world.files.predictions, "odd")
    (folder / "README.md").write_text("---\nlicense: [\n---\n")
    row = checked(start(world, source_path=folder))
    assert row.status == Status.READY
    assert the(row, "card")["state"] == "warning" and "front matter cannot be read" in the(row, "card")["message"]
    assert "front matter cannot be read" in registered(world, row).card["problem"]


def test_checks_are_told_while_they_are_done(world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    look = execution_intake.look_at

    def watched(*args: Any, **kwargs: Any) -> Any:
        found = look(*args, **kwargs)
        seen.append(states(VersionIntake.objects.get()))
        return found

    monkeypatch.setattr(execution_intake, "look_at", watched)
    row = checked(start(world))
    assert seen[0]["declaration"] == "ok" and seen[0]["content"] == "waiting"
    assert row.progress == 1.0


def test_the_same_content_or_label_is_an_error_and_the_same_weights_elsewhere_a_warning(world: SimpleNamespace) -> None:
    version = make_version(world.people, world.files.predictions, system=world.system, label="0.9")
    row = checked(start(world))
    assert row.status == Status.BLOCKED
    assert the(row, "identity")["message"] == "The same content is already registered as 0.9."
    assert staged() == []
    row = checked(start(world, system=make_other(world)))
    assert row.status == Status.READY
    assert the(row, "duplicates")["state"] == "warning" and str(version) in the(row, "duplicates")["message"]
    assert the(row, "duplicates")["file"] == LOG
    assert registered(world, row).digest == version.digest


def test_what_changed_against_the_former_version_is_found(world: SimpleNamespace) -> None:
    make_version(world.people, world.files.predictions, system=world.system, label="0.9")
    folder = copy_into_home(world.files.predictions, "next")
    (folder / "README.md").write_text("---\nlicense: mit\nintended_use: Triage\n---\nIt helps.")
    row = checked(start(world, source_path=folder))
    assert row.findings["change"] == {"against": "0.9", "added": ["README.md"], "removed": [], "changed": []}
    assert (states(row)["card"], the(row, "licence")["message"]) == ("ok", "MIT")


def safetensors(path: Path, value: float) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + np.full(4, value, np.float32).tobytes())


def a_log(name: str) -> Path:
    """A folder with a small prediction log, which is no weights file, to which tests add weights."""
    folder = Path(settings.AUSCULT_HOME) / "sources" / name
    folder.mkdir(parents=True)
    (folder / "predictions.csv").write_text("study_id,pred.effusion\ns1,1\n")
    return folder


def test_a_backbone_is_found_by_its_weights_and_another_one_refused(world: SimpleNamespace, home: Path) -> None:
    system = AISystem.objects.create(
        name="Backbone", slug="backbone", kind=SystemKind.BACKBONE, intended_purpose="-", created_by=world.people.elena
    )
    versions_of = {}
    for label, value in (("1", 1.0), ("2", 2.0)):
        folder = a_log(f"backbone-{label}")
        safetensors(folder / "backbone.safetensors", value)
        versions_of[label] = versions.register_version(
            system=system, label=label, adapter="recorded", folder=folder, by=world.people.elena
        )
    (folder := a_log("head")).joinpath("README.md").write_text("A head.")
    shutil.copy(home / "sources" / "backbone-1" / "backbone.safetensors", folder)
    row = checked(start(world, source_path=folder))
    assert the(row, "lineage") == the(row, "lineage") | {
        "state": "ok",
        "message": "Built on Backbone 1: equal weights.",
    }
    assert row.findings["backbone_digest"] == row.findings["manifest"]["backbone.safetensors"]
    wrong = checked(start(world, label="1.1", source_path=folder, backbone=versions_of["2"]))
    assert wrong.status == Status.BLOCKED and "another backbone than Backbone 2" in the(wrong, "lineage")["message"]
    version = registered(world, row)
    assert version.origins.get(relation="backbone").source_version == versions_of["1"]
    with pytest.raises(ConflictError, match="is no backbone"):
        start(world, label="1.2", source_path=folder, backbone=version)
