"""``auscult incident``: what is open, what runs out, and a report from a file."""

from __future__ import annotations

import getpass
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config.cli.files import BadInputCommand
from config.cli.telling import json_option

if TYPE_CHECKING:
    from governance.services.incidents import IncidentReport

RUN_OUT = 1
MOST_BYTES = 200_000
MOMENTS = ("occurred_at", "aware_at", "deployer_aware_at", "controller_aware_at")


@click.group()
def incident() -> None:
    """Incidents: reports to authorities, and the time that is left for them."""


@incident.command("list", cls=BadInputCommand)
@click.option("--all", "everything", is_flag=True, help="Closed ones too.")
@click.option("--system", default="", help="Short name of the AI system, as in its address.")
@json_option
def list_command(everything: bool, system: str, as_json: bool) -> None:
    """List incidents, the most urgent first."""
    from config.cli import open_installation

    open_installation()
    from governance.selectors.incidents import incident_lines, list_incidents

    lines = incident_lines(list_incidents(state="all" if everything else "unclosed", system=system), user=None)
    if as_json:
        rows = [
            {
                "number": line.incident.number,
                "system": line.incident.system.slug,
                "title": line.incident.title,
                "status": line.incident.status,
                "owner": line.incident.owner.username if line.incident.owner else None,
                "next": _clock(line.urgent) if line.urgent else None,
            }
            for line in lines
        ]
        click.echo(json.dumps(rows))
        return
    for line in lines:
        row = line.incident
        urgent = f"{line.urgent.clock.regime}: {line.urgent.left or line.urgent.word.lower()}" if line.urgent else "–"
        click.echo(f"{row.number}  {row.get_status_display()}  {row.system.name}: {row.title}  [{urgent}]")
    if not lines:
        click.echo("No incident is open.")


@incident.command(cls=BadInputCommand)
@click.option("--system", "slug", default="", help="Of this system only.")
@json_option
def clocks(slug: str, as_json: bool) -> None:
    """Show every clock that runs, the first to end first. Exit status: 0 none has run out, 1 one has."""
    from config.cli import open_installation

    open_installation()
    from governance.selectors.incidents import running_clocks

    lines = running_clocks(system=_system(slug) if slug else None)
    if as_json:
        click.echo(json.dumps([_clock(line) | {"incident": line.clock.incident.number} for line in lines]))
    for line in [] if as_json else lines:
        owed = "perhaps owed" if line.unknown else "owed"
        told = f"{line.word.lower()}, {line.left}, {line.due_there}" if line.left else line.word.lower()
        click.echo(f"Incident {line.clock.incident.number}  {line.clock.regime} ({line.source}), {owed}: {told}")
    if not lines and not as_json:
        click.echo("No clock runs.")
    sys.exit(RUN_OUT if any(line.overdue for line in lines) else 0)


def _clock(line: Any) -> dict[str, Any]:
    clock = line.clock
    return {
        "regime": clock.regime,
        "deadline": clock.deadline,
        "owed": clock.owed,
        "standing": str(line.standing),
        "due_at": clock.due_at.isoformat() if clock.due_at else None,
        "left": line.left,
    }


@incident.command(cls=BadInputCommand)
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--as",
    "username",
    envvar="AUSCULT_USER",
    default=getpass.getuser,
    help="User of Auscult who reports it; default: AUSCULT_USER, else your login name.",
)
@json_option
def record(path: Path, username: str, as_json: bool) -> None:
    """Record the incident that the YAML file PATH describes, and show its clocks.

    The file has system, title, description, zone (such as Europe/Vienna), and as far as known version (its label),
    site, kinds, occurred_at, aware_at, deployer_aware_at, controller_aware_at, death, unanticipated_deterioration,
    public_health_threat, widespread, breach, breach_risk, affected_persons. A time without an offset is one of the
    zone. Exit status: 0 recorded, 3 refused.
    """
    from config.cli import acting_user, open_installation

    open_installation()
    from governance.selectors.incidents import incident_detail
    from governance.services.incidents import record_incident

    person = acting_user(username)
    made = record_incident(report=_report(path), by=person)
    lines = incident_detail(made, user=person).clocks
    if as_json:
        click.echo(json.dumps({"number": made.number, "clocks": [_clock(line) for line in lines]}))
        return
    click.echo(f"Recorded incident {made.number}.")
    for line in lines:
        late = " Late at intake." if line.clock.late_at_intake else ""
        click.echo(
            f"{line.clock.regime} ({line.source}): due {line.due_there}, {line.left or line.word.lower()}.{late}"
        )
    if not lines:
        click.echo("No report to an authority is owed by what is known now.")


def _report(path: Path) -> IncidentReport:
    import yaml

    from core.errors import AuscultError
    from governance.services.incidents import IncidentReport

    if path.stat().st_size > MOST_BYTES:
        raise AuscultError("The file is too large for an incident.", remedy="200 kB at most.", file=path.name)
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise AuscultError(f"It is no YAML: {error}.", remedy="Check the file.", file=path.name) from error
    known = set(IncidentReport.__dataclass_fields__) - {"deployment"}
    if not isinstance(told, dict) or set(told) - known:
        wrong = ", ".join(sorted(str(key) for key in set(told) - known)) if isinstance(told, dict) else "no mapping"
        raise AuscultError(
            f"The file has what no incident has: {wrong[:200]}.",
            remedy=f"Use: {', '.join(sorted(known))}.",
            file=path.name,
        )
    return IncidentReport(**_typed(told, path.name))


def _typed(told: dict[str, Any], file: str) -> dict[str, Any]:
    """Values of the kinds that a report has."""
    from core.errors import AuscultError

    for name in ("system", "title", "description", "zone"):
        if not isinstance(told.get(name), str):
            raise AuscultError(f"There is no {name}.", remedy=f"Give {name} as a text.", file=file, column=name)
    zone, values = told["zone"], dict(told)
    values["system"] = _system(told["system"])
    if (label := told.get("version")) is not None:
        values["version"] = _version(values["system"], str(label))
    values |= {name: _moment(told[name], zone, name, file) for name in MOMENTS if told.get(name) is not None}
    values["kinds"] = tuple(str(kind) for kind in _list(told.get("kinds")))
    values |= {name: str(told[name]) for name in ("site", "breach_risk") if name in told}
    flags = ("death", "unanticipated_deterioration", "public_health_threat", "widespread", "breach")
    for name in (*flags, "affected_persons"):
        kind = bool if name in flags else int
        if name in told and type(told[name]) is not kind and told[name] is not None:
            words = "yes or no" if kind is bool else "a whole number"
            raise AuscultError(f"{name} is not {words}.", remedy=f"Give {words}.", file=file, column=name)
    return values


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _moment(value: Any, zone: str, name: str, file: str) -> datetime:
    """A time of the file. One without an offset is of the zone; YAML reads times itself, and some as dates."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from core.errors import AuscultError

    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return found if found.tzinfo is not None else found.replace(tzinfo=ZoneInfo(zone))
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise AuscultError(
            f"'{str(value)[:60]}' is no time, or '{zone[:60]}' no zone.",
            remedy="Give a time as 2026-11-22T14:05, and a zone as Europe/Vienna.",
            file=file,
            column=name,
        ) from error


def _system(slug: str) -> Any:
    from core.errors import NotFoundError
    from models_registry.models import AISystem

    found = AISystem.objects.filter(slug=slug).first()
    if found is None:
        raise NotFoundError(f"There is no system '{slug[:80]}'.", remedy="Use its short name, as in its address.")
    return found


def _version(system: Any, label: str) -> Any:
    from core.errors import NotFoundError

    found = system.versions.filter(label=label).first()
    if found is None:
        known = ", ".join(system.versions.values_list("label", flat=True)[:20])
        raise NotFoundError(f"{system.slug} has no version '{label[:80]}'.", remedy=f"It has: {known or 'none yet'}.")
    return found
