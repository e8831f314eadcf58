"""``auscult protocol``: write, check, complete and list the rules of audits."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.cli.files import BadInputCommand, check_target, protocol_text, read_mapping, read_protocol, write_file
from config.cli.telling import json_option, tell

if TYPE_CHECKING:
    from evaluation.engine.thresholds import OperatingPoint


@click.group()
def protocol() -> None:
    """Write, check and list audit protocols."""


@protocol.command(cls=BadInputCommand)
@click.option("--predictions", required=True, type=click.Path(path_type=Path), help="Prediction file to write it for.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; standard output unless given.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
def init(predictions: Path, out: Path | None, force: bool, as_json: bool) -> None:
    """Write a protocol that fits a prediction file, with comments, to be edited."""
    from evaluation.engine.drafting import draft_protocol

    text = draft_protocol(predictions)
    if out is None:
        tell({"file": None, "source": text}, text.rstrip("\n"), as_json=as_json)
        return
    write_file(out, text, force=force)
    line = f"Wrote {out}. Read it, set margins and thresholds, then: auscult protocol check {out}"
    tell({"file": str(out), "source": text}, line, as_json=as_json)


@protocol.command(cls=BadInputCommand)
@click.argument("given", metavar="FILE")
@json_option
def check(given: str, as_json: bool) -> None:
    """Check a protocol and print its digest."""
    read = read_protocol(given)
    labels, criteria = len(read.labels), len(read.criteria)
    tell(
        {"name": read.name, "valid": True, "labels": labels, "criteria": criteria, "digest": read.digest},
        f"{read.name}: valid, {labels} labels, {criteria} criteria.",
        f"Digest {read.digest}",
        as_json=as_json,
    )


@protocol.command(name="list", cls=BadInputCommand)
@json_option
def list_protocols(as_json: bool) -> None:
    """List the protocols that come with Auscult."""
    from evaluation.engine import bundled_names, load_protocol

    found = [(name, load_protocol(name)) for name in bundled_names()]
    body = [{"name": name, "title": read.title, "digest": read.digest} for name, read in found]
    tell(body, *(f"{name}  {read.title}" for name, read in found), as_json=as_json)


@protocol.command(cls=BadInputCommand)
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Print a bundled protocol, comments included."""
    from evaluation.engine import load_protocol
    from evaluation.engine.protocol import bundled_source

    source = bundled_source(name)
    tell({"name": name, "digest": load_protocol(name).digest, "source": source}, source.rstrip("\n"), as_json=as_json)


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
@json_option
def thresholds(
    predictions: Path,
    given: str,
    rule: str,
    labels: tuple[str, ...],
    mapping_file: Path | None,
    out: Path | None,
    force: bool,
    as_json: bool,
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
    body = {
        "file": str(out) if out else None,
        "digest": tuned.protocol.digest,
        "comments_kept": tuned.comments_kept,
        "thresholds": {name: asdict(point) for name, point in tuned.points.items()},
        "source": tuned.text,
    }
    if out is None:
        tell(body, tuned.text.rstrip("\n"), as_json=as_json)
        return
    write_file(out, tuned.text, force=force)
    line = f"Wrote {out}. Read it, then lock it before the audit: digest {tuned.protocol.digest[:12]}."
    tell(body, line, as_json=as_json)


def _point(point: OperatingPoint) -> str:
    rates = [
        f"{word} {'undefined' if rate is None else f'{rate:.3f}'}"
        for word, rate in (("sensitivity", point.sensitivity), ("specificity", point.specificity))
    ]
    return (
        f"threshold {point.value:g}: {', '.join(rates)}, on {point.n:,} studies, {point.positives:,} with the finding."
    )
