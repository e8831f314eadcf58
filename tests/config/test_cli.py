"""The command line: what it prints, how it ends, and that it registers nothing by accident."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner
from django.db import connection

import config.cli as cli
from core import ledger
from core.errors import EnvironmentProblemError
from core.models import LedgerEntry, Role, RoleGrant, User
from models_registry.models import Cohort, CohortVersion
from tests.registry.scene import Files, acts, snapshot

BAD = "Patient ID,Accession,PTX\np1,s1,YES\np2,s2,perhaps\n"


@dataclass(frozen=True)
class Ended:
    code: int
    output: str
    errors: str


@pytest.fixture
def auscult(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], db: None) -> Callable[..., Ended]:
    """Runs a command as the shell does: by its entry point."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr("sys.argv", ["auscult", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return Ended(int(end.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "export.csv"
    path.write_text(BAD)
    return path


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(cli.auscult, ["--help"])
    assert shown.exit_code == 0
    for name in cli.COMMANDS:
        assert f"\n  {name} " in shown.output
        helped = CliRunner().invoke(cli.auscult, [name, "--help"])
        assert helped.exit_code == 0 and "Usage:" in helped.output
    assert CliRunner().invoke(cli.auscult, ["--version"]).output.startswith("auscult, version ")
    assert CliRunner().invoke(cli.auscult, ["nonsense"]).exit_code == 2


def test_an_error_is_told_with_its_remedy(auscult: Callable[..., Ended], files: Files) -> None:
    ended = auscult("cohort", "add", files.cohort, "--as", "ghost")
    assert ended.code == 3
    assert ended.errors.startswith("Error: There is no user called 'ghost'.")
    assert "What to do: Add one with: auscult user add" in ended.errors
    assert "Traceback" not in ended.errors


def test_a_database_that_is_older_than_the_code_is_not_touched(
    auscult: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db.migrations.executor import MigrationExecutor

    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda *_: [("core", "0099")])
    ended = auscult("ledger", "verify")
    assert ended.code == 3 and "older than this version" in ended.errors and "backup" in ended.errors
    with pytest.raises(EnvironmentProblemError):
        cli.open_installation()


# auscult cohort add


def test_a_file_with_errors_registers_nothing(
    auscult: Callable[..., Ended], people: SimpleNamespace, bad: Path
) -> None:
    for more in ((), ("--yes",), ("--yes", "--json")):
        ended = auscult("cohort", "add", bad, "--as", "elena", *more)
        assert ended.code == 3
    found = json.loads(ended.output)
    assert found["registered"] is False
    assert {"patient_id", "study_id"} <= {problem["column"] for problem in found["inspection"]["problems"]}
    shown = auscult("cohort", "add", bad, "--as", "elena", "--yes")
    assert "error: " in shown.output and "What to do: " in shown.output
    assert not Cohort.objects.exists() and acts() == []


def test_a_suggested_mapping_is_written_edited_and_used(
    auscult: Callable[..., Ended], people: SimpleNamespace, bad: Path, tmp_path: Path
) -> None:
    target = tmp_path / "mapping.yaml"
    ended = auscult("cohort", "add", bad, "--as", "elena", "--write-mapping", target)
    assert ended.code == 0 and str(target) in ended.output
    mapping = yaml.safe_load(target.read_text())
    assert mapping["columns"]["Patient ID"] == "patient_id" and mapping["columns"]["Accession"] == "study_id"
    mapping["columns"]["PTX"] = "label.pneumothorax"
    mapping["values"] = {"label.pneumothorax": {"YES": 1, "perhaps": None}}
    target.write_text(yaml.safe_dump(mapping))
    given = ("cohort", "add", bad, "--as", "elena", "--mapping", target)
    ended = auscult(*given, "--yes", "--name", "Mapped", "--licence", "internal")
    assert ended.code == 0, ended.errors
    version = CohortVersion.objects.get()
    assert (version.cohort.name, version.n_studies, version.cohort.licence) == ("Mapped", 2, "internal")


def test_a_cohort_is_registered_when_confirmed(
    auscult: Callable[..., Ended], people: SimpleNamespace, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("cohort", "add", files.cohort, "--as", "amir", "--simulated")
    monkeypatch.setattr("click.confirm", lambda question: False)
    ended = auscult(*given)
    assert ended.code == 1 and "Nothing was registered" in ended.errors
    assert "First rows" in ended.output and not Cohort.objects.exists()
    assert auscult(*given, "--json").code == 1, "a script cannot be asked"

    monkeypatch.setattr("click.confirm", lambda question: True)
    ended = auscult(*given)
    version = CohortVersion.objects.get()
    assert ended.code == 0
    assert f"{version.n_studies:,} studies of {version.n_patients:,} patients" in ended.output
    assert version.digest in ended.output
    assert version.cohort.name == "cohort" and version.cohort.simulated and version.registered_by == people.amir
    assert acts() == ["cohort.registered"]


def test_what_changed_while_it_was_looked_at_is_not_registered(
    auscult: Callable[..., Ended], people: SimpleNamespace, bad: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad.write_text("patient_id,study_id,label.x\np1,s1,1\np2,s2,0\n")

    def confirm(question: str) -> bool:
        bad.write_text("patient_id,study_id,label.x\np1,s1,0\np2,s2,1\n")
        return True

    monkeypatch.setattr("click.confirm", confirm)
    ended = auscult("cohort", "add", bad, "--as", "elena")
    assert ended.code == 3 and "changed after it was read and shown" in ended.errors
    assert not Cohort.objects.exists()


def test_json_is_one_object(auscult: Callable[..., Ended], people: SimpleNamespace, files: Files) -> None:
    ended = auscult("cohort", "add", files.cohort, "--as", "elena", "--yes", "--json")
    told = json.loads(ended.output)
    assert (ended.code, told["registered"]) == (0, True)
    assert told["digest"] == CohortVersion.objects.get(pk=told["id"]).digest
    assert told["inspection"]["summary"]["n_studies"] == len(files.frame)


def test_who_may_not_register_is_told(auscult: Callable[..., Ended], people: SimpleNamespace, files: Files) -> None:
    ended = auscult("cohort", "add", files.cohort, "--as", "rita", "--yes")
    assert ended.code == 3 and "Only people with the role" in ended.errors
    assert not Cohort.objects.exists()


def test_real_and_simulated_under_one_name_is_told(
    auscult: Callable[..., Ended], people: SimpleNamespace, files: Files, bad: Path
) -> None:
    assert auscult("cohort", "add", files.cohort, "--as", "elena", "--yes").code == 0
    bad.write_text("patient_id,study_id,label.x\np1,s1,1\np2,s2,0\n")
    ended = auscult("cohort", "add", bad, "--as", "elena", "--yes", "--simulated", "--name", "cohort")
    assert ended.code == 3 and "never one cohort" in ended.errors
    assert CohortVersion.objects.count() == 1


@pytest.mark.parametrize("option", ["--mapping", "--write-mapping"])
def test_a_mapping_that_cannot_be_read_or_written_is_told(
    auscult: Callable[..., Ended], people: SimpleNamespace, files: Files, tmp_path: Path, option: str
) -> None:
    ended = auscult("cohort", "add", files.cohort, "--as", "elena", "--yes", option, tmp_path / "none" / "m.yaml")
    assert ended.code in {2, 3} and "m.yaml" in ended.errors
    assert not Cohort.objects.exists()


def test_a_file_that_is_not_there_is_told(
    auscult: Callable[..., Ended], people: SimpleNamespace, tmp_path: Path
) -> None:
    ended = auscult("cohort", "add", tmp_path / "none.csv", "--as", "elena", "--yes")
    assert ended.code == 3 and "none.csv" in ended.output + ended.errors


# auscult user add


def add_user(
    auscult: Callable[..., Ended], *more: str, name: str = "nora", password: str = "four plain brown horses"
) -> Ended:
    return auscult("user", "add", name, "--password", password, *more)


def test_a_person_is_added_with_roles(auscult: Callable[..., Ended]) -> None:
    ended = add_user(auscult, "--role", "auditor", "--role", "dpo", "--role", "auditor", "--full-name", "Nora Van Dijk")
    assert ended.code == 0 and ended.output == "Added nora: auditor, dpo.\n"
    person = User.objects.get()
    assert (person.first_name, person.last_name, str(person)) == ("Nora", "Van Dijk", "Nora Van Dijk")
    assert person.check_password("four plain brown horses")
    assert sorted(person.role_grants.values_list("role", flat=True)) == ["auditor", "dpo"]
    assert acts() == ["role.granted"] * 2
    assert "horses" not in ended.output + LedgerEntry.objects.first().body


@pytest.mark.parametrize(
    ("changes", "more", "words"),
    [
        ({}, ("--role", "wizard"), "no role called wizard"),
        ({"password": "short"}, ("--role", "auditor"), "too short"),
        ({"password": "password1234"}, ("--role", "auditor"), "too common"),
        ({"name": "elena"}, ("--role", "auditor"), "already a user called 'elena'"),
        ({"name": "a b/<>"}, ("--role", "auditor"), "cannot be a user name"),
        ({"name": ""}, ("--role", "auditor"), "cannot be a user name"),
        ({"name": "system"}, ("--role", "auditor"), "cannot be a user name"),
    ],
)
def test_a_person_who_cannot_be_added_is_not_half_added(
    auscult: Callable[..., Ended], people: SimpleNamespace, changes: dict, more: tuple[str, ...], words: str
) -> None:
    before = snapshot()
    ended = add_user(auscult, *more, **changes)
    assert ended.code == 3 and words in ended.errors
    if "wizard" in words:
        assert all(role in ended.errors for role in Role.values)
    assert snapshot() == before


def test_a_role_without_its_entry_is_not_granted(auscult: Callable[..., Ended], broken_ledger: None) -> None:
    ended = add_user(auscult, "--role", "auditor")
    assert ended.code not in {0, 1, 3}, "a crash is no verdict and no bad input"
    assert not User.objects.exists() and not RoleGrant.objects.exists()


# auscult ledger verify


def tamper(sql: str) -> None:
    """What somebody with the database's password can do: away with the triggers first."""
    with connection.cursor() as cursor:
        for trigger in ("ledger_no_update", "ledger_no_delete"):
            cursor.execute(f"DROP TRIGGER {trigger}")
        cursor.execute(sql)


def test_an_intact_ledger(auscult: Callable[..., Ended]) -> None:
    empty = auscult("ledger", "verify")
    assert empty.code == 0 and empty.output.startswith("0 entries, root ")
    add_user(auscult, "--role", "auditor")
    ended = auscult("ledger", "verify")
    assert ended.code == 0 and "The ledger is intact." in ended.output
    told = json.loads(auscult("ledger", "verify", "--json").output)
    assert told == {"entries": 1, "root": ledger.tree_head().root, "problem": None, "problems": [], "faults": 0,
                    "marks": [], "heads": 0}  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ('UPDATE core_ledgerentry SET body = replace(body, \'"dpo"\', \'"auditor"\') WHERE "index" = 1', "Entry 1 was"),
        ("UPDATE core_ledgerentry SET actor = 'ada' WHERE \"index\" = 1", "Entry 1: its actor"),
        ('DELETE FROM core_ledgerentry WHERE "index" = 0', "Entry 0 is missing"),
    ],
)
def test_a_changed_ledger(auscult: Callable[..., Ended], sql: str, words: str) -> None:
    add_user(auscult, "--role", "auditor", "--role", "dpo")
    assert auscult("ledger", "verify").code == 0
    tamper(sql)
    ended = auscult("ledger", "verify")
    assert ended.code == 1 and words in ended.output
    assert words in json.loads(auscult("ledger", "verify", "--json").output)["problem"]
