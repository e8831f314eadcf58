"""Asking for signed bundles. A worker builds and verifies them."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from core import ledger
from core.errors import ConflictError
from core.models import User
from core.reach import service
from governance.access import check_may_issue
from governance.dossier import gather_dossier
from governance.models import Bundle, Report, Review
from models_registry.services.versions import model_store


@service
def request_bundle(*, review: Review, by: User) -> Bundle:
    """Order a signed bundle about a decided review, with the reports that were issued from its run or from none.

    What is known of the version is gathered here and now, and the ledger states the digest of it: the bundle speaks of
    the moment at which it was asked for.

    Raises:
        DeniedError: ``by`` is neither chair nor auditor.
        ConflictError: the review is not decided, or a report for it is still being written.
    """
    check_may_issue(by)
    status = Review.objects.only("status").get(pk=review.pk).status
    if status == Review.Status.WITHDRAWN:
        raise ConflictError(
            "This review was closed without a decision, so there is nothing to attest.",
            remedy="Ask for the bundle of a review that was decided.",
        )
    if status == Review.Status.OPEN:
        raise ConflictError(
            "This review is not decided yet, so there is nothing to attest.",
            remedy="Wait for the committee's decision.",
        )
    about = Q(run=review.run_id) | Q(run=None, version=review.version_id)
    waiting = Report.objects.filter(about, status=Report.Status.QUEUED).count()
    if waiting:
        raise ConflictError(
            f"Reports about this version are still being written ({waiting}); the bundle would lack them.",
            remedy="Wait until they are issued.",
        )
    dossier = model_store().put_json(_for_others(gather_dossier(review.version, run=review.run)))
    bundle = Bundle.objects.create(review=review, issued_by=by)
    ledger.record(
        actor=by.username,
        act="bundle.requested",
        subject=("Bundle", bundle.pk),
        payload={"review": review.pk, "evidence": review.evidence_digest, "dossier": dossier},
    )
    from governance import tasks

    tasks.build_bundle.delay_on_commit(bundle.pk)
    return bundle


def _for_others(dossier: dict[str, Any]) -> dict[str, Any]:
    """The dossier as it may leave the house: of the statements those that a second person accepted, no draft."""
    return dossier | {"statements": [row for row in dossier["statements"] if row["status"] == "accepted"]}
