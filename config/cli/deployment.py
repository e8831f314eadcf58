"""``auscult deployment``: where versions run, and stopping them from a terminal."""

from __future__ import annotations

from typing import Any

import click

from config.cli.telling import json_option, tell


@click.group()
def deployment() -> None:
    """Where versions run."""


@deployment.command("list")
@json_option
@click.option("--all", "everything", is_flag=True, help="Those that are ended too.")
def list_deployments(as_json: bool, everything: bool) -> None:
    """Deployments: number, state, share, version, site, unit, whether the site confirmed a suspension."""
    from config.cli import open_installation

    open_installation()
    from governance.selectors import deployments as selectors

    rows = selectors.list_deployments()
    if not everything:
        rows = rows.filter(status__in=selectors.HELD)
    found = [
        {
            "id": row.pk,
            "status": row.status,
            "share": row.share,
            "version": str(row.version),
            "site": row.site,
            "unit": row.unit,
            "since": row.started_at.isoformat(),
            "confirmed": row.acknowledged_at is not None if row.status == "suspended" else None,
        }
        for row in rows
    ]
    tell(found, *map(_line, found), as_json=as_json)


def _line(item: dict[str, Any]) -> str:
    waits = "\tnot confirmed by the site" if item["confirmed"] is False else ""
    place = f"{item['site']}, {item['unit']}" if item["unit"] else item["site"]
    return f"{item['id']}\t{item['status']}\t{item['share']} %\t{item['version']}\t{place}{waits}"


@deployment.command()
@click.argument("number", type=int, required=False)
@click.option("--version", "given", help="Suspend a version wherever it runs: SYSTEM/LABEL.")
@click.option("--reason", required=True, help="At least 20 characters; it goes to the sites word for word.")
@click.option("--by", "username", envvar="AUSCULT_USER", required=True, help="Chair, clinician lead, DPO or auditor.")
@json_option
def suspend(number: int | None, given: str | None, reason: str, username: str, as_json: bool) -> None:
    """Stop one deployment, or a version everywhere, at once."""
    from config.cli import acting_user, open_installation
    from core.errors import AuscultError

    if (number is None) == (given is None):
        raise AuscultError("Say what to suspend.", remedy="Give the number of a deployment, or --version SYSTEM/LABEL.")
    open_installation()
    from config.cli.gate import find_version
    from governance.selectors.deployments import deployment_by_id
    from governance.services.deployments import suspend_deployment, suspend_version

    person, lines = acting_user(username), []
    if given is not None:
        version = find_version(given)
        stopped = suspend_version(version=version, reason=reason, by=person)
        lines.append(f"{version} is {version.get_status_display().lower()}; {len(stopped)} deployments stopped now.")
    else:
        assert number is not None
        stopped = [suspend_deployment(deployment=deployment_by_id(number), reason=reason, by=person)]
    lines += [f"Deployment {row.pk}, {row.site}: call {row.contact_name}, {row.contact_email}." for row in stopped]
    body = [
        {"id": row.pk, "status": row.status, "site": row.site, "call": row.contact_name, "email": row.contact_email}
        for row in stopped
    ]
    tell(body, *lines, as_json=as_json)
