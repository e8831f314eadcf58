"""Two deciding votes at once, and rows written around the services: on a SQLite file and on PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.governance.two_voters import ORDERS, ROUNDS
from tests.postgres import postgres_url


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of the test's own: empty for SQLite, whose file is in AUSCULT_HOME."""
    if request.param == "sqlite":
        yield ""
        return
    with postgres_url() as url:
        yield url


def run(program: str, address: str, home: Path) -> str:
    environment = os.environ | {
        "AUSCULT_HOME": str(home),
        "AUSCULT_REDIS_URL": "memory://",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    environment.pop("AUSCULT_DATABASE_URL", None)
    if address:
        environment["AUSCULT_DATABASE_URL"] = address
    command = [sys.executable, "-m", f"tests.governance.{program}", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_of_two_deciding_votes_at_once_exactly_one_counts(address: str, tmp_path: Path) -> None:
    rounds = [json.loads(line) for line in run("two_voters", address, tmp_path).splitlines()]
    expected = {
        "results": ["This review is closed: approved.", "counted"],
        "votes": 2,
        "status": "approved",
        "version": "approved",
        "decided": 1,
        "refused": 1,
        "intact": True,
    }
    equal, opposite = rounds[:ROUNDS], rounds[ROUNDS:]
    assert [{name: row[name] for name in expected} for row in equal] == [expected] * ROUNDS
    assert {tuple(row["by"]) for row in equal} <= {("tom",), ("lea",)}
    words = {"approve": "approved", "reject": "rejected"}
    assert opposite == [
        {
            "results": [f"This review is closed: {words[first]}.", "counted"],
            "by": ["tom"],
            "votes": 3,
            "status": words[first],
            "version": words[first],
            "decided": 1,
            "refused": 1,
            "intact": True,
        }
        for first, _second in ORDERS
    ]


APART = "does not vote, by no account"
SAID = {
    "a vote by another": "",
    "the submitter": APART,
    "the submitter's second account": APART,
    "the runner's second account": APART,
    "the approver's second account": APART,
    "a second vote": "a person votes once",
    "a second vote by a second account": "a person votes once",
    "the recused": "who is recused does not vote",
    "the recused by a second account": "who is recused does not vote",
    "made-up people": "the people of a vote must be those of its review",
    "a closed review": "a closed review takes no vote",
    "a changed vote": "votes are never changed",
    "a deleted vote": "votes are never deleted",
    "a review by three": "",
    "submitter and runner are one": "must be three persons",
    "submitter and approver are one": "must be three persons",
    "runner and approver are one": "must be three persons",
    "a second open review": "unique",
    "a recusal of another": "",
    "a recusal after the vote": "who has voted is not recused",
    "a recusal after the vote of another account": "who has voted is not recused",
    "a changed recusal": "recusals are never changed",
    "a deleted recusal": "recusals are never changed or deleted",
    "a changed comment": "contributions are never changed",
    "a deleted comment": "contributions are never changed or deleted",
    "a condition": "",
    "a condition without an owner": "null",
    "a condition met by another": "",
    "a condition that its owner confirms": "condition_met_is_confirmed_by_another",
    "a condition that its claimer confirms": "condition_met_is_confirmed_by_another",
    "a condition that nobody confirms": "condition_met_is_confirmed_by_another",
    "a review withdrawn for no reason": "review_withdrawn_has_reason",
}


def test_what_the_database_refuses_around_the_services(address: str, tmp_path: Path) -> None:
    found = json.loads(run("around_the_services", address, tmp_path))
    assert found.keys() == SAID.keys()
    wrong = {
        name: said
        for name, said in found.items()
        if (SAID[name].lower() not in said.lower() if SAID[name] else said != "")
    }
    assert wrong == {}
