"""Requests by signed-in people at a fixed rate, whether or not the answers keep up: an open loop."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.web_addresses import Asked

SENDERS = 64
SECONDS = 60


@dataclass(kw_only=True)
class Measured:
    """What one address took: milliseconds in the server, in the database and before the server took it."""

    asked: Asked
    ms: list[float] = field(default_factory=list)
    db_ms: list[float] = field(default_factory=list)
    waited_ms: list[float] = field(default_factory=list)
    queries: list[int] = field(default_factory=list)
    size: int = 0
    wrong: list[int] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """The least time that at least this share of the answers took no longer than."""
        rows = sorted(self.ms)
        return rows[min(len(rows) - 1, int(share * len(rows)))] if rows else float("nan")


def sessions() -> dict[str, str]:
    """A session key for everybody who asks for pages."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from core.models import User

    found = {}
    for user in User.objects.exclude(username__startswith="person"):
        kept = SessionStore()
        kept[SESSION_KEY] = str(user.pk)
        kept[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        kept[HASH_SESSION_KEY] = user.get_session_auth_hash()
        kept.create()
        found[user.username] = str(kept.session_key)
    return found


def ask(address: str, path: str, session: str, place: int, planned: float) -> tuple[int, bytes, dict[str, str]]:
    """One request; status, body, heads."""
    parts = urlsplit(address)
    client = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=SECONDS)
    heads = {"X-Bench": f"{place} {planned}", "Accept-Encoding": "gzip, br"}
    if session:
        heads["Cookie"] = f"sessionid={session}"
    try:
        client.request("GET", path, headers=heads)
        answer = client.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        client.close()


def open_loop(
    address: str, asked: Sequence[Asked], cookies: Mapping[str, str], *, each: int, rate: float, seed: int = 0
) -> None:
    """Ask for every address ``each`` times, in an order drawn anew for every round, ``rate`` times a second."""
    draw = random.Random(seed)
    plan = [place for _ in range(each) for place in draw.sample(range(len(asked)), len(asked))]
    begin = time.time() + 0.5
    with ThreadPoolExecutor(SENDERS) as pool:
        for number, place in enumerate(plan):
            planned = begin + number / rate
            time.sleep(max(0.0, planned - time.time()))
            item = asked[place]
            who = item.who[(number // len(asked)) % len(item.who)]
            pool.submit(_ask_or_fail, address, item.address, cookies.get(who, ""), place, planned)


def _ask_or_fail(address: str, path: str, session: str, place: int, planned: float) -> None:
    try:
        ask(address, path, session, place, planned)
    except OSError as error:
        print(f"{path}: {error}")


def read(log: Path, asked: Sequence[Asked]) -> list[Measured]:
    """What the server wrote down, by address; the file is emptied."""
    rows: dict[int, list[dict[str, float]]] = defaultdict(list)
    for line in log.read_text().splitlines():
        told = json.loads(line)
        rows[int(told["place"])].append(told)
    with log.open("r+b") as file:
        file.truncate(0)
    found = []
    for place, item in enumerate(asked):
        one = Measured(asked=item)
        for told in rows[place]:
            one.ms.append(told["ms"])
            one.db_ms.append(told["db_ms"])
            one.waited_ms.append(told["waited_ms"])
            one.queries.append(int(told["queries"]))
            one.size = max(one.size, int(told["bytes"]))
            if told["status"] not in (200, 204):
                one.wrong.append(int(told["status"]))
        found.append(one)
    return found
