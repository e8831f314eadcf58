"""``auscult reproduce``: run a judged audit again and compare every number."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config.cli.files import BadInputCommand
from config.cli.telling import json_option
from core.errors import AuscultError

if TYPE_CHECKING:
    from evaluation.execution.reproduction import Reproduction

SHOWN = 20


@click.command(cls=BadInputCommand)
@click.argument("audit", metavar="RUN|BUNDLE.zip")
@click.option(
    "--tolerance", type=click.FloatRange(min=0), default=None,
    help="Largest difference of a value or an interval that still counts as the same; default: the protocol's.",
)  # fmt: skip
@click.option(
    "--trust", multiple=True, metavar="KEY.pem|FINGERPRINT",
    help="For a bundle: a public key that you trust, or its fingerprint, as for auscult verify.",
)  # fmt: skip
@json_option
def reproduce(audit: str, tolerance: float | None, trust: tuple[str, ...], as_json: bool) -> None:
    """Run an audit again, model and all, and say which measurements are equal.

    RUN is the number of an audit of this installation. A BUNDLE is verified first; then its audit is run on the model
    and the cohort with its digests, which must be in this installation, and compared with its evidence.

    Exit status: 0 reproduced, 1 a verdict changed, a measurement differs or the bundle does not verify, 3 bad input.
    """
    evidence = None if audit.isdecimal() else _evidence_of(Path(audit), trust, as_json=as_json)
    from config.cli import open_installation

    open_installation()
    from evaluation.execution.devices import repeatable
    from evaluation.execution.reproduction import reproduce as repeat
    from evaluation.execution.reproduction import reproduce_evidence

    def told(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done:,} of {total:,} studies", err=True, nl=done >= total)

    with repeatable():
        if evidence is None:
            found = repeat(int(audit), tolerance=tolerance, progress=told)
        else:
            found = reproduce_evidence(evidence, tolerance=tolerance, progress=told)
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else _shown(found))
    sys.exit(0 if found.reproduced else 1)


def _evidence_of(path: Path, trust: tuple[str, ...], *, as_json: bool) -> dict[str, Any]:
    """The evidence in a bundle that verifies; the command ends here when it does not."""
    from governance.bundle.verify import UnreadableError, render, trusted_fingerprint, verified_evidence

    try:
        result, evidence = verified_evidence(path, trust=[trusted_fingerprint(item) for item in trust])
    except UnreadableError as error:
        raise AuscultError(str(error), remedy="Give the number of an audit, or a bundle.") from error
    if evidence is None:
        click.echo(json.dumps(result.to_dict(), indent=2) if as_json else render(result))
        sys.exit(1)
    if not as_json:
        click.echo(f"{path}: {result.summary}")
        click.echo(f"Key fingerprint (SHA-256): {result.key_id}" + ("" if trust else " (not compared: see --trust)"))
    return evidence


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
