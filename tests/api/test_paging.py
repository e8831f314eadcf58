"""Lists page by page: everything once, in order, also while rows are added; cursors that are not ours are refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from config.api_schema import openapi
from core.api.paging import MOST, USUAL
from evaluation.models import AuditRun, Measurement
from models_registry.models import AISystem
from tests.api.program import check_problem
from tests.pages import scene

LISTS = [path for path, told in openapi()["paths"].items() if "get" in told
         and any(item["name"] == "cursor" for item in told["get"]["parameters"])]  # fmt: skip


def walk(one: Any, path: str, limit: int, **query: Any) -> list[list[Any]]:
    pages, url = [], path
    asked = {} if "?" in path else query | {"limit": limit}
    while url:
        told = one.get(url, **asked)
        assert told.status_code == 200, told.content
        body, asked = told.json(), {}
        pages.append(body["items"])
        assert ("Link" in told.headers) == bool(body["next"])
        assert not body["next"] or told.headers["Link"] == f'<{body["next"]}>; rel="next"'
        url = body["next"]
    return pages


def systems(count: int) -> None:
    for number in range(count):
        scene.system(f"Model {number:03}")


@pytest.mark.parametrize("limit", [1, 3, 7, 200])
def test_everything_comes_once_and_in_order(house: Any, program: Any, limit: int) -> None:
    systems(20)
    pages = walk(program("clara"), "/systems", limit)
    names = [row["name"] for page in pages for row in page]
    assert names == list(AISystem.objects.order_by("name").values_list("name", flat=True))
    assert {len(page) for page in pages[:-1]} <= {limit} and 0 < len(pages[-1]) <= limit


def test_filters_stay_on_every_page(house: Any, program: Any) -> None:
    systems(9)
    pages = walk(program("clara"), "/systems", 2, q="Model 00")
    assert [row["name"] for page in pages for row in page] == [f"Model {number:03}" for number in range(9)]
    rows = walk(program("clara"), f"/audits/{house.fail.pk}/measurements", 3, label="effusion")
    told = [row["position"] for page in rows for row in page]
    wanted = Measurement.objects.filter(run=house.fail, label="effusion").order_by("position")
    assert told == list(wanted.values_list("position", flat=True)) and len(rows) > 1


def test_what_is_added_or_gone_meanwhile_moves_nothing(house: Any, program: Any) -> None:
    one = program("clara")
    runs = [scene.run(house.candidate, house.cohort, house.protocol) for _ in range(6)]
    before = [row["id"] for page in walk(one, "/audits", 200) for row in page]
    first = one.get("/audits", limit=3).json()
    late = scene.run(house.candidate, house.real, house.protocol)
    AuditRun.objects.filter(pk=late.pk).update(requested_at=timezone.now() + timedelta(seconds=1))
    assert before[0] == runs[-1].pk
    runs[-1].delete()  # was on the first page
    seen = [row["id"] for row in first["items"]]
    rest = [row["id"] for page in walk(one, first["next"], 3) for row in page]
    assert late.pk not in rest and seen + rest == before


def test_equal_keys_go_by_number(house: Any, program: Any) -> None:
    for _ in range(5):
        scene.run(house.candidate, house.cohort, house.protocol)
    AuditRun.objects.update(requested_at=timezone.now())
    told = [row["id"] for page in walk(program("clara"), "/audits", 2) for row in page]
    assert told == sorted(told, reverse=True) and len(set(told)) == AuditRun.objects.count()


@pytest.mark.parametrize("limit", [0, -1, MOST + 1, "x"])
def test_a_page_has_bounds(house: Any, program: Any, limit: Any) -> None:
    check_problem(program("clara").get("/systems", limit=limit), "not-as-asked")


def test_a_cursor_of_somebody_else_is_refused(house: Any, program: Any) -> None:
    one = program("clara")
    systems(USUAL + 1)
    cursor = one.get("/systems").json()["next"].partition("cursor=")[2]
    assert one.get(f"/systems?cursor={cursor}").status_code == 200
    check_problem(one.get(f"/cohorts?cursor={cursor}"), "not-as-asked")
    for wrong in (cursor[:-1], "x", "WyJhIiwxXQ:1:1", cursor.replace(":", "", 1)):
        check_problem(one.get("/systems", cursor=wrong), "not-as-asked")


@pytest.mark.parametrize("path", LISTS)
def test_every_list_is_one_page_of_the_same_kind(path: str, house: Any, program: Any) -> None:
    slug = house.cohort.cohort.slug if "cohorts" in path else house.system.slug
    told = program("clara").get(path.replace("{slug}", slug).replace("{pk}", str(house.fail.pk)), limit=1)
    assert told.status_code == 200 and set(told.json()) == {"items", "next"} and len(told.json()["items"]) <= 1


@pytest.mark.parametrize("path", LISTS)
def test_a_list_asks_the_database_so_often_however_long_it_is(
    path: str, house: Any, program: Any, django_assert_max_num_queries: Any
) -> None:
    slug = house.cohort.cohort.slug if "cohorts" in path else house.system.slug
    one = program("clara")
    with django_assert_max_num_queries(12):
        one.get(path.replace("{slug}", slug).replace("{pk}", str(house.fail.pk)), limit=200)
