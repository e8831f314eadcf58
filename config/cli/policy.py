"""``auscult policy``: check, propose, approve and list what a version must show before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config.cli.files import BadInputCommand
from config.cli.signing import sign_in_terminal
from config.cli.telling import json_option, tell

if TYPE_CHECKING:
    from governance.models import Policy as PolicyRow


@click.group()
def policy() -> None:
    """Write, check, propose and approve policies."""


@policy.command(cls=BadInputCommand)
@click.argument("given", metavar="FILE")
@json_option
def check(given: str, as_json: bool) -> None:
    """Check a policy and print its digest. FILE: a YAML file, or the name of a bundled policy."""
    text = policy_text(given)
    prepare()
    from governance.policies.form import Policy

    read = Policy.from_yaml(text, source=Path(given).name)
    n, documents = len(read.audits), len(read.documents)
    body = {"name": read.name, "valid": True, "audits": n, "documents": documents, "digest": read.digest}
    line = (
        f"{read.name}: valid, {n} audit{'s' * (n != 1)}, {documents} document{'s' * (documents != 1)}, "
        f"for {'all systems' if read.for_all else ', '.join(read.applies_to)}."
    )
    tell(body | {"applies_to": list(read.applies_to)}, line, f"Digest {read.digest}", as_json=as_json)


@policy.command(cls=BadInputCommand)
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Print a bundled policy, comments included."""
    prepare()
    from governance.policies.form import Policy, bundled_source

    source = bundled_source(name)
    tell(
        {"name": name, "digest": Policy.from_yaml(source).digest, "source": source},
        source.rstrip("\n"),
        as_json=as_json,
    )


@policy.command(cls=BadInputCommand)
@click.argument("given", metavar="FILE")
@click.option("--by", "username", required=True, envvar="AUSCULT_USER", help="User on whose behalf it is proposed.")
@json_option
def propose(given: str, username: str, as_json: bool) -> None:
    """Propose a policy: it becomes the next number of its name, and waits for a committee chair."""
    from config.cli import acting_user, open_installation

    text = policy_text(given)
    open_installation()
    from governance.policies.form import Policy
    from governance.selectors.policies import warnings_of
    from governance.services.policies import propose_policy

    rules = Policy.from_yaml(text, source=Path(given).name)
    made = propose_policy(source=text, by=acting_user(username))
    notes = list(warnings_of(rules))
    tell(
        _facts(made) | {"notes": notes},
        f"Proposed {made}. A committee chair approves it: auscult policy approve {made.name} {made.number}",
        f"Digest {made.digest}",
        as_json=as_json,
    )
    for note in [] if as_json else notes:
        click.echo(f"Note: {note}", err=True)


@policy.command(cls=BadInputCommand)
@click.argument("name")
@click.argument("number", type=click.IntRange(min=1))
@click.option("--by", "username", required=True, envvar="AUSCULT_USER", help="Committee chair who approves it.")
@json_option
def approve(name: str, number: int, username: str, as_json: bool) -> None:
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
    tell(_facts(made), f"{made} is in force.", as_json=as_json)


@policy.command(name="list", cls=BadInputCommand)
@json_option
def list_policies(as_json: bool) -> None:
    """List the policies of this installation, and those that come with Auscult."""
    from config.cli import open_installation

    open_installation()
    from governance.policies.form import Policy, bundled_names, bundled_source
    from governance.selectors.policies import policies

    rows = list(policies())
    bundled = [(name, Policy.from_yaml(bundled_source(name))) for name in bundled_names()]
    come_with = [
        {"name": name, "number": None, "status": "bundled", "title": rules.title, "digest": rules.digest}
        for name, rules in bundled
    ]
    lines = [f"{row}  {row.get_status_display().lower()}  {row.title}" for row in rows]
    lines += [f"{name}  bundled  {rules.title}" for name, rules in bundled]
    tell([*map(_facts, rows), *come_with], *lines, as_json=as_json)


def _facts(row: PolicyRow) -> dict[str, Any]:
    """A policy of this installation."""
    return {"name": row.name, "number": row.number, "status": row.status, "title": row.title, "digest": row.digest}


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
