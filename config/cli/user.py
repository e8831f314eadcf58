"""``auscult user``: the people of an installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from config.cli.files import BadInputCommand
from config.cli.telling import json_option, tell

if TYPE_CHECKING:
    from models_registry.models import AISystem


@click.group()
def user() -> None:
    """People and their roles."""


@user.command()
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, help="Role to grant; may be given several times.")
@click.option("--system", "slug", help="Short name of the one AI system that the roles are limited to.")
@click.option("--full-name", default="", help="First and last name, shown on pages and in reports.")
@click.password_option(help="Asked for when it is not given.")
@json_option
def add(name: str, roles: tuple[str, ...], slug: str | None, full_name: str, password: str, as_json: bool) -> None:
    """Add a person with one or more roles."""
    from config.cli import open_installation
    from core.errors import ConflictError, NotFoundError

    open_installation()
    from django.contrib.auth.password_validation import validate_password
    from django.core.exceptions import ValidationError
    from django.db import transaction

    from core import ledger
    from core.models import Role, RoleGrant, User
    from core.reach import EVERYWHERE
    from governance.services.roles import OF_THE_HOUSE

    unknown = set(roles) - set(Role.values)
    if unknown:
        raise NotFoundError(
            f"There is no role called {', '.join(sorted(unknown))}.",
            remedy=f"Use some of: {', '.join(Role.values)}.",
        )
    system = _system(slug)
    if system is not None and set(roles) & set(OF_THE_HOUSE):
        raise ConflictError(
            f"These roles cannot be limited: {', '.join(OF_THE_HOUSE)}.", remedy="Give them for the whole house."
        )
    if User.objects.filter(username=name).exists():
        raise ConflictError(f"There is already a user called '{name}'.", remedy="Choose another user name.")
    first, _, last = full_name.partition(" ")
    person = User(username=name, first_name=first, last_name=last)
    try:
        person.clean_fields(exclude={"password"})
        if name == "system":
            raise ValidationError("reserved")
    except ValidationError as error:
        raise ConflictError(
            f"'{name}' cannot be a user name.",
            remedy="Use up to 150 letters, digits and @ . + - _; 'system' stands for the platform itself.",
        ) from error
    try:
        validate_password(password, person)
    except ValidationError as error:
        raise ConflictError(
            " ".join(error.messages), remedy="Choose a longer password, for example four random words."
        ) from error
    person.set_password(password)
    with transaction.atomic():
        person.save()
        for role in sorted(set(roles)):
            RoleGrant.objects.create(user=person, role=role, system_key=system.pk if system else EVERYWHERE)
            payload = {"user": name, "role": role} | ({"system": system.slug} if system else {})
            ledger.record(actor="system", act="role.granted", subject=("User", person.pk), payload=payload)
    held = sorted(set(roles))
    body = {"user": name, "roles": held, "system": slug}
    tell(body, f"Added {name}: {', '.join(held)}{f' on {slug}' if slug else ''}.", as_json=as_json)


def _system(slug: str | None) -> AISystem | None:
    """The system with this short name; None without one."""
    from core.errors import NotFoundError
    from models_registry.models import AISystem

    found = AISystem.objects.filter(slug=slug).first() if slug else None
    if slug and found is None:
        raise NotFoundError(f"There is no system '{slug}'.", remedy="Its page has the short name in its address.")
    return found


@user.command(cls=BadInputCommand)
@click.argument("name")
@click.option("--role", required=True, help="Role to give, such as patient_reader.")
@click.option("--system", help="Short name of the one AI system that the role is limited to; without, everywhere.")
@click.option("--by", "username", required=True, help="The administrator who gives it; asked for their password.")
@json_option
def grant(name: str, role: str, system: str | None, username: str, as_json: bool) -> None:
    """Give the person NAME a further role. The password is taken from AUSCULT_PASSWORD where that is set."""
    _change(name, role, system, username, act="grant_role")
    body = {"user": name, "role": role, "system": system, "held": True}
    tell(body, f"{name} has the role {role}{f' on {system}' if system else ''}.", as_json=as_json)


@user.command(cls=BadInputCommand)
@click.argument("name")
@click.option("--role", required=True, help="Role to take away.")
@click.option("--system", help="Short name of the AI system, where the role is limited to one.")
@click.option("--by", "username", required=True, help="The administrator who takes it; asked for their password.")
@json_option
def withdraw(name: str, role: str, system: str | None, username: str, as_json: bool) -> None:
    """Take a role from the person NAME. The password is taken from AUSCULT_PASSWORD where that is set."""
    _change(name, role, system, username, act="withdraw_role")
    body = {"user": name, "role": role, "system": system, "held": False}
    tell(body, f"{name} has the role {role}{f' on {system}' if system else ''} no more.", as_json=as_json)


def _change(name: str, role: str, slug: str | None, username: str, *, act: str) -> None:
    from config.cli import acting_user, open_installation
    from core.errors import NotFoundError

    open_installation()
    from config.cli.signing import sign_in_terminal
    from core.models import Role
    from governance.services import roles

    if role not in Role.values:
        raise NotFoundError(f"There is no role called {role}.", remedy=f"Use one of: {', '.join(Role.values)}.")
    system = _system(slug)
    by, person = acting_user(username), acting_user(name)
    getattr(roles, act)(person=person, role=Role(role), system=system, by=by, signed=sign_in_terminal(by))


@user.command(cls=BadInputCommand)
@click.argument("source")
@click.argument("target")
@click.option("--by", "username", required=True, help="The administrator who says so; asked for their password.")
@json_option
def merge(source: str, target: str, username: str, as_json: bool) -> None:
    """Say that SOURCE is a second account of the person behind TARGET, and close it. Cannot be undone.

    Open reviews in which that person has two parts are closed; approvals that rest on such a review are void.
    The password is taken from AUSCULT_PASSWORD where that is set.
    """
    from config.cli import acting_user, open_installation

    open_installation()
    from config.cli.signing import sign_in_terminal
    from governance.services.accounts import merge_accounts

    by = acting_user(username)
    accounts = acting_user(source), acting_user(target)
    merge_accounts(source=accounts[0], target=accounts[1], by=by, signed=sign_in_terminal(by))
    body = {"closed": source, "merged_into": target}
    tell(body, f"{source} is closed; it was merged into {target}.", as_json=as_json)
