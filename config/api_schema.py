"""The programming interface as OpenAPI 3.1: what ninja tells of the operations, and what stands before each of them.

``python -m config.api_schema`` writes it to ``docs/openapi.json``.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "docs" / "openapi.json"
PREFIX = "/api/v1/"
OPEN = "/api/v1/openapi.json"
DESCRIPTION = (
    "Registers systems, versions and cohorts, audits them, and reads what was found. Every operation needs a token "
    "with its scope and acts for the token's person, with what that person may do. See docs/api.md."
)
EVERYWHERE = ("token", "not-allowed", "not-as-asked", "too-many", "failed", "not-now")
"""Problems that every operation may answer with."""
SENDING = ("unreadable", "too-large", "media-type", "conflict", "in-flight", "key-used")
"""Besides, those of operations that take a body or a key."""
SCHEME = "token"


@cache
def openapi() -> dict[str, Any]:
    """The document. It holds nothing of an installation: no name, no host, no number."""
    from config.api import api

    found: dict[str, Any] = json.loads(json.dumps(api.get_openapi_schema(path_prefix=PREFIX)))
    found["info"] |= {"description": DESCRIPTION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}}
    found["servers"] = [{"url": "/"}]
    for methods in found["paths"].values():
        for method, told in methods.items():
            _complete(method, told)
    components = found["components"]
    components["securitySchemes"] = {SCHEME: _scheme()}
    components["schemas"] |= {"Problem": _problem()}
    found["tags"] = [{"name": name} for name in dict.fromkeys(_tags(found))]
    return found


def _tags(found: dict[str, Any]) -> list[str]:
    return [told["tags"][0] for methods in found["paths"].values() for told in methods.values()]


def _complete(method: str, told: dict[str, Any]) -> None:
    """Scope, key, body, problems and headers of one operation."""
    said = told.pop("x-auscult")
    told["security"] = [{SCHEME: [said["scope"]]}]
    told["parameters"] = told.get("parameters", [])
    if "stream" in said:
        binary = {"schema": {"type": "string", "format": "binary"}}
        told["requestBody"] = {"required": True, "content": dict.fromkeys(said["stream"], binary)}
    elif "example" in said:
        told["requestBody"]["content"]["application/json"]["example"] = said["example"]
    if method == "post":
        told["parameters"].append(_key())
    slugs = [*EVERYWHERE, *(SENDING if method != "get" else ()), *said["refuses"]]
    responses = told["responses"]
    for status, answer in responses.items():
        answer["description"] = "As asked for."
        if "content" in said:
            answer["content"] = said["content"]
        if method == "post":
            answer["headers"] = {
                "Idempotency-Replayed": _header("`true` where the answer was kept from the first time.")
            }
            if status == "201":
                answer["headers"]["Location"] = _header("The address of what was made.")
        elif method == "get" and any(item["name"] == "cursor" for item in told["parameters"]):
            answer["headers"] = {"Link": _header('The next page: `<address>; rel="next"`.')}
    responses |= _refusals(slugs)


def _refusals(slugs: list[str]) -> dict[str, Any]:
    from core.api.problems import KINDS, MEDIA_TYPE

    found: dict[str, Any] = {}
    for slug in dict.fromkeys(slugs):
        kind = KINDS[slug]
        words = f"{kind.title} (`{kind.uri}`)."
        if (answer := found.get(str(kind.status))) is not None:
            answer["description"] += f" {words}"
            continue
        answer = {"description": words, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
        if kind.status == 429:
            answer["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
        found[str(kind.status)] = answer
    return dict(sorted(found.items()))


def _header(words: str) -> dict[str, Any]:
    return {"description": words, "schema": {"type": "string"}}


def _key() -> dict[str, Any]:
    return {
        "in": "header",
        "name": "Idempotency-Key",
        "required": False,
        "description": "The same key and request within 24 hours are carried out once and answered alike.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
    }


def _scheme() -> dict[str, Any]:
    from core.models import ApiToken

    scopes = "; ".join(f"`{value}`: {label.lower()}" for value, label in ApiToken.Scope.choices)
    return {"type": "http", "scheme": "bearer", "description": f"Made by `auscult token create`. Scopes: {scopes}."}


def _problem() -> dict[str, Any]:
    """The schema of problem details."""
    from core.api.problems import KINDS

    field = {
        "type": "object",
        "properties": {"field": {"type": "string"}, "problem": {"type": "string"}},
        "required": ["field", "problem"],
    }
    return {
        "type": "object",
        "description": "What is wrong, and what to do (RFC 9457). Nothing that was sent is repeated.",
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "enum": [kind.uri for kind in KINDS.values()]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "remedy": {"type": "string"},
            "fields": {"type": "array", "items": field},
            "delivery": {"type": "object", "description": "Of studies that were refused: everything found in them."},
        },
        "required": ["type", "title", "status", "detail"],
    }


def text() -> str:
    """The document as it is kept and sent."""
    return json.dumps(openapi(), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write ``docs/openapi.json``."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
