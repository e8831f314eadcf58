"""Models of a hospital, good and bad, from registration to verdict: what is kept, what is said, what comes next."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import AdapterError, AuscultError
from evaluation.engine.protocol import bundled_source
from evaluation.models import AuditRun, RunStatus
from evaluation.services.runs import request_audit
from models_registry.cohorts import convert_cohort
from models_registry.models import ModelVersion
from models_registry.services.versions import register_version
from synthetic.simulator import SimulatorSettings, simulate_cohort
from tests.adapters.models_g2 import save_text_generation
from tests.adapters.models_g3 import export, save_torch_export, small_net
from tests.adapters.models_gguf import save_gguf
from tests.adapters.models_qwen import save_qwen2_vl
from tests.evaluation.steps import finish
from tests.evaluation.test_real_models import RULES
from tests.registry.scene import copy_into_home, make_cohort, make_protocol, make_system

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("cohort")
    file = simulate_cohort(SimulatorSettings(patients=14, seed=17), home / "cohort.parquet")
    convert_cohort(file, mapping=None, destination=home / "shards")
    return home / "shards"


def registered(people: SimpleNamespace, adapter: str, folder: Path, name: str) -> ModelVersion:
    return register_version(
        system=make_system(people, name), label="1", adapter=adapter, folder=copy_into_home(folder, name),
        by=people.elena,
    )  # fmt: skip


def audited(people: SimpleNamespace, shards: Path, version: ModelVersion, rules: str) -> AuditRun:
    facts = {"cohort": make_cohort(people, shards), "protocol": make_protocol(people, rules)}
    return finish(request_audit(version=version, **facts, by=people.amir))


@pytest.mark.parametrize(
    ("adapter", "save"), [("text_generation", save_gguf), ("image_text_to_text", save_qwen2_vl)], ids=["gguf", "qwen"]
)
def test_a_generator_is_registered_and_judged(
    people: SimpleNamespace, shards: Path, tmp_path: Path, adapter: str, save
) -> None:
    version = registered(people, adapter, save(tmp_path / "model"), "writer")
    done = audited(people, shards, version, bundled_source("report-generator-v1"))
    assert (done.status, done.error) == (RunStatus.DONE, "")
    # Random weights never end a text by themselves: what such a text omits says nothing.
    assert done.measurements.get(metric="omission", attribute="").value is None
    assert done.measurements.get(metric="abstention", attribute="").value is not None


def test_weights_that_are_no_numbers_end_the_run_with_a_reason_and_the_worker_goes_on(
    people: SimpleNamespace, shards: Path, tmp_path: Path
) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    save_torch_export(tmp_path / "good")
    save_torch_export(tmp_path / "bad")
    net = small_net()
    net.head.weight.data[0, 0] = float("nan")
    export(net, tmp_path / "bad" / "model.pt2")
    cohort, rules = make_cohort(people, shards), make_protocol(people, RULES)
    broken = registered(people, "torch_export", tmp_path / "bad", "broken")
    whole = registered(people, "torch_export", tmp_path / "good", "whole")
    runs = [request_audit(version=item, cohort=cohort, protocol=rules, by=people.amir) for item in (broken, whole)]
    failed = finish(runs[0])
    assert failed.status == RunStatus.FAILED
    assert "not a number" in failed.error
    assert not failed.measurements.exists() and not failed.verdicts.exists()
    assert finish(runs[1]).status == RunStatus.DONE


@pytest.mark.parametrize("fault", ["truncated", "missing tokenizer", "pickle"])
def test_a_folder_that_is_refused_leaves_nothing(
    people: SimpleNamespace, home: Path, tmp_path: Path, fault: str
) -> None:
    folder = save_text_generation(tmp_path / "model")
    if fault == "truncated":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
    elif fault == "pickle":
        (folder / "extra.bin").write_bytes(b"\x80\x04K\x01.")
    else:
        for path in folder.glob("tokenizer*"):
            path.unlink()
    system = make_system(people, "refused")
    source = copy_into_home(folder, "refused")
    before = sorted(path for path in home.rglob("*") if path.is_file())
    with pytest.raises(AuscultError) as caught:
        register_version(system=system, label="1", adapter="text_generation", folder=source, by=people.elena)
    assert isinstance(caught.value, AdapterError) and caught.value.file and caught.value.remedy
    assert not ModelVersion.objects.filter(system=system).exists()
    assert sorted(path for path in home.rglob("*") if path.is_file()) == before
