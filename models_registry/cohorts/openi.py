"""Real reports that a machine without internet can have: the chest radiograph reports of OpenI, tagged by experts.

The file comes with the Python package ``torchxrayvision`` and is read where that is installed, without importing it.
None of its rows is in this repository. See ``docs/data.md`` for source, citation and licence.
"""

from __future__ import annotations

import csv
import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from core.digests import sha256_text
from core.errors import CohortError, EnvironmentProblemError
from models_registry.cohorts.package_data import INSTALL, PACKAGE, locate_package_file

REPORTS_FILE = "NLMCXR_reports.tgz"
REPORTS_SHA256 = "8fb6de7eec73d8c3665067ad4bb003ccd57f971ae316d2642e1627ac7268667a"
IMAGES_FILE = "nlmcxr_dicom_metadata.csv.gz"
IMAGES_SHA256 = "996c7d7a23b6bef51b1308dfa9671fb59b00e67c8928f7ff45cc002ca16ebf3e"
WHAT = "chest X-ray reports"
DEVELOP, TEST = "develop", "test"
LARGEST_REPORT = 1 << 20

DESCRIPTION = (
    "Chest radiograph reports of OpenI (Indiana University), de-identified and tagged by experts: the findings section "
    "as text, the report as the reference, 14 findings from the experts' tags as labels."
)
SOURCE = (
    f"{REPORTS_FILE} and {IMAGES_FILE} of the Python package {PACKAGE} 1.5.7; "
    "Demner-Fushman D et al., J Am Med Inform Assoc 2016;23:304-310"
)
LICENCE = "CC BY-NC-ND 4.0: with attribution, not for commercial use, no altered copies"


@dataclass(frozen=True, kw_only=True)
class OpeniFiles:
    """The file that was written, with the words to register it under."""

    cohort: Path
    description: str = DESCRIPTION
    licence: str = LICENCE
    source: str = SOURCE


@dataclass(frozen=True, kw_only=True, slots=True)
class OpeniReport:
    """One report as it was published; what was taken out to protect patients is a run of capital X.

    Attributes:
        report_id: Such as ``CXR1``. Each report is of another patient.
        tags: What experts say is in it: a head and qualifiers with strokes, ``Cardiomegaly/mild``; ``normal`` for none.
    """

    report_id: str
    indication: str
    comparison: str
    findings: str
    impression: str
    tags: tuple[str, ...]

    @property
    def half(self) -> str:
        """``develop`` or ``test``: by the parity of the SHA-256 of the report's id."""
        return TEST if int(sha256_text(self.report_id), 16) % 2 else DEVELOP

    @property
    def text(self) -> str:
        """Findings and impression, each under its heading; empty where the report has neither."""
        parts = (("FINDINGS", self.findings), ("IMPRESSION", self.impression))
        return "\n".join(f"{heading}: {part}" for heading, part in parts if part)

    @property
    def annotated(self) -> bool:
        """Experts tagged it."""
        return bool(self.tags) and not set(self.tags) & set(_tagging()["unannotated"])

    @property
    def labels(self) -> frozenset[str]:
        """The findings of ChestX-ray14 that the tags say are there, see ``openi_tags.yaml``."""
        return labels_of(self.tags)


@cache
def openi_reports() -> tuple[OpeniReport, ...]:
    """All 3,955 reports, in the order of their numbers.

    Raises:
        EnvironmentProblemError, DigestMismatchError: the file is not on this machine, or is another one.
        CohortError: a report cannot be read.
    """
    path = locate_package_file(REPORTS_FILE, REPORTS_SHA256, what=WHAT)
    with tarfile.open(path, "r:gz") as archive:
        found = [read_report(member.name, _content(archive, member)) for member in archive if member.isfile()]
    return tuple(sorted(found, key=lambda report: int(report.report_id.removeprefix("CXR"))))


def openi_findings() -> tuple[str, ...]:
    """The 14 findings that the tags are mapped to, in the order of ``openi_tags.yaml``."""
    return tuple(_tagging()["findings"])


def labels_of(tags: Sequence[str]) -> frozenset[str]:
    """The findings that tags say are there. Blanks and the case of letters do not matter."""
    parts = [[part.strip().casefold() for part in tag.split("/")] for tag in tags]
    return frozenset(
        name
        for name, rules in _tagging()["findings"].items()
        if any(_meets(head, qualifiers, rule) for head, *qualifiers in parts for rule in rules)
    )


def read_report(name: str, content: bytes) -> OpeniReport:
    """A report from its XML. Document types are refused, so that no entity is ever expanded.

    Raises:
        CohortError: names the file and what is wrong with it.
    """
    try:
        text = content.decode("utf-8")
        if "<!" in text:
            raise ValueError("it declares a document type or entities")
        root = ElementTree.fromstring(text.encode())
        parts = {node.get("Label", ""): (node.text or "").strip() for node in root.iter("AbstractText")}
        report_id = root.find("uId").attrib["id"]  # type: ignore[union-attr]
    except (ValueError, KeyError, AttributeError, ElementTree.ParseError) as error:
        raise CohortError(
            f"A report cannot be read: {error}.", remedy=f"Run: {INSTALL} --force-reinstall", file=name
        ) from error
    return OpeniReport(
        report_id=report_id,
        indication=parts.get("INDICATION", ""),
        comparison=parts.get("COMPARISON", ""),
        findings=parts.get("FINDINGS", ""),
        impression=parts.get("IMPRESSION", ""),
        tags=tuple(tag for node in root.iter("major") if (tag := (node.text or "").strip())),
    )


def write_openi_cohort(destination: Path, *, studies: int | None = None, accept_licence: bool = False) -> OpeniFiles:
    """Write a cohort of the reports that have findings and tags as a Parquet file into ``destination``.

    It has ``patient_id`` and ``study_id`` (both the report's id: each is of another patient), ``age`` in years at the
    study, ``split`` (``develop`` or ``test``: rules that read reports were written with the first at hand),
    ``text.indication``, ``text.findings`` (what a model may read), ``text.reference`` (findings and impression) and
    ``label.<finding>`` from the tags: 1 where they name it, else 0. The sex is not published. The same input gives the
    same bytes.

    Args:
        studies: As many reports at most, chosen by a hash of their ids; None for all.
        accept_licence: The one who runs it accepts the licence of the data.

    Raises:
        EnvironmentProblemError: without the licence accepted, or without the file on this machine.
        DigestMismatchError: the file is another one.
    """
    if not accept_licence:
        raise EnvironmentProblemError(
            f"The OpenI reports come under a licence that has to be accepted first: {LICENCE}.",
            remedy="Read https://creativecommons.org/licenses/by-nc-nd/4.0/ and run again with --accept-licence.",
        )
    kept = [report for report in openi_reports() if report.annotated and report.findings]
    if studies is not None:
        chosen = {report.report_id for report in sorted(kept, key=lambda item: sha256_text(item.report_id))[:studies]}
        kept = [report for report in kept if report.report_id in chosen]
    destination.mkdir(parents=True, exist_ok=True)
    files = OpeniFiles(cohort=destination / "openi-cohort.parquet")
    pq.write_table(_cohort(kept, _ages()), files.cohort, version="2.6")
    return files


def _cohort(reports: Sequence[OpeniReport], ages: Mapping[str, int]) -> pa.Table:
    ids = pa.array([report.report_id for report in reports], pa.string())
    columns = {
        "patient_id": ids,
        "study_id": ids,
        "age": pa.array([ages.get(report.report_id) for report in reports], pa.int64()),
        "split": pa.array([report.half for report in reports], pa.string()),
        "text.indication": pa.array([report.indication or None for report in reports], pa.string()),
        "text.findings": pa.array([report.findings for report in reports], pa.string()),
        "text.reference": pa.array([report.text for report in reports], pa.string()),
    }
    tagged = [report.labels for report in reports]
    for name in openi_findings():
        columns[f"label.{name}"] = pa.array([int(name in labels) for labels in tagged], pa.int8())
    return pa.table(columns)


def _ages() -> dict[str, int]:
    """Completed years at the study, for the reports whose images are published."""
    found: dict[str, int] = {}
    path = locate_package_file(IMAGES_FILE, IMAGES_SHA256, what=WHAT)
    with gzip.open(path, "rb") as stream:
        for row in csv.DictReader(io.StringIO(stream.read().decode("utf-8"))):
            born, seen = (date.fromisoformat(row[name]) for name in ("Patient's Birth Date", "Study Date"))
            report_id = row["imageid"].partition("_")[0]
            found[report_id] = seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))
    return found


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    if stream is None or member.size > LARGEST_REPORT:
        raise CohortError(
            f"A report has {member.size} bytes.", remedy=f"Run: {INSTALL} --force-reinstall", file=member.name
        )
    return stream.read()


def _meets(head: str, qualifiers: Sequence[str], rule: Mapping[str, Sequence[str]]) -> bool:
    if head not in {name.casefold() for name in rule["heads"]}:
        return False
    needs = set(rule.get("needs", ()))
    return not (needs and needs.isdisjoint(qualifiers)) and set(rule.get("without", ())).isdisjoint(qualifiers)


@cache
def _tagging() -> dict[str, Any]:
    text = (resources.files("models_registry.cohorts") / "openi_tags.yaml").read_text(encoding="utf-8")
    body: dict[str, Any] = yaml.safe_load(text)
    return body
