"""A report as it would be issued now, without pages, signature or trace: what a preview shows."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from django.utils import translation
from django.utils.html import escape

from core.kept import kept
from core.models import User
from core.reach import limited
from evaluation.models import AuditRun
from governance.dossier import dossier_for_page
from governance.reports.base import REPORTS, ReportContext
from models_registry.models import ModelVersion
from models_registry.services.versions import model_store

READER = "reader-of-this-preview"


@limited
def preview_report(*, kind: str, version: ModelVersion, run: AuditRun | None, language: str, by: User) -> str:
    """The report as one page of HTML.

    Raises:
        AuscultError: there is no such kind or language; the report needs an audit; the evidence is unfit.
        NotFoundError, DigestMismatchError: the evidence is gone from the store or was changed there.
    """
    report = REPORTS.get(kind)
    make = partial(_drawn, report, version, run, language)
    return kept("preview", kind, version.pk, run and run.pk, language, make=make).replace(READER, escape(by.username))


def _drawn(report: Any, version: ModelVersion, run: AuditRun | None, language: str) -> str:
    """For whoever reads it: their name is put in its place afterwards."""
    store, dossier = model_store(), dossier_for_page(version, run=run)
    own = run.evidence_digest if run else ""
    others = {audit["evidence_digest"] for audit in (*dossier["audits"], *dossier["earlier_audits"])} - {own, ""}
    with translation.override(language):
        unsigned = translation.gettext("This is a preview: it is neither issued nor signed.")
    context = ReportContext(
        as_of=datetime.fromisoformat(dossier["as_of"]),
        issued_by=READER,
        dossier=dossier,
        language=language,
        certificate=unsigned,
        documents={digest: store.get_json(digest) for digest in sorted(others) if store.has(digest)},
    )
    evidence = store.get_json(own) if own else None
    return _html(report, evidence, context)


def _html(report: Any, evidence: dict[str, Any] | None, context: ReportContext) -> str:
    """By ``draft`` where the kind has it; else the whole document is built and its HTML taken."""
    draft = getattr(report, "draft", None)
    html: str = (draft or report.build)(evidence, context).html
    return html
