"""One page on which a committee sees what was found, how sure it is, what changed, and what the page does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from core.errors import AuscultError
from governance.reports.base import REPORTS, ReportContext, ReportDocument
from governance.reports.blocks import plain_json
from governance.reports.changes import (
    Changes,
    find_changes,
    lead_sentence,
    other_cohort,
    summary,
    told,
)
from governance.reports.engine_words import said
from governance.reports.evidence import runs_weights, unbound_weights
from governance.reports.figures import draw_figures
from governance.reports.findings import (
    group_rates,
    leading_verdict,
    metric_title,
    primary_verdicts,
)
from governance.reports.outlined import look
from governance.reports.outlined_data import head
from governance.reports.outlined_pages import frame
from governance.reports.registers import in_use
from governance.reports.render import Pages, render_html, render_pdf, unbroken
from governance.reports.view import View, run_name
from governance.reports.wording import (
    DECISIONS,
    VERDICTS,
    count,
    day,
    inside,
    interval,
    join_words,
    levels,
    limit,
    measured,
    moment,
    number,
    spoken,
)

KIND = "committee_one_pager"
FITS = ((12, True), (12, False), (8, False), (4, False), (1, False))
"""Rows of criteria, and whether the chart's table is printed: tried in turn until one page holds it all."""
LONGEST_RATIONALE = 170


class CommitteeOnePager:
    """The verdict on one page."""

    key = KIND
    title = gettext_lazy("Committee one-pager")
    needs_run = True
    editable = False

    def build(self, evidence: dict[str, Any] | None, context: ReportContext) -> ReportDocument:
        """Write the page about the run that the evidence is of.

        Raises:
            AuscultError: the evidence lacks what no report can do without, or its names are too long for a page.
        """
        with translation.override(context.language):
            view = look(self.key, evidence, context, needs_run=True)
            data = _data(view)
            html, printed = _fit(self, data, view)
            title = f"{self.title}: {view.dossier['system']['name']} {view.dossier['version']['label']}"
            return ReportDocument(kind=KIND, title=title, data=data, html=html, pdf=printed.pdf)


REPORTS.register(KIND)(CommitteeOnePager())


def _fit(report: CommitteeOnePager, data: dict[str, Any], view: View) -> tuple[str, Pages]:
    """The fullest form that one page holds. What is left out is counted on the page and is in the attached JSON."""
    shown = _evidence(view)
    lead = leading_verdict(shown)
    figures = draw_figures(shown, [lead] if lead else [])
    for rows, with_table in FITS:
        page = _page(report, data, view) | {
            "figure": figures[0] if figures else None,
            "with_table": with_table,
            "criteria": [_criterion(row) for row in data["criteria"][:rows]],
            "criteria_left": max(0, len(data["criteria"]) - rows),
        }
        html = render_html("committee_one_pager.html", page)
        printed = render_pdf(html, name=KIND, data=data, as_of=view.as_of)
        if printed.count == 1:
            return html, printed
    raise AuscultError(
        "The names and sentences of this audit do not fit on one page.",
        remedy="Shorten the system's name or the titles of the protocol's criteria.",
    )


def _evidence(view: View) -> dict[str, Any]:
    assert view.evidence is not None  # `look` refuses a page without an audit.
    return view.evidence


def _data(view: View) -> dict[str, Any]:
    shown = _evidence(view)
    lead = leading_verdict(shown)
    first = head(KIND, str(CommitteeOnePager.title), view)
    if told := in_use(view):
        first["warnings"] = [*first["warnings"], {"name": _("In use"), "text": told}]
    data = {
        **first,
        "leading": {"verdict": lead, "groups": group_rates(shown, lead)} if lead else None,
        "criteria": primary_verdicts(shown),
        "changes": _changes(view),
        "may_not_vote": _may_not_vote(shown),
        "review": view.review,
        "does_not_tell": list(_does_not_tell(shown)),
    }
    plain: dict[str, Any] = plain_json(data)
    return plain


def _changes(view: View) -> dict[str, Any] | None:
    """What changed since the last version: the verdict that matters most then and now, files and facts."""
    changes = find_changes(view)
    if changes is None:
        return None
    audit, lead = changes.audit, changes.lead
    keys = ("value", "low", "high", "n", "outcome")
    return {
        "previous": {key: changes.previous[key] for key in ("label", "digest", "submitted_at")},
        "audit": {
            "run": audit["run"],
            "protocol": audit["protocol"]["digest"],
            "cohort": audit["cohort"]["digest"],
            "evidence_digest": audit["evidence_digest"],
        }
        if audit
        else None,
        "same_cohort": changes.same_cohort if audit else None,
        "leading": {
            "before": {key: lead.before[key] for key in keys},
            "now": {key: lead.verdict[key] for key in keys},
            "difference": lead.difference,
        }
        if lead
        else None,
        "differences": [
            {"kind": item.kind, "name": item.name, "before": item.before, "now": item.now}
            for item in changes.differences
        ]
        if changes.differences is not None
        else None,
    }


def _changes_words(view: View) -> list[str]:
    """The same as sentences."""
    if view.dossier["previous"] is None:
        return [_("No version of this system was registered before this one.")]
    changes = find_changes(view)
    if changes is None or (changes.audit is None and changes.differences is None):
        return [_("Version %(label)s of %(day)s was registered before; no audit of both can be compared.") % told(view)]
    return list(_compared(view, changes))


def _compared(view: View, changes: Changes) -> list[str]:
    rows = [lead_sentence(view, changes)]
    if changes.audit is not None and not changes.same_cohort:
        rows.append(other_cohort())
    if changes.differences is not None:
        rows.append(summary(changes.differences))
    return rows


def _may_not_vote(shown: Mapping[str, Any]) -> list[dict[str, str]]:
    people = (
        (shown["version"]["submitted_by"], _("submitted the version")),
        (shown["run"]["requested_by"], _("requested the audit")),
        (shown["protocol"]["approved_by"], _("approved the protocol")),
    )
    return [{"person": person, "because": because} for person, because in people if person]


def _does_not_tell(shown: dict[str, Any]) -> list[str]:
    """The limits of this page, each true of this evidence."""
    rows = []
    if shown["cohort"]["simulated"]:
        rows.append(_("How the system behaves on real patients: every patient here is simulated."))
    else:
        rows.append(_("How the system behaves at sites, on devices and in groups that this cohort does not hold."))
    if unbound_weights(shown):
        rows.append(_("Whether the same weights would answer again: they run elsewhere, and no digest binds them."))
    elif not runs_weights(shown):
        rows.append(_("How the predictions were made: they were read from a log, no weights were run."))
    suites = sorted({_(str(item["suite"])) for item in shown["result"]["measurements"] if item.get("suite")})
    words = join_words(suites) or _("nothing")
    rows.append(_("Clinical benefit, security, and all else but %(suites)s: it was not measured.") % {"suites": words})
    rows.append(_("Whether the law is met: see the technical documentation."))
    silent = sum(item["value"] is None for item in shown["result"]["measurements"])
    if silent:
        words = ngettext(
            "What %(n)s measurement would say: undefined, or of too small a group to be shown.",
            "What %(n)s measurements would say: undefined, or of too small a group to be shown.",
            silent,
        )
        rows.append(words % {"n": count(silent)})
    return rows


def _page(report: CommitteeOnePager, data: dict[str, Any], view: View) -> dict[str, Any]:
    subject_of = data["subject"]
    cohort, shown = subject_of["cohort"], _evidence(view)
    named = ((_("Version"), "version"), (_("Cohort"), "cohort"), (_("Protocol"), "protocol"))
    return frame(report, view, data) | {
        "headline": unbroken(data["headline"]),
        "outcome_word": VERDICTS[data["outcome"]],
        "leading": _leading(data["leading"]),
        "locked": day(subject_of["protocol"]["locked_at"]),
        "interval_word": levels(shown["result"]["measurements"]),
        "run_name": run_name(shown["run"]["id"]),
        "changes": [unbroken(line) for line in _changes_words(view)],
        "digests": [
            *((name, subject_of[key]["digest"]) for name, key in named),
            (_("Evidence"), subject_of["evidence_digest"]),
            (_("Dossier"), subject_of["dossier_digest"]),
        ],
        "signature": view.certificate or _("None on this file."),
        "cohort_size": _("%(studies)s studies of %(patients)s patients")
        % {"studies": count(cohort["n_studies"]), "patients": count(cohort["n_patients"])},
        "review": _review(view),
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
        "needed": said(verdict.get("needed", "")),
        "groups": [
            {
                "group": said(item["group"]),
                "metric": metric_title(item["metric"]),
                "value": measured(item),
                "interval": interval(item["low"], item["high"]),
                "n": count(item["n"]),
                "patients": count(item.get("patients")),
                "reason": said(item["reason"]) if item["value"] is None else "",
            }
            for item in leading["groups"]
        ],
    }


def _criterion(verdict: dict[str, Any]) -> dict[str, str]:
    where = spoken(verdict["label"])
    if verdict["attribute"]:
        where = _("%(what)s by %(attribute)s") % {"what": where, "attribute": spoken(verdict["attribute"])}
    return {
        "name": metric_title(verdict["metric"]).split(" (")[0],
        "where": where,
        "groups": said(" vs ".join(verdict["groups"])),
        "limit": limit(verdict),
        "value": number(verdict["value"]),
        "interval": interval(verdict["low"], verdict["high"]),
        "n": count(verdict["n"]),
        "outcome": verdict["outcome"],
        "word": str(VERDICTS[verdict["outcome"]]),
    }


def _review(view: View) -> dict[str, Any] | None:
    review = view.review
    if review is None:
        return None
    return {
        "word": DECISIONS.get(review["status"], review["status"]),
        "closed": moment(review["closed_at"]) if review["closed_at"] else "",
        "votes": [
            {
                "voter": vote["voter"],
                "word": inside(str(DECISIONS.get(vote["choice"], vote["choice"]))),
                "rationale": _shortened(vote["rationale"]),
            }
            for vote in review["votes"]
        ],
    }


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_RATIONALE else text[: LONGEST_RATIONALE - 1].rstrip() + "…"
