"""Protocols as a policy names them: ``name``, or ``name@`` and the beginning of the digest of its rules.

A name alone means every approved protocol of that name, also one that is approved later with other rules. A pin means
one set of rules.
"""

from __future__ import annotations

import re

PIN = re.compile(r"[0-9a-f]{12,64}")


def split(asked: str) -> tuple[str, str]:
    """Name and pin; the pin is empty where there is none."""
    name, _, pin = asked.partition("@")
    return name, pin


def is_meant(asked: str, *, name: str, digest: str) -> bool:
    """Whether a protocol with this name and digest is one that is asked for."""
    wanted, pin = split(asked)
    return name == wanted and digest.startswith(pin)


def problem(asked: str) -> str:
    """What is wrong with the way in which a protocol is named; empty where nothing is."""
    name, pin = split(asked)
    if "@" in asked and (not name or not PIN.fullmatch(pin)):
        return f"'{asked}' is no protocol: after @ stand 12 to 64 characters of its digest, in small letters."
    return ""
