"""Writes a release: every file of it, or nothing. Equal patients and facts give equal bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.digests import canonical_json, folder_manifest, sha256_file
from core.errors import AuscultError, EnvironmentProblemError
from synthetic.generators.keeping import studies_digest
from synthetic.generators.reading import write_linked
from synthetic.generators.studies import LinkedStudies, Tell
from synthetic.release.datasheet import Written, datasheet_body, datasheet_markdown
from synthetic.release.dicom import write_images
from synthetic.release.facts import ReleaseFacts, check_facts
from synthetic.release.fhir import FILE, write_bundles
from synthetic.release.naming import MARK, IsReal, check_keys, has_images
from synthetic.release.readme import readme
from synthetic.release.statement import Sign, sign_release, statement_body, write_statement
from synthetic.release.tables import write_tables

FORMATS = ("parquet", "csv", "dicom", "fhir")
COHORT = "cohort.parquet"
HOLDS = {
    COHORT: "everything, as Auscult reads cohorts; its metadata say SYNTHETIC",
    f"csv/{MARK}_patients.csv": "one row a patient",
    f"csv/{MARK}_studies.csv": "one row a study: attributes, labels, plan, where its image lies",
    f"csv/{MARK}_series.csv": "one row a reading",
    f"csv/{MARK}_reports.csv": "one row a text",
    "dicom/": "an image a study: PATIENT/STUDY.dcm (Secondary Capture)",
    f"fhir/{FILE}": "a FHIR R4 Bundle a patient, one a line",
}
SHARE = {"parquet": 0.15, "csv": 0.15, "dicom": 0.4, "fhir": 0.25}
"""Of the time that all formats take, about: for its progress."""


@dataclass(frozen=True, kw_only=True)
class ReleaseManifest:
    """What was written.

    Attributes:
        files: Path in the folder -> SHA-256, of every file but the statement and its signed form.
        left_out: Path or format -> why it is not there.
        studies_digest: Of the studies.
        statement: SHA-256 of ``statement.json``, which binds all of it.
        signed: Whether the signed statement is there too.
    """

    folder: Path
    files: Mapping[str, str]
    left_out: Mapping[str, str]
    studies_digest: str
    statement: str
    signed: bool


def export_release(
    studies: LinkedStudies,
    folder: Path,
    *,
    facts: ReleaseFacts,
    formats: Sequence[str] = FORMATS,
    tell: Tell | None = None,
    is_real: IsReal | None = None,
    sign: Sign | None = None,
) -> ReleaseManifest:
    """Write a set of synthetic patients with everything that a receiver needs. The folder appears when complete.

    Args:
        formats: Some of :data:`FORMATS`. What a format has nothing to write for is left out by name.
        tell: Called often; may raise to stop. Nothing stays then.
        is_real: Whether a key is one of the real cohort's; the release is refused where one is.
        sign: Given the statement, gives its DSSE envelope. Without it, see :func:`sign_release`.

    Raises:
        CohortError: a key is not that of a synthetic patient.
        AuscultError: the folder is there already, a fact is missing, or a format is unknown.
        EnvironmentProblemError: it cannot be written.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        raise AuscultError(
            f"Formats of a release: {', '.join(unknown) or 'none'}.", remedy=f"Use some of: {', '.join(FORMATS)}."
        )
    check_facts(facts)
    check_keys(studies, is_real=is_real)
    with _appearing(folder) as partial:
        writing = _Writing(studies, partial, facts, formats, tell or (lambda share, message: None))
        return writing.run(folder, sign)


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder to write to, which gets its name at the end; nothing is left where that fails."""
    if folder.exists() or folder.is_symlink():
        raise AuscultError(
            "The folder for the release is there already.",
            remedy="Name one that does not exist: a release is never written over another.",
            file=folder.name,
        )
    partial = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        partial.rename(folder)
    except OSError as error:
        raise EnvironmentProblemError(
            f"The release cannot be written: {error.strerror or error}.",
            remedy="Check that the folder above it may be written to and has space left.",
            file=folder.name,
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _Writing:
    """One release on its way."""

    def __init__(
        self, studies: LinkedStudies, root: Path, facts: ReleaseFacts, formats: Sequence[str], tell: Tell
    ) -> None:
        self.studies, self.root, self.facts, self.formats, self.tell = studies, root, facts, formats, tell
        self.left_out = {name: "not asked for" for name in FORMATS if name not in formats}
        self.done = 0.0
        if "dicom" in formats and not has_images(studies):
            self.left_out["dicom"] = "no study has an image"

    def run(self, folder: Path, sign: Sign | None) -> ReleaseManifest:
        for name in FORMATS:
            if name not in self.left_out:
                getattr(self, f"_{name}")()
                self.done += SHARE[name]
                self.tell(min(1.0, self.done), f"{name}: written")
        digest = studies_digest(self.studies)
        self._sheets(digest)
        files = folder_manifest(self.root)
        statement = write_statement(self.root, statement_body(self.facts, files, studies=digest))
        if sign is not None:
            sign_release(self.root, sign)
        self.tell(1.0, f"{len(files):,} files written")
        return ReleaseManifest(
            folder=folder, files=files, left_out=dict(self.left_out), studies_digest=digest,
            statement=sha256_file(statement), signed=sign is not None,
        )  # fmt: skip

    def _part(self, name: str, share: float) -> None:
        self.tell(min(1.0, self.done + SHARE[name] * share), f"{name}: {100 * share:.0f} %")

    def _parquet(self) -> None:
        told = {
            "auscult.generator": self.facts.generator.digest,
            "auscult.release": self.facts.name,
            "auscult.licence": self.facts.licence,
        }
        units = {f"series.{name}": unit for name, unit in self.facts.units.items()}
        if units:
            told["auscult.units"] = json.dumps(self.studies.units | units, sort_keys=True)
        write_linked(self.studies, self.root / COHORT, metadata=told)

    def _csv(self) -> None:
        missing = write_tables(
            self.studies, self.root / "csv", self.facts,
            images="dicom" not in self.left_out, tell=lambda share: self._part("csv", share),
        )  # fmt: skip
        self.left_out |= {f"csv/{name}": reason for name, reason in missing.items()}

    def _dicom(self) -> None:
        write_images(self.studies, self.root, self.facts, tell=lambda share: self._part("dicom", share))

    def _fhir(self) -> None:
        write_bundles(self.studies, self.root / "fhir", self.facts, tell=lambda share: self._part("fhir", share))

    def _sheets(self, digest: str) -> None:
        """Datasheet and README: they tell of the files that are there."""
        files = {name: what for name, what in HOLDS.items() if (self.root / name).exists()}
        written = Written(files=files, left_out=self.left_out, studies_digest=digest)
        body = datasheet_body(self.facts, self.studies, written)
        (self.root / "datasheet.json").write_bytes(canonical_json(body))
        (self.root / "datasheet.md").write_text(datasheet_markdown(body), encoding="utf-8")
        (self.root / "README.txt").write_text(readme(self.facts, files, self.left_out), encoding="utf-8")
