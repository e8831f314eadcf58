"""Copies of images and texts, canaries, and weights that know what they have seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import pytest

from synthetic.generators.canaries import WORDS, canaries_of
from synthetic.generators.studies import LinkedStudies
from synthetic.suites import privacy_images
from synthetic.suites.nearest import nearest
from synthetic.suites.privacy import audit_privacy
from synthetic.suites.privacy_arms import arms_of
from synthetic.suites.privacy_images import image_attack
from synthetic.suites.privacy_texts import GRAM, repeated, text_figures
from synthetic.suites.privacy_weights import exposure_figure, weights_figures
from synthetic.suites.rows import encode
from tests.synthetic.privacy_scene import copied, patients, scene, verdicts


class Fake:
    """A generator that explains what it has by heart better than the rest."""

    def __init__(self, known: Sequence[str] = (), *, gain: float = 3.0) -> None:
        self.known, self.gain = set(known), gain

    def losses(self, studies: LinkedStudies, *, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([seed, len(studies)] + [ord(c) for c in str(studies.texts["reference"][0])[:20]])
        patients_, texts = studies.patient_ids.tolist(), studies.texts["reference"].tolist()
        by_heart = [p in self.known or any(c in t for c in self.known) for p, t in zip(patients_, texts, strict=True)]
        report = rng.standard_normal(len(studies)) - self.gain * np.array(by_heart)
        image = np.where(rng.random(len(studies)) < 0.1, math.nan, rng.standard_normal(len(studies)))
        return {"report": report, "image": image}


def test_weights_that_know_their_patients_are_found_by_part() -> None:
    sets = scene(800)
    arms = arms_of(sets, attacks=2000)
    found = {(item.metric, item.of): item for item in weights_figures(arms, Fake(sets.learnt.patients))}
    assert verdicts([found["weights_auc", "report"]]) == {"weights_auc": "fail"}
    assert verdicts([found["weights_tpr", "report"]]) == {"weights_tpr": "fail"}
    assert verdicts([found["weights_auc", "image"]]) == {"weights_auc": "pass"}
    assert set(verdicts(weights_figures(arms, Fake())).values()) <= {"pass", "insufficient"}
    with pytest.raises(ValueError, match="have losses of shape"):
        weights_figures(arms, type("Wrong", (), {"losses": lambda self, s, seed: {"report": np.zeros(3)}})())


def test_canaries_that_were_planted_are_found_in_texts_and_in_weights() -> None:
    sets = scene(200)
    texts = sets.learnt.texts["reference"] + " The lungs and both bases lie within normal limits for this age."
    sets = replace(sets, learnt=replace(sets.learnt, texts={"reference": texts}))
    planted = canaries_of(sets.learnt, 60, rare_below=2, seed=5)
    decoys = canaries_of(sets.learnt, 60, rare_below=2, seed=5, purpose="decoys")
    assert len({*planted, *decoys}) == 120 and all(len(text.split()) == WORDS for text in planted)
    texts = sets.learnt.texts["reference"].copy()
    texts[:60] = [f"{text} {said}" for text, said in zip(texts[:60], planted, strict=True)]
    learnt = replace(sets.learnt, texts={**sets.learnt.texts, "reference": texts})
    sets = replace(sets, learnt=learnt)
    arms = arms_of(sets, attacks=100)
    known = exposure_figure(arms, Fake(planted), planted, decoys)
    assert verdicts([known]) == {"canary_exposure": "fail"} and known.detail["exposure_bits"] > 4
    unknown = exposure_figure(arms, Fake(), planted, decoys)
    assert verdicts([unknown])["canary_exposure"] != "fail" and unknown.detail["exposure_bits"] < 2
    told = {"canaries": planted, "decoys": decoys, "attacks": 50}
    clean = audit_privacy(sets, generator=Fake(), **told)
    leaky = audit_privacy(replace(sets, synthetic=copied(learnt, sets.synthetic, 0.5)), generator=None, **told)
    assert verdicts(clean)["canaries_extracted"] == "pass"
    assert verdicts(leaky)["canaries_extracted"] == "fail"
    assert canaries_of(sets.learnt, 5, rare_below=10_000, seed=1) == [], "too few words are common"


def test_line_13_what_texts_repeat_is_shown_less_what_they_repeat_of_patients_held_out() -> None:
    sets = scene(600)

    def told(studies: LinkedStudies) -> LinkedStudies:
        start = [text.partition(" The picture")[0] + " The heart is of normal size and the bones are intact."
                 for text in studies.texts["reference"].tolist()]  # fmt: skip
        return replace(studies, texts={"reference": np.array(start, dtype=object)})

    names = ("learnt", "readers", "held_out", "synthetic")
    alike = replace(sets, **{name: told(getattr(sets, name)) for name in names})
    found = {item.metric: item for item in text_figures(arms_of(alike, attacks=10))}
    assert found["text_copies"].detail["of_learnt"] > 0.99 and found["text_copies"].value == 0.0
    assert set(verdicts(found.values()).values()) == {"pass"}
    leaky = replace(sets, synthetic=copied(sets.learnt, sets.synthetic, 0.2))
    assert set(verdicts(text_figures(arms_of(leaky, attacks=10))).values()) == {"fail"}
    short = replace(sets, synthetic=replace(sets.synthetic, texts={}))
    assert {item.reason for item in text_figures(arms_of(short, attacks=10))} == {"no text is both learnt and made"}


def test_longest_runs_are_those_of_difflib_and_runs_of_13_words_are_counted() -> None:
    rng = np.random.default_rng(1)
    texts, bank = ([rng.choice(list("abc"), rng.integers(1, 12)).tolist() for _ in range(n)] for n in (40, 6))
    bank.append(texts[0])
    found = repeated(texts, bank, rng)
    for place, text in enumerate(texts):
        oracle = max(SequenceMatcher(None, text, o, autojunk=False).find_longest_match().size for o in bank)
        assert (found.longest[place], found.whole[place]) == (oracle, text in bank)
    words = [str(place) for place in range(40)]
    shifted = [[*words[5:25], "x", *words[25:]], [*words[:12], "x"], words]
    grams = repeated(shifted, [words], rng).grams
    assert grams.tolist() == [20 - GRAM + 1 + 15 - GRAM + 1, 0, 40 - GRAM + 1]


def test_images_that_were_moved_and_made_noisy_are_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy_images, "STEPS", 40)
    sets = scene(200, pictures=32)

    def smooth(studies: LinkedStudies) -> LinkedStudies:
        small = studies.images[:, :8, :8]
        return replace(studies, images=np.kron(small, np.ones((1, 4, 4), dtype=np.uint8)))

    sets = replace(sets, **{n: smooth(getattr(sets, n)) for n in ("learnt", "readers", "held_out", "synthetic")})
    arms = arms_of(sets, attacks=10)
    attack = image_attack(arms)
    assert verdicts(attack(arms))["image_copies"] != "fail"
    made = copied(sets.learnt, sets.synthetic, 0.3)
    noise = np.random.default_rng(1).normal(0, 12, made.images.shape)
    changed = np.clip(0.9 * np.roll(made.images, 1, axis=2) + noise, 0, 255).astype(np.uint8)
    leaky = arms_of(replace(sets, synthetic=replace(made, images=changed)), attacks=10)
    found = attack(leaky)
    assert verdicts(found) == {"image_copies": "fail"} and found[0].value == pytest.approx(0.3, abs=0.05)
    without = replace(sets, synthetic=replace(sets.synthetic, images=None))
    assert image_attack(arms_of(without, attacks=10))(arms)[0].reason == "not all sets have images"


def test_distances_are_gower_s_and_equal_rows_are_0_apart() -> None:
    sets = [patients(40, 1), patients(30, 2)]
    sets[0].attributes["weight"][::7] = None
    (one, two), left_out = encode(sets, real=(0, 1))
    assert not left_out and len(one.names) == 14
    found, place = nearest(one, two)

    def apart(row: int, other: int) -> Any:
        numbers = np.abs(one.numbers[row] - two.numbers[other]).sum() + (one.missing[row] != two.missing[other]).sum()
        return (numbers + (one.codes[row] != two.codes[other]).sum()) / len(one.names)

    table = np.array([[apart(row, other) for other in range(len(two))] for row in range(len(one))])
    assert found == pytest.approx(table.min(axis=1), abs=1e-5)
    assert table[np.arange(len(one)), place] == pytest.approx(table.min(axis=1), abs=1e-5)
    itself, same = nearest(one, one)
    assert not itself.any() and same.tolist() == list(range(len(one)))
