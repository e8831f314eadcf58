"""``auscult token``: what programs use to act for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from config.cli.telling import json_option, tell

if TYPE_CHECKING:
    from core.models import ApiToken


@click.group()
def token() -> None:
    """Tokens of programs. A secret is shown once, when it is made."""


@token.command()
@click.option("--user", "username", required=True, help="Who it acts for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="What it may be used for, such as read or audit; several times. See docs/api.md.",
)
@click.option("--days", type=int, default=90, show_default=True, help="How long it holds, 365 at most.")
@click.option("--name", required=True, help="What it is for, such as 'PACS at North Hospital'.")
@json_option
def create(username: str, scopes: tuple[str, ...], days: int, name: str, as_json: bool) -> None:
    """Make a token and print its secret on standard output; everything else goes to standard error."""
    from config.cli import acting_user, open_installation

    open_installation()
    from core.tokens import issue_token

    made, secret = issue_token(user=acting_user(username), name=name, scopes=scopes, days=days, by=None)
    click.echo(f"Token {made.pk} of {username} until {made.expires_at:%d %b %Y}: keep it now.", err=True)
    tell(_facts(made) | {"secret": secret}, secret, as_json=as_json)


@token.command("list")
@json_option
def list_tokens(as_json: bool) -> None:
    """Every token, the newest first; never a secret."""
    from config.cli import open_installation

    open_installation()
    from core.models import ApiToken

    found = [_facts(row) for row in ApiToken.objects.select_related("user")]
    tell(found, *map(_line, found), as_json=as_json)


@token.command()
@click.argument("number", type=int)
@json_option
def revoke(number: int, as_json: bool) -> None:
    """End a token at once."""
    from config.cli import open_installation

    open_installation()
    from core.tokens import revoke_token, token_by_id

    revoke_token(token=token_by_id(number), by=None)
    tell(_facts(token_by_id(number)), f"Token {number} is revoked.", as_json=as_json)


def _facts(row: ApiToken) -> dict[str, Any]:
    """A token without its secret."""
    from django.utils import timezone

    return {
        "id": row.pk,
        "user": row.user.username,
        "name": row.name,
        "scopes": row.scopes,
        "state": "revoked" if row.revoked_at else "expired" if row.expires_at <= timezone.now() else "holds",
        "expires_at": row.expires_at.isoformat(),
        "used_at": row.used_at.isoformat() if row.used_at else None,
    }


def _line(item: dict[str, Any]) -> str:
    used, scopes = (item["used_at"] or "never")[:10], ",".join(item["scopes"])
    who = f"{item['id']}\t{item['user']}\t{item['name']}"
    return f"{who}\t{scopes}\t{item['state']}\t{item['expires_at'][:10]}\tused {used}"
