"""Reporting incidents. A refusal names the field and what belongs into it, never what was sent: it may be a name."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import AwareDatetime, Field

from core.api.fields import Strict
from core.api.requests import TokenRequest
from core.api.routing import HouseRouter, Scope
from core.errors import AuscultError, ConflictError, DeniedError, NotFoundError
from governance.api.rows import deployment_of
from governance.models import IncidentClock
from governance.services.incident_intake import MOST_PERSONS, MOST_SITE, MOST_TITLE, IncidentReport
from governance.services.incidents import record_once
from models_registry.api.rows import system_of, versions_seen

router = HouseRouter("Incidents")
Flag = Annotated[bool, Field(strict=True)]
Moment = AwareDatetime | None


class IncidentIn(Strict):
    """The facts of an incident, as the page asks for them. Times carry their offset."""

    system: Annotated[str, Field(min_length=1, max_length=200)]
    title: Annotated[str, Field(min_length=1, max_length=MOST_TITLE)]
    description: Annotated[str, Field(min_length=1, max_length=10_000)]
    zone: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[str, Field(max_length=200)] = ""
    deployment: int | None = None
    site: Annotated[str, Field(max_length=MOST_SITE)] = ""
    kinds: Annotated[
        list[Literal["a_health", "b_infrastructure", "c_fundamental_rights", "d_property_environment"]],
        Field(max_length=4),
    ] = []
    occurred_at: Moment = None
    aware_at: Moment = None
    deployer_aware_at: Moment = None
    controller_aware_at: Moment = None
    death: Flag = False
    unanticipated_deterioration: Flag = False
    public_health_threat: Flag = False
    widespread: Flag = False
    breach: Flag = False
    breach_risk: Literal["unlikely", "risk", "high"] = "risk"
    affected_persons: Annotated[int, Field(ge=0, le=MOST_PERSONS, strict=True)] | None = None


class ClockOut(Schema):
    """A report that is owed, or may be: until when, and whether that was over before it was recorded."""

    deadline: str
    regime: str
    owed: str
    due_at: datetime | None
    late_at_intake: bool


class IncidentOut(Schema):
    """``new`` is false where the same report had been recorded before."""

    number: int
    new: bool
    clocks: list[ClockOut]


@router.operation(
    "POST", "/incidents", scope=Scope.INCIDENTS, gives=IncidentOut, name="incidents", refuses=("not-found", "conflict"),
    example={
        "system": "chest-model", "title": "Effusions missed on the night shift", "description": "Three in two hours.",
        "zone": "Europe/Vienna", "site": "North Hospital", "aware_at": "2026-11-22T06:30:00+01:00",
    },
)  # fmt: skip
def post_incident(request: TokenRequest, body: IncidentIn) -> dict[str, Any]:
    """Record an incident and start its clocks. The same report by the same person again records nothing."""
    report = _report(request, body)
    try:
        incident, new = record_once(report=report, by=request.auth)
    except (ConflictError, DeniedError, NotFoundError):
        raise
    except AuscultError as error:  # its words may quote what was sent
        field = error.column if error.column in IncidentIn.model_fields else "report"
        raise AuscultError(f"The field '{field}' is not as asked for.", remedy=error.remedy) from None
    clocks = IncidentClock.objects.filter(incident=incident, superseded_at=None).order_by("due_at", "pk")
    return {"number": incident.number, "new": new, "clocks": list(clocks)}


def _report(request: TokenRequest, body: IncidentIn) -> IncidentReport:
    given = body.model_dump()
    system = system_of(request, given.pop("system"))
    label, deployment = given.pop("version"), given.pop("deployment")
    version = versions_seen(request).filter(system=system, label=label).first()
    if label and version is None:
        raise NotFoundError(f"{system.name} has no such version.", remedy="Give its label, or leave it out.")
    return IncidentReport(
        system=system,
        version=version,
        deployment=None if deployment is None else deployment_of(request, deployment),
        **given | {"kinds": tuple(given["kinds"])},
    )
