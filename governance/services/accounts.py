"""Merging two accounts of one person, and what falls with it: duties that were separate on paper only."""

from __future__ import annotations

from django.db.models import Q
from django.utils import timezone

from core import ledger
from core.access import people_with, same_person
from core.errors import RELOAD, ConflictError
from core.models import ApiToken, Role, RoleGrant, Topic, User
from core.notifications import Urgency, notify
from core.reach import service
from core.stepup import StepUp, check_stepped_up
from governance.access_accounts import check_may_merge
from governance.models import Review
from governance.persons import two_parts, with_people
from governance.selectors.approvals import APPROVED_BY
from governance.services.review_rows import locked_review
from governance.services.reviews import close_undecided
from models_registry.models import ModelVersion
from models_registry.services.voiding import APPROVED, STANDING, Cause, void


@service
def merge_accounts(*, source: User, target: User, by: User, signed: StepUp) -> None:
    """Say that ``source`` is a second account of the person behind ``target``. It cannot be undone.

    The account is closed, its roles and its programs' access end, and accounts that were merged into it follow. From
    now on both are one person wherever duties are separated. Open reviews in which that person has two parts are
    closed without a decision; approvals that rest on such a review are void.

    Raises:
        DeniedError: ``by`` is no administrator, owns one of the accounts, or has not proved who they are.
        ConflictError: it is one account, or one of them is merged already, or ``target`` is closed.
    """
    check_may_merge(by, source=source, target=target)
    proof = check_stepped_up(signed, by)
    rows = User.objects.select_for_update(no_key=True).filter(pk__in=[source.pk, target.pk]).order_by("pk")
    found = {row.pk: row for row in rows}
    source, target = found[source.pk], found[target.pk]
    _check_can_merge(source, target)
    _lock_decisions()
    if not User.objects.filter(pk=source.pk, merged_into=None).update(merged_into=target, is_active=False):
        raise ConflictError(f"The account {source.username} was merged meanwhile.", remedy=RELOAD)
    followed = User.objects.filter(merged_into=source).update(merged_into=target)
    roles = sorted(source.role_grants.values_list("role", flat=True))
    RoleGrant.objects.filter(user=source).delete()
    tokens = ApiToken.objects.filter(user=source, revoked_at=None).update(revoked_at=timezone.now())
    entry = ledger.record(
        actor=by.username,
        act="account.merged",
        subject=("User", source.pk),
        payload={
            "source": source.username,
            "target": target.username,
            "roles_removed": roles,
            "accounts_followed": followed,
            "tokens_revoked": tokens,
            **proof.in_ledger(),
        },
    )
    words = f"{source.username} and {target.username} are accounts of one person."
    closed = _close_open_reviews(words, by=by)
    voided = _void_approvals(words, entry=entry.index, by=by)
    _tell(source, target, closed=closed, voided=voided)


def _check_can_merge(source: User, target: User) -> None:
    if source.pk == target.pk:
        raise ConflictError("This is one account.", remedy="Name the second account and the one that stays.")
    if same_person(source, target):
        raise ConflictError(f"{source.username} and {target.username} are merged already.", remedy=RELOAD)
    for account in (source, target):
        if account.merged_into is not None:
            raise ConflictError(
                f"The account {account.username} was merged into {account.merged_into.username}.",
                remedy=f"Name {account.merged_into.username} instead.",
            )
    if not target.is_active:
        raise ConflictError(
            f"The account {target.username} is closed.", remedy="Merge into the account that the person signs in with."
        )


def _lock_decisions() -> None:
    """Lock what may fall with the merge, reviews before versions as in every act on them, before the first entry in the
    ledger: a vote that is being cast is counted before the merge, or is cast by one person."""
    decided = Q(status__in=APPROVED_BY, version__status__in=APPROVED)
    reviews = Review.objects.filter(Q(status=Review.Status.OPEN) | decided).order_by("pk")
    list(reviews.select_for_update(of=("self",), no_key=True).values_list("pk"))
    versions = ModelVersion.objects.filter(status__in=STANDING).order_by("pk")
    list(versions.select_for_update(no_key=True).values_list("pk"))


def _close_open_reviews(words: str, *, by: User) -> list[Review]:
    """Open reviews in which one person now has two parts: nobody can decide on them cleanly any more."""
    closed = []
    for row in with_people(Review.objects.filter(status=Review.Status.OPEN)).order_by("pk"):
        if found := two_parts(row):
            closed.append(close_undecided(locked_review(row.pk), reason=f"{words} {found}", by=by))
    return closed


def _void_approvals(words: str, *, entry: int, by: User) -> list[ModelVersion]:
    """Approvals that stand and rest on a review in which one person had two parts. What is void stays on record."""
    decided = Review.objects.filter(status__in=APPROVED_BY, version__status__in=APPROVED)
    voided: list[ModelVersion] = []
    for row in with_people(decided.select_related("version__system")).order_by("pk"):
        found = two_parts(row)
        version = row.version
        later = version.void_at is not None and row.closed_at is not None and version.void_at >= row.closed_at
        newer = version.reviews.filter(status__in=APPROVED_BY, pk__gt=row.pk).exists()
        if not found or later or newer:
            continue
        cause = Cause(
            reason=f"Its approval rests on review {row.pk}, in which duties were not separate. {words} {found}",
            version=None,
            by=by,
            facts={"review": str(row.pk), "merged_in_entry": str(entry)},
        )
        voided += void([version], cause, heads_too=False)
    return voided


def _tell(source: User, target: User, *, closed: list[Review], voided: list[ModelVersion]) -> None:
    parts = [f"The account {source.username} was merged into {target.username}."]
    if closed:
        parts.append(f"Closed without a decision: {', '.join(str(review) for review in closed)}.")
    if voided:
        parts.append(f"Approval void: {', '.join(str(version) for version in voided)}.")
    notify(
        to=people_with(Role.COMMITTEE_CHAIR, Role.ADMINISTRATOR),
        topic=Topic.REVIEWS,
        urgency=Urgency.URGENT if closed or voided else Urgency.INFO,
        title=f"{source.username} and {target.username} are one person",
        text=" ".join(parts),
        href="/governance/",
        key=f"account:{source.pk}:merged",
    )
