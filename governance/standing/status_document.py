"""``status.json`` of a bundle: in which state each requirement is, why, and what that rests on."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from core.digests import sha256_bytes
from governance.statuses import Judgement, judge

SCHEMA = "auscult/status/1"


def status_document(dossier: bytes, evidence: dict[str, Any], *, evidence_digest: str) -> dict[str, Any]:
    """The state of every requirement as judged from a dossier and its run's evidence, in English.

    Equal dossier, evidence and catalogue give an equal document: whoever has the three can judge again and compare.

    Args:
        dossier: The bytes of the dossier, whose digest the document names.
    """
    body = json.loads(dossier)
    statuses = judge(body, evidence=evidence)
    return {
        "schema": SCHEMA,
        "as_of": body["as_of"],
        "dossier": sha256_bytes(dossier),
        "evidence": evidence_digest,
        "version": body["version"]["digest"],
        "catalogue": body["catalogue"],
        "counts": statuses.counts,
        "prohibited": list(statuses.prohibited),
        "requirements": [_row(item) for item in statuses.items],
    }


def _row(item: Judgement) -> dict[str, Any]:
    requirement = item.requirement
    return {
        "id": requirement.id,
        "title": requirement.title,
        "status": requirement.status,
        "applies": str(item.applicability.applies),
        "applies_because": item.applicability.reason,
        "in_force": item.applicability.in_force,
        "state": str(item.state),
        "reason": item.reason,
        "held": list(item.held),
        "lacking": list(item.lacking),
        "contradicted": list(item.contradicted),
        "stale": list(item.stale),
        "references": [asdict(reference) for reference in item.references],
    }
