"""The examples of docs/adapters.md on bringing a model in do what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models_registry.adapters.checkpoint import CODE_SUFFIXES, check_safe
from models_registry.intake.mlflow_run import gather_run

PAGE = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")


def example(first_line: str) -> str:
    found = [code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if code.startswith(first_line)]
    assert len(found) == 1
    return found[0]


def test_pickled_weights_are_converted_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors.torch import load_file

    monkeypatch.chdir(tmp_path)
    shared = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": shared, "b": shared.T}, "pytorch_model.bin")  # tied weights, one of them not contiguous
    exec(compile(example("import torch\nfrom safetensors"), "docs/adapters.md", "exec"), {})
    Path("pytorch_model.bin").unlink()
    found = load_file("model.safetensors")
    assert torch.equal(found["a"], shared) and torch.equal(found["b"], shared.T)
    check_safe(tmp_path)


def test_a_run_that_is_logged_as_the_page_says_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.chdir(tmp_path)
    Path("cxr-clip").mkdir()
    Path("cxr-clip/config.json").write_text("{}")
    scope: dict[str, object] = {}
    exec(compile(example("import mlflow"), "docs/adapters.md", "exec"), scope)
    run = scope["run"].info.run_id  # type: ignore[attr-defined]
    facts = gather_run(tmp_path / "mlruns", run=run, destination=tmp_path / "out")
    assert facts["metrics"] == {"auroc": "0.91"} and (tmp_path / "out" / "config.json").is_file()


@pytest.mark.parametrize("suffix", sorted(CODE_SUFFIXES))
def test_code_is_refused_by_its_name(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"x{suffix}").write_bytes(b"")
    with pytest.raises(Exception, match="code, which is never run"):
        check_safe(tmp_path)
