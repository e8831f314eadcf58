"""What a report is: evidence and a dossier in, one document out.

A report is written from two documents that are kept by digest, the evidence of one audit and the dossier of the
version (``governance.dossier``), and from nothing else. It never reads the database, and it computes no measurement:
every number it prints was measured by a run and stands in the evidence.

Adding one takes two files: ``governance/reports/<kind>.py``, which registers a :class:`ReportKind` (most are an
:class:`~governance.reports.outlined.OutlinedReport`), and ``templates/reports/<kind>.html``. Its JSON Schema goes to
``governance/reports/schemas/<kind>.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from django.utils.functional import Promise

from core.errors import NotFoundError
from core.registry import Registry

SCHEMAS = Path(__file__).with_name("schemas")
SHARED = "outlined"
LANGUAGES = ("en", "de")


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """Everything besides the evidence that a report says.

    Attributes:
        as_of: The moment the report speaks of, with a time zone. It is also the date inside the PDF, so that
            equal evidence and context give equal bytes.
        issued_by: User name of the person who issues it.
        dossier: What was known of the version when the report was asked for; reviews and the ledger's head too.
        language: Of the fixed text, the catalogue's text, numbers and dates: ``en`` or ``de``.
        certificate: How the PDF is signed, in words; empty for one that is not.
        documents: Evidence of the dossier's other audits by digest, as far as it is held. A report that speaks of
            several audits (a risk row, what changed since the last version) finds them here.
    """

    as_of: datetime
    issued_by: str
    dossier: Mapping[str, Any]
    language: str = "en"
    certificate: str = ""
    documents: Mapping[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A report before it is laid out in pages: enough to preview it, quick to make."""

    data: dict[str, Any]
    html: str


@dataclass(frozen=True, kw_only=True)
class ReportDocument:
    """A finished report.

    Attributes:
        data: The report as JSON, valid against its published schema. The PDF carries it as an attachment.
        html: One self-contained page: style and charts inline, no reference to any other file.
        pdf: PDF/A-3a (tagged), with ``data`` embedded; not signed yet.
        docx: The same to be edited, for kinds that are; None for the others.
        counts: How many of its requirements are in which state, for lists of reports; empty for a report that
            judges no requirements.
        ready: Whether every binding requirement of it is complete or does not apply.
    """

    kind: str
    title: str
    data: dict[str, Any]
    html: str
    pdf: bytes
    docx: bytes | None = None
    counts: dict[str, int] = field(default_factory=dict)
    ready: bool = False


class ReportKind(Protocol):
    """One kind of report.

    ``title`` may wait for the language that is active when it is read. ``needs_run`` tells whether it can be written
    only about a finished audit; ``editable`` whether it is written as DOCX too. ``build`` raises AuscultError when the
    evidence lacks what the report cannot be written without. Gaps in what the regulation asks for are no error: the
    report marks them where they are.
    """

    @property
    def key(self) -> str: ...

    @property
    def title(self) -> str | Promise: ...

    @property
    def needs_run(self) -> bool: ...

    @property
    def editable(self) -> bool: ...

    def build(self, evidence: dict[str, Any] | None, context: ReportContext) -> ReportDocument: ...


REPORTS: Registry[ReportKind] = Registry(kind="report", package="governance.reports", group="auscult.reports")
"""Every report by key: ``annex_iv``, ``dpia``, ``committee_one_pager``, and those of other distributions."""


def schema_of(kind: str) -> dict[str, Any]:
    """The published JSON Schema of a report's data, whole: the definitions that reports share are inside it.

    Raises:
        NotFoundError: this kind of report publishes none.
    """
    path = SCHEMAS / f"{kind}.json"
    if kind == SHARED or not path.is_file():
        raise NotFoundError(f"The report '{kind}' publishes no schema.", remedy="Ask for one of the other kinds.")
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    shared = json.loads((SCHEMAS / f"{SHARED}.json").read_text(encoding="utf-8"))
    return schema | {"$defs": shared["$defs"] | schema.get("$defs", {})}
