"""``auscult ledger``: check the record of every act."""

from __future__ import annotations

import json
import sys

import click


@click.group()
def ledger() -> None:
    """The record of every act."""


@ledger.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(as_json: bool) -> None:
    """Recompute the ledger from its entries. Exit code 0: intact; 1: changed, with the first changed entry named."""
    from config.cli import open_installation

    open_installation()
    from core.ledger import verify as check

    found = check()
    if as_json:
        click.echo(json.dumps({"entries": found.entries, "root": found.head.root, "problem": found.problem}))
    else:
        click.echo(f"{found.entries} entries, root {found.head.root}")
        click.echo(found.problem or "The ledger is intact.")
    sys.exit(0 if found.intact else 1)
