"""``auscult token``: what programs use to act for a person."""

from __future__ import annotations

import click


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
def create(username: str, scopes: tuple[str, ...], days: int, name: str) -> None:
    """Make a token and print its secret on standard output; everything else goes to standard error."""
    from config.cli import acting_user, open_installation

    open_installation()
    from core.tokens import issue_token

    made, secret = issue_token(user=acting_user(username), name=name, scopes=scopes, days=days, by=None)
    click.echo(f"Token {made.pk} of {username} until {made.expires_at:%d %b %Y}: keep it now.", err=True)
    click.echo(secret)


@token.command("list")
def list_tokens() -> None:
    """Every token, the newest first; never a secret."""
    from config.cli import open_installation

    open_installation()
    from django.utils import timezone

    from core.models import ApiToken

    for row in ApiToken.objects.select_related("user"):
        state = "revoked" if row.revoked_at else "expired" if row.expires_at <= timezone.now() else "holds"
        used = f"{row.used_at:%Y-%m-%d}" if row.used_at else "never"
        scopes = ",".join(row.scopes)
        click.echo(
            f"{row.pk}\t{row.user.username}\t{row.name}\t{scopes}\t{state}\t{row.expires_at:%Y-%m-%d}\tused {used}"
        )


@token.command()
@click.argument("number", type=int)
def revoke(number: int) -> None:
    """End a token at once."""
    from config.cli import open_installation

    open_installation()
    from core.tokens import revoke_token, token_by_id

    revoke_token(token=token_by_id(number), by=None)
    click.echo(f"Token {number} is revoked.")
