"""What workers do for model versions that come in: receive, check without running, register what was confirmed."""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core.digests import compare_manifests, folder_manifest, manifest_digest
from core.errors import AdapterError, AuscultError, ConflictError
from models_registry import leases
from models_registry.intake.archives import is_archive, unpack
from models_registry.intake.checks import Checks, Findings, Outcome, look_at
from models_registry.intake.mlflow_run import gather_run
from models_registry.intake.uploads import arrange_upload
from models_registry.models import ModelVersion, SystemKind, VersionIntake
from models_registry.services import versions
from models_registry.services.intakes import discard_intake, staging_of, upload_folder
from models_registry.services.lineage import versions_with_file
from models_registry.services.versions import Content, content_of, create_version, model_store
from models_registry.services.voiding import is_weights

log = logging.getLogger(__name__)
Status = VersionIntake.Status
Kind = VersionIntake.Kind
RENEW_SECONDS = 1.0
ABANDONED_DAYS = 7
ENDED = (Status.REGISTERED, Status.DISCARDED)


class IntakeLostError(Exception):
    """The intake was given up, or another worker took it over after this one was silent for too long."""


class Pulse:
    """Holds an intake for one worker: ``sent_at`` is when it last showed that it lives, and the token of its claim."""

    def __init__(self, row: VersionIntake) -> None:
        self.row, self.last = row, time.monotonic()

    @classmethod
    def claim(cls, intake_id: int) -> Pulse | None:
        """Take a queued intake; None when it is taken or gone."""
        rows = VersionIntake.objects.filter(pk=intake_id, status=Status.QUEUED)
        if not rows.update(status=Status.CHECKING, sent_at=timezone.now(), error="", message="", progress=0.0):
            return None
        row = VersionIntake.objects.select_related("system", "backbone__system", "created_by").get(pk=intake_id)
        return cls(row)

    def write(self, **changes: Any) -> None:
        """Write to the row if it is still ours.

        Raises:
            IntakeLostError: it is not.
        """
        now = timezone.now()
        rows = VersionIntake.objects.filter(pk=self.row.pk, status=Status.CHECKING, sent_at=self.row.sent_at)
        if not rows.update(**{"sent_at": now} | changes):
            raise IntakeLostError
        self.row.sent_at, self.last = now, time.monotonic()

    def tell(self, checks: list[dict[str, str]]) -> None:
        self.write(checks=checks)

    def step(self, message: str) -> Callable[[int, int], None]:
        """A function that writes progress at most once a second."""

        def beat(done: int, total: int) -> None:
            if time.monotonic() - self.last >= RENEW_SECONDS:
                self.write(progress=done / max(1, total), message=message)

        return beat


def check_intake(intake_id: int) -> None:
    """Receive what an intake stands for, check it, and say whether it can be registered.

    Whoever finds it taken does nothing, so a message may come twice. What was received in vain is removed.
    """
    pulse = Pulse.claim(intake_id)
    if pulse is None:
        return
    checks = Checks(tell=pulse.tell)
    try:
        found = _check(pulse, checks)
        checks.skip_the_rest()
        status = Status.BLOCKED if checks.failed or found is None else Status.READY
        pulse.write(status=status, findings=pulse.row.findings | (found or {}), progress=1.0, message="", error="")
        if status == Status.BLOCKED and pulse.row.kind != Kind.UPLOAD:  # it is read anew when it is checked again
            shutil.rmtree(staging_of(pulse.row), ignore_errors=True)
    except IntakeLostError:
        log.info("intake %s was given up or taken over", intake_id)
    except Exception as error:
        VersionIntake.objects.filter(pk=intake_id, status=Status.CHECKING, sent_at=pulse.row.sent_at).update(
            status=Status.FAILED, error=leases.unexpected(error), checks=checks.to_list()
        )
        raise


def _check(pulse: Pulse, checks: Checks) -> dict[str, Any] | None:
    """Every check, in order; None when one failed."""
    row = pulse.row
    folder: Path | None = None
    with checks.doing("files"):
        folder = _receive(pulse)
    if checks.failed or folder is None:
        return None
    before = versions.signature(folder)
    findings = look_at(folder, adapter=row.adapter, checks=checks)
    if findings is None:
        return None
    if "mlflow" in row.findings:
        findings.card["run"] = row.findings["mlflow"]
    content: Content | None = None
    with checks.doing("content"):
        manifest = _read_content(pulse, folder)
        if versions.signature(folder) != before:
            raise ConflictError("The folder changed while it was being checked.", remedy="Have it checked again.")
        digest = manifest_digest(manifest)
        content = content_of(findings, digest=digest, manifest=manifest, system=row.system, backbone=row.backbone)
        checks.note("content", Outcome(message=digest))
    if content is None:
        return None
    with checks.doing("lineage"):
        checks.note("lineage", _lineage(row, content))
    with checks.doing("duplicates"):
        checks.note("duplicates", _duplicates(content))
    with checks.doing("identity"):
        versions.check_new(system=row.system, label=row.label, digest=content.digest)
        checks.note("identity", Outcome(message=f"{row.system.name} has no version {row.label} and not this content."))
    return _shown(row, findings, content)


def _receive(pulse: Pulse) -> Path:
    """The model's folder: on the server where it lies, unpacked, gathered from a run, or uploaded."""
    row, content = pulse.row, staging_of(pulse.row) / "content"
    if row.kind == Kind.UPLOAD:
        return _received_upload(pulse, content)
    source = _as_it_was(Path(row.source_path))
    if row.kind == Kind.FOLDER:
        shutil.rmtree(content, ignore_errors=True)
        return source
    if row.kind == Kind.ARCHIVE:
        return _brought(pulse, content, lambda part: unpack(source, part, progress=pulse.step("Unpacking")))

    def gather(part: Path) -> None:
        row.findings["mlflow"] = gather_run(source, run=row.findings.get("mlflow_run", ""), destination=part)

    return _brought(pulse, content, gather)


def _as_it_was(source: Path) -> Path:
    """The place on the server, which was resolved when the intake was started.

    Raises:
        AdapterError: it is gone, or leads elsewhere now: whether pages may read there was decided for the former place.
    """
    if not source.exists() or source.resolve() != source:
        raise AdapterError(
            "The place on the server is gone, or has become a link to another place.",
            remedy="Begin again with the path where the model lies now.",
            file=str(source),
        )
    return source


def _received_upload(pulse: Pulse, content: Path) -> Path:
    """An upload is arranged once; a single archive in it is unpacked and then no longer needed."""
    if content.is_dir():
        return content
    received, digest = upload_folder(pulse.row), pulse.row.findings.get("digest")
    if not received.is_dir() and digest:  # its registration came to nothing after the files were settled
        return model_store().folder_path(digest)
    files = list(pulse.row.files.all())
    for file in files:
        if not file.size:
            (received / file.path).parent.mkdir(parents=True, exist_ok=True)
            (received / file.path).touch()
    if len(files) == 1 and is_archive(files[0].path):
        archive, step = received / files[0].path, pulse.step("Unpacking")
        _brought(pulse, content, lambda part: unpack(archive, part, progress=step))
    else:
        arrange_upload(received, content)
    shutil.rmtree(received, ignore_errors=True)
    return content


def _brought(pulse: Pulse, content: Path, bring: Callable[[Path], None]) -> Path:
    """``content`` with what ``bring`` writes into a folder of its own first.

    Two workers, of which one was taken for dead, never write into one folder; who lost the intake leaves nothing.
    """
    part = model_store().staging_folder(f"intake-{pulse.row.pk}") / f"part-{uuid.uuid4().hex}"
    try:
        bring(part)
        pulse.write()
        shutil.rmtree(content, ignore_errors=True)
        return part.rename(content)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _read_content(pulse: Pulse, folder: Path) -> dict[str, str]:
    """The manifest; a folder elsewhere on the server is copied beside the store in the same pass."""
    row, step = pulse.row, pulse.step("Reading every byte")
    if row.kind != Kind.FOLDER:
        return folder_manifest(folder, progress=step)
    manifest: dict[str, str] = {}

    def copy(part: Path) -> None:
        manifest.update(model_store().copy_in(folder, part, progress=step))

    _brought(pulse, staging_of(row) / "content", copy)
    return manifest


def _lineage(row: VersionIntake, content: Content) -> Outcome:
    """Which backbone the version is built on, as far as its weights or the person tell.

    Raises:
        ConflictError: they contradict each other.
    """
    held = content.backbone_digest
    if row.system.kind == SystemKind.BACKBONE:
        return Outcome(message="This is a version of a backbone.")
    chosen = row.backbone
    if chosen and held and chosen.backbone_digest not in {"", held}:
        raise ConflictError(
            f"The checkpoint holds another backbone than {chosen}: its weights are {held[:16]}…, those of {chosen} "
            f"are {chosen.backbone_digest[:16]}….",
            remedy="Choose the backbone that it was trained on, or none: it is found by its weights.",
        )
    if not held:
        return Outcome(message=f"Built on {chosen}, as you say." if chosen else "It shares no weights with a backbone.")
    known = ModelVersion.objects.filter(backbone_digest=held, system__kind=SystemKind.BACKBONE)
    found = known.select_related("system").order_by("-pk").first()
    if found is None:
        return Outcome(
            message=f"Its backbone ({held[:16]}…) is not registered here.",
            state="warning",
            remedy="Register the backbone as a system of its own: a change of it then voids what is built on it.",
        )
    return Outcome(message=f"Built on {found}: equal weights.")


def _duplicates(content: Content) -> Outcome:
    """Weights files that other versions hold too. Those of its backbone are no news."""
    mine = {value: name for name, value in content.manifest.items() if is_weights(name)}
    mine.pop(content.backbone_digest, None)
    found = versions_with_file(mine)
    if not found:
        return Outcome(message="No other version holds these weights.")
    digest = min(found, key=lambda value: mine[value])
    others = ", ".join(str(version) for version in found[digest][:5])
    return Outcome(
        message=f"The weights of {mine[digest]} are also in {others}.",
        state="warning",
        remedy="Register it nevertheless if this is meant: the lineage will show that both are the same weights.",
        file=mine[digest],
    )


def _shown(row: VersionIntake, findings: Findings, content: Content) -> dict[str, Any]:
    """What a page shows before it is confirmed, and what is registered then."""
    last = row.system.versions.order_by("-pk").first()
    change = compare_manifests(last.manifest, content.manifest) if last else None
    return {
        "digest": content.digest,
        "manifest": content.manifest,
        "sizes": content.sizes,
        "config": content.config,
        "card": content.card,
        "backbone_digest": content.backbone_digest,
        "weights": findings.weights,
        "change": {
            "against": last.label,
            "added": list(change.added),
            "removed": list(change.removed),
            "changed": list(change.changed),
        }
        if last and change
        else {},
    }


def register_intake(intake_id: int) -> None:
    """Register what was confirmed: a rename within the store, then one transaction. Twice gives the same."""
    rows = VersionIntake.objects.filter(pk=intake_id, status=Status.REGISTERING)
    row = rows.select_related("system", "backbone__system", "created_by").first()
    if row is None:
        return
    try:
        versions.check_new(system=row.system, label=row.label, digest=row.findings["digest"])
        _settle_in_store(row)
        with transaction.atomic():
            if not rows.select_for_update().exists():
                return
            version = create_version(
                system=row.system,
                label=row.label,
                adapter=row.adapter,
                content=Content(**{name: row.findings[name] for name in Content.__dataclass_fields__}),
                notes=row.notes,
                source=source_in_words(row),
                backbone=row.backbone,
                draft=bool(row.findings.get("draft")),
                by=row.created_by,
            )
            rows.update(status=Status.REGISTERED, result=version, error="", message="")
    except AuscultError as error:
        rows.update(status=Status.FAILED, error=str(error))
    except Exception as error:
        rows.update(status=Status.FAILED, error=leases.unexpected(error))
        raise
    else:
        shutil.rmtree(staging_of(row), ignore_errors=True)


def source_in_words(row: VersionIntake) -> str:
    """Where a version came from, for its page."""
    if row.kind == Kind.UPLOAD:
        return f"Upload by {row.created_by.username}"
    if row.kind == Kind.MLFLOW:
        return f"MLflow run {row.findings.get('mlflow_run', '')} in {row.source_path}"
    return row.source_path


def _settle_in_store(row: VersionIntake) -> None:
    """Give the checked files their place. A worker that came before may have done so.

    Raises:
        ConflictError: they are gone.
    """
    store, digest, content = model_store(), row.findings["digest"], staging_of(row) / "content"
    if content.is_dir():
        store.settle_folder(content, digest)
    elif not store.folder_path(digest).is_dir():
        raise ConflictError("The checked files are gone.", remedy="Have the model checked again.")


def sweep_intakes() -> None:
    """Send again what a dead worker held or a lost message left waiting; give up what nobody came back to."""
    from models_registry import tasks

    rows = VersionIntake.objects.all()
    silent = timezone.now() - timedelta(seconds=4 * settings.AUSCULT_LEASE_SECONDS)
    rows.filter(status=Status.CHECKING, sent_at__lt=silent).update(status=Status.QUEUED)
    leases.resend_stale(rows.filter(status=Status.QUEUED), tasks.check_intake)
    leases.resend_stale(rows.filter(status=Status.REGISTERING), tasks.register_intake)
    abandoned = timezone.now() - timedelta(days=ABANDONED_DAYS)
    waiting = (Status.RECEIVING, Status.READY, Status.BLOCKED, Status.FAILED)
    for row in rows.filter(status__in=waiting, sent_at__lt=abandoned):
        try:
            discard_intake(intake=row, by=None)
        except ConflictError:
            log.info("intake %s was taken up again at the last moment", row.pk)
    _remove_leftovers()


def _remove_leftovers() -> None:
    """Folders of intakes that have ended, such as bytes that arrived while an upload was being given up."""
    for folder in (model_store().root / "staging").glob("intake-*"):
        number = folder.name.partition("-")[2]
        if number.isdigit() and not VersionIntake.objects.filter(pk=int(number)).exclude(status__in=ENDED).exists():
            shutil.rmtree(folder, ignore_errors=True)
