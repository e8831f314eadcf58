"""What a program does: it sends JSON with a token, and reads JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.test import Client

from core.api.problems import DOCUMENT, KINDS


@dataclass(frozen=True)
class Program:
    """A client that knows nothing but its token."""

    secret: str

    def get(self, path: str, **query: Any) -> Any:
        return Client().get(_full(path), query, headers=self.headers)

    def post(self, path: str, body: Any = None, *, key: str = "", kind: str = "application/json") -> Any:
        raw = body if isinstance(body, str | bytes) else "" if body is None else json.dumps(body)
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        return Client(enforce_csrf_checks=True).post(_full(path), raw, kind, headers=headers)

    def put(self, path: str, body: bytes) -> Any:
        kind = "application/octet-stream"
        return Client(enforce_csrf_checks=True).put(_full(path), body, kind, headers=self.headers)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


def _full(path: str) -> str:
    return path if path.startswith(("/api", "http")) else f"/api/v1{path}"


def check_problem(response: Any, slug: str) -> dict[str, Any]:
    """The body of an answer that has to be this kind of problem."""
    assert response.status_code == KINDS[slug].status, (response.status_code, response.content)
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"{DOCUMENT}#errors-{slug}", body
    assert (body["status"], body["title"], bool(body["detail"])) == (response.status_code, KINDS[slug].title, True)
    return body
