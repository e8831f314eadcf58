"""Who may ask for the release of a synthetic cohort, decide it, and take it back."""

from __future__ import annotations

from core.access import check_role, same_person
from core.errors import DeniedError
from core.models import Role, User
from governance.models import SyntheticRelease

REQUESTERS = (Role.ML_ENGINEER, Role.AUDITOR)
VOTERS = (Role.DPO, Role.COMMITTEE_CHAIR, Role.COMMITTEE_MEMBER, Role.CLINICIAN_LEAD)
ANOTHER = "Somebody who had no part in it has to vote."


def check_may_request_release(user: User) -> None:
    check_role(user, *REQUESTERS, to="ask for the release of a synthetic cohort")


def check_may_vote_on_release(user: User, release: SyntheticRelease) -> None:
    """The decision is open; the person neither made the set nor asked for its release, and has not voted."""
    # What concerns the person comes before their role: it is the reason that no other role would change.
    if same_person(release.submitter, user):
        raise DeniedError("You registered this cohort, so you cannot vote on its release.", remedy=ANOTHER)
    if same_person(release.requester, user):
        raise DeniedError("You asked for this release, so you cannot vote on it.", remedy=ANOTHER)
    check_role(user, *VOTERS, to="vote on the release of a synthetic cohort")
    # Through all(), so that votes that a page has prefetched are not asked for again.
    if any(same_person(vote.voter, user) for vote in release.votes.all()):
        raise DeniedError("You have voted on this release. A vote is never changed.")
    if release.status != SyntheticRelease.Status.OPEN:
        raise DeniedError(f"This decision is closed: {release.get_status_display().lower()}.")


def check_may_export_release(user: User, release: SyntheticRelease) -> None:
    """Who asked for the release, an engineer, or the data protection officer; and the release stands."""
    check_role(user, *REQUESTERS, Role.DPO, to="have the files of a released cohort written")
    if release.status != SyntheticRelease.Status.APPROVED:
        raise DeniedError(
            f"There is no release to write files of: {release.get_status_display().lower()}.",
            remedy="Files are written once the data protection officer has released the set.",
        )


def check_may_withdraw_release(user: User, release: SyntheticRelease) -> None:
    """Whoever asked takes their request back; the data protection officer refuses it instead."""
    if not same_person(release.requester, user):
        raise DeniedError(
            "Only who asked for the release may withdraw the request.",
            remedy="The data protection officer can refuse it.",
        )
    check_may_request_release(user)
    if release.status != SyntheticRelease.Status.OPEN:
        raise DeniedError(f"This decision is closed: {release.get_status_display().lower()}.")


def check_may_revoke_release(user: User, release: SyntheticRelease) -> None:
    """The data protection officer ends a release that was given."""
    check_role(user, Role.DPO, to="revoke the release of a synthetic cohort")
    if release.status != SyntheticRelease.Status.APPROVED:
        raise DeniedError(f"There is no release to revoke: {release.get_status_display().lower()}.")
