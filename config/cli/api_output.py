"""Showing what a server answered: JSON for programs, a table or lines for people, files to the disk."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from config.cli.api_calls import Answer
from config.cli.files import BadUsage

MOST_COLUMNS = 8
WIDE, MOST_LETTERS = 220, 48
LAST = ("error", "description", "intended_purpose", "summary", "risk_class", "statement", "text", "digest")
"""Long texts, which a table leaves out when there are other columns."""


def show_answer(answer: Answer, *, as_json: bool, out: str | None) -> None:
    """Print an answer, or write it where it was asked for.

    Raises:
        BadUsage: there is a file of that name already.
    """
    if isinstance(answer.body, bytes):
        _write(answer, out)
    elif as_json:
        click.echo(json.dumps(answer.body, ensure_ascii=False, indent=2))
    elif isinstance(answer.body, dict) and isinstance(answer.body.get("items"), list):
        _table(answer.body["items"], more=bool(answer.body.get("next")))
    else:
        _lines(answer.body)


def _write(answer: Answer, out: str | None) -> None:
    place = Path(out or answer.name)
    try:
        with place.open("xb") as stream:
            stream.write(answer.body)
    except FileExistsError as error:
        raise BadUsage(f"{place} is there already. Name another file with --out.") from error
    click.echo(f"Written: {place} ({len(answer.body):,} bytes)", err=True)


def _table(items: list[dict[str, Any]], *, more: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not items:
        click.echo("Nothing.")
        return
    scalar = [name for name, value in items[0].items() if not isinstance(value, dict | list)]
    short = [name for name in scalar if name not in LAST] or scalar
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in short[:MOST_COLUMNS]:
        table.add_column(name, overflow="fold", no_wrap=name == "id")
    for item in items:
        table.add_row(*(_cut(_word(item.get(name))) for name in short[:MOST_COLUMNS]))
    # Where nobody looks, a line of a table stays a line.
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDE).print(table)
    if more:
        click.echo("There are more: add --all.", err=True)


def _lines(body: Any) -> None:
    if not isinstance(body, dict):
        click.echo(json.dumps(body, ensure_ascii=False, indent=2))
        return
    width = max((len(name) for name in body), default=0)
    for name, value in body.items():
        click.echo(f"{name:<{width}}  {_word(value)}")


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"


def _word(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


@contextmanager
def waiting() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Tells how far something is: a bar on a terminal, a line at each change elsewhere. All on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    if not sys.stderr.isatty():
        told: list[str] = []

        def line(body: dict[str, Any]) -> None:
            said = f"{body['status']} {_share(body):.0%}"
            if told[-1:] != [said]:
                told.append(said)
                click.echo(said, err=True)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=1.0)

        def bar(body: dict[str, Any]) -> None:
            progress.update(task, description=str(body["status"]), completed=_share(body))

        yield bar


def _share(body: dict[str, Any]) -> float:
    """How much is done, 0 to 1, however the operation tells it."""
    progress = body.get("progress")
    if isinstance(progress, dict):
        progress = progress.get("share") or 0.0
    return min(1.0, max(0.0, float(progress or 0.0)))
