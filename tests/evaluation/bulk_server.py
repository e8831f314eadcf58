"""A FHIR server on the loopback that makes bulk exports, as slowly and as badly as a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class BulkServer:
    """What it holds, what it was asked, and how it misbehaves.

    Attributes:
        resources: Kind -> resources. ``raw``: Kind -> lines that are sent as they are, besides.
        waits: How often a status is answered with 202 first.
        count: Added to the number of resources that the manifest promises.
        status: Instead of 202 for a kick-off.
    """

    def __init__(self) -> None:
        self.resources: dict[str, list[dict[str, Any]]] = {}
        self.raw: dict[str, list[str]] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.waits, self.count, self.status = 0, 0, 202
        self.post_alone = self.lost = False
        self.elsewhere = ""
        self.deleted = 0
        self.base = ""
        self._orders: list[list[str]] = []

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(path)
        self.asked.append((method, path, headers.get("Authorization", "")))
        if parts.path.endswith("$export"):
            return self._order(method, parts.query, headers, body)
        number = int(parts.path.rsplit("/", 1)[-1])
        if "/status/" in parts.path:
            return self._status(method, number)
        kind = parse_qs(parts.query)["kind"][0]
        lines = [json.dumps(item) for item in self.resources.get(kind, [])] + self.raw.get(kind, [])
        return 200, {"Content-Type": "application/fhir+ndjson"}, "\n".join(lines).encode()

    def _order(self, method: str, query: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        assert headers["Prefer"] == "respond-async" and headers["Accept"] == "application/fhir+json"
        if self.post_alone and method == "GET":
            return 405, {}, b""
        if method == "POST":
            named = {item["name"]: item for item in json.loads(body)["parameter"]}
            assert "valueInstant" in named.get("_since", {"valueInstant": ""})
            kinds = named["_type"]["valueString"]
        else:
            kinds = parse_qs(query)["_type"][0]
        self._orders.append(kinds.split(","))
        host = self.elsewhere or self.base
        return self.status, {"Content-Location": f"{host}/status/{len(self._orders) - 1}"}, b""

    def _status(self, method: str, number: int) -> tuple[int, dict[str, str], bytes]:
        if method == "DELETE":
            self.deleted += 1
            return 202, {}, b""
        if self.lost:
            return 404, {}, b""
        if self.waits:
            self.waits -= 1
            return 202, {"Retry-After": "7", "X-Progress": "half"}, b""
        made = [
            {"type": kind, "url": f"{self.base}/file/{number}?kind={kind}", "count": len(held) + self.count}
            for kind in self._orders[number]
            if (held := self.resources.get(kind, []))
        ]
        return 200, {}, json.dumps({"output": made, "error": [], "requiresAccessToken": True}).encode()


@contextmanager
def bulk_server() -> Iterator[BulkServer]:
    """A server in a thread, for as long as the block lasts."""
    known = BulkServer()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, answer = known.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_DELETE = _any

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.base = f"http://127.0.0.1:{server.server_port}/r4"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
