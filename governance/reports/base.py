"""What a report is: evidence in, one document out.

A report reads an evidence document and the decision about it. It never reads the database, and it computes no
measurement: every number it prints was measured by a run and stands in the evidence.

Adding one takes two files: ``governance/reports/<kind>.py``, which registers a :class:`ReportKind`, and
``templates/reports/<kind>.html``. Its JSON Schema goes to ``governance/reports/schemas/<kind>.json``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from core.errors import NotFoundError
from core.registry import Registry


@dataclass(frozen=True, kw_only=True)
class VoteRecord:
    """One vote as it was cast. ``choice`` is ``approve`` or ``reject``; ``voter`` a user name."""

    voter: str
    choice: str
    rationale: str
    cast_at: datetime


@dataclass(frozen=True, kw_only=True)
class ReviewRecord:
    """The committee's review of the run that the evidence is about.

    Attributes:
        status: ``open``, ``approved`` or ``rejected``.
        quorum: Equal votes that decide.
        excluded: User names of those who may not vote: submitter, runner, protocol approver.
    """

    id: int
    status: str
    quorum: int
    opened_by: str
    opened_at: datetime
    closed_at: datetime | None = None
    excluded: tuple[str, ...] = ()
    votes: tuple[VoteRecord, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON: times in ISO 8601, tuples as lists."""
        body = asdict(self)
        body["opened_at"] = self.opened_at.isoformat()
        body["closed_at"] = self.closed_at.isoformat() if self.closed_at else None
        body["excluded"] = list(self.excluded)
        body["votes"] = [asdict(vote) | {"cast_at": vote.cast_at.isoformat()} for vote in self.votes]
        return body


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """Everything besides the evidence that a report says.

    Attributes:
        as_of: The moment the report speaks of, with a time zone. It is also the date inside the PDF, so that
            equal evidence and context give equal bytes.
        issued_by: User name of the person who issues it.
        ledger_size, ledger_root: Head of the ledger at ``as_of``.
        review: The committee's review, or None where none was opened.
    """

    as_of: datetime
    issued_by: str
    ledger_size: int
    ledger_root: str
    review: ReviewRecord | None = None


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
        pdf: PDF/A-3a (tagged), with ``data`` embedded.
        counts: How many of its requirements are in which state, for lists of reports; empty for a report that
            judges no requirements.
    """

    kind: str
    title: str
    data: dict[str, Any]
    html: str
    pdf: bytes
    counts: dict[str, int] = field(default_factory=dict)


class ReportKind(Protocol):
    """One kind of report.

    ``build`` raises AuscultError when the evidence lacks what the report cannot be written without.
    Gaps in what the regulation asks for are no error: the report marks them where they are.
    """

    @property
    def title(self) -> str: ...

    def build(self, evidence: dict[str, Any], context: ReportContext) -> ReportDocument: ...


REPORTS: Registry[ReportKind] = Registry(kind="report", package="governance.reports", group="auscult.reports")
"""Every report by key: ``annex_iv``, ``committee_one_pager``, and those of other distributions."""


def schema_of(kind: str) -> dict[str, Any]:
    """The published JSON Schema of a report's data.

    Raises:
        NotFoundError: this kind of report publishes none.
    """
    path = Path(__file__).with_name("schemas") / f"{kind}.json"
    if not path.is_file():
        raise NotFoundError(f"The report '{kind}' publishes no schema.", remedy="Ask for one of the other kinds.")
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema
