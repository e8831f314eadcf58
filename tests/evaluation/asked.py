"""A small cohort with pictures, rules that ask about it, and a model whose answer tells all that it was given."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine import Protocol
from models_registry.adapters.base import AdapterInfo, Capability, Draw, Predictions, Said
from models_registry.cohorts import CohortReader, convert_cohort, open_cohort
from models_registry.cohorts.schema import StudyBatch
from synthetic.simulator import SimulatorSettings, simulate_cohort

RULES = """
auscult_protocol: 1
name: asked
title: Questions, samples, and studies that are changed
labels: []
suites: [hallucination]
attributes: [{name: sex, values: [F, M]}]
reports: {findings: [effusion, cardiomegaly, pneumothorax, consolidation]}
probing:
  findings: [effusion, pneumothorax, consolidation, cardiomegaly]
  kinds: [random, popular, adversarial, false_premise, none_of_above, wrong_image]
  studies: 20
sampling: {of: reports, samples: 3, temperature: 0.7, studies: 8}
perturbation: {of: answers, dropped: [text.indication, series.crp], studies: 12}
criteria:
  - {id: f1, metric: pope_f1_random, direction: at_least, margin: 0.7}
  - {id: chair, metric: chair_i, direction: at_most, margin: 0.1}
minimum: {cell: 2, rate_denominator: 10}
"""

READS = ("image", "text.indication", "series.crp", "sex")


def rules(**changes: Any) -> Protocol:
    """The rules, with sections replaced; None takes one away."""
    import yaml

    body = yaml.safe_load(RULES) | changes
    return Protocol.from_dict({name: value for name, value in body.items() if value is not None})


def cohort(folder: Path, *, patients: int = 30, per_shard: int = 1000, **more: Any) -> CohortReader:
    from models_registry.cohorts import conversion

    before = conversion.STUDIES_PER_SHARD_WITH_IMAGES
    file = simulate_cohort(SimulatorSettings(patients=patients, seed=5, **more), folder / "cohort.parquet")
    try:
        conversion.STUDIES_PER_SHARD_WITH_IMAGES = per_shard
        convert_cohort(file, mapping=None, destination=folder / "shards")
    finally:
        conversion.STUDIES_PER_SHARD_WITH_IMAGES = before
    return open_cohort(folder / "shards")


def told(batch: StudyBatch, row: int, question: str, draw: Draw | None) -> str:
    """Everything that a model was given about one study, in one line."""
    image, series = batch.images[row], batch.series["crp"][row]
    parts: list[Any] = [
        batch.study_ids[row],
        None if image is None else hashlib.sha256(image.tobytes() + str(image.shape).encode()).hexdigest()[:12],
        batch.texts["indication"][row],
        None if series is None else series.tolist(),
        batch.covariates["sex"][row],
        question,
        None if draw is None else (draw.temperature, draw.turn),
    ]
    return repr(parts)


@dataclass(eq=False)
class Parrot:
    """Says what it was given; remembers how much it was given at once."""

    capabilities: frozenset[Capability] = frozenset({Capability.GENERATE, Capability.ANSWER})
    sizes: list[int] = field(default_factory=list)

    @property
    def info(self) -> AdapterInfo:
        return AdapterInfo(
            capabilities=self.capabilities, labels=(), outputs=("text.generated",), modalities=READS, required=()
        )

    def predict(self, batch: StudyBatch) -> Predictions:
        return Predictions(study_ids=batch.study_ids, texts={"generated": self.say(batch, None).text})

    def say(self, batch: StudyBatch, questions: Sequence[str] | None, *, draw: Draw | None = None) -> Said:
        self.sizes.append(len(batch))
        texts: npt.NDArray[np.object_] = np.empty(len(batch), dtype=object)
        texts[:] = [told(batch, row, questions[row] if questions else "", draw) for row in range(len(batch))]
        return Said(text=texts, truncated=np.array([len(text) % 2 == 0 for text in texts]))
