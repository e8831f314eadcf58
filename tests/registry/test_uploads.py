"""Uploads over HTTP: promise, send, ask, go on, finish. Every refusal is JSON with its remedy."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from core.models import User
from models_registry import execution_intake
from models_registry.models import ModelVersion, SystemKind, UploadedFile, VersionIntake
from models_registry.services import intakes
from tests.registry.scene import Files, make_system, make_version, snapshot

LOG = "predictions.parquet"
BYTES = "application/octet-stream"


@pytest.fixture
def world(people: SimpleNamespace, files: Files, settings: Any, home: Path) -> SimpleNamespace:
    settings.STATIC_ROOT = home / "static"
    settings.STATIC_ROOT.mkdir()
    client = Client()
    client.force_login(people.elena)
    data = (files.predictions / LOG).read_bytes()
    return SimpleNamespace(people=people, files=files, system=make_system(people), client=client, data=data)


def begin(world: SimpleNamespace, **changes: Any) -> Any:
    body = {"label": "1.0", "adapter": "recorded", "files": [{"path": LOG, "size": len(world.data)}]} | changes
    address = reverse("intake-start", args=[world.system.slug])
    return world.client.post(address, body, content_type="application/json")


def address(world: SimpleNamespace, number: int, name: str = "intake-files", **query: Any) -> str:
    return reverse(name, args=[world.system.slug, number], query=query or None)


def put(world: SimpleNamespace, number: int, data: bytes, *, offset: int, path: str = LOG, **headers: Any) -> Any:
    return world.client.put(address(world, number, path=path, offset=offset), data, content_type=BYTES, **headers)


def test_an_upload_from_the_promise_to_the_registered_version(world: SimpleNamespace) -> None:
    answer = begin(world, notes="from the vendor")
    assert answer.status_code == 201
    state = answer.json()
    assert state["files"] == [{"path": LOG, "size": len(world.data), "received": 0}]
    assert state["status"] == "receiving"
    number = state["id"]
    assert state["href"] == reverse("intake", args=[world.system.slug, number])
    assert put(world, number, world.data[:1000], offset=0).json()["received"] == 1000
    # After a broken connection the sender asks, and goes on there.
    assert world.client.get(address(world, number)).json()["files"][0]["received"] == 1000
    last = len(world.data) - 1
    answer = world.client.patch(
        address(world, number, path=LOG),
        world.data[1000:],
        content_type=BYTES,
        headers={"content-range": f"bytes 1000-{last}/{len(world.data)}"},
    )
    assert answer.json() == {"path": LOG, "size": len(world.data), "received": len(world.data)}
    assert world.client.post(address(world, number, "intake-finish")).json()["status"] == "queued"
    execution_intake.check_intake(number)
    row = VersionIntake.objects.get(pk=number)
    assert row.status == "ready", row.checks
    intakes.confirm_intake(intake=row, by=world.people.elena)
    execution_intake.register_intake(number)
    assert ModelVersion.objects.get().notes == "from the vendor"


@pytest.mark.parametrize(
    ("data", "offset", "headers", "status", "words"),
    [
        (b"x", 5, {}, 409, "The bytes begin at 5; 0 of"),
        (b"x" * 100_000, 0, {}, 409, "reach beyond"),
        (b"x", "", {}, 422, "offset is missing"),
        (b"x", "-1", {}, 422, "offset is missing"),
        (b"x", "9" * 40, {}, 422, "offset is missing"),
        (b"x", 0, {"content-range": "bytes 0-0/7"}, 409, "now has 7 bytes"),
        (b"x", 0, {"content-range": "bytes 0-5/{size}"}, 422, "Content-Range and Content-Length differ"),
        (b"x", 0, {"content-range": "lines 0-5/7"}, 422, "cannot be read"),
        (b"x", 0, {"content-range": "bytes 5-5/{size}"}, 409, "The bytes begin at 5"),
    ],
)
def test_bytes_that_do_not_fit_are_refused_in_words(
    world: SimpleNamespace, data: bytes, offset: Any, headers: dict[str, str], status: int, words: str
) -> None:
    number = begin(world).json()["id"]
    headers = {name: value.replace("{size}", str(len(world.data))) for name, value in headers.items()}
    answer = put(world, number, data, offset=offset, headers=headers)
    assert answer.status_code == status
    body = answer.json()
    assert words in body["error"] and body["remedy"]
    assert UploadedFile.objects.get().received == 0


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"label": ""}, 409, "needs a label"),
        ({"label": 3}, 422, "no text"),
        ({"adapter": "magic"}, 422, "no adapter called"),
        ({"files": []}, 422, "1 to 10,000 files"),
        ({"files": None}, 422, "list of files is missing"),
        ({"files": [{"path": 1, "size": 1}]}, 422, "list of files is missing"),
        ({"files": [{"path": "a", "size": True}]}, 422, "list of files is missing"),
        ({"files": [{"path": "../a", "size": 1}]}, 422, "leads out"),
        ({"files": [{"path": "a", "size": 1 << 42}]}, 507, "GB free"),
        ({"backbone": "999"}, 404, "no such backbone"),
        ({"backbone": "x"}, 404, "no such backbone"),
    ],
)
def test_a_promise_that_is_refused_leaves_nothing(
    world: SimpleNamespace, changes: dict[str, Any], status: int, words: str
) -> None:
    before = snapshot()
    answer = begin(world, **changes)
    assert answer.status_code == status and words in answer.json()["error"]
    assert snapshot() == before


@pytest.mark.parametrize("body", [b"", b"[", b"[1]", b'"x"', b"[" * 100_000])
def test_what_is_no_json_object_is_refused(world: SimpleNamespace, body: bytes) -> None:
    answer = world.client.post(reverse("intake-start", args=[world.system.slug]), body, content_type="application/json")
    assert answer.status_code == 422 and "JSON" in answer.json()["error"]


def test_an_upload_is_its_starters_alone(world: SimpleNamespace) -> None:
    number = begin(world).json()["id"]
    colleague = User.objects.create(username="emil")
    colleague.role_grants.create(role="ml_engineer")
    for person, status in ((colleague, 403), (world.people.amir, 403), (world.people.rita, 403)):
        world.client.force_login(person)
        assert put(world, number, b"x", offset=0).status_code == status
        assert world.client.get(address(world, number)).status_code == status
        assert world.client.post(address(world, number, "intake-finish")).status_code == status
    assert begin(world).status_code == 403
    world.client.logout()
    assert put(world, number, b"x", offset=0).status_code == 302


def test_what_is_not_there_is_not_found(world: SimpleNamespace) -> None:
    number = begin(world).json()["id"]
    assert put(world, number, b"x", offset=0, path="other").status_code == 404
    assert put(world, number + 1, b"x", offset=0).status_code == 404
    elsewhere = reverse("intake-files", args=["other-system", number])
    assert world.client.get(elsewhere).status_code == 404
    world.system.slug = "nowhere"
    assert begin(world).status_code == 404


def test_a_page_of_another_site_cannot_send(world: SimpleNamespace) -> None:
    number = begin(world).json()["id"]
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(world.people.elena)
    assert strict.put(address(world, number, path=LOG, offset=0), b"x", content_type=BYTES).status_code == 403
    assert strict.post(address(world, number, "intake-finish")).status_code == 403


def test_an_upload_names_its_backbone(world: SimpleNamespace) -> None:
    world.system.kind = SystemKind.BACKBONE
    world.system.save()
    backbone = make_version(world.people, world.files.predictions, system=world.system)
    other = make_system(world.people, "Other model")
    world.system = other
    number = begin(world, backbone=backbone.pk).json()["id"]
    assert VersionIntake.objects.get(pk=number).backbone == backbone
    assert begin(world, backbone="").status_code == 201


def test_methods_that_mean_nothing_are_refused(world: SimpleNamespace) -> None:
    number = begin(world).json()["id"]
    assert world.client.delete(address(world, number)).status_code == 405
    assert world.client.get(reverse("intake-start", args=[world.system.slug])).status_code == 405
