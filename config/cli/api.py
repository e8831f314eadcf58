"""``auscult api``: every operation of the programming interface as a command, made from its schema.

So a pipeline has the same verbs on the command line and over HTTP, on any machine with a token; a new operation of the
interface is a new command here. Nothing of the registry is imported: it talks to a server.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click

from config.cli.api_calls import Answer, Asked, call
from config.cli.api_output import show_answer, waiting
from config.cli.files import BadInputCommand, BadInputGroup, BadUsage

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
HERE = "http://127.0.0.1:8000"
UNDER_WAY = frozenset(
    {"queued", "running", "judging", "receiving", "checking", "inspecting", "registering", "preparing", "training"}
)
POLL_SECONDS, MOST_SECONDS = 1.0, 10.0
TYPES: dict[str, click.ParamType] = {"integer": click.INT, "number": click.FLOAT, "boolean": click.BOOL}
OWN = {"all", "body", "file", "json", "out", "server", "wait", "idempotency_key", "help"}


@cache
def operations() -> dict[str, dict[str, Any]]:
    """Name of the command -> operation, with its path and method."""
    paths = json.loads(SCHEMA.read_text())["paths"]
    return {
        item["operationId"].replace("_", "-"): item | {"path": path, "method": method.upper()}
        for path, methods in paths.items()
        for method, item in methods.items()
        if isinstance(item, dict) and "operationId" in item
    }


@cache
def _schemas() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SCHEMA.read_text())["components"]["schemas"]
    return found


class ApiGroup(BadInputGroup):
    """Makes a command of an operation when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(operations())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return command_of(name, operations()[name]) if name in operations() else None


@click.group(cls=ApiGroup)
def api() -> None:
    """Every operation of a server's programming interface.

    The server is AUSCULT_SERVER (or --server), the token AUSCULT_TOKEN; a token is made by auscult token create.

    \b
    Example: request an audit, wait for it, read its verdicts.
      auscult api request-audit --version 12 --cohort 3 --protocol 5
      auscult api get-audit 40 --wait
      auscult api list-verdicts 40 --all --json
    """


def command_of(name: str, operation: Mapping[str, Any]) -> click.Command:
    """The command of an operation: its path as arguments, what else it takes as options."""
    params: list[click.Parameter] = []
    for item in operation.get("parameters", []):
        if item["in"] == "path":
            params.append(click.Argument([item["name"]], type=_type_of(item["schema"])))
        elif item["in"] == "query":
            params.append(_option(item["name"], item["schema"], required=item.get("required", False)))
    body, kind = _body_of(operation)
    for field, schema in body.get("properties", {}).items():
        params.append(_option(field, schema, required=False, told=field in body.get("required", ())))
    params += _own_options(operation, body=bool(body), kind=kind)
    return BadInputCommand(
        name=name, callback=_callback(operation, body), params=params, short_help=operation["summary"],
        help=_help(name, operation, params),
    )  # fmt: skip


def _help(name: str, operation: Mapping[str, Any], params: list[click.Parameter]) -> str:
    said = operation.get("description", "").strip().removeprefix(f"{operation['summary']}.").strip()
    arguments = " ".join((item.name or "").upper() for item in params if isinstance(item, click.Argument))
    needed = " ".join(f"{item.opts[0]} …" for item in params if (getattr(item, "help", "") or "").startswith("Needed"))
    example = " ".join(part for part in ("auscult api", name, arguments, needed) if part)
    asked = f"{operation['method']} {operation['path']}"
    return "\n\n".join(part for part in (f"{operation['summary']}.", said, f"\b\n{asked}\nExample: {example}") if part)


def _own_options(operation: Mapping[str, Any], *, body: bool, kind: str) -> list[click.Parameter]:
    own: list[click.Parameter] = [
        click.Option(["--server"], envvar="AUSCULT_SERVER", default=HERE, show_default=True, help="Where it runs."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the answer as it came, as JSON."),
    ]
    if body:
        own.append(click.Option(["--body"], type=click.File("r"), help="The whole body as JSON, from a file or -."))
    if kind and kind != "application/json":
        own.append(click.Option(["--file"], type=click.Path(exists=True, dir_okay=False), required=True,
                                help="What is sent."))  # fmt: skip
    if operation["method"] == "POST":
        own.append(click.Option(["--idempotency-key"], help="Sent again with the same key, nothing is done twice."))
    names = {item["name"] for item in operation.get("parameters", [])}
    if "cursor" in names:
        own.append(click.Option(["--all", "everything"], is_flag=True, help="All pages, not the first alone."))
    if operation["method"] == "GET" and not names & {"cursor"} and not _is_file(operation):
        own.append(click.Option(["--wait"], is_flag=True, help="Ask again until it is no longer under way."))
    if _is_file(operation):
        own.append(click.Option(["--out"], type=click.Path(dir_okay=False), help="Where to write it."))
    return own


def _is_file(operation: Mapping[str, Any]) -> bool:
    return bool(re.search(r"/(download|files/\{form\}|evidence\.json)$", operation["path"]))


def _body_of(operation: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Schema of the JSON body (empty without one), and the kind of what is sent."""
    content = operation.get("requestBody", {}).get("content", {})
    for kind, item in content.items():
        name = item["schema"].get("$ref", "").rpartition("/")[2]
        return (_schemas().get(name, {}) if kind == "application/json" else {}), kind
    return {}, ""


def _type_of(schema: Mapping[str, Any]) -> click.ParamType:
    kinds = [schema, *schema.get("anyOf", []), *schema.get("allOf", [])]
    return next((TYPES[item["type"]] for item in kinds if item.get("type") in TYPES), click.STRING)


def _is_structure(schema: Mapping[str, Any]) -> bool:
    kinds = [schema, *schema.get("anyOf", [])]
    return any(item.get("type") in ("object", "array") for item in kinds)


def _option(name: str, schema: Mapping[str, Any], *, required: bool, told: bool = False) -> click.Option:
    said = schema.get("description", "")
    if _is_structure(schema):
        said = f"{said} As JSON.".strip()
    if told or required:
        said = f"Needed. {said}".strip()
    flag = f"--{name.replace('_', '-')}" + ("-of-it" if name in OWN else "")
    return click.Option([flag, f"given_{name}"], type=_type_of(schema), required=required, help=said)


def _callback(operation: Mapping[str, Any], body: Mapping[str, Any]) -> Callable[..., None]:
    def done(**given: Any) -> None:
        asked = _asked(operation, body, given)
        if given.get("everything"):
            answer = _all_pages(asked)
        else:
            answer = call(asked)
            if given.get("wait"):
                answer = _until_done(asked, answer)
        show_answer(answer, as_json=given["as_json"], out=given.get("out"))

    return done


def _asked(operation: Mapping[str, Any], body: Mapping[str, Any], given: Mapping[str, Any]) -> Asked:
    token = os.environ.get("AUSCULT_TOKEN", "")
    if not token:
        raise BadUsage("AUSCULT_TOKEN is not set. Make a token with: auscult token create --user NAME --scope read")
    names = {item["name"]: item["in"] for item in operation.get("parameters", [])}
    path = operation["path"]
    for name, place in names.items():
        if place == "path":
            path = path.replace(f"{{{name}}}", str(given[name]))
    query = {name: given[f"given_{name}"] for name, place in names.items()
             if place == "query" and given.get(f"given_{name}") is not None}  # fmt: skip
    _, kind = _body_of(operation)
    return Asked(
        url=given["server"].rstrip("/") + path, method=operation["method"], token=token, query=query,
        content=_content(body, given), kind=kind, file=given.get("file"),
        as_file=_is_file(operation),
        key=given.get("idempotency_key") or (uuid.uuid4().hex if operation["method"] == "POST" else ""),
    )  # fmt: skip


def _content(body: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The JSON body: the file that was given, with what the options say in its place."""
    if not body:
        return None
    try:
        found: dict[str, Any] = json.load(given["body"]) if given.get("body") else {}
        for name, schema in body.get("properties", {}).items():
            value = given.get(f"given_{name}")
            if value is not None:
                found[name] = json.loads(value) if _is_structure(schema) else value
    except json.JSONDecodeError as error:
        raise BadUsage(f"This is no JSON: {error}") from error
    lacking = [name for name in body.get("required", ()) if name not in found]
    if lacking:
        raise BadUsage(f"Missing: {', '.join('--' + name.replace('_', '-') for name in lacking)}.")
    return found


def _all_pages(asked: Asked) -> Answer:
    """Every page of a list as one."""
    pages = list(_pages(asked))
    items = [item for page in pages for item in page.body["items"]]
    return Answer(status=200, body={"items": items, "next": None}, name="")


def _pages(asked: Asked) -> Iterator[Answer]:
    while True:
        page = call(asked)
        yield page
        if not (cursor := page.body.get("next")):
            return
        asked = asked.with_query(cursor=cursor)


def _until_done(asked: Asked, answer: Answer) -> Answer:
    """Ask again, less and less often, until it is no longer under way. Ctrl-C ends the waiting, not the work."""
    seconds = POLL_SECONDS
    with waiting() as tell:
        while isinstance(answer.body, dict) and answer.body.get("status") in UNDER_WAY:
            tell(answer.body)
            try:
                time.sleep(seconds)
            except KeyboardInterrupt:
                click.echo("Not waited for any longer; the work goes on at the server.", err=True)
                sys.exit(130)
            seconds = min(MOST_SECONDS, seconds * 1.3)
            answer = call(asked)
    return answer
