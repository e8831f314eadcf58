"""Streams of texts, images, series and columns, held against what can be counted by hand."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest
from scipy import ndimage

from evaluation.engine.drift.records import Shape
from evaluation.engine.text.ontology import ontology
from evaluation.execution import stream_columns, stream_encoder, stream_images, stream_texts
from models_registry.cohorts.schema import StudyBatch

nan = math.nan


def equal(found, wanted) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


# Texts


def test_words_lengths_and_numbers_that_are_no_words_of_their_own() -> None:
    assert stream_texts.words_of("CRP 12.4 mg/L; patient's 3rd X-ray.") == [
        "crp", "0", "0", "mg", "l", "patient's", "0rd", "x", "ray",
    ]  # fmt: skip
    equal(stream_texts.lengths(["a bee, a sea", "  ", None, "?"]), [4, nan, nan, nan])


def test_unknown_words_are_those_that_the_other_half_of_the_patients_does_not_say() -> None:
    patients = np.array([f"p{number}" for number in range(40)], dtype=object)
    folds = stream_texts.folds_of(patients, seed=3)
    assert 8 < folds.sum() < 32, "both folds have patients"
    texts = ["cough fever zero" if fold == 0 else "cough fever one" for fold in folds]
    known = stream_texts.vocabularies_of("text.indication", texts, patients, seed=3)
    assert set(known) == {"text.indication/0", "text.indication/1"} and all(len(words) == 3 for words in known.values())
    # Of the reference itself: the word of one's own fold counts as unknown, it was never heard from others.
    equal(stream_texts.unknown_share("text.indication", texts, patients, known, seed=3), np.full(40, 1 / 3))
    window = ["cough zero", "cough one", "husten fieber", None, ""]
    who = patients[np.flatnonzero(folds == 0)[:5]]
    equal(
        stream_texts.unknown_share("text.indication", window, who, known, seed=3), [0.5, 0.0, 1.0, nan, nan]
    )  # those of fold 0 are read with the words of fold 1
    few = stream_texts.vocabularies_of("text.indication", texts, patients, seed=3, most=2)
    assert all(len(words) == 2 for words in few.values())


def test_the_share_of_unknown_words_is_the_same_for_a_reference_and_for_new_patients_like_it() -> None:
    """A vocabulary that a study gave its own words to would make the reference look more familiar."""
    rng = np.random.default_rng(4)
    words = np.array(["".join(letters) for letters in product("abcdefghijklmno", repeat=3)][:3000])
    weights = 1 / np.arange(1, 3001)

    def drawn(n: int) -> list[str]:
        return [" ".join(rng.choice(words, 12, p=weights / weights.sum())) for _ in range(n)]

    reference, window = drawn(400), drawn(400)
    old, new = (np.array([f"{kind}{number}" for number in range(400)], dtype=object) for kind in ("old", "new"))
    known = stream_texts.vocabularies_of("t", reference, old, seed=0)
    before = stream_texts.unknown_share("t", reference, old, known, seed=0)
    after = stream_texts.unknown_share("t", window, new, known, seed=0)
    gap = abs(before.mean() - after.mean())
    assert before.mean() > 0.2
    assert gap < 4 * math.sqrt(before.var() / 400 + after.var() / 400)


def test_sections_and_findings_of_reports() -> None:
    texts = [
        "FINDINGS: There is a left pleural effusion. No pneumothorax. IMPRESSION: Pleural effusion.",
        "Cough for two days",
        "Der Patient hat seit zwei Tagen Husten und Fieber, es besteht der Verdacht auf eine Pneumonie.",
        None,
    ]
    assert list(stream_texts.sections(texts, ontology())) == ["findings + impression", "no heading", "no heading", None]
    there, absent = stream_texts.findings(texts, ontology())
    equal(there, [1, 0, nan, nan])
    equal(absent, [1, 0, nan, nan])


def test_the_embedding_without_weights_keeps_the_likeness_of_counts() -> None:
    texts = ["chest pain and cough", "cough and chest pain today", "fall from a horse", "", None]
    found = stream_texts.hashed_embedding(texts)
    assert found.shape == (5, 64) and found.dtype == np.float32
    assert np.isnan(found[3:]).all()
    assert np.linalg.norm(found[:3], axis=1) == pytest.approx(1, abs=1e-6)
    assert found[0] @ found[1] > 0.4 > abs(found[0] @ found[2])
    alone = stream_texts.hashed_embedding(texts[1:2])
    assert (alone[0] == found[1]).all(), "a text does not depend on those beside it"


def test_scalar_products_of_the_embedding_are_those_of_the_counts_on_average() -> None:
    """64 signs keep an angle to about 1/8; over many pairs the errors even out."""
    rng = np.random.default_rng(1)
    words = [f"word{chr(97 + a)}{chr(97 + b)}" for a in range(20) for b in range(20)]
    pairs = [(rng.choice(words, 30, replace=False), rng.choice(words, 30, replace=False)) for _ in range(150)]
    errors = []
    for one, two in pairs:
        both = np.concatenate([one[:15], two[:15]])
        first, second = stream_texts.hashed_embedding([" ".join(one), " ".join(both)])
        grams = [{*text, *(f"{a} {b}" for a, b in pairwise(text))} for text in (one, both)]
        errors.append(float(first @ second) - len(grams[0] & grams[1]) / math.sqrt(len(grams[0]) * len(grams[1])))
    assert abs(np.mean(errors)) < 0.03
    assert np.std(errors) < 0.16


@pytest.mark.skipif(stream_encoder.is_installed(), reason="an operator installed it")
def test_an_encoder_that_is_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(Exception, match="MiniLM is not installed") as refused:
        stream_encoder.encode(["a text"])
    assert "hashed" in refused.value.remedy
    assert np.isnan(stream_encoder.encode([None, " "])).all(), "nothing is loaded for nothing"


# Images


def test_quality_of_images_is_what_other_libraries_compute() -> None:
    image = np.random.default_rng(2).integers(0, 256, (90, 120), dtype=np.uint8)
    found = stream_images.quality_of(image)
    laplacian = ndimage.laplace(image.astype(float))[1:-1, 1:-1]
    wanted = {
        "blur": laplacian.var(), "contrast": image.std(), "brightness": image.mean(),
        "size": math.sqrt(90 * 120), "aspect": 120 / 90,
    }  # fmt: skip
    assert found == pytest.approx(wanted)
    soft = ndimage.gaussian_filter(image, 2)
    assert stream_images.quality_of(soft)["blur"] < found["blur"] / 50
    colour = np.stack([image] * 3, axis=2)
    assert stream_images.quality_of(colour) == pytest.approx(found)
    assert all(math.isnan(value) for value in stream_images.quality_of(None).values())
    assert math.isnan(stream_images.quality_of(image[:2])["blur"])


def test_a_detector_of_twice_the_resolution_is_no_sharper() -> None:
    small = np.random.default_rng(3).integers(0, 256, (300, 400), dtype=np.uint8)
    large = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)
    one, two = stream_images.quality_of(small), stream_images.quality_of(large)
    assert two["blur"] == pytest.approx(one["blur"]) and two["size"] == pytest.approx(2 * one["size"])
    assert stream_images.quality_of(np.zeros((3, 2000), np.uint8))["contrast"] == 0


@pytest.mark.parametrize("shape", [(64, 80), (61, 75), (5, 20), (9, 8)])
def test_a_likeness_is_of_means_of_squares(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
    found = stream_images.likenesses([image, None, np.full(shape, 7, np.uint8)])
    assert found.shape == (3, 64) and np.isnan(found[1]).all() and (found[2] == 0).all()
    assert found[0].mean() == pytest.approx(0, abs=1e-6) and found[0].std() == pytest.approx(1, abs=1e-6)
    if shape == (64, 80):
        means = image.reshape(8, 8, 8, 10).mean(axis=(1, 3)).ravel()
        assert found[0] == pytest.approx((means - means.mean()) / means.std(), abs=1e-5)


# Columns, series, masks


def test_columns_become_numbers_categories_or_neither() -> None:
    kind = stream_columns.kind_of
    assert kind([1.5, None, 2, 3], nominal=False) is Shape.NUMBER
    assert kind([0, 1, 1, None], nominal=False) is Shape.CATEGORY, "a flag"
    assert kind([11, 12, 13], nominal=True) is Shape.CATEGORY, "a code"
    assert kind(["a", "b", None], nominal=False) is Shape.CATEGORY
    assert "identifier" in kind([f"accession {number}" for number in range(200)], nominal=False)
    assert "times" in kind([np.datetime64("2026-03-01").astype(object)], nominal=False)
    assert "No study" in kind([None, None], nominal=False)
    equal(stream_columns.numbers_of([1, "2.5", "n/a", None, math.inf, True]), [1, 2.5, nan, nan, nan, 1])
    found = stream_columns.categories_of([2, 2.0, " GE  Healthcare", "", None, True, nan])
    assert list(found) == ["2", "2", "GE Healthcare", None, None, "true", None]


def test_series_by_hand() -> None:
    series = [np.array([[0.0, 5.0], [6.0, 9.0], [12.0, 1.0]]), np.array([[3.0, 7.0]]), None, np.zeros((0, 2))]
    equal(stream_columns.medians(series), [5, 7, nan, nan])
    equal(stream_columns.counts(series), [3, 1, nan, nan])
    equal(stream_columns.rates([*series, np.array([[1.0, 2.0], [1.0, 3.0]])]), [1 / 6, nan, nan, nan, nan])


def batch_of(**given) -> StudyBatch:
    n = len(given["images"])
    names = tuple(f"s{number}" for number in range(n))
    return StudyBatch(study_ids=names, patient_ids=names, **given)


def test_the_mask_is_the_joint_pattern() -> None:
    pixels, points = np.zeros((4, 4), np.uint8), np.array([[0.0, 1.0]])
    batch = batch_of(
        images=[pixels, None, pixels, None],
        texts={"indication": ["cough", " ", None, None]},
        series={"crp": [points, None, points, np.zeros((0, 2))]},
        covariates={"age": [50, None, nan, None]},
    )
    names = ["image", "text.indication", "series.crp", "age"]
    assert list(stream_columns.masks(batch, names)) == [
        "image + text.indication + series.crp + age", "nothing", "image + series.crp", "nothing",
    ]  # fmt: skip
    assert list(stream_columns.masks(batch, ["series.never"])) == ["nothing"] * 4, "a column that a window lacks"
    many = [*names[:3], *(f"series.s{number}" for number in range(9)), "age"]
    assert list(stream_columns.masks(batch, many)) == [
        "image + text.indication + some series + all covariates", "no series + no covariates",
        "image + some series + no covariates", "no series + no covariates",
    ]  # fmt: skip
