"""Asking a server: one request with the standard library, and refusals as errors with their own exit codes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import click

from config.cli import exits
from config.cli.files import BadUsage

SECONDS = 60
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request.

    Attributes:
        content: The JSON body; None without one.
        kind: Of what is sent: a content type.
        file: What is sent from the disk in place of JSON.
        key: Idempotency key; empty without one.
        as_file: Whether the answer is a file, whatever its kind.
    """

    url: str
    method: str
    token: str
    query: dict[str, Any] = field(default_factory=dict)
    content: dict[str, Any] | None = None
    kind: str = ""
    file: str | None = None
    key: str = ""
    as_file: bool = False

    def with_query(self, **more: Any) -> Asked:
        return replace(self, query=self.query | more)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: parsed JSON, or bytes with the name that the server gives them."""

    status: int
    body: Any
    name: str


class RefusedError(click.ClickException):
    """What the server refuses, in its own words."""

    exit_code: int  # type: ignore[misc]

    def __init__(self, problem: dict[str, Any], *, code: int) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or "The server refused."))
        self.problem, self.exit_code = problem, code

    def show(self, file: Any = None) -> None:
        click.echo(f"Error: {self.message}", err=True)
        for item in self.problem.get("errors", []):
            click.echo(f"  {item.get('field', '')}: {item.get('message', item)}", err=True)
        if remedy := self.problem.get("remedy"):
            click.echo(f"What to do: {remedy}", err=True)


def call(asked: Asked) -> Answer:
    """Send a request and read what comes back.

    Raises:
        RefusedError: the server refuses, or cannot be reached; its exit code says which.
        BadUsage: the token would go over an open line.
    """
    parts = urlsplit(asked.url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise BadUsage(f"{parts.scheme}://{parts.netloc} is an open line, and a token is a secret: use https.")
    try:
        with urlopen(_request(asked), timeout=SECONDS) as answer:
            return _read(answer, as_file=asked.as_file)
    except HTTPError as error:
        _refuse(error)
    except (URLError, TimeoutError, ConnectionError) as error:
        told = {"detail": f"{parts.scheme}://{parts.netloc} cannot be reached: {getattr(error, 'reason', error)}.",
                "remedy": "See whether it runs, and whether --server or AUSCULT_SERVER names it."}  # fmt: skip
        raise RefusedError(told, code=exits.UNREACHABLE) from error


def _request(asked: Asked) -> Request:
    url = f"{asked.url}?{urlencode(_plain(asked.query))}" if asked.query else asked.url
    headers = {"Authorization": f"Bearer {asked.token}", "Accept": "application/json"}
    if asked.key:
        headers["Idempotency-Key"] = asked.key
    data: Any = None
    if asked.file is not None:
        data = Path(asked.file).open("rb")  # noqa: SIM115 - streamed by urlopen, closed with the process
        headers |= {"Content-Type": asked.kind, "Content-Length": str(Path(asked.file).stat().st_size)}
    elif asked.method in {"POST", "PUT"}:
        data = json.dumps(asked.content if asked.content is not None else {}).encode()
        headers["Content-Type"] = "application/json"
    return Request(url, data=data, method=asked.method, headers=headers)


def _plain(query: dict[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in query.items()}


def _read(answer: Any, *, as_file: bool) -> Answer:
    said = answer.headers.get("Content-Disposition", "")
    name = said.partition('filename="')[2].partition('"')[0]
    content = answer.read()
    if answer.headers.get_content_type() == "application/json" and not as_file:
        return Answer(status=answer.status, body=json.loads(content or b"null"), name="")
    return Answer(status=answer.status, body=content, name=Path(name or urlsplit(answer.url).path).name or "answer")


def _refuse(error: HTTPError) -> NoReturn:
    try:
        problem = json.loads(error.read())
    except ValueError:
        problem = {"detail": f"The server answered {error.code} {error.reason}."}
    codes = {401: exits.DENIED, 403: exits.DENIED, 404: exits.NOT_THERE, 429: exits.UNREACHABLE}
    code = codes.get(error.code, exits.UNREACHABLE if error.code >= 500 else exits.BAD_INPUT)
    raise RefusedError(problem, code=code) from error
