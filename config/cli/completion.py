"""``auscult completion``: the script that lets a shell finish commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from config.cli.files import BadInputCommand

PLACES = {
    "bash": "~/.local/share/bash-completion/completions/auscult",
    "zsh": "a folder of $fpath, as _auscult",
    "fish": "~/.config/fish/completions/auscult.fish",
}


@click.command(cls=BadInputCommand)
@click.argument("shell", type=click.Choice(sorted(PLACES)))
def completion(shell: str) -> None:
    """Print the script that completes commands and options in a SHELL.

    \b
    Put it where the shell looks:
      auscult completion bash > ~/.local/share/bash-completion/completions/auscult
      auscult completion fish > ~/.config/fish/completions/auscult.fish
      auscult completion zsh  > "${fpath[1]}/_auscult"
    """
    from config.cli import auscult

    kind = get_completion_class(shell)
    assert kind is not None, shell
    click.echo(kind(auscult, {}, "auscult", "_AUSCULT_COMPLETE").source())
