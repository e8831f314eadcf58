"""A model that writes reports from pictures: registered from its folder, run by workers, judged by built-in rules."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from evaluation.engine.protocol import bundled_source
from evaluation.execution import predictions as codec
from evaluation.models import AuditRun, CachedPredictions, RunStatus
from evaluation.services.runs import request_audit
from models_registry.cohorts import convert_cohort, open_cohort
from models_registry.services.versions import model_store, register_version
from synthetic.simulator import SimulatorSettings, simulate_cohort
from tests.adapters.models_g2 import save_vision_encoder_decoder
from tests.evaluation.steps import finish
from tests.registry.scene import copy_into_home, make_cohort, make_protocol, make_system

RULES = bundled_source("report-generator-v1")


def asked(people: SimpleNamespace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AuditRun:
    monkeypatch.setattr("models_registry.cohorts.conversion.STUDIES_PER_SHARD_WITH_IMAGES", 100)
    file = simulate_cohort(SimulatorSettings(patients=120, seed=31), folder / "cohort.parquet")
    convert_cohort(file, mapping=None, destination=folder / "shards")
    (folder / "writer").mkdir()
    version = register_version(
        system=make_system(people, "Report writer"),
        label="0.1",
        adapter="vision_encoder_decoder",
        folder=copy_into_home(save_vision_encoder_decoder(folder / "writer"), "writer"),
        by=people.elena,
    )
    return request_audit(
        version=version,
        cohort=make_cohort(people, folder / "shards"),
        protocol=make_protocol(people, RULES),
        by=people.amir,
    )


@pytest.mark.django_db
def test_weights_are_run_and_what_they_write_is_judged(
    people: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = asked(people, tmp_path, monkeypatch)
    assert run.version.config["runs_weights"] and run.version.config["capabilities"] == ["generate"]
    assert run.shards.count() > 1
    done = finish(run)
    assert (done.status, done.error) == (RunStatus.DONE, "")
    # Random weights name no finding: there is nothing of which a share could be invented.
    assert done.verdicts.get(criterion="sex-chair").outcome == "insufficient"
    assert done.outcome == "insufficient"
    written = [codec.from_bytes(model_store().get_bytes(row.digest)) for row in CachedPredictions.objects.all()]
    reader = open_cohort(tmp_path / "shards")
    pictures = {
        study: image is not None
        for shard in reader.shards
        for batch in reader.batches(shard)
        for study, image in zip(batch.study_ids, batch.images, strict=True)
    }
    texts = {
        study: text for found in written for study, text in zip(found.study_ids, found.texts["generated"], strict=True)
    }
    assert {study: text is not None for study, text in texts.items()} == pictures
    assert len(set(texts.values())) > 3, "what is written depends on the picture"
    names = set(done.measurements.values_list("metric", flat=True))
    assert {"omission", "omission_difference", "report_underdiagnosis_rate", "report_length"} <= names
    # Random weights never end a text: every one is cut off, and what a text omits that was cut off says nothing.
    assert all(
        found.truncated["generated"].tolist() == [text is not None for text in found.texts["generated"]]
        for found in written
    )
    omitted = done.measurements.get(metric="omission", label="report", attribute="sex", group="F")
    assert omitted.value is None and omitted.reason
