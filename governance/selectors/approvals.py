"""Whether an approval of a version stands: who decided it, under which conditions, and what ended it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Exists, OuterRef
from django.utils import timezone

from governance.models import Condition, Review
from governance.persons import two_parts, with_people
from models_registry.models import ModelVersion, VersionStatus

APPROVED_BY = (Review.Status.APPROVED, Review.Status.CONDITIONAL)
WAITING = (Condition.Status.OPEN, Condition.Status.CLAIMED, Condition.Status.LAPSED)
USABLE = (VersionStatus.APPROVED, VersionStatus.CONDITIONAL, VersionStatus.DEPLOYED)


@dataclass(frozen=True, kw_only=True)
class Approval:
    """The approval of a version as it stands now.

    Attributes:
        stands: Whether the version may be used. A suspended one may not, though its approval was not taken back.
        reason: Why it does not stand; empty where it does.
        review: The decided review that it rests on, the newest; None where there is none.
        open_conditions: What has still to be met, the most urgent first.
    """

    stands: bool
    reason: str
    review: Review | None = None
    open_conditions: tuple[Condition, ...] = ()


def standing_approval(version: ModelVersion) -> Approval:
    """Read from the rows as they are now, not from the object that was passed."""
    return standing_approvals([version])[version.pk]


def standing_approvals(versions: Iterable[ModelVersion]) -> dict[int, Approval]:
    """The approval of each version by its key, from the rows as they are now; six queries for any number."""
    rows = ModelVersion.objects.select_related("system").defer("manifest", "sizes", "config", "card")
    return _standing(rows.in_bulk([version.pk for version in versions]))


def approval_as_read(version: ModelVersion) -> Approval:
    """The approval of a version that was read just now: for a page, not for an act."""
    return approvals_as_read([version])[version.pk]


def approvals_as_read(versions: Iterable[ModelVersion]) -> dict[int, Approval]:
    """The same of many versions, by their keys; one query less than :func:`standing_approvals`."""
    return _standing({version.pk: version for version in versions})


def _standing(rows: dict[int, ModelVersion]) -> dict[int, Approval]:
    decided = Review.objects.exclude(status__in=[Review.Status.OPEN, Review.Status.WITHDRAWN])
    later = decided.filter(version=OuterRef("version"), closed_at__gt=OuterRef("closed_at"))
    last = decided.filter(~Exists(later), version__in=rows)
    newest: dict[int, Review] = {}
    for review in with_people(last).order_by("closed_at", "pk"):
        newest[review.version_id] = review
    conditions: dict[int, list[Condition]] = {}
    waiting = Condition.objects.filter(review__in=[review.pk for review in newest.values()], status__in=WAITING)
    for condition in waiting.select_related("owner").order_by("due_at", "pk"):
        conditions.setdefault(condition.review_id, []).append(condition)
    found = {}
    for pk, version in rows.items():
        decision = newest.get(pk)
        found[pk] = _approval(version, decision, tuple(conditions.get(decision.pk, ())) if decision else ())
    return found


def _approval(version: ModelVersion, review: Review | None, conditions: tuple[Condition, ...]) -> Approval:
    if review is None or review.status not in APPROVED_BY:
        return Approval(stands=False, reason=f"{version} was never approved.", review=review)
    if review.version_digest != version.digest:
        return Approval(stands=False, reason="The approval is of other weights.", review=review)
    if version.void_at is not None and review.closed_at is not None and version.void_at >= review.closed_at:
        return Approval(stands=False, reason=f"The approval is void. {version.void_reason}", review=review)
    if found := two_parts(review):
        return Approval(stands=False, reason=f"Duties were not separate in its review. {found}", review=review)
    now = timezone.now()
    lapsed = [item for item in conditions if item.status == Condition.Status.LAPSED or item.due_at <= now]
    if lapsed:
        return Approval(
            stands=False,
            reason=f"A condition of the approval was not met in time: {lapsed[0].text}",
            review=review,
            open_conditions=conditions,
        )
    if version.status not in USABLE:
        state = version.get_status_display().lower()
        return Approval(stands=False, reason=f"{version} is {state}.", review=review, open_conditions=conditions)
    return Approval(stands=True, reason="", review=review, open_conditions=conditions)
