"""Trainings of the reference model: what heads share with their backbone, what is repeated, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from core.digests import folder_manifest, manifest_digest, sha256_file
from core.errors import AdapterError, CohortError
from models_registry.adapters.base import ADAPTERS, Capability, InferenceSettings
from models_registry.reference.training import TrainingSettings, train_reference
from tests.adapters.conftest import SMALL

FUSION = ADAPTERS.get("fusion")


def test_a_short_training_learns(trained):
    areas = trained.result.auroc
    assert set(areas) == {"effusion", "pneumothorax", "consolidation", "cardiomegaly"}
    assert min(areas.values()) > 0.55
    assert np.mean(list(areas.values())) > 0.7


def test_heads_hold_the_very_bytes_of_their_backbone(trained):
    digest = sha256_file(trained.backbone / "backbone.safetensors")
    for folder in (trained.backbone, trained.checkpoint, trained.lora):
        assert sha256_file(folder / "backbone.safetensors") == digest
        assert FUSION.inspect(folder).details["backbone"] == {"digest": digest}
        assert (folder / "preprocessing.json").read_bytes() == (trained.backbone / "preprocessing.json").read_bytes()
    matter = yaml.safe_load((trained.lora / "README.md").read_text().split("---")[1])
    assert matter["base_model"] == f"sha256:{digest}"
    assert matter["datasets"] == [f"sha256:{manifest_digest(folder_manifest(trained.cohort))}"]
    assert matter["license"] == "apache-2.0"
    assert "base_model" not in yaml.safe_load((trained.backbone / "README.md").read_text().split("---")[1])


@pytest.mark.parametrize(
    "changes",
    [{"kind": "backbone"}, {}, {"kind": "head", "method": "lora"}, {"kind": "head", "method": "full"}],
    ids=["backbone", "joint", "lora", "full"],
)
def test_equal_inputs_give_equal_bytes(trained, tmp_path, changes):
    short = TrainingSettings.from_dict(SMALL.to_dict() | {"epochs": 1, "head_epochs": 1} | changes)
    given = trained.backbone if short.kind == "head" else None
    for name in ("a", "b"):
        train_reference(trained.cohort, settings=short, backbone=given, destination=tmp_path / name)
    assert folder_manifest(tmp_path / "a") == folder_manifest(tmp_path / "b")
    info = FUSION.inspect(tmp_path / "a")
    theirs = sha256_file(trained.backbone / "backbone.safetensors")
    assert (info.details["backbone"]["digest"] == theirs) == (short.method == "lora")


def test_a_cohort_without_reports_gives_a_backbone_that_writes_none(trained, tmp_path):
    short = replace(SMALL, epochs=1, kind="backbone", report="nowhere")
    train_reference(trained.cohort, settings=short, destination=tmp_path / "mute")
    info = FUSION.inspect(tmp_path / "mute")
    assert (info.capabilities, info.outputs) == ({Capability.EMBED}, ())


def test_a_head_scores_the_labels_it_was_asked_to_learn(trained, tmp_path):
    head = replace(SMALL, kind="head", labels=("cardiomegaly",), head_epochs=1)
    result = train_reference(trained.cohort, settings=head, backbone=trained.backbone, destination=tmp_path / "one")
    assert set(result.auroc) == {"cardiomegaly"}
    assert FUSION.inspect(tmp_path / "one").outputs == ("score.cardiomegaly", "pred.cardiomegaly")
    with pytest.raises(CohortError, match="gout") as caught:
        train_reference(
            trained.cohort,
            settings=replace(head, labels=("gout",)),
            backbone=trained.backbone,
            destination=tmp_path / "x",
        )
    assert "effusion" in caught.value.remedy


def test_low_rank_additions_are_added_as_peft_would(trained, batch):
    """The adapter merges them into the weights; peft runs them beside."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    adapter = FUSION.load(trained.lora, settings=InferenceSettings())
    beside = FUSION.load(trained.checkpoint, settings=InferenceSettings()).model
    tensors = load_file(trained.lora / "head.safetensors")
    lora = json.loads((trained.lora / "config.json").read_text())["lora"]
    wanted = r"fusion\.\d+\.(qkv|out|up|down)"
    inject_adapter_in_model(LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], target_modules=wanted), beside)
    state = {name: torch.from_numpy(value) for name, value in tensors.items() if name.startswith("head.")}
    for name, value in tensors.items():
        if name.startswith("lora."):
            place, which = name.removeprefix("lora.").rsplit(".", 1)
            state[f"{place}.lora_{which.upper()}.default.weight"] = torch.from_numpy(value)
    assert not beside.load_state_dict(state, strict=False).unexpected_keys
    inputs = {name: torch.from_numpy(values) for name, values in adapter.preprocess(batch).items()}
    with torch.inference_mode():
        expected = beside.eval()(**inputs).logits.numpy()
        np.testing.assert_allclose(adapter.model(**inputs).logits.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(("kind", "given"), [("head", None), ("joint", "backbone"), ("head", "checkpoint")])
def test_a_head_is_put_on_a_backbone_and_on_nothing_else(trained, tmp_path, kind, given):
    folder = getattr(trained, given) if given else None
    with pytest.raises(AdapterError, match="backbone") as caught:
        train_reference(
            trained.cohort, settings=replace(SMALL, kind=kind), backbone=folder, destination=tmp_path / "never"
        )
    assert caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_training_leaves_torch_as_it_found_it(trained, tmp_path):
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    other = TrainingSettings.from_dict(
        SMALL.to_dict() | {"epochs": 1, "head_epochs": 1, "threads": before[0] + 1, "seed": 9}
    )
    train_reference(trained.cohort, settings=other, destination=tmp_path / "checkpoint")
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_a_training_that_is_stopped_leaves_nothing(trained, tmp_path):
    with pytest.raises(AdapterError, match="stopped"):
        train_reference(trained.cohort, settings=SMALL, destination=tmp_path / "never", should_stop=lambda: True)
    assert not (tmp_path / "never").exists()


def test_an_unknown_training_setting_is_named():
    with pytest.raises(AdapterError, match="epoch_count"):
        TrainingSettings.from_dict({"epoch_count": 3})
