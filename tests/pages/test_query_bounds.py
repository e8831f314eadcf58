"""Every page asks the database as often when there is several times as much, and no more often than it may."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import resolve

from tests.pages import addresses, regulation_scene
from tests.pages.test_queries import _count, _more

SignIn = Callable[[str], Client]
MOST = 12
WRITING = {"report-download": 13, "bundle-download": 13}
"""Each adds an entry to the ledger, in a transaction that is a savepoint of the test's own: two of the thirteen. How
many nodes of the ledger's tree that touches depends on the number of entries."""
WORKED_OUT = {"home": 33, "review": 20, "audit": 16, "reviews": 15, "version-use": 14, "version": 13} | dict.fromkeys(
    ("requirements", "requirement", "statement-write", "report-new", "requirement-counts", "report-preview"), 31
) | {"deployment-new": 19, "system": 13, "oversight-system": 13}  # fmt: skip
"""Pages that show what was worked out since the last act (``core.kept``): what they ask the first time. A number may
fall; none may rise."""


def _counts(client: Client, urls: list[str]) -> tuple[dict[str, int], dict[str, int]]:
    """What each page asks when nothing was worked out, and when somebody looked at it just before."""
    first, again = {}, {}
    for url in urls:
        cache.clear()
        first[url], again[url] = _count(client, url), _count(client, url)
    return first, again


@pytest.mark.parametrize("username", ["clara", "amir"])
def test_no_page_asks_more_when_there_is_more(house: SimpleNamespace, sign_in: SignIn, username: str) -> None:
    regulation_scene.answers(house.system)
    client = sign_in(username)
    urls = ["/", *addresses.pages(house), *addresses.parts(house), *addresses.issued(house)]
    for url in urls:  # some keep what they worked out in files
        client.get(url)
    before, _ = _counts(client, urls)
    _more(house)
    first, again = _counts(client, urls)
    named = {url: resolve(url.partition("?")[0]).url_name or "" for url in urls}
    grew = {url: (before[url], first[url]) for url in urls if first[url] > before[url]}
    assert {url: counts for url, counts in grew.items() if named[url] not in WRITING} == {}
    assert {url: again[url] for url in urls if again[url] > WRITING.get(named[url], MOST)} == {}
    allowed = {url: WORKED_OUT.get(named[url], WRITING.get(named[url], MOST)) for url in urls}
    assert {url: first[url] for url in urls if first[url] > allowed[url]} == {}
