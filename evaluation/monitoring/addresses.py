"""Where a webhook may lead: to the open internet, and to machines of the house that the operator names.

Whoever may add a webhook could else make the server knock at doors that are open to it alone. The address is checked
when it is added and, with what its name stands for at that moment, before every message.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from urllib.parse import SplitResult, urlsplit

from core.errors import AuscultError, TransientError

HOSTS_VARIABLE = "AUSCULT_WEBHOOK_HOSTS"
"""Names or addresses of machines of the house that may be told, separated by commas."""
MOST = 500
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefusedError(AuscultError):
    """An address that no message is sent to."""


def check_address(url: str, *, production: bool) -> str:
    """The address as it is kept, if a message could be sent to it. Nothing is looked up.

    Raises:
        AddressRefusedError: another scheme than https (http is for this machine alone), credentials, a fragment, no
            host, or an address of a private network that the operator did not name.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _refused("It cannot be read.", "Give an address such as https://host.example/hooks/auscult.") from error
    if not host or not url.isascii() or len(url) > MOST or any(char.isspace() or ord(char) < 33 for char in url):
        raise _refused("It is no address of a web server.", f"Give an address of up to {MOST} plain characters.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _refused("It holds a password or a fragment.", "Leave them out: messages are signed with the secret.")
    literal = _literal(host)
    if parts.scheme == "http" and not (_is_this_machine(host) and allowed(host, literal, production=production)):
        raise _refused("Messages go by https alone; http is for this machine.", "Begin it with https://.")
    if parts.scheme not in ("http", "https"):
        raise _refused(f"It begins with {parts.scheme or 'nothing'}.", "Begin it with https://.")
    if literal is not None and not allowed(host, literal, production=production):
        raise _private(host)
    return url


def resolve(url: str, *, production: bool) -> tuple[SplitResult, tuple[str, ...]]:
    """The parts of an address, and the IP addresses that its name stands for now, all of which are allowed.

    Whoever connects must connect to one of these: the name may stand for another a moment later.

    Raises:
        AddressRefusedError: the name stands for an address of a private network that the operator did not name.
        TransientError: the name is not known now.
    """
    parts = urlsplit(check_address(url, production=production))
    host = parts.hostname or ""
    try:
        found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TransientError(f"The name {host} is not known.", remedy="Check the address and the network.") from error
    addresses = tuple(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    for address in addresses:
        if not allowed(host, ipaddress.ip_address(address), production=production):
            raise _private(host)
    return parts, addresses


def allowed(host: str, address: Address | None, *, production: bool) -> bool:
    """Whether a machine may be told: one of the open internet, or named by the operator; in development this one."""
    named = {name.strip().strip("[]").casefold() for name in os.environ.get(HOSTS_VARIABLE, "").split(",")} - {""}
    if host.casefold() in named or (address is not None and str(address) in named):
        return True
    if address is None:
        return not production and _is_this_machine(host)
    inner = _within(address)
    if inner.is_loopback:
        return not production
    return bool(inner.is_global and not inner.is_multicast and not inner.is_reserved)


def _within(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for where it does (mapped, 6to4, NAT64); else the address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    translated = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else None
    return address.ipv4_mapped or address.sixtofour or translated or address


def _is_this_machine(host: str) -> bool:
    literal = _literal(host)
    return host.casefold() == "localhost" or (literal is not None and literal.is_loopback)


def _literal(host: str) -> Address | None:
    """The host as an IP address; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _private(host: str) -> AddressRefusedError:
    return _refused(
        f"{host} is no machine of the open internet.", f"The operator may name it in {HOSTS_VARIABLE} and start again."
    )


def _refused(why: str, remedy: str) -> AddressRefusedError:
    return AddressRefusedError(f"No message can be sent to this address. {why}", remedy=remedy)
