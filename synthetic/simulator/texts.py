"""The words that go with a simulated study: why it was asked for, and what an expert saw."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthetic.simulator.patients import ZONES, Studies
from synthetic.simulator.settings import FINDINGS

# Log-odds that a referrer mentions it: a base, and what each present finding adds, in the order of FINDINGS.
COMPLAINTS: dict[str, tuple[float, tuple[float, float, float, float]]] = {
    "dyspnoea": (-1.2, (1.0, 0.8, 0.4, 0.7)),
    "sudden pleuritic chest pain": (-2.8, (0.0, 2.4, 0.0, 0.0)),
    "cough": (-1.2, (0.2, 0.0, 1.2, 0.2)),
    "fever": (-2.2, (0.0, 0.0, 1.8, 0.0)),
    "purulent sputum": (-2.8, (0.0, 0.0, 1.7, 0.0)),
    "leg swelling": (-2.5, (0.6, 0.0, 0.0, 1.5)),
    "orthopnoea": (-2.7, (0.9, 0.0, 0.0, 1.4)),
    "dullness at the lung base": (-2.8, (1.9, 0.0, 0.4, 0.0)),
    "reduced breath sounds": (-2.4, (1.1, 1.3, 0.0, 0.0)),
    "fatigue": (-1.4, (0.0, 0.0, 0.0, 0.0)),
    "dizziness": (-2.2, (0.0, 0.0, 0.0, 0.0)),
}
HISTORIES: dict[str, tuple[float, tuple[float, float, float, float]]] = {
    "heart failure": (-2.2, (0.7, 0.0, 0.0, 1.7)),
    "hypertension": (-1.2, (0.0, 0.0, 0.0, 0.7)),
    "COPD": (-2.0, (0.0, 0.9, 0.3, 0.0)),
    "malignancy": (-2.3, (1.1, 0.0, 0.0, 0.0)),
    "diabetes": (-1.5, (0.0, 0.0, 0.0, 0.0)),
    "recent central line placement": (-2.9, (0.0, 1.6, 0.0, 0.0)),
    "smoking": (-1.1, (0.0, 0.0, 0.0, 0.0)),
}
SIZES = ("small", "moderate", "large")


def write_indications(studies: Studies, rng: np.random.Generator) -> list[str]:
    """Why each study was asked for: what a referrer knows beforehand; informative and noisy, no finding."""
    complaints = _mentions(studies, COMPLAINTS, rng)
    histories = _mentions(studies, HISTORIES, rng)
    days = rng.integers(1, 15, size=len(studies)).tolist()
    first = (studies.visit == 0).tolist()
    return [
        _indication(complaint, history, day, is_first)
        for complaint, history, day, is_first in zip(complaints, histories, days, first, strict=True)
    ]


def _mentions(
    studies: Studies,
    words: dict[str, tuple[float, tuple[float, float, float, float]]],
    rng: np.random.Generator,
) -> list[list[str]]:
    base = np.array([value[0] for value in words.values()])
    added = np.array([value[1] for value in words.values()])
    odds = base + studies.present @ added.T
    said = rng.random(odds.shape) < 1 / (1 + np.exp(-odds))
    names = list(words)
    return [[names[column] for column in np.flatnonzero(row)] for row in said]


def _indication(complaints: list[str], histories: list[str], days: int, first: bool) -> str:
    if complaints:
        span = f"{days} day" if days == 1 else f"{days} days"
        parts = [f"{_listed(complaints).capitalize()} for {span}."]
    else:
        parts = ["Routine check."]
    if histories:
        parts.append(f"History of {_listed(histories)}.")
    if not first:
        parts.append("Follow-up.")
    return " ".join(parts)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def write_references(studies: Studies) -> list[str]:
    """An expert's report of each study, true to findings, sides, zones and sizes. Never a model's input."""
    size = np.searchsorted([0.75, 1.25], studies.shown)
    return [" ".join(_report(studies, row, size[row]) + _comparison(studies, row)) for row in range(len(studies))]


def _report(studies: Studies, row: int, size: npt.NDArray[np.int64]) -> list[str]:
    effusion, pneumothorax, consolidation, cardiomegaly = studies.present[row].tolist()
    side = ["right" if right else "left" for right in studies.right[row].tolist()]
    zone = ZONES[studies.zone[row]]
    return [
        f"{SIZES[size[0]].capitalize()} {side[0]} pleural effusion." if effusion else "No pleural effusion.",
        f"{SIZES[size[1]].capitalize()} {side[1]} pneumothorax." if pneumothorax else "No pneumothorax.",
        f"Consolidation in the {side[2]} {zone} zone." if consolidation else "No consolidation.",
        "The heart is enlarged." if cardiomegaly else "The heart is of normal size.",
    ]


def _comparison(studies: Studies, row: int) -> list[str]:
    """What changed since the study before; nothing for a first study."""
    if studies.visit[row] == 0:
        return []
    now, before = studies.present[row], studies.known_before[row]
    new = [name for name, is_now, was in zip(FINDINGS, now, before, strict=True) if is_now and not was]
    gone = [name for name, is_now, was in zip(FINDINGS, now, before, strict=True) if was and not is_now]
    parts = [f"New since the prior study: {_listed(new)}."] if new else []
    parts += [f"Resolved since the prior study: {_listed(gone)}."] if gone else []
    return parts or ["Unchanged since the prior study."]
