"""Asking for signed bundles. A worker builds and verifies them."""

from __future__ import annotations

from django.db import transaction

from core import ledger
from core.errors import ConflictError
from core.models import User
from governance.access import check_may_issue
from governance.models import Bundle, Report, Review


@transaction.atomic
def request_bundle(*, review: Review, by: User) -> Bundle:
    """Order a signed bundle about a decided review, with the reports that were issued from its run.

    Raises:
        DeniedError: ``by`` is neither chair nor auditor.
        ConflictError: the review is not decided, or a report about the run is still being written.
    """
    check_may_issue(by)
    if Review.objects.only("status").get(pk=review.pk).status == Review.Status.OPEN:
        raise ConflictError(
            "This review is not decided yet, so there is nothing to attest.",
            remedy="Wait for the committee's decision.",
        )
    waiting = Report.objects.filter(run=review.run_id, status=Report.Status.QUEUED).count()
    if waiting:
        raise ConflictError(
            f"Reports about this audit are still being written ({waiting}); the bundle would lack them.",
            remedy="Wait until they are issued.",
        )
    bundle = Bundle.objects.create(review=review, issued_by=by)
    ledger.record(
        actor=by.username,
        act="bundle.requested",
        subject=("Bundle", bundle.pk),
        payload={"review": review.pk, "evidence": review.evidence_digest},
    )
    from governance import tasks

    tasks.build_bundle.delay_on_commit(bundle.pk)
    return bundle
