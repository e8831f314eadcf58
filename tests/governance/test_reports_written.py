"""Every kind of report, asked for and written as a worker does it, from a gathered dossier and stored evidence."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pikepdf
import pytest

from core.store import Store
from evaluation.models import AuditRun
from governance import execution
from governance.models import Answer, Report
from governance.reports.base import REPORTS, schema_of
from governance.services.reports import request_report
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import MDR_DEVICE
from tests.reports.pdf import read_pdf


@pytest.fixture
def run(audited: Callable[..., AuditRun], people: SimpleNamespace, home: Path) -> AuditRun:
    """A finished audit with whole evidence, of a system whose questions are answered."""
    run = audited(outcome="fail")
    version = run.version
    version.config = make_evidence("fail")["version"]["config"]
    version.save(update_fields=["config"])
    body = make_evidence(
        "fail",
        run={"id": run.pk},
        version={"label": version.label, "digest": version.digest, "manifest": version.manifest},
        cohort={"digest": run.cohort.digest},
        protocol={"digest": run.protocol.digest},
    )
    run.evidence_digest = Store(home / "store").put_json(body)
    run.save(update_fields=["evidence_digest"])
    Answer.objects.bulk_create(
        Answer(system=version.system, question=key, value=value, author=people.elena)
        for key, value in MDR_DEVICE.items()
    )
    return run


def issued(kind: str, run: AuditRun, people: SimpleNamespace, language: str, home: Path) -> tuple[Report, Any, bytes]:
    report = request_report(kind=kind, version=run.version, run=run, language=language, by=people.clara)
    execution.write_report(report.pk)
    report.refresh_from_db()
    assert (report.status, report.error) == (Report.Status.ISSUED, "")
    store = Store(home / "store")
    return report, store.get_json(report.json_digest), store.get_bytes(report.pdf_digest)


@pytest.mark.parametrize("kind", sorted(REPORTS.keys()))
def test_it_is_written_signed_and_valid(kind: str, run: AuditRun, people: SimpleNamespace, home: Path) -> None:
    report, data, pdf = issued(kind, run, people, "en", home)
    jsonschema.validate(data, schema_of(kind), format_checker=jsonschema.FormatChecker())
    facts = read_pdf(pdf)
    assert facts.attachments == {f"{kind}.json": data}
    assert (facts.part, facts.conformance, facts.tagged) == ("3", "A", True)
    with pikepdf.open(io.BytesIO(pdf)) as document:
        assert [field.FT for field in document.Root.AcroForm.Fields] == ["/Sig"]
    assert data["subject"]["dossier_digest"] == report.dossier_digest
    assert data["subject"]["evidence_digest"] == run.evidence_digest
    html = Store(home / "store").get_bytes(report.html_digest).decode()
    assert "signed with a certificate that this installation made for itself" in html
    assert bool(report.docx_digest) is REPORTS.get(kind).editable


@pytest.mark.parametrize("kind", ["dpia", "committee_one_pager"])
def test_in_german_too(kind: str, run: AuditRun, people: SimpleNamespace, home: Path) -> None:
    _report, data, pdf = issued(kind, run, people, "de", home)
    assert data["language"] == "de"
    assert read_pdf(pdf).language == "de"
