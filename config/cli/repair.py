"""``auscult repair``: order the repair of a failed finding of fairness from a terminal."""

from __future__ import annotations

import json
from typing import Any

import click

from config.cli.files import BadInputCommand
from config.cli.telling import json_option


@click.command(cls=BadInputCommand)
@click.argument("run", type=int)
@click.option("--label", help="The finding, such as effusion; with --attribute it names the verdict that failed.")
@click.option("--attribute", help="As the protocol names it, such as sex.")
@click.option("--group", help="Whom patients are made for, such as F.")
@click.option("--criterion", default="", help="The verdict, where several failed for the same label and attribute.")
@click.option("--generator", "made_by", help="SYSTEM/LABEL of a generator that learnt from the model's own cohort.")
@click.option("--patients", type=click.IntRange(min=1), default=400, show_default=True, help="How many to make.")
@click.option("--version-label", help="What the new version is to be called.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@json_option
@click.option("--by", "username", envvar="AUSCULT_USER", help="User on whose behalf it is ordered: an ML engineer.")
def repair(
    run: int,
    label: str | None,
    attribute: str | None,
    group: str | None,
    criterion: str,
    made_by: str | None,
    patients: int,
    version_label: str | None,
    seed: int,
    as_json: bool,
    username: str | None,
) -> None:
    """Make patients for a group that audit RUN found to be served worse, and train its model again with them.

    Without options, what can be repaired of RUN is listed, and every repair of it with its state. An auditor audits the
    new version; then both are compared.
    """
    from config.cli import acting_user, open_installation
    from core.errors import AuscultError

    asked = {"label": label, "attribute": attribute, "group": group, "generator": made_by}
    asked["version-label"] = version_label
    lacking = [f"--{name}" for name, value in asked.items() if not value]
    open_installation()
    from evaluation.selectors import get_run

    found = get_run(run)
    if len(lacking) == len(asked):
        _list(found.pk, as_json=as_json)
        return
    if lacking or not username:
        missing = ", ".join([*lacking, *([] if username else ["--by"])])
        raise AuscultError(f"The order lacks {missing}.", remedy=f"See what can be repaired: auscult repair {run}.")
    from config.cli.gate import find_version
    from synthetic.services.repairs import request_repair

    job = request_repair(
        run=found,
        label=label or "",
        attribute=attribute or "",
        group=group or "",
        generator=find_version(made_by or ""),
        patients=patients,
        version_label=version_label or "",
        criterion=criterion,
        seed=seed,
        by=acting_user(username),
    )
    body = {"repair": job.pk, "status": job.status, "generation": job.generation_id}
    click.echo(
        json.dumps(body) if as_json else f"{job}: {patients:,} patients are ordered (order {job.generation_id})."
    )


def _list(run: int, *, as_json: bool) -> None:
    """What can be repaired of an audit, and what was ordered."""
    from evaluation.selectors import get_run
    from synthetic.selectors_repairs import findings_of, repairs_of_run

    found = get_run(run)
    findings: list[dict[str, Any]] = [
        {"criterion": item.verdict.criterion, "label": item.label, "attribute": item.attribute, "groups": item.groups}
        for item in findings_of(found)
    ]
    repairs = [
        {"repair": row.pk, "label": row.label, "group": row.group, "status": row.status, "version": row.version_label,
         "answer": row.comparison.get("answer"), "error": row.error}
        for row in repairs_of_run(found)
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps({"findings": findings, "repairs": repairs}))
        return
    for row in findings:
        where = f"--label '{row['label']}' --attribute '{row['attribute']}'"
        click.echo(f"{row['criterion']}\t{where}\tgroups: {', '.join(map(str, row['groups']))}")
    if not findings:
        click.echo(f"Nothing that can be repaired failed in audit {run}.")
    for job in repairs:
        told = job["answer"] or job["error"] or ""
        click.echo(f"Repair {job['repair']}\t{job['status']}\t{job['label']} in {job['group']}\t{told}".rstrip())
