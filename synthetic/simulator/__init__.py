"""Procedural patients with known truth, and defects of known size planted in what was recorded of them."""

from synthetic.simulator.cohort import SIMULATOR_VERSION, generator_digest, simulate_cohort
from synthetic.simulator.settings import (
    FINDINGS,
    LABELS,
    RARE_DISEASES,
    SERIES,
    TASKS,
    SimulatorSettings,
    Underdiagnosis,
)

__all__ = [
    "FINDINGS",
    "LABELS",
    "RARE_DISEASES",
    "SERIES",
    "SIMULATOR_VERSION",
    "TASKS",
    "SimulatorSettings",
    "Underdiagnosis",
    "generator_digest",
    "simulate_cohort",
]
