"""``auscult``: the command line. Each command is imported only when it is used."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.cli.exits import BAD_INPUT, CRASHED, epilogue
from core.errors import AuscultError, EnvironmentProblemError, NotFoundError

if TYPE_CHECKING:
    from core.models import User

COMMANDS = {
    "api": ("config.cli.api", "api"),
    "audit": ("config.cli.audit", "audit"),
    "cohort": ("config.cli.cohort", "cohort"),
    "completion": ("config.cli.completion", "completion"),
    "demo": ("config.cli.demo", "demo"),
    "deployment": ("config.cli.deployment", "deployment"),
    "gate": ("config.cli.gate", "gate"),
    "generator": ("config.cli.generator", "generator"),
    "incident": ("config.cli.incident", "incident"),
    "ledger": ("config.cli.ledger", "ledger"),
    "mail": ("config.cli.mail", "mail"),
    "monitor": ("config.cli.monitor", "monitor"),
    "policy": ("config.cli.policy", "policy"),
    "protocol": ("config.cli.protocol", "protocol"),
    "repair": ("config.cli.repair", "repair"),
    "reproduce": ("config.cli.reproduce", "reproduce"),
    "store": ("config.cli.store", "store"),
    "token": ("config.cli.token", "token"),
    "user": ("config.cli.user", "user"),
    "verify": ("config.cli.verify", "verify"),
    "version": ("config.cli.version", "version"),
}


class LazyGroup(click.Group):
    """Finds commands by name, so that ``auscult verify`` does not import torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name]
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, epilog=epilogue())
@click.version_option(package_name="auscult")
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    help="Folder of the installation; default: AUSCULT_HOME, else var.",
)
def auscult(home: Path | None) -> None:
    """Decide whether a medical foundation model may be used, and keep checking that it still may."""
    if home is not None:
        os.environ["AUSCULT_HOME"] = str(home.resolve())


def open_installation() -> None:
    """Make Django ready for a command that reads or writes the registry.

    Raises:
        EnvironmentProblemError: the database is not there or not up to date.
    """
    import django
    from django.core.management import call_command

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.conf import settings
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    settings.AUSCULT_HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
    executor = MigrationExecutor(connection)
    if not executor.loader.applied_migrations:
        call_command("migrate", verbosity=0)
    elif executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise EnvironmentProblemError(
            "The database is older than this version of Auscult.",
            remedy="Make a backup, then run: python manage.py migrate.",
        )


def acting_user(username: str) -> User:
    """The person on whose behalf a command acts.

    Raises:
        NotFoundError: there is no such user.
    """
    from core.models import User

    user = User.objects.filter(username=username).first()
    if user is None:
        raise NotFoundError(
            f"There is no user called '{username}'.",
            remedy="Add one with: auscult user add NAME --role ROLE.",
        )
    return user


def main() -> None:
    """Entry point: errors that a user may see end with exit code 3, message and remedy on standard error."""
    try:
        auscult(prog_name="auscult")
    except AuscultError as error:
        place = f"{error.place}: " if error.place else ""
        click.echo(f"Error: {place}{error.message}", err=True)
        if error.remedy:
            click.echo(f"What to do: {error.remedy}", err=True)
        sys.exit(BAD_INPUT)
    except Exception:  # noqa: BLE001 - the last resort, which tells everything it knows
        # Python's own exit code for a crash is 1, which an audit uses for "fails": a crash must not read as a verdict.
        traceback.print_exc()
        sys.exit(CRASHED)
