"""The names that a simulated cohort may hold, and the values of what is named."""

from __future__ import annotations

FINDINGS = ("effusion", "pneumothorax", "consolidation", "cardiomegaly")
SIDED = ("effusion", "pneumothorax", "consolidation")
"""Findings that lie on a side. The heart does not."""

RARE_DISEASES = (
    "sarcoidosis",
    "pulmonary_hypertension",
    "lymphangioleiomyomatosis",
    "cardiac_amyloidosis",
    "alveolar_proteinosis",
)
TASKS: dict[str, tuple[str, ...]] = {
    "findings": FINDINGS,
    "deterioration": ("deterioration",),
    "rare": RARE_DISEASES,
}
"""What can be asked of a model, and the labels that each task adds to a cohort."""

LABELS = tuple(label for labels in TASKS.values() for label in labels)
TASK_PREVALENCE = {
    "deterioration": 0.15,
    "sarcoidosis": 0.03,
    "pulmonary_hypertension": 0.02,
    "lymphangioleiomyomatosis": 0.01,
    "cardiac_amyloidosis": 0.02,
    "alveolar_proteinosis": 0.015,
}
"""Share of studies with each label of the further tasks, unless ``prevalence`` names another."""

SERIES = ("crp", "spo2", "heart_rate", "nt_probnp")
MODALITIES = ("image", "text.indication", *(f"series.{name}" for name in SERIES))
UNITS: dict[str, dict[str, float]] = {
    "crp": {"mg/dL": 0.1, "nmol/L": 1e6 / 115_135},
    "spo2": {"1": 0.01},
    "nt_probnp": {"pmol/L": 1e3 / 8_457},
}
"""Series -> units that it may drift to (UCUM), with the factor from its own. Divisors are molar masses in g/mol."""

GROUP_VALUES = {
    "sex": ("F", "M"),
    "view": ("AP", "PA"),
    "group": ("A", "B", "C"),
    "site": ("harbour", "hill"),
}
"""The attributes in which a defect can be planted, with their values."""

SCANNERS = ("Aquila DR", "Borealis CR", "Corvus mobile")
SIZES = ("small", "moderate", "large")
ZONES = ("upper", "mid", "lower")
STATEMENTS = ("invented", "omitted", "side", "size", "comparison")
"""What can be false in a report: an absent finding is stated; a present one denied; one is put on the other side; one
is called small that is large or moderate, or large that is small; a first study is compared with one before."""
