"""Small pictures with two findings that anybody can see: a round one on a side, and a bright band along the top."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.kinds import image_latent_flow
from synthetic.generators.networks import autoencoders, critics, flows_images
from synthetic.generators.plans import Plans, Rows
from synthetic.generators.studies import LinkedStudies, Pixels

FINDINGS = ("nodule", "band", "never")
EDGE = 32


def pictured(patients: int, *, seed: int = 1) -> LinkedStudies:
    """Patients with two studies each. ``nodule`` has a side and a zone, ``band`` has neither, ``never`` is in none."""
    rng = generator(seed, "pictured studies")
    n = 2 * patients
    plans = Plans.empty(FINDINGS, n)
    plans.present[:, :2] = rng.random((n, 2)) < (0.5, 0.3)
    plans.present[:, 2] = 0
    there = plans.present[:, 0] == 1
    plans.side[:, 0] = np.where(there, np.repeat(rng.integers(0, 2, patients), 2), -1)
    plans.zone[:, 0] = np.where(there, np.repeat(rng.integers(0, 2, patients), 2), -1)
    ids = [f"REAL-{row // 2:04d}" for row in range(n)]
    scanner = np.array(["dark", "light"], dtype=object)[rng.integers(0, 2, n)]
    has_image = rng.random(n) < 0.97
    images = drawn(plans, scanner, rng)
    images[~has_image] = 0
    return LinkedStudies(
        patient_ids=np.array(ids, dtype=object),
        study_ids=np.array([f"{name}-{row % 2}" for row, name in enumerate(ids)], dtype=object),
        times=np.arange(n).astype("datetime64[s]"),
        attributes={"scanner": scanner},
        labels={name: plans.present[:, place] for place, name in enumerate(FINDINGS)},
        plans=plans,
        images=images,
        has_image=has_image,
    )


def small_lessons(patch: pytest.MonkeyPatch, *, flow: int, autoencoder: int = 200, reader: int = 60) -> None:
    """Small batches and networks, and this many steps where the effort asks for fewer."""
    patch.setattr(critics, "BATCH", 32)
    patch.setattr(autoencoders, "BATCH", 16)
    patch.setattr(flows_images, "BATCH", 32)
    patch.setattr(flows_images, "FlowSize", partial(flows_images.FlowSize, fine=40, coarse=48))
    patch.setattr(image_latent_flow, "TRIED", 64)
    patch.setattr(image_latent_flow, "FOLLOWED", 5)
    patch.setattr(image_latent_flow, "GUIDANCES", (1.0,))
    patch.setattr(image_latent_flow, "LEAST_STEPS", {"reader": reader, "autoencoder": autoencoder, "flow": flow})


def drawn(plans: Plans, scanner: np.ndarray, rng: np.random.Generator) -> Pixels:
    """The patient's left is on the right of the picture."""
    axis = np.arange(EDGE) - (EDGE - 1) / 2
    y, x = axis[:, None], axis[None, :]
    across = np.where(plans.side[:, 0] == 0, 8, -8)[:, None, None] + rng.normal(0, 0.7, (len(plans), 1, 1))
    down = np.where(plans.zone[:, 0] == 0, -6, 8)[:, None, None] + rng.normal(0, 0.7, (len(plans), 1, 1))
    nodule = (plans.present[:, 0] == 1)[:, None, None] * np.exp(-((x - across) ** 2 + (y - down) ** 2) / 10)
    band = (plans.present[:, 1] == 1)[:, None, None] * (y < -11) * np.ones_like(x)
    base = np.where(scanner == "light", 70, 40)[:, None, None]
    picture = base + 110 * nodule + 60 * band + rng.normal(0, 6, (len(plans), EDGE, EDGE))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def with_plan(studies: LinkedStudies, rows: Rows, **words: str) -> LinkedStudies:
    """Some studies, all with the plan of these words; other findings are absent."""
    some = studies.rows(rows)
    columns = {name: [words.get(name, "none")] * len(some) for name in FINDINGS}
    return replace(some, plans=Plans.of_words(columns), has_image=np.ones(len(some), dtype=np.bool_))


def brightness(images: Pixels, side: str) -> float:
    """Mean grey of the quarter in which a nodule of this side and the lower zone lies."""
    half = slice(EDGE // 2, None) if side == "left" else slice(None, EDGE // 2)
    return float(images[:, EDGE // 2 :, half].mean())
