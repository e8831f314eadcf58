"""One page on which a committee can see what was found, how sure it is, and what the page does not tell."""

from __future__ import annotations

from typing import Any

from core.errors import AuscultError
from governance.reports.base import REPORTS, ReportContext, ReportDocument
from governance.reports.evidence import check_evidence, hide_small_cells
from governance.reports.figures import draw_figures
from governance.reports.findings import (
    group_rates,
    headline,
    leading_verdict,
    metric_title,
    primary_verdicts,
    statements,
    subject,
)
from governance.reports.render import Pages, render_html, render_pdf, unbroken
from governance.reports.statuses import runs_weights, unbound_weights
from governance.reports.wording import (
    DECISIONS,
    VERDICTS,
    count,
    day,
    interval,
    join_words,
    levels,
    limit,
    measured,
    moment,
    number,
    plural,
    spoken,
)

KIND = "committee_one_pager"
FITS = ((12, True), (12, False), (8, False), (4, False), (1, False))
"""Rows of criteria, and whether the chart's table is printed: tried in turn until one page holds it all."""
LONGEST_RATIONALE = 170


class CommitteeOnePager:
    """The verdict on one page."""

    title = "Committee one-pager"

    def build(self, evidence: dict[str, Any], context: ReportContext) -> ReportDocument:
        """Write the page about the run that the evidence is of.

        Raises:
            AuscultError: the evidence lacks what no report can do without, or its names are too long for a page.
        """
        check_evidence(evidence)
        shown = hide_small_cells(evidence)
        data = _data(evidence, shown, context)
        html, printed = _fit(data, shown, context)
        title = f"{self.title}: {evidence['system']['name']} {evidence['version']['label']}"
        return ReportDocument(kind=KIND, title=title, data=data, html=html, pdf=printed.pdf)


REPORTS.register(KIND)(CommitteeOnePager())


def _fit(data: dict[str, Any], shown: dict[str, Any], context: ReportContext) -> tuple[str, Pages]:
    """The fullest form that one page holds. What is left out is counted on the page and is in the attached JSON."""
    lead = leading_verdict(shown)
    figures = draw_figures(shown, [lead] if lead else [])
    for rows, with_table in FITS:
        page = _page(data, shown, context) | {
            "figure": figures[0] if figures else None,
            "with_table": with_table,
            "criteria": [_criterion(row) for row in data["criteria"][:rows]],
            "criteria_left": max(0, len(data["criteria"]) - rows),
        }
        html = render_html("committee_one_pager.html", page)
        printed = render_pdf(html, name=KIND, data=data, as_of=context.as_of)
        if printed.count == 1:
            return html, printed
    raise AuscultError(
        "The names and sentences of this audit do not fit on one page.",
        remedy="Shorten the system's name or the titles of the protocol's criteria.",
    )


def _data(evidence: dict[str, Any], shown: dict[str, Any], context: ReportContext) -> dict[str, Any]:
    lead = leading_verdict(shown)
    return {
        "schema": "auscult/report/committee_one_pager/1",
        "kind": KIND,
        "title": CommitteeOnePager.title,
        "as_of": context.as_of.isoformat(),
        "issued_by": context.issued_by,
        "outcome": shown["result"]["outcome"],
        "headline": headline(shown),
        "statements": statements(shown),
        "subject": subject(evidence, context),
        "leading": {"verdict": lead, "groups": group_rates(shown, lead)} if lead else None,
        "criteria": primary_verdicts(shown),
        "may_not_vote": _may_not_vote(shown),
        "review": context.review.to_dict() if context.review else None,
        "does_not_tell": list(_does_not_tell(shown)),
    }


def _may_not_vote(shown: dict[str, Any]) -> list[dict[str, str]]:
    people = (
        (shown["version"]["submitted_by"], "submitted the version"),
        (shown["run"]["requested_by"], "requested the audit"),
        (shown["protocol"]["approved_by"], "approved the protocol"),
    )
    return [{"person": person, "because": because} for person, because in people if person]


def _does_not_tell(shown: dict[str, Any]) -> list[str]:
    """The limits of this page, each true of this evidence."""
    rows = []
    if shown["cohort"]["simulated"]:
        rows.append("How the system behaves on real patients: every patient here is simulated.")
    else:
        rows.append("How the system behaves at sites, on devices and in groups that this cohort does not hold.")
    if unbound_weights(shown):
        rows.append("Whether the same weights would answer again: they run elsewhere, and no digest binds them.")
    elif not runs_weights(shown):
        rows.append("How the predictions were made: they were read from a log, no weights were run.")
    suites = sorted({str(item["suite"]) for item in shown["result"]["measurements"] if item.get("suite")})
    rows.append(f"Clinical benefit, security, and all else but {join_words(suites) or 'nothing'}: it was not measured.")
    rows.append("Whether the law is met: see the technical documentation.")
    silent = sum(item["value"] is None for item in shown["result"]["measurements"])
    if silent:
        rows.append(f"What {plural(silent, 'measurement')} would say: undefined, or of too small a group to be shown.")
    return rows


def _page(data: dict[str, Any], shown: dict[str, Any], context: ReportContext) -> dict[str, Any]:
    subject_of = data["subject"]
    cohort = subject_of["cohort"]
    return {
        "data": data,
        "headline": unbroken(data["headline"]),
        "subject": subject_of,
        "created": data["as_of"],
        "as_of": moment(context.as_of),
        "outcome_word": VERDICTS[data["outcome"]],
        "leading": _leading(data["leading"]),
        "locked": day(subject_of["protocol"]["locked_at"]),
        "interval_word": levels(shown["result"]["measurements"]),
        "run_name": f"run {shown['run']['id']}",
        "digests": [
            (name, subject_of[key]["digest"])
            for name, key in (("Version", "version"), ("Cohort", "cohort"), ("Protocol", "protocol"))
        ]
        + [("Evidence", subject_of["evidence_digest"])],
        "cohort_size": f"{count(cohort['n_studies'])} studies of {count(cohort['n_patients'])} patients",
        "review": _review(context),
    }


def _leading(leading: dict[str, Any] | None) -> dict[str, Any] | None:
    """The verdict that matters most, as words: its groups with value, interval and size, and the criterion."""
    if leading is None:
        return None
    verdict = leading["verdict"]
    return {
        "metric": metric_title(verdict["metric"]),
        "label": spoken(verdict["label"]),
        "limit": limit(verdict),
        "value": number(verdict["value"]),
        "interval": interval(verdict["low"], verdict["high"]),
        "needed": verdict.get("needed", ""),
        "groups": [
            {
                "group": item["group"],
                "metric": metric_title(item["metric"]),
                "value": measured(item),
                "interval": interval(item["low"], item["high"]),
                "n": count(item["n"]),
                "patients": count(item.get("patients")),
                "reason": item["reason"] if item["value"] is None else "",
            }
            for item in leading["groups"]
        ],
    }


def _criterion(verdict: dict[str, Any]) -> dict[str, str]:
    return {
        "name": metric_title(verdict["metric"]).split(" (")[0],
        "where": spoken(verdict["label"]) + (f" by {spoken(verdict['attribute'])}" if verdict["attribute"] else ""),
        "groups": " vs ".join(verdict["groups"]),
        "limit": limit(verdict),
        "value": number(verdict["value"]),
        "interval": interval(verdict["low"], verdict["high"]),
        "n": count(verdict["n"]),
        "outcome": verdict["outcome"],
        "word": VERDICTS[verdict["outcome"]],
    }


def _review(context: ReportContext) -> dict[str, Any] | None:
    review = context.review
    if review is None:
        return None
    return {
        "word": DECISIONS.get(review.status, review.status),
        "closed": moment(review.closed_at) if review.closed_at else "",
        "votes": [
            {
                "voter": vote.voter,
                "word": DECISIONS.get(vote.choice, vote.choice).lower(),
                "rationale": _shortened(vote.rationale),
            }
            for vote in review.votes
        ],
    }


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_RATIONALE else text[: LONGEST_RATIONALE - 1].rstrip() + "…"
