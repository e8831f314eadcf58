"""``auscult generator``: train generators of linked patients, and order patients from them, from a terminal."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config.cli.files import BadInputCommand
from config.cli.telling import json_option

if TYPE_CHECKING:
    from models_registry.models import CohortVersion
    from synthetic.models import Generation, GeneratorTraining

    Job = GeneratorTraining | Generation

FAILED = 1
LEAST_DIGEST = 8
WAIT_SECONDS = 2.0
OVER = ("done", "failed", "cancelled")

by_option = click.option(
    "--by", "username", required=True, envvar="AUSCULT_USER", help="User on whose behalf it is done: an ML engineer."
)
wait_option = click.option("--wait", is_flag=True, help="Show the progress, and end when it has ended: 1 if it failed.")


@click.group()
def generator() -> None:
    """Generators of linked synthetic patients, and the patients that they make.

    Whatever is made lies in quarantine until it was audited and the data protection officer released it.
    """


@generator.command("list", cls=BadInputCommand)
@json_option
def list_all(as_json: bool) -> None:
    """Trainings and orders of patients, newest first."""
    _open()
    from synthetic.models import Generation, GeneratorTraining

    trainings = GeneratorTraining.objects.select_related("system", "cohort__cohort", "result__system")
    orders = Generation.objects.filter(version__isnull=False).select_related("version__system", "result__cohort")
    found = {
        "trainings": [_told(row) for row in trainings.defer("curves", "facts", "cohort__summary").order_by("-pk")],
        "orders": [_told(row) for row in orders.order_by("-pk")],
    }
    if as_json:
        click.echo(json.dumps(found))
        return
    for row in (*found["trainings"], *found["orders"]):
        click.echo(_line(row))
    if not any(found.values()):
        click.echo("No generator was trained yet. Begin with: auscult generator train COHORT --as SYSTEM/LABEL.")


@generator.command(cls=BadInputCommand)
@click.argument("cohort")
@click.option("--as", "name", required=True, metavar="SYSTEM/LABEL", help="What it is registered as.")
@click.option(
    "--settings", "file", type=click.Path(path_type=Path, dir_okay=False), help="JSON; as docs/synthetic.md tells."
)
@click.option("--effort", type=click.FloatRange(min=0.01, max=4), help="1 is full; .05 is a try of minutes.")
@click.option("--image-size", type=int, help="Edge of the images in pixels, such as 64.")
@click.option("--seed", type=click.IntRange(min=0), help="Equal seeds give equal generators; else 1.")
@by_option
@wait_option
@json_option
def train(cohort: str, name: str, file: Path | None, username: str, wait: bool, as_json: bool, **given: Any) -> None:
    """Learn from COHORT: its short name, for the newest version, or the beginning of a version's digest."""
    from config.cli import acting_user

    settings = {"seed": 1} | _settings(file) | {key: value for key, value in given.items() if value is not None}
    _open()
    from core.errors import NotFoundError
    from models_registry.models import AISystem
    from synthetic.services.generators import request_generator

    slug, slash, label = name.partition("/")
    system = AISystem.objects.filter(slug=slug).first()
    if system is None or not slash:
        raise NotFoundError(
            f"'{name}' names no system and label." if not slash else f"There is no system '{slug}'.",
            remedy="Register the generator as an AI system, and write, for example, --as ward-patients/1.0.",
        )
    job = request_generator(
        system=system, version_label=label, cohort=_cohort(cohort), settings=settings, by=acting_user(username)
    )
    _tell(job, wait=wait, as_json=as_json)


@generator.command(cls=BadInputCommand)
@click.argument("version", metavar="SYSTEM/LABEL")
@click.option("--patients", type=click.IntRange(min=1), required=True)
@click.option("--name", "cohort_name", required=True, help="Of the cohort that is made.")
@click.option("--where", "attributes", multiple=True, metavar="COLUMN=VALUE", help="Such as sex=F. May be repeated.")
@click.option("--least", multiple=True, metavar="COLUMN=NUMBER", help="Such as age=80. May be repeated.")
@click.option("--most", multiple=True, metavar="COLUMN=NUMBER", help="Such as age=90. May be repeated.")
@click.option(
    "--finding", "findings", multiple=True, metavar="FINDING=WORDS",
    help="Such as pneumothorax=present, or 'effusion=left small'. May be repeated.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@by_option
@wait_option
@json_option
def make(
    version: str, patients: int, cohort_name: str, seed: int, username: str, wait: bool, as_json: bool, **wished: Any
) -> None:
    """Order patients, such as 500 women over 80 with a pneumothorax, from a trained generator."""
    from config.cli import acting_user

    wish = {"patients": patients} | {name: _pairs(name, lines) for name, lines in wished.items()}
    _open()
    from config.cli.gate import find_version
    from synthetic.services.generators import request_patients

    job = request_patients(
        version=find_version(version), cohort_name=cohort_name, wish=wish, seed=seed, by=acting_user(username)
    )
    _tell(job, wait=wait, as_json=as_json)


@generator.command(cls=BadInputCommand)
@click.argument("kind", type=click.Choice(["training", "order"]))
@click.argument("number", type=int)
@wait_option
@json_option
def show(kind: str, number: int, wait: bool, as_json: bool) -> None:
    """How far a training or an order is, by its number."""
    _open()
    _tell(_job(kind, number), wait=wait, as_json=as_json)


@generator.command(cls=BadInputCommand)
@click.argument("kind", type=click.Choice(["training", "order"]))
@click.argument("number", type=int)
@by_option
@json_option
def cancel(kind: str, number: int, username: str, as_json: bool) -> None:
    """Stop a training, which can be resumed, or an order, of which nothing is kept."""
    from config.cli import acting_user

    _open()
    from synthetic.models import Generation
    from synthetic.services.generators import cancel_generator, cancel_patients

    job, person = _job(kind, number), acting_user(username)
    stopped = (
        cancel_patients(job=job, by=person) if isinstance(job, Generation) else cancel_generator(job=job, by=person)
    )
    _tell(stopped, wait=False, as_json=as_json)


@generator.command(cls=BadInputCommand)
@click.argument("number", type=int)
@by_option
@wait_option
@json_option
def resume(number: int, username: str, wait: bool, as_json: bool) -> None:
    """Go on with a training that was cancelled or failed. What it had finished is not learnt again."""
    from config.cli import acting_user

    _open()
    from synthetic.selectors import training_by_id
    from synthetic.services.generators import resume_generator

    job = resume_generator(job=training_by_id(number), by=acting_user(username))
    _tell(job, wait=wait, as_json=as_json)


def _open() -> None:
    from config.cli import open_installation

    open_installation()


def _settings(file: Path | None) -> dict[str, Any]:
    from core.errors import AuscultError

    if file is None:
        return {}
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise AuscultError(
            f"The settings cannot be read: {why}.", remedy='Give JSON, such as {"effort": 0.5}.', file=file.name
        ) from error
    if not isinstance(body, dict):
        raise AuscultError(
            "The settings are no object.", remedy='Give JSON, such as {"effort": 0.5}.', file=file.name
        )  # fmt: skip
    return body


def _pairs(option: str, lines: tuple[str, ...]) -> dict[str, Any]:
    """``COLUMN=VALUE`` lines; numbers as numbers.

    Raises:
        AuscultError: a line has no equals sign, or a column is named twice.
    """
    from core.errors import AuscultError

    found: dict[str, Any] = {}
    for line in lines:
        name, equals, value = (part.strip() for part in line.partition("="))
        if not (name and equals and value) or name in found:
            flag = {"attributes": "where", "findings": "finding"}.get(option, option)
            raise AuscultError(
                f"--{flag} '{line}' names its column a second time." if name in found else
                f"--{flag} '{line}' is no pair.", remedy="Write NAME=VALUE, each name once.",
            )  # fmt: skip
        found[name] = value if option == "findings" else _number(value)
    return found


def _number(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _cohort(given: str) -> CohortVersion:
    from core.errors import NotFoundError
    from models_registry.models import CohortVersion

    rows = CohortVersion.objects.select_related("cohort").order_by("-registered_at", "-pk")
    found = rows.filter(cohort__slug=given).first()
    if found is None and len(given) >= LEAST_DIGEST:
        several = list(rows.filter(digest__startswith=given.lower())[:2])
        found = several[0] if len(several) == 1 else None
    if found is None:
        raise NotFoundError(
            f"There is no cohort '{given}'.",
            remedy=f"Give its short name, as in the address of its page, or {LEAST_DIGEST} characters of a digest.",
        )
    return found


def _job(kind: str, number: int) -> Job:
    from synthetic.selectors import order_by_id, training_by_id

    return training_by_id(number) if kind == "training" else order_by_id(number)


def _told(job: Job) -> dict[str, Any]:
    from synthetic.models import Generation

    told: dict[str, Any] = {
        "number": job.pk, "status": job.status, "progress": round(job.progress, 3), "message": job.message,
        "error": job.error,
    }  # fmt: skip
    if isinstance(job, Generation):
        made = job.result
        body = {"kind": "order", "generator": str(job.version), "cohort": job.cohort_name, "wish": job.settings["wish"]}
        return body | told | {"result": made.digest if made else None, "patients": made.n_patients if made else None}
    made_version = job.result
    body = {"kind": "training", "system": job.system.slug, "label": job.version_label, "cohort": str(job.cohort)}
    return body | told | {"result": made_version.digest if made_version else None}


def _line(row: dict[str, Any]) -> str:
    what = f"{row['system']}/{row['label']}" if row["kind"] == "training" else f"{row['cohort']}, by {row['generator']}"
    share = f"\t{row['progress']:.0%}" if row["status"] in ("queued", "running") else ""
    rest = row["error"] or row["message"] if row["status"] != "done" else row["result"]
    return f"{row['kind'].capitalize()} {row['number']}\t{what}\t{row['status']}{share}\t{rest or ''}".rstrip()


def _tell(job: Job, *, wait: bool, as_json: bool) -> None:
    """A job's state; with ``wait`` its progress on standard error until it is over."""
    if wait:
        _watch(job)
    row = _told(job)
    click.echo(json.dumps(row) if as_json else _line(row))
    if wait and row["status"] != "done":
        sys.exit(FAILED)


def _watch(job: Job) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task(job.get_status_display(), total=1.0)
        while True:
            job.refresh_from_db()
            shown.update(task, completed=job.progress, description=job.message or job.get_status_display())
            if job.status in OVER:
                return
            time.sleep(WAIT_SECONDS)
