"""Drop folders and tables: what is taken, what waits, what is refused; no name or address can lead elsewhere."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from core.digests import sha256_file
from core.errors import AuscultError, CohortError
from evaluation.monitoring.schema import check_source
from evaluation.monitoring.sources import table
from evaluation.monitoring.sources.base import SOURCES, OnItsWayError, SourceError
from evaluation.monitoring.sources.rows import ndjson_rows, write_rows
from tests.evaluation.source_scene import CLOSES, OPENS, brought, drop, job, studies
from tests.postgres import postgres_url

__all__ = ["drop"]


def at(*parts: int) -> datetime:
    """A moment without a zone."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)


def put(folder: Path, name: str, text: str, *, age: int = 600) -> Path:
    path = folder / name
    path.write_text(text)
    moment = datetime.now(UTC).timestamp() - age
    os.utime(path, (moment, moment))
    return path


def test_a_file_is_taken_once_whatever_it_is_called(drop: Path, tmp_path: Path) -> None:
    source = {"path": str(drop), "settle_seconds": 0}
    first = put(drop, "week.csv", "a,b\n1,2\n", age=900)
    put(drop, "week.ndjson", '{"a": 1}\n\n{"a": 2.5, "b": [[0, 7.1]]}\n')
    put(drop, ".hidden.csv", "a\n1\n")
    put(drop, "notes.txt", "a\n1\n")
    (drop / "link.csv").symlink_to(first)
    (drop / "images.csv").mkdir()
    found = brought("folder", source, tmp_path / "s1")
    assert [item.name for item in found] == ["week.csv", "week.ndjson"]
    assert found[0].digest == sha256_file(first) and found[0].path == first and found[0].state is not None
    lines = pq.read_table(found[1].path).to_pydict()
    assert lines == {"a": [1.0, 2.5], "b": [None, "[[0, 7.1]]"]}
    known = frozenset(item.digest for item in found)
    put(drop, "again.csv", "a,b\n1,2\n")  # the same content under another name
    assert brought("folder", source, tmp_path / "s2", known=known) == []
    put(drop, "week.csv", "a,b\n1,3\n")  # other content under the same name
    assert [item.name for item in brought("folder", source, tmp_path / "s3", known=known)] == ["week.csv"]
    later = datetime.now(UTC) + timedelta(hours=2)
    taken = {path.name: later for path in drop.iterdir()}
    assert brought("folder", source, tmp_path / "s4", taken_at=taken) == []  # nothing was written since: not hashed


def test_a_file_that_is_being_written_waits(drop: Path, tmp_path: Path) -> None:
    put(drop, "now.csv", "a\n1\n", age=0)
    with pytest.raises(OnItsWayError) as waits:
        brought("folder", {"path": str(drop), "settle_seconds": 3600}, tmp_path / "s1")
    assert waits.value.dispensable and waits.value.seconds == 3600
    marked = {"path": str(drop), "marks": True}
    with pytest.raises(OnItsWayError, match=r"without a mark \(\.done\)"):
        brought("folder", marked, tmp_path / "s2")
    put(drop, "now.csv.done", "")
    assert [item.name for item in brought("folder", marked, tmp_path / "s3")] == ["now.csv"]


def test_a_folder_that_is_gone_is_told(drop: Path, tmp_path: Path) -> None:
    asked = job("folder", {"path": str(drop)}, tmp_path)
    drop.rmdir()
    with pytest.raises(SourceError, match="cannot be read"):
        list(SOURCES.get("folder").pull(asked))


@pytest.mark.parametrize(
    ("kind", "source", "setting"),
    [
        ("folder", {}, "path"),
        ("folder", {"path": "relative"}, "path"),
        ("folder", {"path": "DROP", "settle_seconds": -1}, "settle_seconds"),
        ("folder", {"path": "DROP", "settle_seconds": True}, "settle_seconds"),
        ("folder", {"path": "DROP", "colour": "red"}, "colour"),
        ("table", {"url_env": "SECRET_KEY", "table": "t", "time_column": "x"}, "url_env"),
        ("table", {"url_env": "AUSCULT_SOURCE_A", "table": "t"}, "time_column"),
        ("table", {"url_env": "AUSCULT_SOURCE_A", "table": "t" * 64, "time_column": "x"}, "table"),
        ("table", {"url_env": "AUSCULT_SOURCE_A", "table": "t", "time_column": "x", "lookback_hours": 1 << 20},
         "lookback_hours"),
        ("api", {"mapping": {"image_root": "../.."}}, "mapping"),
        ("fhir", {"url_env": "AUSCULT_SOURCE_A", "token_env": "HOME"}, "token_env"),
        ("fhir", {"url_env": "AUSCULT_SOURCE_A", "group": "../Patient"}, "group"),
        ("fhir", {"url_env": "AUSCULT_SOURCE_A", "labels": {"effusion": ["no system"]}}, "labels"),
        ("fhir", {"url_env": "AUSCULT_SOURCE_A", "series": {"crp": {"code": "x"}}}, "series"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(kind: str, source: dict[str, Any], setting: str, drop: Path) -> None:
    given = json.loads(json.dumps(source).replace('"DROP"', json.dumps(str(drop))))
    with pytest.raises(SourceError) as refused:
        check_source(kind, given)
    assert refused.value.column == setting and refused.value.remedy


def test_no_folder_of_the_server_can_be_read_that_is_not_open(drop: Path, settings: Any) -> None:
    settings.AUSCULT_IMPORT_ROOTS = [drop]
    for source in ({"path": str(drop.parent)}, {"path": str(drop), "mapping": {"image_root": "../.."}}):
        with pytest.raises(AuscultError, match="does not read"):
            check_source("folder", source)
    with pytest.raises(AuscultError, match="no source called"):
        check_source("ftp", {})
    assert check_source("folder", {"path": str(drop)}) == {
        "path": str(drop), "mapping": {}, "settle_seconds": 60, "marks": False
    }  # fmt: skip


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sqlite3.Connection:
    """Three weeks of studies in a table with an awkward name, beside one that must stay whole."""
    connection = sqlite3.connect(tmp_path / "pacs.db")
    connection.execute('CREATE TABLE "exams ""of"" %s" (pid TEXT, sid TEXT, "taken; at" TEXT, sex TEXT, age REAL)')
    rows = [(f"p{day}", f"s{day}", f"2026-{3 if day < 32 else 4:02}-{(day - 1) % 31 + 1:02} 08:00:00+01:00", "F", 60.5)
            for day in range(1, 40)]  # fmt: skip
    connection.executemany('INSERT INTO "exams ""of"" %s" VALUES (?, ?, ?, ?, ?)', rows)
    connection.commit()
    monkeypatch.setenv("AUSCULT_SOURCE_PACS", f"sqlite:///{tmp_path / 'pacs.db'}")
    return connection


TABLE = {"url_env": "AUSCULT_SOURCE_PACS", "table": 'exams "of" %s', "time_column": "taken; at",
         "mapping": {"columns": {"pid": "patient_id", "sid": "study_id"}}, "lookback_hours": 24}  # fmt: skip


def test_a_table_gives_the_window_and_some_days_before(database: sqlite3.Connection, tmp_path: Path) -> None:
    found = brought("table", TABLE, tmp_path / "s")
    rows = pq.read_table(found[0].path).to_pylist()
    # From 1 March less a day of margin, up to the window's end and two days of margin: the rest is sorted out later.
    assert [row["sid"] for row in rows] == [f"s{day}" for day in range(1, 11)]
    assert rows[0] == {"pid": "p1", "sid": "s1", "taken; at": "2026-03-01 08:00:00+01:00", "sex": "F", "age": 60.5}
    assert found[0].mapping.columns["taken; at"] == "study_time"
    assert brought("table", TABLE, tmp_path / "s", known=frozenset({found[0].digest})) == []
    assert database.execute('SELECT count(*) FROM "exams ""of"" %s"').fetchone() == (39,)


@pytest.mark.parametrize("name", ['exams"; DROP TABLE x; --', "nothing", 'a"."b'])
def test_a_name_is_a_name_and_nothing_else(database: sqlite3.Connection, tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="cannot be read") as told:
        brought("table", TABLE | {"table": name}, tmp_path / "s")
    assert "pacs" not in str(told.value)  # neither the address nor the database's own words


def test_the_statement_reads_and_quotes() -> None:
    made = table.statement(TABLE | {"table": "ris.exams"}, "?")
    assert made == (
        'SELECT * FROM "ris"."exams" WHERE "taken; at" >= ? AND "taken; at" < ? ORDER BY "taken; at"'
    )  # fmt: skip


def test_a_database_that_cannot_be_reached_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url, says in (
        ("", "not set here"),
        ("mysql://user:geheim@host/db", "neither"),
        (f"sqlite:///{tmp_path}/none.db", "cannot be read"),
        ("postgresql://user:geheim@127.0.0.1:9/db", "cannot be read"),
    ):
        monkeypatch.setenv("AUSCULT_SOURCE_PACS", url)
        with pytest.raises(SourceError, match=says) as told:
            brought("table", TABLE, tmp_path / "s")
        assert "geheim" not in str(told.value)


class Recorded:
    """A PostgreSQL that answers with a column of a known type, and keeps what it was asked."""

    def __init__(self, type_code: int) -> None:
        self.description = [type("Column", (), {"type_code": type_code})()]

    def execute(self, text: str) -> Recorded:
        assert text.endswith("LIMIT 0")
        return self


def test_moments_are_asked_for_in_the_type_of_the_column(tmp_path: Path) -> None:
    asked = job("table", TABLE, tmp_path, zone="Europe/Vienna")
    begins = OPENS - timedelta(hours=24)
    assert table._bounds(Recorded(1184), asked, begins) == (begins, CLOSES)
    low, high = table._bounds(Recorded(1114), asked, begins)
    assert (low, high) == (at(2026, 3, 1), at(2026, 3, 9, 2))  # local, an hour wider
    assert table._bounds(Recorded(25), asked, begins) == ("2026-02-28", "2026-03-11")


def test_rows_of_mixed_kinds_become_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.monitoring.sources.rows.AT_ONCE", 2)
    given = [{"a": 1, "b": None}, {"a": 2, "b": "x"}, {"a": 2.5, "c": b"\x01"}, {"a": 4, "b": 7}, {"d": True}, {}]
    assert write_rows(iter(given), tmp_path / "a.parquet") == 6
    made = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert made == {
        "a": [1.0, 2.0, 2.5, 4.0, None, None], "b": [None, "x", None, "7", None, None],
        "c": [None, None, b"\x01", None, None, None], "d": [None, None, None, None, True, None],
    }  # fmt: skip
    assert write_rows(iter([]), tmp_path / "none.parquet") == 0 and not (tmp_path / "none.parquet").exists()


def test_a_line_that_is_no_object_is_told_by_its_number(tmp_path: Path) -> None:
    path = put(tmp_path, "a.ndjson", '{"a": 1}\n\n["Rosalind"]\n')
    with path.open("rb") as stream, pytest.raises(CohortError) as told:
        list(ndjson_rows(stream, name="a.ndjson"))
    assert told.value.row == 2 and "Rosalind" not in str(told.value)
    assert len(studies(2)) == 2


def test_a_postgresql_table_is_read_in_every_type_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real server: names with blanks and percent signs, numbers, JSON; nothing can be written."""
    psycopg = pytest.importorskip("psycopg")
    with postgres_url() as url:
        monkeypatch.setenv("AUSCULT_SOURCE_PACS", url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute('CREATE SCHEMA "r s"')
            for kind in ("timestamptz", "timestamp", "date", "text"):
                connection.execute(f'CREATE TABLE "r s"."{kind}%" (sid bigint, "t%t" {kind}, dose numeric, crp jsonb)')
                connection.execute(
                    f"""INSERT INTO "r s"."{kind}%" SELECT d, ('2026-03-' || lpad(d::text, 2, '0')
                    || ' 08:00:00+01')::{kind}, 1.5, '[[0, 7.1]]' FROM generate_series(1, 30) d"""  # noqa: S608 - names of this test
                )
                source = {"url_env": "AUSCULT_SOURCE_PACS", "table": f"r s.{kind}%", "time_column": "t%t",
                          "lookback_hours": 0}  # fmt: skip
                found = brought("table", source, tmp_path / kind, zone="Europe/Vienna")
                rows = pq.read_table(found[0].path).to_pylist()
                assert {2, 3, 4, 5, 6, 7, 8} <= {row["sid"] for row in rows} <= set(range(1, 11))
                assert (rows[0]["dose"], rows[0]["crp"]) == (1.5, "[[0, 7.1]]")
            with pytest.raises(SourceError, match="cannot be read"):
                brought("table", source | {"table": "r s.none"}, tmp_path / "none")
            connection.execute("""UPDATE "r s"."text%" SET "t%t" = '03.03.2026'""")
            with pytest.raises(SourceError, match="not written as ISO 8601"):
                brought("table", source, tmp_path / "german")


def test_a_column_that_is_not_there_is_told_and_finds_no_empty_window(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    """SQLite takes a quoted name that it does not know for a text, and compares that with the times."""
    with pytest.raises(SourceError, match="no such column") as told:
        brought("table", TABLE | {"time_column": "taken at"}, tmp_path / "s")
    assert told.value.column == "time_column"


@pytest.mark.parametrize("time", [1772500000, "03.03.2026 10:00", "20260303"])
def test_times_that_can_never_be_found_are_no_empty_window(
    database: sqlite3.Connection, tmp_path: Path, time: int | str
) -> None:
    database.execute("CREATE TABLE old (sid TEXT, at)")
    database.commit()
    asked = {"url_env": "AUSCULT_SOURCE_PACS", "table": "old", "time_column": "at"}
    assert brought("table", asked, tmp_path / "s1") == []  # nothing in it yet
    database.executemany("INSERT INTO old VALUES ('s1', ?)", [(time,), (None,)])
    database.commit()
    with pytest.raises(SourceError, match="not written as ISO 8601") as told:
        brought("table", asked, tmp_path / "s2")
    assert told.value.column == "time_column"
    database.execute("INSERT INTO old VALUES ('s2', '2020-01-01')")
    database.commit()
    assert brought("table", asked, tmp_path / "s3") == []  # one row of another kind is not the whole table
    database.execute("INSERT INTO old VALUES (CAST(x'ff41' AS TEXT), '2026-03-03')")
    database.commit()
    assert pq.read_table(brought("table", asked, tmp_path / "s4")[0].path)["sid"].to_pylist() == ["\ufffdA"]


def test_a_file_that_cannot_be_read_is_told(drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        put(drop, name, f"patient_id\n{name}\n")
    fault: OSError = PermissionError(13, "Permission denied")

    def refused(path: Path) -> str:
        if path.name == "b.csv":
            raise fault
        return sha256_file(path)

    monkeypatch.setattr("evaluation.monitoring.sources.folder.sha256_file", refused)
    settings = {"path": str(drop), "settle_seconds": 0}
    seen = SOURCES.get("folder").pull(job("folder", settings, tmp_path))
    assert [next(seen).name, next(seen).name] == ["a.csv", "c.csv"], "what can be read is read"
    with pytest.raises(OnItsWayError, match="A file in the drop folder may not be read by the workers") as waits:
        next(seen)
    assert waits.value.dispensable and "right to read" in waits.value.remedy
    fault = OSError(5, "Input/output error")
    with pytest.raises(SourceError, match=r"cannot be read \(Input/output error\)"):
        brought("folder", settings, tmp_path / "s2")
