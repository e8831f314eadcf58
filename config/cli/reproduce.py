"""``auscult reproduce``: run a judged audit again and compare every number."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from config.cli.files import BadInputCommand

if TYPE_CHECKING:
    from evaluation.execution.reproduction import Reproduction

SHOWN = 20


@click.command(cls=BadInputCommand)
@click.argument("run", type=int)
@click.option(
    "--tolerance", type=click.FloatRange(min=0), default=None,
    help="Largest difference of a value or an interval that still counts as the same; default: the protocol's.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def reproduce(run: int, tolerance: float | None, as_json: bool) -> None:
    """Run audit RUN again, model and all, and say which measurements are equal.

    Exit status: 0 reproduced, 1 a verdict changed or a measurement differs, 3 bad input.
    """
    from config.cli import open_installation

    open_installation()
    from evaluation.execution.devices import repeatable
    from evaluation.execution.reproduction import reproduce as repeat

    def told(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done:,} of {total:,} studies", err=True, nl=done >= total)

    with repeatable():
        found = repeat(run, tolerance=tolerance, progress=told)
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else _shown(found))
    sys.exit(0 if found.reproduced else 1)


def _shown(found: Reproduction) -> str:
    from evaluation.execution.reproduction import Sameness

    counts = ", ".join(f"{found.count(item):,} {item.value}" for item in Sameness if found.count(item))
    same = (
        "The result is the same to the last digit." if found.identical else "The result is not the same byte for byte."
    )
    own = "".join(f", {name} {value:g}" for name, value in found.tolerances.items())
    lines = [
        f"Audit {found.run}: {counts}. {same}",
        f"Differences that count as the same: up to {found.tolerance:g}{own}.",
    ]
    lines += [f"Verdict changed: {item}" for item in found.verdicts]
    different = [item for item in found.measurements if item.sameness in {Sameness.DIFFERENT, Sameness.GONE}]
    for item in different[:SHOWN]:
        where = ", ".join(filter(None, (item.metric, item.label, item.attribute, item.group)))
        lines.append(f"{item.sameness.value.capitalize()}: {where}: {item.then}, now {item.now}")
    if len(different) > SHOWN:
        lines.append(f"... and {len(different) - SHOWN} more; --json tells all.")
    lines += [f"Environment changed: {item}" for item in found.environment]
    lines.append("Reproduced." if found.reproduced else "Not reproduced.")
    return "\n".join(lines)
