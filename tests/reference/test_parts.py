"""Preprocessing, settings, reading and cards of the reference model: what needs no network."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import AdapterError, CohortError
from models_registry.cohorts import convert_cohort, open_cohort
from models_registry.cohorts.schema import StudyBatch
from models_registry.reference.cards import write_card
from models_registry.reference.preprocessing import FIRST_WORD, Preprocessor, grey_pixels, scaled_pixels
from models_registry.reference.settings import TrainingResult, TrainingSettings
from models_registry.reference.studies import in_validation, labels_of, read_studies
from synthetic.simulator import SimulatorSettings, simulate_cohort

REPORT = (
    "Small left pleural effusion. No pneumothorax. New since the prior study: effusion, consolidation and 2 others."
)


def batch_of(**columns) -> StudyBatch:
    n = len(next(iter(columns.values())))
    names = tuple(str(place) for place in range(n))
    return StudyBatch(study_ids=names, patient_ids=names, images=columns.pop("images", [None] * n), texts=columns)


def learned(batches, **changes) -> Preprocessor:
    wanted = {"image_size": 32, "text": "indication", "report": "reference"}
    return Preprocessor.learn(batches, **wanted, series=[], categorical=[], numeric=[], **changes)


def test_a_report_is_spelled_as_it_was_read():
    batch = batch_of(indication=["Cough."] * 2, reference=[REPORT] * 2)
    preprocess = learned([batch])
    words = preprocess.read_reports(batch)
    assert preprocess.spell(words[0]) == REPORT
    assert preprocess.spell(np.zeros(4, np.int64)) == ""
    assert preprocess.read_reports(batch_of(indication=["Cough."])).tolist() == [[0] * preprocess.report_length]


def test_words_seen_once_and_the_rarest_are_left_out(monkeypatch):
    batch = batch_of(indication=["cough cough fever", "fever dyspnoea fever", None], reference=[None] * 3)
    assert learned([batch]).vocabulary == ("cough", "fever")
    monkeypatch.setattr("models_registry.reference.preprocessing.LARGEST_VOCABULARY", 1)
    assert learned([batch]).vocabulary == ("fever",)
    assert learned([batch])(batch)["words"][0, :4].tolist() == [1, 1, FIRST_WORD, 0]


def test_pictures_of_any_kind_become_grey_squares():
    rng = np.random.default_rng(0)
    square = rng.integers(0, 256, (32, 32), dtype=np.uint8)
    images = [square, rng.integers(0, 256, (50, 40, 3), dtype=np.uint8), None]
    batch = batch_of(images=images, indication=[None] * 3)
    pixels = grey_pixels(batch, 32)
    np.testing.assert_array_equal(pixels[0, 0], square)
    assert pixels[1].std() > 0
    scaled = scaled_pixels(pixels, np.array([True, True, False]))
    np.testing.assert_allclose(scaled[0, 0], (square.astype(float) - 127.5) / 64, atol=1e-6)
    assert (scaled[2] == 0).all()


@pytest.mark.parametrize(
    "changes", [{"kind": "tail"}, {"method": "magic"}, {"rank": 0}, {"image_size": 40}, {"width": 30}]
)
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(AdapterError) as caught:
        TrainingSettings.from_dict(changes)
    assert caught.value.remedy and next(iter(changes)) in caught.value.message


def test_settings_survive_json():
    settings = TrainingSettings(kind="head", labels=("effusion",), method="lora", seed=4)
    assert TrainingSettings.from_dict(settings.to_dict()) == settings


def test_the_small_setting_differs_in_how_long_it_trains():
    small, usual = TrainingSettings.small(kind="head"), TrainingSettings(kind="head")
    differing = {name for name, value in small.to_dict().items() if value != usual.to_dict()[name]}
    assert differing == {"epochs", "head_epochs"}
    assert small.epochs < usual.epochs and small.head_epochs < usual.head_epochs


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    home = tmp_path_factory.mktemp("cohort")
    settings = SimulatorSettings(patients=40, seed=2, studies_max=2, image_size=32)
    convert_cohort(simulate_cohort(settings, home / "c.parquet"), mapping=None, destination=home / "cohort")
    return open_cohort(home / "cohort")


def quiet(_share, _message) -> None:
    return None


def test_studies_in_memory_are_what_the_preprocessor_makes_of_the_batches(reader):
    settings = TrainingSettings(image_size=32, validation_share=0.3)
    labels = labels_of(reader, ())
    preprocess, training, validation = read_studies(
        reader, labels=labels, settings=settings, preprocess=None, tell=quiet
    )
    found = {"training": [], "validation": []}
    for batch in reader.batches(0, batch_size=7):
        aside = np.array([in_validation(patient, 0.3) for patient in batch.patient_ids])
        made = preprocess(batch)
        found["training"].append({name: values[~aside] for name, values in made.items()})
        found["validation"].append({name: values[aside] for name, values in made.items()})
    for part, studies in (("training", training), ("validation", validation)):
        rows = studies.rows(slice(None))
        for name in found[part][0]:
            np.testing.assert_array_equal(rows[name], np.concatenate([item[name] for item in found[part]]))
    reference = reader.reference(0)
    assert len(training) + len(validation) == len(reference)
    assert training.labels.sum() + validation.labels.sum() == sum(reference.labels[name].sum() for name in labels)


def test_the_preprocessing_is_learned_from_training_patients_alone(reader):
    shares = [TrainingSettings(image_size=32, validation_share=share) for share in (0.3, 0.6)]
    one, other = (
        read_studies(reader, labels=["effusion"], settings=settings, preprocess=None, tell=quiet)[0]
        for settings in shares
    )
    assert one.series != other.series
    given = read_studies(reader, labels=[], settings=shares[0], preprocess=other, tell=quiet)[0]
    assert given == other


def test_labels_to_learn_must_be_there(reader):
    assert labels_of(reader, ["effusion"]) == ["effusion"]
    with pytest.raises(CohortError, match="gout") as caught:
        labels_of(reader, ["effusion", "gout"])
    assert caught.value.column == "label.gout"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_without_patients_on_one_side_there_is_no_training(reader, share):
    settings = TrainingSettings(image_size=32, validation_share=share)
    with pytest.raises(CohortError, match="too few"):
        read_studies(reader, labels=[], settings=settings, preprocess=None, tell=quiet)


def test_a_card_says_what_was_trained_on_what(reader):
    preprocess = learned([batch_of(indication=["Cough."], reference=[REPORT])])
    result = TrainingResult(
        parameters=12_345, trained=678, seconds=1.0, epochs=3, n_training=100, n_validation=20,
        auroc={"effusion": 0.912, "gout": None}, thresholds={"effusion": 0.4, "gout": 0.5}, losses={},
        backbone_digest="b" * 64,
    )  # fmt: skip
    head = TrainingSettings(kind="head", method="lora")
    card = write_card(result=result, preprocess=preprocess, settings=head, cohort_digest="c" * 64, built_on="b" * 64)
    for text in ("base_model: sha256:bbb", "datasets: [sha256:ccc", "678", "lora", "| gout | - |", "must not be used"):
        assert text in card
    backbone = TrainingSettings(kind="backbone")
    card = write_card(result=result, preprocess=preprocess, settings=backbone, cohort_digest="c" * 64, built_on="")
    assert "base_model" not in card and "text.reference" in card and "gout" not in card
