"""A bundle taken apart for its checks: entries, sums, JSON, key and ledger entries. Nothing is judged here."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .container import Entry, Forget, Sums, first_difference, read_entries, sums_of
from .layout import HELD_NAME, KEY, LAYOUTS, MANIFEST, MAX_READ, PROOFS, Mismatch, Problem, load_key

Findings = Iterator[Problem]


class Bundle:
    """The bytes of a bundle and its files.

    What the checks read is copied once, before anything is hashed, so that what is understood is what was hashed even
    where somebody writes to the file meanwhile. All else stays where it lies.
    """

    def __init__(self, raw: memoryview, *, trust: Sequence[str], trust_tsa: Sequence[str], forget: Forget) -> None:
        self.raw = raw
        self.trust = frozenset(item.lower() for item in trust)
        self.trust_tsa = frozenset(item.lower() for item in trust_tsa)
        self.reading = "the zip file"
        self._forget = forget
        self._held: dict[str, bytes] = {}
        self._parsed: dict[str, Any] = {}
        self.entries = [self._copied(entry) for entry in read_entries(raw)]

    def _copied(self, entry: Entry) -> Entry:
        room = MAX_READ - sum(len(data) for data in self._held.values())
        if not HELD_NAME.fullmatch(entry.name) or len(entry.data) > room:
            return entry
        self._held[entry.name] = bytes(entry.data)
        return Entry(entry.name, entry.begin, memoryview(self._held[entry.name]))

    @cached_property
    def _all_sums(self) -> list[Sums]:
        return sums_of(self.entries, self._forget)

    @cached_property
    def sums(self) -> dict[str, Sums]:
        """Of every file by its name; where a name is there twice, of the last."""
        return {entry.name: sums for entry, sums in zip(self.entries, self._all_sums, strict=True)}

    def first_difference(self) -> tuple[str, int] | None:
        """Where the zip leaves its canonical form, and the file that this belongs to."""
        return first_difference(self.raw, self.entries, self._all_sums)

    def has(self, name: str) -> bool:
        return name in self.sums

    def data(self, name: str) -> bytes:
        self.reading = name
        if not self.has(name):
            raise Mismatch(name, "is missing")
        if name not in self._held:
            raise Mismatch(name, f"is too large to be read: all that is read has at most {MAX_READ >> 20} MiB")
        return self._held[name]

    def digest(self, name: str) -> str:
        """SHA-256 of a file."""
        self.reading = name
        if not self.has(name):
            raise Mismatch(name, "is missing")
        return self.sums[name].sha256

    def json(self, name: str) -> Any:
        data = self.data(name)
        if name not in self._parsed:
            self._parsed[name] = json.loads(data)
        return self._parsed[name]

    def payload(self, name: str) -> Any:
        """The JSON inside a DSSE envelope."""
        return json.loads(base64.b64decode(self.json(name)["payload"], validate=True))

    def key(self) -> Ed25519PublicKey:
        return load_key(self.data(KEY), KEY)

    @cached_property
    def _ledger(self) -> list[dict[str, Any]]:
        return [json.loads(proof["entry"]) for proof in self.json(PROOFS)["proofs"]]

    def ledger(self) -> list[dict[str, Any]]:
        """The bodies of the ledger entries."""
        self.reading = PROOFS
        return self._ledger

    def layout(self) -> int:
        """The number of the layout that the manifest names."""
        schema = self.json(MANIFEST)["schema"]
        if schema not in LAYOUTS:
            raise Mismatch(MANIFEST, "is of a layout that this verifier does not know: a newer one is needed")
        return LAYOUTS[schema]

    def promises_timestamp(self) -> bool:
        return self.json(MANIFEST).get("timestamp") is True


def entries_of(bundle: Bundle, act: str, *, actor: str | None = None, **payload: Any) -> list[dict[str, Any]]:
    """The ledger entries of an act, by this person, that say at least this."""
    return [
        entry
        for entry in bundle.ledger()
        if entry["act"] == act
        and actor in (None, entry["actor"])
        and all(entry["payload"].get(name) == value for name, value in payload.items())
    ]
