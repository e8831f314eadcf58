"""The programming interface for people: the schema as a page, and the schema itself. Neither needs a token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from config.api_schema import openapi, text
from core.api.problems import KINDS, Kind
from core.models import ApiToken

METHODS = ("get", "post", "put")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What may stand in the address of an operation."""

    name: str
    place: str
    required: bool
    words: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One operation as the page shows it. ``curl`` is an example; ``problems`` those that it may answer with."""

    anchor: str
    method: str
    path: str
    title: str
    words: str
    scope: str
    parameters: tuple[Parameter, ...]
    curl: str
    problems: tuple[Kind, ...]


@login_not_required
@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    """OpenAPI 3.1."""
    response = HttpResponse(text(), content_type="application/json")
    response["Cache-Control"] = "public, max-age=300"
    return response


@login_not_required
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Every operation by group, with its scope, an example and its errors."""
    frame = "base.html" if request.user.is_authenticated else "plain.html"
    context = {"frame": frame, "groups": groups(), "kinds": list(KINDS.values()), "scopes": ApiToken.Scope.choices}
    return render(request, "core/api.html", context)


@cache
def groups() -> dict[str, list[Shown]]:
    """Group -> its operations, in the order of the schema."""
    found: dict[str, list[Shown]] = {}
    for path, methods in openapi()["paths"].items():
        for method in METHODS:
            if (told := methods.get(method)) is not None:
                found.setdefault(told["tags"][0], []).append(_shown(path, method, told))
    return found


def _shown(path: str, method: str, told: dict[str, Any]) -> Shown:
    statuses = {int(status) for status in told["responses"] if int(status) >= 400}
    described = " ".join(answer["description"] for answer in told["responses"].values())
    return Shown(
        anchor=told["operationId"].replace("_", "-"),
        method=method.upper(),
        path=path,
        title=told["summary"],
        words=told.get("description", "").strip().removeprefix(told["summary"]).strip(". "),
        scope=told["security"][0]["token"][0],
        parameters=tuple(
            Parameter(
                name=item["name"],
                place=item["in"],
                required=item["required"],
                words=item.get("description", "") or _bounds(item["schema"]),
            )
            for item in told["parameters"]
        ),
        curl=_curl(path, method, told),
        problems=tuple(kind for kind in KINDS.values() if kind.status in statuses and kind.uri in described),
    )


def _bounds(schema: dict[str, Any]) -> str:
    """The choices of a parameter, in words; empty where it is free."""
    options = [*schema.get("anyOf", []), schema]
    named = {item["$ref"].rpartition("/")[2] for item in options if "$ref" in item}
    schemas = openapi()["components"]["schemas"]
    choices = [item.get("enum", []) for item in (*options, *(schemas[name] for name in named))]
    return ", ".join(str(value) for values in choices for value in values if value != "")


def _curl(path: str, method: str, told: dict[str, Any]) -> str:
    """How it is asked from a shell. The address holds the names of what is to be put in."""
    needed = [item["name"] for item in told["parameters"] if item["in"] == "query" and item["required"]]
    query = "?" + "&".join(f"{name}=…" for name in needed) if needed else ""
    lines = ['curl -H "Authorization: Bearer $TOKEN"']
    if method == "post":
        lines.append('-H "Idempotency-Key: $(uuidgen)"')
    content = told.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        example = json.dumps(content["application/json"].get("example", {}), ensure_ascii=False)
        lines += ['-H "Content-Type: application/json"', f"-d '{example}'"]
    elif content:
        lines += [f'-H "Content-Type: {next(iter(content))}"', "-T FILE"]
    if method != "get":
        lines.append(f"-X {method.upper()}")
    return " \\\n  ".join([*lines, f'"https://HOST{path}{query}"'])
