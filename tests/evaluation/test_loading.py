"""Models that a worker keeps: as many as fit, never one whose files were changed, and never twice the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import AdapterError, DigestMismatchError
from evaluation.execution import loading
from models_registry.adapters.base import ADAPTERS, InferenceSettings
from models_registry.models import ModelVersion
from models_registry.services.versions import model_store
from tests.registry.scene import Files, make_system, make_version

MB = 1 << 20


class Factory:
    """An adapter factory that counts what it loads; the adapters hold nothing."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.failing = 0
        self.precisions = ("float32", "bfloat16")

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> Any:
        self.loads.append(folder.name)
        if self.failing:
            self.failing -= 1
            raise MemoryError
        return SimpleNamespace(folder=folder, device=device)


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Factory:
    made = Factory()
    monkeypatch.setattr(ADAPTERS, "get", lambda key: made)
    return made


@pytest.fixture
def versions(people: SimpleNamespace, files: Files, tmp_path: Path) -> list[ModelVersion]:
    """Three versions of which each takes 10 MB."""
    found = []
    for place in range(3):
        folder = tmp_path / f"model-{place}"
        folder.mkdir()
        (folder / "weights").write_bytes(bytes([place]))
        digest, manifest = model_store().put_folder(folder)
        found.append(
            ModelVersion.objects.create(
                system=make_system(people, f"System {place}"), label="1", adapter="fake", digest=digest,
                manifest=manifest, sizes={"weights": 10 * MB}, submitted_by=people.elena,
            )
        )  # fmt: skip
    return found


def load(version: ModelVersion, **wanted: Any) -> Any:
    return loading.load_adapter(version, InferenceSettings(**wanted))


def kept() -> list[str]:
    return [item["system"] for item in loading.loaded_models()]


def test_a_model_is_loaded_once(factory: Factory, versions: list[ModelVersion], settings: Any) -> None:
    settings.AUSCULT_MODEL_MEMORY = "1G"
    assert load(versions[0]) is load(versions[0])
    assert len(factory.loads) == 1
    load(versions[0], seed=7)
    assert len(factory.loads) == 2, "other settings may load otherwise"
    told = loading.loaded_models()[0]
    assert told == {"system": "System 0", "label": "1", "digest": versions[0].digest, "bytes": 10 * MB}


def test_the_least_recently_used_goes_when_memory_is_needed(
    factory: Factory, versions: list[ModelVersion], settings: Any
) -> None:
    settings.AUSCULT_MODEL_MEMORY = "25 MiB"
    first, second, third = versions
    load(first)
    load(second)
    load(first)
    load(third)
    assert kept() == ["System 0", "System 2"]
    settings.AUSCULT_MODEL_MEMORY = "5M"
    load(second)
    assert kept() == ["System 1"], "one model is loaded even where the limit is smaller than it"


def test_a_model_that_does_not_fit_beside_others_is_loaded_alone(
    factory: Factory, versions: list[ModelVersion], settings: Any
) -> None:
    settings.AUSCULT_MODEL_MEMORY = "1G"
    load(versions[0])
    factory.failing = 1
    load(versions[1])
    assert kept() == ["System 1"]


def test_a_model_that_does_not_fit_alone_is_named(
    factory: Factory, versions: list[ModelVersion], settings: Any
) -> None:
    settings.AUSCULT_MODEL_MEMORY = "1G"
    factory.failing = 2
    with pytest.raises(AdapterError, match="not enough memory to load System 0 1") as caught:
        load(versions[0])
    assert "more memory" in caught.value.remedy
    assert kept() == []
    load(versions[0])
    assert kept() == ["System 0"], "the worker lives on"


def test_room_is_made_for_a_model_in_use(factory: Factory, versions: list[ModelVersion], settings: Any) -> None:
    settings.AUSCULT_MODEL_MEMORY = "1G"
    busy = load(versions[0])
    load(versions[1])
    assert loading.make_room(0, but=busy)
    assert kept() == ["System 0"]
    assert not loading.make_room(0, but=busy)


def test_weights_count_in_the_precision_that_they_are_run_in(people: SimpleNamespace, files: Files) -> None:
    version = make_version(people, files.predictions, sizes={"a": 100})
    version.config = {"details": {"parameters": 1000}}
    folder = model_store().folder_path(version.digest)
    assert loading.model_bytes(version, folder, "float32") == 4000
    assert loading.model_bytes(version, folder, "bfloat16") == 2000
    version.config, version.sizes = {}, {}
    assert loading.model_bytes(version, folder, "float32") == (folder / "predictions.parquet").stat().st_size


def test_a_changed_file_is_not_loaded_and_voids(
    factory: Factory, versions: list[ModelVersion], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    voided: list[dict[str, Any]] = []
    monkeypatch.setattr("models_registry.services.lineage.void_for_changed_file", lambda **facts: voided.append(facts))
    path = model_store().folder_path(versions[0].digest) / "weights"
    path.chmod(0o600)
    path.write_bytes(b"other")
    with pytest.raises(DigestMismatchError, match="weights was changed"):
        load(versions[0])
    assert kept() == [] and factory.loads == []
    (facts,) = voided
    assert facts["digest"] == versions[0].manifest["weights"] and facts["version"] == versions[0]
    assert "weights" in facts["reason"]
    path.unlink()
    with pytest.raises(DigestMismatchError, match="weights is missing"):
        load(versions[0])
    assert len(voided) == 2


def test_settings_that_cannot_be_read_are_told(versions: list[ModelVersion], factory: Factory) -> None:
    with pytest.raises(AdapterError, match="settings cannot be read"):
        loading.inference_of(versions[0], {"speed": 9})
    assert loading.inference_of(versions[0], {"precision": "bfloat16"}).precision == "bfloat16"


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_lack_of_memory_is_recognised_also_behind_an_adapters_own_error(error: Exception, full: bool) -> None:
    assert loading.out_of_memory(error) is full
    try:
        raise AdapterError("The program failed.") from error
    except AdapterError as wrapped:
        assert loading.out_of_memory(wrapped) is full


def test_what_torch_really_raises_is_recognised() -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert loading.out_of_memory(caught.value)
