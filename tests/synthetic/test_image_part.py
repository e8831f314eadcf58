"""Images that are made from plans: they show them, equal seeds make equal images, and interruptions leave no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import AuscultError
from synthetic.generators.kinds.image_latent_flow import LatentFlowImages, LatentFlowPart
from synthetic.generators.kinds.image_rows import balanced_weights, with_image_before
from synthetic.generators.parts import PARTS, Learning
from synthetic.generators.settings import GeneratorSettings, Privacy
from tests.synthetic.image_scene import EDGE, brightness, pictured, small_lessons, with_plan

SETTINGS = GeneratorSettings(seed=3, image_size=EDGE, effort=0.01)
STUDIES, OTHERS = pictured(150), pictured(60, seed=2)


@pytest.fixture(scope="module")
def images() -> Iterator[LatentFlowImages]:
    with pytest.MonkeyPatch.context() as patch:
        small_lessons(patch, flow=420)
        yield LatentFlowPart().fit(STUDIES, Learning(settings=SETTINGS), held_out=OTHERS)


def files(folder: Path, images: LatentFlowImages) -> dict[str, bytes]:
    folder.mkdir()
    images.save(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_an_image_shows_its_plan(images: LatentFlowImages) -> None:
    some = slice(0, 48)
    left, right, none, band = (
        images.sample(with_plan(OTHERS, some, **words), seed=5)
        for words in ({"nodule": "left lower"}, {"nodule": "right lower"}, {}, {"band": "present"})
    )
    # The noise is the same, so that what differs is of the plan.
    for made, side, other in ((left, "left", "right"), (right, "right", "left")):
        assert brightness(made, side) > brightness(none, side) + 1
        assert brightness(made, side) - brightness(made, other) > 1
    assert band[:, :4].mean() > none[:, :4].mean() + 20
    # What is not of the plan shows, too: the scanner's brightness.
    plain = with_plan(OTHERS, some)
    dark, light = (
        images.sample(replace(plain, attributes={"scanner": np.full(48, name, dtype=object)}), seed=5)
        for name in ("dark", "light")
    )
    assert light.mean() > dark.mean() + 10


def test_facts_tell_what_was_learnt_and_what_the_gate_saw(images: LatentFlowImages) -> None:
    gate = images.facts["gates"]["reader"]
    assert gate["nodule"]["judged"] and gate["nodule"]["reconstruction"] >= gate["nodule"]["original"] - 0.05
    assert not gate["never"]["judged"] and gate["never"]["original"] is None and gate["never"]["reason"]
    assert images.facts["latents"] == [4, EDGE // 4, EDGE // 4] and images.facts["guidance"] >= 1
    assert STUDIES.images is not None
    latents = images.encode(STUDIES.images[STUDIES.has_image])
    assert latents.shape[1:] == (4, 8, 8) and latents.dtype == np.float32
    assert latents.mean(axis=(0, 2, 3)) == pytest.approx(np.zeros(4), abs=0.02)
    assert latents.std(axis=(0, 2, 3)) == pytest.approx(np.ones(4), abs=0.02)


def test_equal_seeds_make_equal_images_and_studies_without_stay_black(images: LatentFlowImages, tmp_path: Path) -> None:
    made = images.sample(OTHERS, seed=1)
    assert made.dtype == np.uint8 and made.shape == (len(OTHERS), EDGE, EDGE)
    assert not made[~OTHERS.has_image].any() and made[OTHERS.has_image].any(axis=(1, 2)).all()
    files(tmp_path / "a", images)
    again = PARTS.get("image:latent_flow").load(tmp_path / "a")
    assert (again.sample(OTHERS, seed=1) == made).all() and again.facts == images.facts
    assert (images.sample(OTHERS, seed=2) != made).mean() > 0.5
    # Those that stand first do not depend on how many follow.
    assert (images.sample(OTHERS.rows(slice(0, 20)), seed=1) == made[:20]).all()
    assert len({image.tobytes() for image in made[OTHERS.has_image]}) == OTHERS.has_image.sum()


def test_an_interrupted_training_ends_in_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_lessons(monkeypatch, flow=24, autoencoder=48, reader=16)
    short = replace(SETTINGS, effort=0.001)
    part, some = LatentFlowPart(), STUDIES.rows(slice(0, 120))
    whole = part.fit(some, Learning(settings=short))
    for stop in ("autoencoder: 30 of", "flow: 17 of"):
        with pytest.raises(KeyboardInterrupt):
            part.fit(some, Learning(settings=short, tell=_stopping(stop), resume=tmp_path))
    steps: list[tuple[str, int]] = []
    learning = Learning(settings=short, resume=tmp_path, log=lambda curve, step, value: steps.append((curve, step)))
    resumed = part.fit(some, learning)
    done = [("image.reader", 16), ("image.autoencoder", 48)]
    assert steps == [*done, *(("image.flow", step) for step in range(16, 25))], "it goes on from the last state"
    first, second = files(tmp_path / "whole", whole), files(tmp_path / "resumed", resumed)
    assert {name: first[name] == second[name] for name in first} == dict.fromkeys(first, True)
    # Other settings do not go on from there.
    steps.clear()
    part.fit(some, replace(learning, settings=replace(short, seed=4)))
    assert steps[0] == ("image.reader", 1)


def _stopping(at: str) -> Callable[[float, str], None]:
    def tell(share: float, message: str) -> None:
        assert 0 <= share <= 1
        if message.startswith(at):
            raise KeyboardInterrupt

    return tell


def test_what_it_cannot_do_it_says(images: LatentFlowImages, tmp_path: Path) -> None:
    part = LatentFlowPart()
    assert part.missing(STUDIES) == "" and part.missing(replace(STUDIES, images=None)) == "no study has an image"
    assert "only 9 studies" in part.missing(replace(STUDIES, has_image=np.arange(len(STUDIES)) < 9))
    private = replace(SETTINGS, privacy=Privacy(epsilon=4, delta=1e-5))
    with pytest.raises(AuscultError, match="differential privacy") as caught:
        part.fit(STUDIES, Learning(settings=private))
    assert caught.value.column == "privacy"
    with pytest.raises(AuscultError, match="64, 64"):
        images.encode(np.zeros((1, 64, 64), dtype=np.uint8))
    with pytest.raises(AuscultError, match="holds no images part"):
        part.load(tmp_path)


def test_the_last_earlier_image_is_that_of_the_same_patient() -> None:
    some = replace(STUDIES.rows([0, 0, 0, 2, 2, 4]), has_image=np.array([1, 0, 1, 0, 1, 1], dtype=np.bool_))
    assert with_image_before(some).tolist() == [-1, 0, 0, -1, -1, -1]
    weights = balanced_weights(STUDIES.plans)
    rare = STUDIES.plans.present[:, 1] == 1
    assert weights[rare].min() > weights[~rare].max() >= 1
