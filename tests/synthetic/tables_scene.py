"""Studies with known relations, to learn tables from: who is ill depends on group and age, and stays so for a while."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.plans import Plans
from synthetic.generators.studies import LinkedStudies

FINDINGS = ("effusion", "pneumothorax", "cardiomegaly")
CUTS = {"A": (0.9, 1.4, 0.8), "B": (0.3, 1.2, 0.8), "C": (0.9, 0.8, 0.8)}
"""Group -> liability from which each finding is there."""
SECRET = "Ward of Rare Ones"
YEAR = 365.25 * 86_400


def studies_of(patients: int, *, seed: int = 1, most_visits: int = 4) -> LinkedStudies:
    """Patients with one to ``most_visits`` studies; a few have a value that nobody else has."""
    rng = generator(seed, "tables scene")
    visits = rng.integers(1, most_visits + 1, patients)
    owner = np.repeat(np.arange(patients), visits)
    first = np.concatenate([[True], owner[1:] != owner[:-1]])
    n = len(owner)
    sex, group = rng.choice(["F", "M"], patients), rng.choice(["A", "B", "C"], patients, p=[0.5, 0.3, 0.2])
    born = rng.uniform(30, 90, patients)
    gaps = np.where(first, rng.integers(0, int(2 * YEAR), n), 3600 + np.rint(rng.exponential(0.3 * YEAR, n)))
    seconds = _since_first(gaps, first)
    age = np.floor(born[owner] + (seconds - seconds[first][owner]) / YEAR).astype(int)
    liability = _chain(rng, first)
    cuts = np.array([CUTS[name] for name in group[owner]]) - 0.015 * (age[:, None] - 60)
    present = (liability > cuts).astype(np.int8)
    plans = _plans(rng, present, liability - cuts, owner, patients)
    view = np.where(rng.random(n) < 0.3 + 0.4 * present[:, 0], "AP", "PA")
    rare = np.zeros(n, dtype=np.int8)
    rare[first & (owner < 4)] = 1
    attributes: dict[str, Any] = {
        "sex": sex[owner], "group": group[owner], "age": age, "view": view,
        "weight": np.round(70 + 8 * (sex[owner] == "M") + rng.normal(0, 9, patients)[owner], 1),
        "ward": np.where(owner < 5, SECRET, np.where(owner % 3 == 0, "east", "west")),
        "record": np.array([f"MRN-{one:06d}" for one in owner]),
        "country": np.full(n, "here"), "note": np.full(n, None), "visits_last_year": rng.poisson(2, n),
    }  # fmt: skip
    objects = {name: _objects(values) for name, values in attributes.items()}
    objects["weight"][rng.random(patients)[owner] < 0.2] = None
    lengths = rng.integers(2, 6, n) + 2 * present[:, 0]
    return LinkedStudies(
        patient_ids=_objects([f"REAL-{one:05d}" for one in owner]),
        study_ids=_objects([f"REAL-S{row:06d}" for row in range(n)]),
        times=(1_600_000_000 + seconds).astype(np.int64).astype("datetime64[s]"),
        attributes=objects,
        labels={name: plans.present[:, place].copy() for place, name in enumerate(FINDINGS)} | {"ghost": rare},
        plans=plans,
        series={"crp": [None if gone else np.zeros((t, 2)) for gone, t in zip(rng.random(n) < 0.1, lengths,
                strict=True)]},
        texts={"reference": _objects(np.where(rng.random(n) < 0.95, "words", None))},
        has_image=rng.random(n) < 0.9,
        units={"series.crp": "mg/L"},
    )  # fmt: skip


def _objects(values: Any) -> npt.NDArray[np.object_]:
    made = np.full(len(values), None, dtype=object)
    made[:] = values.tolist() if isinstance(values, np.ndarray) else values
    return made


def _since_first(gaps: Any, first: Any) -> Any:
    total = np.cumsum(gaps)
    begin = total[first] - gaps[first]
    return total - begin[np.cumsum(first) - 1]


def _chain(rng: np.random.Generator, first: Any) -> Any:
    """Liabilities that stay alike from visit to visit; effusion goes with a large heart."""
    mix = np.linalg.cholesky(np.array([[1, 0, 0.5], [0, 1, 0], [0.5, 0, 1]]))
    found = rng.standard_normal((len(first), 3)) @ mix.T
    for row in np.flatnonzero(~first):
        found[row] = 0.7 * found[row - 1] + np.sqrt(1 - 0.49) * found[row]
    return found


def _plans(rng: np.random.Generator, present: Any, over: Any, owner: Any, patients: int) -> Plans:
    """Effusions and pneumothoraces have side and size, the heart a size; one plan that three patients have."""
    plans = replace(Plans.empty(FINDINGS, len(present)), present=present)
    side = rng.choice([0, 1, 2], (patients, 2), p=[0.5, 0.4, 0.1])[owner]
    there = present == 1
    plans.side[:, :2] = np.where(there[:, :2], side, -1)
    plans.size[:] = np.where(there, np.searchsorted([0.4, 1.0], over), -1)
    odd = there[:, 0] & (owner < 12)
    plans.zone[odd, 0] = 0
    return plans


def owners(studies: LinkedStudies) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = np.cumsum(studies.visits() == 0) - 1
    return found


def share(studies: LinkedStudies, mask: Any) -> tuple[float, float]:
    """A share of studies, and its standard error with patients as clusters."""
    mean = float(np.mean(mask))
    errors = np.bincount(owners(studies), weights=mask - mean)
    return mean, float(np.sqrt((errors**2).sum()) / len(mask))


def indicators(studies: LinkedStudies) -> dict[str, npt.NDArray[np.float64]]:
    """What a study may be, as 0 and 1."""
    made: dict[str, Any] = {f"finding {name}": studies.labels[name] == 1 for name in FINDINGS}
    for name in ("sex", "group", "view", "ward"):
        values = studies.attributes[name]
        made |= {f"{name} {value}": values == value for value in sorted({*values.tolist()} - {None, SECRET})}
    age = np.array(studies.attributes["age"].tolist(), dtype=float)
    made |= {f"age over {limit}": age > limit for limit in (45, 60, 75)}
    made |= {"weight missing": np.array([value is None for value in studies.attributes["weight"]])}
    made |= {"series": np.array([item is not None for item in studies.series["crp"]])}
    for name, words in studies.plans.words().items():
        told = ("left", "both", "small") if name != "cardiomegaly" else ("small", "large")
        made |= {f"{name} {part}": np.array([part in word for word in words]) for part in told}
    return {name: values.astype(np.float64) for name, values in made.items()}
