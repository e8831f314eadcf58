"""Certificates, a time-stamping authority on loopback, and a small PDF/A to sign."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from asn1crypto import keys, tsp
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from pyhanko.sign.timestamps import DummyTimeStamper

from governance.reports.render import render_pdf

AT = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)
DATA = {"kind": "annex_iv", "counts": {"complete": 3}}
PASSWORD = "correct horse"
PAGE = (
    '<!doctype html><html lang="en"><head><title>Annex IV</title><meta name="author" content="clara">'
    '<meta name="dcterms.created" content="2026-11-22T14:05:00+00:00">'
    '<meta name="dcterms.modified" content="2026-11-22T14:05:00+00:00"></head>'
    "<body><h1>Annex IV</h1><table><tr><th>n</th><td>1,204</td></tr></table></body></html>"
)


def make_pdf() -> bytes:
    return render_pdf(PAGE, name="annex_iv", data=DATA, as_of=AT).pdf


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def certificate(
    key: Any,
    name: str = "St. Example Hospital",
    *,
    issuer: tuple[str, Any] | None = None,
    begin: datetime = AT - timedelta(days=30),
    end: datetime = AT + timedelta(days=30),
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> x509.Certificate:
    """A certificate, its own issuer unless ``issuer`` names one with its key."""
    above, signer = issuer or (name, key)
    builder = x509.CertificateBuilder(named(above), named(name), key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(begin).not_valid_after(end)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(signer, SHA256())


def key_usage(*uses: str) -> x509.KeyUsage:
    known = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in uses for name in known})


def pack_p12(key: Any, leaf: x509.Certificate | None, chain: tuple[x509.Certificate, ...] = ()) -> bytes:
    return pkcs12.serialize_key_and_certificates(
        b"test", key, leaf, list(chain) or None, BestAvailableEncryption(PASSWORD.encode())
    )


def elliptic_chain() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate, tuple[x509.Certificate, ...]]:
    """A key with its certificate, one issuer between, and a root."""
    root, middle, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    return (
        leaf,
        certificate(leaf, "Leaf", issuer=("Middle", middle)),
        (certificate(middle, "Middle", issuer=("Root", root)), certificate(root, "Root")),
    )


@dataclass
class Authority:
    """A time-stamping authority. ``answer`` may be replaced by one that misbehaves."""

    stamper: DummyTimeStamper
    url: str = ""
    status: int = 200
    kind: str = "application/timestamp-reply"
    location: str = ""
    asked: list[tsp.TimeStampReq] = field(default_factory=list)
    answer: Callable[[tsp.TimeStampReq], bytes] | None = None

    def reply(self, body: bytes) -> bytes:
        request = tsp.TimeStampReq.load(body)
        self.asked.append(request)
        return self.answer(request) if self.answer else self.stamper.request_tsa_response(request).dump()


def make_stamper(*, usage: bool = True) -> DummyTimeStamper:
    key = rsa_key()
    extensions = (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.TIME_STAMPING]),) if usage else ()
    der = certificate(key, "Time Stamping Authority", extensions=extensions).public_bytes(Encoding.DER)
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return DummyTimeStamper(
        tsa_cert=asn1.Certificate.load(der),
        tsa_key=keys.PrivateKeyInfo.load(private),
        fixed_dt=AT + timedelta(minutes=1),
    )


@contextmanager
def serve(authority: Authority) -> Iterator[Authority]:
    """The authority on a port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = authority.reply(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(authority.status)
            self.send_header("Content-Type", authority.kind)
            if authority.location:
                self.send_header("Location", authority.location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        authority.url = f"http://127.0.0.1:{server.server_port}/tsa"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield authority
        finally:
            server.shutdown()
            thread.join()
