"""What the registers hold about a system, as plain JSON for its dossier. As many queries for one entry as for many."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from governance.models import Control, Risk, RiskFinding
from governance.selectors import deployments, incidents, oversight
from governance.selectors.conditions import unmet_conditions
from governance.selectors.override_marks import signals_of
from governance.selectors.risks import RiskLine, lines_of
from governance.standing.register import Stated
from models_registry.models import Deployment, ModelVersion

TOLD_OF_FINDINGS = ("run_id", "criterion", "attribute", "n_failed", "evidence_digest", "run__version__label")


def registers_of(version: ModelVersion, *, as_of: datetime) -> dict[str, Any]:
    """The registers of a version's system, by name. Each is an empty list where nothing is recorded.

    - ``risks``: each risk in the order of the numbers, closed ones too.
    - ``incidents``: of every version, with the clocks that count and when each report was sent.
    - ``deployments``: of every version, oldest first. No contact is in it.
    - ``oversight``: the measures that are not ended. ``overrides``: what was counted at each deployment, groups that
      are too small hidden, with the signal of the last 90 days.
    - ``conditions``: of this version's approval, those that are in force and not met.

    Args:
        as_of: An acceptance that has ended by then is not told.
    """
    system = version.system
    risks = lines_of(Risk.objects.filter(system=version.system_id), now=as_of, told=TOLD_OF_FINDINGS)
    overseen = oversight.register(system)
    return {
        "risks": [_risk(line) for line in risks],
        "incidents": incidents.register(system),
        "deployments": deployments.register(system),
        "oversight": [_without_kind(row) for row in overseen if row["kind"] == "measure"],
        "overrides": _overrides(version, [row for row in overseen if row["kind"] == "overrides"], as_of),
        "conditions": _conditions(version),
    }


def _without_kind(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "kind"}


def _overrides(version: ModelVersion, rows: list[dict[str, Any]], as_of: datetime) -> list[dict[str, Any]]:
    """Counts of each deployment, with the signal of those that run; no query where there is none."""
    if not rows:
        return []
    running = Deployment.objects.filter(version__system=version.system_id, status=Deployment.Status.RUNNING)
    signals = signals_of(list(running), now=as_of)
    return [_without_kind(row) | {"mark": signals.get(row["deployment"])} for row in rows]


def _conditions(version: ModelVersion) -> list[dict[str, Any]]:
    return [
        {
            "id": row.pk,
            "review": row.review_id,
            "text": row.text,
            "owner": row.owner.username,
            "due_at": _iso(row.due_at),
            "status": row.status,
        }
        for row in unmet_conditions(version).prefetch_related(None).order_by("due_at", "pk")
    ]


def _risk(line: RiskLine) -> dict[str, Any]:
    risk = line.risk
    return {
        "id": risk.pk,
        "number": risk.number,
        "title": risk.title,
        "kind": risk.kind,
        "hazard": risk.hazard,
        "cause": risk.cause,
        "harm": risk.harm,
        "status": risk.status,
        "origin": risk.origin,
        "owner": risk.owner.username if risk.owner else None,
        "opened_at": _iso(risk.opened_at),
        "closed_at": _iso(risk.closed_at),
        "ratings": {"before": _stated(line.stated_before), "after": _stated(line.stated_after)},
        "controls": [_control(control) for control in line.controls],
        "acceptance": line.acceptance
        and {
            "by": line.acceptance.accepted_by.username,
            "at": _iso(line.acceptance.accepted_at),
            "expires_at": _iso(line.acceptance.expires_at),
            "severity": line.acceptance.severity,
            "likelihood": line.acceptance.likelihood,
        },
        "findings": [_finding(finding) for finding in line.findings],
    }


def _stated(rating: Stated | None) -> dict[str, int] | None:
    return {"severity": rating.severity, "likelihood": rating.likelihood} if rating else None


def _control(control: Control) -> dict[str, Any]:
    return {
        "id": control.pk,
        "kind": control.kind,
        "text": control.text,
        "status": control.status,
        "owner": control.owner.username,
        "due_on": control.due_on.isoformat(),
        "implemented_on": control.implemented_on.isoformat() if control.implemented_on else None,
        "verified_by": control.verified_by.username if control.verified_by else None,
        "verified_at": _iso(control.verified_at),
        "run": control.run_id,
        "evidence_digest": control.evidence_digest,
    }


def _finding(finding: RiskFinding) -> dict[str, Any]:
    return {
        "run": finding.run_id,
        "version": finding.run.version.label,
        "criterion": finding.criterion,
        "attribute": finding.attribute,
        "n_failed": finding.n_failed,
        "evidence_digest": finding.evidence_digest,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None
