"""Model versions that come in by the door with two steps: received and checked, then registered when confirmed."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.utils import timezone

from core.errors import AdapterError, AuscultError, ConflictError, DeniedError, EnvironmentProblemError, NotFoundError
from core.models import LedgerEntry, User
from models_registry import execution_intake
from models_registry.cards import ml_bom
from models_registry.intake.uploads import PromisedFile
from models_registry.models import AISystem, ModelVersion, SystemKind, VersionIntake
from models_registry.services import intakes, versions
from models_registry.services.versions import model_store
from tests.registry.scene import Files, acts, copy_into_home, make_system, make_version, snapshot, without

Status = VersionIntake.Status
LOG = "predictions.parquet"


@pytest.fixture
def world(people: SimpleNamespace, files: Files) -> SimpleNamespace:
    return SimpleNamespace(people=people, files=files, system=make_system(people))


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


def make_other(world: SimpleNamespace) -> AISystem:
    return AISystem.objects.create(
        name="Other model", slug="other", intended_purpose="Other.", created_by=world.people.elena
    )


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


# Services: who, what is left, what may follow on what


def starting(world: SimpleNamespace) -> Callable[[User], Any]:
    return lambda by: start(world, by=by)


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


def finishing(world: SimpleNamespace) -> Callable[[User], Any]:
    row = an_intake(world, Status.RECEIVING)
    return lambda by: intakes.finish_upload(intake=row, by=by)


def rechecking(world: SimpleNamespace) -> Callable[[User], Any]:
    row = an_intake(world, Status.BLOCKED)
    return lambda by: intakes.recheck_intake(intake=row, label="2.0", by=by)


def confirming(world: SimpleNamespace) -> Callable[[User], Any]:
    row = an_intake(world, Status.READY)
    return lambda by: intakes.confirm_intake(intake=row, by=by)


def discarding(world: SimpleNamespace) -> Callable[[User], Any]:
    row = an_intake(world, Status.READY)
    return lambda by: intakes.discard_intake(intake=row, by=by)


WRITES = {
    starting: "version_intake.started",
    finishing: "version_intake.received",
    rechecking: "version_intake.revised",
    confirming: "version_intake.confirmed",
    discarding: "version_intake.discarded",
}
every_write = pytest.mark.parametrize("prepare", WRITES, ids=lambda prepare: prepare.__name__)


@every_write
def test_a_write_has_one_entry_and_is_an_engineers(prepare: Callable[..., Any], world: SimpleNamespace) -> None:
    act = prepare(world)
    before = snapshot()
    for name in without("elena"):
        with pytest.raises(DeniedError, match="Only people with the role"):
            act(getattr(world.people, name))
    assert snapshot() == before
    act(world.people.elena)
    (entry,) = LedgerEntry.objects.all()
    assert (entry.act, entry.actor) == (WRITES[prepare], "elena")


@every_write
def test_without_its_entry_there_is_no_act(
    prepare: Callable[..., Any],
    world: SimpleNamespace,
    broken_ledger: None,
    sent: list,
    django_capture_on_commit_callbacks: Any,
) -> None:
    act = prepare(world)
    before = snapshot()
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(RuntimeError, match="the ledger is broken"):
        act(world.people.elena)
    assert snapshot() == before and sent == []


FOLLOWING = {
    finishing: ({Status.RECEIVING}, Status.QUEUED),
    rechecking: ({Status.READY, Status.BLOCKED, Status.FAILED}, Status.QUEUED),
    confirming: ({Status.READY}, Status.REGISTERING),
    discarding: (
        {Status.RECEIVING, Status.QUEUED, Status.CHECKING, Status.READY, Status.BLOCKED, Status.FAILED},
        Status.DISCARDED,
    ),
}


@pytest.mark.parametrize("prepare", FOLLOWING, ids=lambda prepare: prepare.__name__)
def test_an_intake_takes_its_steps_in_order(prepare: Callable[..., Any], world: SimpleNamespace) -> None:
    allowed, following = FOLLOWING[prepare]
    for status in Status:
        act = prepare(world)
        row = VersionIntake.objects.order_by("-pk")[0]
        VersionIntake.objects.filter(pk=row.pk).update(status=status)
        if status in allowed:
            act(world.people.elena)
            assert fresh(row).status == following
        else:
            with pytest.raises(ConflictError):
                act(world.people.elena)
            assert fresh(row).status == status


def test_messages_go_out_when_the_act_is_committed(
    world: SimpleNamespace, sent: list, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        row = start(world)
        assert sent == []
    checked(row)
    with django_capture_on_commit_callbacks(execute=True):
        intakes.confirm_intake(intake=fresh(row), by=world.people.elena)
    assert sent == [("models_registry.tasks.check_intake", row.pk), ("models_registry.tasks.register_intake", row.pk)]


def test_what_is_not_there_or_not_open_is_refused(world: SimpleNamespace, home: Path, settings: Any) -> None:
    before = snapshot()
    for changes, error, words in (
        ({"label": "  "}, ConflictError, "needs a label"),
        ({"label": "x" * 81}, ConflictError, "at most 80"),
        ({"adapter": "magic"}, AuscultError, "no adapter called"),
        ({"source_path": home / "nowhere"}, AdapterError, "no such folder"),
        ({"source_path": Path("relative")}, AdapterError, "whole path"),
        ({"source_path": None}, AdapterError, "whole path"),
        ({"kind": "archive"}, AdapterError, "no such file"),
        ({"kind": "mlflow"}, AdapterError, "run is missing"),
    ):
        with pytest.raises(error, match=words):
            start(world, **changes)
    settings.AUSCULT_IMPORT_ROOTS = [home / "sources"]
    with pytest.raises(DeniedError, match="does not read"):
        start(world)
    assert snapshot() == before
    start(world, trusted=True)  # from the operator's shell
    make_version(world.people, world.files.predictions, system=world.system, label="1.0")
    with pytest.raises(ConflictError, match=r"already has a version 1\.0"):
        start(world, trusted=True)


# Workers


def test_a_message_that_comes_twice_is_harmless(world: SimpleNamespace) -> None:
    row = checked(start(world))
    before = snapshot()
    execution_intake.check_intake(row.pk)
    execution_intake.register_intake(row.pk)
    assert snapshot() == before
    version = registered(world, row)
    before = snapshot()
    execution_intake.register_intake(row.pk)
    execution_intake.check_intake(row.pk)
    assert snapshot() == before and ModelVersion.objects.get() == version


def test_a_worker_that_died_between_the_rename_and_the_row_is_made_good(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = checked(upload(world, {LOG: log_of(world)}))
    intakes.confirm_intake(intake=row, by=world.people.elena)

    def dies(**_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(execution_intake, "create_version", dies)
        with pytest.raises(KeyboardInterrupt):
            execution_intake.register_intake(row.pk)
    assert fresh(row).status == Status.REGISTERING and not ModelVersion.objects.exists()
    execution_intake.register_intake(row.pk)
    assert fresh(row).status == Status.REGISTERED
    assert acts().count("version.registered") == 1


def test_a_label_taken_meanwhile_is_told_and_another_one_goes_on(world: SimpleNamespace) -> None:
    row = checked(upload(world, {LOG: log_of(world), "notes.md": b"x"}))
    intakes.confirm_intake(intake=row, by=world.people.elena)
    make_version(world.people, world.files.predictions, system=world.system, label="1.0")
    execution_intake.register_intake(row.pk)
    row = fresh(row)
    assert row.status == Status.FAILED and "already has a version 1.0" in row.error
    intakes.recheck_intake(intake=row, label="1.1", by=world.people.elena)
    assert registered(world, checked(row)).label == "1.1"


def test_an_upload_whose_registration_failed_at_the_last_moment_can_be_checked_again(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = checked(upload(world, {LOG: log_of(world)}))
    intakes.confirm_intake(intake=row, by=world.people.elena)

    def refuses(**_: Any) -> None:
        raise ConflictError("The backbone was withdrawn.", remedy="Choose another.")

    with monkeypatch.context() as patch:
        patch.setattr(execution_intake, "create_version", refuses)
        execution_intake.register_intake(row.pk)
    assert "backbone was withdrawn" in fresh(row).error and not ModelVersion.objects.exists()
    intakes.recheck_intake(intake=fresh(row), by=world.people.elena)
    row = checked(row)
    assert row.status == Status.READY, row.checks
    assert registered(world, row).label == "1.0"


def test_an_intake_that_is_given_up_while_it_is_checked_leaves_nothing(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    row = start(world)

    def given_up(*args: Any, **kwargs: Any) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            intakes.discard_intake(intake=fresh(row), by=world.people.elena)
        return look(*args, **kwargs)

    look = execution_intake.look_at
    monkeypatch.setattr(execution_intake, "look_at", given_up)
    row = checked(row)
    assert row.status == Status.DISCARDED and row.findings == {} and staged() == []


def test_an_unexpected_error_is_told_and_not_tried_for_ever(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(execution_intake, "look_at", breaks)
    row = start(world)
    with pytest.raises(ZeroDivisionError):
        execution_intake.check_intake(row.pk)
    assert fresh(row).status == Status.FAILED and "Unexpected ZeroDivisionError" in fresh(row).error
    execution_intake.check_intake(row.pk)
    assert fresh(row).status == Status.FAILED


def test_a_folder_that_changes_while_it_is_read_is_named(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_into_home(world.files.predictions, "moving")
    look = execution_intake.look_at

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        found = look(*args, **kwargs)
        (folder / "late.txt").write_text("late")
        return found

    monkeypatch.setattr(execution_intake, "look_at", meanwhile)
    row = checked(start(world, source_path=folder))
    assert row.status == Status.BLOCKED and "changed while it was being checked" in the(row, "content")["message"]


def test_a_folder_that_became_a_link_meanwhile_is_not_read(world: SimpleNamespace, home: Path) -> None:
    folder = copy_into_home(world.files.predictions, "swapped")
    row = start(world, source_path=folder)
    shutil.rmtree(folder)
    folder.symlink_to("/etc")
    row = checked(row)
    assert row.status == Status.BLOCKED and "link to another place" in the(row, "files")["message"]
    folder.unlink()
    intakes.recheck_intake(intake=row, by=world.people.elena)
    assert "is gone" in the(checked(row), "files")["message"]


def test_the_sweep_sends_again_what_a_dead_worker_held(world: SimpleNamespace, settings: Any, sent: list) -> None:
    old = timezone.now() - timedelta(seconds=4 * settings.AUSCULT_LEASE_SECONDS + 1)
    rows = {status: an_intake(world, status) for status in (Status.CHECKING, Status.QUEUED, Status.REGISTERING)}
    execution_intake.sweep_intakes()
    assert sent == []
    VersionIntake.objects.update(sent_at=old)
    execution_intake.sweep_intakes()
    assert sorted(sent) == [
        ("models_registry.tasks.check_intake", rows[Status.CHECKING].pk),
        ("models_registry.tasks.check_intake", rows[Status.QUEUED].pk),
        ("models_registry.tasks.register_intake", rows[Status.REGISTERING].pk),
    ]
    assert checked(rows[Status.CHECKING]).status == Status.READY


def test_a_worker_that_was_taken_for_dead_writes_nothing(world: SimpleNamespace) -> None:
    row = start(world)
    slow = execution_intake.Pulse.claim(row.pk)
    assert slow is not None
    VersionIntake.objects.update(status=Status.QUEUED)
    assert checked(row).status == Status.READY
    before = snapshot()
    with pytest.raises(execution_intake.IntakeLostError):
        slow.write(status=Status.BLOCKED)
    assert snapshot() == before


def test_abandoned_intakes_end_and_their_files_go(
    world: SimpleNamespace, django_capture_on_commit_callbacks: Any
) -> None:
    old = timezone.now() - timedelta(days=8)
    forgotten = start(world, kind="upload", source_path=None, files=[PromisedFile(path=LOG, size=10)])
    send(world, forgotten, LOG, 0, b"12345")
    alive = start(world, kind="upload", source_path=None, files=[PromisedFile(path=LOG, size=10)])
    send(world, alive, LOG, 0, b"12345")
    VersionIntake.objects.filter(pk=forgotten.pk).update(sent_at=old)
    with django_capture_on_commit_callbacks(execute=True):
        execution_intake.sweep_intakes()
    assert (fresh(forgotten).status, fresh(alive).status) == (Status.DISCARDED, Status.RECEIVING)
    assert "Nobody came back" in fresh(forgotten).message
    assert staged() == [f"intake-{alive.pk}"]
    assert LedgerEntry.objects.order_by("-index")[0].actor == "system"
    (model_store().root / "staging" / f"intake-{forgotten.pk}").mkdir()  # bytes that arrived too late
    execution_intake.sweep_intakes()
    assert staged() == [f"intake-{alive.pk}"]


def test_a_discarded_intake_leaves_the_servers_folder_alone(
    world: SimpleNamespace, django_capture_on_commit_callbacks: Any
) -> None:
    row = checked(start(world))
    assert staged() == [f"intake-{row.pk}"]
    with django_capture_on_commit_callbacks(execute=True):
        intakes.discard_intake(intake=row, by=world.people.elena)
    assert staged() == [] and log_of(world)
