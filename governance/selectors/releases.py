"""Reading releases of synthetic cohorts: what a decision rests on, how it stands, whether a set may leave the house.

A set that was made without any real patient rests on its generator. A set that was derived from real patients rests on
an audit of its privacy: without one that passes there is no evidence, and lack of evidence is never a pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet

from core.access import Permission, can
from core.errors import AuscultError, DeniedError, NotFoundError
from core.models import Role, RoleGrant, User
from evaluation.models import AuditRun, Outcome, RunStatus
from governance.access_releases import (
    check_may_export_release,
    check_may_revoke_release,
    check_may_vote_on_release,
    check_may_withdraw_release,
)
from governance.models import ReleaseExport, ReleaseVote, SyntheticRelease
from governance.persons import separate_votes
from governance.standing.kinds import kinds_of
from models_registry.models import CohortVersion
from models_registry.services.versions import model_store

PRIVACY = "synthetic_privacy_audit"
"""The kind of evidence that a set derived from real patients needs."""


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a release can rest on.

    Attributes:
        suffices: Whether the set may be released on it; the people still decide.
        statement: What there is, or what is missing, in sentences.
        remedy: What would supply what is missing; empty where nothing is.
        caution: What a voter must know besides; empty where nothing is.
    """

    suffices: bool
    statement: str
    remedy: str = ""
    caution: str = ""


@dataclass(frozen=True, kw_only=True)
class ReleaseTally:
    """Votes so far. ``dpo_for``: a data protection officer is among those to release."""

    approve: int
    reject: int
    quorum: int
    dpo_for: bool


@dataclass(frozen=True, kw_only=True)
class ReleaseDetail:
    """One release with all that a voter has to see; permissions are those of the person who looks."""

    release: SyntheticRelease
    votes: tuple[ReleaseVote, ...]
    tally: ReleaseTally
    basis: Basis
    earlier: tuple[SyntheticRelease, ...]
    officers: frozenset[int]
    may_vote: Permission
    may_approve: Permission
    may_withdraw: Permission
    may_revoke: Permission
    may_export: Permission
    exports: tuple[ReleaseExport, ...]


def is_synthetic(cohort: CohortVersion) -> bool:
    """Whether a cohort says of itself that it was made: simulated, by a generator, or from a parent."""
    return bool(cohort.cohort.simulated or cohort.generator_digest or cohort.parent_id)


def needs_privacy_audit(cohort: CohortVersion) -> bool:
    """Whether real patients may show through: it has a parent, or nothing says that it was made without any."""
    return cohort.parent_id is not None or not cohort.cohort.simulated


def basis_of(cohort: CohortVersion, run: AuditRun | None, evidence: dict[str, Any] | None) -> Basis:
    """What the release of a cohort can rest on.

    Args:
        run: The audit of its privacy that was named, if one was.
        evidence: The evidence of ``run`` as the store holds it; None where there is none, or it cannot be read.
    """
    if not needs_privacy_audit(cohort):
        return _procedural(cohort)
    source = f" from {cohort.parent}" if cohort.parent else ""
    need = f"It was derived{source}, so real patients may show through. It needs an audit of its privacy that passes."
    remedy = (
        "Refuse the release. It can be asked for again when the set has a finished, passing audit with evidence of the "
        "kind synthetic privacy audit."
    )
    if lack := _lack(cohort, run, evidence):
        return Basis(suffices=False, statement=f"{need} {lack}", remedy=remedy)
    assert run is not None  # else something would be lacking
    statement = f"It was derived{source}. Audit {run.pk} of its privacy is finished and passes."
    return Basis(suffices=True, statement=statement)


def _procedural(cohort: CohortVersion) -> Basis:
    caution = ""
    if not cohort.generator_digest:
        caution = (
            "No generator is on record for it: that no real patient is in it is what its registration says, "
            "and nothing here shows it. Ask who registered it how it was made."
        )
    return Basis(
        suffices=True,
        statement="It was made without any real patient: it has no parent cohort. No audit of its privacy is needed.",
        caution=caution,
    )


def _lack(cohort: CohortVersion, run: AuditRun | None, evidence: dict[str, Any] | None) -> str:
    """What is missing of an audit of privacy, in a sentence; empty where nothing is."""
    if run is None:
        return "No audit was named."
    if run.cohort_id != cohort.pk:
        return f"Audit {run.pk} is about another cohort."
    if run.status != RunStatus.DONE:
        return f"Audit {run.pk} is not finished: {run.get_status_display().lower()}."
    if evidence is None:
        return f"The evidence of audit {run.pk} cannot be read."
    result, suites = evidence.get("result", {}), evidence.get("protocol", {}).get("body", {}).get("suites", [])
    if evidence.get("cohort", {}).get("digest") != cohort.digest:
        return f"The evidence of audit {run.pk} is about other content than this cohort holds."
    if PRIVACY not in kinds_of(suites, result.get("verdicts", [])):
        return f"Audit {run.pk} did not audit privacy: its evidence is of other kinds."
    if result.get("outcome") != Outcome.PASS or run.outcome != Outcome.PASS:
        return f"Audit {run.pk} does not pass: {Outcome(result.get('outcome', run.outcome)).label.lower()}."
    return ""


def evidence_of(run: AuditRun | None) -> dict[str, Any] | None:
    """The evidence of an audit; None where there is none, or the store refuses it (a page says so then)."""
    if run is None or not run.evidence_digest:
        return None
    try:
        found: dict[str, Any] = model_store().get_json(run.evidence_digest)
    except AuscultError:
        return None
    return found


def releases() -> QuerySet[SyntheticRelease]:
    """Every release with what its row shows, newest first. Two queries, however many there are."""
    votes = Prefetch("votes", queryset=ReleaseVote.objects.select_related("voter"))
    about = ("cohort__cohort", "cohort__parent__cohort", "run__protocol", "submitter", "requester", "closed_by")
    return SyntheticRelease.objects.select_related(*about).prefetch_related(votes)


def release_by_id(pk: int) -> SyntheticRelease:
    """One release.

    Raises:
        NotFoundError: there is none with this number.
    """
    found = releases().filter(pk=pk).first()
    if found is None:
        raise NotFoundError(f"There is no release {pk}.", remedy="Open it from the list of synthetic releases.")
    return found


def officers_among(votes: list[ReleaseVote]) -> frozenset[int]:
    """Accounts among the voters that are, by themselves or by who stands for them, a data protection officer's."""
    voters = {vote.voter_id: vote.voter.identity_id for vote in votes}
    held = RoleGrant.objects.filter(role=Role.DPO, user__in={*voters, *voters.values()})
    officers = set(held.values_list("user_id", flat=True))
    return frozenset(account for account, person in voters.items() if {account, person} & officers)


def tally_of(release: SyntheticRelease, votes: list[ReleaseVote], officers: frozenset[int]) -> ReleaseTally:
    votes = separate_votes(release, votes)
    choices = [vote.choice for vote in votes]
    approve, reject = ReleaseVote.Choice.APPROVE, ReleaseVote.Choice.REJECT
    dpo_for = any(vote.choice == approve and vote.voter_id in officers for vote in votes)
    return ReleaseTally(
        approve=choices.count(approve), reject=choices.count(reject), quorum=release.quorum, dpo_for=dpo_for
    )


def check_basis(release: SyntheticRelease, basis: Basis) -> None:
    """Raise unless what was named suffices, and is what was named when the release was asked for."""
    if release.cohort.digest != release.cohort_digest:
        raise DeniedError("The cohort is not what it was when its release was asked for.", remedy="Refuse it.")
    if release.run is not None and release.run.evidence_digest != release.evidence_digest:
        raise DeniedError("The evidence is not what it was when the release was asked for.", remedy="Refuse it.")
    if not basis.suffices:
        raise DeniedError(f"This set cannot be released. {basis.statement}", remedy=basis.remedy)


def check_may_approve_release(user: User, release: SyntheticRelease, basis: Basis) -> None:
    """May vote, and there is something to release it on: without evidence it can only be refused."""
    check_may_vote_on_release(user, release)
    check_basis(release, basis)


def release_detail(release: SyntheticRelease, *, user: User) -> ReleaseDetail:
    """One release with its votes, what it rests on, and earlier decisions about the same set."""
    votes = list(release.votes.all())
    officers = officers_among(votes)
    basis = basis_of(release.cohort, release.run, evidence_of(release.run))
    return ReleaseDetail(
        release=release,
        votes=tuple(votes),
        tally=tally_of(release, votes, officers),
        basis=basis,
        earlier=tuple(releases().filter(cohort=release.cohort_id).exclude(pk=release.pk)),
        officers=officers,
        may_vote=can(check_may_vote_on_release, user, release),
        may_approve=can(check_may_approve_release, user, release, basis),
        may_withdraw=can(check_may_withdraw_release, user, release),
        may_revoke=can(check_may_revoke_release, user, release),
        may_export=can(check_may_export_release, user, release),
        exports=tuple(release.exports.select_related("issued_by")),
    )


def releasable_cohorts() -> QuerySet[CohortVersion]:
    """Synthetic cohort versions whose release is neither given nor being decided, newest first."""
    made = Q(cohort__simulated=True) | ~Q(generator_digest="") | Q(parent__isnull=False)
    held = SyntheticRelease.objects.filter(status__in=[SyntheticRelease.Status.OPEN, SyntheticRelease.Status.APPROVED])
    rows = CohortVersion.objects.filter(made).exclude(pk__in=held.values("cohort"))
    return rows.select_related("cohort", "parent__cohort").defer("summary").order_by("-registered_at", "-pk")


def privacy_audits(cohorts: QuerySet[CohortVersion]) -> QuerySet[AuditRun]:
    """Finished audits that the release of one of these cohorts may rest on, the newest: of each cohort that needs one
    the newest by each protocol."""
    newest = AuditRun.objects.filter(
        status=RunStatus.DONE, cohort=OuterRef("cohort"), protocol=OuterRef("protocol"), pk__gt=OuterRef("pk")
    )
    needing = cohorts.order_by().filter(Q(parent__isnull=False) | Q(cohort__simulated=False))
    rows = AuditRun.objects.filter(~Exists(newest), status=RunStatus.DONE, cohort__in=needing.values("pk"))
    rows = rows.select_related("protocol", "cohort__cohort")
    return rows.only("outcome", "protocol__name", "cohort__cohort__name")


def check_released(cohort: CohortVersion) -> None:
    """Raise unless this very content was released, and the release was not revoked. Exports ask before they write.

    Raises:
        DeniedError: it is no synthetic set, or no release of it stands.
    """
    if not is_synthetic(cohort):
        raise DeniedError(
            f"{cohort} holds real patients. A cohort of real patients is not released.",
            remedy="Only synthetic cohorts leave the house, by a decision of the data protection officer.",
        )
    given = SyntheticRelease.objects.filter(cohort=cohort.pk, status=SyntheticRelease.Status.APPROVED)
    release = given.filter(cohort_digest=cohort.digest).select_related("submitter", "requester").first()
    if release is not None:
        votes = list(release.votes.filter(choice=ReleaseVote.Choice.APPROVE).select_related("voter"))
        if len(separate_votes(release, votes)) < len(votes):
            raise DeniedError(
                f"The release of {cohort} rests on a vote of one person by two accounts.",
                remedy="The data protection officer revokes it, and it is asked for anew.",
            )
    if release is None:
        raise DeniedError(
            f"{cohort} is not released.",
            remedy="Ask for its release under Governance, Synthetic releases; the data protection officer decides.",
        )
