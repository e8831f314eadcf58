"""``auscult user grant|withdraw``: an administrator gives and takes roles, signed, and never their own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import config.cli
from config.cli import auscult
from core.access import roles_of
from core.models import LedgerEntry, User
from tests.governance.conftest import make_people

PASSWORD = "four random words are long"


@pytest.fixture
def people(db: None, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setattr(config.cli, "open_installation", lambda: None)
    made = make_people()
    for person in (made.ada, made.clara):
        person.set_password(PASSWORD)
        person.save()
    return made


def run(*arguments: str, password: str = PASSWORD) -> tuple[int, str]:
    done = CliRunner().invoke(auscult, ["user", *arguments], env={"AUSCULT_PASSWORD": password})
    return done.exit_code, done.output


def roles(username: str) -> set[str]:
    return set(roles_of(User.objects.get(username=username)))


def test_an_administrator_gives_access_to_patients_and_takes_it(people: SimpleNamespace) -> None:
    before = roles("lea")
    asked = ("lea", "--role", "patient_reader", "--by", "ada")
    assert run("grant", *asked) == (0, "lea has the role patient_reader.\n")
    assert roles("lea") == before | {"patient_reader"}
    entry = LedgerEntry.objects.get(act="role.granted")
    assert entry.actor == "ada" and '"role":"patient_reader"' in entry.body and '"user":"lea"' in entry.body
    status, said = run("grant", *asked)
    assert status == 3 and "already" in said
    assert run("withdraw", *asked) == (0, "lea has the role patient_reader no more.\n")
    assert roles("lea") == before and LedgerEntry.objects.filter(act="role.withdrawn").count() == 1
    status, said = run("withdraw", *asked)
    assert status == 3 and "does not have the role" in said


@pytest.mark.parametrize(
    ("arguments", "password", "words"),
    [
        (("ada", "--role", "patient_reader", "--by", "ada"), PASSWORD, "roles of your own"),
        (("lea", "--role", "patient_reader", "--by", "clara"), PASSWORD, "role administrator"),
        (("lea", "--role", "patient_reader", "--by", "ada"), "wrong", "not your password"),
        (("lea", "--role", "surgeon", "--by", "ada"), PASSWORD, "no role called surgeon"),
        (("nobody", "--role", "auditor", "--by", "ada"), PASSWORD, "no user called 'nobody'"),
    ],
)
def test_what_is_refused_changes_nothing(
    arguments: tuple[str, ...], password: str, words: str, people: SimpleNamespace
) -> None:
    before = {name: roles(name) for name in ("ada", "lea")}
    status, said = run("grant", *arguments, password=password)
    assert status == 3 and words in said
    assert {name: roles(name) for name in before} == before
    assert not LedgerEntry.objects.filter(act__startswith="role.").exists()
