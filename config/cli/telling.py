"""What every command has in common when it tells what it found or did: lines for people, JSON for programs."""

from __future__ import annotations

import json
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value instead of lines.")


def tell(body: Any, *lines: str, as_json: bool) -> None:
    """Print one JSON value, or the lines that say the same to people."""
    for line in [json.dumps(body, ensure_ascii=False)] if as_json else lines:
        click.echo(line)
