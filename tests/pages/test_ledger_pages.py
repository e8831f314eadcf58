"""The pages of the ledger: search, entries with their proofs, signed heads."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core import heads, ledger, selectors, verification
from core.models import LedgerEntry, SignedHead
from core.proof_files import check_proof, parse_proof
from core.selectors import PAGE, Search, entry_page, words_recorded

SignIn = Callable[[str], Client]
NOON = datetime(2100, 11, 20, 12, tzinfo=UTC)  # After whatever the scene did.
ACTS = ("run.requested", "run.judged", "vote.cast")
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def home(tmp_path: Any, settings: LazySettings) -> None:
    settings.AUSCULT_HOME = tmp_path


@pytest.fixture
def entries(house: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> list[LedgerEntry]:
    """Two hundred further entries, one an hour."""
    written = []
    first = ledger.tree_head().size
    for number in range(200):
        monkeypatch.setattr(ledger.timezone, "now", lambda number=number: NOON + timedelta(hours=number))
        with transaction.atomic():
            payload = {"note": "<script>alert(1)</script>", "digest": f"{number:064x}"}
            about = ("AuditRun", number // 5)
            entry = ledger.record(actor=f"person{number % 7}", act=ACTS[number % 3], subject=about, payload=payload)
            written.append(entry)
    monkeypatch.undo()
    assert written[0].index == first
    return written


def walked(search: Search, matching: Callable[[LedgerEntry], bool]) -> None:
    """From the newest page to the oldest and back, each entry once and in order; by counting through all of them."""
    expected = [entry.index for entry in LedgerEntry.objects.order_by("-index") if matching(entry)]
    page = entry_page(search)
    assert page.newer is None
    found, pages = [entry.index for entry in page.entries], [page]
    while page.older is not None:
        page = entry_page(search, before=page.older)
        found += [entry.index for entry in page.entries]
        pages.append(page)
    assert found == expected
    back = [entry.index for entry in page.entries]
    while page.newer is not None:
        page = entry_page(search, after=page.newer)
        numbers = [entry.index for entry in page.entries]
        back = [*numbers, *(index for index in back if not numbers or index < numbers[-1])]
    assert back == expected


SEARCHES = [
    (Search(), lambda entry: True),
    (Search(act="run.judged"), lambda entry: entry.act == "run.judged"),
    (Search(actor="person3"), lambda entry: entry.actor == "person3"),
    (Search(subject_kind="AuditRun", subject_id="7"), lambda entry: entry.subject_id == "7"),
    (Search(subject_kind="AuditRun"), lambda entry: entry.subject_kind == "AuditRun"),
    (Search(words="PERSON3 judged"), lambda entry: "person3" in entry.body and "judged" in entry.body),
    (Search(words=f"{77:064x}"), lambda entry: f"{77:064x}" in entry.body),
    (Search(words="100%"), lambda entry: False),
]


@pytest.mark.parametrize(("search", "matching"), SEARCHES)
@pytest.mark.parametrize("window", [7, 60, 200_000])
@pytest.mark.parametrize("few", [0, 2_000])
def test_a_search_finds_each_entry_once_however_far_it_looks_at_a_time(
    entries: list[LedgerEntry], monkeypatch: pytest.MonkeyPatch, search: Search, matching: Any, window: int, few: int
) -> None:
    monkeypatch.setattr(selectors, "SEARCHED", window)
    monkeypatch.setattr(selectors, "FEW", few)
    walked(search, matching)


@pytest.mark.parametrize(("begin", "end"), [(0, 24), (-100, 3), (150, 1000), (5.5, 6.5), (1000, 2000), (30, 30)])
def test_days_are_found_by_their_moments(entries: list[LedgerEntry], begin: float, end: float) -> None:
    since, until = NOON + timedelta(hours=begin), NOON + timedelta(hours=end)
    page = entry_page(Search(since=since, until=until))
    expected = [entry.index for entry in reversed(entries) if since <= entry.recorded_at < until]
    assert [entry.index for entry in page.entries] == expected[:PAGE]


def test_what_a_page_costs_does_not_grow(entries: list[LedgerEntry]) -> None:
    """No COUNT, no OFFSET, and a limit on every list."""
    with CaptureQueriesContext(connection) as asked:
        entry_page(Search(act="run.judged"), before=150)
        words_recorded()
    said = " ".join(query["sql"] for query in asked)
    assert "COUNT(" not in said and "OFFSET" not in said and "DISTINCT" not in said
    assert len(asked) <= 4


def test_acts_and_kinds_are_those_that_occur(entries: list[LedgerEntry]) -> None:
    acts, kinds = words_recorded()
    assert acts == sorted(set(LedgerEntry.objects.values_list("act", flat=True)))
    assert kinds == sorted(set(LedgerEntry.objects.values_list("subject_kind", flat=True)))


def test_the_browser_searches_pages_and_jumps(entries: list[LedgerEntry], sign_in: SignIn) -> None:
    client, newest = sign_in("dora"), entries[-1].index
    text = client.get("/governance/ledger/").content.decode()
    assert f"Entries {newest} to {newest - 49}" in text and "<script>alert" not in text
    text = client.get(f"/governance/ledger/?before={newest - 49}").content.decode()
    assert f"Entries {newest - 50} to {newest - 99}" in text and "Newer" in text
    text = client.get("/governance/ledger/?kind=AuditRun&subject=7&since=2100-11-01&until=2100-12-31").content.decode()
    assert "Audit run 7" in text and "Audit run 8" not in text
    assert "No entry matches" in client.get("/governance/ledger/?until=2020-01-01").content.decode()
    assert client.get("/governance/ledger/?number=5").headers["Location"] == "/governance/ledger/5/"
    assert "Enter a valid date" in client.get("/governance/ledger/?since=yesterday").content.decode()
    assert client.get("/governance/ledger/?before=x&after=-1&number=y").status_code == 200


def test_a_search_that_stops_says_how_far_it_looked(
    entries: list[LedgerEntry], sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "SEARCHED", 20)
    last = entries[-1].index
    text = sign_in("dora").get("/governance/ledger/?q=nothing-like-this").content.decode()
    assert "Nothing found so far" in text and f"Looked back to entry {last - 19}" in text
    assert f"?q=nothing-like-this&amp;before={last - 19}" in text


def test_an_entry_shows_all_of_it_with_its_proof(entries: list[LedgerEntry], sign_in: SignIn) -> None:
    client, entry = sign_in("dora"), entries[20]
    url = f"/governance/ledger/{entry.index}/"
    assert "No head was signed since it was written" in client.get(url).content.decode()
    assert client.get(f"{url}proof.json").status_code != 200
    heads.sign_head()
    text = client.get(url).content.decode()
    assert "<script>alert" not in text and "&lt;script&gt;" in text
    assert f"/governance/ledger/{entry.index - 1}/" in text and f"/governance/ledger/{entry.index + 1}/" in text
    response = client.get(f"{url}proof.json")
    assert response.headers["Content-Disposition"] == f'attachment; filename="ledger-entry-{entry.index}.json"'
    assert check_proof(parse_proof(response.content, "x"), trust=[SignedHead.objects.get().key_id]).ok


def test_an_entry_whose_clock_was_behind_says_so(
    entries: list[LedgerEntry], sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger.timezone, "now", lambda: NOON)
    with transaction.atomic():
        entry = ledger.record(actor="amir", act="thing.done", subject=("Thing", 1))
    monkeypatch.undo()
    client = sign_in("dora")
    assert "A clock was set back" in client.get(f"/governance/ledger/{entry.index}/").content.decode()
    text = client.post("/governance/ledger/verify/").content.decode()
    assert "The ledger is intact" in text and f"Entry {entry.index} was recorded 716400 s before" in text


def test_heads_are_listed_and_given_away(entries: list[LedgerEntry], sign_in: SignIn) -> None:
    client = sign_in("dora")
    assert "No head is signed yet" in client.get("/governance/ledger/heads/").content.decode()
    older = heads.sign_head()
    with transaction.atomic():
        ledger.record(actor="amir", act="thing.done", subject=("Thing", 1))
    newer = heads.sign_head()
    text = client.get("/governance/ledger/heads/").content.decode()
    assert text.count("Holds") == 2 and "Nothing was added since" in text
    file = client.get(f"/governance/ledger/heads/{newer.size}.json")
    assert f"begins with the {older.size} entries" in check_proof(parse_proof(file.content, "x")).shown
    url = "/governance/ledger/heads/consistency.json"
    file = client.get(f"{url}?from={older.size}&to={newer.size}")
    assert json.loads(file.content)["kind"] == "consistency" and check_proof(parse_proof(file.content, "x")).ok
    for query in ("", "?from=1&to=2", f"?from={newer.size}&to={older.size}", "?from=x&to=y"):
        refused = client.get(url + query)
        assert refused.status_code == 422 and "There is no such proof" in refused.content.decode()


def test_a_head_that_was_changed_shows(entries: list[LedgerEntry], sign_in: SignIn) -> None:
    heads.sign_head()
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER signed_head_no_update")
    SignedHead.objects.update(root="0" * 64)
    assert "Does not hold" in sign_in("dora").get("/governance/ledger/heads/").content.decode()


def test_heads_page_through_all_of_them(house: SimpleNamespace, sign_in: SignIn) -> None:
    for _ in range(60):
        with transaction.atomic():
            ledger.record(actor="amir", act="thing.done", subject=("Thing", 1))
        heads.sign_head()
    client, seen, url = sign_in("dora"), 0, "/governance/ledger/heads/"
    while url:
        with CaptureQueriesContext(connection) as asked:
            response = client.get(url)
        assert len(asked) <= 20
        seen += response.content.decode().count("Holds")
        older = response.context["older"]
        url = f"/governance/ledger/heads/?before={older}" if older else ""
    assert seen == 60, "each one's signature was checked beside the one before it, over the edges of pages too"


def test_a_long_ledger_is_verified_by_a_worker(
    entries: list[LedgerEntry], sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "AT_ONCE", 10)
    monkeypatch.setattr("core.tasks.verify_ledger.delay", lambda: None)
    client = sign_in("dora")
    response = client.post("/governance/ledger/verify/")
    assert (response.status_code, response.headers["Location"]) == (302, "/governance/ledger/#verification")
    text = client.get("/governance/ledger/").content.decode()
    assert "A worker verifies the ledger" in text and 'hx-get="/governance/ledger/verification/"' in text
    verification.run_verification()
    text = client.get("/governance/ledger/verification/").content.decode()
    assert "The ledger is intact" in text and "hx-get" not in text
    assert "The ledger is intact" in client.get("/governance/ledger/").content.decode()
