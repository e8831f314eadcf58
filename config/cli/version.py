"""``auscult version``: check a model without running it, register it, and write its ML-BOM."""

from __future__ import annotations

import getpass
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config.cli.files import BadInputCommand
from config.cli.telling import json_option, tell

if TYPE_CHECKING:
    from models_registry.models import ModelVersion, VersionIntake

NOT_CONFIRMED = 1
HAS_ERRORS = 3
MARKS = {"ok": "ok", "warning": "warning", "error": "ERROR", "waiting": "not done", "running": "not done"}
COLOURS = {"warning": "yellow", "error": "red"}

run_option = click.option(
    "--run", default="", help="PATH is MLflow's tracking folder: the run's identifier, or runs:/IDENTIFIER/PATH."
)
adapter_option = click.option("--adapter", required=True, help="How the model is loaded and asked, such as clip.")
as_option = click.option(
    "--as",
    "username",
    envvar="AUSCULT_USER",
    default=getpass.getuser,
    help="User of Auscult on whose behalf it is done; default: AUSCULT_USER, else your login name.",
)


@click.group()
def version() -> None:
    """Versions of models: folders, archives and MLflow runs."""


@version.command(cls=BadInputCommand)
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@adapter_option
@run_option
@json_option
def check(path: Path, adapter: str, run: str, as_json: bool) -> None:
    """Check the model in PATH without running or registering it. Needs no database.

    PATH is a folder, a .zip, .tar or .tar.gz, or with --run a tracking folder of MLflow. Exit status: 0 fine, 3 has
    errors.
    """
    from core.digests import folder_manifest, manifest_digest
    from models_registry.intake.checks import Checks, look_at

    checks = Checks()
    digest = ""
    with _as_folder(path, run=run, checks=checks) as folder:
        found = look_at(folder, adapter=adapter, checks=checks) if folder else None
        if folder and found:
            digest = manifest_digest(folder_manifest(folder, progress=None))
    rows = [row for row in checks.to_list() if row["state"] in {"ok", "warning", "error"}]
    if as_json:
        click.echo(json.dumps({"usable": found is not None, "digest": digest, "checks": rows}))
    else:
        _show(rows)
        click.echo(f"Digest {digest}" if found else "It cannot be registered as it is.")
    sys.exit(0 if found else HAS_ERRORS)


@contextmanager
def _as_folder(path: Path, *, run: str, checks: Any) -> Iterator[Path | None]:
    """The model's folder: PATH itself, or what an archive or a run becomes for as long as it is looked at."""
    from models_registry.intake.archives import unpack
    from models_registry.intake.mlflow_run import gather_run

    if path.is_dir() and not run:
        yield path
        return
    scratch = Path(tempfile.mkdtemp(prefix="auscult-"))
    try:
        with checks.doing("files"):
            if run:
                gather_run(path, run=run, destination=scratch / "model")
            else:
                unpack(path, scratch / "model")
        yield None if checks.failed else scratch / "model"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@version.command(cls=BadInputCommand)
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@adapter_option
@click.option("--system", "slug", required=True, help="Short name of the AI system, as in its address.")
@click.option("--label", required=True, help="The version, as its provider names it.")
@click.option("--backbone", default="", help="What it is built on, as SYSTEM:LABEL.")
@click.option("--notes", default="")
@run_option
@as_option
@click.option("--draft", is_flag=True, help="Register it as a draft: audited only once it is submitted.")
@click.option("--yes", is_flag=True, help="Register without asking, if there is no error.")
@json_option
def register(
    path: Path,
    adapter: str,
    slug: str,
    label: str,
    backbone: str,
    notes: str,
    run: str,
    username: str,
    draft: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Check the model in PATH, show what was found, and register it when you confirm.

    PATH is a folder, a .zip, .tar or .tar.gz, or with --run a tracking folder of MLflow. Each file is copied into the
    store. Exit status: 0 registered, 3 has errors, 1 not confirmed.
    """
    from config.cli import acting_user, open_installation

    open_installation()
    from models_registry.execution_intake import check_intake, register_intake
    from models_registry.services.intakes import confirm_intake, discard_intake, start_intake

    person = acting_user(username)
    with _by_itself():
        row = start_intake(
            system=_system(slug),
            label=label,
            adapter=adapter,
            kind="mlflow" if run else "folder" if path.is_dir() else "archive",
            source_path=path.resolve(),
            notes=notes,
            backbone=_version(*_parts(backbone)) if backbone else None,
            mlflow_run=run,
            trusted=True,
            by=person,
        )
        check_intake(row.pk)
        row.refresh_from_db()
        if not as_json:
            _show(row.checks)
        ready = row.status == row.Status.READY
        if not ready or not (yes or (not as_json and click.confirm("Register this version?"))):
            discard_intake(intake=row, by=person)
            _tell_refusal(row, ready=ready, as_json=as_json)
        confirm_intake(intake=row, draft=draft, by=person)
        register_intake(row.pk)
        row.refresh_from_db()
    _tell(row, as_json=as_json)


@contextmanager
def _by_itself() -> Iterator[None]:
    """Whatever is sent to workers meanwhile is done here and now: the command needs no worker and no broker."""
    from config.celery import app

    before = app.conf.task_always_eager, app.conf.task_eager_propagates
    app.conf.task_always_eager, app.conf.task_eager_propagates = True, True
    try:
        yield
    finally:
        app.conf.task_always_eager, app.conf.task_eager_propagates = before


def _tell_refusal(row: VersionIntake, *, ready: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"registered": False, "checks": row.checks}))
    if row.error:
        click.echo(f"Error: {row.error}", err=True)
    words = "Nothing was registered. Add --yes to register." if ready else "Nothing was registered."
    click.echo(words, err=True)
    sys.exit(NOT_CONFIRMED if ready else HAS_ERRORS)


def _tell(row: VersionIntake, *, as_json: bool) -> None:
    made = row.result
    if made is None:
        click.echo(f"Error: {row.error}", err=True)
        sys.exit(HAS_ERRORS)
    if as_json:
        click.echo(json.dumps({"registered": True, "id": made.pk, "digest": made.digest, "checks": row.checks}))
        return
    from models_registry.intake.checks import counted, size_in_words

    size = size_in_words(sum(made.sizes.values()))
    click.echo(f"Registered {made}: {counted(len(made.manifest), 'file')}, {size}.")
    click.echo(f"Digest {made.digest}")


@version.command(cls=BadInputCommand)
@click.argument("system")
@click.argument("label")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default: standard output.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
def bom(system: str, label: str, out: Path | None, force: bool, as_json: bool) -> None:
    """Write the ML-BOM (CycloneDX 1.6) of version LABEL of SYSTEM. It is JSON; --json is about what is said of FILE."""
    from config.cli import open_installation
    from config.cli.files import write_file

    open_installation()
    from models_registry.cards import ml_bom_bytes

    text = ml_bom_bytes(_version(system, label)).decode()
    if out is None:
        click.echo(text, nl=False)
        return
    write_file(out, text, force=force)
    tell({"file": str(out), "bytes": len(text.encode())}, f"Wrote {out}.", as_json=as_json)


@version.command(cls=BadInputCommand)
@click.argument("system")
@click.argument("label")
@as_option
@json_option
def submit(system: str, label: str, username: str, as_json: bool) -> None:
    """Submit the draft LABEL of SYSTEM: from now on it can be audited."""
    from config.cli import acting_user, open_installation

    open_installation()
    from models_registry.services.versions import submit_version

    row = submit_version(version=_version(system, label), by=acting_user(username))
    tell(_facts(row), f"Submitted {row}.", as_json=as_json)


@version.command(cls=BadInputCommand)
@click.argument("system")
@click.argument("label")
@click.option("--reason", required=True, help="Why it ends.")
@as_option
@json_option
def retire(system: str, label: str, reason: str, username: str, as_json: bool) -> None:
    """Take version LABEL of SYSTEM out of use for good. Its deployments have to be ended first."""
    from config.cli import acting_user, open_installation

    open_installation()
    from models_registry.services.versions import retire_version

    row = retire_version(version=_version(system, label), reason=reason, by=acting_user(username))
    tell(_facts(row), f"Retired {row}.", as_json=as_json)


def _facts(row: ModelVersion) -> dict[str, Any]:
    return {"id": row.pk, "system": row.system.slug, "label": row.label, "status": row.status, "digest": row.digest}


def _system(slug: str) -> Any:
    from core.errors import NotFoundError
    from models_registry.models import AISystem

    found = AISystem.objects.filter(slug=slug).first()
    if found is None:
        known = ", ".join(AISystem.objects.values_list("slug", flat=True)[:20])
        raise NotFoundError(
            f"There is no system '{slug}'.", remedy=f"Use one of: {known}." if known else "Register the system first."
        )
    return found


def _version(slug: str, label: str) -> ModelVersion:
    from core.errors import NotFoundError

    rows = _system(slug).versions
    found: ModelVersion | None = rows.filter(label=label).select_related("system").first()
    if found is None:
        known = ", ".join(rows.values_list("label", flat=True)[:20])
        raise NotFoundError(f"{slug} has no version '{label}'.", remedy=f"It has: {known or 'none yet'}.")
    return found


def _parts(backbone: str) -> tuple[str, str]:
    from core.errors import NotFoundError

    slug, colon, label = backbone.partition(":")
    if not colon:
        raise NotFoundError(f"'{backbone}' is no version of a backbone.", remedy="Give it as SYSTEM:LABEL.")
    return slug, label


def _show(rows: list[dict[str, str]]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for row in rows:
        style = COLOURS.get(row["state"])
        place = f"{row['file']}: " if row["file"] else ""
        console.print(f"{MARKS[row['state']]}: {row['title']}. {place}{row['message']}", style=style, markup=False)
        if row["remedy"]:
            console.print(f"  What to do: {row['remedy']}", markup=False)
