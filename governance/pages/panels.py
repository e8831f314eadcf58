"""What governance adds to the pages of audits and versions, and asks of a person on the home page."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext

from core.access import Permission, can
from core.errors import ConflictError
from core.kept import kept
from core.models import User
from core.pages.panels import Panel, QueueItem, panel, queue_source
from evaluation.models import AuditRun, Outcome, RunStatus
from governance import selectors
from governance.access import check_may_issue, check_may_open_review
from governance.models import Bundle, Report, Review
from governance.pages import shared
from governance.reports.base import REPORTS
from governance.selectors.documents import ReportRow, report_rows, title_of
from governance.selectors.policies import policies_for
from governance.selectors.review_room import votable_first
from governance.services.reviews import OPENABLE, check_requested_since
from models_registry.models import ModelVersion
from models_registry.selectors import void_versions

OUTCOME_TONES = {Outcome.PASS: "pass", Outcome.FAIL: "fail", Outcome.INSUFFICIENT: "insufficient"}


def _may_open(user: User, run: AuditRun) -> Permission:
    allowed = can(check_may_open_review, user)
    if allowed and run.version.status not in OPENABLE:
        state = run.version.get_status_display().lower()
        reason = gettext("The version is %(state)s; a review is opened while it is in audit or suspended.") % {
            "state": state
        }
        return Permission(allowed=False, reason=reason)
    if allowed:
        try:
            check_requested_since(run)
        except ConflictError as error:
            return Permission(allowed=False, reason=error.message)
    return allowed


def _papers_of(run: AuditRun) -> tuple[list[Review], list[ReportRow]]:
    """Reviews and reports of an audit. Neither votes nor recusals are shown there, so they are not asked for."""
    reviews = selectors.reviews().prefetch_related(None).filter(run=run)
    return list(reviews), report_rows(selectors.reports_list(run=run))


@panel("run")
def next_steps(user: User, run: AuditRun) -> Panel | None:
    """Reviews and reports of a finished audit, and what can be done with it now."""
    if run.status != RunStatus.DONE:
        return None
    reviews, reports = kept("papers_of_run", run.pk, make=lambda: _papers_of(run))
    may_open = _may_open(user, run)
    context = {
        "run": run,
        "reviews": reviews,
        "reviewed": any(review.status != Review.Status.WITHDRAWN for review in reviews),
        "policies": policies_for(run.version.system) if may_open else [],
        "reports": reports,
        "waiting": any(row.report.status == Report.Status.QUEUED for row in reports),
        "kinds": [{"key": key, "title": kind.title} for key, kind in REPORTS],
        "may_open": may_open,
        "may_issue": can(check_may_issue, user),
    }
    return Panel(template="governance/_run_next.html", context=context)


@panel("version:reviews", rank=50)
def decisions(user: User, version: ModelVersion) -> Panel | None:
    context = {
        "reviews": list(selectors.reviews().filter(version=version)),
        "reports": report_rows(selectors.reports_list(version=version)),
    }
    if not any(context.values()):
        return None
    return Panel(template="governance/_version_decisions.html", context=context)


@queue_source
def votes_and_reviews(user: User) -> Iterator[QueueItem]:
    for row, may_vote in votable_first(shared.open_reviews(), user):
        if may_vote:
            yield QueueItem(
                title=gettext("Vote on %(version)s") % {"version": row.review.version},
                why=gettext("%(opened_by)s opened the review; %(reject)s of at least %(quorum)s votes are cast.")
                % {
                    "opened_by": row.review.opened_by,
                    "reject": row.tally.approve + row.tally.reject,
                    "quorum": row.tally.quorum,
                },
                href=reverse("review", args=[row.review.pk]),
                since=row.review.opened_at,
                tone="working",
                word="To vote",
                evidence_at=row.review.run.finished_at,
                note=gettext("It is held under %(title)s.") % {"title": row.review.policy.title}
                if row.review.policy
                else "",
            )
    if can(check_may_open_review, user):
        for version in void_versions():
            yield QueueItem(
                title=gettext("The approval of %(version)s is void") % {"version": version},
                why=gettext(
                    "%(void_reason)s Whoever uses it has to be told; the committee decides anew after an audit."
                )
                % {"void_reason": version.void_reason},
                href=reverse("lineage", args=[version.system.slug, version.pk]),
                since=version.void_at or version.submitted_at,
                tone="insufficient",
                word="Approval void",
            )
        for audit in shared.audits_to_review():
            outcome = Outcome(audit.outcome)
            yield QueueItem(
                title=gettext("Open a review of %(version)s") % {"version": audit.version},
                why=gettext("Its audit by %(name)s is done: %(x)s.")
                % {"name": audit.protocol, "x": outcome.label.lower()},
                href=reverse("audit", args=[audit.run]),
                since=audit.finished_at or audit.requested_at,
                tone=OUTCOME_TONES[outcome],
                word=str(outcome.label),
                evidence_at=audit.finished_at,
            )
    if can(check_may_issue, user):
        yield from _failed_documents(user)


def _failed_documents(user: User) -> Iterator[QueueItem]:
    for report in Report.objects.filter(status=Report.Status.FAILED, issued_by=user).select_related("version__system"):
        yield QueueItem(
            title=gettext("%(kind)s of %(version)s was not written")
            % {"kind": title_of(report.kind), "version": report.version},
            why=report.error or "The worker gave no reason.",
            href=reverse("report", args=[report.pk]),
            since=report.issued_at,
            tone="fail",
            word="Failed",
        )
    failed = Bundle.objects.filter(status=Bundle.Status.FAILED, issued_by=user)
    for bundle in failed.select_related("review__version__system"):
        yield QueueItem(
            title=gettext("The bundle of %(version)s was not built") % {"version": bundle.review.version},
            why=bundle.error or "The worker gave no reason.",
            href=reverse("review", args=[bundle.review_id]),
            since=bundle.issued_at,
            tone="fail",
            word="Failed",
        )
