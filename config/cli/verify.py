"""``auscult verify``: check a signed bundle, offline."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--trust",
    multiple=True,
    metavar="KEY.pem|FINGERPRINT",
    help="A public key that you trust, or its SHA-256 fingerprint. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(bundle: Path, trust: tuple[str, ...], as_json: bool) -> None:
    """Check every byte, signature, proof and vote of BUNDLE.

    Needs no server, no database and no network. Exit status: 0 verified, 1 something does not match (the file
    is named), 3 the bundle cannot be read.
    """
    from governance.bundle.verify import run

    text, status = run(bundle, trust=trust, as_json=as_json)
    click.echo(text)
    sys.exit(status)
