"""What workers do for releases: write the files of a released cohort, sign and verify them, issue them."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.db import transaction
from django.utils.text import slugify

from core import ledger
from core.digests import walk_files
from core.errors import ConflictError, DigestMismatchError, NotFoundError
from core.keys import signing_key
from governance.bundle.build import sign
from governance.bundle.layout import key_id
from governance.execution import failure_kept
from governance.models import ReleaseExport, SyntheticRelease
from governance.release_facts import facts_of
from governance.selectors.releases import check_released
from models_registry import leases
from models_registry.models import CohortVersion, ModelVersion
from models_registry.services.versions import model_store

ENTRY_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every entry of an archive: equal files give equal archives."""


def write_release(export_id: int) -> None:
    """Write, sign and verify the files of one export, and issue them only if they verify. Twice, it is issued once."""
    rows = ReleaseExport.objects.filter(pk=export_id)
    about = ("release__cohort__cohort", "release__cohort__parent__cohort", "release__run__protocol", "issued_by")
    export = rows.filter(status=ReleaseExport.Status.QUEUED).select_related(*about).first()
    if export is None:
        return
    with failure_kept(rows):
        check_released(export.release.cohort)
        staging = leases.scratch_folder()
        try:
            archive, statement = _archive(export, staging)
            _issue(export, archive, statement)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def export_path(export: ReleaseExport) -> Path:
    """The archive of an issued export.

    Raises:
        NotFoundError: it was deleted or moved.
        DeniedError: the release was revoked meanwhile.
    """
    check_released(export.release.cohort)
    path = _home() / export.file_name
    if not path.is_file():
        raise NotFoundError("The archive is not where it was put.", remedy="Have the files written again.")
    return path


def _home() -> Path:
    folder = Path(settings.AUSCULT_HOME) / "releases"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _archive(export: ReleaseExport, staging: Path) -> tuple[Path, str]:
    """The archive and the digest of its statement."""
    from synthetic.execution_generators import read_cohort
    from synthetic.generators.settings import GeneratorSettings
    from synthetic.release import export_release, verify_release
    from synthetic.release.statement import PAYLOAD_TYPE

    release, key = export.release, signing_key()
    version = _generator_of(release.cohort)
    evidence = model_store().get_json(release.evidence_digest)
    studies = read_cohort(release.cohort, GeneratorSettings.from_dict(version.config["details"]["settings"]))
    name = f"SYNTHETIC-{slugify(release.cohort.cohort.name)[:60]}-{release.cohort_digest[:8]}"
    manifest = export_release(
        studies,
        staging / name,
        facts=facts_of(export, version, evidence),
        is_real=_real_keys(release).__contains__,
        sign=lambda payload: json.loads(sign(PAYLOAD_TYPE, payload, key)),
    )
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    problems = verify_release(manifest.folder, pem)
    if problems:
        raise DigestMismatchError(
            f"The files do not verify, so they were not issued: {problems[0]}", remedy="Have them written again."
        )
    path = staging / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(walk_files(manifest.folder)):
            entry = zipfile.ZipInfo(f"{name}/{file.relative_to(manifest.folder).as_posix()}", date_time=ENTRY_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    return path, manifest.statement


def _generator_of(cohort: CohortVersion) -> ModelVersion:
    version = ModelVersion.objects.filter(digest=cohort.generator_digest, adapter="generator").first()
    if version is None:
        raise ConflictError(
            f"The generator of {cohort} is not registered here.", remedy="Make the patients with one that is."
        )
    return version


def _real_keys(release: SyntheticRelease) -> set[str]:
    """Keys of the patients that the generator learnt from: none of them may be in the files."""
    from models_registry.cohorts import open_cohort

    assert release.cohort.parent is not None  # what has no parent has no export
    reader = open_cohort(model_store().folder_path(release.cohort.parent.digest))
    return {
        key
        for shard in reader.shards
        for key in reader.table(shard.index, columns=["patient_id"]).column("patient_id").to_pylist()
    }


def _issue(export: ReleaseExport, archive: Path, statement: str) -> None:
    digest = model_store().put_file(archive)
    name = f"{archive.stem}-{digest[:8]}.zip"
    size = archive.stat().st_size
    shutil.move(archive, _home() / name)  # The name holds the digest, so a file that is there already is the same.
    facts: dict[str, Any] = {
        "status": ReleaseExport.Status.ISSUED,
        "digest": digest,
        "file_name": name,
        "size": size,
        "statement_digest": statement,
        "key_id": key_id(signing_key().public_key()),
    }
    with transaction.atomic():
        issued = ReleaseExport.objects.filter(pk=export.pk, status=ReleaseExport.Status.QUEUED).update(**facts)
        if issued:
            ledger.record(
                actor=export.issued_by.username,
                act="release.exported",
                subject=("SyntheticRelease", export.release_id),
                payload={
                    "export": export.pk,
                    "cohort": export.release.cohort_digest,
                    "digest": digest,
                    "statement": statement,
                    "key": facts["key_id"],
                },
            )
