"""Pictures: both sides, detail that larger ones have room for, and a difficulty that leaves headroom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from synthetic.simulator import FINDINGS, HEADROOM, SERIES, Drift, SimulatorSettings
from synthetic.simulator.fine_pictures import averaged
from synthetic.simulator.images import render
from synthetic.simulator.patients import draw_studies
from synthetic.simulator.series import measure
from synthetic.simulator.story import draw_story
from synthetic.simulator.texts import write_indications


@pytest.fixture(scope="module")
def studies():
    return draw_studies(SimulatorSettings(patients=60, seed=3, studies_max=1), np.random.default_rng(1))


def drawn(studies, size, **more):
    rows = np.arange(len(studies))
    return render(studies, rows, size, np.random.default_rng(2), **more).astype(float)


LUNG = (slice(8, 44), slice(8, 26))
"""Rows and columns of a picture of 64 x 64 that lie in the patient's right lung."""
BESIDE = {"effusion": (slice(42, 47), slice(8, 24)), "pneumothorax": (slice(12, 28), slice(8, 24))}


def mirrored(picture):
    return picture[:, :, ::-1]


@pytest.mark.parametrize("name", list(BESIDE))
def test_a_finding_on_both_sides_is_seen_on_both(studies, name):
    """Against the picture without it, drawn with the same noise, each side changes about as much as one side alone."""
    column = FINDINGS.index(name)
    nothing = np.zeros_like(studies.shown)
    ill = nothing.copy()
    ill[:, column] = 1.2
    left = replace(studies, seen=ill, right=np.zeros_like(studies.right))
    both = replace(left, both=np.ones_like(studies.both))
    plain = drawn(replace(studies, seen=nothing), 64)
    change = {key: np.abs(drawn(value, 64) - plain) for key, value in (("left", left), ("both", both))}
    ours, other = BESIDE[name], mirrored(change["left"])[:, *BESIDE[name]].mean()
    assert other > 8
    assert change["left"][:, *ours].mean() < 1
    assert abs(change["both"][:, *ours].mean() / other - 1) < 0.25
    assert abs(mirrored(change["both"])[:, *ours].mean() / other - 1) < 0.05


def test_fine_pictures_of_every_size_show_the_same_patient(studies):
    """Less its noise, a smaller picture is the larger one, averaged: their lungs agree pixel by pixel."""
    large, small = (drawn(studies, size, fine=True) for size in (128, 64))
    blocks = large.reshape(len(studies), 64, 2, 64, 2).mean(axis=(2, 4))
    ours, theirs = blocks[:, *LUNG].ravel(), small[:, *LUNG].ravel()
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95
    plain = drawn(studies, 128).reshape(len(studies), 64, 2, 64, 2).mean(axis=(2, 4))
    assert np.corrcoef(plain[:, *LUNG].ravel(), drawn(studies, 64)[:, *LUNG].ravel())[0, 1] < 0.9


def beyond_the_grid_of_64(pictures):
    """Power in the right lung at frequencies that a picture of 64 x 64 cannot hold; tapered towards its borders."""
    lung = pictures[:, 16:88, 16:52]
    taper = np.hanning(lung.shape[1])[:, None] * np.hanning(lung.shape[2])[None, :]
    waves = np.abs(np.fft.fft2((lung - lung.mean(axis=(1, 2), keepdims=True)) * taper)) ** 2 / (taper**2).sum()
    rows, columns = (np.abs(np.fft.fftfreq(n)) for n in lung.shape[1:])
    return waves[:, (rows[:, None] > 0.25) | (columns[None, :] > 0.25)].sum(axis=1).mean() / lung[0].size


def test_a_fine_large_picture_holds_detail_that_a_small_one_cannot(studies):
    """Without noise, over four times as much as a plain picture, whose texture is noise on one coarse grid."""
    silent = replace(studies, changed=np.ones(len(studies), dtype=bool))
    found = {fine: beyond_the_grid_of_64(drawn(silent, 128, noise=0.0, fine=fine)) for fine in (False, True)}
    assert found[True] > 4 * found[False]


def test_averaging_keeps_the_mean_and_is_exact_where_sizes_divide():
    picture = np.random.default_rng(0).random((3, 128, 128), dtype=np.float32)
    for size in (32, 64, 96, 128):
        small = averaged(picture, size)
        assert small.shape == (3, size, size)
        assert np.allclose(small.mean(axis=(1, 2)), picture.mean(axis=(1, 2)), atol=1e-5)
    assert np.allclose(averaged(picture, 64), picture.reshape(3, 64, 2, 64, 2).mean(axis=(2, 4)), atol=1e-6)


def test_noise_grows_for_changed_studies_alone(studies):
    changed = np.arange(len(studies)) % 2 == 0
    rough = drawn(replace(studies, changed=changed), 64, noise=5.0)
    plain = drawn(studies, 64)
    assert (rough[~changed] == plain[~changed]).all()
    corner = (slice(54, 62), slice(24, 40))
    assert np.diff(rough[changed][:, *corner]).std() > 3 * np.diff(plain[changed][:, *corner]).std()
    assert Drift(day=0).noise == 1.0


def perfect_reader(**settings):
    """AUROC of each finding, out of sample, for who sees severity as it is and reads series and indications too."""
    found = []
    for seed in (31, 32):
        story = draw_story(SimulatorSettings(patients=1200, seed=seed, **settings))
        hints = story.settings.hints
        words = write_indications(story.studies, story.streams["words"], hints=hints).texts
        readings = [
            [np.log([point["v"] for point in row]).mean() for row in points.to_pylist()]
            for points in (measure(story.studies, name, 0.0, story.streams["labs"], hints=hints) for name in SERIES)
        ]
        found.append((np.column_stack([story.studies.shown, *readings]), words, story.studies.present))
    (numbers, words, present), (further, others, truth) = found
    counted = CountVectorizer(binary=True, min_df=5).fit(words)
    learn, judge = (
        np.hstack([columns, counted.transform(texts).toarray()])
        for columns, texts in ((numbers, words), (further, others))
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    return [
        roc_auc_score(truth[:, place], model.fit(learn, present[:, place]).decision_function(judge))
        for place in range(len(FINDINGS))
    ]


def test_at_headroom_not_even_a_perfect_reader_of_everything_is_beyond_095():
    found = perfect_reader(**HEADROOM)
    assert min(found) > 0.90
    assert max(found) <= 0.95


def test_without_hints_only_the_picture_tells():
    """Then the ceiling is the picture's own: .92 at a difficulty of .5, by Phi(1 / (sqrt(2) * .5))."""
    found = perfect_reader(difficulty=0.5, hints=0.0)
    assert np.abs(np.array(found) - 0.921).max() < 0.025
    assert min(perfect_reader()) > 0.97
