"""Everything that is decided before anything is measured or written down: the truth behind a simulated cohort."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthetic.simulator.deterioration import Deterioration, draw_deterioration
from synthetic.simulator.names import FINDINGS, MODALITIES, RARE_DISEASES
from synthetic.simulator.patients import Bools, Studies, draw_studies, recorded_labels
from synthetic.simulator.rare import RareTruth, draw_rare
from synthetic.simulator.settings import SimulatorSettings
from synthetic.simulator.statements import Statements, plant_statements

STREAMS = (
    "truth", "defect", "words", "labs", "pictures", "deterioration", "rare", "further defect", "statements", "records",
    "losses",
)  # fmt: skip
"""Each part draws from a stream of its own: a further part changes no draw of the others. New ones come last."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What is the matter with n studies, what was recorded of it, and the streams that the rest is drawn from.

    Attributes:
        truth, labels: Label -> [n]: what is there, and what was recorded.
        lost: Modality -> [n] studies that lose it by the drift, of those that have it.
    """

    settings: SimulatorSettings
    studies: Studies
    deterioration: Deterioration | None
    rare: RareTruth | None
    statements: Statements
    truth: dict[str, Bools]
    labels: dict[str, Bools]
    lost: dict[str, Bools]
    streams: dict[str, np.random.Generator]

    @property
    def patient_ids(self) -> list[str]:
        """[n]. They carry the seed."""
        return [f"S{self.settings.seed}-P{index:06d}" for index in self.studies.patient.tolist()]

    @property
    def study_ids(self) -> list[str]:
        visits = zip(self.patient_ids, self.studies.visit.tolist(), strict=True)
        return [f"{patient}-{visit + 1}" for patient, visit in visits]


def draw_story(settings: SimulatorSettings) -> Story:
    """Draw the truth of a cohort. Equal settings give the same."""
    seeds = np.random.SeedSequence(settings.seed).spawn(len(STREAMS))
    streams = {name: np.random.default_rng(seed) for name, seed in zip(STREAMS, seeds, strict=True)}
    studies = draw_studies(settings, streams["truth"])
    findings = {name: studies.present[:, column] for column, name in enumerate(FINDINGS)}
    further: dict[str, Bools] = {}
    deterioration = rare = None
    if "deterioration" in settings.tasks:
        deterioration = draw_deterioration(studies, settings, streams["deterioration"])
        further["deterioration"] = deterioration.present
    if "rare" in settings.tasks:
        rare = draw_rare(studies, settings, streams["rare"])
        further |= {name: rare.present[:, column] for column, name in enumerate(RARE_DISEASES)}
    truth = findings | further if "findings" in settings.tasks else further
    recorded = recorded_labels(studies, findings, settings, streams["defect"])
    recorded |= recorded_labels(studies, further, settings, streams["further defect"])
    return Story(
        settings=settings,
        studies=studies,
        deterioration=deterioration,
        rare=rare,
        statements=plant_statements(studies, settings, streams["statements"]),
        truth=truth,
        labels={name: recorded[name] for name in truth},
        lost=_losses(studies, settings, streams["losses"]),
        streams=streams,
    )


def _losses(studies: Studies, settings: SimulatorSettings, rng: np.random.Generator) -> dict[str, Bools]:
    shares = settings.drift.missing if settings.drift else {}
    return {name: studies.changed & (rng.random(len(studies)) < shares.get(name, 0.0)) for name in MODALITIES}
