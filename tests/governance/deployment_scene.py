"""Approved versions to deploy, and what gates find, made directly: the way to an approval has its own tests."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from django.utils import timezone

from core.models import LedgerEntry, User
from governance.models import Review
from governance.policies.findings import GateFindings, ItemFinding, State
from governance.services import starting
from governance.services.deployments import deploy
from models_registry.models import Deployment, ModelVersion, VersionStatus
from tests.governance.conftest import make_run
from tests.governance.signed import signed

WHY = "Outputs are shown for the wrong patient since the update."
PLACE = {"unit": "", "share": 100, "contact_name": "Ines Vogel", "contact_email": "ines@hospital.example"}


def approved(people: SimpleNamespace, home: Path, label: str = "1.0", *, status: str = "approved") -> ModelVersion:
    """A version whose approval stands, by a review that is closed."""
    run = make_run(people, home, label=label)
    Review.objects.create(
        version=run.version,
        run=run,
        evidence_digest=run.evidence_digest,
        version_digest=run.version.digest,
        status=status,
        submitter=people.elena,
        runner=people.amir,
        protocol_approver=people.clara,
        opened_by=people.clara,
        closed_at=timezone.now(),
    )
    version = run.version
    version.status = VersionStatus(status)
    version.save(update_fields=["status"])
    return version


def put(version: ModelVersion, by: User, site: str = "North Hospital", **given: Any) -> Deployment:
    """Deploy a version at a site."""
    return deploy(version=version, site=site, by=by, signed=signed(by), **(PLACE | given))


def began(days: float) -> AbstractContextManager[Any]:
    """Deployments that start inside began so many days ago: the database lets nobody change that afterwards."""
    past = timezone.now() - timedelta(days=days)
    return patch.object(starting, "timezone", SimpleNamespace(now=lambda: past))


def findings(version: ModelVersion, state: State = State.MET) -> GateFindings:
    """What the gate of one policy finds, with its one item in this state."""
    item = ItemFinding(
        item="local",
        kind="audit",
        title="Local acceptance",
        state=state,
        statement="The audit on local data is there." if state == State.MET else "No audit on local data is there.",
        remedy="" if state == State.MET else "Request an audit on a cohort with the role local.",
    )
    return GateFindings(
        policy="imaging",
        number=1,
        policy_digest="d" * 64,
        system=version.system.name,
        version=version.label,
        version_digest=version.digest,
        as_of=timezone.now(),
        items=(item,),
    )


def acts_since(index: int) -> list[str]:
    """The acts in the ledger from this entry on."""
    return list(LedgerEntry.objects.filter(index__gte=index).order_by("index").values_list("act", flat=True))
