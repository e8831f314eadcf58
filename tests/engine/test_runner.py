"""Auditing a file, from the engine and from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from config.cli.audit import audit
from config.cli.protocol import protocol
from core.errors import CohortError, ProtocolError
from evaluation.engine import Protocol, run_audit
from evaluation.engine.runner import audit_schema
from tests.engine.builders import body, clustered
from tests.engine.builders import protocol as made


def prediction_frame(tpr: dict[str, float], patients: int = 2500) -> pd.DataFrame:
    rows = clustered(np.random.default_rng(4), patients=patients, tpr=tpr)
    return pd.DataFrame(
        {
            "patient_id": "p" + rows["patient"].astype(str),
            "study_id": [f"s{i}" for i in range(len(rows))],
            "sex": rows["sex"],
            "age": 20 + rows["patient"] % 60,
            "label.x": rows["y_x"],
            "pred.x": rows["d_x"],
        }
    )


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A prediction file whose women are missed more often, and a protocol for it."""
    data, rules = tmp_path / "p.csv", tmp_path / "p.yaml"
    prediction_frame({"F": 0.5, "M": 0.85}).to_csv(data, index=False)
    rules.write_text(yaml.safe_dump(body()))
    return data, rules


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(audit, [str(argument) for argument in arguments])


def test_a_csv_and_a_parquet_file_give_the_same_measurements_and_the_published_shape(tmp_path: Path) -> None:
    frame = prediction_frame({"F": 0.5, "M": 0.85}, patients=300)
    frame.to_csv(tmp_path / "p.csv", index=False)
    frame.to_parquet(tmp_path / "p.parquet")
    read = made(attributes=[{"name": "sex"}, {"name": "age_band", "column": "age", "bands": [0, 40, 60]}])
    one, two = (run_audit(protocol=read, predictions=tmp_path / name).to_dict() for name in ("p.csv", "p.parquet"))
    assert one["measurements"] == two["measurements"]
    assert one["verdicts"] == two["verdicts"]
    assert one["cohort"]["n_studies"] == len(frame)
    Draft202012Validator.check_schema(audit_schema())
    Draft202012Validator(audit_schema()).validate(json.loads(json.dumps(one, allow_nan=False)))


def test_several_parts_give_what_one_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models_registry.cohorts import partition

    path = tmp_path / "p.parquet"
    prediction_frame({"F": 0.5, "M": 0.85}, patients=300).to_parquet(path)
    whole = run_audit(protocol=made(), predictions=path, cross_check=False).to_dict()
    monkeypatch.setattr(partition, "PART_ROWS", 100)
    assert run_audit(protocol=made(), predictions=path, cross_check=False).to_dict() == whole


def test_every_missing_column_is_named_at_once(files: tuple[Path, Path]) -> None:
    read = made(
        labels=[{"name": "x"}, {"name": "z"}],
        attributes=[{"name": "sex"}, {"name": "race", "column": "ethnicity"}],
    )
    with pytest.raises(ProtocolError) as caught:
        run_audit(protocol=read, predictions=files[0])
    for part in ("'ethnicity', which is missing", "'label.z', which is missing", "'pred.z' or 'score.z'"):
        assert part in caught.value.message
    assert caught.value.file == "p.csv"
    assert "patient_id" in caught.value.remedy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sex": "F"}, "Column sex: every study is in the group F"),
        ({"label.x": None}, "Column label.x: no study has a value"),
        ({"pred.x": None}, "Label x: no study with a reference has a prediction"),
    ],
)
def test_a_column_with_nothing_to_judge_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = tmp_path / "p.parquet"
    prediction_frame({"F": 0.5, "M": 0.85}, patients=60).assign(**change).to_parquet(path)
    with pytest.raises(ProtocolError, match=said):
        run_audit(protocol=made(), predictions=path)


@pytest.mark.parametrize(
    ("column", "value"), [("pred.x", 2), ("label.x", 0.5), ("score.x", 1.2), ("score.x", float("inf"))]
)
def test_a_value_that_cannot_be_is_refused_with_its_row(tmp_path: Path, column: str, value: float) -> None:
    frame = prediction_frame({"F": 0.5, "M": 0.85}, patients=60)
    frame["score.x"] = 0.5
    frame[column] = frame[column].astype(float)
    frame.loc[6, column] = value
    path = tmp_path / "p.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(CohortError) as caught:
        run_audit(protocol=made(), predictions=path)
    assert (caught.value.file, caught.value.column, caught.value.row) == ("p.csv", column, 7)


def test_the_command_prints_the_verdict_first_and_exits_with_1_for_a_failure(files: tuple[Path, Path]) -> None:
    ran = run("--predictions", files[0], "--protocol", files[1])
    assert ran.exit_code == 1, ran.output
    assert ran.output.startswith("Fail: a primary criterion does not hold.")
    assert "x is missed more often in female patients than in male patients" in ran.output.replace("\n", " ")
    assert "✖ Fail" in ran.output


def test_what_could_be_done_about_a_failure_is_printed_with_its_effect_and_its_caution(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    frame = pd.read_csv(files[0]).rename(columns={"pred.x": "score.x"})
    frame["score.x"] = np.clip(0.3 + 0.4 * frame["score.x"] + 0.1 * np.sin(np.arange(len(frame))), 0, 1)
    scored, rules = tmp_path / "scored.parquet", tmp_path / "scored.yaml"
    frame.to_parquet(scored)
    rules.write_text(yaml.safe_dump(body(labels=[{"name": "x", "threshold": {"value": 0.5, "source": "elsewhere"}}])))
    ran = run("--predictions", scored, "--protocol", rules)
    told = " ".join(ran.stdout.split())
    assert ran.exit_code == 1, ran.output
    assert "What could be done, measured on patients that it was not fitted on sex-tpr, x" in told
    assert "Thresholds of its own for each group: gap ." in told and "sensitivity ." in told
    assert told.count("In MEDFAIR") == 1
    decided = " ".join(run("--predictions", files[0], "--protocol", files[1]).stdout.split())
    assert "the model gave decisions and no scores for x" in decided


def test_exit_codes_tell_pass_from_insufficient(tmp_path: Path) -> None:
    rules = tmp_path / "p.yaml"
    rules.write_text(yaml.safe_dump(body()))
    for patients, code in ((3500, 0), (150, 2)):
        path = tmp_path / f"{patients}.csv"
        prediction_frame({"F": 0.75, "M": 0.75}, patients=patients).to_csv(path, index=False)
        assert run("--predictions", path, "--protocol", rules).exit_code == code


def test_json_goes_to_standard_output_and_to_the_file(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    ran = run("--predictions", files[0], "--protocol", files[1], "--json", "--out", out, "--suite", "fairness")
    assert json.loads(ran.stdout) == json.loads(out.read_text())
    assert json.loads(ran.stdout)["outcome"] == "fail"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--predictions", "nope.csv", "--protocol", "imaging-classifier-v1"], "no such file"),
        (["--predictions", "DATA", "--protocol", "nope"], "imaging-classifier-v1"),
        (["--predictions", "DATA", "--protocol", "DATA"], "What to do:"),
        (["--predictions", "DATA", "--protocol", "RULES", "--suite", "drift"], "no suite 'drift'"),
        (["--predictions", "DATA"], "Missing option '--protocol'"),
        (["--nonsense"], "No such option"),
    ],
)
def test_bad_input_exits_with_3_and_says_what_to_do(files: tuple[Path, Path], arguments: list[str], said: str) -> None:
    given = [{"DATA": str(files[0]), "RULES": str(files[1])}.get(item, item) for item in arguments]
    ran = run(*given)
    assert ran.exit_code == 3
    assert said.casefold() in ran.stderr.casefold()
    assert ran.stdout == ""


def test_the_command_needs_no_django_and_a_reader_who_stops_early_does_not_change_its_exit_status(
    files: tuple[Path, Path],
) -> None:
    """Two processes side by side, as their imports take longest. The second is ``auscult audit ... | head``: the pipe
    is closed before anything is printed, and the verdict stays insufficient."""
    code = (
        "import sys; sys.argv = ['auscult', 'audit', '--predictions', sys.argv[1], '--protocol', sys.argv[2]]\n"
        "from config.cli import auscult\n"
        "try:\n    auscult()\n"
        "except SystemExit as end:\n    status = end.code\n"
        "from django.conf import settings\n"
        "assert not settings.configured\n"
        "sys.exit(status)\n"
    )
    small = files[0].with_name("small.csv")
    pd.read_csv(files[0]).head(40).to_csv(small, index=False)
    whole = [sys.executable, "-c", code, *map(str, files)]
    closed = [sys.executable, "-m", "config.cli", "audit", "--predictions", str(small), "--protocol", str(files[1])]
    reader, writer = os.pipe()
    os.close(reader)
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(whole, stdout=pipe, stderr=pipe, text=True) as first,
        subprocess.Popen(closed, stdout=writer, stderr=pipe, text=True) as second,
    ):
        os.close(writer)
        printed, problem = first.communicate()
        assert first.returncode == 1, problem
        assert "✖ Fail" in printed
        assert (second.communicate()[1], second.returncode) == ("", 2)


def test_a_drafted_protocol_fits_its_file_and_is_not_overwritten(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "draft.yaml"
    given = ["init", "--predictions", str(files[0]), "--out", str(out)]
    assert CliRunner().invoke(protocol, given).exit_code == 0
    draft = Protocol.from_yaml(out.read_text())
    assert draft.label_names == ("x",)
    assert draft.groupings == ("sex", "age_band")
    assert run("--predictions", files[0], "--protocol", out).exit_code == 1
    again = CliRunner().invoke(protocol, given)
    assert again.exit_code == 3
    assert "--force" in again.stderr
    assert CliRunner().invoke(protocol, [*given, "--force"]).exit_code == 0
    assert CliRunner().invoke(protocol, ["check", str(out)]).stdout.count(draft.digest) == 1


def test_a_draft_survives_odd_names(tmp_path: Path) -> None:
    frame = prediction_frame({"F": 0.5, "M": 0.85}, patients=80)
    frame = frame.rename(columns={"label.x": "label.no", "pred.x": "score.no", "sex": 'site: "A" #1'})
    path = tmp_path / "Ünï 2.csv"
    frame.to_csv(path, index=False)
    ran = CliRunner().invoke(protocol, ["init", "--predictions", str(path)])
    assert ran.exit_code == 0, ran.stderr
    assert Protocol.from_yaml(ran.stdout).labels[0].threshold is not None


def test_bundled_protocols_are_listed_and_shown() -> None:
    listed = CliRunner().invoke(protocol, ["list"]).stdout
    assert "nih-labels-v1" in listed
    shown = CliRunner().invoke(protocol, ["show", "nih-labels-v1"]).stdout
    assert Protocol.from_yaml(shown).name == "nih-labels-v1"
