"""Sending again: carried out once and answered alike, also at the same moment, and after a process that died."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from core import tasks
from core.api import idempotency
from core.models import ApiRequest, LedgerEntry
from models_registry.models import AISystem
from tests.api.program import check_problem
from tests.postgres import postgres_url

BODY = {"name": "New model", "intended_purpose": "Finds effusion."}
KEY = "ACC-2026-0047113"


def test_the_same_request_is_carried_out_once(house: Any, program: Any) -> None:
    elena = program("elena")
    first = elena.post("/systems", BODY, key=KEY)
    count = LedgerEntry.objects.count()
    again = elena.post("/systems", BODY, key=KEY)
    assert (first.status_code, "Idempotency-Replayed" in first.headers) == (201, False)
    assert (again.status_code, again.headers["Idempotency-Replayed"], again.content) == (201, "true", first.content)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert LedgerEntry.objects.count() == count
    row = ApiRequest.objects.get()
    assert KEY not in json.dumps([row.key, row.digest, row.path, row.claim])


def test_a_key_is_of_one_request_of_one_person(house: Any, program: Any) -> None:
    elena, amir = program("elena"), program("amir")
    elena.post("/systems", BODY, key=KEY)
    check_problem(elena.post("/systems", BODY | {"provider": "X"}, key=KEY), "key-used")
    check_problem(elena.post("/incidents", BODY, key=KEY), "key-used")
    check_problem(amir.post("/systems", BODY, key=KEY), "not-allowed")
    check_problem(program("elena", "read").post("/systems", BODY, key=KEY), "not-allowed")
    assert AISystem.objects.filter(name=BODY["name"]).count() == 1


def test_what_was_refused_leaves_the_key_free(house: Any, program: Any) -> None:
    elena = program("elena")
    check_problem(elena.post("/systems", {"name": "New model"}, key=KEY), "not-as-asked")
    check_problem(elena.post("/systems", BODY | {"name": house.system.name}, key=KEY), "conflict")
    assert not ApiRequest.objects.exists()
    assert elena.post("/systems", BODY, key=KEY).status_code == 201


def test_a_failure_undoes_the_act_and_frees_the_key(house: Any, program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    elena, count = program("elena"), LedgerEntry.objects.count
    before = count()
    with monkeypatch.context() as patch:
        patch.setattr("models_registry.api.systems.system_out", lambda row: 1 / 0)  # after the act
        check_problem(elena.post("/systems", BODY, key=KEY), "failed")
    assert (AISystem.objects.filter(name=BODY["name"]).exists(), ApiRequest.objects.exists()) == (False, False)
    assert count() == before
    assert elena.post("/systems", BODY, key=KEY).status_code == 201


@pytest.mark.parametrize("key", ["a b", "é", "x" * 201])
def test_a_key_that_is_none(house: Any, program: Any, key: str) -> None:
    check_problem(program("elena").post("/systems", BODY, key=key), "not-as-asked")


def test_one_that_is_being_answered_and_one_whose_process_died(
    house: Any, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    elena = program("elena")
    with monkeypatch.context() as patch:
        patch.setattr(idempotency, "_release", lambda *_: None)
        check_problem(elena.post("/systems", {"name": "New model"}, key=KEY), "not-as-asked")
    assert ApiRequest.objects.get().status is None
    check_problem(elena.post("/systems", {"name": "New model"}, key=KEY), "in-flight")
    ApiRequest.objects.update(created_at=timezone.now() - idempotency.LEASE - timedelta(seconds=1))
    check_problem(elena.post("/systems", {"name": "New model"}, key=KEY), "not-as-asked")
    assert not ApiRequest.objects.exists()


def test_keys_are_kept_for_a_day(house: Any, program: Any) -> None:
    elena = program("elena")
    elena.post("/systems", BODY, key=KEY)
    elena.post("/systems", BODY | {"name": "Other"}, key="other")
    old = ApiRequest.objects.filter(path__startswith="/api").earliest("pk")
    ApiRequest.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(hours=25))
    tasks.sweep()
    assert list(ApiRequest.objects.values_list("key", flat=True)) != [] and not ApiRequest.objects.filter(pk=old.pk)
    check_problem(elena.post("/systems", BODY, key=KEY), "conflict")  # carried out anew: the name is taken


def test_every_post_takes_a_key(house: Any, program: Any) -> None:
    from config.api_schema import openapi

    posts = [told["post"] for told in openapi()["paths"].values() if "post" in told]
    assert len(posts) > 25
    assert all([item["name"] for item in told["parameters"]].count("Idempotency-Key") == 1 for told in posts)
    ready = program("elena")
    url = f"/cohort-imports/{house.ready.pk}/confirm"
    assert [ready.post(url, key="c").headers.get("Idempotency-Replayed") for _ in range(2)] == [None, "true"]


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    with postgres_url() as url:
        yield url


def test_of_requests_at_the_same_moment_one_is_carried_out(address: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "AUSCULT_HOME": str(tmp_path),
        "AUSCULT_REDIS_URL": "memory://",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    environment.pop("AUSCULT_DATABASE_URL", None)
    if address:
        environment["AUSCULT_DATABASE_URL"] = address
    command = [sys.executable, "-m", "tests.api.many_senders"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        told = json.loads(line)
        assert (told["systems"], told["entries"], told["fresh"]) == (1, 1, 1), told
        assert set(told["statuses"]) <= {201, 409} and 201 in told["statuses"]
        assert told["bodies"] == 1 and told["after"] == "true" and told["intact"]
