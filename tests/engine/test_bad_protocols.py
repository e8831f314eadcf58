"""Bad protocols and result files: each message says what and where; nothing is written or left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import AuscultError, CohortError, ProtocolError
from evaluation.engine import Protocol, run_audit
from evaluation.engine.columns import check_columns
from evaluation.engine.registry import SUITES
from tests.engine.bad_files import RULES, assign, frame, refused, run, write
from tests.engine.builders import body, protocol

pytestmark = pytest.mark.usefixtures("nothing_is_left")

# The protocol


def test_an_unknown_metric_lists_the_known_ones(folder: Path) -> None:
    rules = RULES | {"criteria": [{"id": "a", "metric": "f_score", "direction": "at_most", "margin": 0.1}]}
    ran = run(write(frame(), folder / "p.parquet"), rules)
    refused(ran, "rules.yaml", "criteria[0].metric: there is no metric 'f_score'. Known: ")
    assert all(name in ran.stderr for name in SUITES.get("fairness").metrics)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name: x\ntitle: M\u00e4rz".encode("latin-1"), "Line 2: the protocol is not UTF-8 (byte 0xe4)"),
        (yaml.safe_dump(RULES).encode("utf-16"), "Line 1: the protocol is not UTF-8"),
        (b"PAR1\0\0\1\2", "not valid YAML"),
        (b"", "a protocol is a mapping of keys"),
        (b"a: [1", "not valid YAML"),
        (b"a: " + b"[" * 50_000, "nested too deeply"),
        (b"- " * 3000 + b"x", "nested too deeply"),
        (b"x" * 300_000, "Give a protocol file, not a data file"),
    ],
)
def test_protocols_that_are_none(folder: Path, content: bytes, said: str) -> None:
    refused(run(write(frame(), folder / "p.parquet"), content), "rules.yaml", said)


def test_a_byte_order_mark_is_no_part_of_a_protocol(folder: Path) -> None:
    rules = b"\xef\xbb\xbf" + yaml.safe_dump(RULES).encode()
    assert run(write(frame(), folder / "p.parquet"), rules).exit_code in {0, 1, 2}


def test_columns_are_listed_up_to_a_bound(folder: Path) -> None:
    names = [f"column-{i}" for i in range(5000)]
    with pytest.raises(ProtocolError) as caught:
        check_columns(protocol(), names, file="p.csv")
    assert "and 4970 others" in caught.value.remedy or len(caught.value.remedy) < 1000


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"splits": {"audited": ["test"]}}, "split"),
        ({"criteria": [{"id": "a", "metric": "auroc", "direction": "at_least", "margin": 0.7}]}, "score.x"),
    ],
)
def test_columns_that_only_some_protocols_need(changes: dict[str, Any], column: str) -> None:
    have = ["patient_id", "study_id", "sex", "label.x", "pred.x"]
    with pytest.raises(ProtocolError) as caught:
        check_columns(protocol(**changes), have, file="p.csv")
    assert (caught.value.file, caught.value.column) == ("p.csv", column)
    check_columns(protocol(**changes), [*have, column], file="p.csv")


def test_the_engine_raises_what_the_command_prints(folder: Path) -> None:
    path = write(assign("score.x", 2.0, 5)(frame()), folder / "p.parquet")
    with pytest.raises(CohortError) as caught:
        run_audit(protocol=Protocol.from_dict(RULES), predictions=path)
    assert (caught.value.file, caught.value.column, caught.value.row) == ("p.parquet", "score.x", 5)


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
@pytest.mark.parametrize(("empty", "said"), [("reference", "no study has a report"), ("generated", "wrote no report")])
def test_reports_that_are_all_empty(folder: Path, name: str, empty: str, said: str) -> None:
    text = "There is a pleural effusion."
    texts: dict[str, Any] = {"text.reference": text, "text.generated": text} | {f"text.{empty}": None}
    criterion = {"id": "a", "metric": "report_underdiagnosis_difference", "attribute": "sex"}
    rules = body(labels=[], reports={"findings": ["*"]}, criteria=[criterion | {"direction": "at_most", "margin": 0.1}])
    path = write(frame().assign(**texts), folder / name)
    refused(run(path, rules), f"column text.{empty}", said, "all 60 rows")
    with pytest.raises(ProtocolError, match=said) as caught:
        run_audit(protocol=Protocol.from_dict(rules | {"suites": ["hallucination"]}), predictions=path)
    assert caught.value.column == f"text.{empty}"
    refused(run(write(frame(), folder / name), rules), "'text.reference' is missing", "'text.generated' is missing")


# The result file


def test_a_result_never_replaces_what_it_is_made_from(folder: Path) -> None:
    path = write(frame(), folder / "p.csv")
    before = path.read_bytes()
    refused(run(path, RULES, "--out", path), "The result would replace", "--out")
    refused(run(path, RULES, "--out", folder / "rules.yaml"), "The result would replace")
    refused(run(path, RULES, "--out", folder / "none" / "out.json"), "There is no folder")
    assert path.read_bytes() == before


def test_a_result_is_written_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(frame(), folder / "p.csv")
    out = folder / "out.json"
    out.write_text("what was there")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    refused(run(path), "out.json cannot be written: No space left on device")
    assert out.read_text() == "what was there"
    monkeypatch.undo()
    assert run(path).exit_code in {0, 1, 2}
    assert json.loads(out.read_text())["auscult_audit"] == 1


@pytest.mark.parametrize("broken", ["sketch_shard", "assess"])
def test_a_fault_in_the_middle_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise AuscultError("It broke.", remedy="Try it once more.")

    monkeypatch.setattr(f"evaluation.engine.runner.{broken}", fail)
    refused(run(write(frame(), folder / "p.csv")), "It broke.")
