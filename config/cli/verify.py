"""``auscult verify``: check a signed bundle or a signed report, offline."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from config.cli.telling import json_option


@click.command()
@click.argument("file", metavar="BUNDLE|REPORT.pdf", type=click.Path(path_type=Path))
@click.option(
    "--trust",
    multiple=True,
    metavar="KEY.pem|FINGERPRINT",
    help="A public key that you trust (for a PDF: a certificate), or its SHA-256 fingerprint. May be given several "
    "times.",
)
@click.option(
    "--trust-tsa",
    multiple=True,
    metavar="FINGERPRINT",
    help="SHA-256 fingerprint of the certificate of a time-stamping authority that you trust: the bundle must have a "
    "time-stamp by one of those given.",
)
@json_option
def verify(file: Path, trust: tuple[str, ...], trust_tsa: tuple[str, ...], as_json: bool) -> None:
    """Check every byte, signature, proof and vote of a BUNDLE, or the signature of a REPORT.pdf.

    Needs no server, no database and no network. Exit status: 0 verified, 1 something does not match (it is named),
    3 the file cannot be read.
    """
    from governance.signing.command import is_pdf

    if is_pdf(file):
        from governance.signing.command import run as verify_pdf

        text, status = verify_pdf(file, trust=trust, as_json=as_json)
    else:
        from governance.bundle.verify import run

        text, status = run(file, trust=trust, trust_tsa=trust_tsa, as_json=as_json)
    click.echo(text)
    sys.exit(status)
