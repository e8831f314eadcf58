"""``auscult deployment`` and ``auscult token``: stopping from a terminal, and the secrets of programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

import config.cli as cli
from core.models import ApiToken
from core.tokens import token_of
from models_registry.models import Deployment, ModelVersion
from tests.config.test_cli import Ended, auscult
from tests.governance.conftest import make_people
from tests.governance.deployment_scene import WHY, approved, put

__all__ = ["auscult"]
Auscult = Callable[..., Ended]


@pytest.fixture
def people(db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    settings.AUSCULT_HOME = tmp_path
    monkeypatch.setattr(cli, "open_installation", lambda: connection.ensure_connection())
    monkeypatch.delenv("AUSCULT_USER", raising=False)
    return make_people()


@pytest.fixture
def rows(people: SimpleNamespace, tmp_path: Path) -> list[Deployment]:
    version = approved(people, tmp_path)
    return [put(version, people.clara, site) for site in ("North", "South")]


def test_one_deployment_is_stopped_from_a_terminal(rows: list[Deployment], auscult: Auscult) -> None:
    ended = auscult("deployment", "suspend", rows[0].pk, "--by", "dora", "--reason", WHY)
    assert (ended.code, ended.output) == (
        0, f"Deployment {rows[0].pk}, North: call Ines Vogel, ines@hospital.example.\n"
    )  # fmt: skip
    assert list(Deployment.objects.order_by("pk").values_list("status", flat=True)) == ["suspended", "running"]
    listed = json.loads(auscult("deployment", "list", "--json").output)
    assert [(item["site"], item["status"], item["confirmed"]) for item in listed] == [
        ("South", "running", None),
        ("North", "suspended", False),
    ]
    assert "not confirmed by the site" in auscult("deployment", "list").output
    told = json.loads(auscult("deployment", "suspend", rows[1].pk, "--by", "dora", "--reason", WHY, "--json").output)
    assert [(item["id"], item["status"], item["call"]) for item in told] == [(rows[1].pk, "suspended", "Ines Vogel")]


def test_a_version_is_stopped_everywhere_from_a_terminal(rows: list[Deployment], auscult: Auscult) -> None:
    ended = auscult("deployment", "suspend", "--version", "chest-model/1.0", "--by", "dora", "--reason", WHY)
    assert ended.code == 0 and "Chest model 1.0 is suspended; 2 deployments stopped now." in ended.output
    assert ModelVersion.objects.get().status == "suspended"
    Deployment.objects.update(status="ended")
    assert auscult("deployment", "list").output == ""
    assert "North" in auscult("deployment", "list", "--all").output


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--by", "dora", "--reason", WHY], "Say what to suspend."),
        (["1", "--version", "chest-model/1.0", "--by", "dora", "--reason", WHY], "Say what to suspend."),
        (["999", "--by", "dora", "--reason", WHY], "There is no deployment 999."),
        (["--version", "chest-model/9", "--by", "dora", "--reason", WHY], "There is no version"),
        (["--version", "chest-model/1.0", "--by", "dora", "--reason", "short"], "needs 20 to 4,000"),
        (["--version", "chest-model/1.0", "--by", "elena", "--reason", WHY], "Only people with the role"),
        (["--version", "chest-model/1.0", "--by", "ghost", "--reason", WHY], "There is no user"),
    ],
)
def test_what_is_wrong_is_told_and_stops_nothing(
    rows: list[Deployment], auscult: Auscult, given: list[str], says: str
) -> None:
    ended = auscult("deployment", "suspend", *given)
    assert ended.code == 3 and says in ended.errors and "What to do:" in ended.errors
    assert set(Deployment.objects.values_list("status", flat=True)) == {"running"}


def test_a_secret_is_printed_once(people: SimpleNamespace, auscult: Auscult) -> None:
    made = auscult("token", "create", "--user", "lea", "--scope", "oversight", "--days", 30, "--name", "PACS")
    secret = made.output.strip()
    assert made.code == 0 and "Token 1 of lea until" in made.errors and secret not in made.errors
    found = token_of(secret)
    assert found is not None and (found.user.username, found.scopes) == ("lea", ["oversight"])
    listed = auscult("token", "list").output
    assert "lea\tPACS\toversight\tholds" in listed and secret not in listed and found.token_digest not in listed
    assert auscult("token", "revoke", found.pk).code == 0
    assert token_of(secret) is None
    assert "revoked" in auscult("token", "list").output
    assert auscult("token", "revoke", 99).code == 3
    refused = auscult("token", "create", "--user", "lea", "--scope", "root", "--name", "x")
    assert refused.code == 3 and "There is no scope root." in refused.errors
    assert ApiToken.objects.count() == 1
