"""The people of the demo: one for each role, two for the committee; the clinician lead may read patients, too."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from core import ledger
from core.models import Role, RoleGrant, User


@dataclass(frozen=True, kw_only=True)
class Person:
    username: str
    name: str
    role: Role
    also: tuple[Role, ...] = ()


PEOPLE = (
    Person(username="elena", name="Elena Ortiz", role=Role.ML_ENGINEER),
    Person(username="amir", name="Amir Haddad", role=Role.AUDITOR),
    Person(username="clara", name="Clara Lindqvist", role=Role.COMMITTEE_CHAIR),
    Person(username="mina", name="Mina Okafor", role=Role.COMMITTEE_MEMBER),
    Person(username="tom", name="Tom Becker", role=Role.COMMITTEE_MEMBER),
    Person(username="lea", name="Lea Novak", role=Role.CLINICIAN_LEAD, also=(Role.PATIENT_READER,)),
    Person(username="dora", name="Dora Marino", role=Role.DPO),
    Person(username="rita", name="Rita Janssen", role=Role.REGULATOR),
    Person(username="ada", name="Ada Wolff", role=Role.ADMINISTRATOR),
)


def demo_password(home: Path) -> str:
    """The demo users' password: made at random once for each home folder, readable by its owner only."""
    path = home / "demo-password"
    if not path.exists():
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_urlsafe(9))
    return path.read_text()


@transaction.atomic
def ensure_people(password: str) -> dict[str, User]:
    """Create the demo users that are missing, with their roles."""
    users = {}
    for person in PEOPLE:
        first, last = person.name.split()
        user, created = User.objects.get_or_create(
            username=person.username,
            defaults={"first_name": first, "last_name": last, "email": f"{person.username}@example.org"},
        )
        if created:
            user.set_password(password)
            user.save()
            for role in (person.role, *person.also):
                RoleGrant.objects.create(user=user, role=role)
                ledger.record(
                    actor="system",
                    act="role.granted",
                    subject=("User", user.pk),
                    payload={"user": user.username, "role": role},
                )
        users[person.username] = user
    return users
