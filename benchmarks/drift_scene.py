"""A simulated hospital whose patients change when they are told to, read as a monitor's windows are.

One study of each patient: sex, site, age, C-reactive protein (missing for some), ward, scanner, which modalities there
are, an embedding of the image, a finding with the model's score. Each drift has a size from 0 (nothing) to 1 (all of
it); the docstring of ``Drifts`` says what that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.engine import Protocol, ShardTable
from evaluation.engine.drift.frame import DriftFrame, fit_frame
from evaluation.engine.drift.records import Family, Shape, StreamSpec, StudyStreams
from evaluation.engine.drift.sketch import DriftSketch

DIMENSION = 16
LOADINGS = np.linspace(2.0, 0.5, DIMENSION)
WARDS, WARD_SHARES = np.array(["intake", "surgery", "cardiology", "oncology"], dtype=object), (0.45, 0.3, 0.2, 0.05)
SPECS = (
    StreamSpec(name="age", family=Family.NUMERIC, shape=Shape.NUMBER, title="Age", modality="age", unit="a"),
    StreamSpec(
        name="crp", family=Family.NUMERIC, shape=Shape.NUMBER, title="C-reactive protein", modality="crp", unit="mg/L"
    ),
    StreamSpec(name="ward", family=Family.CATEGORICAL, shape=Shape.CATEGORY, title="Ward", modality="ward"),
    StreamSpec(name="scanner", family=Family.CATEGORICAL, shape=Shape.CATEGORY, title="Scanner", modality="scanner"),
    StreamSpec(name="mask", family=Family.MASK, shape=Shape.CATEGORY, title="Modalities", modality="mask"),
    StreamSpec(name="image:embedding", family=Family.IMAGE, shape=Shape.VECTOR, title="Image", modality="image"),
    *(
        StreamSpec(name=f"{name}.finding", family=family, shape=Shape.SCORED, title=name, modality="score.finding")
        for name, family in {
            "score": Family.PREDICTION,
            "label": Family.LABEL,
            "estimated": Family.ESTIMATED,
            "performance": Family.PERFORMANCE,
            "concept": Family.CONCEPT,
        }.items()
    ),
)


@dataclass(frozen=True, kw_only=True)
class Drifts:
    """How large each drift is, 0 to 1.

    Attributes:
        prevalence: Share of patients with the finding rises from .15 by this much of .85.
        noise: Standard deviations of noise that is added to the embedding, times 3, and to the score, times 1.
        unit: Share of patients whose C-reactive protein comes in mg/dL, a tenth.
        scanner: Share of studies from a new scanner, whose embeddings lie elsewhere.
        missing: Share of studies that lose their image.
        subgroup: In site B alone, the logarithm of C-reactive protein rises by this many standard deviations.
        concept: Share of patients with the finding whose reference standard no longer says so.
        mix: Share of men that are replaced by women: case mix, and no drift of anything else.
    """

    prevalence: float = 0.0
    noise: float = 0.0
    unit: float = 0.0
    scanner: float = 0.0
    missing: float = 0.0
    subgroup: float = 0.0
    concept: float = 0.0
    mix: float = 0.0


QUIET = Drifts()
STREAMS_OF: dict[str, Sequence[str]] = {
    "prevalence": ("label.finding", "score.finding", "estimated.finding"),
    "noise": ("image:embedding", "score.finding", "performance.finding", "estimated.finding", "concept.finding"),
    "unit": ("crp",),
    "scanner": ("scanner", "image:embedding"),
    "missing": ("mask",),
    "subgroup": ("crp",),
    "concept": ("concept.finding", "label.finding", "performance.finding"),
}
"""What names each drift: the top stream of an alarm is a hit if it is one of these."""


def protocol_of(**drift: Any) -> Protocol:
    """A protocol that watches the hospital: studies compared within sex, and watched by sex and site."""
    return Protocol.from_dict(
        {
            "auscult_protocol": 1,
            "name": "drift-scene-v1",
            "title": "A simulated hospital",
            "suites": ["drift"],
            "labels": [{"name": "finding", "threshold": {"value": 0.3, "source": "fixed"}}],
            "attributes": [{"name": "sex"}, {"name": "site"}],
            "criteria": [{"id": "a", "metric": "numeric_shift", "direction": "at_most", "margin": 0.2}],
            "drift": {"case_mix": ["sex"], **drift},
        }
    )


def studies(rng: np.random.Generator, n: int, drifts: Drifts = QUIET) -> ShardTable:
    """n patients with one study each."""
    female = rng.random(n) < 0.5 + 0.5 * drifts.mix
    site = np.where(rng.random(n) < 0.6, "A", "B").astype(object)
    ill = rng.random(n) < 0.15 + 0.85 * drifts.prevalence
    linear = -2 + 2.2 * ill + rng.normal(size=n) + drifts.noise * rng.normal(size=n)
    truth = ill & ~(rng.random(n) < drifts.concept)
    new = rng.random(n) < drifts.scanner
    image = rng.normal(size=(n, DIMENSION)) * LOADINGS + 0.5 * ill[:, None] + 1.5 * new[:, None] * (np.arange(16) < 4)
    image += 3 * drifts.noise * rng.normal(size=(n, DIMENSION))
    gone = rng.random(n) < 0.05 + 0.95 * drifts.missing
    image[gone] = np.nan
    crp = np.exp(1.5 + 0.8 * ill + rng.normal(size=n) + drifts.subgroup * (site == "B"))
    crp[rng.random(n) < drifts.unit] /= 10
    crp[rng.random(n) < 0.15] = np.nan
    ids = np.array([f"{word:016x}" for word in rng.integers(0, 1 << 62, n).tolist()], dtype=object)
    streams = StudyStreams(
        specs=SPECS,
        numbers={"age": np.rint(np.clip(rng.normal(62, 16, n) + 4 * ill + 3 * female, 18, 100)), "crp": crp},
        categories={
            "ward": WARDS[rng.choice(len(WARDS), n, p=WARD_SHARES)],
            "scanner": np.where(new, "Third", np.where(rng.random(n) < 0.7, "First", "Second")).astype(object),
            "mask": np.where(gone, "text", "image+text").astype(object),
        },
        vectors={"image:embedding": image.astype(np.float32)},
    )
    return ShardTable(
        patient_ids=ids,
        study_ids=ids,
        attributes={"sex": np.where(female, "F", "M").astype(object), "site": site},
        labels={"finding": truth.astype(np.int8)},
        scores={"finding": 1 / (1 + np.exp(-linear))},
        streams=streams,
    )


def framed(table: ShardTable, frame: DriftFrame) -> ShardTable:
    """The table, read through a frame."""
    from dataclasses import replace

    assert table.streams is not None
    return replace(table, streams=replace(table.streams, specs=frame.specs, frame=frame))


def frame_of(protocol: Protocol, table: ShardTable) -> DriftFrame:
    """The frame that is fitted on a reference."""
    assert table.streams is not None
    return fit_frame(protocol, table.streams, table)


def sketch_of(protocol: Protocol, table: ShardTable, frame: DriftFrame) -> DriftSketch:
    """The sketch of a window or of the reference."""
    return DriftSketch.from_table(protocol, framed(table, frame))
