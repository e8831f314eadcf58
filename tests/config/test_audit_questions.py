"""``auscult audit questions``, and that ``auscult audit`` without it is what it was."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from config.cli.audit import audit
from tests.evaluation.asked import RULES, cohort

HEADER = '"study_id","question","condition","turn","modality","partner","temperature","text","truncated"'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions")
    cohort(folder, patients=6)
    (folder / "rules.yaml").write_text(RULES)
    return folder


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(audit, [str(item) for item in arguments])


def test_questions_are_written_and_counted(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    ended = run("questions", home / "cohort.parquet", "--protocol", home / "rules.yaml", "--out", out)
    assert ended.exit_code == 0, ended.output
    lines = out.read_text().splitlines()
    assert lines[0] == HEADER
    studies = len({line.split(",")[0] for line in lines[1:] if line.startswith('"S')})
    assert f"questions about {studies} studies" in ended.output and studies > 6
    assert any("pleural effusion" in line for line in lines)
    asked = ("questions", home / "cohort.parquet", "--protocol", home / "rules.yaml", "--out", tmp_path / "again.csv")
    told = json.loads(run(*asked, "--json").output)
    assert (told["questions"], told["studies"]) == (len(list(csv.reader(out.open(newline="")))) - 1, studies) and told[
        "file"
    ].endswith("again.csv")


@pytest.mark.parametrize(
    ("name", "protocol", "told"),
    [
        ("answers.txt", "rules.yaml", "does not say how"),
        ("answers.csv", "imaging-classifier-v1", "asks a model nothing"),
        ("cohort.parquet", "rules.yaml", "would replace"),
    ],
)
def test_what_cannot_be_written_ends_with_bad_input(home: Path, name: str, protocol: str, told: str) -> None:
    rules = home / protocol if protocol.endswith(".yaml") else protocol
    ended = run("questions", home / "cohort.parquet", "--protocol", rules, "--out", home / name)
    assert (ended.exit_code, told in ended.output) == (3, True), ended.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Missing option '--predictions'"),
        (("--predictions", "x.csv"), "Missing option '--protocol'"),
        (("--wrong",), "No such option"),
        (("answers",), "No such command 'answers'"),
        (("questions",), "Missing argument"),
    ],
)
def test_wrong_usage_ends_with_bad_input_as_before(arguments: tuple[str, ...], told: str) -> None:
    ended = run(*arguments)
    assert (ended.exit_code, told in ended.output) == (3, True), ended.output
