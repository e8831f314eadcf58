"""``auscult monitor``: what watches deployments, how it stands, and bringing it studies by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config.cli.files import BadInputCommand, BadInputGroup
from config.cli.telling import json_option, tell

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from evaluation.models import Monitor, MonitorWindow

MOST_BYTES = 200_000
SHOWN_WINDOWS = 12
by_option = click.option("--by", "username", envvar="AUSCULT_USER", required=True, help="On whose behalf.")


@click.group(cls=BadInputGroup)
def monitor() -> None:
    """Monitors of deployments: data, windows, alerts."""


@monitor.command("list", cls=BadInputCommand)
@click.option("--all", "everything", is_flag=True, help="Ended ones too.")
@json_option
def list_command(everything: bool, as_json: bool) -> None:
    """List monitors with their last window."""
    from config.cli import open_installation

    open_installation()
    from evaluation.models import Monitor

    rows = _monitors().order_by("pk")
    found = [_facts(row) for row in (rows if everything else rows.exclude(status=Monitor.Status.ENDED))]
    if as_json:
        click.echo(json.dumps(found))
        return
    for item in found:
        last = item["window"]
        told = f"window {last['index']} {last['status']}{', ALARM' if last['alarm'] else ''}" if last else "no window"
        click.echo(
            f"{item['id']}\t{item['status']}\t{item['version']}\t{item['site']}\t{item['name']}\t{told}"
            f"\t{item['open_alerts']} open alert{'' if item['open_alerts'] == 1 else 's'}"
        )
    if not found:
        click.echo("No deployment is monitored.")


@monitor.command(cls=BadInputCommand)
@click.argument("number", type=int)
@json_option
def show(number: int, as_json: bool) -> None:
    """Show one monitor: what it reads, when, by which protocol, and how it stands."""
    row = _opened(number)
    facts = _facts(row) | {
        "protocol": row.protocol.name,
        "reference": str(row.reference_cohort),
        "source": {"kind": row.source_kind} | row.source,
        "window_of": {"unit": row.window_unit, "size": row.window_size, "grace_hours": row.grace_hours},
        "schedule": row.crontab or f"every {row.every_seconds} s",
        "zone": row.zone,
        "owner": row.owner.username,
        "escalate_to": row.escalate_to.username if row.escalate_to else None,
        "next_at": row.next_at.isoformat() if row.next_at else None,
        "error": row.error,
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        click.echo(f"{name}: {json.dumps(value) if isinstance(value, dict) else '–' if value in (None, '') else value}")


@monitor.command(cls=BadInputCommand)
@click.argument("number", type=int)
@click.option("--all", "everything", is_flag=True, help=f"Not the last {SHOWN_WINDOWS} alone.")
@json_option
def windows(number: int, everything: bool, as_json: bool) -> None:
    """List the windows of a monitor, the newest first, whatever became of them."""
    row = _opened(number)
    found = [_window(window) for window in row.windows.order_by("-index")[: None if everything else SHOWN_WINDOWS]]
    if as_json:
        click.echo(json.dumps(found))
        return
    for item in found:
        evidence = "" if item["log_e"] is None else f"\tlog e {item['log_e']:.2f}"
        told = f"\t{item['error']}" if item["error"] else ""
        click.echo(
            f"{item['index']}\t{item['opens_at'][:16]}\t{item['closes_at'][:16]}\t{item['status']}"
            f"\t{item['studies']} studies{evidence}{', ALARM' if item['alarm'] else ''}{told}"
        )
    if not found:
        click.echo("No window is due yet.")


@monitor.command(cls=BadInputCommand)
@click.argument("number", type=int)
@click.option("--all", "everything", is_flag=True, help="Closed ones too.")
@json_option
def alerts(number: int, everything: bool, as_json: bool) -> None:
    """List the alerts of a monitor, the latest first."""
    row = _opened(number)
    rows = row.alerts.select_related("assigned_to")
    if not everything:
        rows = rows.exclude(status="closed")
    found = [
        {
            "id": alert.pk,
            "kind": alert.kind,
            "severity": alert.severity,
            "status": alert.status,
            "title": alert.title,
            "times": alert.times,
            "last_at": alert.last_at.isoformat(),
            "assigned_to": alert.assigned_to.username if alert.assigned_to else None,
        }
        for alert in rows
    ]
    if as_json:
        click.echo(json.dumps(found))
        return
    for item in found:
        click.echo(
            f"{item['id']}\t{item['severity']}\t{item['status']}\t{item['kind']}\t{item['title']}"
            f"\t{item['times']} times"
        )
    if not found:
        click.echo("No alert is open.")


@monitor.command(cls=BadInputCommand)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@by_option
@json_option
def create(path: Path, username: str, as_json: bool) -> None:
    """Make a monitor from a YAML file; docs/drift/sources.md shows one."""
    from config.cli import acting_user, open_installation

    open_installation()
    from config.cli.monitor_file import monitor_facts
    from evaluation.services.monitors import create_monitor

    made = create_monitor(**monitor_facts(_yaml(path), file=path.name), by=acting_user(username))
    line = f"Monitor {made.pk} of {made.deployment}: {made.get_status_display().lower()}."
    tell(_facts(_opened(made.pk)), line, as_json=as_json)


@monitor.command(cls=BadInputCommand)
@click.argument("number", type=int)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", help="What to call it; a refused delivery is mended by one of the same name.")
@by_option
@json_option
def deliver(number: int, path: Path, name: str | None, username: str, as_json: bool) -> None:
    """Bring a CSV, Parquet or NDJSON file of studies to a monitor. Exit status: 0 taken, 3 refused."""
    from config.cli import acting_user
    from core.errors import CohortError

    row = _opened(number)
    from evaluation.services.deliveries import deliver_studies

    if not path.is_file():
        raise CohortError("There is no such file.", remedy="Check the path.", file=str(path))
    found = deliver_studies(monitor=row, path=path, name=name or path.name, by=acting_user(username))
    delivery = found.delivery
    if as_json:
        click.echo(json.dumps({"id": delivery.pk, "new": found.new, "status": delivery.status,
                               "studies": delivery.n_studies, "findings": delivery.findings}))  # fmt: skip
    else:
        for item in delivery.findings:
            place = f"row {item['row']:,}: " if item["row"] else ""
            click.echo(f"{item['severity']}: {place}{item['message']} What to do: {item['remedy']}", err=True)
        word = "Kept" if found.new else "Known already"
        click.echo(f"{'Refused' if delivery.status == 'refused' else word}: {delivery.n_studies:,} studies.")
    if delivery.status == "refused":
        click.get_current_context().exit(3)


@monitor.command(cls=BadInputCommand)
@click.argument("number", type=int)
@by_option
@json_option
def run(number: int, username: str, as_json: bool) -> None:
    """Look for windows that are due now, without waiting for the schedule."""
    _steered(number, username, "run_now", "looks now", as_json=as_json)


@monitor.command(cls=BadInputCommand)
@click.argument("number", type=int)
@by_option
@json_option
def pause(number: int, username: str, as_json: bool) -> None:
    """Stop a monitor for a while; windows that pass meanwhile are worked on when it goes on."""
    _steered(number, username, "pause_monitor", "is paused", as_json=as_json)


@monitor.command(cls=BadInputCommand)
@click.argument("number", type=int)
@by_option
@json_option
def resume(number: int, username: str, as_json: bool) -> None:
    """Let a paused monitor go on."""
    _steered(number, username, "resume_monitor", "is active", as_json=as_json)


@monitor.command("hand-over", cls=BadInputCommand)
@click.argument("number", type=int)
@click.option("--owner", help="Who requests its audits from now on; left out: as it is.")
@click.option("--escalate-to", help="Who is told when nobody reacts; left out: as it is.")
@click.option("--chairs-alone", is_flag=True, help="Nobody but the committee chairs is told when nobody reacts.")
@click.option("--reason", required=True, help="Why; its digest is kept in the ledger. Name no patient.")
@by_option
@json_option
def hand_over(
    number: int,
    owner: str | None,
    escalate_to: str | None,
    chairs_alone: bool,
    reason: str,
    username: str,
    as_json: bool,
) -> None:
    """Give a monitor to another owner, or name another person whom its alerts escalate to."""
    from config.cli import acting_user
    from core.errors import AuscultError

    row = _opened(number)
    from config.cli.monitor_file import person_of
    from evaluation.services.monitors import hand_over_monitor

    if escalate_to and chairs_alone:
        raise AuscultError("--escalate-to and --chairs-alone exclude each other.", remedy="Give one of them.")
    people: dict[str, Any] = {"owner": person_of(owner) if owner else None}
    if escalate_to or chairs_alone:
        people["escalate_to"] = person_of(escalate_to) if escalate_to else None
    made = hand_over_monitor(monitor=row, by=acting_user(username), reason=reason, **people)
    above = made.escalate_to.username if made.escalate_to else None
    tell(
        _facts(_opened(made.pk)) | {"owner": made.owner.username, "escalate_to": above},
        f"Monitor {made.pk} is owned by {made.owner.username}; "
        f"its alerts escalate to {above or 'the committee chairs alone'}.",
        as_json=as_json,
    )


def _steered(number: int, username: str, act: str, told: str, *, as_json: bool) -> None:
    """Do one act of ``evaluation.services.monitors`` to a monitor, and say so."""
    from config.cli import acting_user

    row = _opened(number)
    from evaluation.services import monitors

    getattr(monitors, act)(monitor=row, by=acting_user(username))
    tell(_facts(_opened(row.pk)), f"Monitor {row.pk} {told}.", as_json=as_json)


def _opened(number: int) -> Monitor:
    from config.cli import open_installation

    open_installation()
    from core.errors import NotFoundError

    row = _monitors().filter(pk=number).first()
    if row is None:
        raise NotFoundError(f"There is no monitor {number}.", remedy="List them with: auscult monitor list.")
    return row


def _monitors() -> QuerySet[Monitor]:
    """Monitors with their last window and open alerts: as many queries for many as for one."""
    from django.db.models import OuterRef, Prefetch, Subquery

    from evaluation.models import Alert, Monitor, MonitorWindow

    newest = MonitorWindow.objects.filter(monitor=OuterRef("monitor")).order_by("-index").values("pk")[:1]
    windows = MonitorWindow.objects.filter(pk=Subquery(newest)).select_related("monitor__protocol")
    alerts = Alert.objects.exclude(status="closed").only("pk", "monitor")
    return Monitor.objects.select_related(
        "deployment__version__system", "protocol", "owner", "escalate_to", "reference_cohort__cohort"
    ).prefetch_related(
        Prefetch("windows", windows, to_attr="newest_window"), Prefetch("alerts", alerts, to_attr="open_alerts")
    )


def _facts(row: Any) -> dict[str, Any]:
    """A monitor of :func:`_monitors`."""
    last = next(iter(row.newest_window), None)
    return {
        "id": row.pk,
        "name": row.name,
        "status": row.status,
        "version": str(row.deployment.version),
        "site": row.deployment.site,
        "cycle": row.cycle,
        "window": _window(last) if last else None,
        "open_alerts": len(row.open_alerts),
    }


def _window(window: MonitorWindow) -> dict[str, Any]:
    from evaluation.engine import Protocol

    few = window.n_patients < Protocol.from_dict(window.monitor.protocol.body).minimum_cell
    return {
        "index": window.index,
        "status": window.status,
        "opens_at": window.opens_at.isoformat(),
        "closes_at": window.closes_at.isoformat(),
        "studies": "few" if few and window.n_patients else window.n_studies,
        "log_e": window.log_e,
        "alarm": window.alarm,
        "run": window.run_id,
        "findings": window.findings,
        "error": window.error,
    }


def _yaml(path: Path) -> Any:
    import yaml

    from core.errors import AuscultError

    try:
        if path.stat().st_size > MOST_BYTES:
            raise AuscultError("The file is too large for a monitor.", remedy="Give its YAML file.", file=path.name)
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise AuscultError(
            "The file is not YAML that can be read.", remedy="Check the path, quotes and indentation.", file=path.name
        ) from error
