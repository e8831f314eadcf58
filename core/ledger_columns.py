"""The columns of a ledger entry beside its body. A body is canonical JSON, so each column stands at a known place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from json.encoder import encode_basestring

MOST_QUOTED = 4096

Row = tuple[int, bytes, bytes, bytes, bytes, bytes, bytes, bytes]
"""Index, moment (written as in the body), actor, act, kind and identifier of the subject, body, leaf hash."""


class Columns:
    """Compares columns with bodies, without parsing the bodies that are as expected."""

    def __init__(self) -> None:
        self._quoted: dict[bytes, bytes] = {}

    def suspects(self, rows: Sequence[Row]) -> list[Row]:
        """The rows to be looked at: those whose columns do not stand in the body as they usually do."""
        return [row for row in rows if not self._usual(row)]

    def _usual(self, row: Row) -> bool:
        index, moment, actor, act, kind, subject, body, _ = row
        quoted = self._quoted
        try:
            named = quoted[act], quoted[actor], quoted[subject], quoted[kind]
        except KeyError:
            named = self._quote(act), self._quote(actor), self._quote(subject), self._quote(kind)
        return body.startswith(b'{"act":%b,"actor":%b,"index":%d,"payload":{' % (*named[:2], index)) and body.endswith(
            b'},"recorded_at":"%b","subject_id":%b,"subject_kind":%b}' % (moment, *named[2:])
        )

    def _quote(self, text: bytes) -> bytes:
        if len(self._quoted) > MOST_QUOTED:
            self._quoted.clear()
        found = self._quoted[text] = encode_basestring(_text(text)).encode()
        return found

    def differences(self, row: Row) -> Iterator[str]:
        """The names of the columns that are not as the body says. One that tells of a late clock has none."""
        index, moment, actor, act, kind, subject, body, _ = row
        said = _parsed(body)
        if said is None:
            yield "body"
            return
        if said.get("index") != index:
            yield "index"
        columns = {"recorded_at": moment, "actor": actor, "act": act, "subject_kind": kind, "subject_id": subject}
        for name, value in columns.items():
            if said.get(name) != _text(value):
                yield name


def place_in_body(row: Row) -> int | None:
    """The number that an entry was written with."""
    said = _parsed(row[6])
    number = said.get("index") if said else None
    return number if isinstance(number, int) else None


def seconds_between(early: bytes, late: bytes) -> int:
    """Whole seconds from one moment to another; 0 where one is none, which is told as a changed column."""
    try:
        return int((datetime.fromisoformat(late.decode()) - datetime.fromisoformat(early.decode())).total_seconds())
    except (ValueError, TypeError):
        return 0


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _parsed(body: bytes) -> dict[str, object] | None:
    try:
        said = json.loads(body)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
