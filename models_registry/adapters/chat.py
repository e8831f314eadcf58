"""A client for chat completions as vLLM, TGI and Ollama serve them. Registers no adapter.

The standard library's HTTP client: it follows no redirect and knows no proxy, so a request reaches the host that was
checked or none.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from core.errors import AdapterError, TransientError
from models_registry.adapters.wishes import FILE

HOSTS_VARIABLE = "AUSCULT_ENDPOINT_HOSTS"
KEY_VARIABLE = re.compile(r"AUSCULT_ENDPOINT_KEY(_[A-Z0-9_]+)?")
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
LONGEST_BODY = 4_000_000
PIECE = 65_536
_LONE = re.compile("[\ud800-\udfff]")
"""Halves of characters, which JSON can spell and no file can hold."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a server listens. ``path`` is the API's root without a slash at its end, for example ``/v1``."""

    secure: bool
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{self.path}"

    @classmethod
    def parse(cls, url: str) -> Place:
        """Read ``http://host:port/v1``.

        Raises:
            AdapterError: another scheme, no host, or credentials, a query or a fragment in it.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise _bad_url("it cannot be read") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise _bad_url("it does not begin with http:// or https:// and a host")
        if "@" in parts.netloc:
            raise _bad_url("it carries credentials, which do not belong in a registered folder")
        if parts.query or parts.fragment or re.search(r"[\s\x00-\x1f\x7f-\uffff]", url):
            raise _bad_url("it has a query, a fragment, spaces or characters that are not ASCII")
        secure = parts.scheme == "https"
        default = 443 if secure else 80
        return cls(secure=secure, host=parts.hostname, port=port or default, path=parts.path.rstrip("/"))

    def check_allowed(self) -> None:
        """Refuse a host that the operator did not list. Nothing is allowed by default, loopback neither.

        Raises:
            AdapterError: with the setting that would allow it.
        """
        listed = {item.strip().lower() for item in os.environ.get(HOSTS_VARIABLE, "").split(",")} - {""}
        if not listed & {self.host, f"{self.host}:{self.port}", f"[{self.host}]:{self.port}"}:
            raise AdapterError(
                f"The host {self.host}:{self.port} is not one that models may be asked at.",
                remedy=f"Let the operator add it to {HOSTS_VARIABLE} of the web server and of the workers, where "
                "studies may be sent to it.",
                file=FILE,
                column="url",
            )


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the server answered.

    Attributes:
        prompt_tokens, completion_tokens: As the server counted them; None where it did not.
        finish: Why it stopped: ``stop``, ``length``, ``content_filter``, ...; empty where it did not say.
        model: The name of the model that answered, by the server's word.
        tries: How often it was asked.
    """

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    finish: str
    model: str
    tries: int


@dataclass(frozen=True, kw_only=True)
class ChatClient:
    """Asks one server. May be used from several threads.

    Attributes:
        key: Sent as ``Authorization: Bearer``; None for none. Never logged, never part of a message.
        timeout: Seconds to connect, for each silence, and for the whole answer once it begins.
        retries: How often it is asked again after a fault that may pass.
    """

    place: Place
    key: str | None = field(repr=False)
    timeout: float
    retries: int
    wait: Callable[[float], None] = time.sleep

    def complete(self, body: dict[str, Any]) -> Reply:
        """Ask for one completion, again where the fault may pass by itself (busy, restarting, cut off).

        Raises:
            TransientError: it did not pass: the worker tries the whole share later.
            AdapterError: the server refuses, redirects, or answers what is no chat completion.
        """
        data = json.dumps(body, ensure_ascii=False).encode()
        for attempt in range(self.retries + 1):
            self.place.check_allowed()
            pause = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)
            try:
                status, headers, answer = self._send(data)
            except ssl.SSLCertVerificationError as error:
                raise AdapterError(
                    f"The certificate of {self.place.host} is not trusted: {error.verify_message}.",
                    remedy="Install the authority's certificate on the workers (SSL_CERT_FILE).",
                ) from error
            except (OSError, http.client.HTTPException) as error:
                why = type(error).__name__
            else:
                if status not in PASSING:
                    return _read(status, headers, answer, tries=attempt + 1)
                why = f"HTTP {status}"
                pause = min(_retry_after(headers) or pause, LONGEST_WAIT)
            if attempt < self.retries:
                self.wait(pause)
        raise TransientError(
            f"The model's server at {self.place.host}:{self.place.port} did not answer after {self.retries + 1} "
            f"tries; the last one: {why}.",
            remedy="See that it runs and how loaded it is; a lower concurrency or a longer timeout_seconds may help.",
        )

    def _send(self, data: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        place = self.place
        kind = http.client.HTTPSConnection if place.secure else http.client.HTTPConnection
        connection = kind(place.host, place.port, timeout=self.timeout)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            connection.request("POST", f"{place.path}/chat/completions", body=data, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, _whole(response, time.monotonic() + self.timeout)
        finally:
            connection.close()


def api_key(variable: str | None) -> str | None:
    """The key in the named environment variable; None where no variable is named.

    Only variables made for this can be named: else a folder could have any secret of the worker sent away.

    Raises:
        AdapterError: the variable is not set, or its content cannot stand in a header.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise AdapterError(
            f"The environment variable {variable} holds no API key.",
            remedy="Let the operator set it for the workers, to one word of printable ASCII characters.",
            file=FILE,
            column="api_key_variable",
        )
    return key


def _whole(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body, as far as it is neither too long nor too slow."""
    pieces, size = [], 0
    while piece := response.read1(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > LONGEST_BODY:
            raise AdapterError(
                f"The server's answer is longer than {LONGEST_BODY:,} bytes.",
                remedy="Lower generation.max_tokens, or ask the server's operator what it sends.",
            )
        if time.monotonic() > deadline:
            raise TimeoutError("the answer took too long")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(pieces)


def _retry_after(headers: http.client.HTTPMessage) -> float | None:
    """Seconds that the server asks to wait: a number or a date; None where it does not say or what cannot be read."""
    said = (headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", said):
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _read(status: int, headers: http.client.HTTPMessage, answer: bytes, *, tries: int) -> Reply:
    """The completion. What the server says in an error is not repeated: it may quote the study, or the key."""
    if 300 <= status < 400:
        raise AdapterError(
            f"The server answered with a redirect (HTTP {status}), which is not followed.",
            remedy="Write the address that answers itself into url, and have its host allowed.",
            file=FILE,
            column="url",
        )
    if status != 200:
        raise _refusal(status)
    kind = headers.get_content_type()
    if kind != "application/json":
        raise _not_chat(f"its content type is {kind!r}" if len(kind) < 80 else "its content type is not JSON")
    try:
        body = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise _not_chat("its JSON cannot be read") from error
    return _reply(body, tries=tries)


def _reply(body: Any, *, tries: int) -> Reply:
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _not_chat("it has no choices")
    message, finish = choices[0].get("message"), choices[0].get("finish_reason")
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str):
        why = "; it stopped at max_tokens" if finish == "length" else ""
        raise _not_chat(f"its first choice has no text{why}")
    usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
    return Reply(
        text=_LONE.sub("\ufffd", text),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        finish=finish if isinstance(finish, str) else "",
        model=str(body.get("model", ""))[:200],
        tries=tries,
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _refusal(status: int) -> AdapterError:
    remedies = {
        401: "Name the variable with the API key in api_key_variable, and have the operator set it.",
        403: "Ask the server's operator for a key that may use this model.",
        404: "Compare url (it ends in /v1 for most servers) and model with what the server offers.",
        413: "Send smaller images: the server's limit for a request is lower.",
    }
    return AdapterError(
        f"The server refused the request (HTTP {status}).",
        remedy=remedies.get(status, "Look into the server's log: it says what it does not take in the request."),
        file=FILE,
    )


def _not_chat(why: str) -> AdapterError:
    return AdapterError(
        f"The server's answer is no chat completion: {why}.",
        remedy="Ask a server that speaks the OpenAI chat-completions protocol, without streaming.",
        file=FILE,
        column="url",
    )


def _bad_url(why: str) -> AdapterError:
    return AdapterError(
        f"The address cannot be used: {why}.",
        remedy="Write it as http://host:port/v1, without name, password, query or fragment.",
        file=FILE,
        column="url",
    )
