"""``auscult protocol``: write, check, complete and list the rules of audits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.cli.files import BadInputCommand, check_target, protocol_text, read_mapping, read_protocol, write_file

if TYPE_CHECKING:
    from evaluation.engine.thresholds import OperatingPoint


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


@protocol.command(cls=BadInputCommand)
@click.option(
    "--predictions", required=True, type=click.Path(path_type=Path), help="Tuning file: references and scores."
)
@click.option("--protocol", "given", required=True, help="Protocol to complete: a file, or the name of a bundled one.")
@click.option("--rule", required=True, help="sensitivity=0.90, specificity=0.90, youden or net-benefit=0.10.")
@click.option("--label", "labels", multiple=True, help="Tune only this label. May be given again.")
@click.option("--mapping", "mapping_file", type=click.Path(path_type=Path), help="What the file's columns mean (YAML).")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; standard output unless given.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def thresholds(
    predictions: Path,
    given: str,
    rule: str,
    labels: tuple[str, ...],
    mapping_file: Path | None,
    out: Path | None,
    force: bool,
) -> None:
    """Choose thresholds on data that are not audited, and write the protocol with them and their source.

    Where the protocol declares splits, only its tuning splits are read. Comments of the protocol are kept.
    """
    from evaluation.engine.thresholds import Rule, tune_thresholds

    if out is not None:
        check_target(out, not_one_of=[predictions, *([] if force else [Path(given)])])
    tuned = tune_thresholds(
        protocol_text(given),
        source=Path(given).name,
        predictions=predictions,
        rule=Rule.parse(rule),
        labels=labels,
        mapping=read_mapping(mapping_file),
    )
    for name, point in tuned.points.items():
        click.echo(f"{name}: {_point(point)}", err=True)
    if not tuned.comments_kept:
        click.echo("The comments of the protocol could not be kept: its canonical form is written.", err=True)
    if out is None:
        click.echo(tuned.text, nl=False)
        return
    write_file(out, tuned.text, force=force)
    click.echo(f"Wrote {out}. Read it, then lock it before the audit: digest {tuned.protocol.digest[:12]}.")


def _point(point: OperatingPoint) -> str:
    rates = [
        f"{word} {'undefined' if rate is None else f'{rate:.3f}'}"
        for word, rate in (("sensitivity", point.sensitivity), ("specificity", point.specificity))
    ]
    return (
        f"threshold {point.value:g}: {', '.join(rates)}, on {point.n:,} studies, {point.positives:,} with the finding."
    )
