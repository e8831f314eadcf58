"""What every adapter promises, whichever modalities a study has. A new kind of model joins in ``conftest.py``."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from config.embedded.stack import ROOT
from core.digests import canonical_json, folder_manifest
from core.errors import AdapterError, AuscultError
from models_registry.adapters.base import (
    ADAPTERS,
    AdapterInfo,
    Answers,
    Attributes,
    Capability,
    Embeds,
    InferenceSettings,
    ModelAdapter,
    Predictions,
)
from models_registry.cohorts.schema import StudyBatch
from tests.adapters.conftest import ADAPTER_FIXTURES, SAVERS, reordered, without

SETTINGS = InferenceSettings(batch_size=6, seed=3)
CLOSE = 1e-5
NO_TORCH = ("recorded", "endpoint", "torch_export", "onnx")
"""Kinds whose folders are checked without torch."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A kind of model with its folder, loaded."""

    key: str
    folder: Path
    adapter: ModelAdapter

    @property
    def info(self) -> AdapterInfo:
        return self.adapter.info


@pytest.fixture(scope="module", params=ADAPTER_FIXTURES)
def subject(request, tmp_path_factory) -> Subject:
    kind = request.param
    if kind in SAVERS:
        folder = tmp_path_factory.mktemp(kind)
        SAVERS[kind](folder)
    else:
        folder = request.getfixturevalue(f"{kind}_folder")
    key = ADAPTER_FIXTURES[kind]
    return Subject(key=key, folder=folder, adapter=ADAPTERS.get(key).load(folder, settings=SETTINGS))


@pytest.fixture(scope="module")
def studies(batch) -> StudyBatch:
    """Six studies that have everything: what is missing, a test takes away."""
    whole = [row for row in range(len(batch)) if all(has(batch, name)[row] for name in names_of(batch))]
    assert len(whole) >= 6
    return reordered(batch, whole[:6])


def names_of(batch: StudyBatch) -> list[str]:
    return ["image", "text.indication", *(f"series.{name}" for name in batch.series), *batch.covariates]


def has(batch: StudyBatch, modality: str) -> list[bool]:
    """Which studies have a modality."""
    head, _, tail = modality.partition(".")
    if modality == "image":
        return [image is not None for image in batch.images]
    if head == "text":
        return [bool(text and text.strip()) for text in batch.texts.get(tail, [None] * len(batch))]
    if head == "series":
        return [points is not None and len(points) > 0 for points in batch.series.get(tail, [None] * len(batch))]
    return [value is not None for value in batch.covariates.get(modality, [None] * len(batch))]


def subsets(info: AdapterInfo) -> list[set[str]]:
    """Nothing missing, each modality missing alone, all of them missing."""
    return [set(), *({name} for name in info.modalities), set(info.modalities)]


def check_predictions(info: AdapterInfo, batch: StudyBatch, found: Predictions) -> None:
    assert found.study_ids == batch.study_ids
    given = [f"score.{name}" for name in found.scores] + [f"pred.{name}" for name in found.decisions]
    assert sorted([*given, *(f"text.{name}" for name in found.texts)]) == sorted(info.outputs)
    able = np.all([has(batch, name) for name in info.required], axis=0) if info.required else np.full(len(batch), True)
    for values in found.scores.values():
        assert (values.shape, values.dtype) == ((len(batch),), np.float64)
        assert (np.isfinite(values) == able).all()
        assert ((values[able] >= 0) & (values[able] <= 1)).all()
    for values in found.decisions.values():
        assert (values.shape, values.dtype) == ((len(batch),), np.int8)
        assert set(values[able].tolist()) <= {0, 1}
        assert set(values[~able].tolist()) <= {-1}
    for values in found.texts.values():
        assert (values.shape, values.dtype) == ((len(batch),), object)
        assert [isinstance(text, str) for text in values] == able.tolist()
        assert all(text is None for text in values[~able])
    assert set(found.truncated) <= set(found.texts)
    for values in found.truncated.values():
        assert (values.shape, values.dtype) == ((len(batch),), np.bool_)
        assert not values[~able].any()


def check_alike(one: Predictions, other: Predictions, rows: list[int]) -> None:
    """The answers for some rows of ``one``, against those for as many studies of ``other``."""
    for name, values in one.scores.items():
        np.testing.assert_allclose(values[rows], other.scores[name], rtol=0, atol=CLOSE)
    for name, values in (one.decisions | one.texts).items():
        assert values[rows].tolist() == (other.decisions | other.texts)[name].tolist()


def bits(found: Predictions) -> list[object]:
    parts: list[object] = [values.tobytes() for values in (found.scores | found.decisions).values()]
    return [*parts, *(values.tolist() for values in found.texts.values())]


def test_predictions_are_whole_whatever_is_missing(subject, studies):
    for missing in subsets(subject.info):
        batch = without(studies, missing)
        check_predictions(subject.info, batch, subject.adapter.predict(batch))


def test_a_study_with_nothing_but_an_id_does_not_stop_the_batch(subject, studies):
    if subject.key == "recorded":  # a log looks studies up by their id, and needs nothing else of them
        batch = StudyBatch(study_ids=("nobody",), patient_ids=("nobody",), images=[None])
        found = subject.adapter.predict(batch)
        assert all(np.isnan(values).all() for values in found.scores.values())
        return
    bare = StudyBatch(study_ids=studies.study_ids, patient_ids=studies.patient_ids, images=[None] * len(studies))
    check_predictions(subject.info, bare, subject.adapter.predict(bare))


def test_an_answer_does_not_depend_on_neighbours_or_order(subject, studies):
    whole = subject.adapter.predict(studies)
    for rows in ([3, 0, 5, 1, 4, 2], [2], [4, 1]):
        check_alike(whole, subject.adapter.predict(reordered(studies, rows)), rows)
    bare = without(studies, set(names_of(studies)) | set(subject.info.modalities))
    for row in (0, 5):
        mixed = subject.adapter.predict(joined(reordered(studies, [row]), reordered(bare, [1, 2])))
        alone = reordered_predictions(mixed, [0])
        check_alike(whole, alone, [row])


def joined(one: StudyBatch, other: StudyBatch) -> StudyBatch:
    def both(name: str) -> dict:
        first, second = getattr(one, name), getattr(other, name)
        return {key: [*first[key], *second[key]] for key in first}

    return StudyBatch(
        study_ids=one.study_ids + other.study_ids,
        patient_ids=one.patient_ids + other.patient_ids,
        images=[*one.images, *other.images],
        texts=both("texts"),
        series=both("series"),
        covariates=both("covariates"),
    )


def reordered_predictions(found: Predictions, rows: list[int]) -> Predictions:
    return Predictions(
        study_ids=tuple(found.study_ids[row] for row in rows),
        scores={name: values[rows] for name, values in found.scores.items()},
        decisions={name: values[rows] for name, values in found.decisions.items()},
        texts={name: values[rows] for name, values in found.texts.items()},
    )


def test_equal_batches_give_equal_bits(subject, studies):
    assert bits(subject.adapter.predict(studies)) == bits(subject.adapter.predict(studies))


def test_two_loads_with_one_seed_give_equal_bits(subject, studies):
    again = ADAPTERS.get(subject.key).load(subject.folder, settings=SETTINGS)
    assert again.info == subject.info
    assert bits(again.predict(studies)) == bits(subject.adapter.predict(studies))


def test_the_batch_is_left_as_it_was(subject, studies):
    before = copy.deepcopy(studies)
    subject.adapter.predict(studies)
    for one, other in zip(before.images, studies.images, strict=True):
        np.testing.assert_array_equal(one, other)
    assert before.texts == studies.texts
    assert before.covariates == studies.covariates
    for name, values in before.series.items():
        for one, other in zip(values, studies.series[name], strict=True):
            np.testing.assert_array_equal(one, other)


def test_inspection_tells_what_is_loaded_and_leaves_the_folder(subject):
    before = folder_manifest(subject.folder)
    assert ADAPTERS.get(subject.key).inspect(subject.folder) == subject.info
    assert folder_manifest(subject.folder) == before


def test_info_is_json_and_agrees_with_itself(subject):
    info = subject.info
    canonical_json(info.to_dict())
    assert info.capabilities
    assert set(info.required) <= set(info.modalities)
    scored = {name.partition(".")[2] for name in info.outputs if name.startswith(("score.", "pred."))}
    assert scored == set(info.labels)
    for names in (info.labels, info.outputs, info.modalities):
        assert len(names) == len(set(names))
    assert (Capability.CLASSIFY in info.capabilities) == bool(info.labels)
    assert (Capability.GENERATE in info.capabilities) == ("text.generated" in info.outputs)


def test_what_it_declares_to_embed_it_embeds(subject, studies):
    if Capability.EMBED not in subject.info.capabilities:
        assert not isinstance(subject.adapter, Embeds)
        return
    assert isinstance(subject.adapter, Embeds)
    for name in subject.info.details.get("embeds", subject.info.modalities):
        modality = name.replace("*", "indication")
        vectors = subject.adapter.embed(studies, modality)
        assert vectors.dtype == np.float32
        assert vectors.ndim == 2
        assert np.isfinite(vectors).all()
        np.testing.assert_allclose(
            subject.adapter.embed(reordered(studies, [4, 1]), modality), vectors[[4, 1]], rtol=0, atol=1e-4
        )
        bare = without(studies, {*names_of(studies), *subject.info.modalities})
        missing = subject.adapter.embed(joined(reordered(studies, [2]), reordered(bare, [0])), modality)
        assert np.isnan(missing).all(axis=1).tolist() == [False, True]
    with pytest.raises(AdapterError) as caught:
        subject.adapter.embed(studies, "smell")
    assert caught.value.remedy


def test_what_it_declares_to_answer_it_answers(subject, studies):
    if Capability.ANSWER not in subject.info.capabilities:
        assert not isinstance(subject.adapter, Answers)
        return
    assert isinstance(subject.adapter, Answers)
    questions = [f"Is there an effusion? ({place})" for place in range(len(studies))]
    found = subject.adapter.answer(studies, questions)
    assert (found.shape, found.dtype) == ((len(studies),), object)
    assert all(isinstance(text, str) for text in found)
    alone = subject.adapter.answer(reordered(studies, [3]), [questions[3]])
    assert alone[0] == found[3]
    for name in subject.info.required:
        silent = subject.adapter.answer(without(studies, {name}), questions)
        assert silent.tolist() == [None] * len(studies)


def test_what_it_declares_to_attribute_it_attributes(subject, studies):
    if Capability.ATTRIBUTE not in subject.info.capabilities:
        assert not isinstance(subject.adapter, Attributes)
        return
    assert isinstance(subject.adapter, Attributes)
    label = subject.info.labels[-1]
    falls = subject.adapter.attribute(studies, label)
    assert set(falls) == set(subject.info.modalities)
    score = subject.adapter.predict(studies).scores[label]
    for name, values in falls.items():
        assert (values.shape, values.dtype) == ((len(studies),), np.float64)
        assert (np.isfinite(values) == has(studies, name)).all()
        without_it = subject.adapter.predict(without(studies, {name})).scores[label]
        np.testing.assert_allclose(values, score - without_it, atol=CLOSE)
        assert np.isnan(subject.adapter.attribute(without(studies, {name}), label)[name]).all()
    with pytest.raises(AdapterError, match="nothing"):
        subject.adapter.attribute(studies, "nothing")


@pytest.mark.parametrize("kind", NO_TORCH)
def test_a_folder_is_checked_without_torch_where_no_model_is_built(kind, request, tmp_path):
    """A page lists adapters and checks folders: torch takes seconds, and is for those who build a model to compare."""
    folder = tmp_path if kind in SAVERS else request.getfixturevalue(f"{kind}_folder")
    if kind in SAVERS:
        SAVERS[kind](folder)
    code = (
        "import sys; from pathlib import Path; from models_registry.adapters.base import ADAPTERS\n"
        f"ADAPTERS.get({kind!r}).inspect(Path({str(folder)!r}))\n"
        "sys.exit(', '.join({'torch', 'transformers', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_every_adapter_is_tried():
    # A generator of patients answers nothing about a study: tests/synthetic/test_generators.py tries what it does.
    assert set(ADAPTER_FIXTURES.values()) == set(ADAPTERS.keys()) - {"generator"}


def test_an_unknown_adapter_is_refused_with_the_known_ones():
    with pytest.raises(AuscultError, match="fusion") as caught:
        ADAPTERS.get("fusoin")
    assert "recorded" in caught.value.remedy
