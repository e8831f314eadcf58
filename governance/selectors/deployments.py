"""Reading deployments: where versions run, how they stand, and what is known about each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Case, Count, Max, Q, QuerySet, When

from core.errors import NotFoundError
from core.models import LedgerEntry, OutgoingMail, User
from evaluation.models import AuditRun, RunStatus
from governance.models import Incident
from governance.selectors.answers import newest_answers
from governance.selectors.approvals import USABLE, Approval, standing_approval
from governance.selectors.oversight import totals_of
from governance.standing.override_rates import Rate, rate_of
from models_registry.models import AISystem, Deployment, ModelVersion, VersionStatus
from models_registry.selectors import unshown
from models_registry.services.suspensions import mail_key

HELD = (Deployment.Status.RUNNING, Deployment.Status.SUSPENDED)
"""Deployments that hold their share of a place."""


@dataclass(frozen=True, kw_only=True)
class DeploymentRow:
    """One line of the list. ``evidence_at`` is when the newest audit of the version was finished."""

    deployment: Deployment
    rate: Rate
    open_incidents: int
    evidence_at: datetime | None


def list_deployments(*, system: AISystem | None = None, version: ModelVersion | None = None) -> QuerySet[Deployment]:
    """Deployments, those that run or are suspended first, the newest first within."""
    rows = Deployment.objects.select_related("version__system", "started_by", "suspended_by").defer(*unshown("version"))
    if system is not None:
        rows = rows.filter(version__system=system)
    if version is not None:
        rows = rows.filter(version=version)
    over = Case(When(status=Deployment.Status.ENDED, then=1), default=0)
    return rows.order_by(over, "-started_at", "-pk")


def deployment_by_id(pk: int) -> Deployment:
    """One deployment.

    Raises:
        NotFoundError: there is none with this number.
    """
    people = ("started_by", "suspended_by", "ended_by", "replaces__version__system")
    found = Deployment.objects.select_related("version__system", "version__submitted_by", *people).filter(pk=pk).first()
    if found is None:
        raise NotFoundError(f"There is no deployment {pk}.", remedy="Open the list of deployments.")
    return found


def rows_of(deployments: Iterable[Deployment]) -> list[DeploymentRow]:
    """The lines of some deployments, by the same number of queries however many there are."""
    listed = list(deployments)
    totals = totals_of(listed)
    systems = {row.version.system_id for row in listed}
    live = Incident.objects.exclude(status=Incident.Status.CLOSED).filter(system__in=systems)
    incidents = {found["deployment"]: found["n"] for found in live.values("deployment").annotate(n=Count("pk"))}
    ages = evidence_ages({row.version_id for row in listed})
    return [
        DeploymentRow(
            deployment=row,
            rate=rate_of(row.site, overrides=totals[row.pk][0], outputs=totals[row.pk][1]),
            open_incidents=incidents.get(row.pk, 0),
            evidence_at=ages.get(row.version_id),
        )
        for row in listed
    ]


def evidence_ages(versions: Iterable[int]) -> dict[int, datetime]:
    """When the newest audit of each version was finished; a version that was not audited is left out."""
    done = AuditRun.objects.filter(version__in=list(versions), status=RunStatus.DONE)
    return {row["version"]: row["at"] for row in done.values("version").annotate(at=Max("finished_at")) if row["at"]}


def share_taken(held: Iterable[Deployment], *, site: str, unit: str) -> int:
    """How many per cent of the studies at a place are spoken for, of 100.

    A deployment for a whole site reaches into each of its units; so a unit counts it too, and a whole site counts the
    fullest of its units. Upper and lower case are one name.
    """
    here = [row for row in held if row.site.casefold() == site.casefold()]
    whole = sum(row.share for row in here if not row.unit)
    units: dict[str, int] = {}
    for row in here:
        if row.unit:
            units[row.unit.casefold()] = units.get(row.unit.casefold(), 0) + row.share
    return whole + (units.get(unit.casefold(), 0) if unit else max(units.values(), default=0))


def sites_of(system: AISystem) -> list[str]:
    """The sites that the questionnaire's answers name; empty where none is answered."""
    answer = newest_answers(system).get("sites")
    return [str(site) for site in answer.value or []] if answer and isinstance(answer.value, list) else []


def who_suspended(version: ModelVersion) -> User | None:
    """Who suspended a version that is suspended now; None for the platform, or where it is not suspended.

    The ledger says so: a version that was under review since went back to this state without being suspended anew.
    """
    if version.status != VersionStatus.SUSPENDED:
        return None
    moved = LedgerEntry.objects.filter(act="version.moved", subject_kind="ModelVersion", subject_id=str(version.pk))
    for entry in moved.order_by("-index"):
        step = json.loads(entry.body)["payload"]
        if step["to"] == VersionStatus.SUSPENDED and step["from"] in USABLE:
            return User.objects.filter(username=entry.actor).first()
    return None


def deployable_versions() -> list[ModelVersion]:
    """Versions in a state in which they may run, by system; whether the approval stands is asked of one."""
    rows = ModelVersion.objects.filter(status__in=USABLE).select_related("system")
    return list(rows.order_by("system__name", "-submitted_at"))


def approval_if_lifted(version: ModelVersion) -> Approval:
    """The approval as it would stand if a suspension of the version were lifted.

    The state of the version is the last thing that an approval is asked for, so where it is the reason there is no
    other.
    """
    approval = standing_approval(version)
    if version.status == VersionStatus.SUSPENDED and approval.reason == f"{version} is suspended.":
        return replace(approval, stands=True, reason="")
    return approval


def mail_of(deployment: Deployment) -> OutgoingMail | None:
    """The mail with the last notice to the site; None where it was never suspended."""
    if deployment.suspended_at is None:
        return None
    return OutgoingMail.objects.filter(key=mail_key(deployment)).first()


def waiting_for_site() -> QuerySet[Deployment]:
    """Suspended, and nobody at the site has confirmed that it is stopped."""
    rows = Deployment.objects.filter(status=Deployment.Status.SUSPENDED, acknowledged_at=None)
    return rows.select_related("version__system").order_by("suspended_at", "pk")


def history_of(deployment: Deployment) -> list[tuple[LedgerEntry, dict[str, Any]]]:
    """What the ledger says about a deployment and about suspensions of its version, newest first."""
    own = Q(subject_kind="Deployment", subject_id=str(deployment.pk))
    version = Q(subject_kind="ModelVersion", subject_id=str(deployment.version_id), act="deployment.suspended")
    lines = []
    for entry in LedgerEntry.objects.filter(own | version).order_by("-index")[:100]:
        payload = json.loads(entry.body)["payload"]
        if entry.subject_kind == "Deployment" or deployment.pk in payload.get("deployments", []):
            lines.append((entry, payload))
    return lines


def register(system: AISystem) -> list[dict[str, Any]]:
    """The deployments of a system as plain facts, oldest first: for dossiers. No contact is in it."""
    rows = Deployment.objects.filter(version__system=system).select_related("version").defer(*unshown("version"))
    rows = rows.order_by("started_at", "pk")
    return [
        {
            "id": row.pk,
            "version": {"label": row.version.label, "digest": row.version.digest},
            "site": row.site,
            "unit": row.unit,
            "share": row.share,
            "status": row.status,
            "started_at": row.started_at.isoformat(),
            "suspended_at": row.suspended_at.isoformat() if row.suspended_at else None,
            "acknowledged_at": row.acknowledged_at.isoformat() if row.acknowledged_at else None,
            "ended_at": row.ended_at.isoformat() if row.ended_at else None,
            "replaces": row.replaces_id,
            "gate_digest": row.gate_digest,
        }
        for row in rows
    ]
