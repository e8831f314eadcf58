"""Which streams a protocol, a cohort and a model allow; what is said of the others; how streams are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import AdapterError, ProtocolError
from evaluation.engine import Protocol as Rules
from evaluation.engine import run_audit
from evaluation.engine.columns import check_columns
from evaluation.engine.drift.frame import DriftFrame
from evaluation.engine.drift.records import Family, StudyStreams
from evaluation.engine.records import ShardTable
from evaluation.engine.sketch import audited
from evaluation.execution import stream_codec
from evaluation.execution.batches import Batches
from evaluation.execution.changed import alone
from evaluation.execution.stream_plan import VERSUS, StreamPlan, plan_streams
from evaluation.execution.streams import StreamJob, cosines
from models_registry.adapters.base import Predictions
from models_registry.cohorts.schema import StudyBatch

COLUMNS = ("patient_id", "study_id", "image", "text.indication", "text.reference", "series.crp", "age", "site", "sex")
SEES = {
    "capabilities": ["classify", "embed"], "outputs": ["score.effusion"], "modalities": ["image", "text.indication"],
    "details": {"embeds": ["image", "text.*"]},
}  # fmt: skip


def rules_of(drift: str = "{}", more: str = "") -> Rules:
    first = drift.partition("watch: [")[2].partition("]")[0].partition(",")[0] or "numeric"
    return Rules.from_yaml(
        f"""
auscult_protocol: 1
name: watch
title: Watch
suites: [drift]
labels: [{{name: effusion, threshold: {{value: 0.5, source: the middle}}}}]
attributes: [{{name: sex}}, {{name: site}}]
criteria: [{{id: shift, metric: {first}_shift, direction: at_most, margin: 0.2}}]
drift: {drift}
{more}
"""
    )


def planned(drift: str, *, columns: tuple[str, ...] = COLUMNS, declared: dict[str, Any] = SEES) -> StreamPlan:
    values = {"age": [40, 50, 61], "site": [1, 2, 3], "sex": ["F", "M"], "note": [f"n{i}" for i in range(99)]}
    covariates = {name: values[name] for name in ("age", "site", "note")}
    return plan_streams(rules_of(drift), columns, covariates, declared=declared)


def names(plan: StreamPlan) -> set[str]:
    return {spec.name for spec in plan.specs}


def test_everything_that_cohort_and_model_allow_is_watched_and_the_rest_explained() -> None:
    plan = planned("{case_mix: [sex]}")
    by_name = {spec.name: spec for spec in plan.specs}
    assert by_name["age"].family is Family.NUMERIC and by_name["site"].family is Family.CATEGORICAL, "site is a code"
    assert by_name["series.crp:median"].title == "C-reactive protein, median of the study"
    assert by_name["mask"].modality == "image + text.indication + series.crp"
    assert {"image:embedding", "image:blur", "text.indication:embedding", "concordance:image-text.indication"} <= {
        *by_name
    }
    assert not any(name.startswith("text.reference") for name in by_name), "what is judged is no input"
    assert "score.effusion" in by_name and "label.effusion" not in by_name
    assert "identifier" in plan.why_not["note"]
    assert plan.why_not["label"] == plan.why_not["performance"] != ""
    assert plan.needs_model(rules_of().drift)
    assert VERSUS not in by_name and VERSUS in names(planned("{watch: [concordance]}")), (
        "two passes more: only on demand"
    )


def test_a_model_without_vectors_is_stood_in_for() -> None:
    plan = planned("{watch: [image, text, concordance]}", declared={"outputs": ["pred.effusion"]})
    assert {"image:thumbnail", "image:contrast", "text.indication:embedding"} <= names(plan)
    assert not {"image:embedding", "concordance:image-text.indication"} & names(plan)
    assert {"image:embedding", "concordance", VERSUS} <= set(plan.why_not)
    assert not plan.needs_model(rules_of().drift), "the text's embedding needs no weights"
    asked = planned("{watch: [text], text_encoder: model}", declared={"capabilities": ["classify"]})
    assert "text.indication:embedding" in asked.why_not and "text.indication:oov" in names(asked)
    chosen = planned("{watch: [text, image], embed: [image]}")
    assert "image:embedding" in names(chosen) and "text.indication:embedding" not in names(chosen)


def test_a_cohort_of_columns_alone() -> None:
    plan = planned("{}", columns=("patient_id", "study_id", "age", "site"), declared={"outputs": ["score.effusion"]})
    assert names(plan) == {"age", "site", "score.effusion"}
    assert {"image", "text", "series", "mask", "concordance", "label"} <= set(plan.why_not)
    written = planned("{watch: [prediction]}", declared={"outputs": ["text.generated"]})
    assert {"text.generated:length", "text.generated:findings"} <= names(written)
    assert {spec.family for spec in written.specs} == {Family.PREDICTION}


def test_columns_that_the_section_names_must_be_there() -> None:
    rules = rules_of("{columns: [dose], contradictions: [{finding: effusion, series: crp, below: 5}], embed: [image]}")
    have = ("patient_id", "study_id", "sex", "site")
    with pytest.raises(ProtocolError) as refused:
        check_columns(rules, have, file="it", able=["classify"])
    told = str(refused.value)
    assert all(part in told for part in ("'dose'", "series.crp", "'image'", "score.effusion"))
    assert "label.effusion" not in told, "labels come late"
    whole = (*have, "dose", "series.crp", "image", "score.effusion")
    check_columns(rules, whole, file="it", able=["embed"])
    check_columns(rules, (*have, "score.effusion"), file="it", able=["embed"], compared=True)
    with pytest.raises(ProtocolError, match="lacks 'embed'"):
        check_columns(rules, whole, file="it", able=["classify"])


def test_streams_survive_bytes_and_follow_the_rows_that_are_judged() -> None:
    plan = planned("{watch: [numeric, categorical]}")
    frame = DriftFrame(specs=plan.specs)
    streams = StudyStreams(
        specs=frame.specs,
        numbers={"age": np.array([1.5, np.nan, 3.0])},
        categories={"site": np.array(["a", None, "ü"], dtype=object)},
        vectors={"image:embedding": np.array([[1, 2], [np.nan, np.nan], [3, 4]], np.float32)},
        frame=frame,
        why_not={"note": "why"},
    )
    data = stream_codec.to_bytes(streams)
    back = stream_codec.from_bytes(data, frame)
    assert data == stream_codec.to_bytes(back) and back.why_not == streams.why_not
    np.testing.assert_array_equal(back.numbers["age"], streams.numbers["age"])
    assert list(back.categories["site"]) == ["a", None, "ü"]
    np.testing.assert_array_equal(back.vectors["image:embedding"], streams.vectors["image:embedding"])
    who = np.array(["p", "q", "r"], dtype=object)
    splits = np.array(["train", "test", "test"], dtype=object)
    table = ShardTable(patient_ids=who, study_ids=who, attributes={}, labels={}, splits=splits, streams=back)
    judged = audited(rules_of(more="splits: {audited: [test], tuning: []}"), table).streams
    assert judged is not None and judged.specs == frame.specs
    assert list(judged.categories["site"]) == [None, "ü"] and judged.vectors["image:embedding"].shape == (2, 2)


class Model:
    """Scores 1 with an image alone, .25 with texts alone; embeds by counting."""

    def __init__(self, *, fits: int = 100) -> None:
        self.fits = fits

    def predict(self, batch: StudyBatch) -> Predictions:
        image = np.array([one is not None for one in batch.images], dtype=float)
        text = np.array([bool(one) for one in batch.texts["indication"]], dtype=float)
        assert not any(value for values in batch.covariates.values() for value in values)
        return Predictions(study_ids=batch.study_ids, scores={"effusion": image + 0.25 * text})

    def embed(self, batch: StudyBatch, modality: str) -> np.ndarray:
        if len(batch) > self.fits:
            raise MemoryError
        return np.array([[int(study[1:]), 1] for study in batch.study_ids], np.float32)


def batch_of(n: int) -> StudyBatch:
    pixels = np.zeros((4, 4), np.uint8)
    ids = tuple(f"s{number}" for number in range(n))
    return StudyBatch(
        study_ids=ids, patient_ids=ids, images=[pixels] * (n - 1) + [None], texts={"indication": ["cough"] * n},
        covariates={"age": [50] * n},
    )  # fmt: skip


def test_what_a_model_says_with_one_sense_alone() -> None:
    plan = planned("{watch: [concordance]}")
    versus = tuple(spec for spec in plan.specs if spec.name == VERSUS)
    job = StreamJob(
        rules=rules_of("{watch: [concordance]}"), plan=StreamPlan(specs=versus), found=Predictions(study_ids=()),
        adapter=lambda: Model(), batch_size=8,
    )  # fmt: skip
    found = job.read(iter([batch_of(3)])).numbers[VERSUS]
    np.testing.assert_array_equal(found, [0.75, 0.75, np.nan])
    both = alone(batch_of(2), "image")
    assert both.texts["indication"] == [None, None] and both.covariates["age"] == [None, None]


def test_embeddings_are_halved_until_they_fit_and_must_be_of_every_study() -> None:
    batches = Batches(Model(fits=2), 5)
    found = batches.embed(batch_of(5), "image")
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4] and batches.size <= 2
    with pytest.raises(AdapterError, match="single study"):
        Batches(Model(fits=0), 4).embed(batch_of(3), "image")
    wrong = Model()
    wrong.embed = lambda batch, modality: np.zeros(3, np.float32)  # type: ignore[method-assign]
    with pytest.raises(AdapterError, match="shape"):
        Batches(wrong, 4).embed(batch_of(3), "image")
    one = np.array([[1.0, 0.0], [0.0, 0.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(cosines(one, np.array([[1.0, 1.0]] * 3)), [1 / np.sqrt(2), np.nan, np.nan])


def test_a_file_has_no_reference_so_drift_is_left_out_or_refused(tmp_path: Path) -> None:
    """By the command too: what is asked of a file is said not to be measured, and never silently so."""
    file = tmp_path / "answers.csv"
    rows = [f"p{i},s{i},{'FM'[i % 2]},{i % 3 % 2},{i % 5 % 2}" for i in range(80)]
    file.write_text("\n".join(["patient_id,study_id,sex,label.effusion,pred.effusion", *rows]))
    body = """
auscult_protocol: 1
name: both
title: Both
suites: [fairness, drift]
labels: [{name: effusion}]
attributes: [{name: sex}]
criteria: [{id: sex, metric: equal_opportunity_difference, attribute: sex, direction: at_most, margin: 0.2}]
bootstrap: {replicates: 200}
drift: {watch: [numeric]}
"""
    both = Rules.from_yaml(body)
    result = run_audit(protocol=both, predictions=file, cross_check=False).assessment
    assert {item.suite for item in result.measurements} == {"fairness"}
    assert any("Drift was not measured" in note for note in result.notes)
    chosen = run_audit(protocol=both, predictions=file, suites=["fairness"], cross_check=False).assessment
    assert not any("Drift" in note for note in chosen.notes), "nobody asked for it"
    for protocol, suites in ((both, ["drift"]), (rules_of(), None)):
        with pytest.raises(ProtocolError, match="no reference to measure it against"):
            run_audit(protocol=protocol, predictions=file, suites=suites, cross_check=False)
