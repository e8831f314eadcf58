"""``--json``: every command has it, and what it prints is one JSON value that says what the lines say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

import config.cli
from config.cli import auscult
from core.heads import sign_head
from core.models import ApiToken
from governance.policies.form import bundled_names as bundled_policies
from tests.config.test_user_roles import PASSWORD, people

__all__ = ["people"]
SCRIPTS = {"completion"}
"""What these print is read by a shell."""


def leaves(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from leaves(found, *above, name)
        else:
            yield " ".join((*above, name)), found


def run(*arguments: str, status: int = 0) -> Any:
    """What a command prints with ``--json``, read; nothing else may stand beside it."""
    done = CliRunner().invoke(auscult, [*arguments, "--json"], env={"AUSCULT_PASSWORD": PASSWORD})
    assert done.exit_code == status, done.output + str(done.exception)
    return json.loads(done.stdout)


def said(*arguments: str) -> str:
    return str(CliRunner().invoke(auscult, arguments).stdout)


def test_every_command_can_print_json() -> None:
    found = dict(leaves(auscult))
    assert len(found) > 100
    without = {name for name, command in found.items() if "as_json" not in {one.name for one in command.params}}
    assert without == SCRIPTS


def test_what_comes_with_auscult() -> None:
    protocols = run("protocol", "list")
    assert protocols and all(len(row["digest"]) == 64 for row in protocols)
    name = protocols[0]["name"]
    shown = run("protocol", "show", name)
    assert (
        shown["digest"] == protocols[0]["digest"] and shown["source"].strip() == said("protocol", "show", name).strip()
    )
    checked = run("protocol", "check", name)
    assert checked["valid"] is True and checked["digest"] == shown["digest"] and checked["criteria"] > 0
    policy = bundled_policies()[0]
    assert run("policy", "show", policy)["digest"] == run("policy", "check", policy)["digest"]


def test_a_policy_from_proposal_to_force(people: SimpleNamespace, tmp_path: Path) -> None:
    name = bundled_policies()[0]
    proposed = run("policy", "propose", name, "--by", "amir")
    assert proposed["status"] == "proposed" and isinstance(proposed["notes"], list)
    rows = run("policy", "list")
    assert rows[0] == {key: value for key, value in proposed.items() if key != "notes"}
    assert {row["name"] for row in rows if row["status"] == "bundled"} == set(bundled_policies())


def test_people_roles_and_addresses(people: SimpleNamespace) -> None:
    asked = ("lea", "--role", "patient_reader", "--by", "ada")
    body = {"user": "lea", "role": "patient_reader", "system": None}
    assert run("user", "grant", *asked) == body | {"held": True}
    assert run("user", "withdraw", *asked) == body | {"held": False}
    made = run("user", "add", "nora", "--role", "auditor", "--password", PASSWORD)
    assert made == {"user": "nora", "roles": ["auditor"], "system": None}
    asked = ("nora", "nora@hospital.example", "--by", "ada")
    assert run("mail", "address", *asked) == {"user": "nora", "address": "nora@hospital.example"}
    assert run("user", "merge", "nora", "lea", "--by", "ada") == {"closed": "nora", "merged_into": "lea"}


def test_a_token_is_made_listed_and_revoked(people: SimpleNamespace) -> None:
    made = run("token", "create", "--user", "elena", "--scope", "read", "--name", "Pipeline")
    assert made["state"] == "holds" and made["scopes"] == ["read"] and len(made["secret"]) > 30
    listed = run("token", "list")
    assert listed == [{key: value for key, value in made.items() if key != "secret"}]
    revoked = run("token", "revoke", str(made["id"]))
    assert revoked == listed[0] | {"state": "revoked"}
    assert ApiToken.objects.get().revoked_at is not None


def test_heads_and_proofs_of_the_ledger(people: SimpleNamespace, tmp_path: Path) -> None:
    run("user", "grant", "lea", "--role", "patient_reader", "--by", "ada")
    first = sign_head()
    assert first is not None
    run("user", "withdraw", "lea", "--role", "patient_reader", "--by", "ada")
    heads = run("ledger", "heads", "--sign")
    assert [head["size"] for head in heads] == [first.size, first.size + 1] and heads[0]["root"] == first.root
    for name, asked in (
        ("proof.json", ("prove", "0")),
        ("both.json", ("consistency", "--from", str(first.size), "--to", str(first.size + 1))),
    ):
        wrote = run("ledger", *asked, "-o", str(tmp_path / name))
        assert wrote == {"file": str(tmp_path / name), "bytes": (tmp_path / name).stat().st_size}
        assert run("ledger", "check", str(tmp_path / name))["ok"] is True


def test_a_refusal_prints_no_json(people: SimpleNamespace) -> None:
    """Who reads the output gets nothing rather than half a value; the reason stands on standard error."""
    done = CliRunner().invoke(auscult, ["user", "grant", "lea", "--role", "surgeon", "--by", "ada", "--json"])
    assert done.exit_code != 0 and done.stdout == "" and config.cli.COMMANDS
    assert "no role called surgeon" in str(done.stderr) + str(done.exception)


@pytest.mark.parametrize("name", ["monitor list", "deployment list", "incident list", "token list"])
def test_nothing_is_an_empty_list(people: SimpleNamespace, name: str) -> None:
    assert run(*name.split()) == []
