"""Where a webhook may lead: the open internet, what the operator names, and in development this machine."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from core.errors import TransientError
from evaluation.monitoring.addresses import HOSTS_VARIABLE, AddressRefusedError, check_address, resolve

INSIDE = [
    "10.0.0.8", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "240.0.0.1",
    "[fe80::1]", "[fc00::1]", "[ff02::1]", "[::ffff:10.0.0.8]", "[2002:0a00:0008::1]", "[64:ff9b::10.0.0.8]",
    "127.0.0.1", "[::1]",
]  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
def test_no_machine_of_the_house_unless_the_operator_names_it(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"https://{host}/hook"
    with pytest.raises(AddressRefusedError, match="no machine of the open internet"):
        check_address(url, production=True)
    monkeypatch.setenv(HOSTS_VARIABLE, f"other.example, {host}")
    assert check_address(url, production=True) == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://hooks.example/a", "https alone"),
        ("http://localhost/a", "https alone"),
        ("ftp://hooks.example/a", "begins with ftp"),
        ("hooks.example/a", "no address"),
        ("https://", "no address"),
        ("https://hooks.example:99999/", "cannot be read"),
        ("https://[::1/", "cannot be read"),
        ("https://ada:pass@hooks.example/", "password"),
        ("https://hooks.example/#part", "fragment"),
        ("https://hooks.example/a b", "no address"),
        ("https://hooks.example/a\r\nX: y", "no address"),
        ("https://hööks.example/", "no address"),
    ],
)
def test_addresses_that_cannot_be(url: str, words: str) -> None:
    with pytest.raises(AddressRefusedError, match=words):
        check_address(url, production=True)


def test_this_machine_is_told_in_development_alone() -> None:
    for url in ("http://127.0.0.1:8000/a", "http://localhost/a", "http://[::1]:8000/a"):
        assert check_address(url, production=False) == url
    assert check_address("https://hooks.example/a", production=True)


def test_a_name_is_looked_up_and_every_address_of_it_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, list[str]] = {
        "open.example": ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
        "mixed.example": ["93.184.215.14", "10.0.0.8"],
        "scoped.example": ["fe80::1%eth0"],
    }

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    parts, addresses = resolve("https://open.example/a?b=1", production=True)
    assert (parts.hostname, addresses) == ("open.example", tuple(known["open.example"]))
    for host in ("mixed.example", "scoped.example"):
        with pytest.raises(AddressRefusedError, match=f"{host} is no machine"):
            resolve(f"https://{host}/a", production=True)
    with pytest.raises(TransientError, match="not known"):
        resolve("https://gone.example/a", production=True)
    monkeypatch.setenv(HOSTS_VARIABLE, "MIXED.example")
    assert resolve("https://mixed.example/a", production=True)[1] == ("93.184.215.14", "10.0.0.8")
