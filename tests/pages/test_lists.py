"""Lists by their address: what may be asked, what is left out, links that keep what was asked."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core.pages.lists import Choice, Column, Listing, ListPlan, read_list
from models_registry.models import AISystem
from tests.pages import scene
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]
LISTS = ["/systems/", "/audits/", "/cohorts/", "/reports/", "/audits/protocols/"]
MOST_QUERIES = 12


def by_name(**more: Any) -> ListPlan:
    columns = (
        Column(title="Name", key="name", order=("name",)),
        Column(title="Class", key="class", order=("risk_class",)),
        Column(title="Since", key="since", order=("created_at",), down=True),
        Column(title="Picture"),
    )
    choices = (
        Choice(name="kind", title="Kind", every="Any", field="kind", options=(("system", "S"), ("backbone", "B"))),
    )
    facts: dict[str, Any] = {"columns": columns, "sort": "name", "search": ("name", "provider"), "choices": choices}
    return ListPlan(**facts | {"size": 3} | more)


def asked(query: str, rows: Any = None, plan: ListPlan | None = None, **more: Any) -> Listing[Any]:
    return read_list(QueryDict(query), AISystem.objects.all() if rows is None else rows, plan or by_name(), **more)


def names(found: Listing[Any]) -> list[str]:
    return [row.name for row in found.page]


@pytest.fixture
def systems(db: None) -> list[AISystem]:
    made = [scene.system(name) for name in ("Alpha", "Beta", "Gamma 50%", "Delta", "Epsilon")]
    AISystem.objects.filter(name="Beta").update(provider="Other Ltd", kind="backbone")
    return made


def test_every_word_is_looked_for_in_any_field(systems: list[AISystem]) -> None:
    assert names(asked("q=ALPHA")) == ["Alpha"]
    assert names(asked("q=other+bet")) == ["Beta"]
    assert names(asked("q=other+alpha")) == []
    assert names(asked("q=50%25")) == ["Gamma 50%"], "a percent sign is no wild card"
    assert names(asked("q=%00Alpha%00")) == ["Alpha"]


def test_a_sort_that_the_plan_does_not_name_is_left_out(systems: list[AISystem]) -> None:
    usual = names(asked(""))
    assert usual == ["Alpha", "Beta", "Delta"]
    for strange in ("created_by__password", "--name", "-", "pk", "Name", "name;drop"):
        assert names(asked(f"sort={strange}")) == usual, strange
    assert names(asked("sort=-name")) == ["Gamma 50%", "Epsilon", "Delta"]


def test_without_a_value_comes_last_either_way(db: None) -> None:
    rows = [SimpleNamespace(name=str(value), at=value) for value in (3, None, 1)]
    plan = ListPlan(columns=(Column(title="At", key="at", value=lambda row: row.at),))
    assert names(asked("sort=at", rows, plan)) == ["1", "3", "None"]
    assert names(asked("sort=-at", rows, plan)) == ["3", "1", "None"]


def test_nothing_fits_an_unknown_choice_and_it_is_seen(systems: list[AISystem]) -> None:
    assert names(asked("kind=backbone")) == ["Beta"]
    found = asked("kind=nothing")
    assert (len(found.rows), found.filtered) == (0, True)
    assert found.choices[0].options[-1] == ("nothing", "nothing"), "who opens a shared address sees why it is empty"


def test_links_keep_what_was_asked_and_give_the_page_up(systems: list[AISystem]) -> None:
    found = asked("q=a&kind=system&sort=-name&page=2&mine=1&strange=2", keep=["mine"])
    name, since, picture = found.heads[0], found.heads[2], found.heads[3]
    assert (name.aria, since.aria, picture.aria, picture.href) == ("descending", "none", "", "")
    told = parse_qs(urlsplit(name.href).query)
    assert told == {"q": ["a"], "kind": ["system"], "mine": ["1"], "sort": ["name"]}
    assert parse_qs(urlsplit(since.href).query)["sort"] == ["-since"], "dates: the newest first"
    assert parse_qs(found.query) == {"q": ["a"], "kind": ["system"], "mine": ["1"], "sort": ["-name"]}
    assert parse_qs(urlsplit(found.everything).query) == {"mine": ["1"], "sort": ["-name"]}


def test_pages_are_walked_without_a_row_lost_or_twice(systems: list[AISystem]) -> None:
    AISystem.objects.update(risk_class="the same")
    seen = [name for page in (1, 2) for name in names(asked(f"sort=class&page={page}"))]
    assert sorted(seen) == sorted(row.name for row in systems)
    assert asked("page=99").page.number == 2 and asked("page=x").page.number == 1


def test_rows_that_are_none_of_the_database(db: None) -> None:
    rows = [SimpleNamespace(name=name, size=size) for name, size in (("ab", 2), ("bc", 9), ("cd", 5))]
    choice = Choice(name="big", title="Big", every="Any", options=(("yes", "Yes"),),
                    keep=lambda items, _: [item for item in items if item.size > 4])  # fmt: skip
    column = Column(title="Size", key="size", value=lambda row: row.size)
    plan = ListPlan(columns=(column,), choices=(choice,), text=lambda row: row.name)
    assert names(asked("q=B&sort=-size", rows, plan)) == ["bc", "ab"]
    assert names(asked("big=yes&sort=size", rows, plan)) == ["cd", "bc"]
    assert names(asked("", rows, plan)) == ["ab", "bc", "cd"], "without a sort they stay as they come"


@pytest.mark.parametrize("url", LISTS)
def test_every_list_is_searched_sorted_and_paged_by_its_address(
    house: SimpleNamespace, sign_in: SignIn, url: str
) -> None:
    client = sign_in("amir")
    text = client.get(url).content.decode()
    assert "aria-sort" in text and 'type="search"' in text and Page(text).faults == []
    links = [unescape(part.split('"')[0]) for part in text.split('class="sort" href="')[1:]]
    assert len(links) >= 4
    for link in links:
        answer = client.get(url + link)
        key = parse_qs(urlsplit(link).query)["sort"][0]
        wanted = "descending" if key.startswith("-") else "ascending"
        assert answer.status_code == 200 and answer.content.decode().count(f'aria-sort="{wanted}"') == 1, link
    nothing = client.get(url, {"q": "no such thing anywhere"}).content.decode()
    assert "Show all" in nothing and 'value="no such thing anywhere"' in nothing
    assert client.get(url, {"q": "\0'\"<script>alert(1)</script>%_"}).status_code == 200


@pytest.mark.parametrize("url", LISTS)
def test_a_list_asks_no_more_than_twelve_questions_at_any_size(
    house: SimpleNamespace, sign_in: SignIn, url: str
) -> None:
    client = sign_in("amir")

    def count() -> int:
        with CaptureQueriesContext(connection) as found:
            assert client.get(f"{url}?q=e&sort=-by" if "audits" in url or "reports" in url else url).status_code == 200
        return len(found)

    before = count()
    for number in range(30):
        version = scene.version(f"7.{number}", of=scene.system(f"Extra {number}"), status="in_review")
        scene.report(scene.run(version, house.cohort, house.protocol, shards=1))
        scene.cohort(f"Extra cohort {number}")
    assert (count(), before <= MOST_QUERIES) == (before, True), before
