"""How e-mail leaves the house, read from ``AUSCULT_EMAIL_URL``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parseaddr
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from core.errors import EnvironmentProblemError

BACKENDS = {
    "smtp": "django.core.mail.backends.smtp.EmailBackend",
    "smtps": "django.core.mail.backends.smtp.EmailBackend",
    "console": "django.core.mail.backends.console.EmailBackend",
    "file": "core.mail_files.FileBackend",
    "none": "django.core.mail.backends.dummy.EmailBackend",
}
FORMS = (
    "Use smtp://user:password@host:port?tls=1, smtps://user:password@host:port, file:///folder, console:// or none://; "
    "characters such as @ and / in a password are written as %40 and %2F."
)


@dataclass(frozen=True, kw_only=True)
class MailSettings:
    """Django's settings of e-mail, under its names in lower case."""

    backend: str
    sender: str
    base_url: str
    host: str = ""
    port: int = 25
    user: str = ""
    password: str = ""
    use_tls: bool = False
    use_ssl: bool = False
    file_path: str | None = None


def read_mail_settings(environment: Mapping[str, str], *, home: Path, production: bool) -> MailSettings:
    """The settings of e-mail.

    Without ``AUSCULT_EMAIL_URL`` mails are written into the folder ``mail`` of the home; in production none are sent.

    Raises:
        EnvironmentProblemError: a variable is not what it must be. The message never holds the password.
    """
    url = environment.get("AUSCULT_EMAIL_URL", "") or (
        "none://" if production else "file://" + quote(str(home / "mail"))
    )
    parts = urlsplit(url)
    if parts.scheme not in BACKENDS:
        raise _wrong(f"begins with {parts.scheme or 'no scheme'}, which is not a way to send e-mail")
    sends = parts.scheme in ("smtp", "smtps")
    found = MailSettings(
        backend=BACKENDS[parts.scheme],
        sender=_sender(environment.get("AUSCULT_EMAIL_FROM", ""), needed=sends),
        base_url=_base_url(environment.get("AUSCULT_BASE_URL", "")),
    )
    if parts.scheme == "file":
        if parts.netloc or not parts.path:
            raise _wrong("names no folder: it has three strokes, file:///folder")
        return replace(found, file_path=unquote(parts.path))
    return _with_server(found, parts) if sends else found


def _with_server(found: MailSettings, parts: SplitResult) -> MailSettings:
    query = parse_qs(parts.query, keep_blank_values=True)
    if set(query) - {"tls"} or query.get("tls", ["0"]) not in (["0"], ["1"]):
        raise _wrong("has a question mark with something other than tls=1 or tls=0 behind it")
    ssl, tls = parts.scheme == "smtps", query.get("tls") == ["1"]
    if ssl and tls:
        raise _wrong("asks for TLS in two ways: smtps:// from the first byte, tls=1 after a greeting")
    try:
        port = parts.port
    except ValueError:
        raise _wrong("has a port that is no number up to 65535") from None
    if not parts.hostname or parts.path.strip("/"):
        raise _wrong("does not name a mail server, or has a path behind it")
    if (parts.username is None) != (parts.password is None):
        raise _wrong("has a user without a password, or a password without a user")
    return replace(
        found,
        host=parts.hostname,
        port=port or (465 if ssl else 587 if tls else 25),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        use_ssl=ssl,
        use_tls=tls,
    )


def _sender(value: str, *, needed: bool) -> str:
    address = parseaddr(value)[1]
    if value and ("@" not in address or any(char in value for char in "\r\n")):
        raise EnvironmentProblemError(
            f"AUSCULT_EMAIL_FROM is {value!r}, which is not an address.",
            remedy="Set it to an address such as: Auscult <auscult@hospital.example>.",
        )
    if needed and not value:
        raise EnvironmentProblemError(
            "AUSCULT_EMAIL_URL names a mail server, but AUSCULT_EMAIL_FROM is not set.",
            remedy="Set it to the address that mails come from, such as: Auscult <auscult@hospital.example>.",
        )
    return value or "Auscult <auscult@localhost>"


def _base_url(value: str) -> str:
    """The address of the installation, without a stroke at its end; empty where it is not given."""
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise EnvironmentProblemError(
            f"AUSCULT_BASE_URL is {value!r}, which is not the address of a web server.",
            remedy="Set it to what people type to open Auscult, such as: https://auscult.hospital.example.",
        )
    return value.rstrip("/")


def _wrong(what: str) -> EnvironmentProblemError:
    """Says what is wrong without the URL, which holds a password."""
    return EnvironmentProblemError(f"AUSCULT_EMAIL_URL {what}.", remedy=FORMS)
