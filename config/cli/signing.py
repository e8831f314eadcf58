"""Signing from a terminal: whoever signs proves who they are, as on the pages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from core.models import User
    from core.stepup import StepUp


def sign_in_terminal(person: User) -> StepUp:
    """The proof of who signs: by AUSCULT_PASSWORD, else by asking for the password.

    Raises:
        DeniedError: it is not the person's password.
    """
    from core.factors import factors_of
    from core.stepup import confirm_identity

    password = os.environ.get("AUSCULT_PASSWORD")
    if password is None:
        password = click.prompt(f"Password of {person.username}", hide_input=True, err=True)
    code = click.prompt(f"Code of {person.username}", err=True) if factors_of(person) else ""
    return confirm_identity(user=person, password=password, code=code)
