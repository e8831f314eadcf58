"""A small world of linked patients, drawn by numpy alone, in which what a suite looks for is plain to see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from evaluation.engine.registry import MetricInfo
from synthetic.generators.plans import SIDES, SIZES, ZONES, Plans
from synthetic.generators.studies import LinkedStudies
from synthetic.suites.figures import AuditSets, Figure
from synthetic.suites.likeness_reader import ImageReader, train_reader

FINDINGS = ("effusion", "consolidation", "cardiomegaly")
SIZE = 32
SIDED = (0, 1)
PATIENTS = 400


@cache
def world() -> AuditSets:
    """Four sets of equal size from one distribution: the synthetic one is a redraw."""
    names = ("learnt", "readers", "held_out", "synthetic")
    return AuditSets(seed=3, **{name: patients(place, name) for place, name in enumerate(names)})


@cache
def reader() -> ImageReader:
    return train_reader(world().readers, seed=1, steps=75)


def patients(seed: int, prefix: str, count: int = PATIENTS) -> LinkedStudies:
    """Patients with one to three studies each."""
    rng = np.random.default_rng(seed)
    visits = rng.integers(1, 4, count)
    whose = np.repeat(np.arange(count), visits)
    n = len(whose)
    age = np.clip(rng.normal(60, 15, count), 18, 95).round().astype(int)
    sex = np.where(rng.random(count) < 0.5, "F", "M")
    region = np.where(age + rng.normal(0, 8, count) > 60, "town", np.where(rng.random(count) < 0.5, "land", "coast"))
    plans = _plans(rng, n, age[whose])
    place = np.concatenate([np.arange(k) for k in visits])
    scanner = np.where(rng.random(n) < 0.6, "old", "new")
    return LinkedStudies(
        patient_ids=np.array([f"{prefix}-{k:04d}" for k in whose], dtype=object),
        study_ids=np.array([f"{prefix}-{k:04d}-{v}" for k, v in zip(whose, place, strict=True)], dtype=object),
        times=np.datetime64("2024-01-01T08:00:00") + (place * 30 + rng.integers(0, 10, n)).astype("timedelta64[D]"),
        attributes={
            "age": np.array([int(value) for value in age[whose]], dtype=object),
            "sex": sex[whose].astype(object),
            "region": region[whose].astype(object),
            "scanner": scanner.astype(object),
        },
        labels={name: plans.present[:, k].copy() for k, name in enumerate(FINDINGS)},
        plans=plans,
        series={"crp": _series(rng, n, plans, 1, 60.0), "pulse": _series(rng, n, plans, 2, 20.0)},
        texts={"reference": np.array([report(plans, row, rng) for row in range(n)], dtype=object)},
        images=_images(rng, plans),
        has_image=np.ones(n, dtype=np.bool_),
    )


def _plans(rng: np.random.Generator, n: int, age: np.ndarray) -> Plans:
    plans = Plans.empty(FINDINGS, n)
    odds = np.column_stack([(age - 60) / 10, np.full(n, -0.4), (age - 65) / 12])
    plans.present[:] = rng.random(odds.shape) < 1 / (1 + np.exp(-odds))
    for k in SIDED:
        there = plans.present[:, k] == 1
        plans.side[there, k] = rng.integers(0, 2, there.sum())
        plans.zone[there, k] = rng.integers(0, 3, there.sum()) if k == 1 else -1
        plans.size[there, k] = rng.integers(0, 3, there.sum()) if k == 0 else -1
    return plans


def _series(rng: np.random.Generator, n: int, plans: Plans, finding: int, gap: float) -> list[np.ndarray | None]:
    made: list[np.ndarray | None] = []
    for row in range(n):
        if rng.random() < 0.05:
            made.append(None)
            continue
        times = np.cumsum(rng.uniform(1, 8, rng.integers(3, 7)))
        level = 100 + gap * plans.present[row, finding] + rng.normal(0, 15)
        made.append(np.column_stack([times, level + rng.normal(0, 5, len(times))]))
    return made


def report(plans: Plans, row: int, rng: np.random.Generator) -> str:
    """What an expert writes of a study."""
    effusion, consolidation, heart = (bool(value == 1) for value in plans.present[row])
    side = [SIDES[plans.side[row, k]] for k in SIDED]
    size, zone = SIZES[plans.size[row, 0]], ZONES[plans.zone[row, 1]]
    parts = [
        f"{size.capitalize()} {side[0]} pleural effusion." if effusion else "No pleural effusion.",
        f"Consolidation in the {side[1]} {zone} zone." if consolidation else "No consolidation.",
        "The heart is enlarged." if heart else "The heart is of normal size.",
        str(rng.choice(["The bones are intact.", "No acute fracture is seen.", "Soft tissues are unremarkable.", ""])),
    ]
    return " ".join(parts).strip()


def _images(rng: np.random.Generator, plans: Plans) -> np.ndarray:
    """Fluid below by side and size, a patch by side and zone, a heart in the middle. The left is on the right."""
    n = len(plans)
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    light = rng.normal(0.3, 0.02, (n, 1, 1)) + rng.normal(0, 0.05, (n, SIZE, SIZE))
    middle = np.where(plans.side == 0, 24, 8)[:, :, None, None]
    there = (plans.present == 1)[:, :, None, None]
    height = 26 - 3 * plans.size[:, 0][:, None, None]
    light += 0.4 * there[:, 0] * (np.abs(x - middle[:, 0]) < 6) * (y > height)
    centre = 5 + 7 * plans.zone[:, 1][:, None, None]
    light += 0.4 * there[:, 1] * (np.hypot(x - middle[:, 1], y - centre) < 4)
    light += 0.3 * there[:, 2] * (np.hypot(x - 16, y - 16) < 4)
    made: np.ndarray = np.rint(255 * np.clip(light, 0, 1)).astype(np.uint8)
    return made


def with_synthetic(**changes: object) -> AuditSets:
    """The world with some fields of its synthetic studies replaced."""
    return replace(world(), synthetic=replace(world().synthetic, **changes))  # type: ignore[arg-type]


def without(sets: AuditSets, **changes: object) -> AuditSets:
    """Some fields replaced in every set."""
    names = ("learnt", "readers", "held_out", "synthetic")
    return replace(sets, **{name: replace(getattr(sets, name), **changes) for name in names})


def failing(
    figures: Iterable[Figure], metrics: Mapping[str, MetricInfo], gates: Mapping[str, tuple[str, float]]
) -> set[tuple[str, str]]:
    """Metric and ``of`` (or group) of the figures whose 95 % interval lies wholly beyond the gate."""
    found = set()
    for item in figures:
        if item.value is None or item.metric not in gates:
            continue
        least, most = metrics[item.metric].accepted(*gates[item.metric])
        low, high = item.interval(1.96)
        if (least is not None and high < least) or (most is not None and low > most):
            found.add((item.metric, item.of or item.group))
    return found


def valued(figures: Iterable[Figure], metric: str, of: str = "") -> Figure:
    """The one figure of a metric."""
    (found,) = [item for item in figures if (item.metric, item.of) == (metric, of)]
    return found
