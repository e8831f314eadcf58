"""The rows of the ledger as they lie in the database, past the models: a verification reads millions of them.

Text is read as bytes, so that what is no text any more can be read and told too.
"""

from __future__ import annotations

from typing import Any

from django.db import connection

from core.ledger_checks import Bounds
from core.ledger_columns import Row

MOST_STRAYS = 5
QUOTED_INDEX = '"index"'
COLUMNS = ("actor", "act", "subject_kind", "subject_id", "body", "leaf_hash")
SQLITE_MOMENT = "CAST(recorded_at AS BLOB)"
BEYOND = {
    "sqlite": "MAX(%s, (SELECT size FROM core_ledgerhead WHERE id = 1))",
    "postgresql": "GREATEST(%s, (SELECT size FROM core_ledgerhead WHERE id = 1))",
}
POSTGRESQL_MOMENT = "to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"


class LedgerRows:
    """A :class:`core.ledger_checks.Source`. Each call is one statement, so that nothing is locked between them."""

    def __init__(self) -> None:
        self._sqlite = connection.vendor == "sqlite"
        moment = SQLITE_MOMENT if self._sqlite else POSTGRESQL_MOMENT
        columns = [f"CAST({name} AS BLOB)" if self._sqlite else name for name in COLUMNS]
        self._entries = (
            f'SELECT "index", {moment}, {", ".join(columns)} FROM core_ledgerentry '  # noqa: S608 - names of columns
            'WHERE "index" >= %s AND "index" < %s ORDER BY "index"'
        )
        value = "CAST(node_hash AS BLOB)" if self._sqlite else "node_hash"
        self._nodes = (
            f"SELECT position, {value} FROM core_ledgernode "  # noqa: S608 - the name of a column
            "WHERE level = %s AND position >= %s AND position < %s ORDER BY position"
        )

    def bounds(self) -> Bounds:
        """A number far too large, in a row that was put in, does not make the verification endless."""
        size, entries, last, leaves, leaf = self._all(
            "SELECT (SELECT size FROM core_ledgerhead WHERE id = 1), (SELECT COUNT(*) FROM core_ledgerentry), "
            '(SELECT MAX("index") FROM core_ledgerentry WHERE "index" < 4611686018427387904), '
            "(SELECT COUNT(*) FROM core_ledgernode WHERE level = 0), "
            "(SELECT MAX(position) FROM core_ledgernode WHERE level = 0 AND position < 4611686018427387904)"
        )[0]
        size = size or 0
        reached = int(max(-1 if last is None else last, -1 if leaf is None else leaf)) + 1
        return Bounds(size=size, total=max(entries, leaves, min(size, reached)))

    def entries(self, start: int, stop: int) -> list[Row]:
        rows = self._all(self._entries, [start, stop])
        if self._sqlite:
            return [(row[0], _moment(row[1]), *row[2:]) for row in rows]
        return [(row[0], _moment((row[1] or "").encode()), *(text.encode() for text in row[2:])) for row in rows]

    def nodes(self, level: int, start: int, stop: int) -> list[tuple[int, bytes]]:
        rows = self._all(self._nodes, [level, start, stop])
        return rows if self._sqlite else [(position, value.encode()) for position, value in rows]

    def strays(self, total: int) -> list[str]:
        """Entries and hashes beyond the size, or with a number that none can have."""
        beyond = BEYOND[connection.vendor]
        kind = "typeof({}) <> 'integer' OR " if self._sqlite else ""
        entries = self._all(
            f'SELECT "index" FROM core_ledgerentry WHERE {kind.format(QUOTED_INDEX)}"index" < 0 '  # noqa: S608 - no values
            f'OR "index" >= {beyond} LIMIT {MOST_STRAYS}',
            [total],
        )
        nodes = self._all(
            f"SELECT level, position FROM core_ledgernode WHERE {kind.format('position')}level < 0 OR level > 61 "  # noqa: S608
            f"OR position < 0 OR position >= {beyond} OR ((position + 1) << CAST(level AS integer)) > {beyond} "
            f"LIMIT {MOST_STRAYS}",
            [total, total],
        )
        return [f"Entry {index} is there and belongs nowhere: it was put in." for (index,) in entries] + [
            f"The tree has a hash at level {level}, position {position}, where nothing is complete yet."
            for level, position in nodes
        ]

    def _all(self, sql: str, values: list[int] | None = None) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            rows: list[Any] = cursor.fetchall()
            return rows


def _moment(stored: bytes) -> bytes:
    """A moment as the body writes it: no fraction where it is nought."""
    text = stored.removesuffix(b".000000")
    return text[:10] + b"T" + text[11:] + b"+00:00"
