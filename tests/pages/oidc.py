"""An identity provider on loopback, for tests: discovery, authorisation that redirects at once, tokens, user info."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt

CLIENT, SECRET = "auscult-at-north", "a secret between the two"


@dataclass
class Provider:
    """The provider, and what it says of whoever signs in there.

    Attributes:
        says: The claims that it tells.
        asked: What the authorisation was asked with, the last time.
        tokens_asked: What the token was asked with, the last time.
        fails: Whether authorisation is refused.
    """

    url: str = ""
    says: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    tokens_asked: dict[str, str] = field(default_factory=dict)
    fails: bool = False

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def token(self) -> dict[str, Any]:
        claims = {"iss": self.url, "aud": CLIENT, "exp": 4102444800, "iat": 1700000000, **self.says}
        return {
            "access_token": "opaque",
            "token_type": "Bearer",
            "id_token": jwt.encode(claims, "k" * 32, algorithm="HS256"),
        }

    def redirect(self) -> str:
        told = {"error": "access_denied"} if self.fails else {"code": "once"}
        return f"{self.asked['redirect_uri']}?{urlencode(told | {'state': self.asked['state']})}"


@contextmanager
def running() -> Iterator[Provider]:
    """The provider, while the block runs."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *told: Any) -> None:
            """Quiet."""

        def answer(self, body: dict[str, Any]) -> None:
            sent = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/authorize":
                provider.asked = {name: found[0] for name, found in parse_qs(parts.query).items()}
                self.send_response(302)
                self.send_header("Location", provider.redirect())
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif parts.path == "/userinfo":
                self.answer(provider.says)
            else:
                self.answer(provider.discovery())

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            provider.tokens_asked = {name: found[0] for name, found in parse_qs(sent).items()}
            self.answer(provider.token())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
