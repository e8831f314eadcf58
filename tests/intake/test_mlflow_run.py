"""A model out of a run that MLflow itself wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import AdapterError, EnvironmentProblemError
from models_registry.intake import mlflow_run
from models_registry.intake.mlflow_run import gather_run

WEIGHTS = b"these stand for weights"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A tracking folder with an experiment, and MLflow's own client that writes to it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY"):
            patch.setenv(name, "true")
        from mlflow import MlflowClient

        folder = tmp_path_factory.mktemp("tracking") / "mlruns"
        mlflow = MlflowClient(tracking_uri=folder.as_uri())
        yield SimpleNamespace(mlflow=mlflow, folder=folder, experiment=mlflow.create_experiment("chest"))


def a_run(client: Any, folder: Path | None = None, path: str | None = None) -> str:
    run = client.mlflow.create_run(client.experiment, run_name="third try")
    identifier = str(run.info.run_id)
    client.mlflow.log_param(identifier, "learning_rate", 0.001)
    client.mlflow.log_metric(identifier, "auroc", 0.5)
    client.mlflow.log_metric(identifier, "auroc", 0.875)
    client.mlflow.set_tag(identifier, "site", "north")
    if folder:
        client.mlflow.log_artifacts(identifier, str(folder), path)
    client.mlflow.set_terminated(identifier)
    return identifier


def files(folder: Path, contents: dict[str, bytes]) -> Path:
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flavours(**found: dict[str, str]) -> bytes:
    return json.dumps({"artifact_path": "model", "flavors": found}).encode()  # JSON is YAML


PLAIN = {"config.json": b"{}", "model.safetensors": WEIGHTS, "deep/vocab.txt": b"a"}


def test_logged_files_come_out_as_they_went_in_with_what_mlflow_says(client: Any, tmp_path: Path) -> None:
    run = a_run(client, files(tmp_path / "in", PLAIN), "model")
    before = content(client.folder)
    for number, given in enumerate((run, f"runs:/{run}/model", f" {run}/model/ ")):
        facts = gather_run(client.folder, run=given, destination=tmp_path / f"out{number}")
        assert content(tmp_path / f"out{number}") == PLAIN
    assert content(client.folder) == before
    assert (facts["run_id"], facts["run_name"], facts["experiment"]) == (run, "third try", "chest")
    assert (facts["artifact"], facts["status"]) == ("model", "FINISHED")
    assert facts["params"] == {"learning_rate": "0.001"} and facts["metrics"] == {"auroc": "0.875"}
    assert facts["tags"]["site"] == "north"


def test_a_tracking_folder_that_was_moved_is_read_where_it_is(client: Any, tmp_path: Path) -> None:
    run = a_run(client, files(tmp_path / "in", PLAIN), "model")
    moved = tmp_path / "copied"
    shutil.copytree(client.folder, moved)
    shutil.rmtree(moved / ".trash")
    gather_run(moved, run=run, destination=tmp_path / "out")
    assert content(tmp_path / "out") == PLAIN
    assert not (moved / ".trash").exists()  # MLflow makes folders in what it opens; nothing is written here


def test_a_logged_model_of_mlflow_3_is_found_by_its_name(client: Any, tmp_path: Path) -> None:
    run = a_run(client)
    model = client.mlflow.create_logged_model(client.experiment, name="chest", source_run_id=run)
    client.mlflow.log_model_artifacts(model.model_id, str(files(tmp_path / "in", PLAIN)))
    from mlflow.entities import LoggedModelOutput

    client.mlflow.log_outputs(run, models=[LoggedModelOutput(model.model_id, step=0)])
    for number, given in enumerate((run, f"runs:/{run}/chest")):
        assert gather_run(client.folder, run=given, destination=tmp_path / f"out{number}")["artifact"] == "chest"
        assert content(tmp_path / f"out{number}") == PLAIN


def test_the_layout_of_the_transformers_flavour_becomes_one_folder(client: Any, tmp_path: Path) -> None:
    logged = {
        "MLmodel": flavours(python_function={"loader_module": "mlflow.transformers"}, transformers={}),
        "requirements.txt": b"torch",
        "python_env.yaml": b"python: 3.11",
        "model_card.md": b"# Card",
        "auscult.json": b"{}",
        "LICENSE.txt": b"MIT",
        "model/config.json": b"{}",
        "model/model.safetensors": WEIGHTS,
        "components/tokenizer/tokenizer.json": b"t",
        "components/processor/tokenizer.json": b"t",
        "components/processor/preprocessor_config.json": b"p",
    }
    run = a_run(client, files(tmp_path / "in", logged), "model")
    gather_run(client.folder, run=run, destination=tmp_path / "out")
    assert content(tmp_path / "out") == {
        "config.json": b"{}",
        "model.safetensors": WEIGHTS,
        "tokenizer.json": b"t",
        "preprocessor_config.json": b"p",
        "README.md": b"# Card",
        "auscult.json": b"{}",
        "LICENSE.txt": b"MIT",
    }


def test_the_layout_of_the_onnx_flavour_keeps_model_and_notes(client: Any, tmp_path: Path) -> None:
    logged = {
        "MLmodel": flavours(onnx={"data": "model.onnx"}, python_function={}),
        "model.onnx": b"graph",
        "conda.yaml": b"x",
        "auscult.json": b"{}",
    }
    run = a_run(client, files(tmp_path / "in", logged), "model")
    gather_run(client.folder, run=run, destination=tmp_path / "out")
    assert content(tmp_path / "out") == {"model.onnx": b"graph", "auscult.json": b"{}"}


@pytest.mark.parametrize(
    ("logged", "words"),
    [
        ({"MLmodel": flavours(python_function={}, sklearn={}), "model.pkl": b"x"}, "flavour sklearn as a pickle"),
        ({"MLmodel": flavours(pytorch={}), "data/model.pth": b"x"}, "flavour pytorch as a pickle"),
        ({"MLmodel": flavours(python_function={}), "python_model.pkl": b"x"}, "flavour python_function as a pickle"),
        ({"MLmodel": flavours(transformers={})}, "name of a model elsewhere"),
        ({"MLmodel": flavours(transformers={}), "peft/a": b"", "model/a": b""}, "adapter .LoRA. of a base model"),
        ({"MLmodel": b"flavors: &a [*a]"}, "MLmodel cannot be read"),
        ({"MLmodel": b"flavors: []"}, "names no flavour"),
        (
            {
                "MLmodel": flavours(transformers={}),
                "model/tokenizer.json": b"1",
                "components/tokenizer/tokenizer.json": b"2",
            },
            "different files of this name",
        ),
    ],
)
def test_what_is_no_plain_model_is_refused_with_the_way_to_log_one(
    client: Any, tmp_path: Path, logged: dict[str, bytes], words: str
) -> None:
    run = a_run(client, files(tmp_path / "in", logged), "model")
    with pytest.raises(AdapterError, match=words) as caught:
        gather_run(client.folder, run=run, destination=tmp_path / "out")
    assert caught.value.remedy


def test_what_is_not_there_or_ambiguous_is_named(client: Any, tmp_path: Path) -> None:
    def refused(words: str, run: str, tracking: Path = client.folder) -> None:
        with pytest.raises(AdapterError, match=words):
            gather_run(tracking, run=run, destination=tmp_path / "out")

    two = a_run(client, files(tmp_path / "in", {"a/config.json": b"{}", "b/config.json": b"{}"}))
    refused("holds 2 models: a, b", two)
    refused("holds 0 models", a_run(client))
    refused("no folder c among its artifacts", f"{two}/c")
    refused("leads out", f"{two}/../../x")
    refused("cannot read the run", "0" * 32)
    refused("is no run of MLflow", "../../etc")
    refused("no tracking folder", two, tmp_path / "in")


def test_artifacts_elsewhere_are_not_fetched(client: Any, tmp_path: Path) -> None:
    run = a_run(client, files(tmp_path / "in", PLAIN), "model")
    home = client.folder / client.experiment / run
    shutil.move(home / "artifacts", tmp_path / "elsewhere")
    (home / "artifacts").mkdir()
    meta = home / "meta.yaml"
    text = meta.read_text()
    for uri, words in (
        ("s3://bucket/run", "s3://, which is not fetched"),
        ((tmp_path / "elsewhere").as_uri(), "outside its tracking folder"),
    ):
        meta.write_text(text.replace((home / "artifacts").as_uri(), uri))
        assert uri in meta.read_text()
        with pytest.raises(AdapterError, match=words):
            gather_run(client.folder, run=run, destination=tmp_path / "out")


def test_a_link_among_the_artifacts_is_refused(client: Any, tmp_path: Path) -> None:
    run = a_run(client, files(tmp_path / "in", PLAIN), "model")
    (client.folder / client.experiment / run / "artifacts" / "model" / "link").symlink_to("/etc/hostname")
    with pytest.raises(AdapterError, match="link to another place"):
        gather_run(client.folder, run=run, destination=tmp_path / "out")


def test_without_mlflow_the_remedy_says_how_to_install_it(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(EnvironmentProblemError, match="not installed") as caught:
        mlflow_run._mlflow()
    assert "auscult[mlflow]" in caught.value.remedy
