"""Parts of a generator that learn nothing and make simple things, to try what joins them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.parts import PARTS, Learning, Wish
from synthetic.generators.plans import Plans
from synthetic.generators.studies import LinkedStudies

FINDINGS = ("effusion", "pneumothorax")
SIZE = 8
LEARNT: Counter[str] = Counter()
"""How often each part was fitted."""
WRONG = {"share": 0.3, "finding": 0.0, "loss": 0.5, "stop": ""}
"""Share of images that show nothing of their plan; of those with the second finding; the loss that is told; where a
training is interrupted."""


def studies_of(patients: int, *, seed: int = 1) -> LinkedStudies:
    """Patients with two studies each; the left half of an image is bright with the first finding, the right with the
    second."""
    rng = generator(seed, "fake studies")
    n = 2 * patients
    present = (rng.random((n, 2)) < 0.4).astype(np.int8)
    plans = replace(Plans.empty(FINDINGS, n), present=present)
    ids = [f"REAL-{row // 2:04d}" for row in range(n)]
    return LinkedStudies(
        patient_ids=np.array(ids, dtype=object),
        study_ids=np.array([f"{name}-{row % 2}" for row, name in enumerate(ids)], dtype=object),
        times=np.arange(n).astype("datetime64[s]"),
        attributes={"sex": np.array(["F", "M"], dtype=object)[np.repeat(rng.integers(0, 2, patients), 2)]},
        labels={name: present[:, place] for place, name in enumerate(FINDINGS)},
        plans=plans,
        texts={"reference": np.array([report_of(row) for row in present], dtype=object)},
        images=picture_of(present, rng),
        has_image=np.ones(n, dtype=np.bool_),
    )


def picture_of(present: Any, rng: np.random.Generator) -> Any:
    found = rng.integers(0, 60, (len(present), SIZE, SIZE)).astype(np.uint8)
    found[:, :, : SIZE // 2] += (120 * present[:, 0])[:, None, None].astype(np.uint8)
    found[:, :, SIZE // 2 :] += (120 * present[:, 1])[:, None, None].astype(np.uint8)
    return found


def report_of(present: Any) -> str:
    words = ("pleural effusion", "pneumothorax")
    return " ".join(f"Small {w}." if there else f"No {w}." for w, there in zip(words, present, strict=True))


class Kept:
    """What every fake part keeps: a number that is drawn in training."""

    def __init__(self, number: int) -> None:
        self.number, self.facts = number, {"number": number}

    def save(self, folder: Path) -> None:
        (folder / "part.json").write_text(json.dumps(self.number))


class Tables(Kept):
    def sample(self, wish: Wish, *, seed: int) -> LinkedStudies:
        made = studies_of(wish.patients, seed=seed % 1_000_003 + self.number)
        return replace(made, images=None, texts={})


class Images(Kept):
    def sample(self, studies: LinkedStudies, *, seed: int) -> Any:
        rng = generator(seed, "fake images")
        present = studies.plans.present.copy()
        wrong = rng.random(len(present)) < WRONG["share"]
        wrong |= (present[:, 1] == 1) & (rng.random(len(present)) < WRONG["finding"])
        present[wrong] = 1 - present[wrong]
        return picture_of(present, rng)

    def encode(self, images: Any) -> Any:
        return images.reshape(len(images), 1, *images.shape[1:]).astype(np.float32)


class Critic(Kept):
    def agreement(self, images: Any, plans: Plans) -> Any:
        halves = [images[:, :, : SIZE // 2], images[:, :, SIZE // 2 :]]
        seen = np.stack([half.mean(axis=(1, 2)) > 80 for half in halves], axis=1)
        return np.where((seen == (plans.present == 1)).all(axis=1), -0.1, -3.0).astype(np.float32)


class Reports(Kept):
    def sample(self, studies: LinkedStudies, latents: Any, *, seed: int) -> Any:
        assert latents is not None and len(latents) == len(studies)
        told = [report_of(row) for row in studies.plans.present]
        told[0] = report_of(1 - studies.plans.present[0])
        return {"reference": np.array(told, dtype=object)}


class Fake:
    """How one is made."""

    def __init__(self, role: str, made: Any) -> None:
        self.role, self.made = role, made

    def missing(self, studies: LinkedStudies) -> str:
        return "no study has an image" if self.role in ("image", "critic") and studies.images is None else ""

    def fit(self, studies: LinkedStudies, learning: Learning, **others: Any) -> Any:
        assert not set(studies.patients) & set(others["held_out"].patients)
        LEARNT[self.role] += 1
        learning.tell(0.5, "half")
        learning.log(f"{self.role}.loss", 1, float(WRONG["loss"]))
        if WRONG["stop"] == self.role:
            raise KeyboardInterrupt
        return self.made(learning.settings.seed)

    def load(self, folder: Path) -> Any:
        return self.made(json.loads((folder / "part.json").read_text()))


for _role, _made in {"tables": Tables, "image": Images, "critic": Critic, "report": Reports}.items():
    PARTS.register(f"{_role}:fake")(Fake(_role, _made))
NAMES = dict.fromkeys(("tables", "image", "critic", "report"), "fake")
