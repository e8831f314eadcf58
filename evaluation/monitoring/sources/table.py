"""A table or view of a database: studies of the window, and of some time before it, by one read-only SELECT."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, NoReturn
from urllib.parse import quote, unquote, urlsplit
from zoneinfo import ZoneInfo

from core.digests import sha256_file
from core.errors import EnvironmentProblemError
from evaluation.monitoring.sources.base import (
    SOURCES,
    Arrived,
    Job,
    SourceError,
    check_keys,
    check_variable,
    columns_of,
    lookback_of,
    variable,
    wrong,
)
from evaluation.monitoring.sources.rows import write_rows

LONGEST_NAME = 63
"""Characters of a name in PostgreSQL."""
DATES = {1082: date, 1114: datetime, 1184: datetime}
"""Numbers of PostgreSQL's types date, timestamp, timestamptz."""
ZONED = 1184
MARGIN = timedelta(days=1)
SECONDS = 600
FETCH = 5_000
SQLITE_DAY, POSTGRES_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*", "^[0-9]{4}-[0-9]{2}-[0-9]{2}"
MARK = "\x1f"
"""Stands for a parameter while the percent signs of names are doubled."""


class Table:
    """Settings: ``url_env`` names the variable with ``postgresql://...`` or ``sqlite:////path``; ``table``, with its
    schema where it has one; ``time_column``; ``mapping``; ``lookback_hours``."""

    repeats = True

    def check(self, given: dict[str, Any]) -> dict[str, Any]:
        kinds = {"url_env": str, "table": str, "time_column": str, "mapping": dict, "lookback_hours": int}
        check_keys(given, kinds, ("url_env", "table", "time_column"))
        check_variable(given, "url_env")
        quoted_table(given["table"])
        quoted(given["time_column"], "time_column")
        mapping = columns_of(given)
        if given["time_column"] != "study_time" and "study_time" not in mapping.columns.values():
            mapping = columns_of(
                {"mapping": mapping.to_dict() | {"columns": mapping.columns | {given["time_column"]: "study_time"}}}
            )
        return given | {"mapping": mapping.to_dict(), "lookback_hours": lookback_of(given)}

    def gives(self, settings: dict[str, Any]) -> tuple[str, ...] | None:
        return None

    def pull(self, job: Job) -> Iterator[Arrived]:
        url = variable(job.settings, "url_env")
        target = job.scratch / "table.parquet"
        begins = job.opens_at - timedelta(hours=job.settings["lookback_hours"])
        if write_rows(_kept_alive(_rows(url, job, begins), job), target):
            digest = sha256_file(target)
            if digest not in job.known:
                name = f"{job.settings['table']}, {begins:%Y-%m-%d %H:%M} to {job.closes_at:%Y-%m-%d %H:%M} UTC"
                yield Arrived(name=name, digest=digest, path=target, mapping=columns_of(job.settings))


def quoted(name: str, setting: str) -> str:
    """A name as SQL holds it, whatever characters it has.

    Raises:
        SourceError: no name that a database could have.
    """
    if not 0 < len(name) <= LONGEST_NAME or "\0" in name:
        raise wrong(setting, f"A name has 1 to {LONGEST_NAME} characters", "Give it as the database spells it.")
    return '"' + name.replace('"', '""') + '"'


def quoted_table(given: str) -> str:
    """``schema.table`` with both names quoted."""
    return ".".join(quoted(part, "table") for part in given.split(".", 1))


def statement(settings: dict[str, Any], mark: str) -> str:
    """The SELECT. Nothing but the two moments is left to be filled in, and the database does that."""
    column = quoted(settings["time_column"], "time_column")
    table = quoted_table(settings["table"])
    # Names are quoted as identifiers above; values are parameters.
    return f"SELECT * FROM {table} WHERE {column} >= {mark} AND {column} < {mark} ORDER BY {column}"  # noqa: S608


def _kept_alive(rows: Iterator[dict[str, Any]], job: Job) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows):
        if number % FETCH == 0:
            job.alive()
        yield row


def _rows(url: str, job: Job, begins: datetime) -> Iterator[dict[str, Any]]:
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return _sqlite(url, job, begins)
    if scheme in {"postgresql", "postgres"}:
        return _postgresql(url, job, begins)
    raise wrong("url_env", "The variable holds neither a postgresql:// nor a sqlite:// address", "Let the operator "
                "correct it.")  # fmt: skip


def _days(job: Job, begins: datetime) -> tuple[str, str]:
    """A day before and a day after, as text: ISO 8601 sorts by day in any zone; the rest is sorted out later."""
    return f"{begins - MARGIN:%Y-%m-%d}", f"{job.closes_at + 2 * MARGIN:%Y-%m-%d}"


def _sqlite(url: str, job: Job, begins: datetime) -> Iterator[dict[str, Any]]:
    path = quote(unquote(urlsplit(url).path).removeprefix("/"))
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            connection.text_factory = partial(str, encoding="utf-8", errors="replace")
            cursor = connection.execute(statement(job.settings, "?"), _days(job, begins))
            names = [item[0] for item in cursor.description]
            _check_column(names, job.settings["time_column"])
            found = False
            while rows := cursor.fetchmany(FETCH):
                found = True
                yield from (dict(zip(names, row, strict=True)) for row in rows)
            if not found:
                _check_times(connection, job.settings, "GLOB", SQLITE_DAY)
    except sqlite3.Error as error:
        _unreadable(error)


def _check_column(names: list[str], column: str) -> None:
    """SQLite takes a quoted name that no column has for a text, and would find no rows for ever."""
    if column.casefold() not in {name.casefold() for name in names}:
        raise wrong("time_column", "The table has no such column", "Give it as the database spells it.")


def _postgresql(url: str, job: Job, begins: datetime) -> Iterator[dict[str, Any]]:
    with _connected(url) as connection:
        import psycopg

        try:
            connection.read_only = True
            connection.execute(f"SET statement_timeout = {SECONDS * 1000}")
            bounds = _bounds(connection, job, begins)
            with connection.cursor(name="auscult") as cursor:
                cursor.itersize = FETCH
                text = statement(job.settings, MARK).replace("%", "%%").replace(MARK, "%s")
                cursor.execute(text, bounds)
                names = [item.name for item in cursor.description]
                yield from (dict(zip(names, row, strict=True)) for row in cursor)
                found = cursor.rownumber
            # Bounds that are text mean that the column is.
            if not found and isinstance(bounds[0], str):
                _check_times(connection, job.settings, "~", POSTGRES_DAY)
        except psycopg.Error as error:
            _unreadable(error)


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    try:
        import psycopg
    except ImportError as error:
        raise EnvironmentProblemError(
            "The driver for PostgreSQL is not installed.", remedy="Install it with: pip install 'auscult[production]'."
        ) from error
    try:
        connection = psycopg.connect(url, connect_timeout=30)
    except psycopg.Error as error:
        _unreadable(error)
    with closing(connection):
        yield connection


def _bounds(connection: Any, job: Job, begins: datetime) -> tuple[Any, Any]:
    """The two moments in the type of the column. Without a zone they are local times of the monitor."""
    column, table = quoted(job.settings["time_column"], "time_column"), quoted_table(job.settings["table"])
    probe = connection.execute(f"SELECT {column} FROM {table} LIMIT 0")  # noqa: S608 - quoted identifiers
    kind = probe.description[0].type_code
    if kind not in DATES:
        return _days(job, begins)
    if kind == ZONED:
        return begins, job.closes_at
    zone = ZoneInfo(job.zone)
    low, high = ((moment.astimezone(zone)).replace(tzinfo=None) for moment in (begins, job.closes_at))
    return (low - MARGIN, high + MARGIN) if kind == 1082 else (low - timedelta(hours=1), high + timedelta(hours=1))


def _check_times(connection: Any, settings: dict[str, Any], like: str, day: str) -> None:
    """Whether any time begins with a day of ISO 8601: no other is ever found between two moments.

    Raises:
        SourceError: the column has times, and none does.
    """
    column, table = quoted(settings["time_column"], "time_column"), quoted_table(settings["table"])
    asked = (f"{column} {like} '{day}'", f"{column} IS NOT NULL")
    # Names are quoted as identifiers above, and the pattern is ours.
    iso, some = (connection.execute(f"SELECT 1 FROM {table} WHERE {a} LIMIT 1").fetchone() for a in asked)  # noqa: S608
    if some and not iso:
        raise wrong("time_column", "Its times are not written as ISO 8601, so no study of any window can be found",
                    "Give a view in which it is a timestamp, or text such as 2026-11-22T14:05.")  # fmt: skip


def _unreadable(error: Exception) -> NoReturn:
    """The kind of the fault alone: a database's own words may quote values, or the address with its password."""
    raise SourceError(
        f"The database cannot be read ({type(error).__name__}).",
        remedy="See that it runs, that the address in the variable is right, and that its user may read the table.",
        column="table",
    ) from None


SOURCES.register("table")(Table())
