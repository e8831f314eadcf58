"""What reports are tested on: a version with an audit, an earlier version, and statements of several kinds."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from core.digests import sha256_bytes, sha256_json
from governance.reports.base import ReportContext
from tests.reports.dossiers import make_audit, make_dossier, make_statement

AS_OF = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)

RISKS = {
    "illegitimate_access": (3, 2),
    "unwanted_modification": (3, 2),
    "disappearance": (2, 2),
    "bias": (3, 3),
    "wrong_output": (4, 2),
    "model_inference": (3, 2),
}
"""Severity and likelihood before measures, on the CNIL's scales."""


def risk_entries(**replaced: tuple[int, int]) -> list[dict[str, str]]:
    """Rows of GDPR-35-7-c."""
    return [
        {
            "risk": risk,
            "source": "an insider",
            "threat": f"how {risk} comes about",
            "impact": "patients are treated wrongly",
            "severity": str(severity),
            "likelihood": str(likelihood),
        }
        for risk, (severity, likelihood) in (RISKS | replaced).items()
    ]


def measures(*, done: bool = True, residual: tuple[int, int] = (2, 1)) -> dict[str, Any]:
    """Fields of GDPR-35-7-d: one measure against each risk, done on 1 October 2026 or only planned."""
    return {
        "measures_per_risk": [
            {"risk": risk, "measure": "access by role", "owner": "elena", "due": "2026-10-01", "status": "done"}
            for risk in RISKS
        ],
        "residual_ratings": [
            {"risk": risk, "severity": str(residual[0]), "likelihood": str(residual[1])} for risk in RISKS
        ],
        "implementation_dates": [
            {"risk": risk, "measure": "access by role", "done_on": "2026-10-01" if done else "2027-03-01"}
            for risk in RISKS
        ],
    }


def assessment(*, done: bool = True, residual: tuple[int, int] = (2, 1), **rated: tuple[int, int]) -> list[dict]:
    """Accepted statements of an assessment whose risks are rated before and after measures."""
    return [
        make_statement(1, "GDPR-35-7-c", {"risk_entries": risk_entries(**rated)}, text="Rated with the ward."),
        make_statement(2, "GDPR-35-7-d", measures(done=done, residual=residual)),
    ]


def earlier_version(evidence: dict[str, Any], *, cohort: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """Evidence of the version before, by the same protocol, and what of a dossier tells of it.

    Its leading criterion was −.120 (−.180 to −.060) and failed; its weights and its licence were others.
    """
    before = deepcopy(evidence)
    before["run"] |= {"id": 2, "finished_at": "2026-10-02T10:02:31+00:00"}
    before["version"] |= {
        "label": "0.9",
        "digest": sha256_bytes(b"version 0.9"),
        "manifest": evidence["version"]["manifest"] | {"model.safetensors": sha256_bytes(b"weights 0.9")},
        "submitted_at": "2026-10-01T08:00:00+00:00",
        "card": {"licence": "MIT"},
        "origins": [{"relation": "backbone", "label": "small-encoder 1"}],
    }
    before["result"]["verdicts"][0] |= {"value": -0.12, "low": -0.18, "high": -0.06}
    if cohort:
        before["cohort"]["digest"] = sha256_bytes(cohort.encode())
    told = {key: before["version"][key] for key in ("label", "digest", "submitted_at")}
    audit = make_audit(before) | {"version": {key: told[key] for key in ("label", "digest")}}
    return before, {"previous": told, "earlier_audits": [audit]}


def context_of(
    evidence: dict[str, Any],
    *,
    language: str = "en",
    documents: tuple[dict[str, Any], ...] = (),
    certificate: str = "",
    **replaced: Any,
) -> ReportContext:
    """A context whose dossier is made from the evidence; ``replaced`` changes parts of the dossier."""
    return ReportContext(
        as_of=AS_OF,
        issued_by="clara",
        dossier=make_dossier(evidence, **replaced),
        language=language,
        certificate=certificate,
        documents={sha256_json(body): body for body in documents},
    )
