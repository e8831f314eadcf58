"""What the demo asks for: heads on one backbone, each with the protocol that judges it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BACKBONE = "Reference multimodal backbone"
REFERENCE = "Reference multimodal chest model"
DETERIORATION = "Reference deterioration alert"
RARE = "Reference rare-disease ranking"
PURPOSES = {
    BACKBONE: "Represent image, indication, labs, vital signs and demographics of a chest study in one space, for "
    "light heads that are systems of their own.",
    REFERENCE: "Score four chest findings from image, indication, labs and demographics, to support radiologists.",
    DETERIORATION: "Warn that an adult in hospital may deteriorate within 24 hours of a chest study, from the image "
    "and the course of labs and vital signs, so that a nurse looks earlier.",
    RARE: "Rank five rare diseases of heart and lung for a chest study, so that a physician thinks of them.",
}
"""System -> intended purpose."""

PRETRAINING: dict[str, Any] = {"kind": "backbone", "epochs": 5}
HEAD: dict[str, Any] = {"kind": "head", "head_epochs": 5}
"""The small setting of the reference model, ``TrainingSettings.small``: enough to tell a planted defect from none."""

SENSITIVITY = {"deterioration": 0.8}
"""Task of a head -> the sensitivity at which it calls, where that is not the usual one: alerts must not tire a ward."""

PROTOCOLS = {
    "findings": "reference-model-v1",
    "deterioration": "deterioration-24h-v1",
    "rare": "rare-disease-v1",
}
"""Task of a head -> the bundled protocol that judges it."""

WRITTEN = "hallucination-report-v1"
"""The bundled protocol that judges what the backbone writes."""


@dataclass(frozen=True, kw_only=True)
class HeadOrder:
    """A head to train: for which system, as which version, for which task of the simulator, on which cohort."""

    system: Any
    label: str
    task: str
    cohort: Any

    def settings(self, labels: tuple[str, ...]) -> dict[str, Any]:
        """Settings of the head's training."""
        own = {"sensitivity": SENSITIVITY[self.task]} if self.task in SENSITIVITY else {}
        return HEAD | own | {"labels": list(labels)}
