"""Releases of synthetic cohorts: asked for by one person, decided by others, the data protection officer among them."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.access import people_with, same_person
from core.digests import sha256_text
from core.errors import RELOAD, ConflictError
from core.models import Role, Topic, User
from core.notifications import Urgency, notify, resolve
from core.plain_text import written
from core.reach import limited, service
from core.stepup import StepUp, check_stepped_up
from evaluation.models import AuditRun, RunStatus
from governance.access_releases import (
    check_may_request_release,
    check_may_revoke_release,
    check_may_vote_on_release,
    check_may_withdraw_release,
)
from governance.models import ReleaseVote, SyntheticRelease
from governance.selectors.releases import basis_of, check_basis, is_synthetic, officers_among, tally_of
from models_registry.models import CohortVersion
from models_registry.services.versions import model_store

Status, Choice = SyntheticRelease.Status, ReleaseVote.Choice
TRANSITIONS: dict[str, frozenset[str]] = {
    Status.OPEN: frozenset({Status.APPROVED, Status.REJECTED, Status.WITHDRAWN}),
    Status.APPROVED: frozenset({Status.REVOKED}),
    Status.REJECTED: frozenset(),
    Status.WITHDRAWN: frozenset(),
    Status.REVOKED: frozenset(),
}
"""What may follow on what. A release that was refused, withdrawn or revoked is asked for anew."""


@service
def request_release(
    *,
    cohort: CohortVersion,
    purpose: str,
    recipients: str,
    run: AuditRun | None = None,
    quorum: int = 1,
    by: User,
) -> SyntheticRelease:
    """Ask that a synthetic cohort may leave the house.

    Args:
        purpose, recipients: What it is to be used for, and who gets it.
        run: The audit of its privacy, on this cohort; a set that was made without real patients needs none.
        quorum: Votes to release that are needed, one of a data protection officer among them.

    Raises:
        DeniedError: ``by`` is neither ML engineer nor auditor.
        ConflictError: the cohort holds real patients, the audit is not finished or about another cohort, or the set
            is released or being decided already.
        AuscultError: a text is empty, too long, or holds a NUL character.
    """
    check_may_request_release(by)
    purpose, recipients = written(purpose, name="The purpose"), written(recipients, name="The list of recipients")
    cohort = CohortVersion.objects.select_related("cohort", "registered_by").get(pk=cohort.pk)
    _check_request(cohort=cohort, run=run, quorum=quorum)
    try:
        with transaction.atomic():
            release = SyntheticRelease.objects.create(
                cohort=cohort,
                cohort_digest=cohort.digest,
                run=run,
                evidence_digest=run.evidence_digest if run else "",
                purpose=purpose,
                recipients=recipients,
                quorum=quorum,
                submitter=cohort.registered_by,
                requester=by,
            )
    except IntegrityError as error:
        raise ConflictError(
            f"{cohort} is released, or its release is being decided.", remedy="Open it in the list of releases."
        ) from error
    facts = {"purpose_sha256": sha256_text(purpose), "recipients_sha256": sha256_text(recipients), "quorum": quorum}
    _record(release, "release.requested", by, run=run.pk if run else None, **facts)
    notify(
        to=_deciders(release),
        topic=Topic.REVIEWS,
        title=f"Decide whether {cohort} may leave the house",
        text=f"{by} asks for the release of this synthetic cohort. Without your vote it is not released.",
        href=_href(release),
        key=f"release:{release.pk}:requested",
        urgency=Urgency.ACTION,
    )
    return release


def _check_request(*, cohort: CohortVersion, run: AuditRun | None, quorum: int) -> None:
    if not is_synthetic(cohort):
        raise ConflictError(
            f"{cohort} holds real patients, and a cohort of real patients is not released.",
            remedy="Choose a synthetic cohort.",
        )
    if not 1 <= quorum <= 99:
        raise ConflictError("A decision needs at least one vote.", remedy="Choose a quorum of 1 or more.")
    if run is not None and run.cohort_id != cohort.pk:
        raise ConflictError(f"Audit {run.pk} is about another cohort.", remedy="Choose an audit of this cohort.")
    if run is not None and (run.status != RunStatus.DONE or not run.evidence_digest):
        raise ConflictError(
            f"Audit {run.pk} has no evidence: it is {run.get_status_display().lower()}.",
            remedy="Wait until the audit is done, or choose another.",
        )


@limited
def cast_release_vote(
    *, release: SyntheticRelease, choice: str, rationale: str, by: User, signed: StepUp
) -> ReleaseVote:
    """Vote on a release.

    It is given when as many vote to release as were asked for and a data protection officer is among them; it is
    refused at once when a data protection officer refuses. What others refuse is recorded and decides nothing.

    Raises:
        DeniedError: the person may not vote, did not prove who they are, or releases what nothing shows to be safe.
        ConflictError: the decision is closed, or the choice is unknown.
        AuscultError: the reason is empty, too long, or holds a NUL character.
        NotFoundError, DigestMismatchError: the evidence is gone from the store or was changed there.
    """
    if choice not in Choice.values:
        raise ConflictError(f"'{choice}' is not a vote.", remedy="Choose to release or to refuse.")
    rationale = written(rationale, name="The reason")
    evidence = None
    if choice == Choice.APPROVE and release.evidence_digest:
        evidence = model_store().get_json(release.evidence_digest)
    with transaction.atomic():
        release = locked_release(release.pk)
        if release.status != Status.OPEN:
            raise ConflictError(f"This decision is closed: {release.get_status_display().lower()}.", remedy=RELOAD)
        check_may_vote_on_release(by, release)
        proof = check_stepped_up(signed, by)
        if choice == Choice.APPROVE:
            check_basis(release, basis_of(release.cohort, release.run, evidence))
        vote = _create_vote(release=release, choice=choice, rationale=rationale, by=by, proof=proof)
        resolve(f"release:{release.pk}:requested", to=by)
        _decide(release, choice=Choice(choice), by=by)
    return vote


def locked_release(pk: int) -> SyntheticRelease:
    """The release as it is now, locked until the transaction ends where the database can do so."""
    rows = SyntheticRelease.objects.select_for_update(of=("self",), no_key=True)
    return rows.select_related("cohort__cohort", "cohort__parent__cohort", "run", "submitter", "requester").get(pk=pk)


def _create_vote(*, release: SyntheticRelease, choice: str, rationale: str, by: User, proof: StepUp) -> ReleaseVote:
    try:
        with transaction.atomic():
            vote = ReleaseVote.objects.create(
                release=release,
                voter=by,
                choice=choice,
                rationale=rationale,
                signed_at=proof.at,
                signed_with=proof.method,
                submitter=release.submitter,
                requester=release.requester,
            )
    except IntegrityError as error:
        raise ConflictError("You have voted on this release, or may not vote on it.", remedy=RELOAD) from error
    facts = {"choice": choice, "rationale_sha256": sha256_text(rationale)} | proof.in_ledger()
    ledger.record(
        actor=by.username, act="release_vote.cast", subject=("ReleaseVote", vote.pk), payload=_about(release) | facts
    )
    return vote


def _decide(release: SyntheticRelease, *, choice: ReleaseVote.Choice, by: User) -> None:
    """Close the decision where this vote completes it. Of two votes that would, only one does."""
    votes = list(ReleaseVote.objects.filter(release=release).select_related("voter"))
    officers = officers_among(votes)
    tally = tally_of(release, votes, officers)
    if choice == Choice.REJECT and by.pk in officers:
        decision = Status.REJECTED
    elif choice == Choice.APPROVE and tally.dpo_for and tally.approve >= release.quorum:
        decision = Status.APPROVED
    else:
        return
    _move(release, decision, by=by)
    counts = {"approve": tally.approve, "reject": tally.reject}
    _record(release, "release.decided", by, decision=str(decision), votes=counts)
    _tell(release, f"{release.cohort}: {decision.label.lower()}", f"{by} cast the vote that decided it.")


@service
def withdraw_release(*, release: SyntheticRelease, reason: str, by: User) -> SyntheticRelease:
    """Take a request back before it is decided.

    Raises:
        DeniedError: ``by`` did not ask for it, or it is closed.
        AuscultError: the reason is empty, too long, or holds a NUL character.
        ConflictError: somebody else closed it first.
    """
    release = locked_release(release.pk)
    check_may_withdraw_release(by, release)
    reason = written(reason, name="The reason")
    _move(release, Status.WITHDRAWN, by=by, reason=reason)
    _record(release, "release.withdrawn", by, reason_sha256=sha256_text(reason))
    return release


@service
def revoke_release(*, release: SyntheticRelease, reason: str, by: User) -> SyntheticRelease:
    """End a release: nothing is exported under it from now on. What has left the house is not called back by it.

    Raises:
        DeniedError: ``by`` is no data protection officer, or it is not released.
        AuscultError: the reason is empty, too long, or holds a NUL character.
        ConflictError: somebody else revoked it first.
    """
    release = locked_release(release.pk)
    check_may_revoke_release(by, release)
    reason = written(reason, name="The reason")
    _move(release, Status.REVOKED, by=by, reason=reason)
    _record(release, "release.revoked", by, reason_sha256=sha256_text(reason))
    _tell(release, f"The release of {release.cohort} is revoked", "Tell its recipients to stop using it.")
    return release


def _move(release: SyntheticRelease, to: SyntheticRelease.Status, *, by: User, reason: str = "") -> None:
    """A conditional UPDATE on the state that was read."""
    old = release.status
    if to not in TRANSITIONS[old]:
        raise ConflictError(f"This decision is closed: {release.get_status_display().lower()}.", remedy=RELOAD)
    facts: dict[str, Any] = {"status": to, "closed_at": timezone.now(), "closed_by": by, "closing_reason": reason}
    if not SyntheticRelease.objects.filter(pk=release.pk, status=old).update(**facts):
        raise ConflictError("This decision was closed meanwhile; nothing of yours was kept.", remedy=RELOAD)
    for name, value in facts.items():
        setattr(release, name, value)
    if release.cohort.parent_id is not None and to in (Status.APPROVED, Status.REVOKED):
        # What a generator made is used for nothing before it is released, nor after that ends.
        CohortVersion.objects.filter(pk=release.cohort_id).update(quarantined=to == Status.REVOKED)
    resolve(f"release:{release.pk}")


def _deciders(release: SyntheticRelease) -> list[User]:
    apart = (release.submitter, release.requester)
    return [user for user in people_with(Role.DPO, on=release) if not any(same_person(user, other) for other in apart)]


def _tell(release: SyntheticRelease, title: str, text: str) -> None:
    to, key = [release.requester, release.submitter], f"release:{release.pk}:{release.status}"
    notify(to=to, topic=Topic.REVIEWS, title=title, text=text, href=_href(release), key=key)


def _href(release: SyntheticRelease) -> str:
    return f"/governance/releases/{release.pk}/"


def _record(release: SyntheticRelease, act: str, by: User, **facts: Any) -> None:
    subject = ("SyntheticRelease", release.pk)
    ledger.record(actor=by.username, act=act, subject=subject, payload=_about(release) | facts)


def _about(release: SyntheticRelease) -> dict[str, Any]:
    """What every ledger entry of a release is bound to."""
    return {"release": release.pk, "cohort": release.cohort_digest, "evidence": release.evidence_digest}
