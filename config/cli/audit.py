"""``auscult audit``: judge a prediction file with no server and no database."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config.cli.files import (
    BadInputCommand,
    BadInputGroup,
    BadUsage,
    check_target,
    read_mapping,
    read_protocol,
    write_file,
)
from config.cli.telling import json_option, tell

if TYPE_CHECKING:
    from rich.console import Console

    from evaluation.engine import AuditResult, Verdict
    from evaluation.engine.records import Advice

EXIT = {"pass": 0, "fail": 1, "insufficient": 2}
SHOWN = {"pass": ("✔ Pass", "green"), "fail": ("✖ Fail", "bold red"), "insufficient": ("? Insufficient", "yellow")}
HEADLINES = {
    "pass": "Pass: every primary criterion holds.",
    "fail": "Fail: a primary criterion does not hold.",
    "insufficient": "Insufficient evidence: a primary criterion can neither be shown to hold nor to fail.",
}


@click.group(cls=BadInputGroup, invoke_without_command=True)
@click.option("--predictions", type=click.Path(path_type=Path), help="Prediction file: Parquet or CSV.  [required]")
@click.option("--protocol", "given", help="Protocol file (YAML), or the name of one that is bundled.  [required]")
@click.option("--suite", "suites", multiple=True, help="Run only this suite of the protocol. May be given again.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the result as JSON to this file as well.")
@click.option(
    "--tuning", type=click.Path(path_type=Path), help="File the thresholds were tuned on: no patient in both."
)
@click.option("--mapping", "mapping_file", type=click.Path(path_type=Path), help="What the files' columns mean (YAML).")
@json_option
@click.pass_context
def audit(
    ctx: click.Context,
    predictions: Path | None,
    given: str | None,
    suites: tuple[str, ...],
    out: Path | None,
    tuning: Path | None,
    mapping_file: Path | None,
    as_json: bool,
) -> None:
    """Judge a prediction file by a protocol.

    Exit status: 0 pass, 1 fail, 2 insufficient evidence, 3 bad input.
    """
    from evaluation.engine import run_audit

    if ctx.invoked_subcommand is not None:
        return
    if predictions is None or given is None:
        raise BadUsage(f"Missing option '{'--predictions' if predictions is None else '--protocol'}'.", ctx=ctx)
    if out is not None:
        check_target(out, not_one_of=[predictions, Path(given), *filter(None, (tuning, mapping_file))])
    result = run_audit(
        protocol=read_protocol(given),
        predictions=predictions,
        suites=suites or None,
        tuning=tuning,
        mapping=read_mapping(mapping_file),
    )
    text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    if out is not None:
        write_file(out, text + "\n", force=True)
    _print(text if as_json else shown(result))
    sys.exit(EXIT[result.assessment.outcome.value])


@audit.command(cls=BadInputCommand)
@click.argument("cohort", type=click.Path(path_type=Path))
@click.option("--protocol", "given", required=True, help="Protocol file (YAML), or the name of one that is bundled.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File to write: .csv or .parquet.")
@click.option("--mapping", "mapping_file", type=click.Path(path_type=Path), help="What the file's columns mean (YAML).")
@json_option
def questions(cohort: Path, given: str, out: Path, mapping_file: Path | None, as_json: bool) -> None:
    """Write the questions of an audit, for a model that runs elsewhere.

    Fill in the columns text and truncated, name the file answers.csv or answers.parquet, and register it in a folder
    with the adapter 'recorded', beside the predictions if there are any.
    """
    from evaluation.engine.questions import write_questions

    check_target(out, not_one_of=[cohort, Path(given), *filter(None, (mapping_file,))])
    found = write_questions(read_protocol(given), cohort, out, mapping=read_mapping(mapping_file))
    tell(
        {"file": str(out), "questions": found.rows, "studies": found.studies, "why_not": dict(found.why_not)},
        f"{found.rows:,} questions about {found.studies:,} studies: {out}",
        *(f"Note: {name} is not asked: {why}" for name, why in found.why_not.items()),
        as_json=as_json,
    )


def _print(text: str) -> None:
    """Print all of it. A reader who stops early, such as ``head``, does not change the exit status."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    _show_advice(console, found.advice)
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


def _show_advice(console: Console, advice: Sequence[Advice]) -> None:
    """The gap before and after each method, its costs, and the cautions, each once."""
    if advice:
        console.print(
            "\nWhat could be done, measured on patients that it was not fitted on", style="bold", markup=False
        )
    for (criterion, label), items in groupby(advice, key=lambda item: (item.criterion, item.label)):
        console.print(f"  {criterion}, {label}", markup=False)
        for item in items:
            told = f"{item.title}: {_effect(item)}" if item.after is not None else f"{item.title}: {item.reason}."
            console.print(f"    {told}", markup=False)
    cautions = [item.caution for item in advice if item.after is not None]
    if cautions:  # each says the same, and the longest of them all that is to be said
        console.print(f"  {max(cautions, key=len)}", markup=False, style="dim")
    if advice:
        console.print()


def _effect(item: Advice) -> str:
    from evaluation.engine.words import number

    words = {"tpr": "sensitivity", "fpr": "false positive rate", "selection_rate": "share predicted positive"}
    pairs = [("gap", (item.before, item.after)), *((words.get(rate, rate), pair) for rate, pair in item.costs.items())]
    moved = [
        f"{name} {number(old)} to {number(new)}" for name, (old, new) in pairs if old is not None and new is not None
    ]
    return f"{', '.join(moved)}. {item.n_held_out:,} studies."


def _verdict_table(verdicts: tuple[Verdict, ...]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for name in ("Verdict", "Criterion", "Label", "Groups", "Value (interval)", "Accepted", "n", "Patients"):
        right, whole = name in {"Accepted", "n", "Patients"}, name in {"Verdict", "Value (interval)"}
        table.add_column(name, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    for item in verdicts:
        words, style = SHOWN[item.outcome.value]
        table.add_row(
            f"[{style}]{words}[/]",
            escape(item.criterion + ("" if item.primary else " (exploratory)")),
            escape(item.label),
            escape(" vs ".join(item.groups)),
            _interval(item),
            _accepted(item),
            "-" if item.n is None else f"{item.n:,}",
            "-" if item.patients is None else f"{item.patients:,}",
        )
    return table


def _accepted(item: Verdict) -> str:
    """What the criterion accepts: ``±.10`` for a difference, ``≥ .80``, ``.80 to 1.25``."""
    from evaluation.engine.registry import MetricKind, known_metrics
    from evaluation.engine.words import number

    info = known_metrics()[item.metric]
    ends = [number(end) for end in info.accepted(item.direction, item.margin) if end is not None]
    if info.kind is MetricKind.GAP:
        return f"±{number(item.margin)}"
    return " to ".join(ends) if len(ends) == 2 else f"{'≥' if item.direction == 'at_least' else '≤'} {ends[0]}"


def _interval(item: Verdict) -> str:
    from evaluation.engine.words import number

    if item.value is None or item.low is None or item.high is None:
        return "-"
    return f"{number(item.value)} ({number(item.low)} to {number(item.high)})"
