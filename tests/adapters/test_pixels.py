"""Pictures as exported classifiers take them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from core.errors import AdapterError
from models_registry.adapters.pixels import PixelPlan


def plan(**more):
    return PixelPlan.read({"size": [6, 4], "channels": 1} | more)


def test_pictures_of_eight_bits_are_sized_as_pillow_does():
    image = np.random.default_rng(4).integers(0, 256, (17, 13), np.uint8)
    theirs = np.asarray(Image.fromarray(image).resize((4, 6), Image.Resampling.BILINEAR)) / 255
    np.testing.assert_allclose(plan()([image])[0, 0], theirs, atol=1e-7)


def test_pictures_of_sixteen_bits_keep_them():
    image = np.linspace(0, 65535, 24).astype(np.uint16).reshape(6, 4)
    np.testing.assert_allclose(plan()([image])[0, 0], image / 65535, atol=1e-7)
    eight = (np.linspace(0, 255, 24)).astype(np.uint8).reshape(6, 4)
    np.testing.assert_allclose(plan()([eight.astype(np.uint16) * 257]), plan()([eight]), atol=1e-7)


def test_colours_become_grey_as_pillow_does_and_grey_is_repeated():
    image = np.random.default_rng(5).integers(0, 256, (6, 4, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(image).convert("L"), np.float64) / 255
    assert np.abs(plan()([image])[0, 0] - theirs).max() <= 1.001 / 255
    three = plan(channels=3, mean=[0, 0, 0.5], std=[1, 2, 1])([image[:, :, 0]])[0]
    np.testing.assert_allclose([three[1] * 2, three[2] + 0.5], [three[0], three[0]], atol=1e-6)
    np.testing.assert_allclose(plan(channels=3)([image])[0], np.moveaxis(image, 2, 0) / 255, atol=1e-7)


def test_cropping_keeps_the_middle_and_the_proportions():
    image = np.zeros((6, 40), np.uint8)
    image[:, 18:22] = 255
    assert plan(fit="crop")([image]).min() == 1
    assert plan(fit="stretch")([image]).min() == 0
    assert plan(fit="crop")([np.zeros((401, 3), np.uint8)]).shape == (1, 1, 6, 4)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)]
)
def test_pictures_of_another_kind_are_refused(image):
    with pytest.raises(AdapterError, match="shape"):
        plan()([image])


def test_a_picture_in_memory_and_in_a_file_give_the_same():
    image = np.random.default_rng(6).integers(0, 256, (9, 7), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    np.testing.assert_array_equal(plan()([image]), plan()([np.asarray(Image.open(stream))]))
