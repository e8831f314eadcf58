"""The technical documentation of Annex IV to Regulation (EU) 2024/1689, as far as one audit's evidence carries it.

Chapters 0 to 10 follow the outline in the catalogue of requirements. Each requirement stands where it belongs,
with its state; what nobody has shown is marked missing there, and counted on the cover.
"""

from __future__ import annotations

from typing import Any

from governance.reports import annex_iv_rules as annex_iv_rules  # registers the rules that judge
from governance.reports.annex_iv_pages import pages
from governance.reports.base import REPORTS, Draft, ReportContext, ReportDocument
from governance.reports.evidence import check_evidence, hide_small_cells
from governance.reports.findings import NO_APPLICABILITY, headline, statements, subject
from governance.reports.render import render_html, render_pdf
from governance.reports.statuses import Judgement, State, count_states, judge
from governance.reports.wording import plural
from governance.requirements import Catalogue, Requirement, load_requirements
from models_registry.cohorts.disclosure import hide_in_summary

KIND = "annex_iv"


class AnnexIV:
    """Technical documentation (Art. 11, Annex IV)."""

    title = "Technical documentation (Annex IV)"

    def build(self, evidence: dict[str, Any], context: ReportContext) -> ReportDocument:
        """Write the documentation of the version that the evidence is about.

        Raises:
            AuscultError: the evidence lacks what no report can do without.
        """
        draft = self.draft(evidence, context)
        printed = render_pdf(draft.html, name=KIND, data=draft.data, as_of=context.as_of)
        return ReportDocument(
            kind=KIND,
            title=f"{self.title}: {evidence['system']['name']} {evidence['version']['label']}",
            data=draft.data,
            html=draft.html,
            pdf=printed.pdf,
            counts=draft.data["counts"],
        )

    def draft(self, evidence: dict[str, Any], context: ReportContext) -> Draft:
        """The same without pages. Raises like :meth:`build`."""
        check_evidence(evidence)
        catalogue = load_requirements()
        judgements = judge(catalogue.for_report(KIND), catalogue, evidence, context)
        shown = hide_small_cells(evidence)
        data = _data(evidence, shown, judgements, catalogue, context)
        return Draft(data=data, html=render_html("annex_iv.html", pages(data, shown, judgements, catalogue, context)))


REPORTS.register(KIND)(AnnexIV())


def _data(
    evidence: dict[str, Any],
    shown: dict[str, Any],
    judgements: tuple[Judgement, ...],
    catalogue: Catalogue,
    context: ReportContext,
) -> dict[str, Any]:
    """The report as JSON. ``evidence`` is bound by digest as it is; everything told of it comes from ``shown``."""
    counts = count_states(judgements)
    version, cohort = shown["version"], shown["cohort"]
    return {
        "schema": "auscult/report/annex_iv/1",
        "kind": KIND,
        "title": AnnexIV.title,
        "as_of": context.as_of.isoformat(),
        "issued_by": context.issued_by,
        "ready": False,
        "not_ready_because": _blockers(counts),
        "statements": statements(shown),
        "headline": headline(shown),
        "subject": subject(evidence, context),
        "catalogue": {
            "version": catalogue.version,
            "as_of": catalogue.as_of.isoformat(),
            "legal_base": catalogue.facts["legal_base"],
            "newest_check": catalogue.facts["newest_check"],
        },
        "counts": counts,
        "sections": [_section(section.id, section.title, judgements) for section in catalogue.outline(KIND).sections],
        "version": {
            "manifest": version["manifest"],
            "config": version["config"],
            "notes": version.get("notes", ""),
        },
        "cohort": {
            "source": cohort.get("source", ""),
            "licence": cohort.get("licence", ""),
            "summary": hide_in_summary(cohort["summary"]),
        },
        "protocol": shown["protocol"]["body"],
        "execution": shown["execution"],
        "result": shown["result"],
        "review": context.review.to_dict() if context.review else None,
    }


def _blockers(counts: dict[str, int]) -> list[str]:
    """Why the documentation is not ready. Never empty: applicability is not determined in this release."""
    rows = [NO_APPLICABILITY]
    words = {
        State.NONCONFORM: "is contradicted by a failed audit",
        State.MISSING: "has no evidence",
        State.PARTIAL: "is shown in part only",
        State.NOT_JUDGED: "was not judged",
    }
    many = {"is": "are", "has": "have", "was": "were"}
    for state, text in words.items():
        if counts[state]:
            verb, rest = text.split(" ", 1)
            verb = verb if counts[state] == 1 else many[verb]
            rows.append(f"{plural(counts[state], 'requirement')} {verb} {rest}.")
    return rows


def _section(number: str, title: str, judgements: tuple[Judgement, ...]) -> dict[str, Any]:
    own = tuple(item for item in judgements if item.requirement.section == number)
    return {
        "id": number,
        "title": title,
        "counts": count_states(own),
        "requirements": [_requirement(item.requirement, item) for item in own],
    }


def _requirement(item: Requirement, judgement: Judgement) -> dict[str, Any]:
    applies = item.applies_from
    return {
        "id": item.id,
        "regulation": item.regulation,
        "article": item.article,
        "title": item.title,
        "summary": item.summary,
        "status": item.status,
        "source": item.source,
        "verified": item.verified,
        "applies_from": {
            "ref": applies.ref,
            "date": applies.date.isoformat(),
            "alternative": applies.alternative.isoformat() if applies.alternative else None,
            "confidence": applies.confidence,
        },
        "triggers": list(item.triggers),
        "completeness_rule": item.completeness_rule,
        "evidence_kinds": list(item.evidence),
        "state": judgement.state.value,
        "held": list(judgement.held),
        "lacking": list(judgement.lacking),
        "reason": judgement.reason,
    }
