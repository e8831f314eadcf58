"""Studies with series of known laws, to learn from: what findings, patients and time do to readings is written here."""

from __future__ import annotations

import numpy as np

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.plans import SIDES, SIZES, Plans
from synthetic.generators.studies import LinkedStudies, Readings

FINDINGS = ("effusion", "consolidation")
WORDS = {"effusion": "pleural effusion", "consolidation": "consolidation"}


def scene(patients: int, *, seed: int = 1) -> LinkedStudies:
    """Patients with two studies each. ``crp``: logarithms rise by .8 and 1.2 with the findings and share a level over a
    patient's studies; ``rate``: whole numbers, an hourly autoregression of .6 around a level of the study."""
    rng = generator(seed, "series scene")
    n = 2 * patients
    plans = _plans(n, rng)
    present = plans.present
    own = np.repeat(rng.standard_normal(patients), 2)
    names = np.repeat([f"REAL-{seed}-{number:04d}" for number in range(patients)], 2)
    logs = 1.5 + present @ np.array([0.8, 1.2]) + 0.6 * own + 0.3 * rng.standard_normal(n)
    return LinkedStudies(
        patient_ids=names.astype(object),
        study_ids=np.array([f"{name}-{row % 2}" for row, name in enumerate(names)], dtype=object),
        times=np.arange(n).astype("datetime64[s]"),
        attributes={
            "sex": np.repeat(rng.choice(np.array(["F", "M"], dtype=object), patients), 2),
            "age": np.repeat(rng.integers(30, 90, patients), 2).astype(object),
        },
        labels={name: present[:, place] for place, name in enumerate(FINDINGS)},
        plans=plans,
        series={"crp": _crp(logs, rng), "rate": _rate(present, rng), "never": [None] * n},
        texts={"reference": _reports(plans, rng), "indication": _indications(present, rng)},
        images=_images(plans, rng),
        has_image=rng.random(n) > 0.1,
    )


def _plans(n: int, rng: np.random.Generator) -> Plans:
    present = (rng.random((n, 2)) < 0.4).astype(np.int8)
    made = Plans.empty(FINDINGS, n)
    made.present[:] = present
    made.side[:] = np.where(present == 1, rng.integers(0, 2, (n, 2)), -1)
    made.size[:] = np.where(present == 1, rng.integers(0, 3, (n, 2)), -1)
    return made


def _crp(logs: np.ndarray, rng: np.random.Generator) -> Readings:
    made: Readings = []
    for level in logs:
        count = int(rng.integers(1, 5))
        hours = -np.sort(rng.choice(720, count, replace=False))[::-1] / 10
        values = np.round(np.exp(level + 0.2 * rng.standard_normal(count)), 1)
        made.append(np.stack([hours, values], axis=1) if rng.random() > 0.1 else None)
    return made


def _rate(present: np.ndarray, rng: np.random.Generator) -> Readings:
    made: Readings = []
    for row in present:
        count = int(rng.integers(4, 9))
        noise = rng.standard_normal(count)
        for place in range(1, count):
            noise[place] = 0.6 * noise[place - 1] + 0.8 * noise[place]
        values = np.round(75 + 4 * row[0] + 4 * rng.standard_normal() + 6 * noise)
        made.append(np.stack([np.arange(count) - count + 1.0, values], axis=1))
    return made


def _reports(plans: Plans, rng: np.random.Generator) -> np.ndarray:
    def said(row: int, place: int) -> str:
        word = WORDS[FINDINGS[place]]
        if not plans.present[row, place]:
            return f"No {word}."
        size, side = SIZES[plans.size[row, place]], SIDES[plans.side[row, place]]
        return f"{size.capitalize()} {side} {word}."

    texts = [f"{said(row, 0)} {said(row, 1)}" for row in range(len(plans))]
    return np.array([None if rng.random() < 0.05 else text for text in texts], dtype=object)


def _indications(present: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    days = rng.integers(1, 5, len(present))
    words = np.where(present[:, 1] == 1, "Fever", "Cough").tolist()
    return np.array([f"{word} for {day} days." for word, day in zip(words, days.tolist(), strict=True)], dtype=object)


def _images(plans: Plans, rng: np.random.Generator) -> np.ndarray:
    """8 x 8: each finding is a bright row on its side."""
    made = rng.integers(0, 60, (len(plans), 8, 8))
    for place, rows in enumerate((slice(6, 8), slice(0, 3))):
        for side, columns in enumerate((slice(0, 4), slice(4, 8))):
            shown = (plans.present[:, place] == 1) & (plans.side[:, place] == side)
            made[shown, rows, columns] += 120
    return made.astype(np.uint8)


def asked(studies: LinkedStudies) -> dict[str, Readings]:
    """The series of studies as the tables part writes them: NaN where readings are to be."""
    return {
        name: [None if item is None else np.full_like(item, np.nan) for item in values]
        for name, values in studies.series.items()
    }
