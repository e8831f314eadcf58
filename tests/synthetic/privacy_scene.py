"""Patients whose privacy is audited, drawn without pictures or files, and how their figures are judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from evaluation.engine.statistics.intervals import z_of
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.plans import Plans
from synthetic.generators.studies import LinkedStudies
from synthetic.suites.figures import AuditSets, Figure
from synthetic.suites.privacy import GATES

FINDINGS = ("effusion", "pneumothorax", "consolidation")
HOURS = 5


def patients(count: int, seed: int, *, coarse: bool = False, pictures: int = 0) -> LinkedStudies:
    """``count`` patients with a study each, every fifth with two. All of one distribution; another seed, a redraw.

    Args:
        coarse: Attributes have two values each, so that many patients share them.
        pictures: Edge of a picture of each; none where it is 0.
    """
    rng = generator(seed, "privacy scene", str(count))
    owner = np.repeat(np.arange(count), np.where(np.arange(count) % 5 == 0, 2, 1))
    n = len(owner)
    ill = rng.standard_normal(count)
    present = (ill[owner][:, None] + rng.standard_normal((n, 3)) > 0.5).astype(np.int8)
    parts = {name: np.where(present == 1, rng.integers(0, 3, (n, 3)), -1).astype(np.int8) for name in ("side", "size")}
    plans = replace(Plans.empty(FINDINGS, n), present=present, **parts)
    age = np.clip(np.rint(60 + 12 * rng.standard_normal(count) + 5 * ill), 18, 99).astype(int)
    visits = rng.poisson(np.exp(0.5 + 0.4 * ill))
    weight = np.round(75 + 12 * rng.standard_normal(count), 1)
    drawn = {
        "sex": rng.choice(["F", "M"], count),
        "ward": rng.choice(["A", "B"] if coarse else ["A", "B", "C", "D", "E"], count),
        "smoker": rng.choice(["yes", "no"], count),
    }
    if not coarse:
        drawn |= {"age": age, "visits_last_year": visits, "weight": weight}
    ids = np.array([f"P{seed}-{place:05d}" for place in owner], dtype=object)
    return LinkedStudies(
        patient_ids=ids,
        study_ids=np.array([f"{name}-{row}" for row, name in enumerate(ids)], dtype=object),
        times=np.datetime64("2021-01-01", "s") + (rng.integers(0, 86_400, n) + 86_400 * 90 * np.arange(n)),
        attributes={name: np.array(values.tolist(), dtype=object)[owner] for name, values in drawn.items()},
        labels={name: present[:, place] for place, name in enumerate(FINDINGS)},
        plans=plans,
        series={
            "crp": [
                np.stack([np.arange(HOURS), 30 + 20 * ill[p] + 4 * rng.standard_normal(HOURS)], axis=1) for p in owner
            ]
        },
        texts={"reference": np.array([_report(rng, row) for row in present], dtype=object)},
        images=rng.integers(0, 256, (n, pictures, pictures)).astype(np.uint8) if pictures else None,
        has_image=np.full(n, bool(pictures)),
    )


def _report(rng: np.random.Generator, present: np.ndarray) -> str:
    said = [f"{'There is' if there else 'There is no'} {name}." for name, there in zip(FINDINGS, present, strict=True)]
    words = " ".join(rng.choice(["clear", "dense", "round", "hazy", "sharp", "wide", "old", "new"], 14))
    return f"{' '.join(said)} The picture is {words}."


def copied(learnt: LinkedStudies, fresh: LinkedStudies, share: float) -> LinkedStudies:
    """What a generator makes that copies so large a share of its patients from those learnt."""
    kept = round(share * len(fresh.patients))
    old, new = set(learnt.patients[:kept]), set(fresh.patients[kept:])
    parts = [learnt.rows(_of(learnt, old)), fresh.rows(_of(fresh, new))]
    return LinkedStudies.joined([part for part in parts if len(part)])


def _of(studies: LinkedStudies, chosen: set[str]) -> np.ndarray:
    return np.array([name in chosen for name in studies.patient_ids.tolist()], dtype=np.bool_)


def scene(count: int, share: float = 0.0, *, seed: int = 1, coarse: bool = False, pictures: int = 0) -> AuditSets:
    """Sets of ``count`` patients each; the synthetic ones are a redraw, of which a share copies learnt patients."""
    drawn = [patients(count, 10 * seed + place, coarse=coarse, pictures=pictures) for place in range(4)]
    made = copied(drawn[0], drawn[3], share)
    return AuditSets(learnt=drawn[0], readers=drawn[1], held_out=drawn[2], synthetic=made, seed=seed)


def verdicts(figures: Iterable[Figure]) -> dict[str, str]:
    """Metric -> pass, fail or insufficient, as criteria on :data:`GATES` are judged: over all figures of a metric."""
    told: dict[str, list[Figure]] = defaultdict(list)
    for item in figures:
        told[item.metric].append(item)
    return {metric: _verdict(metric, items) for metric, items in told.items()}


def _verdict(metric: str, items: list[Figure]) -> str:
    direction, margin = GATES[metric]
    sign = 1 if direction == "at_most" else -1
    computed = [item for item in items if item.value is not None]
    z = z_of(0.05 / max(1, len(computed)))
    ends = [sorted(sign * end for end in item.interval(z)) for item in computed]
    if any(low > sign * margin for low, _ in ends):
        return "fail"
    return "pass" if len(computed) == len(items) and all(high <= sign * margin for _, high in ends) else "insufficient"
