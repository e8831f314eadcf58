"""What joins the parts of a generator: order, interruption, rejection in strata, keys, digests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import AuscultError, CohortError
from synthetic.generators.keeping import studies_digest
from synthetic.generators.linked import AT_ONCE, Generator, load_generator, train_generator
from synthetic.generators.parts import Wish
from synthetic.generators.rejection import strata_of
from synthetic.generators.settings import GeneratorSettings
from tests.synthetic import fake_parts
from tests.synthetic.fake_parts import LEARNT, NAMES, WRONG, studies_of

SETTINGS = GeneratorSettings(seed=7, parts=NAMES)


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    before = dict(WRONG)
    LEARNT.clear()
    yield
    WRONG.update(before)


def trained(folder: Path, settings: GeneratorSettings = SETTINGS, patients: int = 400) -> Generator:
    return train_generator(studies_of(patients), folder / "generator", settings, resume=folder / "work")


def test_what_was_finished_is_not_learnt_again(tmp_path: Path) -> None:
    WRONG["stop"] = "report"
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path)
    assert not (tmp_path / "generator").exists()
    WRONG["stop"] = ""
    first = trained(tmp_path)
    assert LEARNT == {"tables": 1, "critic": 1, "image": 1, "report": 2}
    curves = [json.loads(line) for line in (tmp_path / "work" / "curves.jsonl").read_text().splitlines()]
    assert [item["curve"] for item in curves][-1] == "report.loss" and curves[0]["value"] == 0.5
    # Other settings, or other studies, learn everything anew.
    other = train_generator(
        studies_of(400), tmp_path / "other", replace(SETTINGS, effort=0.5), resume=tmp_path / "work"
    )  # fmt: skip
    assert LEARNT["tables"] == 2 and other.digest != first.digest
    again = train_generator(studies_of(400), tmp_path / "again", SETTINGS, resume=tmp_path / "new")
    assert again.digest == first.digest == load_generator(tmp_path / "generator").digest


def test_a_loss_that_runs_away_and_too_few_patients_stop_it(tmp_path: Path) -> None:
    WRONG["loss"] = float("nan")
    with pytest.raises(AuscultError, match=r"'tables\.loss' ran away: at step 1") as caught:
        trained(tmp_path)
    assert caught.value.remedy and not (tmp_path / "generator").exists()
    with pytest.raises(CohortError, match="199 patients; a generator learns from at least 200"):
        trained(tmp_path / "few", patients=199)


def test_what_the_data_cannot_teach_is_left_out_by_name(tmp_path: Path) -> None:
    blind = replace(studies_of(300), images=None, has_image=np.zeros(600, dtype=np.bool_), texts={})
    made = train_generator(blind, tmp_path / "g", replace(SETTINGS, parts={"tables": "fake"}), resume=tmp_path / "w")
    assert set(made.parts) == {"tables"}
    assert made.body["left_out"]["report"] == "the settings name no part for it"
    known = train_generator(blind, tmp_path / "h", replace(SETTINGS, parts=NAMES | {"report": "fake"}), resume=tmp_path)
    assert known.body["left_out"]["image"] == "no study has an image"
    with pytest.raises(AuscultError, match="part of a generator called 'tables:unknown'"):
        trained(tmp_path / "u", replace(SETTINGS, parts={"tables": "unknown"}))


def test_patients_of_learning_critic_and_gates_are_disjoint(tmp_path: Path) -> None:
    body = trained(tmp_path).body
    assert sum(body["patients"].values()) == 400 and min(body["patients"].values()) == 60


def test_equal_seeds_make_equal_patients_however_the_work_is_shared_out(tmp_path: Path) -> None:
    generator = trained(tmp_path)
    wish = Wish(patients=AT_ONCE + 50)
    whole = generator.sample(wish, seed=3)
    second = load_generator(tmp_path / "generator").share(wish, 1, seed=3)
    own = whole.studies.rows(np.arange(2 * AT_ONCE, len(whole.studies)))
    assert studies_digest(own) == studies_digest(second.studies)
    assert studies_digest(whole.studies) == studies_digest(generator.sample(wish, seed=3).studies)
    assert studies_digest(whole.studies) != studies_digest(generator.sample(wish, seed=4).studies)


def test_line_1_synthetic_keys_never_meet_real_ones(tmp_path: Path) -> None:
    generator = trained(tmp_path)
    made = generator.sample(Wish(patients=300), seed=1).studies
    assert len(made.patients) == 300 and len(set(made.study_ids)) == len(made)
    assert all(re.fullmatch(rf"SYN-{generator.digest[:8]}-[0-9a-f]{{6}}-1-P\d{{6}}", name) for name in made.patients)
    others = generator.sample(Wish(patients=300, attributes={"sex": "F"}), seed=1).studies
    assert not set(made.patients) & set(others.patients), "another wish with the same seed makes others"
    assert not set(made.patients) & set(studies_of(400).patients)


def test_line_11_rejection_keeps_every_rate_and_flags_what_stays(tmp_path: Path) -> None:
    """Images are drawn again, plans never: each finding and group is as often there as the tables part drew it."""
    generator = trained(tmp_path)
    made = generator.sample(Wish(patients=500), seed=5)
    drafts = fake_parts.Tables(7)
    with_images = made.studies
    assert with_images.images is not None
    agreement = fake_parts.Critic(7).agreement(with_images.images, with_images.plans)
    assert np.mean(agreement < -1) == pytest.approx(0.3**4, abs=0.01), "of a third that is wrong, four draws leave 1 %"
    assert (made.flags["image_unresolved"] == (agreement < -1)).all()
    assert sum(item.n for item in made.acceptance) == len(with_images)
    assert sum(item.first for item in made.acceptance) / len(with_images) == pytest.approx(0.7, abs=0.05)
    strata, counts = np.unique(strata_of(with_images.plans).astype(str), return_counts=True)
    assert {item.stratum: item.n for item in made.acceptance} == dict(
        zip(strata.tolist(), counts.tolist(), strict=True)
    )
    plain = replace(SETTINGS, parts={name: part for name, part in NAMES.items() if name != "critic"})
    unjudged = train_generator(studies_of(400), tmp_path / "plain", plain, resume=tmp_path / "p")
    without = unjudged.sample(Wish(patients=500), seed=5)
    assert (without.studies.plans.present == with_images.plans.present).all() and without.acceptance == ()
    assert not without.flags["image_unresolved"].any() and drafts.facts == {"number": 7}


def test_a_finding_that_images_never_show_is_told_by_its_acceptance(tmp_path: Path) -> None:
    WRONG["finding"] = 1.0
    made = trained(tmp_path).sample(Wish(patients=300), seed=2)
    rate = {item.stratum: item.accepted / item.n for item in made.acceptance}
    assert rate["pneumothorax"] < 0.2 < 0.95 < rate["effusion"]
    lost = made.flags["image_unresolved"]
    assert lost[made.studies.plans.present[:, 1] == 1].mean() > 0.8
    assert lost[made.studies.plans.present[:, 1] == 0].mean() < 0.05


def test_line_12_a_report_against_its_plan_is_flagged(tmp_path: Path) -> None:
    made = trained(tmp_path).sample(Wish(patients=AT_ONCE * 2), seed=2)
    assert np.flatnonzero(made.flags["report_unresolved"]).tolist() == [0, 2 * AT_ONCE]


def test_a_report_that_names_a_person_stops_it_before_anything_is_learnt(tmp_path: Path) -> None:
    studies = studies_of(220)
    texts = studies.texts["reference"].copy()
    texts[7] = "Seen with Dr. Miller on 12/03/2024. No effusion."
    named = replace(studies, texts={"reference": texts})
    with pytest.raises(CohortError, match="1 of the texts look as if they named a person") as caught:
        train_generator(named, tmp_path / "generator", SETTINGS, resume=tmp_path / "work")
    assert (caught.value.column, caught.value.row) == ("text.reference", 8) and "Miller" not in str(caught.value)
    assert not LEARNT and not (tmp_path / "generator").exists()
