"""The ledger on PostgreSQL: the same triggers, the same verification, and writers that come at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.core.ledger_on_postgres import COUNT, REFUSED
from tests.postgres import postgres_url


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home: Path = tmp_path_factory.mktemp("home")
    with postgres_url() as address:
        environment = os.environ | {
            "AUSCULT_DATABASE_URL": address,
            "AUSCULT_HOME": str(home),
            "AUSCULT_REDIS_URL": "memory://",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        command = [sys.executable, "-m", "tests.core.ledger_on_postgres"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_writers_that_come_at_once_give_one_ledger(told: dict[str, Any]) -> None:
    assert told["raised"] == []
    assert (told["entries"], told["problems"]) == (COUNT + 1, [])


def test_heads_are_signed_and_fit(told: dict[str, Any]) -> None:
    assert (told["signed"], told["signed_again"], told["heads"]) == (COUNT, COUNT + 1, 2)


def test_the_database_refuses_what_would_change_the_ledger(told: dict[str, Any]) -> None:
    assert told["refused"] == list(REFUSED)
    assert told["intact"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("actor", "Entry 4: its actor was changed after it was written."),
        ("recorded_at", "Entry 4: its recorded_at was changed after it was written."),
        ("no moment", "Entry 4: its recorded_at was changed after it was written."),
        ("body", "Entry 4 was changed after it was written."),
        ("deleted", "Entry 4 is missing."),
        ("hash", "The hash that the tree keeps for entries 4 to 7 (level 2, position 1) was changed."),
        ("stray", "The tree has a hash at level 60, position 0, where nothing is complete yet."),
        ("size", f"The ledger says it has 4611686018427387904 entries; {COUNT + 1} are there."),
    ],
)
def test_what_gets_past_the_triggers_is_named(told: dict[str, Any], name: str, problem: str) -> None:
    assert told["found"][name] == [problem]


def test_it_is_searched_there_too(told: dict[str, Any]) -> None:
    assert told["page"] == [29, 29]
    assert told["different"] == [["thing.done"], ["Thing"]]
