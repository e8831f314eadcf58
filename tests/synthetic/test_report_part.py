"""Reports by a language model: they tell their plan, see the image, hold no rare word and no person."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from core.digests import folder_manifest
from core.errors import AuscultError, CohortError
from synthetic.generators.consistency import report_faults
from synthetic.generators.kinds.report_checking import check_reports, verbatim_share, words_agree
from synthetic.generators.kinds.report_facts import shuffled_images
from synthetic.generators.kinds.report_language_model import LanguageModelReports
from synthetic.generators.kinds.report_words import RUN, learn_vocabulary, sentences_of, shared_runs, tokens_of
from synthetic.generators.networks import language_model
from synthetic.generators.parts import PARTS, Learning
from synthetic.generators.settings import GeneratorSettings, Privacy
from synthetic.generators.studies import LinkedStudies
from tests.synthetic.series_scene import FINDINGS, scene

SETTINGS = GeneratorSettings(seed=3, effort=0.18)
SHORT = replace(SETTINGS, effort=0.002)
PART = PARTS.get("report:language_model")


class Eye:
    """An image part that only looks: latents are the pixels."""

    def encode(self, images: np.ndarray) -> np.ndarray:
        return images[:, None].astype(np.float32) / 255


def learnt(studies: LinkedStudies, settings: GeneratorSettings = SETTINGS, **others: object) -> LanguageModelReports:
    made = PART.fit(studies, Learning(settings=settings), **others)
    assert isinstance(made, LanguageModelReports)
    return made


@pytest.fixture(scope="module")
def part() -> LanguageModelReports:
    studies = scene(400)
    few = np.array(
        [text if row % 5 == 0 else None for row, text in enumerate(studies.texts["indication"])], dtype=object
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(language_model, "ModelSize", partial(language_model.ModelSize, width=64, layers=2))
        return learnt(
            replace(studies, texts=studies.texts | {"indication": few}), image=Eye(), held_out=scene(150, seed=2)
        )


@pytest.fixture(scope="module")
def wish() -> LinkedStudies:
    """Studies of other patients, some of which are to have no report."""
    studies = scene(150, seed=5)
    asked = {name: np.array([None if text is None else "" for text in texts.tolist()], dtype=object)
             for name, texts in studies.texts.items()}  # fmt: skip
    return replace(studies, texts=asked | {"other": asked["indication"]})


def latents_of(studies: LinkedStudies) -> np.ndarray:
    assert studies.images is not None
    return Eye().encode(studies.images)


@pytest.fixture(scope="module")
def made(part: LanguageModelReports, wish: LinkedStudies) -> dict[str, np.ndarray]:
    return part.sample(wish, latents_of(wish), seed=4)


def test_texts_are_where_they_are_to_be(wish: LinkedStudies, made: dict[str, np.ndarray]) -> None:
    for name in ("reference", "indication"):
        there = np.array([text is not None for text in made[name]])
        assert (there == np.array([text is not None for text in wish.texts[name]])).all()
        assert all(made[name][there].tolist())
    assert not any(made["other"]), "a field that was never learnt stays empty"
    assert np.mean([text.endswith(" days.") for text in made["indication"] if text]) > 0.8


def test_lines_9_and_12_side_is_that_of_the_plan_and_no_report_contradicts_itself(
    wish: LinkedStudies, made: dict[str, np.ndarray]
) -> None:
    faults = report_faults(made["reference"].tolist(), wish.plans)
    assert faults.itself.mean() < 0.01
    assert faults.any.mean() < 0.03 and check_reports(made["reference"].tolist(), wish.plans).parts.mean() < 0.03
    agreed = words_agree(made["reference"].tolist(), wish.plans)["side"]
    assert agreed["share"] > 0.95 and agreed["n"] > 100
    # The same readers find what is wrong.
    other = replace(wish.plans, side=np.where(wish.plans.side >= 0, 1 - wish.plans.side, -1).astype(np.int8))
    assert words_agree(made["reference"].tolist(), other)["side"]["share"] < 0.05
    assert check_reports(made["reference"].tolist(), other).any.mean() > 0.5
    wrong = "No pleural effusion. Small right pleural effusion. No consolidation."
    assert check_reports([wrong] * len(wish), wish.plans).faults.mean() > 0.5


def test_line_10_the_image_of_another_study_changes_the_loss(part: LanguageModelReports, wish: LinkedStudies) -> None:
    told = part.facts["held_out"]["image"]
    assert told["plan hidden"]["other_image"] > told["plan hidden"]["own_image"] + 0.02
    assert told["plan told"]["other_image"] != told["plan told"]["own_image"]
    assert told["plan told"]["own_image"] < told["plan hidden"]["own_image"], "a plan tells more than its image"
    assert part.facts["plan_loss"]["last"] < 0.8 * part.facts["plan_loss"]["first"]
    prefix = part.examples(scene(30, seed=8), latents_of(scene(30, seed=8)))[0].prefix
    mixed = shuffled_images(prefix, 1)
    moved = np.any(mixed.regions != prefix.regions, axis=(1, 2))
    assert not moved[~prefix.has_image].any() and moved[prefix.has_image].mean() > 0.9


def test_facts_say_what_was_drawn_again_and_what_is_copied(part: LanguageModelReports) -> None:
    facts = part.facts["held_out"]
    assert facts["perplexity"]["reference"] < 3 and facts["faults"]["real"] == {"faults": 0.0, "parts": 0.0}
    assert facts["faults"]["last"]["faults"] <= facts["faults"]["first"]["faults"]
    assert facts["left"] <= facts["redrawn"] < 0.5 and facts["words"]["side"]["share"] > 0.9
    # Few different reports can be written here: line 13, what is shown is the excess over studies never seen.
    assert facts["verbatim"]["learnt"] > 0.5 and abs(facts["verbatim"]["excess"]) < 0.05
    assert verbatim_share(["A  b.", "c"], ["a b."]) == 0.5 and verbatim_share([], ["a"]) is None


def test_it_works_without_images_and_without_series_and_where_a_plan_is_unknown(wish: LinkedStudies) -> None:
    plain = replace(scene(100), images=None, has_image=np.zeros(200, dtype=np.bool_), series={}, attributes={})
    made = learnt(plain, SHORT, held_out=replace(scene(60, seed=2), series={}))
    assert not made.facts["with_images"] and made.facts["held_out"]["image"] is None
    one, other = made.sample(wish, None, seed=1), made.sample(wish, latents_of(wish), seed=1)
    assert (one["reference"] == other["reference"]).all()
    silent = replace(plain, plans=replace(plain.plans.rows(slice(None)), findings=("a", "b")))
    assert learnt(silent, SHORT).facts["held_out"] is None


def test_equal_seeds_make_equal_texts_and_saving_keeps_them(
    part: LanguageModelReports, wish: LinkedStudies, made: dict[str, np.ndarray], tmp_path: Path
) -> None:
    for name in ("one", "two", "three", "four", "five"):
        (tmp_path / name).mkdir()
    part.save(tmp_path / "one")
    again = PART.load(tmp_path / "one")
    again.save(tmp_path / "two")
    assert folder_manifest(tmp_path / "one") == folder_manifest(tmp_path / "two") and again.facts == part.facts
    second = again.sample(wish, latents_of(wish), seed=4)
    assert all((made[name] == second[name]).all() for name in made)
    assert (again.sample(wish, latents_of(wish), seed=5)["indication"] != made["indication"]).any()
    small = scene(60)
    for name, seed in (("three", 3), ("four", 3), ("five", 4)):
        learnt(small, replace(SHORT, seed=seed)).save(tmp_path / name)
    digests = [folder_manifest(tmp_path / name) for name in ("three", "four", "five")]
    assert digests[0] == digests[1] != digests[2]
    with pytest.raises(AuscultError, match="no reports that this version can read"):
        PART.load(tmp_path)


def test_line_15_a_word_of_few_patients_is_neither_learnt_nor_kept(tmp_path: Path) -> None:
    studies = scene(220)
    texts = studies.texts["reference"].copy()
    for row in range(20):
        texts[row] = f"Small left pleural effusion. Consolidation as told by Quixote. {'' if row % 2 else 'Brown.'}"
    made = learnt(replace(studies, texts={"reference": texts}), SHORT)
    made.save(tmp_path)
    saved = (tmp_path / "report.json").read_text()
    assert "Quixote" not in saved and "Brown" not in saved and '" pleural"' in saved
    assert made.facts["suppressed"]["words"] >= 2 and made.facts["suppressed"]["sentences"] == 30
    # A name that is also a common word stays out; at the start of a sentence a word may be large.
    told = ["The brown spot. Seen by Brown.", "A brown spot."] * 12
    words, left = learn_vocabulary([*told[:23], "Brown spot."], np.arange(24), rare_below=13)
    assert " Brown" not in words.tokens and left.sentences == 12 + 12 + 11
    assert words.decode(words.encode("The brown spot. Seen by Brown.")) == "" or "Brown" not in words.tokens
    text = "3.5 cm of fluid.\nIt's left-sided!  No change (see above)."
    assert "".join(tokens_of(text)) == text == "".join(sentences_of(text))


def test_what_cannot_be_learnt_says_why() -> None:
    studies = scene(220)
    empty = np.array([None, ""] * 220, dtype=object)
    assert PART.missing(replace(studies, texts={})) == "the cohort has no text"
    assert PART.missing(replace(studies, texts={"reference": empty})) == "no study has a text"
    assert PART.missing(studies) == ""
    unique = np.array([f"word{'x' * row}." for row in range(440)], dtype=object)
    with pytest.raises(AuscultError, match="fewer than 11 patients"):
        learnt(replace(studies, texts={"reference": unique}), SHORT)
    with pytest.raises(AuscultError, match="differential privacy") as caught:
        learnt(studies, replace(SHORT, privacy=Privacy(epsilon=1, delta=1e-6)))
    assert caught.value.column == "privacy"
    with pytest.raises(CohortError, match="1 of the texts") as stopped:
        texts = studies.texts["reference"].copy()
        texts[7] = "Discussed with Dr. Jane Quixote. No consolidation."
        learnt(replace(studies, texts={"reference": texts}), SHORT)
    assert (stopped.value.column, stopped.value.row) == ("text.reference", 8)
    assert "Quixote" not in str(stopped.value) and "a name after a title" in str(stopped.value)
    assert studies.plans.findings == FINDINGS


def test_only_runs_of_words_that_enough_patients_have_are_learnt() -> None:
    """Against a count by hand over every run of every text."""
    rng = np.random.default_rng(0)
    rows = [(*rng.integers(2, 5, rng.integers(3, 9)).tolist(), 1) for _ in range(300)]
    patients = rng.integers(0, 120, 300)
    owners: dict[tuple[int, ...], set[int]] = {}
    for row, patient in zip(rows, patients.tolist(), strict=True):
        whole = (0,) * (RUN - 1) + row
        for at in range(len(row)):
            owners.setdefault(whole[at : at + RUN], set()).add(patient)
    found = shared_runs(rows, patients, rare_below=7)
    wanted = np.zeros_like(found)
    for number, row in enumerate(rows):
        whole = (0,) * (RUN - 1) + row
        wanted[number, : len(row)] = [len(owners[whole[at : at + RUN]]) >= 7 for at in range(len(row))]
    assert (found == wanted).all() and 0.2 < found.mean() < 0.9
