"""Columns of a health record: diagnoses, medication and visits, in one story with findings and indications.

A diagnosis is a patient's, in all studies. Whatever an indication names as history is in the record; the record also
holds diagnoses that no referrer named, the older the patient the more. Medication follows diagnoses, and what was found
at the study before; it mostly persists. No finding follows from a record's age or diagnoses: it is the other way round.
"""

from __future__ import annotations

import numpy as np

from synthetic.simulator.logistic import sigmoid
from synthetic.simulator.names import FINDINGS
from synthetic.simulator.patients import Bools, Floats, Ints, Studies
from synthetic.simulator.texts import HISTORIES

Column = list[str] | list[int]

DIAGNOSES: dict[str, tuple[float, float]] = {
    "heart failure": (-3.4, 0.5),
    "hypertension": (-1.2, 0.5),
    "COPD": (-2.8, 0.3),
    "malignancy": (-3.2, 0.4),
    "diabetes": (-2.4, 0.3),
    "smoking": (-2.0, 0.0),
}
"""Histories that a record holds: log-odds that it does although nobody named it, at 60 years and for each 10 more."""

MEDICATION: dict[str, tuple[float, dict[str, float], dict[str, float]]] = {
    "loop_diuretic": (-2.8, {"heart failure": 2.6}, {"effusion": 0.8}),
    "antihypertensive": (-2.6, {"hypertension": 2.6, "heart failure": 1.0}, {}),
    "bronchodilator": (-3.2, {"COPD": 3.0}, {}),
    "antidiabetic": (-4.5, {"diabetes": 4.5}, {}),
    "antibiotic": (-2.2, {}, {"consolidation": 1.8}),
}
"""Log-odds of each: a base, what diagnoses add, and what findings of the study before add."""

KEPT = 0.85
"""Correlation of what decides a patient's medication between studies."""

ADMISSIONS = ("clinic", "ward", "emergency")
YEAR = np.timedelta64(365, "D")


def write_records(studies: Studies, histories: Bools, rng: np.random.Generator) -> dict[str, Column]:
    """Columns over n studies: ``diagnosis_*`` and ``medication_*`` (yes, no), ``visits_last_year``, ``admission``.

    Args:
        histories: [n, 7] which of HISTORIES each indication names.
    """
    diagnosed = _diagnoses(studies, histories, rng)
    taken = _medication(studies, diagnosed, rng)
    columns: dict[str, Column] = {
        f"diagnosis_{name.lower().replace(' ', '_')}": _said(diagnosed[name]) for name in DIAGNOSES
    }
    columns |= {f"medication_{name}": _said(taken[name]) for name in MEDICATION}
    burden = np.sum(list(diagnosed.values()), axis=0)
    own_rate = np.exp(0.4 * rng.standard_normal(studies.patient.max(initial=0) + 1))[studies.patient]
    elsewhere = rng.poisson(0.6 * own_rate * np.exp(0.3 * burden))
    columns["visits_last_year"] = (elsewhere + _studies_last_year(studies)).tolist()
    columns["admission"] = _admissions(studies, rng)
    return columns


def _said(values: Bools) -> list[str]:
    return ["yes" if value else "no" for value in values.tolist()]


def _diagnoses(studies: Studies, histories: Bools, rng: np.random.Generator) -> dict[str, Bools]:
    """Diagnosis -> [n]. Studies are sorted by patient, so that each patient's are one run of rows."""
    _, first, place = np.unique(studies.patient, return_index=True, return_inverse=True)
    named = np.maximum.reduceat(histories, first, axis=0)
    decades = (studies.age[first] - 60) / 10
    found = {}
    for name, (base, older) in DIAGNOSES.items():
        unnamed = rng.random(len(first)) < sigmoid(base + older * decades)
        found[name] = (named[:, list(HISTORIES).index(name)] | unnamed)[place]
    return found


def _medication(studies: Studies, diagnosed: dict[str, Bools], rng: np.random.Generator) -> dict[str, Bools]:
    from scipy.special import ndtr

    taken = {}
    for name, (base, diagnoses, findings) in MEDICATION.items():
        odds: Floats = np.full(len(studies), base)
        odds += sum(added * diagnosed[diagnosis] for diagnosis, added in diagnoses.items())
        odds += sum(added * studies.known_before[:, FINDINGS.index(item)] for item, added in findings.items())
        shared = rng.standard_normal(studies.patient.max(initial=0) + 1)[studies.patient]
        own = rng.standard_normal(len(studies))
        taken[name] = ndtr(np.sqrt(KEPT) * shared + np.sqrt(1 - KEPT) * own) < sigmoid(odds)
    return taken


def _studies_last_year(studies: Studies) -> Ints:
    """How many of the patient's earlier studies in the cohort lie within the year before each."""
    found = np.zeros(len(studies), dtype=np.int64)
    for back in range(1, int(studies.visit.max(initial=0)) + 1):
        rows = np.flatnonzero(studies.visit >= back)
        found[rows] += studies.time[rows] - studies.time[rows - back] <= YEAR
    return found


def _admissions(studies: Studies, rng: np.random.Generator) -> list[str]:
    now, before = studies.present.sum(axis=1), studies.known_before.sum(axis=1)
    odds = np.stack([np.zeros(len(studies)), -0.4 + 0.4 * before, -0.8 + 0.5 * now], axis=1)
    # The largest of log-odds with Gumbel noise is a draw from their shares.
    chosen = (odds + rng.gumbel(size=odds.shape)).argmax(axis=1)
    return [ADMISSIONS[place] for place in chosen.tolist()]
