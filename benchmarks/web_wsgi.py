"""The web application as gunicorn serves it, with a stopwatch around it: a line of JSON for each answer.

``ms`` is from the moment at which a thread of the server takes the request up to the last byte of the body being made;
``waited_ms`` is before, since the sender had planned to send it; ``queries`` and ``db_ms`` are the database's part.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from django.db import connection

from config.wsgi import application as inner

_log = os.open(os.environ["AUSCULT_BENCH_LOG"], os.O_WRONLY | os.O_APPEND)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer, and write down what it took. What the client marked with ``X-Bench`` is written beside."""
    asked: list[float] = []
    answered: list[str] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        begin = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            asked.append(time.perf_counter() - begin)

    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        answered.append(status[:3])
        return start_response(status, headers, *rest)

    now, begin = time.time(), time.perf_counter()
    with connection.execute_wrapper(watch):
        parts = inner(environ, start)
        try:
            body = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
    took = time.perf_counter() - begin
    if mark := environ.get("HTTP_X_BENCH"):
        place, planned = mark.split()
        _write(
            place=int(place), status=int(answered[-1]), ms=1000 * took, waited_ms=1000 * max(0.0, now - float(planned)),
            queries=len(asked), db_ms=1000 * sum(asked), bytes=len(body),
        )  # fmt: skip
    return [body]


def _write(**told: float) -> None:
    os.write(_log, json.dumps({name: round(value, 3) for name, value in told.items()}).encode() + b"\n")
