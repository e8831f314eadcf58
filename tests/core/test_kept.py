"""What pages worked out is shown until something happens, to whom it was worked out for; acts never read it."""

from __future__ import annotations

import ast
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import SuspiciousOperation
from django.db import transaction
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import translation
from redis.exceptions import ConnectionError as NoConnectionError

from core import kept as module
from core import ledger
from core.kept import LOOKS, KeptMiddleware, kept
from core.scope import in_sight, systems_in_sight
from core.sealed import SealedSerializer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def clean(db: None) -> Iterator[None]:
    cache.clear()
    act("system.registered")
    yield
    cache.clear()


def act(name: str) -> None:
    with transaction.atomic():
        ledger.record(actor="ada", act=name, subject=("AISystem", 1))


@pytest.fixture
def ask() -> Callable[..., int]:
    """How often it was worked out, as the answer."""
    times = iter(range(1, 100))
    return lambda *parts: kept("answer", *parts, make=lambda: next(times))


def test_it_is_worked_out_once_between_two_acts(ask: Callable[..., int]) -> None:
    assert [ask(), ask(), ask()] == [1, 1, 1]
    act("vote.cast")
    assert [ask(), ask()] == [2, 2]


@pytest.mark.parametrize("name", LOOKS)
def test_who_only_looked_changed_nothing(ask: Callable[..., int], name: str) -> None:
    assert ask() == 1
    act(name)
    assert ask() == 1


def test_another_person_language_or_sight_is_another_answer(ask: Callable[..., int]) -> None:
    assert [ask(1), ask(2), ask(1)] == [1, 2, 1]
    with translation.override("de"):
        assert ask(1) == 3
    with in_sight({7}):
        assert ask(1) == 4
    with in_sight({7, 8}):
        assert ask(1) == 5
    assert ask(1) == 1


def test_each_reader_has_a_copy(ask: Callable[..., int]) -> None:
    first: list[int] = kept("list", make=lambda: [1])
    first.append(2)
    second: list[int] = kept("list", make=lambda: [3])
    second.append(4)
    assert kept("list", make=lambda: [5]) == [1]


class Clock:
    """Time that passes when a test says so."""

    now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_what_changes_without_an_act_is_seen_after_half_a_minute(ask: Callable[..., int], clock: Clock) -> None:
    assert ask() == 1
    clock.now += 29
    assert ask() == 1
    clock.now += 1
    assert ask() == 2


class Behind:
    """The thread behind pages, that works when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], Any]] = []

    def submit(self, run: Callable[..., Any], *given: Any) -> None:
        self.waiting.append(lambda: run(*given))

    def work(self) -> None:
        while self.waiting:
            self.waiting.pop()()


@pytest.fixture
def behind(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Behind:
    settings.KEPT_BEHIND = True
    behind = Behind()
    monkeypatch.setattr(module, "_behind", lambda: behind)
    return behind


def test_a_page_shows_what_it_kept_while_it_is_worked_out_anew_behind_it(
    ask: Callable[..., int], clock: Clock, behind: Behind
) -> None:
    assert ask() == 1
    clock.now += 30
    assert [ask(), ask()] == [1, 1]
    assert len(behind.waiting) == 1, "once for all who look"
    behind.work()
    assert ask() == 2


def test_what_is_due_is_not_shown_after_an_act(ask: Callable[..., int], clock: Clock, behind: Behind) -> None:
    assert ask() == 1
    clock.now += 30
    act("vote.cast")
    assert (ask(), behind.waiting) == (2, [])


def test_what_nobody_looked_at_is_not_kept_for_long(
    ask: Callable[..., int], behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    write = cache.set
    monkeypatch.setattr(cache, "set", lambda key, value, timeout: (given.append(timeout), write(key, value, timeout)))
    assert (ask(), given, behind.waiting) == (1, [90], [])


def test_what_is_worked_out_is_not_made_of_what_is_due(clock: Clock, behind: Behind) -> None:
    parts = iter(("old", "new"))

    def part() -> str:
        return kept("part", make=lambda: next(parts))

    assert part() == "old"
    clock.now += 31
    assert kept("whole", make=part) == "new"
    assert (part(), behind.waiting) == ("new", [])


def test_it_is_worked_out_anew_for_who_asked(clock: Clock, behind: Behind) -> None:
    def told() -> tuple[str, Any]:
        return kept("told", make=lambda: (translation.get_language(), systems_in_sight()))

    with translation.override("de"), in_sight({7}):
        assert told() == ("de", (7,))
        clock.now += 30
        told()
    behind.work()
    clock.now += 1
    with translation.override("de"), in_sight({7}):
        assert told() == ("de", (7,))
    assert told()[1] is None


def test_what_goes_wrong_behind_is_for_the_log(clock: Clock, behind: Behind, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Any] = [1]
    assert kept("fails", make=lambda: answers.pop()) == 1
    clock.now += 30
    assert kept("fails", make=lambda: answers.pop()) == 1
    behind.work()
    assert "could not be worked out anew" in caplog.text
    assert kept("fails", make=lambda: answers.pop()) == 1


def test_the_thread_behind_works(clock: Clock, settings: Any) -> None:
    settings.KEPT_BEHIND = True
    threads = []

    def make() -> int:
        threads.append(threading.current_thread().name)
        return len(threads)

    assert kept("thread", make=make) == 1
    clock.now += 30
    assert kept("thread", make=make) == 1
    module._behind().submit(lambda: None).result(10)
    assert kept("thread", make=make) == 2
    assert threads[1].startswith("kept")


@pytest.mark.parametrize(("method", "second"), [("get", 1), ("head", 1), ("post", 2), ("delete", 2)])
def test_what_a_person_sends_is_seen_at_once(ask: Callable[..., int], method: str, second: int) -> None:
    assert ask() == 1
    KeptMiddleware(lambda request: HttpResponse())(getattr(RequestFactory(), method)("/"))
    assert ask() == second


def test_a_page_asks_the_ledger_once(ask: Callable[..., int], django_assert_num_queries: Any) -> None:
    def page(request: Any) -> HttpResponse:
        return HttpResponse(f"{ask('a')} {ask('b')} {ask('a')}")

    with django_assert_num_queries(1):
        assert KeptMiddleware(page)(RequestFactory().get("/")).content == b"1 2 1"
    act("vote.cast")
    assert KeptMiddleware(page)(RequestFactory().get("/")).content == b"3 4 3"
    with django_assert_num_queries(3):  # while something is sent, an act may come in between
        KeptMiddleware(page)(RequestFactory().post("/"))


def test_without_the_cache_it_is_worked_out_each_time(
    ask: Callable[..., int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise NoConnectionError("Connection refused")

    for name in ("get", "set", "add", "incr"):
        monkeypatch.setattr(cache, name, away)
    assert [ask(), ask()] == [1, 2]
    KeptMiddleware(lambda request: HttpResponse())(RequestFactory().post("/"))
    assert "The cache did not answer (Connection refused)" in caplog.text


def test_before_the_first_act_nothing_is_kept(ask: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_newest", lambda: "")
    assert [ask(), ask()] == [1, 2]


def test_no_act_is_decided_on_what_was_kept() -> None:
    """Services, tasks and the interface for programs read rows; only pages and what they show read this."""
    pages = {"governance/dossier.py", "governance/previews.py", "governance/selectors/requirements.py",
             "governance/selectors/portal.py"}  # fmt: skip
    users = {
        path.relative_to(ROOT).as_posix()
        for app in ("core", "models_registry", "evaluation", "synthetic", "governance")
        for path in (ROOT / app).rglob("*.py")
        if _imported(path) & {"core.kept.kept", "governance.dossier.dossier_for_page"}
    }
    assert {name for name in users if "/pages/" not in name} == pages


def _imported(path: Path) -> set[str]:
    """What a module imports from others, by full names."""
    found = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom))
    return {f"{node.module}.{name.name}" for node in found for name in node.names}


def test_what_another_wrote_into_redis_is_not_unpickled(settings: Any) -> None:
    seal = SealedSerializer()
    kept_bytes = seal.dumps({"a": [1, None]})
    assert isinstance(kept_bytes, bytes) and seal.loads(kept_bytes) == {"a": [1, None]}
    assert (seal.dumps(41), seal.loads(b"41"), seal.loads(b"-2")) == (41, 41, -2)
    assert seal.loads(seal.dumps(True)) is True  # type: ignore[arg-type]
    for forged in (pickle.dumps({"a": 1}), b"", kept_bytes[:-1] + bytes([kept_bytes[-1] ^ 1]), b"0" + kept_bytes):
        with pytest.raises(SuspiciousOperation):
            seal.loads(forged)
    settings.SECRET_KEY = "another secret of another installation"
    with pytest.raises(SuspiciousOperation):
        seal.loads(kept_bytes)
