"""``auscult audit`` and ``auscult protocol``: judge a prediction file with no server and no database."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.errors import AuscultError, ProtocolError

if TYPE_CHECKING:
    from rich.console import Console

    from evaluation.engine import AuditResult, Protocol, Verdict

EXIT = {"pass": 0, "fail": 1, "insufficient": 2}
BAD_INPUT = 3
SHOWN = {"pass": ("✔ Pass", "green"), "fail": ("✖ Fail", "bold red"), "insufficient": ("? Insufficient", "yellow")}
HEADLINES = {
    "pass": "Pass: every primary criterion holds.",
    "fail": "Fail: a primary criterion does not hold.",
    "insufficient": "Insufficient evidence: a primary criterion can neither be shown to hold nor to fail.",
}


class BadUsage(click.UsageError):
    """Wrong options."""

    exit_code = BAD_INPUT


class BadInputCommand(click.Command):
    """Ends with 3 for bad input, wrong options included: click's own 2 would read as "insufficient evidence"."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise BadUsage(error.format_message(), ctx=error.ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AuscultError as error:
            click.echo(f"Error: {error.place}: {error.message}" if error.place else f"Error: {error.message}", err=True)
            if error.remedy:
                click.echo(f"What to do: {error.remedy}", err=True)
            ctx.exit(BAD_INPUT)


@click.command(cls=BadInputCommand)
@click.option("--predictions", required=True, type=click.Path(path_type=Path), help="Prediction file: Parquet or CSV.")
@click.option("--protocol", "given", required=True, help="Protocol file (YAML), or the name of one that is bundled.")
@click.option("--suite", "suites", multiple=True, help="Run only this suite of the protocol. May be given again.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the result as JSON to this file as well.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def audit(predictions: Path, given: str, suites: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Judge a prediction file by a protocol.

    Exit status: 0 pass, 1 fail, 2 insufficient evidence, 3 bad input.
    """
    from evaluation.engine import run_audit

    result = run_audit(protocol=read_protocol(given), predictions=predictions, suites=suites or None)
    text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    if out is not None:
        write_file(out, text + "\n", force=True)
    _print(text if as_json else shown(result))
    sys.exit(EXIT[result.assessment.outcome.value])


def _print(text: str) -> None:
    """Print all of it. A reader who stops early, such as ``head``, does not change the exit status."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group()
def protocol() -> None:
    """Write, check and list audit protocols."""


@protocol.command(cls=BadInputCommand)
@click.option("--predictions", required=True, type=click.Path(path_type=Path), help="Prediction file to write it for.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; standard output unless given.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def init(predictions: Path, out: Path | None, force: bool) -> None:
    """Write a protocol that fits a prediction file, with comments, to be edited."""
    from evaluation.engine.drafting import draft_protocol

    text = draft_protocol(predictions)
    if out is None:
        click.echo(text, nl=False)
        return
    write_file(out, text, force=force)
    click.echo(f"Wrote {out}. Read it, set margins and thresholds, then: auscult protocol check {out}")


@protocol.command(cls=BadInputCommand)
@click.argument("given", metavar="FILE")
def check(given: str) -> None:
    """Check a protocol and print its digest."""
    read = read_protocol(given)
    click.echo(f"{read.name}: valid, {len(read.labels)} labels, {len(read.criteria)} criteria.")
    click.echo(f"Digest {read.digest}")


@protocol.command(name="list")
def list_protocols() -> None:
    """List the protocols that come with Auscult."""
    from evaluation.engine import bundled_names, load_protocol

    for name in bundled_names():
        click.echo(f"{name}  {load_protocol(name).title}")


@protocol.command(cls=BadInputCommand)
@click.argument("name")
def show(name: str) -> None:
    """Print a bundled protocol, comments included."""
    from evaluation.engine.protocol import bundled_source

    click.echo(bundled_source(name), nl=False)


def read_protocol(given: str) -> Protocol:
    """The protocol in a file, or the bundled one of that name.

    Raises:
        ProtocolError: when there is neither, or it is not valid.
    """
    from evaluation.engine import Protocol, bundled_names, load_protocol

    path = Path(given)
    if not path.exists():
        if given in bundled_names():
            return load_protocol(given)
        raise ProtocolError(
            f"There is no protocol file '{given}', and no bundled protocol of that name.",
            remedy=f"Give a YAML file, or one of: {', '.join(bundled_names())}.",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProtocolError(
            f"The protocol cannot be read ({error.__class__.__name__}).",
            remedy="Give a YAML file in UTF-8 that you may read.",
            file=path.name,
        ) from error
    return Protocol.from_yaml(text, source=path.name)


def write_file(path: Path, text: str, *, force: bool) -> None:
    """Write a text file; an existing one only with ``force``.

    Raises:
        AuscultError: when it exists, or cannot be written.
    """
    if path.exists() and not force:
        raise AuscultError(
            f"The file {path} exists.", remedy="Choose another name, or add --force to replace it.", file=path.name
        )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AuscultError(
            f"{path} cannot be written: {error.strerror}.", remedy="Choose a folder that exists and is yours."
        ) from error


def shown(result: AuditResult) -> str:
    """Outcome, statements, table and notes, in that order."""
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    with console.capture() as captured:
        _show_result(console, result)
    return captured.get().rstrip("\n")


def _show_result(console: Console, result: AuditResult) -> None:
    found, cohort = result.assessment, result.cohort
    console.print(HEADLINES[found.outcome.value], style=SHOWN[found.outcome.value][1], markup=False)
    console.print(
        f"{cohort['file']}: {cohort['n_studies']:,} studies of {cohort['n_patients']:,} patients. "
        f"Protocol {result.protocol.name}, digest {result.protocol.digest[:12]}.",
        markup=False,
    )
    for title, outcome in (("What fails", "fail"), ("What is not settled", "insufficient")):
        _show_statements(console, title, [item for item in found.verdicts if item.outcome.value == outcome])
    console.print(_verdict_table(found.verdicts))
    for note in found.notes:
        console.print(f"Note: {note}", markup=False)
    for warning in cohort["warnings"]:
        console.print(f"Note: {warning['column'] or 'file'}: {warning['message']}", markup=False)
    for cross in found.cross_checks:
        console.print(
            f"Point values agree with {cross['name']} {cross['version']} in {cross['cells']} cells.", markup=False
        )


def _show_statements(console: Console, title: str, verdicts: list[Verdict]) -> None:
    if verdicts:
        console.print(f"\n{title}", style="bold", markup=False)
    for item in verdicts:
        console.print(f"  {item.criterion}: {item.statement}", markup=False, soft_wrap=False)
        if item.needed:
            console.print(f"    Needs {item.needed}.", markup=False, style="dim")


def _verdict_table(verdicts: tuple[Verdict, ...]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    from evaluation.engine.suites.fairness.wording import number

    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for name in ("Verdict", "Criterion", "Label", "Groups", "Value (interval)", "Margin", "Studies", "Patients"):
        right, whole = name in {"Margin", "Studies", "Patients"}, name in {"Verdict", "Value (interval)"}
        table.add_column(name, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    for item in verdicts:
        words, style = SHOWN[item.outcome.value]
        bound = "≥" if item.direction == "at_least" else "≤"
        table.add_row(
            f"[{style}]{words}[/]",
            escape(item.criterion + ("" if item.primary else " (exploratory)")),
            escape(item.label),
            escape(" vs ".join(item.groups)),
            _interval(item),
            f"{bound} {number(item.margin)}",
            "-" if item.n is None else f"{item.n:,}",
            "-" if item.patients is None else f"{item.patients:,}",
        )
    return table


def _interval(item: Verdict) -> str:
    from evaluation.engine.suites.fairness.wording import number

    if item.value is None or item.low is None or item.high is None:
        return "-"
    return f"{number(item.value)} ({number(item.low)} to {number(item.high)})"
