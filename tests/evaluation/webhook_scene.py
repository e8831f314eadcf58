"""A receiver of webhooks on loopback, and alerts to tell it of."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.utils import timezone

from evaluation.models import Monitor, Webhook, WebhookDelivery
from evaluation.services.alerts import raise_alert
from evaluation.services.webhooks import add_webhook
from tests.evaluation.monitor_scene import make_monitor


class Receiver(HTTPServer):
    """Keeps what it is sent, and answers as it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 204

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/auscult?room=1"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """A test's output is no log of a server."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def monitor(people: SimpleNamespace) -> Monitor:
    return make_monitor(people)


def added(people: SimpleNamespace, url: str, **given: Any) -> tuple[Webhook, str]:
    return add_webhook(name=given.pop("name", "On call"), url=url, by=people.ada, **given)


def raised(monitor: Monitor, **given: Any) -> WebhookDelivery:
    """The message of an alert that has just been raised."""
    facts: dict[str, Any] = {"kind": "drift", "severity": "warning", "key": "drift:1", "title": "Age has shifted"}
    raise_alert(monitor=monitor, **(facts | given))
    return WebhookDelivery.objects.latest("pk")


def due_now(row: WebhookDelivery) -> WebhookDelivery:
    WebhookDelivery.objects.filter(pk=row.pk, after__isnull=False).update(after=timezone.now())
    row.refresh_from_db()
    return row


def by_tls(receiver: Receiver, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver speaks TLS with this certificate, and the sender trusts it."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(path)
    receiver.socket = serving.wrap_socket(receiver.socket, server_side=True)
    monkeypatch.setattr(ssl, "create_default_context", partial(ssl.create_default_context, cafile=str(path)))


def certificate(host: str, folder: Path) -> Path:
    """A certificate for a host that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = folder / f"{host}.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + secret)
    return path
