"""Audits that watch for drift, run as workers run them: a real model, its reference, a window, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.errors import ProtocolError
from evaluation import execution
from evaluation.engine import Protocol as Rules
from evaluation.engine.drift.frame import DriftFrame
from evaluation.engine.drift.records import Shape
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.sketch import measured_suites
from evaluation.execution import loading, shards, watching
from evaluation.execution.frames import chosen_rows, fit_reference_frame
from evaluation.execution.judging import merged_sketch
from evaluation.execution.reproduction import reproduce
from evaluation.execution.streams import read_streams
from evaluation.models import AuditRun, CachedPredictions, MonitorWindow, RunStatus, Shard
from evaluation.services.runs import request_audit
from models_registry import leases
from models_registry.cohorts import convert_cohort, open_cohort
from models_registry.services.versions import model_store, register_version
from synthetic.simulator import SimulatorSettings, simulate_cohort
from tests.adapters.models_clip import save_clip
from tests.evaluation.steps import finish, fresh, only_shard, work
from tests.registry.scene import copy_into_home, make_cohort, make_protocol, make_system, make_version

pytestmark = pytest.mark.django_db
RULES = """\
auscult_protocol: 1
name: watch-v1
title: Everything that can be watched
suites: [drift]
labels: [{name: effusion, threshold: {value: 0.5, source: the middle}}, {name: cardiomegaly}]
attributes: [{name: sex, values: [F, M]}]
criteria:
  - {id: pictures, metric: image_shift, direction: at_most, margin: 0.2}
drift:
  watch: [numeric, categorical, series, mask, text, image, prediction, label, concordance, estimated, performance]
  case_mix: [sex]
  contradictions: [{finding: effusion, series: crp, below: 5}]
  minimum_window: 20
  minimum_reference: 50
  sample: 100
"""
HERE = SimulatorSettings(patients=90, seed=31, studies_max=2, image_size=32, scanners={"Aquila DR": 1.0})
DARK = SimulatorSettings(patients=60, seed=32, studies_max=2, image_size=32, scanners={"Borealis CR": 1.0})


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    home = tmp_path_factory.mktemp("watched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models_registry.cohorts.conversion.STUDIES_PER_SHARD_WITH_IMAGES", 60)
        for name, settings in (("reference", HERE), ("window", DARK)):
            file = simulate_cohort(settings, home / f"{name}.parquet")
            convert_cohort(file, mapping=None, destination=home / name)
    return SimpleNamespace(reference=home / "reference", window=home / "window")


@pytest.fixture
def scene(people: SimpleNamespace, cohorts: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """A registered model with its reference cohort, a window, and a protocol."""
    (tmp_path / "model").mkdir()
    save_clip(tmp_path / "model")
    version = register_version(
        system=make_system(people, "A model of two senses"), label="1", adapter="clip",
        folder=copy_into_home(tmp_path / "model", "clip"), by=people.elena,
    )  # fmt: skip
    return SimpleNamespace(
        version=version, protocol=make_protocol(people, RULES), by=people.amir, rules=Rules.from_yaml(RULES),
        reference=make_cohort(people, cohorts.reference, "Reference"), reader=open_cohort(cohorts.reference),
        window=make_cohort(people, cohorts.window, "Window"), later=open_cohort(cohorts.window),
    )  # fmt: skip


def frame_of(scene: SimpleNamespace) -> DriftFrame:
    return fit_reference_frame(scene.version, scene.rules, scene.reader, {"batch_size": 16})


def ordered(scene: SimpleNamespace, cohort: str, **digests: str) -> AuditRun:
    facts = {"version": scene.version, "cohort": getattr(scene, cohort), "protocol": scene.protocol, "by": scene.by}
    return request_audit(**facts, settings={"batch_size": 16}, **digests)


def test_a_window_is_held_against_its_reference(scene: SimpleNamespace, sent: list, monkeypatch: Any) -> None:
    """The whole way: frame, reference, window, verdict, evidence, a second time from the cache, and reproduced."""
    frame = frame_of(scene)
    assert frame.digest == frame_of(scene).digest == DriftFrame.from_bytes(frame.to_bytes()).digest
    names = {spec.name for spec in frame.specs}
    assert {"image:embedding", "text.indication:embedding", "text.indication:oov", "mask", "series.crp:rate"} <= names
    assert {"estimated.effusion", "performance.cardiomegaly"} <= names
    assert {"score.effusion", "label.cardiomegaly", "concordance:image-text.indication"} <= names
    assert {"concordance:effusion~crp", "age", "scanner"} <= names and "sex" not in names, "the case mix is told apart"
    assert "concordance:image-vs-text" in frame.why_not and "concept" not in {spec.family for spec in frame.specs}
    model_store().put_bytes(frame.to_bytes())

    before = finish(ordered(scene, "reference", frame=frame.digest))
    assert (before.status, before.error) == (RunStatus.DONE, "")
    assert not before.measurements.exists() and before.outcome == "insufficient"
    sketch = merged_sketch(before).parts["drift"]
    assert isinstance(sketch, DriftSketch) and sketch.n == scene.reference.n_patients
    reference = model_store().put_bytes(sketch.to_bytes())

    done = finish(ordered(scene, "window", frame=frame.digest, reference=reference))
    assert (done.status, done.error) == (RunStatus.DONE, "")
    shift = done.measurements.get(label="scanner", attribute="")
    assert shift.value is not None and shift.value > 0.5, "every study is from another scanner"
    assert done.measurements.get(label="image:embedding", attribute="").value is not None
    assert done.measurements.filter(label="estimated.effusion", attribute="").exists()
    evidence = model_store().get_json(done.evidence_digest)
    told = evidence["execution"]["drift"]
    assert (told["frame"], told["reference"]) == (frame.digest, reference) and told["streams"] == len(frame.specs)
    assert told["why_not"] == dict(frame.why_not)
    assert any(reference in note for note in evidence["result"]["notes"]), "the result is bound to its reference"
    sample = watching.window_sample(done, scene.rules)
    assert 0 < len(sample) <= 100 and "number.image:embedding[0]" in sample.columns

    monkeypatch.setattr(shards, "load_adapter", lambda *_: pytest.fail("the model was run again"))
    again = finish(ordered(scene, "window", frame=frame.digest, reference=reference))
    assert again.result_digest == done.result_digest
    assert streams_digests(again) == streams_digests(done)
    loading._loaded.clear()
    assert reproduce(done.pk, tolerance=0).identical


def streams_digests(run: AuditRun) -> list[tuple[str, str]]:
    return list(run.shards.order_by("index").values_list("sketch_digest", "sample_digest"))


def test_a_worker_that_is_killed_while_it_reads_leaves_nothing_to_count_twice(
    scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, sent: list
) -> None:
    frame = frame_of(scene)
    model_store().put_bytes(frame.to_bytes())
    whole = finish(ordered(scene, "window", frame=frame.digest))
    CachedPredictions.objects.all().delete()
    run = ordered(scene, "window", frame=frame.digest)
    read, calls = read_streams, []

    def killed(*given: Any, **more: Any) -> Any:
        calls.append(given)
        if len(calls) == 1:
            raise leases.LeaseLostError
        return read(*given, **more)

    monkeypatch.setattr(watching, "read_streams", killed)
    first = only_shard(run)
    execution.execute_shard(first.pk)
    assert Shard.objects.get(pk=first.pk).status == "running" and not first.sample_digest
    kept = CachedPredictions.objects.count()
    Shard.objects.filter(pk=first.pk).update(status="queued", lease_token="")
    work(run, backwards=True)
    before = streams_digests(run)
    work(run)
    assert streams_digests(run) == before == streams_digests(whole), "delivered again, in any order: equal bytes"
    assert CachedPredictions.objects.count() == 2 * run.shards.count() > kept
    execution.judge(run.pk)
    assert fresh(run).result_digest == whole.result_digest


def test_a_worker_without_a_model_takes_only_what_is_kept(scene: SimpleNamespace, sent: list) -> None:
    frame = frame_of(scene)
    model_store().put_bytes(frame.to_bytes())
    whole = finish(ordered(scene, "window", frame=frame.digest))
    first = only_shard(whole)
    first.run = AuditRun.objects.select_related("version").get(pk=whole.pk)
    key = watching.streams_key(first, scene.rules)
    other = Rules.from_yaml(RULES.replace("below: 5", "below: 6"))
    assert watching.streams_key(first, other) != key, "another section is other work"
    run = ordered(scene, "window", frame=frame.digest)
    kept = CachedPredictions.objects.get(key=key)
    kept.delete()
    assert shards.settle_share(only_shard(run).pk, cached_as="float32") is None
    given_back = only_shard(run)
    assert (given_back.status, given_back.attempts, given_back.sketch_digest) == ("queued", 0, "")
    kept.save(force_insert=True)
    assert shards.settle_share(given_back.pk, cached_as="float32") is not None
    assert streams_digests(run)[0] == streams_digests(whole)[0]


def test_what_is_read_of_a_share_is_what_the_model_and_the_rows_say(scene: SimpleNamespace) -> None:
    """Vectors, cosines, contradictions and unknown words of one share, by the adapter itself and by hand."""
    frame = frame_of(scene)
    part = scene.later.shards[0]
    adapter = loading.load_adapter(scene.version, loading.inference_of(scene.version, {"precision": "float32"}))
    found = shards.predict_share(adapter, scene.later, part, batch_size=16, after_batch=lambda _: None)
    told: list[int] = []
    how: dict[str, Any] = {"adapter": lambda: adapter, "frame": frame}
    read = partial(read_streams, scene.rules, scene.later, part, found, **how)
    streams = read(batch_size=16, after_batch=told.append)
    assert told[-1] == part.n_studies and len(told) > 1
    batch = next(scene.later.batches(part, batch_size=part.n_studies))
    image, text = adapter.embed(batch, "image"), adapter.embed(batch, "text.indication")
    np.testing.assert_allclose(streams.vectors["image:embedding"], image, atol=1e-5)
    cosine = streams.numbers["concordance:image-text.indication"]
    np.testing.assert_allclose(cosine, (image * text).sum(axis=1), atol=1e-5)
    crp = [None if points is None else np.median(points[:, 1]) for points in batch.series["crp"]]
    wanted = [
        None if value is None else "contradicted" if score >= 0.5 and value < 5 else "consistent"
        for value, score in zip(crp, found.scores["effusion"], strict=True)
    ]
    known = [None if np.isnan(score) else item for item, score in zip(wanted, found.scores["effusion"], strict=True)]
    assert list(streams.categories["concordance:effusion~crp"]) == known
    assert {"contradicted", "consistent"} <= set(known), "the case is told by both"
    assert list(streams.categories["scanner"]) == ["Borealis CR"] * part.n_studies
    whole = read(batch_size=500)
    for name, values in streams.numbers.items():
        np.testing.assert_allclose(whole.numbers[name], values, atol=1e-5, err_msg=name)
    unknown = streams.numbers["text.indication:oov"]
    assert (np.isnan(unknown) == [not text for text in batch.texts["indication"]]).all()


def test_a_window_that_lacks_columns_is_read_for_the_same_streams(
    scene: SimpleNamespace, cohorts: SimpleNamespace, tmp_path: Path
) -> None:
    import pandas as pd

    frame = frame_of(scene)
    table = pd.read_parquet(cohorts.window.parent / "window.parquet")
    gone = [name for name in table if name.startswith(("image", "label.")) or name in ("scanner", "series.spo2")]
    table["age"] = table["age"].astype(str) + " years"
    file = tmp_path / "poor.parquet"
    table.drop(columns=gone).to_parquet(file, index=False)
    convert_cohort(file, mapping=None, destination=tmp_path / "poor")
    reader = open_cohort(tmp_path / "poor")
    run = _run_on(scene, tmp_path / "poor", frame)
    done = finish(run)
    assert (done.status, done.error) == (RunStatus.DONE, "")
    sketch = merged_sketch(done).parts["drift"]
    assert sketch.specs == frame.specs and sketch.n == reader.manifest.n_patients
    total = sketch.total()
    assert set(total.categories["scanner"]) == {""}, "a column that is gone is missing throughout"
    assert total.numbers["age"].missing == total.n, "what is no number any more is missing too"
    assert total.vectors["image:embedding"].n == 0
    assert {spec.name for spec in frame.specs if spec.shape is Shape.SCORED} >= {"label.effusion"}
    assert not any("image" in pattern for pattern in total.categories["mask"])


def _run_on(scene: SimpleNamespace, folder: Path, frame: DriftFrame) -> AuditRun:
    model_store().put_bytes(frame.to_bytes())
    people = SimpleNamespace(elena=scene.version.submitted_by)
    scene.poor = make_cohort(people, folder, "Poor")
    return ordered(scene, "poor", frame=frame.digest)


def test_a_frame_rests_on_the_patients_of_least_hash_whoever_holds_them(
    scene: SimpleNamespace, cohorts: SimpleNamespace
) -> None:
    reader = scene.reader
    some, every = chosen_rows(scene.rules, reader, most=40), chosen_rows(scene.rules, reader)

    def patients(rows: dict[int, Any]) -> list[str]:
        read: Callable[[int], list[str]] = lambda index: (  # noqa: E731
            reader.table(index, ["patient_id"]).column(0).take(rows[index]).to_pylist()
        )
        return [who for index in rows for who in read(index)]

    assert len(reader.shards) > 1 and len(patients(some)) == 40
    assert sorted(patients(every)) == sorted(set(patients(every))), "one study of each"
    assert set(patients(some)) <= set(patients(every)) and len(patients(every)) == reader.manifest.n_patients
    assert patients(some) == patients(chosen_rows(scene.rules, open_cohort(cohorts.reference), most=40))


PLAIN = """\
auscult_protocol: 1
name: both-v1
title: By sex, and watched
suites: [fairness, drift]
labels: [{name: effusion}]
attributes: [{name: sex, values: [F, M]}]
criteria:
  - {id: sex-tpr, metric: equal_opportunity_difference, attribute: sex, direction: at_most, margin: 0.1}
minimum: {cell: 5, rate_denominator: 20}
bootstrap: {replicates: 200}
drift: {watch: [numeric, prediction]}
"""


def test_without_a_reference_drift_is_left_out_and_the_report_says_so(
    people: SimpleNamespace, files: Any, tmp_path: Path
) -> None:
    facts = {"version": make_version(people, files.predictions), "cohort": make_cohort(people, files.shards)}
    done = finish(request_audit(**facts, protocol=make_protocol(people, PLAIN), by=people.amir))
    assert (done.status, done.error) == (RunStatus.DONE, "")
    assert set(done.measurements.values_list("suite", flat=True)) == {"fairness"}
    evidence = model_store().get_json(done.evidence_digest)
    assert any("Drift was not measured" in note for note in evidence["result"]["notes"])
    assert "drift" not in evidence["execution"] and not done.shards.exclude(sample_digest="").exists()
    with pytest.raises(ProtocolError, match="measures drift alone"):
        measured_suites(Rules.from_yaml(RULES), watched=False)


@pytest.mark.parametrize("wrong", [False, True])
def test_the_monitor_is_told_how_its_window_ended(
    people: SimpleNamespace, files: Any, sent: list, wrong: bool, django_capture_on_commit_callbacks: Any
) -> None:
    from tests.evaluation.monitor_scene import make_monitor, make_window

    facts = {"version": make_version(people, files.predictions), "cohort": make_cohort(people, files.shards)}
    run = request_audit(**facts, protocol=make_protocol(people, PLAIN), by=people.amir)
    window = make_window(make_monitor(people), 1)
    MonitorWindow.objects.filter(pk=window.pk).update(run=run)
    with django_capture_on_commit_callbacks(execute=True):
        if wrong:
            path = model_store().folder_path(run.cohort.digest) / "shard-00001.parquet"
            path.write_bytes(path.read_bytes()[:-1])
            work(run)
        else:
            finish(run)
    assert fresh(run).status == (RunStatus.FAILED if wrong else RunStatus.DONE)
    assert ("evaluation.tasks.judge_window", window.pk) in sent
