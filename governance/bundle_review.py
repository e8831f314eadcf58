"""``review.json`` of a bundle: the decision, what it was made under, and everyone's part in it."""

from __future__ import annotations

import json
from typing import Any

from core.models import LedgerEntry
from evaluation.models import AuditRun
from governance.models import Acceptance, Condition, Review
from governance.policies.findings import State
from governance.services.review_rows import terms_of
from models_registry.services.versions import model_store


def review_document(review: Review) -> dict[str, Any]:
    """The decision, the votes with their reasons, and who may not vote; conditions, policy, recusals.

    Raises:
        NotFoundError, DigestMismatchError: what the gate found is gone from the store or was changed there.
    """
    decided = decision_of(review)
    gate = model_store().get_json(decided["gate"]) if decided.get("gate") else None
    return {
        "schema": "auscult/review/1",
        "id": review.pk,
        "run": review.run_id,
        "evidence": review.evidence_digest,
        "version": review.version_digest,
        "quorum": review.quorum,
        "decision": review.status,
        "submitter": review.submitter.username,
        "runner": review.runner.username,
        "protocol_approver": review.protocol_approver.username,
        "opened_by": review.opened_by.username,
        "opened_at": review.opened_at.isoformat(),
        "closed_at": review.closed_at.isoformat() if review.closed_at else None,
        "votes": [
            {
                "voter": vote.voter.username,
                "choice": vote.choice,
                "rationale": vote.rationale,
                "cast_at": vote.cast_at.isoformat(),
                "signed_at": vote.signed_at.isoformat() if vote.signed_at else None,
                "signed_with": vote.signed_with or None,
                "terms": vote.terms_digest,
            }
            for vote in review.votes.select_related("voter")
        ],
        "recusals": _recusals(review),
        "conditions": _conditions(review, decided),
        "roles": decided.get("roles", {}),
        "policy": _policy(review),
        "gate": gate,
        "acceptances": _acceptances(review, gate),
        "other_runs": _other_runs(review),
    }


def decision_of(review: Review) -> dict[str, Any]:
    """What the ledger states of the decision."""
    entry = LedgerEntry.objects.filter(act="review.decided", subject_kind="Review", subject_id=str(review.pk)).first()
    payload: dict[str, Any] = json.loads(entry.body)["payload"] if entry else {}
    return payload


def _recusals(review: Review) -> list[dict[str, Any]]:
    return [
        {
            "person": recusal.person.username,
            "reason": recusal.reason,
            "recorded_by": recusal.recorded_by.username,
            "recorded_at": recusal.recorded_at.isoformat(),
        }
        for recusal in review.recusals.select_related("person", "recorded_by")
    ]


def _conditions(review: Review, decided: dict[str, Any]) -> list[dict[str, Any]]:
    """The conditions of the decision, in the form that the digest of its terms covers, and how they stand now."""
    rows = Condition.objects.filter(pk__in=decided.get("conditions", [])).select_related("owner", "confirmed_by")
    conditions = list(rows.order_by("pk"))
    return [
        told
        | {
            "status": condition.status,
            "confirmed_by": condition.confirmed_by.username if condition.confirmed_by else None,
            "confirmed_at": condition.confirmed_at.isoformat() if condition.confirmed_at else None,
        }
        for condition, told in zip(conditions, terms_of(conditions), strict=True)
    ]


def _policy(review: Review) -> dict[str, Any] | None:
    policy = review.policy
    if policy is None:
        return None
    return {"name": policy.name, "number": policy.number, "digest": policy.digest, "body": policy.body}


def _acceptances(review: Review, gate: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The accepted gaps that the gate counted when the review was decided."""
    items = {item["item"] for item in (gate or {}).get("items", []) if item["state"] == State.ACCEPTED}
    rows = Acceptance.objects.filter(version=review.version_id, version_digest=review.version_digest, item__in=items)
    rows = rows.filter(policy=review.policy) if review.policy else rows.none()
    closed = review.closed_at
    standing = [
        row
        for row in rows.select_related("accepted_by").order_by("pk")
        if closed and row.accepted_at <= closed < row.expires_at and not (row.revoked_at and row.revoked_at <= closed)
    ]
    return [
        {
            "id": row.pk,
            "item": row.item,
            "evidence": row.evidence_digest,
            "reason": row.reason,
            "accepted_by": row.accepted_by.username,
            "accepted_at": row.accepted_at.isoformat(),
            "expires_at": row.expires_at.isoformat(),
        }
        for row in standing
    ]


def _other_runs(review: Review) -> list[dict[str, Any]]:
    """The other audits of the version, so that a chosen one cannot pass for the only one."""
    runs = AuditRun.objects.filter(version=review.version_id).exclude(pk=review.run_id)
    return [
        {
            "id": run.pk,
            "protocol": run.protocol.digest,
            "cohort": run.cohort.digest,
            "status": run.status,
            "outcome": run.outcome or None,
            "evidence": run.evidence_digest or None,
        }
        for run in runs.select_related("protocol", "cohort").order_by("pk")
    ]


def subjects_of(review: Review) -> dict[str, list[Any]]:
    """What the ledger's entries about a review are about, by kind: the review itself and all that belongs to it."""
    return {
        "Review": [review.pk],
        "Vote": list(review.votes.values_list("pk", flat=True)),
        "Recusal": list(review.recusals.values_list("pk", flat=True)),
        "Condition": list(review.conditions.values_list("pk", flat=True)),
        "Policy": [review.policy_id] if review.policy_id else [],
        "Acceptance": list(Acceptance.objects.filter(version=review.version_id).values_list("pk", flat=True)),
    }
