"""A report as JSON: the same chapters, requirements and sources as its pages, valid against the published schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from governance.reports.annexes import Chapter, index_sources
from governance.reports.blocks import plain_json, to_json
from governance.reports.evidence import runs_weights
from governance.reports.findings import headline, warnings
from governance.reports.view import View
from governance.requirements import TimelineEntry
from governance.statuses import Judgement, count_states

if TYPE_CHECKING:
    from governance.reports.outlined import OutlinedReport

VERSION_KEYS = ("label", "adapter", "digest", "submitted_by", "submitted_at")
PROTOCOL_KEYS = ("name", "title", "digest", "locked_by", "locked_at", "approved_by", "approved_at")
RUN_KEYS = ("id", "requested_by", "requested_at", "started_at", "finished_at")


def document_data(report: OutlinedReport, view: View, chapters: Sequence[Chapter]) -> dict[str, Any]:
    """The report's JSON."""
    judged = tuple(item for chapter in chapters for item in chapter.requirements)
    readiness = view.statuses.ready(report.key)
    opening = tuple(report.opening(view))
    index = index_sources(opening, chapters, view)
    data = {
        **head(report.key, str(report.title), view),
        "ready": readiness.ready,
        "not_ready_because": list(readiness.because),
        "counts": count_states(judged),
        "opening": [to_json(block) for block in opening],
        "sections": [_chapter(item) for item in chapters if not item.annex],
        "annexes": [_chapter(item) for item in chapters if item.annex],
        "sources": [asdict(source) | {"number": number} for source, number in index.numbers.items()],
        "content": report.content(view),
    }
    plain: dict[str, Any] = plain_json(data)
    return plain


def head(kind: str, title: str, view: View) -> dict[str, Any]:
    """What the JSON of every report begins with: what it is, about what, and by which rules."""
    told = {"outcome": view.evidence["result"]["outcome"], "headline": headline(view.evidence)} if view.evidence else {}
    facts = view.catalogue.facts
    return {
        "schema": f"auscult/report/{kind}/2",
        "kind": kind,
        "title": title,
        "language": view.language,
        "as_of": view.as_of.isoformat(),
        "issued_by": view.issued_by,
        **told,
        "warnings": warnings(view.dossier, view.evidence),
        "subject": subject(view),
        "catalogue": {
            "version": view.catalogue.version,
            "as_of": view.catalogue.as_of.isoformat(),
            "digest": view.catalogue.digest,
            "legal_base": facts["legal_base"],
            "newest_check": facts["newest_check"],
        },
    }


def subject(view: View) -> dict[str, Any]:
    """What the report is about, by name and digest: the part of its JSON that binds it."""
    dossier, evidence = view.dossier, view.evidence
    cohort = dossier["cohort"]
    bound: dict[str, Any] = {"protocol": None, "run": None, "runs_weights": None, "evidence_digest": None}
    bound["result_digest"] = None
    if evidence is not None:
        cohort = evidence["cohort"]
        bound = {
            "protocol": {key: evidence["protocol"][key] for key in PROTOCOL_KEYS},
            "run": {key: evidence["run"][key] for key in RUN_KEYS},
            "runs_weights": runs_weights(evidence),
            "evidence_digest": view.evidence_digest,
            "result_digest": evidence["result_digest"],
        }
    keys = ("name", "digest", "n_studies", "n_patients", "simulated")
    return {
        "system": {key: dossier["system"][key] for key in ("name", "provider", "intended_purpose", "risk_class")},
        "version": {key: dossier["version"][key] for key in VERSION_KEYS},
        "cohort": {key: cohort[key] for key in keys} if cohort else None,
        **bound,
        "dossier_digest": view.dossier_digest,
        "ledger": {key: dossier["ledger"][key] for key in ("size", "root")},
    }


def _chapter(chapter: Chapter) -> dict[str, Any]:
    return {
        "id": chapter.number,
        "title": chapter.title,
        "counts": count_states(chapter.requirements),
        "blocks": [to_json(block) for block in chapter.blocks],
        "requirements": [requirement_data(item) for item in chapter.requirements],
    }


def requirement_data(judgement: Judgement) -> dict[str, Any]:
    """One requirement with its state and everything that led to it."""
    item, applicability = judgement.requirement, judgement.applicability
    return {
        "id": item.id,
        "regulation": item.regulation,
        "article": item.article,
        "title": item.title,
        "summary": item.summary,
        "status": item.status,
        "source": item.source,
        "verified": item.verified,
        "applies_from": _date(item.applies_from),
        "triggers": list(item.triggers),
        "completeness_rule": item.completeness_rule,
        "evidence_kinds": list(item.evidence),
        "applicability": {
            "applies": applicability.applies.value,
            "reason": applicability.reason,
            "questions": list(applicability.questions),
            "in_force": applicability.in_force,
        },
        "state": judgement.state.value,
        "reason": judgement.reason,
        "held": list(judgement.held),
        "lacking": list(judgement.lacking),
        "contradicted": list(judgement.contradicted),
        "stale": list(judgement.stale),
        "fields": [
            {
                "name": value.name,
                "label": value.label,
                "type": value.type,
                "value": value.value,
                "reference": asdict(value.reference) if value.reference else None,
            }
            for value in judgement.fields
        ],
        "references": [asdict(reference) for reference in judgement.references],
        "statement": _statement(judgement),
        "owner": judgement.owner,
    }


def _statement(judgement: Judgement) -> dict[str, Any] | None:
    """The newest statement; of a draft only that there is one, because nobody has said that it is true."""
    told = judgement.accepted or judgement.statement
    if told is None:
        return None
    keys = ("id", "revision", "status", "text", "generated", "author", "written_at", "decided_by", "decided_at")
    said = {key: told[key] for key in keys} | {"version": told["version"]}
    return said if told["status"] == "accepted" else said | {"text": ""}


def _date(entry: TimelineEntry) -> dict[str, Any]:
    return {
        "ref": entry.ref,
        "date": entry.date.isoformat(),
        "alternative": entry.alternative.isoformat() if entry.alternative else None,
        "confidence": entry.confidence,
    }
