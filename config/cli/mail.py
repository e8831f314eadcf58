"""``auscult mail``: whether e-mail leaves the house, and where it goes."""

from __future__ import annotations

import click

from config.cli.telling import json_option, tell


@click.group()
def mail() -> None:
    """E-mail: try it, and set where a person's goes."""


@mail.command()
@click.option("--to", "address", required=True, help="Address that the test mail goes to.")
@json_option
def test(address: str, as_json: bool) -> None:
    """Send a test mail now, and say what the mail server answered."""
    from config.cli import open_installation
    from core.errors import EnvironmentProblemError

    open_installation()
    from django.conf import settings

    from core import letters
    from core.mail import NOT_SET_UP, mail_is_on

    if not mail_is_on():
        raise EnvironmentProblemError(
            f"{NOT_SET_UP} People are told in the app only.",
            remedy="Set AUSCULT_EMAIL_URL and AUSCULT_EMAIL_FROM for the web server and the workers.",
        )
    letters.hand_over(letters.trial_letter(address))
    folder, base = settings.EMAIL_FILE_PATH, settings.AUSCULT_BASE_URL
    lines = [
        f"Written to the folder {folder}: this installation sends nothing to a server."
        if folder
        else f"Handed over for {address}. See whether it arrives."
    ]
    if not base:
        lines.append("AUSCULT_BASE_URL is not set, so mails say where to look instead of linking there.")
    body = {"to": address, "sent": not folder, "folder": str(folder) if folder else None, "base_url": base or None}
    tell(body, *lines, as_json=as_json)


@mail.command()
@click.argument("name")
@click.argument("address")
@click.option("--by", "username", required=True, help="Your user name; administrators may.")
@json_option
def address(name: str, address: str, username: str, as_json: bool) -> None:
    """Set the ADDRESS that the mails of the person NAME go to."""
    from config.cli import acting_user, open_installation

    open_installation()
    from core.preferences import set_address

    set_address(person=acting_user(name), address=address, by=acting_user(username))
    tell({"user": name, "address": address}, f"Mails to {name} go to {address}.", as_json=as_json)
