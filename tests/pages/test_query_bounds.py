"""Every page asks the database as often when there is several times as much, and no more often than it may."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import resolve

from tests.pages import addresses, regulation_scene
from tests.pages.test_queries import _count, _more

SignIn = Callable[[str], Client]
MOST = 12
STILL_MORE = {
    "audit": 15, "monitor-new": 13, "reviews": 14, "review": 19, "deployment-new": 18, "oversight-system": 13,
    "requirements": 28, "requirement": 29, "statement-write": 29, "report-new": 30, "requirement-counts": 27,
    "report-preview": 27, "ledger": 17, "version-use": 13, "report-download": 13, "bundle-download": 13,
}  # fmt: skip
"""Pages that ask more than they should. A number may fall; none may rise, and no page may be added."""
WRITING = ("report-download", "bundle-download")
"""Each adds an entry to the ledger: how many nodes of its tree that touches depends on the number of entries."""
SEARCH = "act="
"""A search of the ledger looks at twice as many entries each time until it has found enough: at most 28 queries."""


@pytest.mark.parametrize("username", ["clara", "amir"])
def test_no_page_asks_more_when_there_is_more(house: SimpleNamespace, sign_in: SignIn, username: str) -> None:
    regulation_scene.answers(house.system)
    client = sign_in(username)
    urls = [*addresses.pages(house), *addresses.parts(house), *addresses.issued(house)]
    for url in urls:  # some keep what they worked out
        client.get(url)
    before = {url: _count(client, url) for url in urls}
    _more(house)
    after = {url: _count(client, url) for url in urls}
    named = {url: resolve(url.partition("?")[0]).url_name or "" for url in urls}
    grew = {url: (before[url], after[url]) for url in urls if after[url] > before[url]}
    assert {url: counts for url, counts in grew.items() if named[url] not in WRITING and SEARCH not in url} == {}
    allowed = {url: STILL_MORE.get(named[url], MOST) for url in urls}
    assert {url: after[url] for url in urls if after[url] > allowed[url]} == {}
