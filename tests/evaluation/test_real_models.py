"""Models of several kinds, each registered from its folder, run over a cohort, judged, and reproduced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from evaluation.engine.protocol import bundled_source
from evaluation.execution import loading
from evaluation.execution.reproduction import reproduce
from evaluation.models import AuditRun, CachedPredictions, RunStatus
from evaluation.services.runs import request_audit
from models_registry.cohorts import convert_cohort
from models_registry.services.versions import register_version
from synthetic.simulator import SimulatorSettings, simulate_cohort
from tests.adapters import models_clip, models_g3
from tests.evaluation.steps import finish
from tests.registry.scene import copy_into_home, make_cohort, make_protocol, make_system

pytestmark = pytest.mark.django_db
SAVERS: dict[str, Callable[[Path], object]] = {
    "clip": models_clip.save_clip,
    "torch_export": models_g3.save_torch_export,
    "onnx": models_g3.save_onnx_classifier,
}
RULES = """\
auscult_protocol: 1
name: one-label-v1
title: One finding by sex
labels: [{name: effusion, threshold: {value: 0.5, source: the middle}}]
attributes: [{name: sex, values: [F, M]}]
criteria:
  - {id: ranking, metric: auroc, direction: at_least, margin: 0.5}
  - {id: sex-auroc, metric: auroc_difference, attribute: sex, direction: at_most, margin: 0.2, primary: false}
bootstrap: {replicates: 200}
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("cohort")
    file = simulate_cohort(SimulatorSettings(patients=90, seed=17), home / "cohort.parquet")
    convert_cohort(file, mapping=None, destination=home / "shards")
    return home / "shards"


def audited(people: SimpleNamespace, shards: Path, adapter: str, folder: Path, rules: str) -> AuditRun:
    version = register_version(
        system=make_system(people, f"A {adapter} model"), label="1", adapter=adapter,
        folder=copy_into_home(folder, adapter), by=people.elena,
    )  # fmt: skip
    facts = {"version": version, "cohort": make_cohort(people, shards), "protocol": make_protocol(people, rules)}
    return finish(request_audit(**facts, by=people.amir))


@pytest.mark.parametrize("adapter", SAVERS)
def test_a_classifier_is_run_judged_and_reproduced(
    people: SimpleNamespace, shards: Path, tmp_path: Path, adapter: str
) -> None:
    (tmp_path / "model").mkdir()
    SAVERS[adapter](tmp_path / "model")
    done = audited(people, shards, adapter, tmp_path / "model", RULES)
    assert (done.status, done.error) == (RunStatus.DONE, "")
    assert done.version.config["runs_weights"]
    assert done.measurements.get(metric="auroc", attribute="").value is not None
    loading._loaded.clear()
    assert reproduce(done.pk, tolerance=0).identical


def test_answers_of_an_endpoint_are_judged_and_never_taken_from_the_cache(
    people: SimpleNamespace, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    with models_g3.chat_server() as server:
        monkeypatch.setenv("AUSCULT_ENDPOINT_HOSTS", server.host)
        models_g3.save_endpoint(tmp_path / "model", server.host)
        done = audited(people, shards, "endpoint", tmp_path / "model", bundled_source("report-generator-v1"))
    assert (done.status, done.error) == (RunStatus.DONE, "")
    assert done.measurements.get(metric="omission", attribute="").value is not None
    assert not CachedPredictions.objects.exists()
    assert not done.version.config["runs_weights"]
