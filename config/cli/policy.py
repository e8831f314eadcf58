"""``auscult policy``: check, propose, approve and list what a version must show before it is used."""

from __future__ import annotations

from pathlib import Path

import click

from config.cli.files import BadInputCommand
from config.cli.signing import sign_in_terminal


@click.group()
def policy() -> None:
    """Write, check, propose and approve policies."""


@policy.command(cls=BadInputCommand)
@click.argument("given", metavar="FILE")
def check(given: str) -> None:
    """Check a policy and print its digest. FILE: a YAML file, or the name of a bundled policy."""
    text = policy_text(given)
    prepare()
    from governance.policies.form import Policy

    read = Policy.from_yaml(text, source=Path(given).name)
    n, documents = len(read.audits), len(read.documents)
    click.echo(
        f"{read.name}: valid, {n} audit{'s' * (n != 1)}, {documents} document{'s' * (documents != 1)}, "
        f"for {'all systems' if read.for_all else ', '.join(read.applies_to)}."
    )
    click.echo(f"Digest {read.digest}")


@policy.command(cls=BadInputCommand)
@click.argument("name")
def show(name: str) -> None:
    """Print a bundled policy, comments included."""
    prepare()
    from governance.policies.form import bundled_source

    click.echo(bundled_source(name), nl=False)


@policy.command(cls=BadInputCommand)
@click.argument("given", metavar="FILE")
@click.option("--by", "username", required=True, envvar="AUSCULT_USER", help="User on whose behalf it is proposed.")
def propose(given: str, username: str) -> None:
    """Propose a policy: it becomes the next number of its name, and waits for a committee chair."""
    from config.cli import acting_user, open_installation

    text = policy_text(given)
    open_installation()
    from governance.policies.form import Policy
    from governance.selectors.policies import warnings_of
    from governance.services.policies import propose_policy

    rules = Policy.from_yaml(text, source=Path(given).name)
    made = propose_policy(source=text, by=acting_user(username))
    click.echo(f"Proposed {made}. A committee chair approves it: auscult policy approve {made.name} {made.number}")
    click.echo(f"Digest {made.digest}")
    for warning in warnings_of(rules):
        click.echo(f"Note: {warning}", err=True)


@policy.command(cls=BadInputCommand)
@click.argument("name")
@click.argument("number", type=click.IntRange(min=1))
@click.option("--by", "username", required=True, envvar="AUSCULT_USER", help="Committee chair who approves it.")
def approve(name: str, number: int, username: str) -> None:
    """Put a policy into force. Asks for the password of whoever signs, unless AUSCULT_PASSWORD holds it."""
    from config.cli import acting_user, open_installation

    open_installation()
    from core.access import can
    from core.errors import DeniedError
    from governance.access_policies import check_may_approve_policy
    from governance.selectors.policies import policy_called
    from governance.services.policies import approve_policy

    person, found = acting_user(username), policy_called(name, number=number)
    if not (allowed := can(check_may_approve_policy, person, found)):  # before a password is typed
        raise DeniedError(allowed.reason)
    made = approve_policy(policy=found, by=person, signed=sign_in_terminal(person))
    click.echo(f"{made} is in force.")


@policy.command(name="list", cls=BadInputCommand)
def list_policies() -> None:
    """List the policies of this installation, and those that come with Auscult."""
    from config.cli import open_installation

    open_installation()
    from governance.policies.form import Policy, bundled_names, bundled_source
    from governance.selectors.policies import policies

    for row in policies():
        click.echo(f"{row}  {row.get_status_display().lower()}  {row.title}")
    for name in bundled_names():
        click.echo(f"{name}  bundled  {Policy.from_yaml(bundled_source(name)).title}")


def prepare() -> None:
    """Make Django's settings ready for a command that needs no database."""
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()


def policy_text(given: str) -> str:
    """The YAML of a policy file, or of the bundled policy of that name.

    Raises:
        AuscultError: there is neither, it may not be read, or it is no text in UTF-8, with the line.
    """
    from core.errors import AuscultError

    path = Path(given)
    if not path.exists() and "/" not in given and "." not in given:
        prepare()
        from governance.policies.form import bundled_source

        return bundled_source(given)
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise AuscultError(
            f"The policy cannot be read ({error.strerror}).", remedy="Give a YAML file that you may read.", file=given
        ) from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise AuscultError(
            f"Line {line}: the policy is not UTF-8 (byte 0x{data[error.start]:02x}).",
            remedy="Save it as UTF-8; most editors offer it under 'encoding'.",
            file=path.name,
        ) from error
