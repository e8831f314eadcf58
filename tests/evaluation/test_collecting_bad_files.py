"""A file that nobody can read is refused by itself: it stops neither its window nor those after it."""

from __future__ import annotations

import gzip
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from evaluation.models import Alert, Delivery, Monitor, MonitorWindow
from evaluation.monitoring.collecting import collect_window
from evaluation.monitoring.deliveries import tell
from evaluation.monitoring.findings import Finding
from tests.evaluation.source_scene import OPENS, drop, monitor, studies

__all__ = ["drop", "monitor"]
HEADER = "patient_id,study_id,study_time,sex,age,label.effusion\n"
HALF = '{"patient_id": "p", "study_id": "Quincey", "study_time": "2026-03-03", "sex": "\\ud800"}\n'
FAR = f"{HEADER}p1,Quincey,9999-12-31T23:59:59-12:00,F,50,1\n"
CUT = bytearray(gzip.compress(f"{HEADER}p1,Quincey,2026-03-03,F,50,1\n".encode()))
CUT[12:20] = b"\xff" * 8
FOREIGN = f"{HEADER.strip()},pred.effusion\np1,s1,2026-03-03,F,50,1,Quincey\n"
BAD: dict[str, tuple[bytes, str, int | None]] = {
    "line.ndjson": (b'{"patient_id": "p"}\nQuincey\n', "unreadable-file", 2),
    "half.jsonl": (HALF.encode(), "unreadable-file", 1),
    "raw-half.jsonl": (b'{"sex": "\xed\xa0\x80"}', "unreadable-file", 1),
    "nothing.ndjson": (b"", "unreadable-file", None),
    "blank.ndjson": (b"\n\n", "empty-file", None),
    "far.csv": (FAR.encode(), "wrong-type", 1),
    "cut.csv.gz": (bytes(CUT), "unreadable-file", None),
    "foreign.csv": (FOREIGN.encode(), "prediction-value", 1),
}
"""File -> what it holds, and the finding that it must lead to, with its row."""


def collected(monitor: Monitor, index: int = 1, **given: Any) -> MonitorWindow:
    opens = OPENS + (index - 1) * timedelta(weeks=1)
    facts = {"opens_at": opens, "closes_at": opens + timedelta(weeks=1), "due_at": opens} | given
    row = MonitorWindow.objects.create(monitor=monitor, index=index, **facts)
    collect_window(row.pk)
    row.refresh_from_db()
    MonitorWindow.objects.filter(pk=row.pk, status="auditing").update(status="judged")
    return row


def codes(row: MonitorWindow) -> dict[str, int]:
    return {item["code"]: item["count"] for item in row.findings}


def test_what_cannot_be_read_is_refused_and_nothing_waits_for_it(monitor: Monitor, drop: Path) -> None:
    for name, (body, _, _) in BAD.items():
        (drop / name).write_bytes(body)
        os.utime(drop / name, (1_700_000_000, 1_700_000_000))
    studies(30).to_csv(drop / os.fsdecode(b"w\xff.csv"), index=False)  # newer than all of them, and oddly named
    row = collected(monitor)
    assert (row.status, row.n_studies, row.attempts) == ("auditing", 30, 0)
    assert codes(row)["delivery-refused"] == len(BAD)
    found = {delivery.name: delivery for delivery in Delivery.objects.all()}
    assert found.pop("w\\xff.csv").status == "held"
    assert set(found) == set(BAD) and {delivery.status for delivery in found.values()} == {"refused"}
    for name, (_, code, place) in BAD.items():
        told = next(item for item in found[name].findings if item["code"] == code)
        assert told["row"] == place and told["remedy"] and "Quincey" not in str(found[name].__dict__)
    assert found["nothing.ndjson"].error.startswith("The file is empty.")
    assert "Quincey" not in str(list(Alert.objects.values()))
    assert "Delivery" in Alert.objects.get(key="source:unreadable-file").text
    assert collected(monitor, 2).status == "empty"  # what was refused is not read again


def test_a_file_that_makes_the_reader_fail_is_refused_without_its_words(
    monitor: Monitor, drop: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise UnicodeEncodeError("utf-8", "Quincey", 0, 1, "strange")

    studies(20).to_csv(drop / "a.csv", index=False)
    monkeypatch.setattr("evaluation.monitoring.deliveries.receive", fails)
    row = collected(monitor)
    assert (row.status, Delivery.objects.get().status) == ("refused", "refused")
    assert Alert.objects.get(key="source:unreadable-file").text.startswith("Delivery")
    assert "UnicodeEncodeError in" in caplog.text and "Quincey" not in caplog.text + str(list(Alert.objects.values()))


def test_a_window_is_refused_for_its_own_studies_alone(monitor: Monitor, drop: Path) -> None:
    """Of 20 studies each, the second week's have another kind of sex; so have 2 of the third week's."""
    studies(20).to_parquet(drop / "a.parquet")
    studies(20, start=20, day=10, sex=1).to_parquet(drop / "b.parquet")
    studies(18, start=40, day=17).to_parquet(drop / "c.parquet")
    studies(2, start=58, day=17, sex=1).to_parquet(drop / "d.parquet")
    found = [collected(monitor, index) for index in (1, 2, 3)]
    assert [(row.status, row.n_studies) for row in found] == [("auditing", 20), ("refused", 0), ("auditing", 20)]
    assert "'sex'" in found[1].error
    # The refused studies had come in time: they are not told as late.
    assert not any("late-studies" in codes(row) for row in found)
    studies(3, start=70, day=11).to_parquet(drop / "e.parquet")
    studies(2, start=80, day=31).to_parquet(drop / "f.parquet")
    fourth = collected(monitor, 4)
    studies(1, start=80, day=18).to_parquet(drop / "g.parquet")  # of the fifth week, as it seemed, and now of the third
    fifth, sixth = collected(monitor, 5), collected(monitor, 6)
    assert [codes(row).get("late-studies", 0) for row in (fourth, fifth, sixth)] == [3, 1, 0]  # each told once


def test_columns_are_not_called_rows_and_names_that_nobody_sees_are_shown(monitor: Monitor, drop: Path) -> None:
    odd = {f"c{number}": 1 for number in range(22)} | {"x\0y": 1}
    studies(20, **odd).to_parquet(drop / "a.parquet")
    row = collected(monitor)
    told = {alert.key: alert for alert in Alert.objects.all()}
    assert told["schema:columns-added"].title.startswith("3 further columns")
    assert "rows" not in told["schema:columns-added"].text and "rows" not in told["schema:column-added"].text
    assert "Leave it out of the export" in told["schema:column-added"].text
    assert "\0" not in str(row.findings) and "\0" not in str(list(Delivery.objects.values()))


@pytest.mark.parametrize(
    ("code", "row", "count", "words", "kept"),
    [
        ("wrong-type", 4, 4, "Row 4, in fewer than 5 rows. Mend it.", None),
        ("wrong-type", 4, 1200, "Row 4, in 1,200 rows. Mend it.", 1200),
        ("wrong-type", 4, 1, "Row 4. Mend it.", None),
        ("late-studies", None, 3, "Fewer than 5 studies. Mend it.", None),
        ("late-studies", None, 40, "40 studies. Mend it.", 40),
        ("delivery-refused", None, 2, "2 deliveries. Mend it.", 2),
        ("columns-removed", None, 5, "Mend it.", 5),
        ("unreadable-file", None, 2, "2 times. Mend it.", 2),
    ],
)
def test_small_numbers_of_studies_are_not_told_and_others_are(
    monitor: Monitor, code: str, row: int | None, count: int, words: str, kept: int | None
) -> None:
    """The smallest number that this protocol tells is 5."""
    finding = Finding(kind="schema", severity="warning", code=code, message="Odd.", remedy="Mend it.", row=row,
                      count=count)  # fmt: skip
    tell(monitor, [finding])
    alert = Alert.objects.get()
    assert (alert.text, alert.detail["count"]) == (words, kept)
