"""Reading reviews, reports and bundles: what pages show. Nothing here writes, and no query runs in a loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import Prefetch, QuerySet

from core.errors import NotFoundError
from evaluation.models import AuditRun
from governance.models import Bundle, Recusal, Report, Review, Vote
from models_registry.models import ModelVersion
from models_registry.selectors import unshown


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Votes so far, and how many of each kind would still decide."""

    approve: int
    reject: int
    quorum: int

    @property
    def approve_missing(self) -> int:
        return max(0, self.quorum - self.approve)

    @property
    def reject_missing(self) -> int:
        return max(0, self.quorum - self.reject)


def reviews() -> QuerySet[Review]:
    """Every review with what its row shows, newest first. Three queries, however many there are."""
    people = ("submitter", "runner", "protocol_approver", "opened_by")
    votes = Prefetch("votes", queryset=Vote.objects.select_related("voter"))
    recusals = Prefetch("recusals", queryset=Recusal.objects.select_related("person", "recorded_by"))
    about = ("version__system", "run__protocol", "run__cohort__cohort", "policy")
    rows = Review.objects.select_related(*about, *people).prefetch_related(votes, recusals)
    return rows.defer(*unshown("version"), "run__protocol__source", "run__protocol__body", "run__cohort__summary")


def review_by_id(pk: int) -> Review:
    """One review.

    Raises:
        NotFoundError: there is none with this number.
    """
    review = reviews().filter(pk=pk).first()
    if review is None:
        raise NotFoundError(f"There is no review {pk}.", remedy="Open it from the list of reviews.")
    return review


def reports_list(*, run: AuditRun | None = None, version: ModelVersion | None = None) -> list[Report]:
    """Reports, newest first: all, or those about one run or one version."""
    rows = Report.objects.select_related("version__system", "run", "issued_by").defer(*unshown("version"))
    if run is not None:
        rows = rows.filter(run=run)
    return list(rows.filter(version=version) if version else rows)


def bundles_list(*, review: Review | None = None) -> list[Bundle]:
    """Bundles, newest first: all, or those of one review."""
    rows = Bundle.objects.select_related("review__version__system", "issued_by").defer(*unshown("review__version"))
    return list(rows.filter(review=review) if review else rows)


def bundle_path(bundle: Bundle) -> Path:
    """The bundle's file.

    Raises:
        NotFoundError: it is not issued, or its file was taken away.
    """
    path = Path(settings.AUSCULT_HOME) / "bundles" / bundle.file_name
    if bundle.status != Bundle.Status.ISSUED or not path.is_file():
        raise NotFoundError(
            f"Bundle {bundle.pk} has no file: it is {bundle.get_status_display().lower()}.",
            remedy="Wait until it is issued, or ask for it again.",
        )
    return path
