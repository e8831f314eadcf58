"""Procedural patients with known truth, and defects of known size planted in what was recorded of them."""

from synthetic.simulator.cohort import SIMULATOR_VERSION, generator_digest, simulate_cohort
from synthetic.simulator.names import FINDINGS, LABELS, RARE_DISEASES, SERIES, STATEMENTS, TASKS, UNITS
from synthetic.simulator.planting import Drift, Faintness, Hallucination, Underdiagnosis
from synthetic.simulator.settings import HEADROOM, SimulatorSettings
from synthetic.simulator.truth import truth_of, write_truth

__all__ = [
    "FINDINGS",
    "HEADROOM",
    "LABELS",
    "RARE_DISEASES",
    "SERIES",
    "SIMULATOR_VERSION",
    "STATEMENTS",
    "TASKS",
    "UNITS",
    "Drift",
    "Faintness",
    "Hallucination",
    "SimulatorSettings",
    "Underdiagnosis",
    "generator_digest",
    "simulate_cohort",
    "truth_of",
    "write_truth",
]
