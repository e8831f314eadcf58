"""What the registry's services refuse, and what they leave behind: everything or nothing."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import AdapterError, AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry
from models_registry.models import AISystem, CohortImport, ModelVersion, VersionStatus
from models_registry.services import versions
from tests.registry import scene
from tests.registry.scene import Files, acts, make_system, make_version, snapshot
from tests.registry.service_steps import INTERNAL, WRITES, Act, every_write, new_import, new_system


@pytest.fixture
def world(people: SimpleNamespace, files: Files) -> SimpleNamespace:
    return SimpleNamespace(people=people, files=files)


@every_write
def test_a_write_has_one_entry_in_the_ledger(prepare: Callable[..., Act], world: SimpleNamespace) -> None:
    allowed, expected = WRITES[prepare]
    act = prepare(world)
    by = getattr(world.people, allowed.split()[0])
    act(by)
    (entry,) = LedgerEntry.objects.all()
    assert (entry.act, entry.actor) == (expected, by.username)


@every_write
def test_without_its_entry_there_is_no_act(
    prepare: Callable[..., Act],
    world: SimpleNamespace,
    broken_ledger: None,
    sent: list,
    django_capture_on_commit_callbacks: Any,
) -> None:
    act = prepare(world)
    before = snapshot()
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(RuntimeError, match="the ledger is broken"):
        act(getattr(world.people, WRITES[prepare][0].split()[0]))
    assert snapshot() == before
    assert sent == []


@pytest.mark.parametrize(
    "prepare", [act for act in WRITES if act not in INTERNAL], ids=lambda prepare: prepare.__name__
)
def test_everybody_else_is_denied(prepare: Callable[..., Act], world: SimpleNamespace) -> None:
    act = prepare(world)
    before = snapshot()
    for name in scene.without(WRITES[prepare][0]):
        with pytest.raises(DeniedError, match="Only people with the role"):
            act(getattr(world.people, name))
    closed = world.people.elena
    closed.is_active = False
    with pytest.raises(DeniedError, match="closed"):
        act(closed)
    assert snapshot() == before


# Systems


def test_a_system_has_a_name_of_its_own(people: SimpleNamespace) -> None:
    system = new_system(people.elena, "  Chest Model ")
    assert (system.name, system.slug) == ("Chest Model", "chest-model")
    for name in ("Chest Model", "chest  MODEL!"):
        with pytest.raises(ConflictError, match="already a system called"):
            new_system(people.elena, name)
    for name, purpose in (("", "x"), ("!!!", "x"), ("Other", "  ")):
        with pytest.raises(ConflictError, match="needs a name and an intended purpose"):
            new_system(people.elena, name, intended_purpose=purpose)
    assert acts() == ["system.registered"]


# Versions


def register(world: SimpleNamespace, folder: Path, label: str = "1.0", adapter: str = "recorded") -> ModelVersion:
    system = AISystem.objects.first() or make_system(world.people)
    return versions.register_version(system=system, label=label, adapter=adapter, folder=folder, by=world.people.elena)


def test_a_version_is_its_content(world: SimpleNamespace, home: Path) -> None:
    version = register(world, world.files.predictions, label=" 1.0 ")
    assert (version.label, version.status) == ("1.0", VersionStatus.SUBMITTED)
    assert version.config["outputs"] == ["pred.effusion"] and version.config["runs_weights"] is False
    stored = versions.model_store().verified_folder(version.digest, version.manifest)
    original = (world.files.predictions / "predictions.parquet").read_bytes()
    assert (stored / "predictions.parquet").read_bytes() == original


def test_the_same_label_or_the_same_content_twice_is_a_conflict(world: SimpleNamespace) -> None:
    register(world, world.files.predictions)
    with pytest.raises(ConflictError, match=r"same content is already registered as 1\.0"):
        register(world, world.files.predictions, label="2.0")
    other = scene.copy_into_home(world.files.predictions, "other")
    (other / "notes.txt").write_text("other content")
    with pytest.raises(ConflictError, match=r"already has a version 1\.0"):
        register(world, other)
    with pytest.raises(ConflictError, match="needs a label"):
        register(world, other, label="  ")
    assert acts() == ["version.registered"]
    register(world, other, label="2.0")


def test_a_rival_who_was_first_is_told_as_a_conflict(world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people register at once: both pass the look beforehand, the database lets one through."""
    register(world, world.files.predictions)
    monkeypatch.setattr(versions, "check_new", lambda **_: None)
    with pytest.raises(ConflictError, match="already has a version"):
        register(world, world.files.predictions)
    assert acts() == ["version.registered"]


def pickled(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": 1}))


def disguised_pickle(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({"weight": 1}))


def empty(folder: Path) -> None:
    (folder / "predictions.parquet").unlink()


def damaged(folder: Path) -> None:
    (folder / "predictions.parquet").write_bytes(b"PAR1 not really")


@pytest.mark.parametrize(
    ("spoil", "adapter", "words"),
    [
        (pickled, "fusion", "pickle"),
        (disguised_pickle, "fusion", "pickle"),
        (empty, "recorded", "must hold one of"),
        (damaged, "recorded", "cannot be read"),
        (empty, "fusion", "missing"),
    ],
)
def test_a_model_that_cannot_be_used_leaves_nothing(
    world: SimpleNamespace, home: Path, spoil: Callable[[Path], None], adapter: str, words: str
) -> None:
    folder = scene.copy_into_home(world.files.predictions, "spoilt")
    spoil(folder)
    make_system(world.people)
    before = snapshot()
    with pytest.raises(AdapterError, match=words) as caught:
        register(world, folder, adapter=adapter)
    assert caught.value.remedy
    assert snapshot() == before
    assert not (home / "store").exists()


def test_an_unknown_adapter_or_folder_leaves_nothing(world: SimpleNamespace, home: Path) -> None:
    make_system(world.people)
    before = snapshot()
    with pytest.raises(AuscultError, match="no adapter called 'magic'") as caught:
        register(world, world.files.predictions, adapter="magic")
    assert "fusion" in caught.value.remedy and "recorded" in caught.value.remedy
    with pytest.raises(AdapterError, match="no such folder"):
        register(world, home / "nowhere")
    with pytest.raises(AdapterError, match="no such folder"):
        register(world, world.files.cohort)
    assert snapshot() == before
    assert not (home / "store").exists()


def test_links_are_not_followed_out_of_the_folder(world: SimpleNamespace, home: Path) -> None:
    """A link in a model's folder would bring any file of the server into the store, unchecked."""
    folder = scene.copy_into_home(world.files.predictions, "linked")
    (home / "secret-key").write_text("secret")
    (folder / "weights.bin").symlink_to(home / "secret-key")
    with pytest.raises(AdapterError, match="link") as caught:
        register(world, folder)
    assert caught.value.file == "weights.bin"
    assert not ModelVersion.objects.exists()
    assert not (home / "store").exists()


def test_a_folder_outside_the_opened_ones_is_denied(world: SimpleNamespace, settings: Any, home: Path) -> None:
    settings.AUSCULT_IMPORT_ROOTS = [home / "sources"]
    with pytest.raises(DeniedError, match="does not read"):
        register(world, world.files.predictions)
    with pytest.raises(DeniedError, match="does not read"):
        new_import(world.people.elena, world.files.cohort)
    assert not ModelVersion.objects.exists() and not CohortImport.objects.exists()


PAIRS = list(itertools.product(VersionStatus, VersionStatus))
FOLLOWING = {
    "draft": "submitted retired",
    "submitted": "in_audit retired",
    "in_audit": "in_review retired",
    "in_review": "approved conditional rejected in_audit suspended",
    "approved": "deployed suspended void retired",
    "conditional": "approved deployed suspended void retired",
    "deployed": "approved conditional suspended void retired",
    "suspended": "approved conditional deployed in_review void retired",
    "void": "in_audit retired",
    "rejected": "retired",
    "retired": "",
}
ALLOWED = {(old, new) for old, following in FOLLOWING.items() for new in following.split()}


def test_a_version_moves_only_along_the_table(world: SimpleNamespace) -> None:
    version = make_version(world.people, world.files.predictions)
    assert len(PAIRS) == 121 and len(ALLOWED) == 34
    for old, new in PAIRS:
        ModelVersion.objects.filter(pk=version.pk).update(status=old)
        version.refresh_from_db()
        before = len(acts())
        if (old.value, new.value) in ALLOWED:
            moved = versions.transition_version(version=version, to=new, by=None, reason="test")
            assert moved.status == new
            entry = LedgerEntry.objects.order_by("-index")[0]
            assert (entry.act, entry.actor) == ("version.moved", "system")
            assert f'"from":"{old}"' in entry.body and f'"to":"{new}"' in entry.body
        else:
            with pytest.raises(ConflictError, match="cannot become"):
                versions.transition_version(version=version, to=new, by=None)
            assert len(acts()) == before
        version.refresh_from_db()
        assert version.status == (new if (old.value, new.value) in ALLOWED else old)


def test_whoever_moves_a_version_second_is_told(world: SimpleNamespace) -> None:
    version = make_version(world.people, world.files.predictions)
    stale = ModelVersion.objects.get(pk=version.pk)
    versions.transition_version(version=version, to=VersionStatus.IN_AUDIT, by=world.people.amir)
    with pytest.raises(ConflictError, match="changed meanwhile"):
        versions.transition_version(version=stale, to=VersionStatus.RETIRED, by=world.people.amir)
    version.refresh_from_db()
    assert version.status == VersionStatus.IN_AUDIT
    assert acts() == ["version.moved"]
