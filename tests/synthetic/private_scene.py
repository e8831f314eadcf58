"""Patients to learn from with differential privacy, what is public of them, and a secret that tests know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.parts import PARTS, Learning
from synthetic.generators.plans import SIDES, SIZES, ZONES, Plans
from synthetic.generators.private.accounting import Mechanism
from synthetic.generators.private.domain import Domain, check_domain
from synthetic.generators.private.noise import Secret
from synthetic.generators.settings import GeneratorSettings, Privacy
from synthetic.generators.studies import LinkedStudies

KEY = Secret(b"known to tests, and so no secret")
EDGE = 32
FINDINGS = ("effusion", "cardiomegaly")
BODY: dict[str, Any] = {
    "findings": list(FINDINGS),
    "attributes": {"sex": ["F", "M"], "age": [0, 100, 5], "view": {"values": ["AP", "PA"], "each": "study"}},
    "series": {"crp": {"low": 0, "high": 300, "readings": 3, "log": True}},
    "texts": ["reference"],
    "image": True,
    "visits": 3,
    "times": ["2020-01-01", "2024-12-31"],
    "pairs": [["sex", "effusion"], ["effusion", "view"], ["age", "cardiomegaly"]],
}


def domain_of(**changes: Any) -> Domain:
    return check_domain(BODY | changes)


def settings_of(epsilon: float = 8.0, effort: float = 0.02, **changes: Any) -> GeneratorSettings:
    privacy = Privacy(epsilon=epsilon, delta=changes.pop("delta", 1e-4), domain=changes.pop("domain", domain_of()))
    return GeneratorSettings(**{"seed": 5, "image_size": EDGE, "effort": effort, "canaries": 0, "privacy": privacy}
                             | changes)  # fmt: skip


def ward(patients: int, *, seed: int = 1) -> LinkedStudies:
    """One to three studies each. Effusions: 6 in 10 women, 2 in 10 men, mostly on the left below; they raise CRP and
    brighten their corner. Large hearts come with age."""
    rng = generator(seed, "private ward")
    owner = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    n = len(owner)
    sex = rng.choice(np.array(["F", "M"], dtype=object), patients)[owner]
    age = rng.integers(20, 95, patients)[owner]
    plans = _plans(sex, age, rng)
    ill = plans.present[:, 0] == 1
    crp = [_crp(bool(there), rng) if rng.random() < 0.8 else None for there in ill]
    texts = np.array([_report(plans, row) if rng.random() < 0.9 else None for row in range(n)], dtype=object)
    names = np.array([f"REAL-{one:05d}" for one in owner], dtype=object)
    return LinkedStudies(
        patient_ids=names,
        study_ids=np.array([f"{name}-{row}" for row, name in enumerate(names)], dtype=object),
        times=(1_600_000_000 + 86_400 * np.arange(n) // 3).astype("datetime64[s]"),
        attributes={
            "sex": sex, "age": age.astype(object), "ward": np.full(n, "Ward of Rare Ones", dtype=object),
            "view": np.where(rng.random(n) < 0.2 + 0.6 * ill, "AP", "PA").astype(object),
        },
        labels={name: plans.present[:, place].copy() for place, name in enumerate(FINDINGS)},
        plans=plans,
        series={"crp": crp, "unknown": [None] * n},
        texts={"reference": texts},
        images=_images(plans, rng),
        has_image=np.ones(n, dtype=np.bool_),
    )  # fmt: skip


def _plans(sex: Any, age: Any, rng: np.random.Generator) -> Plans:
    n = len(sex)
    plans = Plans.empty(FINDINGS, n)
    plans.present[:, 0] = rng.random(n) < np.where(sex == "F", 0.6, 0.2)
    plans.present[:, 1] = rng.random(n) < age / 150
    there = plans.present[:, 0] == 1
    plans.side[there, 0] = np.where(rng.random(n) < 0.8, 0, 1)[there]
    plans.zone[there, 0] = 2
    plans.size[there, 0] = rng.integers(0, 3, n)[there]
    return plans


def _crp(ill: bool, rng: np.random.Generator) -> Any:
    count = int(rng.integers(1, 5))
    hours = np.sort(rng.uniform(-70, 0, count))
    return np.stack([hours, np.round(np.exp(rng.normal(4.0 if ill else 2.0, 0.4, count)), 1)], axis=1)


def _report(plans: Plans, row: int) -> str:
    heart = "Cardiomegaly." if plans.present[row, 1] == 1 else "No cardiomegaly."
    if plans.present[row, 0] != 1:
        return f"No pleural effusion. {heart}"
    side, zone, size = SIDES[plans.side[row, 0]], ZONES[plans.zone[row, 0]], SIZES[plans.size[row, 0]]
    return f"{size.capitalize()} {side} pleural effusion in the {zone} zone. {heart}"


def _images(plans: Plans, rng: np.random.Generator) -> Any:
    made = rng.normal(90, 8, (len(plans), EDGE, EDGE))
    half = EDGE // 2
    for side, columns in enumerate((slice(half, None), slice(None, half))):
        made[plans.side[:, 0] == side, half:, columns] += 80
    return np.clip(np.rint(made), 0, 255).astype(np.uint8)


def counted(studies: LinkedStudies, settings: GeneratorSettings, noise: float, secret: Secret = KEY) -> Any:
    """The tables part, with this much noise."""
    learning = Learning(settings=settings, allowed=Mechanism(noise=noise), noise=secret.of("tables:private"))
    return PARTS.get("tables:private").fit(studies, learning)


def without(studies: LinkedStudies, patient: str) -> LinkedStudies:
    """The neighbour: everybody but one."""
    return studies.rows(np.array([name != patient for name in studies.patient_ids], dtype=np.bool_))


def plain_of(studies: LinkedStudies) -> LinkedStudies:
    """Attributes and labels alone."""
    return replace(studies, images=None, series={}, texts={}, has_image=np.zeros(len(studies), dtype=np.bool_))
