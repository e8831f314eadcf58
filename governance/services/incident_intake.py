"""What is told of an incident, checked at the door: times, places, kinds, and that nobody's patient can be known."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, fields, replace
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils import timezone

from core.errors import AuscultError
from core.plain_text import MOST_TEXT, written
from governance.conditions.conclusions import KINDS
from governance.models import Incident
from governance.standing.identifiers import find_identifier
from governance.standing.incident_clocks import to_second
from models_registry.models import AISystem, Deployment, ModelVersion

SKEW = dt.timedelta(minutes=5)
"""How far ahead another machine's clock may be."""
EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
MOST_TITLE = MOST_SITE = 200
MOST_PERSONS = 1_000_000_000
MOMENTS = {
    "occurred_at": "when it happened",
    "aware_at": "when the provider became aware",
    "deployer_aware_at": "when the deployer became aware",
    "controller_aware_at": "when the controller became aware of the breach",
}
AWARENESS = ("aware_at", "deployer_aware_at", "controller_aware_at")


@dataclass(frozen=True, kw_only=True)
class IncidentReport:
    """An incident as somebody reports it. Times carry their zone; ``zone`` is where the days of the clocks begin.

    Attributes:
        zone: IANA name, such as ``Europe/Vienna``.
        kinds: Limbs of Art. 3(49), as the question ``incident_kinds`` names them.
        aware_at: When the provider, or the manufacturer, became aware. None: not yet, or not known.
        breach_risk: ``unlikely``, ``risk`` or ``high``, to the rights and freedoms of people.
    """

    system: AISystem
    title: str
    description: str
    zone: str
    version: ModelVersion | None = None
    deployment: Deployment | None = None
    site: str = ""
    kinds: tuple[str, ...] = ()
    occurred_at: dt.datetime | None = None
    aware_at: dt.datetime | None = None
    deployer_aware_at: dt.datetime | None = None
    controller_aware_at: dt.datetime | None = None
    death: bool = False
    unanticipated_deterioration: bool = False
    public_health_threat: bool = False
    widespread: bool = False
    breach: bool = False
    breach_risk: str = Incident.BreachRisk.RISK
    affected_persons: int | None = None

    def values(self) -> dict[str, Any]:
        """The columns of the incident, by name."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return given | {"kinds": list(self.kinds)}


def report_of(incident: Incident) -> IncidentReport:
    """The facts of an incident as they are kept now, to be amended."""
    given = {field.name: getattr(incident, field.name) for field in fields(IncidentReport)}
    return IncidentReport(**given | {"kinds": tuple(incident.kinds)})


def check_report(report: IncidentReport) -> IncidentReport:
    """The report in its tidy form: texts stripped, times to the second in UTC, kinds in their order.

    Raises:
        AuscultError: something cannot be, contradicts itself, or could name a patient; ``column`` names the field.
    """
    moments: dict[str, Any] = {name: _moment(name, getattr(report, name)) for name in MOMENTS}
    report = replace(
        report,
        title=told(report.title, name="title", most=MOST_TITLE, line=True),
        description=told(report.description, name="description"),
        site=told(report.site, name="site", most=MOST_SITE, line=True, needed=False),
        kinds=_kinds(report),
        **moments,
    )
    _check_zone(report.zone)
    report = _check_place(report)
    _check_order(report)
    _check_breach(report)
    return report


def told(text: str, *, name: str, most: int = MOST_TEXT, line: bool = False, needed: bool = True) -> str:
    """A text that people write about an incident: plain, not endless, and without words that could name a patient.

    Args:
        name: Of the field, for the message.
        line: Whether line ends are refused.

    Raises:
        AuscultError: it is empty, too long, or holds what could identify somebody.
    """
    spoken = name.replace("_", " ")
    plain = written(text, name=f"The {spoken}", least=int(needed), most=most, column=name)
    if line and "\n" in plain:
        raise AuscultError(f"The {spoken} is one line.", remedy="Remove the line ends.", column=name)
    if found := find_identifier(plain):
        raise AuscultError(
            f"“{found.words}” in the {spoken} looks like {found.what}. Patients are never named in an incident.",
            remedy=f"Write instead {found.instead}.",
            column=name,
        )
    return plain


def check_moment(at: dt.datetime, *, what: str, column: str) -> dt.datetime:
    """A moment with its zone that is past, to the second, in UTC.

    Raises:
        AuscultError: it has no zone, is in the future, or lies before the year 2000.
    """
    if at.tzinfo is None:
        raise AuscultError(f"The time {what} has no time zone.", remedy="Give the time with its zone.", column=column)
    if at > timezone.now() + SKEW:
        raise AuscultError(
            f"The time {what} is in the future.", remedy="Give a time that has passed; check the zone.", column=column
        )
    if at < EARLIEST:
        raise AuscultError(f"The time {what} lies before 2000.", remedy="Check the year.", column=column)
    return to_second(at).astimezone(dt.UTC)


def _moment(name: str, at: dt.datetime | None) -> dt.datetime | None:
    return None if at is None else check_moment(at, what=MOMENTS[name], column=name)


def _kinds(report: IncidentReport) -> tuple[str, ...]:
    if wrong := sorted(set(report.kinds) - set(KINDS)):
        raise AuscultError(f"'{wrong[0]}' is no kind of incident.", remedy=f"Use: {', '.join(KINDS)}.", column="kinds")
    return tuple(kind for kind in KINDS if kind in report.kinds)


def _check_zone(zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        raise AuscultError(
            f"'{str(zone)[:64]}' is no time zone.", remedy="Use an IANA name, such as Europe/Vienna.", column="zone"
        ) from error


def _check_place(report: IncidentReport) -> IncidentReport:
    """Version and deployment are of the system; a deployment tells its version and its site."""
    version, deployment = report.version, report.deployment
    if deployment is not None:
        if version is not None and deployment.version_id != version.pk:
            raise AuscultError(
                f"{deployment} does not run {version}.",
                remedy="Choose the version that ran there, or no deployment.",
                column="deployment",
            )
        version = deployment.version
    if version is not None and version.system_id != report.system.pk:
        column = "version" if deployment is None else "deployment"
        raise AuscultError(
            f"{version} is no version of {report.system.name}.", remedy="Choose one of this system.", column=column
        )
    site = report.site or (deployment.site if deployment else "")
    return replace(report, version=version, site=site)


def _check_order(report: IncidentReport) -> None:
    aware = {name: at for name in AWARENESS if (at := getattr(report, name)) is not None}
    if not aware:
        raise AuscultError(
            "Nobody is recorded as aware of it, so no clock could run.",
            remedy="Give the time at which the provider, the deployer or the controller became aware. Whoever learned "
            "of it first counts.",
            column="aware_at",
        )
    for name, at in aware.items():
        if report.occurred_at is not None and at < report.occurred_at:
            raise AuscultError(
                f"The time {MOMENTS[name]} lies before the incident itself.",
                remedy="Check both times and their zone. Leave out when it happened if it is not known.",
                column=name,
            )
    persons = report.affected_persons
    if persons is not None and not 0 <= persons <= MOST_PERSONS:
        raise AuscultError(
            "The number of affected persons cannot be.", remedy="Give a number, or none.", column="affected_persons"
        )


def _check_breach(report: IncidentReport) -> None:
    if report.breach_risk not in Incident.BreachRisk.values:
        raise AuscultError(
            f"'{report.breach_risk}' is no risk of a breach.",
            remedy=f"Use: {', '.join(Incident.BreachRisk.values)}.",
            column="breach_risk",
        )
    if report.controller_aware_at is not None and not report.breach:
        raise AuscultError(
            "A controller became aware of a breach, but no breach is recorded.",
            remedy="Say that personal data were breached, or leave this time out.",
            column="controller_aware_at",
        )
