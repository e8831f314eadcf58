"""A miniature of every part together, and how badly the parts explain studies that are given: what an attacker with the
weights in hand can compute."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from models_registry.cohorts import convert_cohort
from models_registry.cohorts.reader import open_cohort
from synthetic.generators.canaries import as_studies, canaries_of, with_canaries
from synthetic.generators.keeping import studies_digest
from synthetic.generators.linked import SHARES, Generator, load_generator, train_generator
from synthetic.generators.networks import language_model
from synthetic.generators.parts import PARTS, Learning, Wish
from synthetic.generators.reading import read_linked
from synthetic.generators.settings import GeneratorSettings
from synthetic.generators.studies import LinkedStudies, split_patients
from synthetic.simulator import SimulatorSettings, simulate_cohort
from tests.synthetic.image_scene import small_lessons

SETTINGS = GeneratorSettings(seed=2, image_size=32, effort=0.02, canaries=6)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> LinkedStudies:
    folder = tmp_path_factory.mktemp("real")
    settings = SimulatorSettings(patients=210, seed=4, image_size=32, studies_max=2)
    convert_cohort(simulate_cohort(settings, folder / "c.parquet"), mapping=None, destination=folder / "registered")
    return read_linked(open_cohort(folder / "registered"), image_size=32)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory, real: LinkedStudies) -> Generator:
    folder = tmp_path_factory.mktemp("losses")
    with pytest.MonkeyPatch.context() as patch:
        small_lessons(patch, flow=20, autoencoder=60, reader=20)
        train_generator(real, folder / "generator", SETTINGS, resume=folder / "work")
    return load_generator(folder / "generator")


def test_all_parts_make_patients_together_and_equal_seeds_equal_ones(generator: Generator, real: LinkedStudies) -> None:
    assert set(generator.parts) == {"tables", "series", "critic", "image", "report"}
    made = generator.sample(Wish(patients=12, attributes={"sex": "F"}), seed=3)
    assert len(made.studies.patients) == 12 and set(made.studies.attributes["sex"]) == {"F"}
    assert made.studies.images is not None and made.studies.images[made.studies.has_image].any()
    assert set(made.studies.series) == set(real.series) and set(made.studies.texts) == set(real.texts)
    assert set(made.flags) == {"image_unresolved", "report_unresolved"}
    again = generator.sample(Wish(patients=12, attributes={"sex": "F"}), seed=3)
    assert studies_digest(again.studies) == studies_digest(made.studies)


def test_every_part_that_can_tell_does_and_studies_that_lack_it_have_none(
    generator: Generator, real: LinkedStudies
) -> None:
    some = real.rows(np.arange(24))
    lacking = replace(some, has_image=some.has_image & (np.arange(24) != 3))
    found = generator.losses(lacking, seed=1)
    assert set(found) == {"image", "series", "report"}
    assert np.isnan(found["image"][3]) and np.isfinite(found["image"][lacking.has_image]).all()
    again = generator.losses(lacking, seed=1)
    assert all(np.array_equal(found[role], again[role], equal_nan=True) for role in found)
    alone = generator.losses(some.rows(np.arange(1)), seed=1)
    for role, values in alone.items():
        reach = 0.3 if role == "series" else 1e-3
        assert np.allclose(values[0], found[role][0], atol=reach, equal_nan=True), role


def test_texts_in_an_order_that_nobody_writes_are_explained_badly(generator: Generator, real: LinkedStudies) -> None:
    some = real.rows(np.flatnonzero([bool(text) for text in real.texts["reference"].tolist()])[:40])
    rng = np.random.default_rng(1)
    mixed = np.array(
        [" ".join(rng.permutation(text.rstrip(".").split()).tolist()) + "." for text in some.texts["reference"]],
        dtype=object,
    )
    own = generator.losses(some, seed=1)["report"]
    other = generator.losses(replace(some, texts=some.texts | {"reference": mixed}), seed=1)["report"]
    both = np.isfinite(own) & np.isfinite(other)
    assert both.sum() > 10 and own[both].mean() < other[both].mean() - 0.3


def test_canaries_have_a_loss_though_nothing_else_is_known(generator: Generator, real: LinkedStudies) -> None:
    learnt = split_patients(real, list(SHARES.values()), seed=SETTINGS.seed)[0]
    decoys = canaries_of(learnt, 5, rare_below=11, seed=9, purpose="decoys")
    assert len(decoys) == 5
    found = generator.losses(as_studies(real, decoys), seed=1)
    assert np.isfinite(found["report"]).all() and np.isnan(found["image"]).all()


def test_what_is_kept_explains_as_before(generator: Generator, real: LinkedStudies, tmp_path: Path) -> None:
    some = real.rows(np.arange(10))
    for role, part in generator.parts.items():
        if role not in ("image", "series", "report"):
            continue
        folder = tmp_path / role
        folder.mkdir()
        part.save(folder)
        kept = PARTS.get(f"{role}:{generator.body['parts'][role]}").load(folder)
        assert np.array_equal(part.losses(some, None, seed=1), kept.losses(some, None, seed=1), equal_nan=True), role


def test_a_text_longer_than_any_that_was_learnt_is_judged_by_its_beginning(
    generator: Generator, real: LinkedStudies
) -> None:
    some = real.rows(np.flatnonzero([bool(text) for text in real.texts["reference"].tolist()])[:4])
    texts = some.texts["reference"].copy()
    texts[0] = " ".join([str(text) for text in texts] * 20)
    texts[1] = "Zyxwv qwrtp."
    found = generator.losses(replace(some, texts=some.texts | {"reference": texts}), seed=1)["report"]
    assert np.isfinite(found[[0, 2, 3]]).all() and np.isnan(found[1]), "a text of unknown words has no loss"


def test_a_planted_canary_is_no_better_known_than_one_that_was_never_planted(real: LinkedStudies) -> None:
    """Canaries of common words in an order that only one patient has: no word of them is learnt after another."""
    planted, decoys = (
        canaries_of(real, 40, rare_below=11, seed=1, purpose=name) for name in ("canaries", "decoys")
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language_model, "ModelSize", partial(language_model.ModelSize, width=64, layers=2))
        learning = Learning(settings=replace(SETTINGS, effort=0.2))
        made = PARTS.get("report:language_model").fit(with_canaries(real, planted), learning)
    own, others = (made.losses(as_studies(real, texts), None, seed=1) for texts in (planted, decoys))
    assert np.isfinite(own).all() and np.isfinite(others).all()
    assert 0.3 < (own[:, None] < others[None]).mean() < 0.7, "1 where each canary is better known than each decoy"
    assert 0.5 < made.facts["tokens_learnt"] < 1
