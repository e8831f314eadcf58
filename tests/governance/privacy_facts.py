"""A dossier made by hand, and the facts that rules read from it, for tests of rules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from governance.applicability import applicability, conclude
from governance.requirements import load_requirements
from governance.rules import Facts, Finding, rules

AS_OF = "2026-11-22T12:00:00+00:00"
COHORT = {"name": "Held out", "digest": "c" * 64, "simulated": False}


def audit(
    run: int = 4, *, outcome: str = "pass", kinds: tuple[str, ...] = ("fairness_audit",), **given: Any
) -> dict[str, Any]:
    """A finished audit of the version on real patients."""
    primary = {
        "passed": 3 if outcome == "pass" else 2,
        "failed": int(outcome == "fail"),
        "insufficient": int(outcome == "insufficient"),
    }
    return {
        "run": run,
        "attempt": 1,
        "protocol": {"name": "imaging-v1", "title": "Imaging", "digest": f"{run:064x}"},
        "cohort": COHORT,
        "status": "done",
        "outcome": outcome,
        "evidence_digest": f"{run:02x}" * 32,
        "result_digest": "d" * 64,
        "requested_by": "amir",
        "requested_at": "2026-11-10T09:00:00+00:00",
        "finished_at": "2026-11-10T10:00:00+00:00",
        "kinds": list(kinds),
        "primary": primary,
    } | given


def facts(
    answers: Mapping[str, Any] | None = None,
    statements: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    audits: list[dict[str, Any]] | None = None,
    texts: Mapping[str, str] | None = None,
    reasons: Mapping[str, str] | None = None,
    as_of: str = AS_OF,
) -> Facts:
    """Facts of a version with these answers, accepted statements (fields by requirement) and audits."""
    told = {
        key: {"value": value, "reason": (reasons or {}).get(key, ""), "author": "dora", "at": AS_OF}
        for key, value in (answers or {}).items()
    }
    accepted = {
        key: {
            "id": number,
            "requirement": key,
            "revision": 1,
            "status": "accepted",
            "fields": dict(fields),
            "text": (texts or {}).get(key, ""),
            "author": "elena",
            "decided_by": "dora",
        }
        for number, (key, fields) in enumerate((statements or {}).items(), start=1)
    }
    dossier = {
        "schema": "auscult/dossier/1",
        "as_of": as_of,
        "system": {"slug": "chest", "name": "Chest model", "provider": "Uni", "risk_class": "IIa"},
        "version": {
            "label": "1.1",
            "digest": "a" * 64,
            "submitted_at": "2026-11-01T08:00:00+00:00",
            "void": None,
            "config": {"runs_weights": True, "modalities": ["image", "age"]},
        },
        "versions": [{"label": "1.0"}, {"label": "1.1"}],
        "cohort": COHORT,
        "sites": ["Ward 3"],
        "answers": told,
        "statements": list(accepted.values()),
        "audits": audits or [],
        "earlier_audits": [],
        "reviews": [],
        "reports": [],
    }
    moment, catalogue = datetime.fromisoformat(as_of), load_requirements()
    return Facts(
        dossier=dossier,
        evidence=None,
        catalogue=catalogue,
        conclusions=conclude(told),
        applicability=applicability(catalogue, told, as_of=moment.date()),
        as_of=moment,
        accepted=accepted,
    )


def found(requirement: str, *args: Any, **given: Any) -> Finding:
    """What the rule of a requirement finds in such facts."""
    return rules()[requirement](facts(*args, **given))
