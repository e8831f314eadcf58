"""``auscult cohort``: bring a hospital's own file in, after seeing everything that is wrong with it."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.cli.files import BadInputCommand
from config.cli.telling import json_option, tell

if TYPE_CHECKING:
    from core.models import User
    from models_registry.cohorts import Inspection, Mapping
    from models_registry.models import CohortVersion


PROBLEMS_EXIT = 3
PREVIEW_WIDTH = 24


@click.group()
def cohort() -> None:
    """Cohorts of patients."""


@cohort.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--mapping",
    "mapping_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML that maps columns and values.",
)
@click.option(
    "--write-mapping",
    type=click.Path(path_type=Path),
    help="Write the suggested mapping to this file, and stop.",
)
@click.option("--name", help="Name of the cohort; default: the name of the file.")
@click.option("--description", default="")
@click.option("--source", default="", help="Where the data come from.")
@click.option("--licence", default="", help="Under which terms they may be used.")
@click.option("--simulated", is_flag=True, help="No real patient is in it.")
@click.option(
    "--as",
    "username",
    envvar="AUSCULT_USER",
    default=getpass.getuser,
    help="User of Auscult on whose behalf it is registered; default: AUSCULT_USER, else your login name.",
)
@click.option("--yes", is_flag=True, help="Register without asking, if there is no error.")
@json_option
def add(
    path: Path,
    mapping_file: Path | None,
    write_mapping: Path | None,
    name: str | None,
    description: str,
    source: str,
    licence: str,
    simulated: bool,
    username: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Read a Parquet or CSV file to its end, show what was found, and register it when you confirm.

    Nothing is registered while there is an error. Exit codes: 0 registered, 3 has errors, 1 not confirmed.
    """
    from core.digests import sha256_file
    from models_registry.cohorts import Mapping, inspect_cohort

    given = Mapping.read(mapping_file) if mapping_file else None
    shown = sha256_file(path) if path.is_file() else None
    found = inspect_cohort(path, mapping=given)
    if write_mapping:
        _write_mapping(write_mapping, given or found.suggested_mapping)
        return
    if not as_json:
        _show(found)
    if found.errors:
        if as_json:
            click.echo(json.dumps({"registered": False, "inspection": found.to_dict()}))
        sys.exit(PROBLEMS_EXIT)
    person = _who_may_register(username)
    if not yes and (as_json or not click.confirm("Register this cohort?")):
        click.echo("Nothing was registered. Add --yes to register.", err=True)
        sys.exit(1)
    facts = {
        "name": name or path.stem,
        "description": description,
        "simulated": simulated,
        "source": source or path.name,
        "licence": licence,
    }
    from models_registry.execution import store_cohort

    version = store_cohort(source=path, mapping=given, facts=facts, source_sha256=shown, by=person)
    _tell(version, found if as_json else None)


@cohort.command(cls=BadInputCommand)
@click.argument("slug", metavar="COHORT")
@click.argument("role")
@click.option("--site", default="", help="The site that its patients come from, as deployments name it.")
@click.option("--by", "username", required=True, envvar="AUSCULT_USER", help="Auditor, chair or clinician lead.")
@json_option
def role(slug: str, role: str, site: str, username: str, as_json: bool) -> None:
    """Say what a cohort is to the models that are judged on it. COHORT is its short name, as in its address.

    ROLE: training, tuning, internal_test, external_test, local or post_deployment.
    """
    from config.cli import acting_user, open_installation

    open_installation()
    from core.errors import NotFoundError
    from models_registry.models import Cohort
    from models_registry.services.cohort_roles import assign_cohort_role

    found = Cohort.objects.filter(slug=slug).first()
    if found is None:
        raise NotFoundError(f"There is no cohort '{slug}'.", remedy="Its page has the short name in its address.")
    found = assign_cohort_role(cohort=found, role=role, site=site, by=acting_user(username))
    where = f", patients of {found.site}" if found.site else ""
    body = {"cohort": found.slug, "role": found.role, "site": found.site or None}
    tell(body, f"{found.name}: {found.get_role_display().lower()}{where}.", as_json=as_json)


def _who_may_register(username: str) -> User:
    """The acting user, after everything that needs none was shown."""
    from config.cli import acting_user, open_installation

    open_installation()
    from models_registry.access import check_may_import_cohort

    person = acting_user(username)
    check_may_import_cohort(person)
    return person


def _tell(version: CohortVersion, found: Inspection | None) -> None:
    if found is not None:
        click.echo(
            json.dumps(
                {
                    "registered": True,
                    "id": version.pk,
                    "digest": version.digest,
                    "inspection": found.to_dict(),
                }
            )
        )
    else:
        click.echo(
            f"Registered {version.cohort.name}: {version.n_studies:,} studies of {version.n_patients:,} patients."
        )
        click.echo(f"Digest {version.digest}")


def _write_mapping(target: Path, mapping: Mapping) -> None:
    from core.errors import CohortError

    try:
        target.write_text(mapping.to_yaml(), encoding="utf-8")
    except OSError as error:
        raise CohortError(
            f"The mapping cannot be written: {error.strerror}.", remedy="Give another place.", file=str(target)
        ) from error
    click.echo(f"Wrote {target}. Edit it, then give it with --mapping.")


def _show(found: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    rows = found.preview.rows[:3]
    preview = Table(title="First rows", title_justify="left")
    for title in ("Column", "In the file", *(f"Row {n}" for n in range(1, len(rows) + 1))):
        preview.add_column(title, overflow="fold")
    for place, (name, original) in enumerate(zip(found.preview.columns, found.preview.originals, strict=True)):
        preview.add_row(name, original.strip(), *(row[place][:PREVIEW_WIDTH] for row in rows))
    console.print(preview)
    if not found.problems:
        console.print("No problem was found.")
    for problem in found.problems:
        style = "red" if problem.severity == "error" else "yellow"
        where = ", ".join(
            part
            for part in (
                f"column {problem.column}" if problem.column else "",
                f"row {problem.row}" if problem.row else "",
            )
            if part
        )
        console.print(
            f"{problem.severity}: {f'{where}: ' if where else ''}{problem.message}", style=style, markup=False
        )
        console.print(f"  What to do: {problem.remedy}", markup=False)
