"""The words that go with a simulated study: why it was asked for, and what an expert saw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic.simulator.names import FINDINGS, SIZES, ZONES
from synthetic.simulator.patients import Bools, Studies

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
GRADES = ("mildly", "moderately", "severely")
PLURALS = {"pleural effusion": "pleural effusions", "pneumothorax": "pneumothoraces"}


@dataclass(frozen=True, kw_only=True)
class Indications:
    """Why each of n studies was asked for.

    Attributes:
        texts: [n].
        histories: [n, 7] which of HISTORIES are mentioned, in their order.
    """

    texts: list[str]
    histories: Bools


def write_indications(studies: Studies, rng: np.random.Generator, *, hints: float = 1.0) -> Indications:
    """Why each study was asked for: what a referrer knows beforehand; informative and noisy, no finding.

    Args:
        hints: Factor on how much likelier findings make a complaint or history, in log-odds.
    """
    complaints = _mentions(studies, COMPLAINTS, rng, hints)
    histories = _mentions(studies, HISTORIES, rng, hints)
    days = rng.integers(1, 15, size=len(studies)).tolist()
    first = (studies.visit == 0).tolist()
    rows = zip(_named(complaints, COMPLAINTS), _named(histories, HISTORIES), days, first, strict=True)
    return Indications(texts=[_indication(*row) for row in rows], histories=histories)


def _mentions(
    studies: Studies,
    words: dict[str, tuple[float, tuple[float, float, float, float]]],
    rng: np.random.Generator,
    hints: float,
) -> Bools:
    """Which words [n, words] are mentioned."""
    base = np.array([value[0] for value in words.values()])
    added = np.array([value[1] for value in words.values()])
    odds = base + hints * (studies.present @ added.T)
    said: Bools = rng.random(odds.shape) < 1 / (1 + np.exp(-odds))
    return said


def _named(said: Bools, words: Iterable[str]) -> list[list[str]]:
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


def write_references(studies: Studies, *, sizes_told: bool = False, compared: Bools | None = None) -> list[str]:
    """An expert's report of each study, true to findings, sides, zones and sizes. Never a model's input.

    Args:
        sizes_told: The size of a consolidation and of an enlarged heart is told, too.
        compared: [n] first studies that are compared with one before, though there was none.
    """
    sizes = studies.sizes()
    claimed = np.zeros(len(studies), dtype=np.bool_) if compared is None else compared
    return [
        " ".join(_report(studies, row, sizes[row], sizes_told) + _comparison(studies, row, claimed[row]))
        for row in range(len(studies))
    ]


def _report(studies: Studies, row: int, sizes: npt.NDArray[np.int64], sizes_told: bool) -> list[str]:
    effusion, pneumothorax, consolidation, cardiomegaly = studies.present[row].tolist()
    size = [SIZES[place] for place in sizes.tolist()]
    side = [
        "both" if both else "right" if right else "left"
        for both, right in zip(studies.both[row].tolist(), studies.right[row].tolist(), strict=True)
    ]
    return [
        _pleural(size[0], side[0], "pleural effusion") if effusion else "No pleural effusion.",
        _pleural(size[1], side[1], "pneumothorax") if pneumothorax else "No pneumothorax.",
        _lobar(size[2] if sizes_told else "", side[2], ZONES[studies.zone[row]])
        if consolidation
        else "No consolidation.",
        f"The heart is {GRADES[sizes[3]] + ' ' if sizes_told else ''}enlarged."
        if cardiomegaly
        else "The heart is of normal size.",
    ]


def _pleural(size: str, side: str, name: str) -> str:
    where = f"bilateral {PLURALS[name]}" if side == "both" else f"{side} {name}"
    return f"{size.capitalize()} {where}."


def _lobar(size: str, side: str, zone: str) -> str:
    where = f"both {zone} zones" if side == "both" else f"the {side} {zone} zone"
    return f"{size} consolidation in {where}.".strip().capitalize()


def _comparison(studies: Studies, row: int, claimed: bool) -> list[str]:
    """What changed since the study before; nothing for a first study, unless it is ``claimed`` that there was one."""
    if studies.visit[row] == 0:
        return ["Unchanged since the prior study."] if claimed else []
    now, before = studies.present[row], studies.known_before[row]
    new = [name for name, is_now, was in zip(FINDINGS, now, before, strict=True) if is_now and not was]
    gone = [name for name, is_now, was in zip(FINDINGS, now, before, strict=True) if was and not is_now]
    parts = [f"New since the prior study: {_listed(new)}."] if new else []
    parts += [f"Resolved since the prior study: {_listed(gone)}."] if gone else []
    return parts or ["Unchanged since the prior study."]
