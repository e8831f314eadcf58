"""Whatever a report holds, it comes out as it went in."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models_registry.cohorts import convert_cohort, open_cohort

reports = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=30), min_size=1, max_size=6
)


def reread(path: Path) -> list[str | None]:
    convert_cohort(path, mapping=None, destination=path.parent / "out")
    table = open_cohort(path.parent / "out").table(0, ["study_id", "text.report"])
    found = dict(zip(table["study_id"].to_pylist(), table["text.report"].to_pylist(), strict=True))
    return [found[name] for name in sorted(found)]


def expected(texts: list[str]) -> list[str | None]:
    """Blank text is a missing report."""
    return [text if pa.compute.utf8_trim_whitespace(text).as_py() else None for text in texts]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=reports,
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_csv(texts: list[str], delimiter: str, encoding: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        with path.open("w", encoding=encoding, newline="") as stream:
            writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
            writer.writerow(["patient_id", "study_id", "text.report", "label.x"])
            writer.writerows([str(i % 2), f"S{i}", text, "1"] for i, text in enumerate(texts))
        assert reread(path) == expected(texts)


@settings(max_examples=30, deadline=None)
@given(texts=reports)
def test_parquet(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.parquet"
        ids = [f"S{i}" for i in range(len(texts))]
        pq.write_table(pa.table({"patient_id": ids, "study_id": ids, "text.report": texts}), path)
        assert reread(path) == expected(texts)
