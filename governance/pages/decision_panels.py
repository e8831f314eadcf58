"""What decisions ask of a person on the home page, and what they say on the pages of versions and cohorts."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext

from core.access import can
from core.kept import kept
from core.models import User
from core.pages.panels import Panel, QueueItem, panel, queue_source
from governance.access_releases import check_may_request_release, check_may_vote_on_release
from governance.models import Condition, SyntheticRelease
from governance.pages.ballots import closing_form
from governance.selectors import releases
from governance.selectors.approvals import approval_as_read
from governance.selectors.conditions import claims_to_confirm, conditions_owned_by
from models_registry.access import check_may_retire_version, check_may_submit_version
from models_registry.models import CohortVersion, ModelVersion, VersionStatus

LONGEST_TEXT = 160
RetireForm = closing_form("Why it is retired")


@queue_source
def conditions_to_see_to(user: User) -> Iterator[QueueItem]:
    """Conditions that this person owns, and claims that they may confirm; each with its day."""
    for condition in conditions_owned_by(user):
        why = gettext("You own it: %(condition)s When its day passes first, the approval ends.") % {
            "condition": _brief(condition)
        }
        yield _item(condition, title="Meet a condition", why=why, tone="insufficient", word="Condition")
    for condition in claims_to_confirm(user):
        why = gettext("%(claimed_by)s says that it is met, and you may confirm it: %(condition)s") % {
            "claimed_by": condition.claimed_by,
            "condition": _brief(condition),
        }
        yield _item(condition, title="Confirm a condition", why=why, tone="working", word="To confirm")


def _item(condition: Condition, *, title: str, why: str, tone: str, word: str) -> QueueItem:
    return QueueItem(
        title=gettext("%(title)s of %(version)s") % {"title": title, "version": condition.review.version},
        why=why,
        href=f"{reverse('review', args=[condition.review_id])}#condition-{condition.pk}",
        since=condition.claimed_at or condition.review.closed_at or condition.proposed_at,
        tone=tone,
        word=word,
        due=condition.due_at,
    )


def _brief(condition: Condition) -> str:
    text = " ".join(condition.text.split())
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT].rstrip()}…"


@queue_source
def releases_to_decide(user: User) -> Iterator[QueueItem]:
    """Synthetic sets whose release waits for this person's vote."""
    for release in releases.releases().filter(status=SyntheticRelease.Status.OPEN):
        if not can(check_may_vote_on_release, user, release):
            continue
        needed = releases.needs_privacy_audit(release.cohort)
        yield QueueItem(
            title=gettext("Decide whether %(cohort)s may leave the house") % {"cohort": release.cohort},
            why=(gettext("%(requester)s asks for its release. ") % {"requester": release.requester})
            + ("It was derived from real patients." if needed else "It was made without any real patient."),
            href=reverse("release", args=[release.pk]),
            since=release.opened_at,
            tone="working",
            word="To vote",
            evidence_at=release.run.finished_at if release.run else None,
        )


@panel("cohort")
def release_of_cohort(user: User, cohort: CohortVersion) -> Panel | None:
    """Whether a synthetic set may leave the house; nothing on the page of real patients, who never do."""
    if not releases.is_synthetic(cohort):
        return None
    rows = list(releases.releases().filter(cohort=cohort))
    held = any(row.status in (SyntheticRelease.Status.OPEN, SyntheticRelease.Status.APPROVED) for row in rows)
    may_request = can(check_may_request_release, user)
    context = {"cohort": cohort, "releases": rows, "held": held, "may_request": may_request}
    return Panel(template="governance/_cohort_release.html", context=context)


@panel("version", rank=10)
def approval(user: User, version: ModelVersion) -> Panel:
    """How the approval stands, what it hangs on, and the ends of a version's life: submitted, retired."""
    found = kept("approval_as_read", version.pk, make=lambda: approval_as_read(version))
    context = {
        "version": version,
        "approval": found,
        "decided": found.review is not None,
        "draft": version.status == VersionStatus.DRAFT,
        "retired": version.status == VersionStatus.RETIRED,
        "may_submit": can(check_may_submit_version, user, version),
        "may_retire": can(check_may_retire_version, user),
        "retirement": RetireForm(prefix="retire"),
    }
    return Panel(template="governance/_version_approval.html", context=context)
