"""A critic that reads plans from images: sides are told apart, and what was never told is never claimed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import AuscultError
from synthetic.generators.kinds import critic_cnn
from synthetic.generators.kinds.critic_cnn import CnnCritic, CnnCriticPart
from synthetic.generators.kinds.critic_reading import agreement_of
from synthetic.generators.parts import PARTS, Learning, Reading
from synthetic.generators.plans import Plans
from synthetic.generators.settings import GeneratorSettings, Privacy
from tests.synthetic.image_scene import EDGE, pictured, with_plan

SETTINGS = GeneratorSettings(seed=3, image_size=EDGE, effort=0.15)
STUDIES, OTHERS = pictured(200), pictured(80, seed=2)


@pytest.fixture(scope="module")
def critic() -> CnnCritic:
    return CnnCriticPart().fit(STUDIES, Learning(settings=SETTINGS), held_out=OTHERS)


def files(folder: Path, critic: CnnCritic) -> dict[str, bytes]:
    folder.mkdir()
    critic.save(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_it_reads_findings_sides_and_zones_of_patients_it_never_saw(critic: CnnCritic) -> None:
    seen = critic.facts["held_out"]
    assert seen["nodule"]["auroc"] > 0.9 and seen["band"]["auroc"] > 0.9
    assert seen["nodule"]["side"]["right"] > 0.9 and seen["nodule"]["zone"]["right"] > 0.9
    assert seen["never"]["auroc"] is None and seen["never"]["reason"]
    assert seen["band"]["side"]["right"] is None and seen["band"]["side"]["reason"]
    # A mirrored image shows the other side: the critic must see it as such.
    some = OTHERS.rows(OTHERS.has_image & (OTHERS.plans.side[:, 0] >= 0))
    assert some.images is not None
    mirrored = critic.read(some.images[:, :, ::-1].copy())
    assert (np.nan_to_num(mirrored.side[:, 0]).argmax(axis=1) != some.plans.side[:, 0]).mean() > 0.9
    assert (
        critic.agreement(some.images, some.plans).mean()
        > critic.agreement(some.images[:, :, ::-1], some.plans).mean() + 0.5
    )


def test_what_was_never_told_is_nan(critic: CnnCritic) -> None:
    assert OTHERS.images is not None
    read = critic.read(OTHERS.images[:5])
    assert np.isnan(read.present[:, 2]).all() and np.isfinite(read.present[:, :2]).all()
    assert np.isnan(read.size).all() and np.isnan(read.side[:, 1]).all()
    assert np.isnan(read.side[:, 0, 2]).all(), "nobody was told of both sides"
    assert read.side[:, 0, :2].sum(axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert np.isnan(critic.agreement(OTHERS.images[:5], Plans.empty(("nodule", "unheard of"), 5))).all()


def test_agreement_is_the_mean_log_probability_of_what_is_told() -> None:
    one = np.array([[[0.25, 0.75, np.nan]]], dtype=np.float32)
    nothing = np.full((1, 1, 3), np.nan, dtype=np.float32)
    reading = Reading(
        findings=("a",), present=np.array([[0.8]], dtype=np.float32), side=one, zone=nothing, size=nothing
    )  # fmt: skip
    expected = {
        "right": np.log([0.8, 0.75]).mean(), "left upper": np.log([0.8, 0.25]).mean(), "both": np.log(0.8),
        "none": np.log(0.2), "unknown": np.nan,
    }  # fmt: skip
    for words, value in expected.items():
        found = agreement_of(reading, Plans.of_words({"b": ["none"], "a": [words]}))
        assert found == pytest.approx([value], abs=1e-6, nan_ok=True), words


def test_equal_seeds_give_equal_bytes_and_what_is_loaded_reads_the_same(
    critic: CnnCritic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(critic_cnn, "LEAST_STEPS", 10)
    short = replace(SETTINGS, effort=0.01)
    learnt = [CnnCriticPart().fit(STUDIES, Learning(settings=short), held_out=OTHERS) for _ in range(2)]
    assert files(tmp_path / "a", learnt[0]) == files(tmp_path / "b", learnt[1])
    other = CnnCriticPart().fit(STUDIES, Learning(settings=replace(short, seed=4)), held_out=OTHERS)
    assert files(tmp_path / "c", other) != files(tmp_path / "d", learnt[0])
    files(tmp_path / "e", critic)
    again = PARTS.get("critic:cnn").load(tmp_path / "e")
    assert OTHERS.images is not None and again.facts == critic.facts
    whole = critic.agreement(OTHERS.images, OTHERS.plans)
    assert (again.agreement(OTHERS.images[:7], OTHERS.plans.rows(slice(0, 7))) == whole[:7]).all()


def test_what_it_cannot_do_it_says(critic: CnnCritic, tmp_path: Path) -> None:
    part = CnnCriticPart()
    assert part.missing(STUDIES) == "" and part.missing(replace(STUDIES, images=None)) == "no study has an image"
    assert "no finding is told" in part.missing(with_plan(STUDIES, slice(0, 50), nodule="left"))
    private = replace(SETTINGS, privacy=Privacy(epsilon=4, delta=1e-5))
    with pytest.raises(AuscultError, match="differential privacy") as caught:
        part.fit(STUDIES, Learning(settings=private))
    assert caught.value.column == "privacy"
    with pytest.raises(AuscultError, match="64, 64"):
        critic.read(np.zeros((1, 64, 64), dtype=np.uint8))
    with pytest.raises(AuscultError, match="holds no critic"):
        part.load(tmp_path)
