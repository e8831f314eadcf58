"""A client for FHIR bulk exports: kick-off, status, files. It follows no redirect and knows no proxy.

The token goes to the host that the operator named and to no other. See
https://hl7.org/fhir/uv/bulkdata/export.html (GET kick-off; POST where a server asks for it).
"""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import json
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from core.errors import EnvironmentProblemError
from evaluation.monitoring.sources.base import SourceError

log = logging.getLogger(__name__)
TIMEOUT = 60
PIECE = 1 << 20
LONGEST_BODY = 16 << 20
FIRST_LOOK, LONGEST_LOOK = 30, 3_600
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
GONE = frozenset({404, 410})
FORMAT = "application/fhir+ndjson"


class GoneError(SourceError):
    """The server no longer knows the export."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """One file of an export. ``count``: how many resources it holds, as the server says; None where it does not."""

    kind: str
    url: str
    count: int | None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an export made. ``errors`` are files of OperationOutcomes."""

    outputs: tuple[Output, ...]
    errors: tuple[Output, ...]
    guarded: bool


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(frozen=True, kw_only=True)
class BulkClient:
    """Talks to one server.

    Attributes:
        base: Root of its API, such as ``https://fhir.example.org/r4``.
        token: Sent as ``Authorization: Bearer`` to the base's host; empty for none. Never part of a message.
    """

    base: str
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        _place(self.base)

    def start(self, path: str, parameters: dict[str, str]) -> str:
        """Order an export; returns the address of its status.

        Raises:
            SourceError: it cannot be ordered now, or not at all.
        """
        headers = {"Accept": "application/fhir+json", "Prefer": "respond-async"}
        url = f"{self.base.rstrip('/')}/{path}"
        reply = self._ask("GET", f"{url}?{urlencode(parameters)}", headers)
        if reply.status == 405:
            named = [{"name": name, _value(name): value} for name, value in parameters.items()]
            body = json.dumps({"resourceType": "Parameters", "parameter": named}).encode()
            reply = self._ask("POST", url, headers | {"Content-Type": "application/fhir+json"}, body)
        status = reply.headers.get("Content-Location", "")
        if reply.status != 202 or not status:
            raise _refused("did not take the order for an export", reply)
        if not self._ours(status):
            raise SourceError(
                "The FHIR server gives an address of another host for the status of its export.",
                remedy="Let the operator name the server by the address that it calls itself.",
                column="url_env",
            )
        return status

    def look(self, status: str) -> Manifest | int:
        """What was made; or in how many seconds to look again.

        Raises:
            GoneError: the server forgot the export. SourceError: it failed, or cannot be asked now.
        """
        reply = self._ask("GET", status, {"Accept": "application/json"})
        if reply.status == 202 or reply.status in {429, 503}:
            return _wait(reply.headers)
        if reply.status in GONE:
            raise GoneError("The FHIR server no longer knows the export.", remedy="It is ordered again.")
        if reply.status != 200:
            raise _refused("could not make the export", reply)
        try:
            body = json.loads(reply.body)
            outputs = tuple(_output(item) for item in body["output"])
            errors = tuple(_output(item) for item in body.get("error", []))
            return Manifest(outputs=outputs, errors=errors, guarded=bool(body.get("requiresAccessToken", True)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(
                "The FHIR server's list of files cannot be read.", remedy="Ask its operator for the bulk data version."
            ) from error

    def fetch(self, output: Output, target: Path, *, guarded: bool, alive: Callable[[], None]) -> Path:
        """Download one file.

        Raises:
            SourceError: not whole, or not to be had.
        """
        place = _place(output.url)
        headers = {"Accept": FORMAT} | self._authorised(output.url, guarded=guarded)
        lines = 0
        with _connection(place) as connection, target.open("wb") as stream:
            connection.request("GET", _path(place), headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                raise _refused("did not give a file of the export", Reply(
                    status=response.status, headers=response.headers, body=b""))  # fmt: skip
            last = b"\n"
            while piece := response.read(PIECE):
                stream.write(piece)
                lines += piece.count(b"\n")
                last = piece[-1:]
                alive()
            lines += last != b"\n"
        if output.count is not None and lines < output.count:
            raise SourceError(
                f"A file of {output.kind} has {lines:,} resources where the FHIR server promised {output.count:,}.",
                remedy="Nothing: the export is read again.",
            )
        return target

    def forget(self, status: str) -> None:
        """Tell the server that its files may go. Where that fails they go when the server likes."""
        try:
            self._ask("DELETE", status, {"Accept": "application/json"})
        except SourceError as error:
            log.info("an export was not removed at the server: %s", type(error).__name__)

    def _ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> Reply:
        place = _place(url)
        with _connection(place) as connection:
            connection.request(method, _path(place), body=body, headers=headers | self._authorised(url, guarded=True))
            response = connection.getresponse()
            return Reply(status=response.status, headers=response.headers, body=response.read(LONGEST_BODY))

    def _authorised(self, url: str, *, guarded: bool) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token and guarded and self._ours(url) else {}

    def _ours(self, url: str) -> bool:
        one, other = _place(self.base), urlsplit(url)
        try:
            return _origin(one) == _origin(other)
        except ValueError:  # a port that is none
            return False


@contextmanager
def _connection(place: SplitResult) -> Iterator[http.client.HTTPConnection]:
    assert place.hostname is not None
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.hostname, place.port, timeout=TIMEOUT)
    try:
        yield connection
    except ssl.SSLCertVerificationError as error:
        raise EnvironmentProblemError(
            "The certificate of the FHIR server is not trusted.",
            remedy="Install the authority's certificate on the workers (SSL_CERT_FILE).",
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(
            f"The FHIR server does not answer ({type(error).__name__}).", remedy="See that it runs and is reached."
        ) from error
    finally:
        connection.close()


def _place(url: str) -> SplitResult:
    """The parts of an address: https, or http on this machine itself.

    Raises:
        SourceError: another scheme, no host, or credentials in it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    secure = parts.scheme == "https" or (parts.scheme == "http" and _loopback(host or ""))
    if not host or not secure or "@" in parts.netloc or any(ord(mark) < 33 or ord(mark) > 126 for mark in url):
        raise SourceError(
            "An address of the FHIR server cannot be used.",
            remedy="It must be https://, without credentials in it.",
            column="url_env",
        )
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _path(place: SplitResult) -> str:
    return (place.path or "/") + (f"?{place.query}" if place.query else "")


def _value(name: str) -> str:
    return "valueInstant" if name == "_since" else "valueString"


def _output(item: dict[str, Any]) -> Output:
    count = item.get("count")
    return Output(kind=str(item["type"]), url=str(item["url"]), count=count if isinstance(count, int) else None)


def _refused(what: str, reply: Reply) -> SourceError:
    later = "It is tried again." if reply.status in PASSING else "See the server's log, the token and its rights."
    return SourceError(f"The FHIR server {what} (HTTP {reply.status}).", remedy=later)


def _wait(headers: http.client.HTTPMessage) -> int:
    """Seconds until the next look, as the server asks: a number, or a moment."""
    given = (headers.get("Retry-After") or "").strip()
    seconds: float = FIRST_LOOK
    if given.isdigit():
        seconds = float(given)
    elif given:
        try:
            moment = email.utils.parsedate_to_datetime(given)
            seconds = moment.astimezone(UTC).timestamp() - time.time()
        except ValueError:
            seconds = FIRST_LOOK
    return int(min(max(1.0, seconds), LONGEST_LOOK))


def instant(moment: datetime) -> str:
    """A FHIR instant."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
