"""What a page worked out and may show again: until something happens, and for a minute and a half at most.

What waits for a person and what holds of a version is asked of twenty tables. Between two acts the answer is the same,
so it is kept in the cache, under the newest entry of the ledger that changes anything. Whoever acts, on any floor and
in any process, writes an entry, and what was kept is not found again. What changes without an entry (time passes, a
worker notes how far it is) is worked out anew after :data:`SECONDS`, behind the page that shows it once more, so that
nobody waits for it; what nobody looked at for :data:`LONGEST` is shown by no page. What a person sends by a form is
seen at once.

Only pages read this. Acts, reports and bundles are made from the rows as they are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import cache as once
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

from django.conf import settings
from django.core.cache import cache
from django.db import close_old_connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import get_language
from redis.exceptions import RedisError

from core.models import LedgerEntry
from core.scope import systems_in_sight

T = TypeVar("T")
log = logging.getLogger("auscult.kept")
SECONDS, LONGEST = 30, 90
SENT = "kept-sent"
LOOKS = (
    "attachment.downloaded", "bundle.downloaded", "gallery.opened", "gate.checked", "grant.viewed",
    "release.downloaded", "report.downloaded", "studies.listed", "study.opened",
)  # fmt: skip
"""Acts that change nothing: somebody looked."""


@dataclass
class _Page:
    """What a page that only reads has asked already."""

    newest: str | None = None


_page: ContextVar[_Page | None] = ContextVar("page_that_reads", default=None)
_making: ContextVar[bool] = ContextVar("making_what_is_kept", default=False)
"""What is being worked out is not made of what is due to be worked out anew itself."""


def kept(name: str, *parts: object, make: Callable[[], T]) -> T:
    """What ``make`` returns, or returned since the last act for the same parts, language and systems in sight.

    Args:
        name: What it is, such as ``queue``.
        parts: What it depends on besides rows: for whom, about what. They are told apart by how they are written.
        make: Works it out. The result is the reader's own copy.
    """
    newest = _newest()
    if not newest:
        return make()
    try:
        about = repr((name, parts, get_language(), systems_in_sight(), newest, cache.get(SENT, 0)))
        key = f"kept-{sha256(about.encode()).hexdigest()}"
        found: tuple[float, T] | None = cache.get(key)
        if found is None or (_old(found) and (_making.get() or not settings.KEPT_BEHIND)):
            return _made(key, make)
        if _old(found) and cache.add(f"{key}-behind", 1, SECONDS):
            _behind().submit(copy_context().run, partial(_anew, key, make))
    except RedisError as error:
        log.warning("The cache did not answer (%s): worked out anew.", error)
        return make()
    return found[1]


def _old(found: tuple[float, Any]) -> bool:
    return time.time() - found[0] >= SECONDS


def _made(key: str, make: Callable[[], T]) -> T:
    """Worked out now and kept; the result is the reader's own, since the cache holds a copy."""
    begun, token = time.time(), _making.set(True)
    try:
        result = make()
    finally:
        _making.reset(token)
    cache.set(key, (begun, result), LONGEST)
    return result


def _anew(key: str, make: Callable[[], object]) -> None:
    """In the thread behind pages, which nobody waits for: what goes wrong there is for the log."""
    close_old_connections()
    try:
        _made(key, make)
    except Exception:
        log.exception("What a page keeps could not be worked out anew; it is shown for at most %s seconds.", LONGEST)
    finally:
        close_old_connections()


@once
def _behind() -> ThreadPoolExecutor:
    """One thread in each process, begun when it is first needed, so after the server has forked."""
    return ThreadPoolExecutor(1, thread_name_prefix="kept")


def _newest() -> str:
    """Hash of the newest entry that changes anything; empty without one. A page that only reads asks once."""
    page = _page.get()
    if page is None or page.newest is None:
        rows = LedgerEntry.objects.exclude(act__in=LOOKS).order_by("-index").values_list("leaf_hash", flat=True)
        newest = rows.first() or ""
        if page is None:
            return newest
        page.newest = newest
    return page.newest


class KeptMiddleware:
    """What was kept before a person sent something is not shown after it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method not in {"GET", "HEAD", "OPTIONS"}:
            answer = self.get_response(request)
            forget()
            return answer
        token = _page.set(_Page())
        try:
            return self.get_response(request)
        finally:
            _page.reset(token)


def forget() -> None:
    """Let nothing be found again that was kept so far."""
    try:
        cache.add(SENT, 0, None)
        cache.incr(SENT)
    except (RedisError, ValueError) as error:
        log.warning("The cache did not answer (%s): what was kept is shown for up to %s seconds.", error, LONGEST)
