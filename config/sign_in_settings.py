"""Settings of signing in that are read from the environment: counting tries, single sign-on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from core.errors import EnvironmentProblemError

LOCAL: dict[str, object] = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "auscult"}
PROVIDER = "house"
"""What addresses call the identity provider: ``/account/sign-on/house/login/callback/``."""


@dataclass(frozen=True, kw_only=True)
class SignOn:
    """Single sign-on by OpenID Connect.

    Attributes:
        apps: The library's description of the provider; empty without single sign-on.
        hosts: Origins that a form may lead to: those of the provider.
        by_address: Whether an account without an identity is found by the e-mail address that the provider verified.
    """

    apps: list[dict[str, Any]]
    hosts: list[str]
    by_address: bool


def cache_settings(url: str) -> dict[str, object]:
    """Django's settings of the cache for a broker's address: ``redis://``, ``rediss://`` or ``redis+socket://``.

    Any other address (``memory://``, none) gives a cache in the memory of each process.
    """
    parts = urlsplit(url)
    if parts.scheme == "redis+socket":
        database = parse_qs(parts.query).get("virtual_host", ["0"])[0].lstrip("/")
        url = f"unix://{parts.path}?db={database or 0}"
    elif parts.scheme not in {"redis", "rediss"}:
        return dict(LOCAL)
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": url,
        "KEY_PREFIX": "auscult",
        "OPTIONS": {"serializer": "core.sealed.SealedSerializer"},
    }


def sign_on_settings(environment: Mapping[str, str], *, production: bool) -> SignOn:
    """Single sign-on as the environment describes it.

    Raises:
        EnvironmentProblemError: a part is missing, or an address is not one that can be trusted.
    """
    url = environment.get("AUSCULT_OIDC_URL", "").rstrip("/")
    if not url:
        return SignOn(apps=[], hosts=[], by_address=False)
    parts = urlsplit(url)
    if parts.scheme != "https" and (production or parts.hostname not in {"127.0.0.1", "localhost"}):
        raise EnvironmentProblemError(
            f"AUSCULT_OIDC_URL is {url}: an identity provider is reached by https.",
            remedy="Give the address of the issuer, such as https://login.hospital.example/realms/staff.",
        )
    missing = [name for name in ("AUSCULT_OIDC_CLIENT_ID", "AUSCULT_OIDC_CLIENT_SECRET") if not environment.get(name)]
    if missing:
        raise EnvironmentProblemError(
            f"AUSCULT_OIDC_URL is set, and {' and '.join(missing)} is not.",
            remedy="Set what the identity provider gave you for this installation, or unset AUSCULT_OIDC_URL.",
        )
    app = {
        "provider_id": PROVIDER,
        "name": environment.get("AUSCULT_OIDC_NAME", "your hospital's account"),
        "client_id": environment["AUSCULT_OIDC_CLIENT_ID"],
        "secret": environment["AUSCULT_OIDC_CLIENT_SECRET"],
        "settings": {"server_url": url, "oauth_pkce_enabled": True},
    }
    more = [host for host in environment.get("AUSCULT_OIDC_HOSTS", "").split(",") if host]
    return SignOn(
        apps=[app],
        hosts=[f"{parts.scheme}://{parts.netloc}", *more],
        by_address=environment.get("AUSCULT_OIDC_LINK_BY_EMAIL") == "1",
    )
