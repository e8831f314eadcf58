"""For scenes that the database would refuse: one trigger is taken away while a row is made, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def without_trigger(name: str) -> Iterator[None]:
    """Within the block the trigger is not there. SQLite only, in the test's own transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = %s", [name])
        (sql,) = cursor.fetchone()
        cursor.execute(f"DROP TRIGGER {name}")
        yield
        cursor.execute(sql)
