"""Files of new studies, brought into the form of the reference: kinds of columns, zones, what stays out and is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.monitoring.findings import of_arrival
from models_registry.cohorts import Mapping
from models_registry.cohorts.arrival import Arrival, Expected, receive
from models_registry.cohorts.times import moments


def at(*parts: int) -> datetime:
    """A moment without a zone."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)


ZONE = "Europe/Vienna"
LATEST = at(2026, 11, 22, 12)
REFERENCE = Expected(
    columns=("patient_id", "study_id", "label.effusion", "sex", "age", "ward"),
    kinds={"sex": "text", "age": "integer", "ward": "text"},
)
HEADER = "patient_id,study_id,study_time,sex,age,ward,label.effusion\n"


def received(path: Path, target: Path, expected: Expected = REFERENCE, mapping: Mapping | None = None) -> Arrival:
    return receive(
        path, mapping=mapping or Mapping(), expected=expected, zone=ZONE, latest=LATEST, target=target
    )  # fmt: skip


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def codes(arrival: Arrival) -> dict[str, int]:
    return {finding.code: finding.count for finding in of_arrival(arrival, ZONE, least=11)}


def test_columns_keep_the_kinds_of_the_reference(tmp_path: Path) -> None:
    """Wards that happen to be digits alone this week stay text; an age that is no number goes missing, and is told."""
    rows = HEADER.replace("ward", "ward,nurse") + (
        "p1,s1,2026-11-20T10:00,F,61,7,n1,1\np2,s2,2026-11-20T11:00,M,unknown,8,n2,0\np3,s3,2026-11-20T12:00,M,44,9,n3,\n"
    )
    arrival = received(written(tmp_path / "a.csv", rows), tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.field("ward").type == pa.string() and table.column("ward").to_pylist() == ["7", "8", "9"]
    assert table.column("age").to_pylist() == [61.0, None, 44.0] and "nurse" not in table.column_names
    assert table.column("label.effusion").to_pylist() == [1, 0, None]
    assert arrival.added == {"nurse": 7} and arrival.removed == ()
    assert codes(arrival) == {"column-added": 1, "cells-retyped": 1, "zone-assumed": 3}
    most = rows.replace(",61,", ",old,").replace(",44,", ",young,")
    assert codes(received(written(tmp_path / "b.csv", most), tmp_path / "b.parquet"))["column-retyped"] == 3
    short = "patient_id,study_id,study_time,sex\np1,s1,2026-11-20T10:00+01:00,F\n"
    told = of_arrival(received(written(tmp_path / "c.csv", short), tmp_path / "c.parquet"), ZONE, least=11)
    assert [(f.code, f.column, f.kind) for f in told] == [
        ("column-removed", name, "schema") for name in ("label.effusion", "age", "ward")
    ]
    clean = HEADER + "p1,s1,2026-11-20T10:00+01:00,F,61,A,1\np2,s2,2026-11-20T11:00+01:00,M,60,B,0\n"
    assert codes(received(written(tmp_path / "d.csv", clean), tmp_path / "d.parquet")) == {}
    assert pq.read_schema(tmp_path / "d.parquet").field("age").type == pa.int64()


def test_times_become_utc_and_what_is_odd_is_counted(tmp_path: Path) -> None:
    times = {
        "naive": "2026-07-01T10:00:00",  # 08:00 UTC in summer
        "own": "2026-11-20T10:00:00+01:00",  # 09:00 UTC
        "foreign": "2026-11-20T10:00:00+05:30",  # 04:30 UTC
        "twice": "2026-10-25T02:30:00",  # the hour that comes twice: 00:30 UTC the first time
        "gap": "2026-03-29T02:30:00",  # the hour that does not come: 01:30 UTC with the offset before
        "future": "2026-12-01T00:00:00Z",
        "none": "",
        "day": "2026-11-01",  # 23:00 UTC the day before
    }
    body = "".join(f"p{i},{name},{moment},F,50,A,0\n" for i, (name, moment) in enumerate(times.items()))
    arrival = received(written(tmp_path / "a.csv", HEADER + body), tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert dict(zip(table["study_id"], table["study_time"], strict=True)) == {
        "naive": at(2026, 7, 1, 8),
        "own": at(2026, 11, 20, 9),
        "foreign": at(2026, 11, 20, 4, 30),
        "twice": at(2026, 10, 25, 0, 30),
        "gap": at(2026, 3, 29, 1, 30),
        "day": at(2026, 10, 31, 23),
    }
    # 00:00 UTC is another offset than Vienna's, as is +05:30; one time is Vienna's own; four have none.
    odd = arrival.odd
    assert [odd.naive.count, odd.agreed.count, odd.foreign.count, odd.unclear.count] == [4, 1, 2, 2]
    assert (odd.future.count, odd.future.row, odd.timeless.count, odd.timeless.row) == (1, 6, 1, 7)
    assert (arrival.n_rows, arrival.n_studies) == (8, 6)
    assert (arrival.first, arrival.last) == (at(2026, 3, 29, 1, 30), at(2026, 11, 20, 9))
    assert codes(arrival) == {
        "future-time": 1, "no-time": 1, "zones-mixed": 1, "clock-change": 2, "times-unordered": 4,
    }  # fmt: skip


@pytest.mark.parametrize("zone", [ZONE, "America/New_York", "Asia/Kolkata", "UTC"])
def test_text_and_arrow_times_are_read_alike(zone: str) -> None:
    """Random local times, in every form that a file may have, against the standard library."""
    rng = np.random.default_rng(8)
    local = [at(2026, 1, 1) + timedelta(minutes=int(m)) for m in rng.integers(0, 365 * 1440, 400)]
    truth = [t.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None) for t in local]
    aware = [t.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)) for t in truth]
    forms = [
        pa.array([t.isoformat() for t in local]),
        pa.array(local, pa.timestamp("ms")),
        pa.array([t.isoformat() for t in aware]),
        pa.array(aware, pa.timestamp("us", tz=zone)),
    ]
    for number, form in enumerate(forms):
        read = moments(form, zone)
        assert read is not None and read.values.to_pylist() == truth
        assert read.naive.all() == (number < 2) and not read.foreign.any() and not read.bad.any()
    assert moments(pa.array([1, 2]), zone) is None


def test_rows_of_the_same_study_count_once(tmp_path: Path) -> None:
    body = "".join(f"p{i},s{i % 3},2026-11-2{i % 2}T10:00+01:00,F,5{i},A,0\n" for i in range(5))
    arrival = received(written(tmp_path / "a.csv", HEADER + body), tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet").column("age").to_pylist() == [50, 51, 52]
    assert codes(arrival) == {"study-twice": 2, "times-unordered": 2}


@pytest.mark.parametrize(
    ("row", "code", "column"),
    [
        ("p1,s1,last Tuesday,F,61,7,1\n", "wrong-type", "study_time"),
        ("p1,s1,2026-11-20,F,61,7,YES Quincey\n", "label-value", "label.effusion"),
        (",s1,2026-11-20,F,61,7,1\n", "missing-id", "patient_id"),
        ("p1,s1,2026-11-20,F,61\n", "ragged-row", None),
    ],
)
def test_what_cannot_be_used_is_refused_without_its_words(tmp_path: Path, row: str, code: str, column: str) -> None:
    good = "p0,s0,2026-11-20,F,60,7,0\n"
    arrival = received(written(tmp_path / "a.csv", HEADER + good + row), tmp_path / "a.parquet")
    told = [f for f in of_arrival(arrival, ZONE, least=11) if f.code == code]
    assert arrival.errors and not (tmp_path / "a.parquet").exists()
    assert [(f.kind, f.severity, f.column, f.row) for f in told] == [("schema", "warning", column, 2)]
    assert all("Quincey" not in str(f.to_dict()) and "Tuesday" not in str(f.to_dict()) and f.remedy for f in told)


@pytest.mark.parametrize("factor", [12, -1])
def test_ages_in_another_unit_are_no_trifle(tmp_path: Path, factor: int) -> None:
    rows = [f"p{i},s{i},2026-11-20,F,{(20 + 10 * i) * (factor if i else 1)},7,0\n" for i in range(4)]
    arrival = received(written(tmp_path / "a.csv", HEADER + "".join(rows)), tmp_path / "a.parquet")
    told = next(f for f in of_arrival(arrival, ZONE, least=11) if f.code == "implausible-age")
    assert (told.kind, told.severity, told.count, told.column) == ("unit", "warning", 3, "age")
    one = received(written(tmp_path / "b.csv", HEADER + rows[0] + rows[0].replace("20,7", "130,7")), tmp_path / "b")
    assert [f.kind for f in of_arrival(one, ZONE, least=11) if f.code == "implausible-age"] == ["schema"]


def test_a_header_alone_is_told(tmp_path: Path) -> None:
    arrival = received(written(tmp_path / "a.csv", HEADER), tmp_path / "a.parquet")
    assert codes(arrival) == {"no-rows": 1} and not arrival.errors and not (tmp_path / "a.parquet").exists()


def test_typed_columns_of_another_kind_are_told(tmp_path: Path) -> None:
    """A Parquet file whose ward has become a number, and whose age has become text."""
    frame = pd.DataFrame(
        {"patient_id": ["p1", "p2"], "study_id": ["s1", "s2"], "sex": ["F", "M"], "label.effusion": [0, 1],
         "study_time": pd.to_datetime(["2026-11-20T10:00Z", "2026-11-20T11:00Z"]), "ward": [7, 8],
         "age": ["sixty", "61"]}
    )  # fmt: skip
    frame.to_parquet(tmp_path / "a.parquet")
    arrival = received(tmp_path / "a.parquet", tmp_path / "made.parquet")
    told = {f.column: (f.code, f.count, f.row) for f in of_arrival(arrival, ZONE, least=11) if "retyped" in f.code}
    assert told == {"ward": ("column-retyped", 2, 1), "age": ("cells-retyped", 1, 1)}
    assert pq.read_table(tmp_path / "made.parquet").column("age").to_pylist() == [None, 61.0]
