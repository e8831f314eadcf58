"""What the registry's services refuse, and what they leave behind: everything or nothing."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from core.errors import AdapterError, AuscultError, CohortError, ConflictError, DeniedError
from core.models import LedgerEntry, User
from models_registry.cohorts import open_cohort
from models_registry.models import AISystem, Cohort, CohortImport, CohortVersion, ModelVersion, VersionStatus
from models_registry.services import cohorts, training, versions
from models_registry.services.systems import create_system
from tests.registry import scene
from tests.registry.scene import Files, acts, make_cohort, make_system, make_version, snapshot

Status = CohortImport.Status
Act = Callable[[User], Any]


@pytest.fixture
def world(people: SimpleNamespace, files: Files) -> SimpleNamespace:
    return SimpleNamespace(people=people, files=files)


def new_system(by: User, name: str = "Chest model", **changes: str) -> AISystem:
    facts = {"provider": "Acme", "intended_purpose": "Finds effusion.", "risk_class": "IIa"} | changes
    return create_system(name=name, by=by, **facts)


def new_import(by: User, source: Path, **changes: Any) -> CohortImport:
    facts = {"name": "Held out", "description": "", "simulated": False} | changes
    return cohorts.start_import(source_path=source, by=by, **facts)


def an_import(world: SimpleNamespace, status: Status) -> CohortImport:
    return CohortImport.objects.create(
        name="Held out", source_path=str(world.files.cohort), status=status, created_by=world.people.elena
    )


def creating_a_system(world: SimpleNamespace) -> Act:
    return lambda by: new_system(by)


def registering_a_version(world: SimpleNamespace) -> Act:
    system = make_system(world.people)
    return lambda by: versions.register_version(
        system=system, label="1.0", adapter="recorded", folder=world.files.predictions, by=by
    )


def moving_a_version(world: SimpleNamespace) -> Act:
    version = make_version(world.people, world.files.predictions)
    return lambda by: versions.transition_version(version=version, to=VersionStatus.IN_AUDIT, by=by)


def starting_an_import(world: SimpleNamespace) -> Act:
    return lambda by: new_import(by, world.files.cohort)


def revising_an_import(world: SimpleNamespace) -> Act:
    row = an_import(world, Status.BLOCKED)
    return lambda by: cohorts.revise_import(cohort_import=row, mapping={"ignore": ["x"]}, by=by)


def confirming_an_import(world: SimpleNamespace) -> Act:
    row = an_import(world, Status.READY)
    return lambda by: cohorts.confirm_import(cohort_import=row, by=by)


def discarding_an_import(world: SimpleNamespace) -> Act:
    row = an_import(world, Status.READY)
    return lambda by: cohorts.discard_import(cohort_import=row, by=by)


def creating_a_cohort_version(world: SimpleNamespace) -> Act:
    return lambda by: cohorts.create_cohort_version(**content(world.files), by=by)


def requesting_training(world: SimpleNamespace) -> Act:
    system, cohort = make_system(world.people), make_cohort(world.people, world.files.shards)
    return lambda by: training.request_training(system=system, version_label="1.1", cohort=cohort, settings={}, by=by)


def content(files: Files, **changes: Any) -> dict[str, Any]:
    facts = {"name": "Held out", "description": "", "simulated": False, "source": "A", "licence": "B"}
    manifest = open_cohort(files.shards).manifest
    return facts | {"digest": manifest.digest, "manifest": manifest.to_dict()} | changes


WRITES = {
    creating_a_system: ("elena", "system.registered"),
    registering_a_version: ("elena", "version.registered"),
    moving_a_version: ("amir", "version.moved"),
    starting_an_import: ("elena amir boris", "cohort_import.started"),
    revising_an_import: ("elena amir boris", "cohort_import.revised"),
    confirming_an_import: ("elena amir boris", "cohort_import.confirmed"),
    discarding_an_import: ("elena amir boris", "cohort_import.discarded"),
    creating_a_cohort_version: ("elena", "cohort.registered"),
    requesting_training: ("elena", "training.requested"),
}
INTERNAL = {moving_a_version, creating_a_cohort_version}  # called by other services, which check the person
every_write = pytest.mark.parametrize("prepare", WRITES, ids=lambda prepare: prepare.__name__)


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
ALLOWED = {
    ("draft", "submitted"),
    ("submitted", "in_audit"),
    ("submitted", "retired"),
    ("in_audit", "in_review"),
    ("in_audit", "retired"),
    ("in_review", "approved"),
    ("in_review", "rejected"),
    ("approved", "void"),
    ("approved", "retired"),
    ("void", "in_audit"),
    ("void", "retired"),
    ("rejected", "retired"),
}


def test_a_version_moves_only_along_the_table(world: SimpleNamespace) -> None:
    version = make_version(world.people, world.files.predictions)
    assert len(PAIRS) == 64 and len(ALLOWED) == 12
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


# Cohorts

FOLLOWING = {
    "revise": ({Status.READY, Status.BLOCKED, Status.FAILED}, Status.QUEUED),
    "confirm": ({Status.READY}, Status.REGISTERING),
    "discard": ({Status.QUEUED, Status.INSPECTING, Status.READY, Status.BLOCKED, Status.FAILED}, Status.DISCARDED),
}
STEPS: dict[str, Callable[[CohortImport, User], Any]] = {
    "revise": lambda row, by: cohorts.revise_import(cohort_import=row, mapping={}, by=by),
    "confirm": lambda row, by: cohorts.confirm_import(cohort_import=row, by=by),
    "discard": lambda row, by: cohorts.discard_import(cohort_import=row, by=by),
}


@pytest.mark.parametrize("step", STEPS)
def test_an_import_takes_its_steps_in_order(step: str, world: SimpleNamespace) -> None:
    allowed, following = FOLLOWING[step]
    for status in Status:
        row = an_import(world, status)
        before = len(acts())
        if status in allowed:
            STEPS[step](row, world.people.amir)
            assert CohortImport.objects.get(pk=row.pk).status == following
        else:
            with pytest.raises(ConflictError):
                STEPS[step](row, world.people.amir)
            assert CohortImport.objects.get(pk=row.pk).status == status
            assert len(acts()) == before


def test_an_import_sends_its_message_when_the_act_is_committed(
    world: SimpleNamespace, sent: list, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        row = new_import(world.people.amir, world.files.cohort)
        assert sent == []
    assert sent == [("models_registry.tasks.inspect_cohort", row.pk)]
    CohortImport.objects.filter(pk=row.pk).update(status=Status.READY)
    with django_capture_on_commit_callbacks(execute=True):
        cohorts.confirm_import(cohort_import=row, by=world.people.amir)
    assert sent[1:] == [("models_registry.tasks.register_cohort", row.pk)]


def test_an_import_needs_a_name_and_a_file(world: SimpleNamespace, home: Path) -> None:
    with pytest.raises(CohortError, match="no name"):
        new_import(world.people.elena, world.files.cohort, name=" ! ")
    with pytest.raises(CohortError, match="no such file") as caught:
        new_import(world.people.elena, home / "none.csv")
    assert caught.value.file == str(home / "none.csv")
    assert not CohortImport.objects.exists()


def test_a_discarded_upload_is_removed_and_nothing_else(
    world: SimpleNamespace, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    uploads = settings.MEDIA_ROOT
    mine = uploads / "cohorts" / "mine" / "cohort.csv"
    loose = [uploads / "cohorts" / "loose.csv", uploads / "loose.csv"]
    mine.parent.mkdir(parents=True)
    for path in (mine, *loose):
        path.write_text("patient_id,study_id\n")
    for path in (mine, *loose, world.files.cohort):
        row = new_import(world.people.elena, path)
        with django_capture_on_commit_callbacks(execute=True):
            cohorts.discard_import(cohort_import=row, by=world.people.elena)
    assert not mine.parent.exists()
    assert all(path.exists() for path in (*loose, world.files.cohort))


def test_the_same_content_is_the_same_cohort_version(world: SimpleNamespace) -> None:
    first = cohorts.create_cohort_version(**content(world.files), by=world.people.elena)
    again = cohorts.create_cohort_version(**content(world.files, name="Other"), by=world.people.amir)
    assert again == first and Cohort.objects.count() == 1
    assert acts() == ["cohort.registered"]


def test_real_and_simulated_patients_are_never_one_cohort(world: SimpleNamespace) -> None:
    cohorts.create_cohort_version(**content(world.files), by=world.people.elena)
    with pytest.raises(ConflictError, match="real; this file says otherwise"):
        cohorts.create_cohort_version(**content(world.files, digest="f" * 64, simulated=True), by=world.people.elena)
    assert CohortVersion.objects.count() == 1


# Training


def test_training_is_requested_once_for_a_label(
    world: SimpleNamespace, sent: list, django_capture_on_commit_callbacks: Any
) -> None:
    act = requesting_training(world)
    with django_capture_on_commit_callbacks(execute=True):
        job = act(world.people.elena)
    assert sent == [("models_registry.tasks.train", job.pk)]
    assert job.settings["epochs"] >= 1, "the settings are kept complete"
    with pytest.raises(ConflictError, match="being trained already"):
        act(world.people.elena)
    job.status = "failed"
    job.save()
    act(world.people.elena)


def test_training_refuses_what_could_only_fail_later(world: SimpleNamespace) -> None:
    version = make_version(world.people, world.files.predictions)
    cohort = make_cohort(world.people, world.files.shards)
    before = snapshot()

    def ask(label: str, **settings: Any) -> None:
        training.request_training(
            system=version.system, version_label=label, cohort=cohort, settings=settings, by=world.people.elena
        )

    with pytest.raises(ConflictError, match=r"already has a version 1\.0"):
        ask("1.0")
    with pytest.raises(ConflictError, match="needs a label"):
        ask("  ")
    with pytest.raises(AdapterError, match="no training setting called nonsense"):
        ask("2.0", nonsense=1)
    assert snapshot() == before


# The database


def test_the_database_refuses_doubles(world: SimpleNamespace) -> None:
    people, files = world.people, world.files
    version, cohort = make_version(people, files.predictions), make_cohort(people, files.shards)
    facts = {"system": version.system, "adapter": "recorded", "manifest": {}, "submitted_by": people.elena}
    doubles: list[Callable[[], Any]] = [
        lambda: AISystem.objects.create(name="Chest model", slug="other", created_by=people.elena),
        lambda: AISystem.objects.create(name="Other", slug="chest-model", created_by=people.elena),
        lambda: ModelVersion.objects.create(label="1.0", digest="0" * 64, **facts),
        lambda: ModelVersion.objects.create(label="2.0", digest=version.digest, **facts),
        lambda: CohortVersion.objects.create(
            cohort=cohort.cohort, digest=cohort.digest, n_studies=1, n_patients=1, summary={}, registered_by=people.amir
        ),
    ]
    for double in doubles:
        with pytest.raises(IntegrityError), transaction.atomic():
            double()
    ModelVersion.objects.create(label="2.0", digest="0" * 64, **facts)


def test_who_did_something_cannot_be_deleted(world: SimpleNamespace) -> None:
    make_version(world.people, world.files.predictions)
    with pytest.raises(IntegrityError):
        world.people.elena.delete()
