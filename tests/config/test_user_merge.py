"""``auscult user merge`` and ``auscult version submit|retire``: thin, signed, and refused in words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import config.cli
from config.cli import auscult
from core.models import LedgerEntry, User
from models_registry.models import ModelVersion, VersionStatus
from tests.governance.conftest import make_people, make_version

PASSWORD = "four random words are long"


@pytest.fixture
def people(db: None, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setattr(config.cli, "open_installation", lambda: None)
    made = make_people()
    made.ada.set_password(PASSWORD)
    made.ada.save()
    return made


def run(*arguments: str, password: str = PASSWORD) -> tuple[int, str]:
    done = CliRunner().invoke(auscult, arguments, env={"AUSCULT_PASSWORD": password})
    return done.exit_code, done.output


def test_two_accounts_are_merged_by_an_administrator(people: SimpleNamespace) -> None:
    User.objects.create(username="tom2")
    status, said = run("user", "merge", "tom2", "tom", "--by", "ada")
    assert (status, said) == (0, "tom2 is closed; it was merged into tom.\n")
    assert User.objects.get(username="tom2").merged_into == people.tom
    assert LedgerEntry.objects.get(act="account.merged").actor == "ada"


@pytest.mark.parametrize(
    ("arguments", "password", "words"),
    [
        (("tom2", "tom", "--by", "ada"), "wrong", "not your password"),
        (("tom2", "ada", "--by", "ada"), PASSWORD, "account of your own"),
        (("nobody", "tom", "--by", "ada"), PASSWORD, "no user called 'nobody'"),
        (("tom2", "tom"), PASSWORD, "--by"),
    ],
)
def test_what_is_refused_ends_with_3(
    arguments: tuple[str, ...], password: str, words: str, people: SimpleNamespace
) -> None:
    User.objects.create(username="tom2")
    status, said = run("user", "merge", *arguments, password=password)
    assert status == 3 and words in said
    assert not User.objects.exclude(merged_into=None).exists()


def test_a_draft_is_submitted_and_a_version_retired(people: SimpleNamespace) -> None:
    version = make_version(people, "1.0")
    ModelVersion.objects.filter(pk=version.pk).update(status=VersionStatus.DRAFT)
    assert run("version", "submit", "chest-model", "1.0", "--as", "elena") == (0, "Submitted Chest model 1.0.\n")
    status, said = run("version", "retire", "chest-model", "1.0", "--reason", "Old.", "--as", "elena")
    assert status == 3 and "may retire a version" in said
    assert run("version", "retire", "chest-model", "1.0", "--reason", "Old.", "--as", "clara")[0] == 0
    version.refresh_from_db()
    assert version.status == VersionStatus.RETIRED
